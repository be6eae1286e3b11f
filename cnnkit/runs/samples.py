"""live/samples.npz: some of a run's test images, kept with it for pages to show, wherever its data set is by then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.files import replacing
from cnnkit.runs.arrays import read_arrays
from cnnkit.runs.directory import Run, damaged

if TYPE_CHECKING:
    from cnnkit.runs.interface import Interface
    from cnnkit.task import Answers

#: How many a page shows.
SAMPLES = 24


def write_samples(run: Run, images: NDArray[np.uint8], targets: NDArray[Any]) -> None:
    """Keeps test images, [n, height, width, channels], and what is to be learned of each, [n, ...].

    Raises:
        OSError: if the run cannot be written.
    """
    run.live.mkdir(exist_ok=True)
    with replacing(run.live_samples) as temporary, temporary.open("wb") as stream:
        np.savez(stream, images=images, labels=targets)


def read_samples(run: Run, interface: Interface, answers: Answers) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """The images that `write_samples` kept, and what is to be learned of them.

    Raises:
        FileNotFoundError: if there are none.
        CnnkitError: if the file is damaged, may not be read, or holds no images as the network takes them, or no such
            targets.
    """
    arrays = read_arrays(run, run.live_samples, ("images", "labels"))
    images, targets = arrays["images"], arrays["labels"]
    if images.dtype != interface.sample.dtype or images.shape[1:] != tuple(answers.shown_shape(interface)):
        raise damaged(run.live_samples, "it does not hold images as the network takes them")
    if targets.shape[:1] != images.shape[:1] or not answers.are_targets(targets):
        raise damaged(run.live_samples, "it does not hold what is to be learned of its images")
    return images, targets
