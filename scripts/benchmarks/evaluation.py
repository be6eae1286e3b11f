"""`evaluation`: the pass over the images that `cnnkit eval` makes, against `model.predict` of an array."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.figures import best_ratio, ratios, run_notes, spread, table
from benchmarks.images import write_images
from benchmarks.pool import ask, race, say
from cnnkit.config import shipped

CONFIG = "cifar10"

#: Images that the network is trained on before: a new network's values are others, and the speed is not quite the same.
TRAINED = 2560


def measure(images: int, repeats: int) -> dict[str, Any]:
    """All figures, as JSON holds them.

    Args:
        images: Test images in a repeat.
    """
    say(f"evaluation of {images:,} images with {CONFIG}.yaml")
    file = shipped.find(CONFIG)
    overrides = [
        "data.validation=0",
        f"data.splits.train=train[:{TRAINED}]",
        # They do not fill a batch.
        "data.drop_remainder=false",
        f"data.splits.test=test[:{images}]",
        "training.schedule=null",
        "training.warmup_epochs=0",
        "training.early_stopping=null",
        "training.epochs=1",
    ]
    with tempfile.TemporaryDirectory() as folder:
        found = write_images(file, overrides, images, Path(folder), "test")
        run = str(Path(folder) / "run")
        model = _train(file, overrides, run, found.stand_in)
        predict = {"kind": "keras-predict", "model": model, "arrays": found.path}
        measured = race(
            [
                ("cnnkit eval", {"kind": "cnnkit-evaluation", "run": run, "arrays": found.stand_in}),
                ("model.predict, set up as in cnnkit", {**predict, "tuned": True}),
                ("model.predict, plain Keras", {**predict, "tuned": False}),
            ],
            repeats,
        )
    return {"repeats": repeats, "images": found.described(), "count": found.count, "contestants": measured}


def _train(config: Path, overrides: list[str], output: str, arrays: str | None) -> str:
    """Trains the network that all contestants use, and returns its file."""
    spec = {"config": str(config), "overrides": overrides, "output": output, "arrays": arrays}
    return str(ask("training the network", {"kind": "trained-run", **spec})["model"])


def markdown(found: dict[str, Any]) -> str:
    """The figures as a table."""
    ours = found["contestants"][0]
    rows = []
    for one in found["contestants"]:
        walls = one.values("wall_seconds")
        compared = [spread(ratios(one, ours, "cpu_seconds"), ".2f"), f"{best_ratio(one, ours):.2f}"]
        rows.append(
            [
                one.title,
                f"{found['count'] / min(walls):,.0f}",
                f"{found['count'] / statistics.median(walls):,.0f}",
                spread([1000 * value / found["count"] for value in one.values("cpu_seconds")], ".3g"),
                *(["", ""] if one is ours else compared),
            ]
        )
    header = [
        "",
        "images/s, best",
        "images/s, median",
        "CPU s per 1,000 images",
        "CPU time / cnnkit",
        "best wall / cnnkit",
    ]
    batch = found["contestants"][1].repeats[-1]["batch_size"]
    text = (
        f"{found['images']}: {found['count']:,} test images and the network of {CONFIG}.yaml; {found['repeats']} "
        f"interleaved repeats after one that is not counted, in batches of {batch}, all with the same weights, from "
        f"{TRAINED:,} training images. What counts for cnnkit is the whole pass from the images in memory to outputs "
        "and labels, its graph built anew each time, as `cnnkit eval` does; `model.predict` has its graph from the "
        "repeat before."
    )
    return "\n\n".join([text, table(header, rows), *run_notes(found["contestants"])]) + "\n"
