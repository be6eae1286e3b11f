"""`scaling`: how time and memory of `cnnkit train` grow with the data set, the image and the batch."""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.figures import peak_mebibytes, run_notes, spread, table
from benchmarks.images import write_images
from benchmarks.pool import race, say


@dataclass(frozen=True)
class Point:
    """One training: so many images of so many pixels in height and width, in batches of so many."""

    images: int
    size: int
    batch_size: int


@dataclass(frozen=True)
class Series:
    """Points that differ in one thing."""

    title: str
    points: tuple[Point, ...]


def series(images: int) -> dict[str, Series]:
    """What is measured.

    Args:
        images: The smallest data set; the others follow from it.
    """
    return {
        "images": Series("data-set size", tuple(Point(images * factor, 32, 128) for factor in (1, 4, 16, 64))),
        "size": Series("image size", tuple(Point(images, size, 128) for size in (16, 32, 64, 128))),
        "batch": Series("batch size", tuple(Point(4 * images, 32, batch) for batch in (16, 64, 256, 1024))),
    }


def config(point: Point) -> dict[str, Any]:
    """Two convolutions and global pooling, which take images of any size."""
    return {
        "data": {
            "name": "random_images",
            "shape": [point.size, point.size, 3],
            "classes": 10,
            "batch_size": point.batch_size,
            "validation": 0,
            "normalization": "scale",
        },
        "model": {
            "layers": [
                {"Conv2D": {"filters": 16, "kernel_size": 3, "padding": "same", "activation": "relu"}},
                {"MaxPooling2D": 2},
                {"Conv2D": {"filters": 32, "kernel_size": 3, "padding": "same", "activation": "relu"}},
                "GlobalAveragePooling2D",
                {"Dense": "classes"},
            ]
        },
    }


def measure(names: list[str], images: int, repeats: int) -> dict[str, Any]:
    """All figures, as JSON holds them; the points of a series are interleaved.

    Args:
        names: Keys of `series`.
    """
    found: dict[str, Any] = {"repeats": repeats, "series": {}}
    for name in names:
        chosen = series(images)[name]
        say(chosen.title)
        with tempfile.TemporaryDirectory() as folder:
            entries = [_entry(point, Path(folder)) for point in chosen.points]
            measured = race(entries, repeats)
        rows = [{"point": vars(point), "cnnkit": one} for point, one in zip(chosen.points, measured, strict=True)]
        found["series"][name] = {"title": chosen.title, "points": rows}
    return found


def _entry(point: Point, folder: Path) -> tuple[str, dict[str, Any]]:
    file = folder / f"{point.images}-{point.size}-{point.batch_size}.yaml"
    file.write_text(yaml.safe_dump(config(point), sort_keys=False), encoding="utf-8")
    arrays = write_images(file, [], point.images, folder, real=False).path
    title = f"{point.images:,} images of {point.size}x{point.size} in batches of {point.batch_size}"
    return title, {"kind": "cnnkit", "config": str(file), "overrides": [], "arrays": arrays}


def markdown(found: dict[str, Any]) -> str:
    """One table for each series."""
    parts = [
        "Random images, two convolutions (16 and 32 filters) and global pooling, without augmentation. One epoch that "
        f"is not counted, then {found['repeats']} interleaved repeats of one epoch; median and range."
    ]
    header = [
        "images",
        "pixels",
        "batch",
        "images in memory",
        "seconds per epoch",
        "CPU s per 1,000 images",
        "peak memory",
    ]
    for one in found["series"].values():
        rows = []
        for entry in one["points"]:
            point, measured = Point(**entry["point"]), entry["cnnkit"]
            rows.append(
                [
                    f"{point.images:,}",
                    f"{point.size}x{point.size}",
                    f"{point.batch_size}",
                    f"{point.images * point.size**2 * 3 / 2**20:,.0f} MiB",
                    spread(measured.values("wall_seconds"), ".3g"),
                    f"{1000 * statistics.median(measured.values('cpu_seconds')) / point.images:.3g}",
                    f"{peak_mebibytes(measured):,.0f} MiB",
                ]
            )
        remarks = run_notes([entry["cnnkit"] for entry in one["points"]], same=False)
        parts += [f"### By {one['title']}", table(header, rows), *remarks]
    return "\n\n".join(parts) + "\n"
