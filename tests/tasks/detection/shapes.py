"""Small images of squares and discs with their boxes, as a folder in COCO's format and as a config."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = ("square", "disc")

#: Learns the shapes in seconds.
CONFIG: dict[str, Any] = {
    "task": "detection",
    "data": {"folder": "shapes", "batch_size": 16, "normalization": "scale"},
    "model": {
        "layers": [
            {"Conv2D": {"filters": 16, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"}},
            {"Conv2D": {"filters": 24, "kernel_size": 3, "strides": 2, "padding": "same", "activation": "relu"}},
            {"Conv2D": {"filters": 32, "kernel_size": 5, "padding": "same", "activation": "relu"}},
            {
                "Branches": [
                    [{"Conv2D": {"filters": "classes", "kernel_size": 1, "bias_initializer": {"Constant": -2.19}}}],
                    [{"Conv2D": {"filters": 2, "kernel_size": 1}}],
                    [{"Conv2D": {"filters": 2, "kernel_size": 1}}],
                ]
            },
        ]
    },
    "training": {"epochs": 20, "optimizer": {"Adam": {"learning_rate": 0.005}}},
}


def shapes(generator: np.random.Generator, size: int = 32) -> tuple[np.ndarray, list[tuple[int, int, int, int, int]]]:
    """An image, uint8 [size, size], and class, left, top, width and height of up to three shapes apart."""
    image = np.full((size, size), 30, np.uint8)
    found: list[tuple[int, int, int, int, int]] = []
    rows, columns = np.mgrid[:size, :size]
    for _ in range(int(generator.integers(0, 4))):
        side = int(generator.integers(7, 14))
        left, top = (int(place) for place in generator.integers(0, size - side + 1, 2))
        apart = all(left + side < x or x + w < left or top + side < y or y + h < top for _, x, y, w, h in found)
        if not apart:
            continue
        kind = int(generator.integers(2))
        inside = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
        if kind == 1:
            middle = (side - 1) / 2
            inside &= (rows - top - middle) ** 2 + (columns - left - middle) ** 2 <= (side / 2) ** 2
        image[inside] = generator.integers(120, 256)
        found.append((kind, left, top, side, side))
    return image, found


def write_shapes(folder: Path, counts: dict[str, int], seed: int = 0) -> Path:
    """A folder of splits, each with `images` and `annotations.json`."""
    for place, (split, count) in enumerate(counts.items()):
        (folder / split / "images").mkdir(parents=True)
        generator = np.random.default_rng((seed, place))
        images: list[dict[str, Any]] = []
        annotations: list[dict[str, Any]] = []
        for number in range(count):
            pixels, found = shapes(generator)
            name = f"{number:03d}.png"
            Image.fromarray(pixels).save(folder / split / "images" / name)
            images.append({"id": number, "file_name": name, "height": 32, "width": 32})
            for kind, *box in found:
                entry = {"id": len(annotations), "image_id": number, "category_id": kind + 1, "bbox": box, "iscrowd": 0}
                annotations.append(entry)
        categories = [{"id": number + 1, "name": name} for number, name in enumerate(NAMES)]
        document = {"images": images, "annotations": annotations, "categories": categories}
        (folder / split / "annotations.json").write_text(json.dumps(document), "utf-8")
    return folder
