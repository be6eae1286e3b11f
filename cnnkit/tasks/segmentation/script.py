"""What the plain Keras script of a segmentation has of its own."""

from __future__ import annotations

from cnnkit.config.class_names import weights_in_order
from cnnkit.config.objectives.crossentropies import CategoricalCrossentropy
from cnnkit.config.objectives.losses import Loss
from cnnkit.config.script_parts import ScriptParts, objective_call
from cnnkit.config.target import Target
from cnnkit.config.training import TrainingConfig
from cnnkit.format.script import Argument, Call, Raw
from cnnkit.tasks.segmentation.training import configured_loss

_OURS = "cnnkit.tasks.segmentation.keras_objects"

_BALANCED = (
    "pixels = sum(np.bincount(mask.ravel(), minlength=256)[:CLASSES] for mask in train[1])",
    "weights = pixels.sum() / (np.count_nonzero(pixels) * np.maximum(pixels, 1))",
    "class_weights = np.where(pixels > 0, weights, 0)",
)

_MEDIAN_FREQUENCY = (
    "counts = np.stack([np.bincount(mask.ravel(), minlength=256)[:CLASSES] for mask in train[1]])",
    "pixels = counts.sum(axis=0)",
    "around = np.where(counts > 0, counts.sum(axis=1, keepdims=True), 0).sum(axis=0)",
    "frequency = pixels / np.maximum(around, 1)",
    "weights = np.median(frequency[pixels > 0]) / np.where(pixels > 0, frequency, 1)",
    "class_weights = np.where(pixels > 0, weights, 0)",
)


def script_parts(training: TrainingConfig, head: str, target: Target) -> ScriptParts:
    """See `Task.script`."""
    loss, copied = _loss(configured_loss(training), head == "logits", target)
    if target.ignore is None:
        accuracy = Call("keras.metrics.SparseCategoricalAccuracy", (Argument("name", "pixel_accuracy"),), "name")
    else:
        accuracy = Call("PixelAccuracy", (Argument("ignore", Raw("IGNORE")),), "ignore")
        copied.append("PixelAccuracy")
    numbers = "tf.cast(targets[..., 0], tf.int32)"
    if target.ignore is not None:
        # The weight of pixels that do not count makes no difference.
        numbers = f"tf.minimum({numbers}, CLASSES - 1)"
    return ScriptParts(
        targets="tf.constant(masks)",
        validation="",
        loss=loss,
        metrics=[_mean_iou(target), accuracy],
        result=_result(target),
        copied={_OURS: copied} if copied else {},
        weights=_class_weights(training, target),
        of_batch=f"tf.gather(tf.constant(class_weights, tf.float32), {numbers})",
    )


def _loss(loss: Loss, from_logits: bool, target: Target) -> tuple[Call, list[str]]:
    """The loss, and what it needs that Keras lacks."""
    ignore = Raw("IGNORE") if target.ignore is not None else None
    if type(loss) is CategoricalCrossentropy and not loss.label_smoothing:
        arguments = [] if ignore is None else [Argument("ignore_class", ignore)]
        if from_logits if loss.from_logits is None else loss.from_logits:
            arguments.insert(0, Argument("from_logits", True))
        return Call("keras.losses.SparseCategoricalCrossentropy", tuple(arguments)), []
    parts = [(weight, objective_call(part, from_logits)) for weight, part in loss.parts()]
    arguments = [Argument("parts", parts), Argument("classes", Raw("CLASSES")), Argument("ignore", ignore)]
    return Call("MaskLoss", tuple(arguments), "parts"), ["MaskLoss"]


def _mean_iou(target: Target) -> Call:
    arguments = [Argument("num_classes", Raw("CLASSES")), Argument("name", "mean_iou")]
    arguments += [] if target.ignore is None else [Argument("ignore_class", Raw("IGNORE"))]
    return Call("keras.metrics.MeanIoU", (*arguments, Argument("sparse_y_pred", False)), "num_classes")


def _result(target: Target) -> list[str]:
    """The mean IoU of one confusion matrix of all test images."""
    ignore = "" if target.ignore is None else "ignore_class=IGNORE, "
    return [
        f"mean_iou = keras.metrics.MeanIoU(CLASSES, {ignore}sparse_y_pred=False)",
        "for start in range(0, len(test[0]), BATCH_SIZE):",
        "    images, masks = (part[start : start + BATCH_SIZE] for part in test)",
        "    mean_iou.update_state(masks, best.predict_on_batch(images))",
        'print(f"test mean IoU {float(mean_iou.result()):.4f}")',
    ]


def _class_weights(training: TrainingConfig, target: Target) -> list[str]:
    """Lines that leave `class_weights`; none where the config asks for none."""
    wanted = training.class_weights
    if wanted is None:
        return []
    if wanted == "balanced":
        return list(_BALANCED)
    if wanted == "median_frequency":
        return list(_MEDIAN_FREQUENCY)
    return [f"class_weights = {weights_in_order(wanted, target.all_names) if isinstance(wanted, dict) else wanted!r}"]
