"""What a config says, held against images with one or several numbers."""

from __future__ import annotations

from collections.abc import Sequence

from cnnkit.config.check import Parts
from cnnkit.config.check_objectives import check_metrics, check_vector
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.reports import Report
from cnnkit.config.training import TrainingConfig
from cnnkit.layers.stack import Step, last_activation

#: The name of the layer behind those of the config, which gives numbers back in their units.
UNITS = "units"

#: The losses that make sense for standardised numbers, which are as often below 0 as above.
LOSSES = ("MeanSquaredError", "MeanAbsoluteError", "Huber", "LogCosh")

METRICS = (
    "MeanSquaredError",
    "RootMeanSquaredError",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanSquaredLogarithmicError",
    "LogCoshError",
    "R2Score",
)

_ENDING = "end with `Flatten` or `GlobalAveragePooling2D` and `Dense: targets`"


def check(parts: Parts, info: DataSetInfo, steps: Sequence[Step] | None, report: Report) -> None:
    """See `Task.check`."""
    if steps and parts.whole:
        check_vector(parts, steps, info, _ENDING, report)
    if steps and parts.whole and parts.ending_known:
        activation = last_activation([step.layer for step in steps])
        if activation not in ("linear", "keep", None):
            index = len(steps) - 1
            message = (
                "numbers are learned as their distance from the mean, in standard deviations; the network cannot "
                f"output all of these through the `{activation}` at its end. Leave it out"
            )
            report(("model", "layers", index, parts.layers[index].kind), message)
    for index, layer in enumerate(parts.layers):
        if layer.name == UNITS:
            message = f"the name `{UNITS}` is given to the layer behind the last one already; choose another"
            report(("model", "layers", index, layer.kind, "name"), message)
    if parts.training is not None:
        check_metrics(parts.training, info, report)
        _check_objectives(parts.training, report)


def _check_objectives(training: TrainingConfig, report: Report) -> None:
    if training.loss is not None and type(training.loss).__name__ not in LOSSES:
        kind, known = type(training.loss).__name__, ", ".join(f"`{name}`" for name in LOSSES)
        report(("training", "loss", kind), f"`{kind}` is no loss of standardised numbers; choose one of {known}")
    for index, metric in enumerate(training.metrics):
        kind = type(metric).__name__
        if kind not in METRICS:
            known = ", ".join(f"`{name}`" for name in METRICS)
            report(("training", "metrics", index, kind), f"`{kind}` has no meaning for numbers; choose from {known}")
    if training.label_smoothing:
        report(("training", "label_smoothing"), "numbers have no labels to smooth; leave it out")
    if training.class_weights is not None:
        report(("training", "class_weights"), "numbers have no classes to weigh; leave them out")
