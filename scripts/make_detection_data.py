"""Canvases of MNIST digits to detect: of any size, overlapping, among clutter; with their boxes in COCO's format.

    python scripts/make_detection_data.py digits_boxes

writes `digits_boxes/train`, `val` and `test`, each with `images/*.png` and `annotations.json`: 128x128 pixels, grey,
1 to 8 digits of 12 to 48 pixels, and up to 12 pieces of other digits, lines and dots that are nothing to be found. The
digits of `train` and `val` are from MNIST's training images, those of `test` from its test images. A box is as tight as
its digit's ink. The same seed gives the same files.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from cnnkit.config.data import DataConfig
from cnnkit.data import load
from cnnkit.terminal.console import echo

#: Ink that belongs to a digit, 0..255: fainter pixels are the smoothing of its edge.
INK = 64

#: The height of a digit's ink is drawn between these, in pixels, evenly on a logarithmic scale.
SMALLEST, LARGEST = 12, 48

#: No digit covers more of another's box than that.
COVERED = 0.35


@dataclass(frozen=True)
class Kind:
    """The digits that a split is made of: uint8 [n, 28, 28], and their numbers [n]."""

    images: Any
    labels: Any


@dataclass(frozen=True)
class Canvas:
    """An image, uint8 [size, size], and for each digit its number, left, top, width, height."""

    pixels: Any
    digits: list[tuple[int, int, int, int, int]]


def resized(digit: Any, generator: np.random.Generator) -> Any:
    """A digit of another size and slightly other proportions, cut to its ink: uint8 [height, width]."""
    rows, columns = np.flatnonzero((digit > INK).any(axis=1)), np.flatnonzero((digit > INK).any(axis=0))
    inner = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height = float(np.exp(generator.uniform(np.log(SMALLEST), np.log(LARGEST))))
    width = height * inner.shape[1] / inner.shape[0] * float(np.exp(generator.uniform(-0.2, 0.2)))
    size = (max(3, round(width)), round(height))
    return np.asarray(Image.fromarray(inner).resize(size, Image.Resampling.BICUBIC))


def free_place(size: int, shape: Sequence[int], taken: Any, generator: np.random.Generator) -> tuple[int, int] | None:
    """Left and top of a box that neither covers much of another one nor is covered; None where none is found soon.

    Args:
        taken: Left, top, right, bottom of the others, [n, 4].
    """
    height, width = shape
    for _ in range(20):
        left = int(generator.integers(0, size - width + 1))
        top = int(generator.integers(0, size - height + 1))
        across = np.minimum(taken[:, 2], left + width) - np.maximum(taken[:, 0], left)
        down = np.minimum(taken[:, 3], top + height) - np.maximum(taken[:, 1], top)
        areas = (taken[:, 2] - taken[:, 0]) * (taken[:, 3] - taken[:, 1])
        smaller = np.minimum(areas, height * width)
        if (np.maximum(across, 0) * np.maximum(down, 0) <= COVERED * smaller).all():
            return left, top
    return None


def add_clutter(pixels: Any, kind: Kind, generator: np.random.Generator) -> Any:
    """The canvas with pieces of digits, lines and dots on it."""
    size = len(pixels)
    picture = Image.fromarray(pixels)
    pen = ImageDraw.Draw(picture)
    for _ in range(generator.integers(0, 4)):
        ends = [int(end) for end in generator.integers(0, size, 2)]
        reach = [int(end) for end in generator.integers(-20, 21, 2)]
        line = (ends[0], ends[1], ends[0] + reach[0], ends[1] + reach[1])
        pen.line(line, fill=int(generator.integers(60, 200)), width=int(generator.integers(1, 3)))
    pixels = np.array(picture)
    for _ in range(generator.integers(0, 9)):
        digit = kind.images[generator.integers(len(kind.images))]
        row, column = generator.integers(4, 16, 2)
        side = int(generator.integers(5, 10))
        piece = digit[row : row + side, column : column + side]
        top, left = generator.integers(0, size - side, 2)
        window = pixels[top : top + side, left : left + side]
        np.maximum(window, piece, out=window)
    return pixels


def make_canvas(size: int, kind: Kind, generator: np.random.Generator) -> Canvas:
    """One canvas; one in twenty has no digit."""
    pixels = add_clutter(np.zeros((size, size), np.uint8), kind, generator)
    digits: list[tuple[int, int, int, int, int]] = []
    count = 0 if generator.random() < 0.05 else int(generator.integers(1, 9))
    for _ in range(count):
        chosen = int(generator.integers(len(kind.images)))
        digit = resized(kind.images[chosen], generator)
        taken = np.array([(x, y, x + w, y + h) for _, x, y, w, h in digits]).reshape(-1, 4)
        place = free_place(size, digit.shape, taken, generator)
        if place is None:
            continue
        left, top = place
        height, width = digit.shape
        window = pixels[top : top + height, left : left + width]
        shade = float(generator.uniform(0.6, 1.0))
        np.maximum(window, (digit * shade).astype(np.uint8), out=window)
        digits.append((int(kind.labels[chosen]), left, top, width, height))
    noise = generator.normal(0, generator.uniform(0, 20), pixels.shape)
    return Canvas(np.clip(pixels + noise, 0, 255).astype(np.uint8), digits)


def write_split(folder: Path, canvases: Sequence[Canvas]) -> None:
    """Images and `annotations.json` of a split."""
    (folder / "images").mkdir(parents=True)
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    for number, canvas in enumerate(canvases):
        name = f"{number:05d}.png"
        Image.fromarray(canvas.pixels).save(folder / "images" / name)
        height, width = canvas.pixels.shape
        images.append({"id": number, "file_name": name, "height": height, "width": width})
        for digit, *box in canvas.digits:
            identity = len(annotations) + 1
            area = box[2] * box[3]
            entry = {"id": identity, "image_id": number, "category_id": digit, "bbox": box, "area": area, "iscrowd": 0}
            annotations.append(entry)
    categories = [{"id": digit, "name": str(digit)} for digit in range(10)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document), "utf-8")


def mnist() -> dict[str, Kind]:
    """The digits of each split."""
    data = load(DataConfig.model_validate({"name": "mnist", "validation": 0, "memory": "cache"}), seed=0)
    assert data.train is not None
    assert data.test is not None
    kinds = {}
    for name, split in (("train", data.train), ("test", data.test)):
        assert split.images is not None
        kinds[name] = Kind(split.images[..., 0], split.labels)
    # The validation canvases have digits of their own.
    last = len(kinds["train"].labels) * 9 // 10
    whole = kinds["train"]
    return {
        "train": Kind(whole.images[:last], whole.labels[:last]),
        "val": Kind(whole.images[last:], whole.labels[last:]),
        "test": kinds["test"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", type=Path, help="where to write; must not be there")
    parser.add_argument("--train", type=int, default=30000, help="training canvases (default: %(default)s)")
    parser.add_argument("--val", type=int, default=500, help="validation canvases (default: %(default)s)")
    parser.add_argument("--test", type=int, default=1000, help="test canvases (default: %(default)s)")
    parser.add_argument("--size", type=int, default=128, help="height and width in pixels (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn (default: %(default)s)")
    arguments = parser.parse_args()
    if arguments.folder.exists():
        parser.error(f"{arguments.folder} is there already")
    if arguments.size < LARGEST * 2:
        parser.error(f"--size should be {LARGEST * 2} or more, for digits of up to {LARGEST} pixels")
    kinds = mnist()
    for place, (name, kind) in enumerate(kinds.items()):
        count = getattr(arguments, name)
        canvases = []
        for number in range(count):
            generator = np.random.default_rng((arguments.seed, place, number))
            canvases.append(make_canvas(arguments.size, kind, generator))
        write_split(arguments.folder / name, canvases)
        digits = sum(len(canvas.digits) for canvas in canvases)
        echo(f"{arguments.folder / name}: {count:,} canvases, {digits:,} digits")


if __name__ == "__main__":
    main()
