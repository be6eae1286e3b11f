"""Folders of small images, as a user has them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def write_images(
    folder: Path, classes: Iterable[str], count: int = 6, size: tuple[int, int] = (8, 8), mode: str = "L", seed: int = 0
) -> Path:
    """Images of random pixels, `count` in the folder of each class.

    Args:
        size: Height and width.
        mode: Pillow's: `L` (grey), `RGB`, or `grey in colour`.
    """
    random = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            shape = (*size, 3) if mode == "RGB" else size
            image = Image.fromarray(random.integers(0, 256, shape).astype(np.uint8))
            image = image.convert("RGB") if mode == "grey in colour" else image
            image.save(folder / name / f"{number}.png")
    return folder


def write_digit_images(folder: Path, splits: Sequence[str] = ()) -> Path:
    """scikit-learn's digits in class folders; every fifth in the second of the splits, if there are two."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    for place, (image, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        split = splits[place % 5 == 0] if splits else ""
        file = folder / split / str(digit) / f"{place:04}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15).astype(np.uint8)).save(file)
    return folder
