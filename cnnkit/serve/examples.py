"""Test images of a run to click on, and how such images fill their frame, which drawings are to do too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cnnkit import data
from cnnkit.config.load import load_config
from cnnkit.errors import CnnkitError, ConfigError
from cnnkit.rundir import Run
from cnnkit.serve.pictures import png

COUNT = 24

#: For drawings where there are no examples: the share of the frame that a digit of MNIST fills, 20 of 28 pixels
#: (LeCun et al., "Gradient-Based Learning Applied to Document Recognition", 1998).
USUAL_SHARE = 20 / 28

#: What differs by more from the background belongs to what is drawn; 0..255.
_VISIBLE = 48


@dataclass(frozen=True, eq=False)
class Examples:
    """Images of a run's test split.

    Attributes:
        images: PNG files.
        labels: The true class of each.
        note: Why there are none; None where there are.
        frame: How they fill their frame.
    """

    images: list[bytes]
    labels: list[int]
    note: str | None
    frame: Frame


@dataclass(frozen=True)
class Frame:
    """How a data set's images fill their frame.

    Attributes:
        share: The longer side of what is drawn, as a share of the frame, 0..1.
        bright: Whether it is bright on a dark background.
    """

    share: float = USUAL_SHARE
    bright: bool = True


def read_examples(run: Run) -> Examples:
    """Some test images, equally many of each class, as far as their number allows; none where the data are not here."""
    try:
        images, labels = _read(run)
    except (CnnkitError, OSError) as error:
        reason = error.message if isinstance(error, CnnkitError) else str(error)
        if isinstance(error, ConfigError):
            reason = error.problems[0].message
        return Examples([], [], f"There are no test images: {reason}", Frame())
    files = [png(Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)) for image in images]
    return Examples(files, labels, None, frame_of(images))


def _read(run: Run) -> tuple[NDArray[np.uint8], list[int]]:
    config = load_config(str(run.config)).config
    # Some images of a large set, and nothing from the network, for a page that works without.
    section = config.data.model_copy(update={"memory": "stream", "download": False})
    sets = data.load(section, config.seed, splits=("test",))
    run.check_data(sets.fingerprint)
    if sets.test is None:
        raise CnnkitError("the data set has no test split")
    chosen = spread(sets.test.labels, COUNT)
    return sets.test.read(chosen), sets.test.labels[chosen].tolist()


def spread(labels: NDArray[Any], count: int) -> NDArray[np.int64]:
    """The places of some labels: the first of each class, then the second of each, and so on.

    With more classes than that, those at equal distances.
    """
    classes = np.unique(labels)
    if len(classes) > count:
        classes = classes[np.linspace(0, len(classes) - 1, count).round().astype(int)]
    places = [np.flatnonzero(labels == label)[:count] for label in classes]
    ranked = [(rank, place) for found in places for rank, place in enumerate(found.tolist())]
    ranked.sort(key=lambda pair: pair[0])
    return np.array([place for _, place in ranked[:count]], np.int64)


def frame_of(images: NDArray[np.uint8]) -> Frame:
    """How some images fill their frame; their background is what most of their borders show.

    Args:
        images: [n, height, width, channels].
    """
    grey = images.mean(axis=-1)
    borders = np.concatenate([grey[:, 0], grey[:, -1], grey[:, :, 0], grey[:, :, -1]], axis=1)
    background = float(np.median(borders))
    shares = []
    for image in np.abs(grey - background) > _VISIBLE:
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        if len(rows):
            height, width = image.shape
            shares.append(max((rows[-1] - rows[0] + 1) / height, (columns[-1] - columns[0] + 1) / width))
    return Frame(float(np.median(shares)) if shares else USUAL_SHARE, background < 128)
