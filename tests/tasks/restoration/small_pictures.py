"""A small picture, and a narrow network that restores it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def smooth_picture(height: int = 32, width: int = 40) -> np.ndarray:
    """uint8 [height, width, 3]: gradients, and a bright square."""
    rows, columns = np.mgrid[0:height, 0:width]
    pixels = np.stack([255 * rows / height, 255 * columns / width, 128 + 60 * np.sin(rows / 5)], axis=-1)
    pixels[8:20, 10:24] = (250, 200, 30)
    return np.rint(pixels).astype(np.uint8)


def save(pixels: np.ndarray, path: Path) -> str:
    """Writes a picture; returns its path."""
    Image.fromarray(pixels).save(path)
    return str(path)


def config(image: str, **sections: Any) -> dict[str, Any]:
    """A network of three convolutions that restores a picture in epochs of eight steps."""
    convolution = {"Conv2D": {"filters": 8, "kernel_size": 3, "padding": "same", "activation": "relu"}}
    base: dict[str, Any] = {
        "seed": 1,
        "task": {"restoration": {"iterations": 8, "input_channels": 4, "average": 0.8}},
        "data": {"image": image, "damage": {"noise": 25}},
        "model": {
            "layers": [
                convolution,
                {"BatchNormalization": {"momentum": 0.5}},
                convolution,
                {"Conv2D": {"filters": "image_channels", "kernel_size": 1, "activation": "sigmoid"}},
            ]
        },
        "training": {"epochs": 3, "optimizer": {"Adam": {"learning_rate": 0.02}}, "tensorboard": False},
    }
    return base | sections
