"""Texts as networks take them: words, and the vocabulary that numbers them. Without TensorFlow."""
