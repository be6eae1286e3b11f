"""The Keras loss and metrics of boxes. Imported where a network is trained."""

# Keras ships no types: its classes are Any to mypy.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from cnnkit.tasks.detection.precision import RECALLS, THRESHOLDS

#: Where scores are counted: logits from -`_SPAN` to `_SPAN`, in so many steps.
_SPAN, _BINS = 10.0, 1000

#: The overlap that a box of the object's size still has whose corners are moved by the radius of a peak.
_LEAST_OVERLAP = 0.7


@dataclass(frozen=True)
class LossWeights:
    """How much each part of the loss counts."""

    heat: float
    offset: float
    size: float


@dataclass(frozen=True, eq=False)
class Maps:
    """What a network should output for a batch.

    Attributes:
        heat: 1 where an object's centre is, less around it: [batch, rows, columns, classes].
        counts: 0 in crowds, where nothing is learned, likewise.
        cells: Row and column of each object's centre, int32 [batch, most, 2].
        offsets, sizes: Of each object, in places, [batch, most, 2].
        objects: 1 for each object that counts, 0 for what fills up, [batch, most].
    """

    heat: Any
    counts: Any
    cells: Any
    offsets: Any
    sizes: Any
    objects: Any


def maps_of(boxes: Any, rows: int, columns: int, classes: int, stride: int) -> Maps:
    """What a network should output.

    Args:
        boxes: Left, top, right, bottom in pixels, the class (below 0 for none), and 1 for a crowd: float
            [batch, most, 6].
        rows, columns: Of the network's map.
        stride: Pixels from one of its places to the next.
    """
    boxes = tf.cast(boxes, tf.float32)
    exists = boxes[..., 4] >= 0
    crowd = exists & (boxes[..., 5] > 0)
    objects = tf.cast(exists & ~crowd, tf.float32)
    edges = boxes[..., :4] / stride
    sizes = edges[..., 2:] - edges[..., :2]
    centres = (edges[..., 2:] + edges[..., :2]) / 2
    corner = tf.floor(tf.clip_by_value(centres, 0.0, [columns - 0.5, rows - 0.5]))
    cells = tf.cast(corner, tf.int32)[..., ::-1]
    deviation = _deviations(sizes)[..., tf.newaxis]
    across = tf.range(columns, dtype=tf.float32) - corner[..., :1]
    down = tf.range(rows, dtype=tf.float32) - corner[..., 1:]
    bell_across = tf.exp(-tf.square(across) / (2 * tf.square(deviation)))
    bell_down = tf.exp(-tf.square(down) / (2 * tf.square(deviation)))
    bells = bell_down[..., :, tf.newaxis] * bell_across[..., tf.newaxis, :] * objects[..., tf.newaxis, tf.newaxis]
    heat = _by_class(bells, boxes[..., 4], classes)
    x, y = tf.range(columns, dtype=tf.float32) + 0.5, tf.range(rows, dtype=tf.float32) + 0.5
    inside_across = (x >= edges[..., :1]) & (x <= edges[..., 2:3])
    inside_down = (y >= edges[..., 1:2]) & (y <= edges[..., 3:])
    inside = inside_down[..., :, tf.newaxis] & inside_across[..., tf.newaxis, :] & crowd[..., tf.newaxis, tf.newaxis]
    covered = _by_class(tf.cast(inside, tf.float32), boxes[..., 4], classes)
    # An object's own centre counts in a crowd, too.
    counts = tf.where(heat == 1.0, 1.0, 1.0 - covered)
    return Maps(heat, counts, cells, centres - corner, sizes, objects)


def _deviations(sizes: Any) -> Any:
    """The standard deviation of the peak of objects, in places, by their sizes [..., 2]: as in CenterNet's code.

    The radius is that of Law and Deng ("CornerNet", 2018): corners moved by less leave an overlap of 0.7. Its code, and
    CenterNet's, solve the quadratic for enclosing boxes without dividing by twice its coefficient; this keeps it.
    """
    width, height = sizes[..., 0], sizes[..., 1]
    b = 2 * _LEAST_OVERLAP * (height + width)
    root = tf.sqrt(tf.square(b) + 16 * _LEAST_OVERLAP * (1 - _LEAST_OVERLAP) * width * height)
    radius = tf.floor(tf.maximum(0.0, (root - b) / 2))
    return (2 * radius + 1) / 6


