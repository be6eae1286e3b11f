"""`recipe`: configs/cifar10_best.yaml against the same network, augmentation and optimizer in PyTorch."""

from __future__ import annotations

import importlib.util
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.figures import best_ratio, ratios, run_notes, spread, table
from benchmarks.images import write_images
from benchmarks.pool import BenchmarkError, Measured, race, say
from benchmarks.throughput import POLICIES
from cnnkit.config import shipped

CONFIG = "cifar10_best"
#: The config computes some of it by faster operations, equal up to rounding.
PLAIN = ("training.fused_activations=off", "training.forward_filter_gradients=off")


def measure(precisions: list[str], images: int, repeats: int) -> dict[str, Any]:
    """All figures, as JSON holds them.

    Args:
        precisions: Of `POLICIES`; each has a contestant of either side.
        images: Images in a repeat, whole batches of 1,000.

    Raises:
        BenchmarkError: if the images fill no batch.
    """
    from benchmarks.torch_recipe import BATCH_SIZE

    if images % BATCH_SIZE:
        raise BenchmarkError(f"the recipe has batches of {BATCH_SIZE:,}; {images:,} images do not fill them")
    has_torch = importlib.util.find_spec("torch") is not None
    say(f"{CONFIG}.yaml, {images:,} images in a repeat")
    file = shipped.find(CONFIG)
    overrides = [f"data.splits.train=train[:{images}]"]
    with tempfile.TemporaryDirectory() as folder:
        found = write_images(file, overrides, images, Path(folder))
        entries: list[tuple[str, dict[str, Any]]] = []
        for precision in precisions:
            policy = f"training.dtype_policy={POLICIES[precision]}"
            ours = {"kind": "cnnkit", "config": str(file), "arrays": found.stand_in}
            plain = {**ours, "overrides": [*overrides, policy, *PLAIN]}
            entries.append((f"cnnkit by Keras' operations, {precision}", plain))
            entries.append((f"cnnkit, {precision}", {**ours, "overrides": [*overrides, policy]}))
            if has_torch:
                spec = {"kind": "torch-recipe", "arrays": found.path, "precision": precision}
                entries.append((f"PyTorch eager, {precision}", spec))
        measured = race(entries, repeats)
    skipped = [] if has_torch else ["PyTorch is not installed: its rows are left out."]
    return {
        "repeats": repeats,
        "count": images,
        "images": found.described(),
        "skipped": skipped,
        "contestants": measured,
    }


def markdown(found: dict[str, Any]) -> str:
    """The figures as tables."""
    contestants: list[Measured] = found["contestants"]
    thousands = found["count"] / 1000
    rows = []
    for one in contestants:
        walls = one.values("wall_seconds")
        rows.append(
            [
                one.title,
                f"{min(walls) / thousands:.2f}",
                f"{statistics.median(walls) / thousands:.2f}",
                spread([value / thousands for value in one.values("cpu_seconds")], ".3g"),
                f"{one.repeats[-1]['loss']:.3f}" if "loss" in one.repeats[-1] else "",
            ]
        )
    header = ["", "seconds per 1,000 images, best", "median", "CPU s per 1,000 images", "loss at the end"]
    text = (
        f"{found['images']}: the training steps of {CONFIG}.yaml with their augmentation; {found['repeats']} "
        f"interleaved repeats of {found['count']:,} images, each contestant a process of its own; one "
        "epoch before them is not counted."
    )
    compared = [[f"{slower.title} / {faster.title}", *_ratio(slower, faster)] for slower, faster in _pairs(contestants)]
    parts = [text, *found["skipped"], table(header, rows), table(["", "CPU time", "wall time, best"], compared)]
    return "\n\n".join([*parts, *run_notes(contestants, same=False)]) + "\n"


def _pairs(contestants: list[Measured]) -> Iterator[tuple[Measured, Measured]]:
    """What is compared: each with cnnkit's first row, and PyTorch with all of cnnkit's in the same precision."""
    first = contestants[0]
    yield from ((first, one) if one.title.startswith("cnnkit") else (one, first) for one in contestants[1:])
    for theirs in contestants:
        if theirs.title.startswith("PyTorch"):
            precision = theirs.title.rpartition(", ")[2]
            for ours in contestants[1:]:
                if ours.title.startswith("cnnkit") and ours.title.endswith(precision):
                    yield theirs, ours


def _ratio(slower: Measured, faster: Measured) -> list[str]:
    return [spread(ratios(slower, faster, "cpu_seconds"), ".2f"), f"{best_ratio(slower, faster):.2f}"]
