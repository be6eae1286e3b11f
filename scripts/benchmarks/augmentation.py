"""`augmentation`: what flip, shift and cutout together cost beside a training step of the tutorial CNN."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks import networks
from benchmarks.figures import run_notes, spread, table
from benchmarks.images import write_images
from benchmarks.pool import Measured, race, say

AUGMENTATION: list[Any] = [
    {"RandomFlip": "horizontal"},
    {"RandomCrop": {"padding": 4}},
    # Cutout: a square of half the image's side in every image.
    {"RandomErasing": {"factor": [1, 1], "scale": [0.25, 0.25], "fill_value": 0}},
]


def measure(images: int, repeats: int) -> dict[str, Any]:
    """All figures, as JSON holds them.

    Args:
        images: Images in a repeat.
    """
    say("flip, shift and cutout beside the tutorial CNN")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        plain = folder / "plain.yaml"
        augmented = folder / "augmented.yaml"
        written = networks.config("tutorial", "none")
        plain.write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
        written["augmentation"] = AUGMENTATION
        augmented.write_text(yaml.safe_dump(written, sort_keys=False), encoding="utf-8")
        overrides = [f"data.splits.train=train[:{images}]"]
        found = write_images(plain, overrides, images, folder)
        given = {"overrides": overrides, "arrays": found.stand_in}
        measured = race(
            [
                ("training without augmentation", {"kind": "cnnkit", "config": str(plain), **given}),
                ("training with augmentation", {"kind": "cnnkit", "config": str(augmented), **given}),
                ("batches alone, without", {"kind": "cnnkit-pipeline", "config": str(plain), **given}),
                ("batches alone, with", {"kind": "cnnkit-pipeline", "config": str(augmented), **given}),
            ],
            repeats,
        )
    return {"repeats": repeats, "images": found.described(), "count": found.count, "contestants": measured}


def shares(more: Measured, less: Measured, whole: Measured) -> list[float]:
    """How much more CPU time one contestant takes than another, as shares of a third, repeat by repeat."""
    values = (one.values("cpu_seconds") for one in (more, less, whole))
    return [(a - b) / c for a, b, c in zip(*values, strict=True)]


def markdown(found: dict[str, Any]) -> str:
    """The figures as a table."""
    plain, augmented, batches, augmented_batches = found["contestants"]
    steps = -(-found["count"] // networks.BATCH_SIZE)
    rows = [
        [one.title, spread([1000 * value / steps for value in one.values("cpu_seconds")], ".2f")]
        for one in found["contestants"]
    ]
    text = (
        f"{found['images']}; {found['repeats']} interleaved repeats of {found['count']:,} images in batches of "
        f"{networks.BATCH_SIZE}, after one that is not counted. The first figure is the median. The augmentation: "
        f"`{yaml.safe_dump(AUGMENTATION, default_flow_style=True, width=1000).strip()}`."
    )
    result = (
        "Of the CPU time of a training step without augmentation, it takes "
        f"{spread(shares(augmented, plain, plain), '.1%')} in training, and "
        f"{spread(shares(augmented_batches, batches, plain), '.1%')} where batches are made and not learned from."
    )
    return (
        "\n\n".join(
            [text, table(["", "CPU ms per batch"], rows), result, *run_notes(found["contestants"])],
        )
        + "\n"
    )
