"""What a network computes on its way to an answer, as far as what computes it lets one look."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cnnkit.inside.feature_maps import Stages, compile_stages
from cnnkit.inside.gradcam import GradCam, compiled_for
from cnnkit.inside.outputs import LayerOutput, gradcam_layer, layer_outputs, stages
from cnnkit.runs.exported import ExportedNetwork
from cnnkit.runs.predictor import Predictor
from cnnkit.runs.trained import TrainedRun
from cnnkit.task import Answers


class Stage(Protocol):
    """A layer whose feature maps are shown."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""

    @property
    def channels(self) -> int: ...


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

    stages: Sequence[Stage] = ()
    gradcam_layer: LayerOutput | None = None
    subjects: Sequence[str] = ()
    note: str | None = None

    @abstractmethod
    def look(self, image: NDArray[np.uint8], wanted: int | None, size: tuple[int, int] | None = None) -> Seen:
        """What the network computes for an image [1, height, width, channels].

        Args:
            wanted: The one of `subjects` that Grad-CAM explains; None for what the network says.
            size: As for `task.Answers.subject`.
        """


def inside_of(network: Predictor, answers: Answers) -> Inside:
    """The inside of a network.

    Raises:
        CnnkitError: if its model cannot be used.
    """
    if isinstance(network, ExportedNetwork):
        return InsideFile(network, answers)
    assert isinstance(network, TrainedRun)
    return InsideRun(network, answers)


class InsideRun(Inside):
    """A run's network, whose layers and gradients Keras and TensorFlow compute."""

    def __init__(self, trained: TrainedRun, answers: Answers) -> None:
        self.trained = trained
        self.answers = answers
        has_maps = trained.interface.sample.unchangeable is None
        self.shown = stages(layer_outputs(trained.loaded)) if has_maps else []
        self.stages = self.shown
        self.gradcam_layer = gradcam_layer(trained.loaded) if answers.subjects else None
        self.subjects = answers.subjects if self.gradcam_layer else ()
        self.model = trained.model

    def look(self, image: NDArray[np.uint8], wanted: int | None, size: tuple[int, int] | None = None) -> Seen:
        outputs, maps = self._stages(image)
        chosen = heat = None
        if self._gradcam is not None:
            chosen = self.answers.subject(outputs[0], size) if wanted is None else wanted
            heat = self._gradcam(image, [chosen])[1][0]
        return Seen(outputs, chosen, heat, [one for (one,) in maps])

    @cached_property
    def _stages(self) -> Stages:
        return compile_stages(self.model, self.shown, jit_compile=self.trained.uses_xla)

    @cached_property
    def _gradcam(self) -> GradCam | None:
        return None if self.gradcam_layer is None else compiled_for(self.trained, self.gradcam_layer)


class InsideFile(Inside):
    """An exported network, which outputs the feature maps that the file names, and has no gradients."""

    def __init__(self, exported: ExportedNetwork, answers: Answers) -> None:
        self.exported = exported
        self.stages = exported.stages
        missing = []
        if answers.subjects:
            missing.append("Grad-CAM is not shown: it needs gradients, which an exported network does not have.")
        if not self.stages and exported.interface.sample.unchangeable is None:
            missing.append("Feature maps are not shown: the file does not say which of its tensors they are.")
        if missing:
            self.note = " ".join(
                [*missing, "To see what is missing, serve the run that the network was exported from."]
            )

    def look(self, image: NDArray[np.uint8], wanted: int | None, size: tuple[int, int] | None = None) -> Seen:
        outputs, maps = self._look(image)
        return Seen(outputs, None, None, [one for (one,) in maps])

    @cached_property
    def _look(self) -> Callable[[Any], tuple[Any, list[Any]]]:
        return self.exported.looked_into()
