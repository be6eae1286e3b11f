"""An embedding in which the vector of one id is zeros, whatever is learned.

This module imports Keras; only building a model imports it. What is saved is Keras' own Embedding, whose weights have
the zeros: see `training.model.without_training_state`.
"""

# Keras ships no types: its classes are Any to mypy.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from typing import Any

import keras


class PaddedEmbedding(keras.layers.Embedding):
    """Keras' Embedding, in which the vector of the padding begins as zeros and has no gradient.

    Args:
        padding_idx: The id of the padding.
    """

    def __init__(self, *arguments: Any, padding_idx: int, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.padding_idx = padding_idx

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        embeddings = keras.ops.convert_to_tensor(self.embeddings)
        ids = keras.ops.arange(self.input_dim)[:, None]
        self.embeddings.assign(keras.ops.where(ids == self.padding_idx, 0, embeddings))

    def call(self, inputs: Any) -> Any:
        vectors = super().call(inputs)
        is_padding = keras.ops.cast(inputs, "int32")[..., None] == self.padding_idx
        return keras.ops.where(is_padding, keras.ops.zeros_like(vectors), vectors)
