"""A run, or several as one, against labelled images; and what a run keeps of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.data.splits import Split
from cnnkit.runs import objectives
from cnnkit.runs.directory import Run, damaged
from cnnkit.runs.heads import probabilities_from_outputs
from cnnkit.runs.json_forms import REQUIRED, Form
from cnnkit.runs.objectives import Objectives
from cnnkit.runs.outputs import Outputs, outputs_for
from cnnkit.runs.trained import TrainedRun
from cnnkit.task import Evaluation
from cnnkit.tasks.classification.metrics import classification_metrics
from cnnkit.tasks.classification.predictions import Predictions
from cnnkit.tasks.classification.training import configured_loss

_RATIOS = ("accuracy", "top_5_accuracy", "loss", "calibration_error", "macro_precision", "macro_recall", "macro_f1")

#: What evaluation.json says; of other versions it may say more.
EVALUATION: Form = {
    "images": int,
    "cross_entropy": float,
    "metrics": {},
    **dict.fromkeys(_RATIOS, float),
    "per_class": [
        {"class": str, "precision": float, "recall": float, "f1": float, "support": int}
        | {REQUIRED: ("class", "precision", "recall", "f1", "support")}
    ],
    "confusion_matrix": [[int]],
    REQUIRED: ("images", *_RATIOS, "per_class", "confusion_matrix"),
}


def evaluate(members: Sequence[TrainedRun], images: Split, tta: Sequence[str]) -> Evaluation:
    """See `Task.evaluate`: the metrics of a run, or of the average of several runs' probabilities.

    Averaging is what Krizhevsky et al. 2012 do with seven networks.
    """
    if len(members) == 1:
        return _evaluate_one(members[0], images, tta)
    answers = []
    for trained in members:
        answers.append(outputs_for(trained, images, tta))
        trained.release_network()
    labels = answers[0].targets.argmax(axis=-1)
    heads = [trained.interface.head for trained in members]
    each = [probabilities_from_outputs(answer.outputs, head) for answer, head in zip(answers, heads, strict=True)]
    mean = sum(each) / len(members)
    metrics = {
        **classification_metrics(mean, labels, members[0].interface.class_names),
        **_measured_alike([_objectives(trained) for trained in members], heads, answers, mean),
        "members": [
            {"run": trained.run.name, "accuracy": float((probabilities.argmax(axis=1) == labels).mean())}
            for trained, probabilities in zip(members, each, strict=True)
        ],
    }
    return Evaluation(metrics, _predictions(members[0], images, labels, mean))


def _evaluate_one(trained: TrainedRun, images: Split, tta: Sequence[str]) -> Evaluation:
    head = trained.interface.head
    answers = outputs_for(trained, images, tta)
    labels = answers.targets.argmax(axis=-1)
    probabilities = probabilities_from_outputs(answers.outputs, head)
    metrics = {
        **classification_metrics(probabilities, labels, trained.interface.class_names),
        **objectives.measure(
            _objectives(trained),
            head,
            answers.outputs,
            answers.targets,
            batch_size=answers.batch_size,
            penalty=answers.penalty,
        ),
    }
    return Evaluation(metrics, _predictions(trained, images, labels, probabilities))


def _objectives(trained: TrainedRun) -> Objectives:
    training = trained.loaded.config.training
    return Objectives(configured_loss(training, trained.interface.head), training.metrics)


def _measured_alike(
    each: Sequence[Objectives], heads: Sequence[str], answers: Sequence[Outputs], probabilities: Any
) -> dict[str, Any]:
    """The loss and the metrics that all runs of an ensemble have, of their mean; no network's weights are in it.

    Args:
        probabilities: The mean of the runs' class probabilities, [images, classes].

    Returns:
        What `objectives.measure` does; nothing where the runs' losses differ.
    """
    shared = objectives.common(each, heads)
    if shared is None:
        return {}
    # A sigmoid's outputs are no distribution: their own mean, not that of what is made of them.
    mean = sum(answer.outputs for answer in answers) / len(answers) if heads[0] == "sigmoid" else probabilities
    if heads[0] == "logits":
        mean = np.log(np.maximum(mean, np.finfo(np.float32).tiny))
    return objectives.measure(shared, heads[0], mean, answers[0].targets, batch_size=answers[0].batch_size)


def _predictions(trained: TrainedRun, images: Split, labels: Any, probabilities: Any) -> Predictions:
    """What a network says of each image."""
    guesses = probabilities.argmax(axis=1)
    names = trained.interface.class_names
    return Predictions(tuple(names), tuple(images.ids), labels, guesses, probabilities, lambda: images)


def read_evaluation(run: Run) -> dict[str, Any]:
    """evaluation.json, with all that an evaluation says.

    Raises:
        CnnkitError: if it is missing or damaged, or may not be read.
    """
    evaluation = run.read_evaluation(EVALUATION)
    # Before losses had names of their own, the loss was the cross-entropy, and no metric was measured.
    if evaluation.get("cross_entropy") is None:
        evaluation["cross_entropy"] = evaluation["loss"]
    evaluation["metrics"] = evaluation.get("metrics") or {}
    classes, matrix = len(evaluation["per_class"]), evaluation["confusion_matrix"]
    if len(matrix) != classes or any(len(row) != classes for row in matrix):
        reason = f"`confusion_matrix` should have {classes} rows of as many numbers"
        raise damaged(run.evaluation, reason, run.evaluate_again)
    return evaluation


def summary(metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
    """The metrics that matter most, for the end of a run."""
    parts = [f"accuracy {metrics['accuracy']:.4f}"]
    if len(metrics["per_class"]) > 5:
        parts.append(f"top-5 {metrics['top_5_accuracy']:.4f}")
    parts += [f"loss {metrics['loss']:.4f}", f"calibration error {metrics['calibration_error']:.4f}"]
    return f"{'  '.join(parts)}  ({metrics['images']:,} {sample.plural})"
