"""The bundled digits as PNG files with a table of labels and numbers, and configs that learn them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from tables import write_table

LABELS = ("odd", "above_four")

#: From which value, 0..16, a pixel counts as lit.
LIT = 8


def write_digits(folder: Path, count: int | None = None) -> Path:
    """Images in `images/`, and the table: `odd` and `above_four`, `lit`: bright pixels, `thousandth`: the sum of all
    values by 1000, `split`.

    The test split is the last fifth of the images, as they come; the rest is for training.
    """
    digits = load_digits()
    images, classes = digits.images[:count], digits.target[:count]
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    for place, (image, digit) in enumerate(zip(images, classes, strict=True)):
        name = f"images/{place:04}.png"
        Image.fromarray((image * 15).astype(np.uint8)).save(folder / name)
        rows.append(
            {
                "image": name,
                "odd": digit % 2,
                "above_four": int(digit > 4),
                "labels": ";".join(label for label, mark in zip(LABELS, (digit % 2, digit > 4), strict=True) if mark),
                "lit": int((image >= LIT).sum()),
                "thousandth": image.sum() / 1000,
                "split": "test" if place >= 0.8 * len(images) else "train" if place % 10 else "validation",
            }
        )
    return write_table(folder / "digits.csv", rows)


#: A network for them, without its last layer.
LAYERS: list[Any] = [
    {"Conv2D": {"filters": 16, "kernel_size": 3, "padding": "same", "activation": "relu"}},
    {"MaxPooling2D": 2},
    "Flatten",
    {"Dense": {"units": 32, "activation": "relu"}},
]


def config(task: Any, table: Path, target: Any, head: Any, **training: Any) -> dict[str, Any]:
    """A config of a task on a table of `write_digits`; `head` is the last layer."""
    return {
        "task": task,
        "seed": 1,
        "data": {"table": str(table), "target": target, "split": "split", "batch_size": 32},
        "model": {"layers": [*LAYERS, head]},
        "training": {"epochs": 4, "tensorboard": False, "optimizer": {"Adam": {"learning_rate": 0.005}}, **training},
    }


def read_images(table: Path, split: str, columns: Sequence[str]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """What a table says of a split: names, images float32 [n, 8, 8, 1] of 0..255, and some columns [n, columns]."""
    with table.open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == split]
    images = [np.asarray(Image.open(table.parent / row["image"]), np.float32)[..., None] for row in rows]
    numbers = [[float(row[column]) for column in columns] for row in rows]
    return [row["image"] for row in rows], np.stack(images), np.array(numbers)
