"""Optimizers and learning rate schedules by Keras' names."""
