"""Boxes move with their images: each augmentation on images of rectangles, whose boxes are seen in the pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit.augmentation import BoxError
from cnnkit.augmentation.pipeline import Pipeline

from .examples import ARGUMENTS, example, make

HEIGHT, WIDTH, COUNT = 48, 64, 40

#: What moves boxes, with arguments that move them by whole pixels or by any amount.
MOVING: dict[str, list[dict[str, Any]]] = {
    "RandomFlip": [{"mode": "horizontal"}, {"mode": "vertical"}, {"mode": "horizontal", "alternate": True},
                   {"mode": "horizontal_and_vertical"}],
    "RandomCrop": [{"padding": [9, 13]}],
    "RandomTranslation": [{"height_factor": 0.3, "width_factor": 0.4, "fill_mode": "constant"}],
    "RandomZoom": [{"height_factor": 0.4, "fill_mode": "constant"},
                   {"height_factor": [-0.5, -0.1], "width_factor": 0.3, "fill_mode": "constant"}],
}  # fmt: skip
REFUSED = {
    *("RandomRotation", "RandomShear", "RandomPerspective", "RandomElasticTransform"),
    *("MixUp", "CutMix", "AugMix", "RandAugment", "ProgressiveResizing"),
}
STAYING = sorted(set(ARGUMENTS) - set(MOVING) - REFUSED)


def rectangles(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Black images with a white rectangle each, uint8, and their boxes, float32 [n, 2, 6], the second of which is none.

    Rectangles are large, so that some are cut off.
    """
    generator = np.random.default_rng(seed)
    images = np.zeros((COUNT, HEIGHT, WIDTH, 1), np.uint8)
    boxes = np.zeros((COUNT, 2, 6), np.float32)
    boxes[:, 1, 4] = -1
    for image, box in zip(images, boxes[:, 0], strict=True):
        width, height = generator.integers(8, 30, 2)
        left, top = generator.integers(0, WIDTH - width + 1), generator.integers(0, HEIGHT - height + 1)
        image[top : top + height, left : left + width] = 255
        box[:] = left, top, left + width, top + height, generator.integers(3), 0
    return images, boxes


def seen(image: np.ndarray) -> tuple[float, float, float, float] | None:
    """The edges of what is white, where half a pixel is half a grey one; None where nothing is."""
    profile = image[..., 0] / 255
    rows, columns = profile.max(axis=1), profile.max(axis=0)
    if profile.max() < 0.5:
        return None
    edges = []
    for line in (columns, rows):
        lit = np.flatnonzero(line > 0.02)
        first, last = lit[0], lit[-1]
        edges.append((first + 1 - line[first], last + line[last]))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


@pytest.mark.parametrize(("name", "arguments"), [(name, one) for name, each in MOVING.items() for one in each])
def test_boxes_lie_around_their_objects(name: str, arguments: dict[str, Any]) -> None:
    images, boxes = rectangles()
    pipeline = Pipeline([make(name, arguments)], 3, boxes=True)
    moved = left = 0
    for epoch in range(2):
        changed = pipeline.apply_numpy({"images": images, "bounding_boxes": boxes}, epoch=epoch)
        assert (changed["bounding_boxes"][:, 1, 4] == -1).all()
        for image, before, box in zip(changed["images"], boxes[:, 0], changed["bounding_boxes"][:, 0], strict=True):
            edges = seen(image)
            if edges is None:
                # Less than half a pixel may still be inside.
                assert box[4] == -1 or (box[2:4] - box[:2]).min() < 1
                left += 1
                continue
            assert box[4] == before[4]
            # Bilinear pixels of a zoomed edge are spread over as much as a pixel.
            np.testing.assert_allclose(box[:4], edges, atol=0.6 if name == "RandomZoom" else 0.05)
            moved += not np.allclose(box, before)
    assert moved > COUNT // 3
    assert left < COUNT


def test_of_what_has_nearly_left_nothing_is_learned() -> None:
    """As a crowd, which is neither there nor absent."""
    images, boxes = rectangles()
    changed = Pipeline([make("RandomCrop", {"padding": [30, 40]})], 0, boxes=True).apply_numpy(
        {"images": images, "bounding_boxes": boxes}
    )
    before, after = boxes[:, 0], changed["bounding_boxes"][:, 0]
    areas = [(box[:, 2] - box[:, 0]) * (box[:, 3] - box[:, 1]) for box in (before, after)]
    share = areas[1] / areas[0]
    assert (after[share == 0, 4] == -1).all()
    assert ((share > 0) & (share < 0.25)).any()
    np.testing.assert_array_equal(after[share > 0, 5], share[share > 0] < 0.25)
    np.testing.assert_array_equal(after[share > 0, 4], before[share > 0, 4])


@pytest.mark.parametrize("name", STAYING)
def test_what_changes_colours_leaves_boxes_alone(name: str) -> None:
    images, boxes = rectangles()
    colours = np.repeat(images, 3, axis=-1)
    changed = Pipeline([example(name)], 0, boxes=True).apply_numpy({"images": colours, "bounding_boxes": boxes})
    np.testing.assert_array_equal(changed["bounding_boxes"], boxes)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_cannot_keep_boxes_tight_is_refused_by_name(name: str) -> None:
    with pytest.raises(BoxError, match=f"`{name}`"):
        Pipeline([example(name)], 0, boxes=True)


@pytest.mark.parametrize("mode", ["reflect", "wrap", "nearest"])
def test_a_border_of_parts_of_objects_is_refused(mode: str) -> None:
    with pytest.raises(BoxError, match="fill_mode"):
        Pipeline([make("RandomZoom", {"height_factor": 0.2, "fill_mode": mode})], 0, boxes=True)
