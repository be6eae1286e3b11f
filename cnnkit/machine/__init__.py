"""The processor, TensorFlow's settings on it, and what a start leaves out."""
