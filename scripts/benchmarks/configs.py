"""`configs`: every shipped config in cnnkit against a plain Keras script of the same network."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.figures import best_ratio, ratios, run_notes, spread, table
from benchmarks.images import write_images
from benchmarks.pool import Measured, race, say
from cnnkit.config import shipped
from cnnkit.config.load import LoadedConfig, load_config

#: Above this height, images are large: few of them, in small batches, since a step takes seconds.
LARGE_IMAGE = 128
LARGE_BATCH = 32
LARGE_BATCHES = 2

#: No validation, and nothing that acts between epochs.
WITHIN_EPOCHS = (
    "data.validation=0",
    "training.schedule=null",
    "training.warmup_epochs=0",
    "training.early_stopping=null",
)


def measure(names: list[str], images: int, repeats: int) -> dict[str, Any]:
    """All figures, as JSON holds them.

    Args:
        names: Shipped configs, without `.yaml`.
        images: Images in a repeat, where they are small.
    """
    found: dict[str, Any] = {"repeats": repeats, "configs": {}}
    for name in names:
        say(name)
        with tempfile.TemporaryDirectory() as folder:
            found["configs"][name] = _measure_config(name, images, repeats, Path(folder))
    return found


def overrides_for(loaded: LoadedConfig, images: int) -> tuple[list[str], int]:
    """What both sides change in a config, and how many images a repeat has.

    The rest runs as it is written.
    """
    overrides = list(WITHIN_EPOCHS)
    if loaded.info.shape[0] > LARGE_IMAGE:
        overrides.append(f"data.batch_size={LARGE_BATCH}")
        images = LARGE_BATCHES * LARGE_BATCH
    else:
        # Whole batches, at least one: some configs drop what does not fill one.
        batch_size = loaded.config.data.batch_size
        images = max(images // batch_size, 1) * batch_size
    if loaded.config.data.name in (None, "digits"):
        # They have no slices: the whole training split.
        return overrides, sys.maxsize
    return [*overrides, f"data.splits.train=train[:{images}]"], images


def _measure_config(name: str, images: int, repeats: int, folder: Path) -> dict[str, Any]:
    file = shipped.find(name)
    overrides, images = overrides_for(load_config(str(file)), images)
    found = write_images(file, overrides, images, folder)
    given = {"config": str(file), "overrides": overrides}
    ours, plain = race(
        [
            ("cnnkit", {"kind": "cnnkit", **given, "arrays": found.stand_in}),
            ("plain Keras", {"kind": "keras-config", **given, "arrays": found.path}),
        ],
        repeats,
    )
    # Contestants that did not do the same end the measuring here, not after the last config.
    run_notes([ours, plain])
    return {
        "images": found.described(),
        "count": found.count,
        "batch_size": load_config(str(file), overrides).config.data.batch_size,
        "left_out": plain.repeats[-1]["left_out"],
        "cnnkit": ours,
        "keras": plain,
    }


def markdown(found: dict[str, Any]) -> str:
    """The figures as a table."""
    header = ["config", "images", "batch", "cnnkit, CPU s per 1,000", "Keras / cnnkit, CPU time", "wall time, best"]
    rows, notes = [], []
    everyone: list[Measured] = []
    for name, one in found["configs"].items():
        ours: Measured = one["cnnkit"]
        plain: Measured = one["keras"]
        rows.append(
            [
                name,
                f"{one['count']:,}",
                str(one["batch_size"]),
                spread([1000 * value / one["count"] for value in ours.values("cpu_seconds")], ".3g"),
                spread(ratios(plain, ours, "cpu_seconds"), ".2f"),
                f"{best_ratio(plain, ours):.2f}",
            ]
        )
        if one["images"].startswith("Random"):
            notes.append(f"{name}: random images, since the data set was not there.")
        if one["left_out"]:
            notes.append(f"{name}: plain Keras runs without {', '.join(one['left_out'])}, which it lacks.")
        everyone += [ours, plain]
    text = (
        f"{found['repeats']} interleaved repeats of one epoch without validation, after one that is not counted. Where "
        "a range is given, the first figure is the median."
    )
    return "\n\n".join([text, table(header, rows), *run_notes(everyone, same=False), *notes]) + "\n"
