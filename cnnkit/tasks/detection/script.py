"""What the plain Keras script of a detection has of its own."""

from __future__ import annotations

from cnnkit.config.script_parts import ScriptParts
from cnnkit.format.script import Argument, Call, Raw
from cnnkit.tasks.detection.detecting import USUAL_THRESHOLD
from cnnkit.tasks.detection.settings import Settings

_COPIED = {
    "cnnkit.tasks.detection.precision": ["THRESHOLDS", "RECALLS"],
    "cnnkit.tasks.detection.keras_objects": ["DetectionLoss", "MeanAveragePrecision", "AveragePrecisionAtHalf"],
}

_PRINT_OBJECTS = '''\
def print_objects(outputs, least=%(least)s):
    """Prints the objects with a score of at least so much in outputs of the network, [images, rows, columns, ...]."""
    found = peaks(outputs, CLASSES, stride=%(stride)s, most=%(most)s)
    boxes, logits, numbers = (part.numpy() for part in found)
    scores = tf.sigmoid(logits).numpy()
    for image in range(len(outputs)):
        places = np.flatnonzero(scores[image] >= least)
        print(f"test image {image}, objects with a score of {least} or more: {len(places)}")
        for place in places:
            left, top, right, bottom = boxes[image, place]
            where = f"from ({left:.1f}, {top:.1f}) to ({right:.1f}, {bottom:.1f})"
            print(f"  {CLASS_NAMES[numbers[image, place]]} {where}, score {scores[image, place]:.2f}")
'''

#: Images whose objects a script prints.
_SHOWN = 3


def script_parts(settings: Settings) -> ScriptParts:
    """See `Task.script`."""
    weights = [("heat", settings.heat_weight), ("offset", settings.offset_weight), ("size", settings.size_weight)]
    stride = Argument("stride", settings.stride)
    arguments = (Argument("classes", Raw("CLASSES")), stride)
    loss_weights = Call("LossWeights", tuple(Argument(*weight) for weight in weights))
    names = {"least": USUAL_THRESHOLD, "stride": settings.stride, "most": settings.most}
    return ScriptParts(
        targets="tf.constant(boxes)",
        validation="",
        loss=Call("DetectionLoss", (*arguments, Argument("weights", loss_weights)), "classes"),
        metrics=[Raw("mean_ap"), Raw("half")],
        functions=[_PRINT_OBJECTS % names],
        copied=_COPIED,
        before_compiling=[
            f"mean_ap = MeanAveragePrecision(CLASSES, stride={settings.stride}, most={settings.most})",
            "half = AveragePrecisionAtHalf(mean_ap)",
        ],
        result=[
            "mean_ap.reset_state()",
            "for start in range(0, len(test[0]), BATCH_SIZE):",
            "    images, boxes = (part[start : start + BATCH_SIZE] for part in test)",
            "    mean_ap.update_state(boxes, best.predict_on_batch(images))",
            'print(f"test mAP@0.5:0.95 {float(mean_ap.result()):.4f}, mAP@0.5 {float(half.result()):.4f}")',
            f"print_objects(best.predict_on_batch(test[0][:{_SHOWN}]))",
        ],
    )
