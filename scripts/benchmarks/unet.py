"""`unet`: the U-Net of configs/unet_camvid.yaml in cnnkit and in plain Keras."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.configs import WITHIN_EPOCHS
from benchmarks.figures import best_ratio, peak_mebibytes, ratios, run_notes, spread, table
from benchmarks.images import write_pairs
from benchmarks.pool import Measured, race
from cnnkit.config import shipped

CONFIG = "unet_camvid"


def measure(images: int, repeats: int) -> dict[str, Any]:
    """All figures, as JSON holds them.

    Args:
        images: Images in a repeat, each with its mask; random ones of the config's size.
    """
    file = shipped.find(CONFIG)
    with tempfile.TemporaryDirectory() as folder:
        arrays = write_pairs(Path(folder), yaml.safe_load(file.read_text(encoding="utf-8"))["data"], images)
        overrides = [*WITHIN_EPOCHS, f"data.folder={folder}"]
        given = {"config": str(file), "overrides": overrides}
        ours, plain = race(
            [
                ("cnnkit", {"kind": "cnnkit", **given}),
                ("plain Keras", {"kind": "keras-unet", **given, "arrays": arrays}),
            ],
            repeats,
        )
    run_notes([ours, plain])
    return {"images": images, "repeats": repeats, "contestants": [ours, plain]}


def markdown(found: dict[str, Any]) -> str:
    """The figures as tables."""
    contestants: list[Measured] = found["contestants"]
    ours, plain = contestants
    rows = [
        [
            one.title,
            f"{found['images'] / min(one.values('wall_seconds')):.1f}",
            spread([1000 * value / found["images"] for value in one.values("cpu_seconds")], ".3g"),
            f"{peak_mebibytes(one):,.0f} MiB",
        ]
        for one in contestants
    ]
    compared = [
        [
            "plain Keras / cnnkit",
            spread(ratios(plain, ours, "cpu_seconds"), ".2f"),
            f"{best_ratio(plain, ours):.2f}",
        ]
    ]
    text = (
        f"{found['repeats']} interleaved repeats of {found['images']:,} random images and masks, each side a process "
        "of its own; one epoch before them is not counted. Where a range is given, the first figure is the median."
    )
    parts = [
        text,
        table(["", "images/s, best", "CPU s per 1,000 images", "peak memory"], rows),
        table(["", "CPU time", "wall time, best"], compared),
    ]
    return "\n\n".join([*parts, *run_notes(contestants)]) + "\n"
