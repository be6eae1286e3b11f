"""Made scenes with masks: a bright square and a dark disc on a gray ground, in a folder of pairs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

NAMES = ("ground", "square", "disc")
IGNORE = 9


def scene(seed: int, size: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """An image, uint8 [size, size, 3], and its mask, uint8 [size, size], with a border that is ignored."""
    random = np.random.RandomState(seed)
    rows, columns = np.mgrid[:size, :size]
    mask = np.zeros((size, size), np.uint8)
    top, left = random.randint(2, size // 2, 2)
    mask[top : top + size // 4, left : left + size // 4] = 1
    middle = random.randint(size // 4, 3 * size // 4, 2)
    mask[(rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 < (size // 7) ** 2] = 2
    image = np.array([[110, 110, 110], [220, 200, 60], [30, 40, 120]], np.float32)[mask]
    image = np.clip(image + random.normal(0, 12, image.shape), 0, 255).astype(np.uint8)
    mask[0] = IGNORE
    return image, mask


def write_scenes(folder: Path, count: int, first: int = 0, size: int = 32) -> None:
    """Pairs in `images` and `masks`, and `classes.txt`."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for number in range(first, first + count):
        image, mask = scene(number, size)
        Image.fromarray(image).save(folder / "images" / f"{number:03}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:03}.png")
    (folder / "classes.txt").write_text("\n".join(NAMES) + "\n")


#: Of the folder `scenes` beside it.
CONFIG = """\
task: segmentation
seed: 1
data: {folder: scenes, ignore: 9, batch_size: 8, validation: 0.2}
augmentation: [{RandomFlip: horizontal}]
model:
  layers:
    - Conv2D: {filters: 8, kernel_size: 3, padding: same, activation: relu}
    - Branches:
        merge: concatenate
        paths:
          - []
          - - MaxPooling2D: 2
            - Conv2D: {filters: 12, kernel_size: 3, padding: same, activation: relu}
            - Conv2DTranspose: {filters: 8, kernel_size: 2, strides: 2}
    - Conv2D: {filters: classes, kernel_size: 1, activation: softmax}
training: {epochs: 6, tensorboard: false, optimizer: {Adam: {learning_rate: 0.02}}}
"""
