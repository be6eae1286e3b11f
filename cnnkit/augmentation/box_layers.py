"""Moves boxes as layers move their images, given the same draws.

Keras' layers would move boxes themselves, but not all of them rightly (3.15: those of crops are not cut off at the
window, and flips take boxes in shares of the image alone); so what is drawn is theirs, and the geometry is this. Images
keep their size: where there are boxes, `RandomCrop` cuts windows as large as the images, out of their padding.
`cnnkit eject` copies what is here.

This module imports TensorFlow; it is imported where a pipeline is built, never by the config.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

#: Of an object with less of its area left in the image, nothing is learned.
LEAST_VISIBLE = 0.25


def moved_boxes(mover: Any, layer: Any, images: Any, boxes: Any) -> Any:
    """Boxes after an augmentation, whose draws have to begin anew.

    Args:
        mover: The function below that knows where the layer moves things.
        images: As the layer takes them, [batch, height, width, channels].
        boxes: float32 [batch, most, 6]: left, top, right and bottom in pixels, the class, and 1 for a crowd.

    Returns:
        The same of boxes in the changed images, cut off at their edges. What has left is of class -1, and what has
        nearly left counts as a crowd, of which nothing is learned.
    """
    height, width = images.shape[1:3]
    moved = mover(layer, images, boxes[..., :4])
    limits = tf.constant([width, height, width, height], tf.float32)
    inside = tf.clip_by_value(moved, 0.0, limits)
    left_over = tf.math.divide_no_nan(_areas(inside), _areas(moved))
    number = tf.where(left_over > 0, boxes[..., 4], -1.0)
    crowd = tf.where(left_over < LEAST_VISIBLE, 1.0, boxes[..., 5])
    return tf.concat([inside, number[..., tf.newaxis], crowd[..., tf.newaxis]], axis=-1)


def _areas(edges: Any) -> Any:
    return tf.reduce_prod(tf.maximum(edges[..., 2:] - edges[..., :2], 0.0), axis=-1)


def _drawn(layer: Any, images: Any) -> Any:
    # Whether an image is drawn for or not, its size is that of all.
    return layer.get_random_transformation(images, training=True)


def cropped(layer: Any, images: Any, edges: Any) -> Any:
    """Edges in the window that `RandomCrop` cuts out."""
    top, left = layer.corners(images)
    shift = tf.cast(tf.stack([left, top, left, top], axis=1), tf.float32)
    return edges - shift[:, tf.newaxis]


def flipped(layer: Any, images: Any, edges: Any) -> Any:
    """Edges in images that `RandomFlip` mirrors."""
    height, width = map(float, images.shape[1:3])
    left, top, right, bottom = tf.unstack(edges, axis=-1)
    if "horizontal" in layer.mode:
        left, right = width - right, width - left
    if "vertical" in layer.mode:
        top, bottom = height - bottom, height - top
    flips = tf.reshape(_drawn(layer, images)["flips"], (-1, 1, 1))
    return tf.where(flips, tf.stack([left, top, right, bottom], axis=-1), edges)


def translated(layer: Any, images: Any, edges: Any) -> Any:
    """Edges in images that `RandomTranslation` shifts."""
    return edges + tf.tile(_drawn(layer, images)["translations"], (1, 2))[:, tf.newaxis]


def zoomed(layer: Any, images: Any, edges: Any) -> Any:
    """Edges in images that `RandomZoom` zooms around their centre."""
    drawn = _drawn(layer, images)
    factors = tf.concat([drawn["width_zoom"], drawn["height_zoom"]] * 2, axis=1)[:, tf.newaxis]
    height, width = images.shape[1:3]
    centre = tf.constant([width, height, width, height], tf.float32) / 2
    return (edges - centre) / tf.cast(factors, tf.float32) + centre
