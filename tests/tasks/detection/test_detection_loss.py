"""Outputs, loss and the metric of an epoch: TensorFlow's against NumPy's, and against the paper's formulas."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from scipy.ndimage import maximum_filter

from cnnkit.tasks.detection.keras_objects import (
    AveragePrecisionAtHalf,
    DetectionLoss,
    LossWeights,
    MeanAveragePrecision,
    maps_of,
    peaks,
)
from cnnkit.tasks.detection.peaks import detections_of
from cnnkit.tasks.detection.precision import precisions

CLASSES, STRIDE, ROWS, COLUMNS = 3, 4, 12, 16


def boxes_of(generator: np.random.Generator, images: int, most: int = 5, crowds: float = 0.0) -> np.ndarray:
    """Boxes in images of 48x64, filled up with none: float32 [images, most, 6]."""
    boxes = np.zeros((images, most, 6), np.float32)
    boxes[..., 4] = -1
    for image in boxes:
        for box in image[: generator.integers(0, most + 1)]:
            left, top = generator.uniform(0, 40), generator.uniform(0, 24)
            box[:] = left, top, left + generator.uniform(6, 24), top + generator.uniform(6, 24), 0, 0
            box[4], box[5] = generator.integers(CLASSES), generator.random() < crowds
    return boxes


def outputs_near(boxes: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Outputs that find most of the boxes, a little beside them, and others."""
    outputs = generator.normal(-4, 1, (len(boxes), ROWS, COLUMNS, CLASSES + 4)).astype(np.float32)
    outputs[..., CLASSES:] = generator.uniform(0, 4, outputs[..., CLASSES:].shape)
    for image, own in zip(outputs, boxes, strict=True):
        for left, top, right, bottom, kind, _ in own[own[:, 4] >= 0]:
            x, y = (left + right) / 2 / STRIDE, (top + bottom) / 2 / STRIDE
            place = image[int(y), int(x)]
            place[int(kind)] = generator.normal(2, 2)
            place[CLASSES:] = x - int(x), y - int(y), (right - left) / STRIDE, (bottom - top) / STRIDE
            place[CLASSES:] += generator.normal(0, 0.3, 4)
    return outputs


def test_peaks_are_the_largest_of_nine_and_boxes_lie_around_their_centres() -> None:
    generator = np.random.default_rng(0)
    outputs = outputs_near(boxes_of(generator, 4), generator)
    for image, found in zip(outputs, detections_of(outputs, CLASSES, STRIDE, 20), strict=True):
        heat = image[..., :CLASSES]
        # A second derivation: SciPy's filter, place by place.
        largest = maximum_filter(heat, size=(3, 3, 1), mode="constant", cval=-np.inf)
        places = [(heat[at], at) for at in map(tuple, np.argwhere(heat == largest))]
        places = sorted(places, reverse=True)[:20]
        assert [at[2] for _, at in places] == found.numbers.tolist()
        np.testing.assert_allclose(found.scores, [1 / (1 + np.exp(-float(logit))) for logit, _ in places], rtol=1e-5)
        for (_, (row, column, _)), box in zip(places, found.boxes, strict=True):
            across, down, width, height = image[row, column, CLASSES:].astype(float)
            x, y = (column + across) * 4, (row + down) * 4
            edges = [x - width * 2, y - height * 2, x + width * 2, y + height * 2]
            np.testing.assert_allclose(box, np.clip(edges, 0, [64, 48, 64, 48]), atol=1e-3)


def test_tensorflow_finds_the_same_peaks() -> None:
    generator = np.random.default_rng(1)
    outputs = outputs_near(boxes_of(generator, 6), generator)
    boxes, logits, numbers = (value.numpy() for value in peaks(outputs, CLASSES, STRIDE, 25))
    for place, found in enumerate(detections_of(outputs, CLASSES, STRIDE, 25)):
        count = len(found.scores)
        assert np.isneginf(logits[place, count:]).all()
        np.testing.assert_array_equal(numbers[place, :count], found.numbers)
        np.testing.assert_allclose(boxes[place, :count], found.boxes, atol=1e-3)


