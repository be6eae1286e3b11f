"""What a run's network outputs for images with targets, all of it in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.machine.devices import measuring
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

    with data_module.naming_corrupt_files(images):
        if measuring().workers == 1:
            outputs, targets = predict_batches(network, data_module.evaluation_batches(images, batch_size=at_once))
        else:
            parts = list(shared_batches(lambda batch: [network(batch)], images, at_once))
            outputs = np.concatenate([part for (part,), _ in parts])
            targets = np.concatenate([part for _, part in parts])
    batches = data_module.evaluation_batches(images, batch_size=batch_size)
    return Outputs(outputs, targets, batch_size, penalty_of(trained.model, batches))


def shared_batches(
    compute: Callable[[Any], list[Any]], images: Any, batch_size: int
) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """What is computed of the batches of a `data.Split`, each by one of the workers that measure together.

    Args:
        compute: From images [batch, height, width, channels] to arrays [batch, ...].

    Yields:
        The arrays and the targets of each batch, in order, to every worker.
    """
    from cnnkit import data as data_module

    devices = measuring()
    batches = data_module.evaluation_batches(images, batch_size=batch_size, first=devices.rank, every=devices.workers)
    own = ([*compute(batch), targets] for batch, targets, *_ in batches)
    nothing: list[Any] | None = None
    left = -(-images.size // batch_size)
    while left > 0:
        arrays = next(own, None)
        if arrays is None:
            # The last round has a batch for some workers only.
            nothing = nothing or [np.asarray(array)[:0] for array in _computed_once(compute, images)]
            arrays = nothing
        for *computed, targets in devices.concatenate(arrays)[:left]:
            yield computed, targets
        left -= devices.workers


def _computed_once(compute: Callable[[Any], list[Any]], images: Any) -> list[Any]:
    """What `compute` and the targets are like, of one image."""
    from cnnkit import data as data_module

    batch, targets, *_ = next(iter(data_module.evaluation_batches(images, batch_size=1)))
    return [*compute(batch), targets]
