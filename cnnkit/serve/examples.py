"""Test images of a run to click on, and how such images fill their frame, as drawings should."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError, ConfigError
from cnnkit.images.padding import cropped
from cnnkit.images.pictures import encoded, picture_of
from cnnkit.runs.predictor import Predictor
from cnnkit.serve.pictures import COMPRESSION
from cnnkit.task import Answers

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
        texts: What each says, where they are texts.
        truths: What is true of each, see `Answers.truth`.
        note: Why there are none; None where there are.
        frame: How they fill their frame.
    """

    images: list[bytes]
    texts: list[str]
    truths: list[dict[str, Any]]
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

    @classmethod
    def noted(cls, values: Mapping[str, Any]) -> Frame:
        """What somebody has noted of images that are not here, as far as it can be; the usual frame for the rest."""
        share = values.get("share", USUAL_SHARE)
        return cls(share if 0 < share <= 1 else USUAL_SHARE, values.get("bright", True))


#: Where no network takes any.
NO_EXAMPLES = Examples([], [], [], "The networks here take no images.", Frame())


def read_examples(network: Predictor, answers: Answers) -> Examples:
    """Some test images, see `Predictor.test_images`; none where there are none here."""
    try:
        images, targets = network.test_images(answers)
    except (CnnkitError, OSError) as error:
        reason = error.message if isinstance(error, CnnkitError) else str(error)
        if isinstance(error, ConfigError):
            reason = error.problems[0].message
        return Examples([], [], [], f"There are no test images: {reason}", Frame.noted(network.noted_frame()))
    # As files are: whoever reads them adds the border.
    inner = [cropped(image, network.interface.padding) for image in network.interface.sample.pictures(images)]
    files = [encoded(picture_of(image), compress_level=COMPRESSION) for image in inner]
    texts = [" ".join(network.interface.sample.parts(image)) for image in images]
    return Examples(files, texts, [answers.truth(target) for target in targets], None, frame_of(np.stack(inner)))


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