def gaussian(boxes: np.ndarray) -> np.ndarray:
    """The heat maps of an image as CenterNet's code draws them, one object and place at a time."""
    heat = np.zeros((ROWS, COLUMNS, CLASSES))
    for left, top, right, bottom, kind, _ in boxes[boxes[:, 4] >= 0].astype(float):
        width, height = (right - left) / STRIDE, (bottom - top) / STRIDE
        radii = []
        b = height + width
        radii.append((b + np.sqrt(b**2 - 4 * width * height * 0.3 / 1.7)) / 2)
        radii.append((2 * b + np.sqrt(4 * b**2 - 16 * 0.3 * width * height)) / 2)
        radii.append((-1.4 * b + np.sqrt((1.4 * b) ** 2 + 4 * 2.8 * 0.3 * width * height)) / 2)
        sigma = (2 * max(0, int(min(radii))) + 1) / 6
        x, y = int((left + right) / 2 / STRIDE), int((top + bottom) / 2 / STRIDE)
        for row in range(ROWS):
            for column in range(COLUMNS):
                value = np.exp(-((row - y) ** 2 + (column - x) ** 2) / (2 * sigma**2))
                heat[row, column, int(kind)] = max(heat[row, column, int(kind)], value)
    return heat


def test_the_loss_is_the_papers() -> None:
    generator = np.random.default_rng(2)
    boxes = boxes_of(generator, 5)
    boxes[0, :, 4] = -1
    outputs = outputs_near(boxes, generator)
    loss = DetectionLoss(CLASSES, STRIDE, LossWeights(1.0, 0.7, 0.2))
    expected = []
    for image, own in zip(outputs.astype(float), boxes, strict=True):
        heat, probability = gaussian(own), 1 / (1 + np.exp(-image[..., :CLASSES]))
        at_centre = (1 - probability) ** 2 * np.log(probability)
        elsewhere = (1 - heat) ** 4 * probability**2 * np.log(1 - probability)
        total = -np.where(heat == 1, at_centre, elsewhere).sum()
        own = own[own[:, 4] >= 0].astype(float)
        for left, top, right, bottom, *_ in own:
            x, y = (left + right) / 2 / STRIDE, (top + bottom) / 2 / STRIDE
            across, down, width, height = image[int(y), int(x), CLASSES:]
            total += 0.7 * (abs(across - (x - int(x))) + abs(down - (y - int(y))))
            total += 0.2 * (abs(width - (right - left) / STRIDE) + abs(height - (bottom - top) / STRIDE))
        expected.append(total / max(1, len(own)))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(loss.call(boxes, outputs)), expected, rtol=1e-4)
    assert float(loss(boxes, outputs)) == pytest.approx(np.mean(expected), rel=1e-4)


def test_nothing_is_learned_inside_of_crowds() -> None:
    boxes = np.array([[[8, 8, 24, 24, 1, 1], [40, 8, 56, 24, 1, 0]]], np.float32)
    maps = maps_of(boxes, ROWS, COLUMNS, CLASSES, STRIDE)
    expected = np.ones((1, ROWS, COLUMNS, CLASSES))
    expected[0, 2:6, 2:6, 1] = 0
    np.testing.assert_array_equal(maps.counts.numpy(), expected)
    assert maps.heat.numpy()[..., 1].argmax() == 4 * COLUMNS + 12
    assert maps.objects.numpy().tolist() == [[0.0, 1.0]]


@pytest.mark.parametrize("crowds", [0.0, 0.3])
def test_the_metric_of_an_epoch_is_nearly_that_of_the_evaluation(crowds: float) -> None:
    generator = np.random.default_rng(5)
    boxes = boxes_of(generator, 60, crowds=crowds)
    outputs = outputs_near(boxes, generator)
    metric = MeanAveragePrecision(CLASSES, STRIDE, 30)
    at_half = AveragePrecisionAtHalf(metric)
    for start in range(0, 60, 25):
        for one in (metric, at_half):
            one.update_state(boxes[start : start + 25], outputs[start : start + 25])
    truths = [own[own[:, 4] >= 0] for own in boxes]
    exact = precisions(detections_of(outputs, CLASSES, STRIDE, 30), truths, CLASSES, 30)
    assert 0.2 < exact.mean() < 0.9
    assert float(metric.result()) == pytest.approx(exact.mean(), abs=0.004)
    assert float(at_half.result()) == pytest.approx(exact.mean(0), abs=0.004)
    metric.reset_state()
    assert float(metric.result()) == 0.0
