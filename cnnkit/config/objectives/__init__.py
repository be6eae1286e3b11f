"""Losses and metrics by Keras' names."""
