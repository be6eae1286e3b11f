"""What a network computes on its way to an answer, as far as what computes it lets one look."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.inside.feature_maps import Stages, compile_stages
from cnnkit.inside.gradcam import GradCam, compiled_for
from cnnkit.inside.outputs import LayerOutput, gradcam_layer, layer_outputs, stages
from cnnkit.runs.predictor import Predictor
from cnnkit.runs.trained import TrainedRun
from cnnkit.task import Answers


@dataclass(frozen=True, eq=False)
class Seen:
    """What a network computes for one image.

    Attributes:
        outputs: [1, ...].
        subject: The one of `Inside.subjects` that is explained; None where nothing is.
        heat: Its Grad-CAM map [rows, columns], 0..1; None likewise.
        maps: Of each stage, the feature maps [rows, columns, channels].
    """

    outputs: Any
    subject: int | None
    heat: NDArray[np.float32] | None
    maps: Sequence[NDArray[np.float32]]


class Inside(ABC):
    """A network that is looked into.

    Attributes:
        stages: The layers whose feature maps are shown, low level to high level.
        gradcam_layer: The layer that Grad-CAM looks at; None where there is none.
        subjects: What Grad-CAM can explain.
        note: Why it shows less than others; None where it does not.
    """

    stages: Sequence[LayerOutput] = ()
    gradcam_layer: LayerOutput | None = None
    subjects: Sequence[str] = ()
    note: str | None = None

    @abstractmethod
    def look(self, image: NDArray[np.uint8], wanted: int | None) -> Seen:
        """What the network computes for an image [1, height, width, channels].

        Args:
            wanted: The one of `subjects` that Grad-CAM explains; None for what the network says.
        """


def inside_of(network: Predictor, answers: Answers) -> Inside:
    """The inside of a network; Keras' model of a run shows all of it.

    Raises:
        CnnkitError: if its model cannot be used.
    """
    return InsideRun(network, answers) if isinstance(network, TrainedRun) else OutputsOnly(network)


class InsideRun(Inside):
    """A run's network, whose layers and gradients Keras and TensorFlow compute."""

    def __init__(self, trained: TrainedRun, answers: Answers) -> None:
        self.trained = trained
        self.answers = answers
        self.stages = stages(layer_outputs(trained.loaded))
        self.gradcam_layer = gradcam_layer(trained.loaded) if answers.subjects else None
        self.subjects = answers.subjects if self.gradcam_layer else ()
        self.model = trained.model

    def look(self, image: NDArray[np.uint8], wanted: int | None) -> Seen:
        outputs, maps = self._stages(image)
        chosen = heat = None
        if self._gradcam is not None:
            chosen = self.answers.subject(outputs[0]) if wanted is None else wanted
            heat = self._gradcam(image, [chosen])[1][0]
        return Seen(outputs, chosen, heat, [one for (one,) in maps])

    @cached_property
    def _stages(self) -> Stages:
        return compile_stages(self.model, self.stages, jit_compile=self.trained.uses_xla)

    @cached_property
    def _gradcam(self) -> GradCam | None:
        return None if self.gradcam_layer is None else compiled_for(self.trained, self.gradcam_layer)


class OutputsOnly(Inside):
    """A network of which there is nothing but its answers."""

    def __init__(self, network: Predictor) -> None:
        self.network, _ = network.network()
        self.note = (
            "An exported network tells its answers alone: Grad-CAM needs gradients, and feature maps need its layers. "
            "To see them, serve the run that it was exported from."
        )

    def look(self, image: NDArray[np.uint8], wanted: int | None) -> Seen:
        return Seen(self.network(image), None, None, ())
