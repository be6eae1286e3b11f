"""Looking into a trained network: its outputs by name, feature maps, Grad-CAM."""
