"""A run that is served: its network, what is known of it, and what it says of images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import UsageError
from cnnkit.inside.feature_maps import Stages, compile_stages
from cnnkit.inside.gradcam import GradCam, compiled_for
from cnnkit.inside.outputs import gradcam_layer, layer_outputs, stages
from cnnkit.runs.directory import Run
from cnnkit.runs.finding import distinct_names
from cnnkit.runs.listing import number_in
from cnnkit.runs.trained import TrainedRun, open_run
from cnnkit.serve.examples import read_examples
from cnnkit.task import Figure


class Served:
    """A run's network, ready to compute.

    Args:
        trained: A run with a model.
        name: What tells it from the other runs that are served.

    Raises:
        CnnkitError: if its model cannot be used.
    """

    def __init__(self, trained: TrainedRun, name: str) -> None:
        self.trained = trained
        self.run = trained.run
        self.name = name
        self.interface = trained.interface
        self.answers = trained.task.answers(trained.interface)
        self.stages = stages(layer_outputs(trained.loaded))
        self.gradcam_layer = gradcam_layer(trained.loaded) if self.answers.subjects else None
        self.model = trained.model
        self.network, self.batch_size = trained.network()
        self.examples = read_examples(trained, self.answers)
        self.parameters = int(self.model.count_params())

    def measured(self, figure: Figure) -> float | None:
        """A figure of the test split; None where it has not been evaluated, or not by this figure."""
        value: float | None = number_in(self.run, self.run.evaluation, figure.name)
        return value

    def warm_up(self) -> None:
        """Computes once, so that the first request does not wait for TensorFlow's preparations."""
        image = np.zeros((1, *self.interface.image_shape), np.uint8)
        self.network(image)
        self.look_inside(image, None)

    def look_inside(self, image: NDArray[np.uint8], wanted: int | None) -> tuple[Any, int | None, Any, list[Any]]:
        """What the network computes on its way for one image.

        Args:
            image: [1, height, width, channels].
            wanted: The one of `Answers.subjects` that Grad-CAM explains; None for what the network says.

        Returns:
            The outputs [1, ...], what is explained and its Grad-CAM map [rows, columns], 0..1, or None for both where
            there is nothing to explain or no layer outputs an image, and each stage's feature maps [rows, columns,
            channels].
        """
        outputs, maps = self._stages(image)
        chosen = heat = None
        if self._gradcam is not None:
            chosen = self.answers.subject(outputs[0]) if wanted is None else wanted
            heat = self._gradcam(image, [chosen])[1][0]
        return outputs, chosen, heat, [one for (one,) in maps]

    @cached_property
    def _stages(self) -> Stages:
        return compile_stages(self.model, self.stages, jit_compile=self.trained.uses_xla)

    @cached_property
    def _gradcam(self) -> GradCam | None:
        return None if self.gradcam_layer is None else compiled_for(self.trained, self.gradcam_layer)


def serve_runs(runs: Sequence[Run]) -> list[Served]:
    """The runs, loaded.

    Raises:
        UsageError: if there is none, or one is named twice.
        CnnkitError: if one cannot be used.
    """
    if not runs:
        raise UsageError("which run? expected at least one to serve")
    names = distinct_names([run.path for run in runs])
    opened = [open_run(run) for run in runs]
    for trained in opened:
        trained.check_model()
    return [Served(trained, name) for name, trained in zip(names, opened, strict=True)]
