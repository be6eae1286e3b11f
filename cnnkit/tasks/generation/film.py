"""What a generator made after each epoch, one sheet after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.images.animation import animated
from cnnkit.images.pictures import picture_of
from cnnkit.runs.directory import LARGEST_SHEET, Run

if TYPE_CHECKING:
    from PIL import Image

#: More epochs are shown by so many of them, evenly spread, with the first and the last.
MOST_FRAMES = 30

#: Pixels of a sheet's longer side: larger ones are made smaller, and small ones enlarged by whole numbers. A frame of
#: 64 digits of MNIST takes 18 KB; at twice their size, it would take 43.
LARGEST_SIDE, _ENLARGED = 480, 240

#: For how long a frame is shown, and the last one, in milliseconds.
_SHOWN, _SHOWN_LAST = 200, 2000

#: Pixels below a sheet for the number of its epoch, and of the letters there.
_STRIP, _LETTERS = 22, 15


def read_sheet(run: Run, epoch: int, channels: int) -> NDArray[np.uint8]:
    """The sheet of an epoch, uint8 [height, width, channels].

    Raises:
        FileNotFoundError: if there is none.
        CnnkitError: if the file is damaged, or may not be read.
    """
    from cnnkit.data.images import read_image

    with run.open(run.sheet(epoch), LARGEST_SHEET) as stream:
        return np.asarray(read_image(stream, None, channels), np.uint8)


def film(run: Run, channels: int, kind: str) -> tuple[bytes, tuple[int, int]]:
    """The sheets of a run's epochs as an animation, see `shown_epochs` for which, and its width and height.

    Args:
        channels: Of the images that it makes.
        kind: One of the values of `ANIMATIONS`.

    Raises:
        CnnkitError: if there are none, or one is damaged.
    """
    epochs = shown_epochs(run)
    if not epochs:
        raise CnnkitError(f"no epoch of `{run.path}` has ended, or its folder `{run.samples.name}` is gone")
    frames = [_frame(read_sheet(run, epoch, channels), epoch) for epoch in epochs]
    if len({frame.size for frame in frames}) > 1:
        raise CnnkitError(f"the sheets in `{run.samples}` are of several sizes; they are of more than one training")
    durations = [_SHOWN] * (len(frames) - 1) + [_SHOWN_LAST]
    return animated(frames, kind, durations, lossless=False), frames[0].size


def shown_epochs(run: Run) -> list[int]:
    """The epochs whose sheets are shown: all, or as many as `MOST_FRAMES` from the first to the last."""
    epochs = run.sheet_epochs()
    count = min(len(epochs), MOST_FRAMES)
    return [epochs[place] for place in np.linspace(0, len(epochs) - 1, count).round().astype(int)]


def _frame(sheet: NDArray[np.uint8], epoch: int) -> Image.Image:
    """A sheet with the number of its epoch below."""
    from PIL import Image, ImageDraw, ImageFont

    picture = picture_of(sheet)
    longer = max(picture.size)
    if longer > LARGEST_SIDE:
        picture.thumbnail((LARGEST_SIDE, LARGEST_SIDE))
    elif (times := _ENLARGED // longer) > 1:
        picture = picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)
    frame = Image.new(picture.mode, (picture.width, picture.height + _STRIP))
    frame.paste(picture)
    place = (picture.width / 2, picture.height + _STRIP / 2)
    white: Any = 255 if picture.mode == "L" else (255, 255, 255)
    text = f"epoch {epoch}"
    ImageDraw.Draw(frame).text(place, text, fill=white, font=ImageFont.load_default(_LETTERS), anchor="mm")
    return frame
