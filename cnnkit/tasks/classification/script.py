"""What a classifier's plain Keras script has of its own."""

from __future__ import annotations

from cnnkit.config.class_names import weights_in_order
from cnnkit.config.script_parts import Objective, ScriptParts
from cnnkit.config.target import Target
from cnnkit.config.training import TrainingConfig
from cnnkit.errors import UsageError
from cnnkit.format.script import Argument, Call
from cnnkit.tasks.classification.training import configured_loss

_SMOOTH_TRAINING = '''\
def smooth_training(model):
    """Lets only the loss of training see smoothed labels: metrics and validation see the true ones."""
    compute_loss = model.compute_loss

    def smoothed(x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if training:
            y = y * (1 - %(share)s) + %(share)s / %(parts)s
        return compute_loss(x, y, y_pred, sample_weight, training)

    model.compute_loss = smoothed
'''

_RESULT = (
    "probabilities = best.predict(test[0], batch_size=500, verbose=0)",
    "accuracy = np.mean(probabilities.argmax(axis=-1) == test[1])",
    'print(f"test accuracy {accuracy:.4f}")',
)


def script_parts(training: TrainingConfig, head: str, target: Target, mixed: bool) -> ScriptParts:
    """See `Task.script`."""
    loss = configured_loss(training, head)
    copied = {}
    if loss.ignores_smoothing:
        copied["cnnkit.config.objectives.class_numbers"] = ["on_class_numbers"]
    if mixed and any(one.needs_hard_labels for one in training.metrics):
        copied["cnnkit.training.smoothing"] = ["on_hard_labels"]
    smooths = bool(training.label_smoothing)
    values = {"share": training.label_smoothing, "parts": "2" if head == "sigmoid" else "CLASSES"}
    return ScriptParts(
        targets="tf.one_hot(labels, CLASSES)",
        validation="keras.utils.to_categorical(validation[1], CLASSES)",
        loss=Objective(loss, inside="on_class_numbers" if loss.ignores_smoothing else ""),
        from_logits=head == "logits",
        figures=[Call("keras.metrics.CategoricalAccuracy", (Argument("name", "accuracy"),))],
        metrics=[
            Objective(one, one.column, "on_hard_labels" if mixed and one.needs_hard_labels else "")
            for one in training.metrics
        ],
        result=_RESULT,
        functions=[_SMOOTH_TRAINING % values] if smooths else [],
        copied=copied,
        before_compiling=["smooth_training(model)"] if smooths else [],
        weights=_class_weights(training, target.names),
        of_batch="tf.linalg.matvec(targets, tf.constant(class_weights, tf.float32))",
    )


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
