"""cnnkit: convolutional networks from YAML files, with TensorFlow and Keras."""

__version__ = "0.1.0"
