"""What a classifier's plain Keras script has of its own."""

from __future__ import annotations

from cnnkit.config.class_names import weights_in_order
from cnnkit.config.script_parts import ScriptParts, made_of, objective_call
from cnnkit.config.target import Target
from cnnkit.config.training import TrainingConfig
from cnnkit.errors import UsageError
from cnnkit.format.script import Argument, Call
from cnnkit.tasks.classification.training import configured_loss

_RESULT = (
    "probabilities = best.predict(test[0], batch_size=500, verbose=0)",
    "accuracy = np.mean(probabilities.argmax(axis=-1) == test[1])",
    'print(f"test accuracy {accuracy:.4f}")',
)


def script_parts(training: TrainingConfig, head: str, target: Target, mixed: bool) -> ScriptParts:
    """See `Task.script`."""
    from_logits = head == "logits"
    loss = configured_loss(training, head)
    learned = objective_call(loss, from_logits)
    metrics = [Call("keras.metrics.CategoricalAccuracy", (Argument("name", "accuracy"),))]
    copied = {}
    if loss.ignores_smoothing:
        copied["cnnkit.config.objectives.class_numbers"] = ["on_class_numbers"]
        learned = made_of("on_class_numbers", learned)
    for wanted in training.metrics:
        metric = objective_call(wanted, from_logits)
        if mixed and wanted.needs_hard_labels:
            copied["cnnkit.training.smoothing"] = ["on_hard_labels"]
            metric = made_of("on_hard_labels", metric)
        metrics.append(metric)
    parts = ScriptParts(
        targets="tf.one_hot(labels, CLASSES)",
        validation="keras.utils.to_categorical(validation[1], CLASSES)",
        loss=learned,
        metrics=metrics,
        result=_RESULT,
        copied=copied,
        weights=_class_weights(training, target.names),
        of_batch="tf.linalg.matvec(targets, tf.constant(class_weights, tf.float32))",
    )
    return parts.with_smoothed_training(training.label_smoothing, "2" if head == "sigmoid" else "CLASSES")


def _class_weights(training: TrainingConfig, names: tuple[str, ...] | None) -> list[str]:
    """Lines that leave `class_weights`; none where the config asks for none."""
    wanted = training.class_weights
    if wanted is None:
        return []
    if wanted == "balanced":
        return [
            "counts = np.bincount(train[1], minlength=CLASSES)",
            "weights = len(train[1]) / (np.count_nonzero(counts) * np.maximum(counts, 1))",
            "class_weights = np.where(counts > 0, weights, 0)",
        ]
    if isinstance(wanted, dict):
        if names is None:
            raise UsageError(
                "training.class_weights names classes, and the data set's class names are not known here",
                "Fetch the data first (cnnkit data prepare), or write a list of weights.",
            )
        wanted = weights_in_order(wanted, names)
    return [f"class_weights = {list(wanted)!r}"]
