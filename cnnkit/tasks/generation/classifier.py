"""The classifier that made images are measured with: a run of cnnkit's, which a config names."""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.config.target import OneClass
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.terminal.printable import printable

if TYPE_CHECKING:
    from cnnkit.config.dataset import DataSetInfo
    from cnnkit.inside.outputs import LayerOutput
    from cnnkit.runs.trained import TrainedRun

#: How sure the classifier is of an image that it accepts: the largest of its probabilities.
ACCEPTED = 0.9

#: How to get one, for whoever has none.
HOW_TO = (
    "Train a classifier on the same images (`task: classification`), and name its run: "
    "`task: {generation: {classifier: runs/NAME}}`, or `cnnkit eval RUN --classifier runs/NAME`."
)


@dataclass(frozen=True, eq=False)
class Seen:
    """What a classifier says of images.

    Attributes:
        probabilities: float32 [images, classes].
        features: What its last layer takes, float32 [images, features].
    """

    probabilities: NDArray[np.float32]
    features: NDArray[np.float32]

    @property
    def classes(self) -> NDArray[np.int64]:
        """The likeliest class of each."""
        return self.probabilities.argmax(axis=1)

    @property
    def largest(self) -> NDArray[np.float32]:
        """How likely that one is."""
        return self.probabilities.max(axis=1)

    @classmethod
    def joined(cls, parts: list[Seen]) -> Seen:
        """What was said of several batches, as one."""
        return cls(
            np.concatenate([part.probabilities for part in parts]), np.concatenate([part.features for part in parts])
        )


class Classifier:
    """A trained classifier.

    Args:
        trained: Its run.
    """

    def __init__(self, trained: TrainedRun) -> None:
        self.trained = trained

    @property
    def names(self) -> tuple[str, ...]:
        """The classes."""
        return self.trained.interface.class_names

    @cached_property
    def layer(self) -> LayerOutput:
        """Whose output is the features: that before the last layer with a kernel, which tells the classes apart.

        Raises:
            CnnkitError: if there is no layer before that one.
        """
        from cnnkit.inside.outputs import layer_outputs

        outputs = layer_outputs(self.trained.loaded)
        last = max((place for place, output in enumerate(outputs) if output.has_kernel), default=0)
        if last == 0:
            raise CnnkitError(
                f"the classifier `{self.trained.run.path}` has nothing before its last layer with weights, of which "
                "images could be measured",
                "Name a run whose network has hidden layers.",
            )
        return outputs[last - 1]

    @property
    def features(self) -> int:
        """How many each image has; of a layer that outputs images, the means of its channels."""
        return self.layer.channels if self.layer.is_image else math.prod(self.layer.output_shape)

    @cached_property
    def _compute(self) -> tuple[Callable[[Any], tuple[Any, Any]], int]:
        """From images to outputs and features, and how many to give it at a time."""
        import tensorflow as tf

        from cnnkit.inside.taps import taps
        from cnnkit.runs.inference import inference_batch_size

        model = self.trained.model
        tapped = taps(model, [self.layer.name])
        signature = [tf.TensorSpec([None, *model.input_shape[1:]], model.inputs[0].dtype)]

        @tf.function(input_signature=signature, autograph=False, jit_compile=self.trained.uses_xla)
        def compute(images: Any) -> Any:
            return tapped(images, training=False)

        return compute, inference_batch_size(model)

    def see(self, images: NDArray[np.uint8]) -> Seen:
        """What it says of images, uint8 [images, height, width, channels], at least one."""
        import tensorflow as tf

        compute, at_once = self._compute
        parts = []
        for start in range(0, len(images), at_once):
            batch = tf.constant(images[start : start + at_once], self.trained.model.inputs[0].dtype)
            outputs, features = (one.numpy().astype(np.float32) for one in compute(batch))
            if self.layer.is_image:
                features = self.layer.as_images(features).mean(axis=(1, 2))
            parts.append(Seen(self._probabilities(outputs), features.reshape(len(features), -1)))
        return Seen.joined(parts)

    def _probabilities(self, outputs: NDArray[np.float32]) -> NDArray[np.float32]:
        from scipy.special import softmax

        return softmax(outputs, axis=1) if self.trained.interface.head == "logits" else outputs

    def as_json(self) -> dict[str, Any]:
        """For evaluation.json: which run it was, and of what its features are."""
        return {
            "run": str(self.trained.run.path),
            "sha256": self.trained.digest_model(),
            "layer": self.layer.name,
            "features": self.features,
        }


def open_classifier(path: str) -> Classifier:
    """The classifier of a run, as far as that can be told without TensorFlow.

    Args:
        path: The run's directory.

    Raises:
        UsageError: if there is no such run, or if it tells no classes of images apart.
        CnnkitError: if it has no model, or is damaged.
    """
    from cnnkit.runs.finding import run_of
    from cnnkit.runs.trained import open_run

    run = run_of(path)
    if run is None:
        raise UsageError(
            f"there is no run `{path}`, which should measure made images",
            "Bring it back, or name another one of the same images as `classifier` in the config (config.yaml of a "
            "run).",
        )
    run.check()
    trained = open_run(run)
    trained.check_model()
    interface, task = trained.interface, trained.task
    is_classifier = issubclass(task.target, OneClass) and task.takes_images and interface.sample.axes == 3
    if not is_classifier or interface.head == "sigmoid":
        raise UsageError(f"the run `{path}` tells no classes of images apart: its task is {task.name}", HOW_TO)
    return Classifier(trained)


def check_classifier(path: str, info: DataSetInfo) -> str | None:
    """Why images of a data set cannot be measured with the classifier of a run; None where they can.

    Args:
        path: The run's directory.
        info: What is known of the data set.
    """
    try:
        classifier = open_classifier(path)
        interface = classifier.trained.interface
        _ = classifier.layer
    except CnnkitError as error:
        hint = error.hint or f"train it again: cnnkit train {shlex.quote(path)}"
        return f"{error.message}; {hint[:1].lower()}{hint[1:].rstrip('.')}"
    if interface.image_shape != info.data_shape or interface.padding != info.padding:
        there, here = ("x".join(map(str, shape)) for shape in (interface.image_shape, info.data_shape))
        return f"the classifier `{path}` takes images {there}, but those of the data set are {here}; both need the same"
    names = info.class_names
    if len(interface.class_names) != info.target.size or (
        names is not None and tuple(map(printable, names)) != interface.class_names
    ):
        return (
            f"the classifier `{path}` tells {', '.join(interface.class_names[:5])}... apart, but the data set has the "
            f"classes {', '.join(map(printable, (names or ['?'])[:5]))}...; both need the same, in the same order"
        )
    return None
