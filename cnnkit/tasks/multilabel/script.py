"""What the plain Keras script of a network that learns labels has of its own."""

from __future__ import annotations

from cnnkit.config.script_parts import ScriptParts, made_of, objective_call
from cnnkit.config.target import Target
from cnnkit.config.training import TrainingConfig
from cnnkit.format.script import Argument, Call, Raw
from cnnkit.tasks.multilabel.thresholds import Stated, stated_thresholds
from cnnkit.tasks.multilabel.training import configured_loss

_OURS = "cnnkit.tasks.multilabel.keras_objects"
_THRESHOLDS = "cnnkit.tasks.multilabel.thresholds"
_BETWEEN = "cnnkit.runs.thresholds"


def script_parts(thresholds: Stated, training: TrainingConfig, head: str, target: Target, mixed: bool) -> ScriptParts:
    """See `Task.script`."""
    from_logits = head == "logits"
    ours = ["MeanAveragePrecision", "MicroF1"]
    logits = Argument("from_logits", from_logits)
    metrics = [
        Call("MeanAveragePrecision", (Argument("labels", Raw("CLASSES")), logits), "labels"),
        Call("MicroF1", (Argument("thresholds", Raw("thresholds")), logits), "thresholds"),
    ]
    for wanted in training.metrics:
        metric = objective_call(wanted, from_logits)
        if mixed and wanted.needs_hard_labels:
            ours.append("on_whole_labels")
            metric = made_of("on_whole_labels", metric)
        metrics.append(metric)
    chosen = thresholds == "validation"
    copied = {_OURS: ours} | ({_BETWEEN: ["threshold_between"], _THRESHOLDS: ["best_thresholds"]} if chosen else {})
    parts = ScriptParts(
        targets="tf.constant(labels)",
        validation="",
        loss=objective_call(configured_loss(training), from_logits),
        metrics=metrics,
        copied=copied,
        before_compiling=[f"thresholds = {_thresholds(thresholds, target)}  # from which on a label is given"],
        concluded=_chosen_thresholds(from_logits) if chosen else [],
        result=_result(from_logits),
    )
    return parts.with_smoothed_training(training.label_smoothing, "2")


def _thresholds(stated: Stated, target: Target) -> str:
    each = stated_thresholds(stated, target.size)
    return f"[{each[0]!r}] * CLASSES" if len(set(each)) == 1 else repr(each)


def _chosen_thresholds(from_logits: bool) -> list[str]:
    """For each label, the threshold with the best F1 on the validation images."""
    lines = ["outputs = best.predict(validation[0], batch_size=500, verbose=0)"]
    if from_logits:
        lines.append("outputs = np.exp(-np.logaddexp(0, -outputs))")
    return [*lines, "thresholds = best_thresholds(outputs, validation[1])", "print(dict(zip(CLASS_NAMES, thresholds)))"]


def _result(from_logits: bool) -> list[str]:
    return [
        "outputs = best.predict(test[0], batch_size=500, verbose=0)",
        f"figures = [MeanAveragePrecision(CLASSES, {from_logits}), MicroF1(thresholds, {from_logits})]",
        "for figure in figures:",
        "    figure.update_state(test[1], outputs)",
        "precision, f1 = (float(figure.result()) for figure in figures)",
        'print(f"test mean average precision {precision:.4f}, micro F1 {f1:.4f}")',
    ]
