"""Small data sets of images, as class folders and as tables."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def write_table(file: Path, rows: Iterable[Mapping[str, object]], delimiter: str = ",") -> Path:
    """A table whose columns are the keys of its rows."""
    listed = list(rows)
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(listed[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(listed)
    return file


def write_pictures(folder: Path, names: Sequence[str], seed: int = 0) -> None:
    """PNG files of 6x5 pixels in colour, no two of them alike."""
    random = np.random.default_rng(seed)
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (6, 5, 3), np.uint8)).save(path)


def write_classes(folder: Path, counts: Mapping[str, int]) -> list[dict[str, str]]:
    """Class folders of pictures; the rows of a table that says the same, not in their order."""
    names = [(f"{kind}/{number}.png", kind) for kind, count in counts.items() for number in range(count)]
    write_pictures(folder, [name for name, _ in names])
    shuffled = np.random.default_rng(1).permutation(len(names))
    return [{"image": names[place][0], "label": names[place][1]} for place in shuffled]
