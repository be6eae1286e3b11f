"""What the training section says of its own length, of names of metrics and of what is watched."""

from __future__ import annotations

from collections.abc import Iterator

from cnnkit.config.data import DataConfig
from cnnkit.config.reports import Report
from cnnkit.config.training import TrainingConfig
from cnnkit.format.explain import Path
from cnnkit.format.similar import suggestion
from cnnkit.task import EPOCH, Task

#: The columns of metrics.csv that are no metrics.
_OTHER_COLUMNS = ("epoch", "seconds", "images_per_second")


def check_training(training: TrainingConfig, data: DataConfig, task: Task, report: Report) -> None:
    """Holds lengths, names of metrics and what is watched against each other, whatever is learned."""
    for path, part in _parts(training):
        if part.warmup_epochs and part.warmup_epochs >= part.epochs:
            what = "stage" if training.stages else "run"
            message = f"a warm-up of {part.warmup_epochs:g} epochs leaves nothing of a {what} of {part.epochs}"
            report((*path, "warmup_epochs"), message, False)
    own = [figure.name for figure in task.columns]
    measured = [*own, *(metric.column for metric in training.metrics)]
    for index, name in enumerate(measured[len(own) :]):
        path = ("training", "metrics", index, type(training.metrics[index]).__name__, "name")
        if name in measured[: index + len(own)]:
            report(path, f"`{name}` is measured already; give this one another `name`")
        elif name in _OTHER_COLUMNS or name.startswith(("val_", "learning_rate")):
            report(path, f"`{name}` is a column of metrics.csv already; give this metric another `name`")
    known = [*measured, *(f"val_{name}" for name in measured)]
    monitors: list[tuple[Path, str]] = []
    if training.monitor is not None and training.monitor != EPOCH:
        monitors.append((("training", "monitor"), training.monitor))
    for path, part in _parts(training):
        if part.plateau is not None:
            monitors.append(((*path, "schedule", type(part.plateau).__name__, "monitor"), part.plateau.monitor))
    if training.early_stopping is not None:
        monitors.append((("training", "early_stopping", "monitor"), training.early_stopping.monitor))
    for path, monitor in monitors:
        if monitor not in known:
            report(path, f"unknown metric `{monitor}`{suggestion(monitor, known)}", False)
        elif monitor.startswith("val_") and not data.validation and not data.splits.validation:
            message = f"`{monitor}` needs validation data, but `data.validation` is 0; watch `{monitor[4:]}` instead"
            report(path, message, False)


def _parts(training: TrainingConfig) -> Iterator[tuple[Path, TrainingConfig]]:
    """The section as it holds in each stage, with the path to what is written of the stage."""
    for index, part in enumerate(training.in_stages()):
        yield (("training", "stages", index) if training.stages else ("training",)), part
