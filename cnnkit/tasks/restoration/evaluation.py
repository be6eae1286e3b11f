"""How near a restored picture is to the undamaged one, where that is known."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.data.images import read_image
from cnnkit.data.splits import Split
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.files import to_csv
from cnnkit.runs.directory import LARGEST_METRICS, Run, damaged
from cnnkit.runs.json_forms import REQUIRED
from cnnkit.runs.trained import TrainedRun
from cnnkit.task import Evaluation
from cnnkit.tasks.restoration.observation import observe, psnr, shrunk
from cnnkit.tasks.restoration.settings import Settings
from cnnkit.terminal.tables import aligned

#: The number of a step, in iterations.csv.
ITERATION = "iteration"

#: Of iterations.csv; `held_out` only where pixels are, `psnr` only where the undamaged picture is known.
COLUMNS = (ITERATION, "fit", "variance", "held_out", "psnr")
_OPTIONAL = {"held_out", "psnr"}

#: The side of the window of SSIM (Wang et al. 2004).
_SSIM_WINDOW = 11

#: What evaluation.json has where it is known.
_FIGURES = ("psnr", "ssim", "psnr_before", "ssim_before", "fit", "variance", "held_out")


@dataclass(frozen=True)
class RestoredPicture:
    """The one row of predictions.csv."""

    identity: str
    metrics: dict[str, Any]

    def as_csv(self) -> str:
        names = [name for name in _FIGURES if name in self.metrics]
        return to_csv(["file", *names], [[self.identity, *(self.metrics[name] for name in names)]])


def evaluate(members: Sequence[TrainedRun], images: Split, tta: Sequence[str]) -> Evaluation:
    """See `Task.evaluate`; several runs are the mean of their pictures."""
    if tta:
        raise UsageError("--tta is for networks that look at images; a restoration makes its picture of noise")
    config = members[0].loaded.config.data
    observation = observe(config, images.read([0])[0])
    pictures = [restored_picture(trained.run, observation.shown.shape) for trained in members]
    picture = np.rint(np.mean(pictures, axis=0)).astype(np.uint8)
    seen = picture if observation.times == 1 else shrunk(picture, observation.times)
    metrics: dict[str, Any] = {"images": 1}
    if not observation.is_exact:
        metrics["fit"] = psnr(seen, observation.pixels, observation.known)
    reference, before = observation.reference, observation.simply_restored
    if reference is not None:
        metrics |= {"psnr": psnr(picture, reference), "ssim": ssim(picture, reference)}
        if before is not None:
            metrics |= {"psnr_before": psnr(before, reference), "ssim_before": ssim(before, reference)}
        if len(members) > 1:
            each = [psnr(one, reference) for one in pictures]
            metrics["members"] = [
                {"run": trained.run.name, "psnr": value} for trained, value in zip(members, each, strict=True)
            ]
    if len(members) == 1:
        # Where the picture was made to fit, what is told is the fit of the network's own.
        metrics = {**metrics, **_taken(members[0]), **metrics}
    plain = {name: value for name, value in metrics.items() if not _is_infinite(value)}
    return Evaluation(plain, RestoredPicture(images.ids[0], plain))


def _is_infinite(value: Any) -> bool:
    return value is None or (isinstance(value, float) and not math.isfinite(value))


def _taken(trained: TrainedRun) -> dict[str, Any]:
    """After which iteration the picture was taken, and what was known of it then beside its PSNR."""
    columns = read_iterations(trained.run)
    if not columns:
        return {}
    place = place_taken(columns, trained)
    said: dict[str, Any] = {name: columns[name][place] for name in ("fit", "variance", "held_out") if name in columns}
    return {"iteration": int(columns[ITERATION][place]), "iterations": int(columns[ITERATION][-1]), **said}


def place_taken(columns: Mapping[str, Sequence[float]], trained: TrainedRun) -> int:
    """Which row of a run's iterations.csv is that at which the picture was taken.

    Args:
        columns: See `read_iterations`; one row at least.
    """
    task = trained.loaded.config.task
    assert isinstance(task, Settings)
    if task.decided_by is None:
        return len(columns[ITERATION]) - 1
    if task.decided_by not in columns:
        raise damaged(trained.run.iterations, f"it has no column `{task.decided_by}`")
    values = columns[task.decided_by]
    return int(np.argmin(values) if task.decided_by == "variance" else np.argmax(values))


def restored_picture(run: Run, shape: Sequence[int]) -> Any:
    """restored.png, uint8 [height, width, channels].

    Raises:
        CnnkitError: if it is not there, or of another shape.
    """
    try:
        with run.open(run.restored, LARGEST_METRICS) as stream:
            picture = read_image(stream, None, shape[-1])
    except FileNotFoundError:
        raise CnnkitError(
            f"the run `{run.path}` has no {run.restored.name}: no epoch of it has ended", "Go on with it: --resume"
        ) from None
    if picture.shape != tuple(shape):
        raise damaged(run.restored, f"it is {picture.shape}, but the picture is {tuple(shape)}")
    return picture


def ssim(picture: Any, reference: Any) -> float | None:
    """The mean structural similarity of uint8 pictures (Wang et al. 2004); None of pictures smaller than its window."""
    if min(picture.shape[:2]) < _SSIM_WINDOW:
        return None
    import tensorflow as tf

    return float(tf.image.ssim(tf.constant(picture), tf.constant(reference), 255, filter_size=_SSIM_WINDOW))


def read_iterations(run: Run) -> dict[str, list[float]]:
    """The columns of iterations.csv, each by its name; none where there is no such file, or no row in it.

    Raises:
        CnnkitError: if the file is broken.
    """
    try:
        header, *rows = csv.reader(io.StringIO(run.read(run.iterations, LARGEST_METRICS)))
        values = [[float(cell) for cell in row] for row in rows]
    except FileNotFoundError:
        return {}
    except ValueError:
        header, values = [], []
    expected = [name for name in COLUMNS if name in header or name not in _OPTIONAL]
    if header != expected or any(len(row) != len(header) for row in values):
        raise damaged(run.iterations, "it should hold a row of numbers for each step")
    return dict(zip(header, map(list, zip(*values, strict=True)), strict=True)) if values else {}


def read_evaluation(run: Run) -> dict[str, Any]:
    """evaluation.json; PSNR and SSIM are missing where the undamaged picture is not known."""
    form = {"images": int, "iteration": int, "iterations": int, **dict.fromkeys(_FIGURES, float)}
    return run.read_evaluation({**form, REQUIRED: ("images",)})


def summary(metrics: dict[str, Any]) -> str:
    """See `Task.summary`."""
    if "psnr" not in metrics:
        fit = f"fit {metrics['fit']:.2f} dB " if "fit" in metrics else ""
        return f"{fit}(the undamaged picture is not known: no PSNR)"
    before = f" (before {metrics['psnr_before']:.2f} dB)" if "psnr_before" in metrics else ""
    said = f"PSNR {metrics['psnr']:.2f} dB{before}"
    return f"{said}  SSIM {metrics['ssim']:.4f}" if "ssim" in metrics else said


def table(metrics: dict[str, Any]) -> str:
    """See `Task.table`."""
    rows = []
    for name, label in (("psnr", "PSNR"), ("ssim", "SSIM")):
        if name in metrics:
            text = [
                f"{metrics[key]:.2f} dB" if name == "psnr" else f"{metrics[key]:.4f}"
                for key in (name, f"{name}_before")
                if key in metrics
            ]
            rows.append([label, text[0] + (f" (before: {text[1]})" if len(text) > 1 else "")])
    if "fit" in metrics:
        rows.append(["fit", f"{metrics['fit']:.2f} dB to what was learned of"])
    if "iteration" in metrics:
        rows.append(["taken", f"after {metrics['iteration']:,} of {metrics['iterations']:,} iterations"])
    return aligned(rows, "<<")
