"""What a run's network outputs for images with targets, all of it in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnnkit.runs.inference import inference_batch_size, predict_batches
from cnnkit.runs.objectives import penalty_of
from cnnkit.runs.trained import TrainedRun


@dataclass(frozen=True, eq=False)
class Outputs:
    """The outputs for some images, and what they should be.

    Attributes:
        outputs: [images, ...].
        targets: As in training, [images, ...], such as one-hot labels.
        batch_size: Images per batch in training's validation.
        penalty: What the regularizers add to the loss.
    """

    outputs: Any
    targets: Any
    batch_size: int
    penalty: float


def outputs_for(trained: TrainedRun, images: Any, tta: Sequence[str] = ()) -> Outputs:
    """The network's outputs for all images of a `data.Split`.

    Args:
        tta: Test-time augmentations, see `inference.compile_network`.

    Raises:
        CnnkitError: if the run has no model, or an image cannot be read.
    """
    from cnnkit import data as data_module

    network, at_once = trained.network(tta)
    batch_size = inference_batch_size(trained.model)

    def batches(size: int) -> Any:
        return data_module.evaluation_batches(images, batch_size=size)

    with data_module.naming_corrupt_files(images):
        outputs, targets = predict_batches(network, batches(at_once))
    return Outputs(outputs, targets, batch_size, penalty_of(trained.model, batches(batch_size)))
