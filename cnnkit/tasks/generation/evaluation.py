"""What a generator is worth, measured on the images that it makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.data.splits import Split
from cnnkit.errors import UsageError
from cnnkit.files import to_csv
from cnnkit.format.seeds import derive_seed
from cnnkit.runs.directory import Run
from cnnkit.runs.json_forms import REQUIRED
from cnnkit.runs.trained import TrainedRun
from cnnkit.task import Evaluation
from cnnkit.tasks.generation.sampling import latents, samples

#: Images that are made for a measurement, and real ones that are read for it.
MEASURED = 1000


@dataclass(frozen=True)
class MadeImages:
    """The rows of predictions.csv, one for each image that was made."""

    brightness: Sequence[float]

    def as_csv(self) -> str:
        return to_csv(["sample", "mean"], [[number, f"{mean:.4f}"] for number, mean in enumerate(self.brightness)])


def evaluate(members: Sequence[TrainedRun], images: Split, tta: Sequence[str]) -> Evaluation:
    """See `Task.evaluate`."""
    if tta:
        raise UsageError("--tta is for networks that look at images; a generator makes them of latent vectors")
    if len(members) > 1:
        raise UsageError("the images of several generators have no mean; measure each run by itself")
    (trained,) = members
    vectors = latents(derive_seed(trained.loaded.config.seed, "latents", "measured"), MEASURED, trained.task.latent)  # type: ignore[attr-defined]
    made = samples(trained, vectors).astype(np.float64)
    count = min(images.size, MEASURED)
    real = images.read(np.arange(count) * images.size // count).astype(np.float64)
    spread = float(np.sqrt(made.var(axis=0).mean() / max(real.var(axis=0).mean(), 1e-12)))
    metrics = {"images": count, "samples": MEASURED, "spread": spread}
    return Evaluation(metrics, MadeImages((made.mean(axis=(1, 2, 3)) / 255).tolist()))


def read_evaluation(run: Run) -> dict[str, Any]:
    """evaluation.json."""
    form = {"images": int, "samples": int, "spread": float}
    return run.read_evaluation({**form, REQUIRED: tuple(form)})


def summary(metrics: dict[str, Any]) -> str:
    """See `Task.summary`."""
    return (
        f"spread {metrics['spread']:.2f} of that of {metrics['images']:,} real images ({metrics['samples']:,} samples)"
    )
