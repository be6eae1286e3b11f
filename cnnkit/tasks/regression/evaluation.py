"""A run, or several as one, against images with numbers; and what a run keeps of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnkit.data.splits import Split
from cnnkit.runs import objectives
from cnnkit.runs.directory import Run
from cnnkit.runs.json_forms import REQUIRED, Form
from cnnkit.runs.objectives import Objectives
from cnnkit.runs.outputs import Outputs, outputs_for
from cnnkit.runs.trained import TrainedRun
from cnnkit.task import Evaluation
from cnnkit.tasks.regression.metrics import numbers_of, regression_metrics
from cnnkit.tasks.regression.predictions import Predictions
from cnnkit.tasks.regression.training import configured_loss, of_model

_OF_TARGETS = ("mae", "rmse", "mean", "std")

#: What evaluation.json says; without `r2` where the true numbers are all alike.
EVALUATION: Form = {
    "images": int,
    "loss": float,
    "loss_function": str,
    "metrics": {},
    "mae": float,
    "rmse": float,
    "r2": float,
    "per_target": [
        {"target": str, "r2": float, **dict.fromkeys(_OF_TARGETS, float)} | {REQUIRED: ("target", *_OF_TARGETS)}
    ],
    REQUIRED: ("images", "loss", "mae", "rmse", "per_target"),
}


def evaluate(members: Sequence[TrainedRun], images: Split, tta: Sequence[str]) -> Evaluation:
    """See `Task.evaluate`: the metrics of a run, or of the mean of several runs' numbers, which has no loss."""
    answers, measured = [], []
    for trained in members:
        answers.append(outputs_for(trained, images, tta))
        if len(members) == 1:
            measured.append(_objectives(trained, answers[0]))
        else:
            trained.release_network()
    truth = np.asarray(answers[0].targets, np.float64)
    names = members[0].interface.class_names
    each = [numbers_of(answer.outputs) for answer in answers]
    mean = np.mean(each, axis=0)
    metrics = regression_metrics(mean, truth, names)
    if measured:
        metrics |= measured[0]
    else:
        metrics["members"] = [
            {"run": trained.run.name, "mae": float(np.abs(numbers - truth).mean())}
            for trained, numbers in zip(members, each, strict=True)
        ]
    return Evaluation(metrics, Predictions(tuple(names), tuple(images.ids), truth, mean, lambda: images))


def _objectives(trained: TrainedRun, answer: Outputs) -> dict[str, Any]:
    """The loss, of standardised numbers, and the config's metrics, of those in their own units."""
    training = trained.loaded.config.training
    target = of_model(trained.loaded.info.target, trained.model)
    means, deviations = np.array(target.means), np.array(target.deviations)
    standardized = [(np.asarray(values) - means) / deviations for values in (answer.outputs, answer.targets)]
    loss = configured_loss(training)
    learned = objectives.measure(
        Objectives(loss, ()), "logits", *standardized, batch_size=answer.batch_size, penalty=answer.penalty
    )
    shown = objectives.measure(
        Objectives(loss, training.metrics), "logits", answer.outputs, answer.targets, batch_size=answer.batch_size
    )
    return {**learned, "metrics": shown["metrics"]}


def read_evaluation(run: Run) -> dict[str, Any]:
    """evaluation.json, with all that an evaluation says.

    Raises:
        CnnkitError: if it is missing or damaged, or may not be read.
    """
    return run.read_evaluation(EVALUATION)
