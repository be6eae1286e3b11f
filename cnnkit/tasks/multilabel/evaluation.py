"""A run, or several as one, against images with labels; and what a run keeps of it."""

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
from cnnkit.tasks.multilabel.metrics import Probabilities, label_probabilities, multilabel_metrics
from cnnkit.tasks.multilabel.predictions import Predictions
from cnnkit.tasks.multilabel.thresholds import Stated, thresholds_of
from cnnkit.tasks.multilabel.training import configured_loss

_SHARES = ("mean_average_precision", "micro_f1", "macro_f1", "exact_match", "label_accuracy")
_OF_LABELS = ("precision", "recall", "f1", "threshold")

#: What evaluation.json says. Of several runs' average it may say no loss.
EVALUATION: Form = {
    "images": int,
    "loss": float,
    "loss_function": str,
    "metrics": {},
    **dict.fromkeys(_SHARES, float),
    "per_label": [
        {"label": str, "average_precision": float, "support": int, **dict.fromkeys(_OF_LABELS, float)}
        | {REQUIRED: ("label", "support", *_OF_LABELS)}
    ],
    "absent_labels": [str],
    REQUIRED: ("images", "loss", *_SHARES, "per_label", "absent_labels"),
}


def evaluate(stated: Stated, members: Sequence[TrainedRun], images: Split, tta: Sequence[str]) -> Evaluation:
    """See `Task.evaluate`: the metrics of a run, or of the average of several runs' probabilities and thresholds."""
    answers = []
    for trained in members:
        answers.append(outputs_for(trained, images, tta))
        if len(members) > 1:
            trained.release_network()
    truth = answers[0].targets
    heads = [trained.interface.head for trained in members]
    each = [label_probabilities(answer.outputs, head) for answer, head in zip(answers, heads, strict=True)]
    mean: Probabilities = np.mean(each, axis=0)
    thresholds = [thresholds_of(stated, trained.interface) for trained in members]
    names = members[0].interface.class_names
    chosen = np.mean(thresholds, axis=0).tolist()
    metrics = {**multilabel_metrics(mean, truth, chosen, names), **_measured(members, heads, answers, mean)}
    if len(members) > 1:
        measured = [multilabel_metrics(one, truth, limits, names) for one, limits in zip(each, thresholds, strict=True)]
        metrics["members"] = [
            {"run": trained.run.name, "mean_average_precision": values["mean_average_precision"]}
            for trained, values in zip(members, measured, strict=True)
        ]
    predictions = Predictions(tuple(names), tuple(images.ids), truth > 0, mean, tuple(chosen), lambda: images)
    return Evaluation(metrics, predictions)


def _measured(
    members: Sequence[TrainedRun], heads: Sequence[str], answers: Sequence[Outputs], mean: Probabilities
) -> dict[str, Any]:
    """The loss and the config's metrics; of several runs those that all have, nothing where their losses differ."""
    each = [_objectives(trained) for trained in members]
    first = answers[0]
    if len(members) == 1:
        return objectives.measure(
            each[0], heads[0], first.outputs, first.targets, batch_size=first.batch_size, penalty=first.penalty
        )
    shared = objectives.common(each, heads)
    if shared is None:
        return {}
    outputs = mean
    if heads[0] == "logits":
        held = np.clip(mean, np.finfo(np.float32).tiny, 1 - 2.0**-24)
        outputs = np.log(held) - np.log1p(-held)
    return objectives.measure(shared, heads[0], outputs, first.targets, batch_size=first.batch_size)


def _objectives(trained: TrainedRun) -> Objectives:
    training = trained.loaded.config.training
    return Objectives(configured_loss(training), training.metrics)


def read_evaluation(run: Run) -> dict[str, Any]:
    """evaluation.json, with all that an evaluation says.

    Raises:
        CnnkitError: if it is missing or damaged, or may not be read.
    """
    return run.read_evaluation(EVALUATION)
