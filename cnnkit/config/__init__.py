"""YAML text to a validated config; nothing here imports TensorFlow."""
