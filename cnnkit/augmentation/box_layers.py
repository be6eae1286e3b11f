"""Moves boxes as layers move their images, given the same draws.

Keras' layers would move boxes themselves, but not all of them rightly (3.15: those of crops are not cut off at the
window, and flips take boxes in shares of the image alone); so what is drawn is theirs, and the geometry is this.

This module imports TensorFlow; it is imported where a pipeline is built, never by the config.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from cnnkit.augmentation import keras_layers

#: Of an object with less of its area left in the image, nothing is learned.
LEAST_VISIBLE = 0.25


def moved_boxes(layer: Any, images: Any, boxes: Any) -> Any:
    """Boxes after an augmentation, whose draws have to begin anew.

    Args:
        layer: One of `ShiftingAugmentation`'s.
        images: As the layer takes them, [batch, height, width, channels].
        boxes: float32 [batch, most, 6]: edges in pixels, the class, and 1 for a crowd.

    Returns:
        The same of boxes in the changed images, cut off at their edges. What has left is of class -1, and what has
        nearly left counts as a crowd, of which nothing is learned.
    """
    height, width = images.shape[1:3]
    edges = boxes[..., :4]
    if isinstance(layer, keras_layers.RandomCrop):
        top, left = layer.corners(images)
        shift = tf.cast(tf.stack([left, top, left, top], axis=1), tf.float32)
        moved = edges - shift[:, tf.newaxis]
        height, width = layer.height or height, layer.width or width
    else:
        # Whether an image is drawn for or not, its size is that of all.
        drawn = layer.get_random_transformation(images, training=True)
        moved = _MOVERS[_kind(layer)](layer, edges, drawn, float(height), float(width))
    limits = tf.constant([width, height, width, height], tf.float32)
    inside = tf.clip_by_value(moved, 0.0, limits)
    left_over = tf.math.divide_no_nan(_areas(inside), _areas(moved))
    number = tf.where(left_over > 0, boxes[..., 4], -1.0)
    crowd = tf.where(left_over < LEAST_VISIBLE, 1.0, boxes[..., 5])
    return tf.concat([inside, number[..., tf.newaxis], crowd[..., tf.newaxis]], axis=-1)


def _areas(edges: Any) -> Any:
    return tf.reduce_prod(tf.maximum(edges[..., 2:] - edges[..., :2], 0.0), axis=-1)


def _flipped(layer: Any, edges: Any, drawn: Any, height: float, width: float) -> Any:
    left, top, right, bottom = tf.unstack(edges, axis=-1)
    if "horizontal" in layer.mode:
        left, right = width - right, width - left
    if "vertical" in layer.mode:
        top, bottom = height - bottom, height - top
    flips = tf.reshape(drawn["flips"], (-1, 1, 1))
    return tf.where(flips, tf.stack([left, top, right, bottom], axis=-1), edges)


def _translated(layer: Any, edges: Any, drawn: Any, height: float, width: float) -> Any:
    return edges + tf.tile(drawn["translations"], (1, 2))[:, tf.newaxis]


def _zoomed(layer: Any, edges: Any, drawn: Any, height: float, width: float) -> Any:
    factors = tf.concat([drawn["width_zoom"], drawn["height_zoom"]] * 2, axis=1)[:, tf.newaxis]
    centre = tf.constant([width, height, width, height]) / 2
    return (edges - centre) / tf.cast(factors, tf.float32) + centre


_MOVERS = {
    keras.layers.RandomFlip: _flipped,
    keras.layers.RandomTranslation: _translated,
    keras.layers.RandomZoom: _zoomed,
}


def _kind(layer: Any) -> Any:
    return next(kind for kind in _MOVERS if isinstance(layer, kind))