def _by_class(maps: Any, numbers: Any, classes: int) -> Any:
    """The largest value of each class' maps: from [batch, most, rows, columns] to [batch, rows, columns, classes].

    Args:
        numbers: The class of each, [batch, most]; below 0 for none, whose map is 0.
    """
    batch, most = tf.shape(maps)[0], maps.shape[1]
    rows, columns = maps.shape[2:]
    number = tf.maximum(tf.cast(numbers, tf.int32), 0)
    places = tf.stack([tf.broadcast_to(tf.range(batch)[:, tf.newaxis], tf.shape(number)), number], axis=-1)
    largest = tf.zeros([batch, classes, rows, columns])
    for index in range(most):
        largest = tf.tensor_scatter_nd_max(largest, places[:, index], maps[:, index])
    return tf.transpose(largest, [0, 2, 3, 1])


class DetectionLoss(keras.losses.Loss):
    """The loss of Zhou et al. 2019: a penalty-reduced focal loss of the heat maps, and L1 of offsets and sizes.

    What an image's places add up to is divided by the number of its objects, or by 1 where it has none, and the mean is
    taken over images (there, over the batch): so it is the same on any number of devices.

    Args:
        classes: How many.
        stride: Pixels from one place of the map to the next.
        weights: Of its parts.
    """

    def __init__(self, classes: int, stride: int, weights: LossWeights) -> None:
        super().__init__(name="loss")
        self.classes = classes
        self.stride = stride
        self.weights = weights

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each image, [batch].

        Args:
            y_true: Boxes, [batch, most, 6].
            y_pred: [batch, rows, columns, classes + 4].
        """
        outputs = tf.cast(y_pred, tf.float32)
        rows, columns = outputs.shape[1:3]
        maps = maps_of(y_true, rows, columns, self.classes, self.stride)
        logits, numbers = outputs[..., : self.classes], outputs[..., self.classes :]
        focal = tf.reduce_sum(_focal(logits, maps), axis=[1, 2, 3])
        told = tf.gather_nd(numbers, maps.cells, batch_dims=1)
        objects = maps.objects[..., tf.newaxis]
        offset = tf.reduce_sum(tf.abs(told[..., :2] - maps.offsets) * objects, axis=[1, 2])
        size = tf.reduce_sum(tf.abs(told[..., 2:] - maps.sizes) * objects, axis=[1, 2])
        total = self.weights.heat * focal + self.weights.offset * offset + self.weights.size * size
        return total / tf.maximum(tf.reduce_sum(maps.objects, axis=1), 1.0)


def _focal(logits: Any, maps: Maps) -> Any:
    """The penalty-reduced focal loss of each place and class: alpha 2, beta 4."""
    probability = tf.sigmoid(logits)
    centre = tf.square(1 - probability) * tf.nn.softplus(-logits)
    elsewhere = tf.pow(1 - maps.heat, 4) * tf.square(probability) * tf.nn.softplus(logits)
    return tf.where(maps.heat == 1.0, centre, elsewhere) * maps.counts


class MeanAveragePrecision(keras.metrics.Metric):
    """Mean average precision over overlaps of 0.5 to 0.95, of all images that it has seen, as COCO measures it.

    What it keeps are numbers that add up, so that it is right on any number of devices: of each class and overlap, how
    many detections of each score were right, and how many were not. Scores are counted in steps of 0.02 of their
    logits, and detections of one step all come at once, so that it may differ a little from an evaluation's.

    Args:
        classes: How many.
        stride: Pixels from one place of the map to the next.
        most: Detections of an image that count.
    """

    def __init__(self, classes: int, stride: int, most: int) -> None:
        super().__init__(name="map")
        self.classes = classes
        self.stride = stride
        self.most = most
        shape = (2, classes, len(THRESHOLDS), _BINS)
        self.counted = self.add_weight(shape=shape, initializer="zeros", name="counted")
        self.objects = self.add_weight(shape=(classes,), initializer="zeros", name="objects")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        truths = tf.cast(y_true, tf.float32)
        boxes, logits, numbers = peaks(tf.cast(y_pred, tf.float32), self.classes, self.stride, self.most)
        hit, counts = _matched(boxes, numbers, truths)
        counts &= tf.math.is_finite(logits)[..., tf.newaxis]
        step = tf.cast(tf.clip_by_value((logits + _SPAN) / (2 * _SPAN), 0.0, 1.0) * (_BINS - 1), tf.int32)
        level = tf.range(len(THRESHOLDS))
        place = ((1 - tf.cast(hit, tf.int32)) * self.classes + numbers[..., tf.newaxis]) * len(THRESHOLDS) + level
        place = place * _BINS + step[..., tf.newaxis]
        added = tf.math.unsorted_segment_sum(
            tf.reshape(tf.cast(counts, tf.float32), [-1]), tf.reshape(place, [-1]), int(np.prod(self.counted.shape))
        )
        self.counted.assign_add(tf.reshape(added, self.counted.shape))
        ordinary = tf.cast(truths[..., 5] == 0, tf.float32)[..., tf.newaxis]
        known = tf.one_hot(tf.cast(truths[..., 4], tf.int32), self.classes) * ordinary
        self.objects.assign_add(tf.reduce_sum(known, axis=[0, 1]))

    def precisions(self) -> Any:
        """The average precision of each class at each overlap, [classes, thresholds]; 0 for classes without objects."""
        # The surest first.
        right, wrong = tf.unstack(tf.cumsum(tf.reverse(tf.convert_to_tensor(self.counted), axis=[3]), axis=3))
        objects = tf.maximum(tf.convert_to_tensor(self.objects), 1.0)[:, tf.newaxis, tf.newaxis]
        recall = right / objects
        precision = right / tf.maximum(right + wrong, 1.0)
        best = tf.reverse(_largest_so_far(tf.reverse(precision, axis=[2])), axis=[2])
        lines = [-1, _BINS]
        wanted = tf.cast(tf.broadcast_to(RECALLS - 1e-6, [self.classes * len(THRESHOLDS), len(RECALLS)]), tf.float32)
        places = tf.searchsorted(tf.reshape(recall, lines), wanted)
        padded = tf.pad(tf.reshape(best, lines), [[0, 0], [0, 1]])
        read = tf.reduce_mean(tf.gather(padded, places, batch_dims=1), axis=1)
        return tf.reshape(read, [self.classes, len(THRESHOLDS)])

    def mean(self, values: Any) -> Any:
        """The mean of one value for each class over the classes that occur; 0 where none does."""
        occurs = tf.cast(tf.convert_to_tensor(self.objects) > 0, tf.float32)
        return tf.reduce_sum(values * occurs) / tf.maximum(tf.reduce_sum(occurs), 1.0)

    def result(self) -> Any:
        return self.mean(tf.reduce_mean(self.precisions(), axis=1))


class AveragePrecisionAtHalf(keras.metrics.Metric):
    """Mean AP at an overlap of 0.5, of what another metric has counted.

    Args:
        counted: That one.
    """

    def __init__(self, counted: MeanAveragePrecision) -> None:
        super().__init__(name="map_50")
        # In a list of its own, Keras does not take it for a part of this one, whose variables it would count twice.
        self._result = counted.precisions
        self._mean = counted.mean

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        return None

    def result(self) -> Any:
        return self._mean(self._result()[:, 0])


def peaks(outputs: Any, classes: int, stride: int, most: int) -> tuple[Any, Any, Any]:
    """The surest objects that outputs, [batch, rows, columns, classes + 4], say of each image.

    A place is a peak of a class where none of its eight neighbours has a larger logit of that class.

    Args:
        stride: Pixels from one place to the next.
        most: Objects of an image, at most.

    Returns:
        Boxes [batch, most, 4], their logits [batch, most], -inf for none, and classes, int32 [batch, most].
    """
    batch = tf.shape(outputs)[0]
    rows, columns = outputs.shape[1:3]
    heat = outputs[..., :classes]
    is_peak = heat == tf.nn.max_pool2d(heat, 3, 1, "SAME")
    logits = tf.reshape(tf.where(is_peak, heat, -np.inf), [batch, -1])
    logits, places = tf.math.top_k(logits, min(most, rows * columns * classes))
    number = places % classes
    column, row = (places // classes) % columns, places // classes // columns
    numbers = tf.gather_nd(outputs[..., classes:], tf.stack([row, column], axis=-1), batch_dims=1)
    centres = tf.cast(tf.stack([column, row], axis=-1), tf.float32) + numbers[..., :2]
    half = tf.maximum(numbers[..., 2:], 0.0) / 2
    edges = tf.concat([centres - half, centres + half], axis=-1) * stride
    limits = tf.constant([columns, rows, columns, rows], tf.float32) * stride
    return tf.clip_by_value(edges, 0.0, limits), logits, number


def _matched(boxes: Any, numbers: Any, truths: Any) -> tuple[Any, Any]:
    """Which detections are right at each overlap, and which count: bool [batch, most, thresholds]."""
    shared = _overlaps(boxes, truths)
    same = tf.cast(numbers, tf.float32)[..., tf.newaxis] == truths[:, tf.newaxis, :, 4]
    shared = tf.where(same, shared, -1.0)
    crowd = truths[..., 5] > 0
    crowd_overlap = tf.reduce_max(tf.where(crowd[:, tf.newaxis], shared, -1.0), axis=2)
    shared = tf.where(crowd[:, tf.newaxis], -1.0, shared)
    least = tf.constant(THRESHOLDS, tf.float32)[tf.newaxis, :, tf.newaxis]
    count = boxes.shape[1]

    def step(place: Any, free: Any, hits: Any) -> Any:
        overlap = tf.where(free, shared[:, place][:, tf.newaxis], -1.0)
        best = tf.reduce_max(overlap, axis=2)
        hit = best >= least[..., 0]
        chosen = tf.one_hot(tf.argmax(overlap, axis=2), truths.shape[1], on_value=True, off_value=False)
        return place + 1, free & ~(chosen & hit[..., tf.newaxis]), hits.write(place, hit)

    free = tf.ones([tf.shape(boxes)[0], len(THRESHOLDS), truths.shape[1]], tf.bool)
    hits = tf.TensorArray(tf.bool, count, element_shape=[None, len(THRESHOLDS)])
    _, _, hits = tf.while_loop(
        lambda place, *_: place < count, step, (tf.constant(0), free, hits), maximum_iterations=count
    )
    hit = tf.transpose(hits.stack(), [1, 0, 2])
    return hit, hit | (crowd_overlap[..., tf.newaxis] < least[..., 0])


def _overlaps(boxes: Any, truths: Any) -> Any:
    """Intersection over union of boxes with the true ones, [batch, most, truths]; for a crowd, over the box alone."""
    ours, theirs = boxes[:, :, tf.newaxis], truths[:, tf.newaxis]
    shared = tf.reduce_prod(
        tf.maximum(tf.minimum(ours[..., 2:], theirs[..., 2:4]) - tf.maximum(ours[..., :2], theirs[..., :2]), 0.0), -1
    )
    area = tf.reduce_prod(ours[..., 2:] - ours[..., :2], -1)
    true_area = tf.reduce_prod(theirs[..., 2:4] - theirs[..., :2], -1)
    union = tf.where(theirs[..., 5] > 0, area, area + true_area - shared)
    return tf.math.divide_no_nan(shared, union)


def _largest_so_far(values: Any) -> Any:
    """The running maximum along the last axis, in a logarithm of its length steps."""
    shift = 1
    while shift < values.shape[-1]:
        moved = tf.pad(values[..., :-shift], [[0, 0]] * (len(values.shape) - 1) + [[shift, 0]])
        values, shift = tf.maximum(values, moved), 2 * shift
    return values
