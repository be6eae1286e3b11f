"""live/samples.npz: some of a run's test images, kept with it for pages to show, wherever its data set is by then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cnnkit.files import replacing
from cnnkit.runs.arrays import read_arrays
from cnnkit.runs.directory import Run, damaged

if TYPE_CHECKING:
    from cnnkit.runs.interface import Interface

#: How many a page shows.
SAMPLES = 24


def write_samples(run: Run, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    """Keeps test images, [n, height, width, channels], with the class of each, [n].

    Raises:
        OSError: if the run cannot be written.
    """
    run.live.mkdir(exist_ok=True)
    with replacing(run.live_samples) as temporary, temporary.open("wb") as stream:
        np.savez(stream, images=images, labels=labels)


def read_samples(run: Run, interface: Interface) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The images that `write_samples` kept, and their classes.

    Raises:
        FileNotFoundError: if there are none.
        CnnkitError: if the file is damaged, may not be read, or holds no images as the network takes them.
    """
    arrays = read_arrays(run, run.live_samples, ("images", "labels"))
    images, labels = arrays["images"], arrays["labels"]
    if images.dtype != np.uint8 or images.shape != (labels.size, *interface.image_shape):
        raise damaged(run.live_samples, "it does not hold images as the network takes them")
    if labels.ndim != 1 or labels.dtype.kind != "i" or not np.isin(labels, np.arange(len(interface.class_names))).all():
        raise damaged(run.live_samples, "it does not hold the classes of its images")
    return images, labels
