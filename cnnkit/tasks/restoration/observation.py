"""What is known of a picture that is to be restored: what was done to it, and what it was before."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.data.picture import read_pixels

if TYPE_CHECKING:
    from cnnkit.config.data import DataConfig

Pixels = NDArray[np.uint8]

#: What a PSNR is at most, that of pictures without any difference among them, of which it would be infinite.
MOST_DECIBELS = 100.0


@dataclass(frozen=True, eq=False)
class Observation:
    """What a network restores a picture from.

    Attributes:
        pixels: The damaged picture, uint8 [height, width, channels]; black where pixels are missing.
        known: Which of its pixels are known, bool [height, width].
        times: How many times higher and wider the restored picture is.
        reference: The undamaged picture, uint8 [times * height, times * width, channels]; None where nobody has it.
        is_noisy: Whether noise was added to the known pixels.
    """

    pixels: Pixels
    known: NDArray[np.bool_]
    times: int
    reference: Pixels | None
    is_noisy: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether what is known has to be found again in the restored picture, which has more pixels than it."""
        return not self.is_noisy and (self.times > 1 or not self.known.all())

    @property
    def stays(self) -> NDArray[np.bool_]:
        """Which pixels of the restored picture are the known ones, bool [times * height, times * width].

        They are those around what is missing, which is filled in. Where nothing is missing, or the known pixels have
        noise or are of a smaller picture, everything is restored.
        """
        if self.times > 1 or not self.is_exact:
            return np.zeros(self.shown.shape[:2], bool)
        return self.known

    @property
    def shown(self) -> Pixels:
        """The damaged picture at the size of the restored one, each pixel as a square."""
        return larger(self.pixels, self.times)

    @property
    def simply_restored(self) -> Pixels | None:
        """What to compare with: the picture as it is, or enlarged by Pillow; None where pixels are missing."""
        if not self.known.all():
            return None
        return self.pixels if self.times == 1 else resized(self.pixels, self.times)


def observe(config: DataConfig, picture: Pixels) -> Observation:
    """What is known of a picture, as its `data` section says.

    Args:
        picture: As its file has it, uint8 [height, width, channels].
    """
    damage = config.damage
    channels = picture.shape[-1]
    if damage is None:
        times = config.enlarge or 1
        reference = None if config.reference is None else read_pixels(config.reference, config, channels, times)
        return Observation(picture, np.ones(picture.shape[:2], bool), times, reference)
    reference = picture if damage.is_known else None
    if config.reference is not None:
        reference = read_pixels(config.reference, config, channels, config.enlarge or 1)
    random = np.random.default_rng(damage.seed)
    pixels = picture if damage.scale is None else shrunk(picture, damage.scale)
    if damage.noise is not None:
        noisy = pixels + random.normal(0.0, damage.noise, pixels.shape)
        pixels = np.rint(noisy.clip(0, 255)).astype(np.uint8)
    known = np.ones(pixels.shape[:2], bool)
    if damage.missing is not None:
        known = random.random(pixels.shape[:2]) >= damage.missing
    if damage.mask is not None:
        known = _mask(config, damage.mask, damage.scale or 1)
    times = damage.scale or config.enlarge or 1
    return Observation(np.where(known[..., None], pixels, 0), known, times, reference, damage.noise is not None)


def _mask(config: DataConfig, file: str, times: int) -> NDArray[np.bool_]:
    mask = read_pixels(file, config, 1)
    known: NDArray[np.bool_] = (mask if times == 1 else shrunk(mask, times))[..., 0] >= 128
    return known


def larger(pixels: Pixels, times: int) -> Pixels:
    """A picture so many times higher and wider, each pixel as a square."""
    return pixels.repeat(times, axis=0).repeat(times, axis=1)


def shrunk(pixels: Pixels, times: int) -> Pixels:
    """A picture so many times lower and narrower, by Pillow's bicubic filter."""
    return _by_pillow(pixels, pixels.shape[0] // times, pixels.shape[1] // times)


def resized(pixels: Pixels, times: int) -> Pixels:
    """A picture so many times higher and wider, by Pillow's bicubic filter."""
    return _by_pillow(pixels, pixels.shape[0] * times, pixels.shape[1] * times)


def _by_pillow(pixels: Pixels, height: int, width: int) -> Pixels:
    from PIL import Image

    from cnnkit.images.pictures import picture_of

    made = picture_of(pixels).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(made, np.uint8).reshape(height, width, pixels.shape[-1])


def shrinking_matrix(size: int, times: int) -> NDArray[np.float32]:
    """What Pillow's bicubic filter does along one axis, float32 [size // times, size]: it is linear."""
    from PIL import Image

    identity = Image.fromarray(np.eye(size, dtype=np.float32))
    return np.asarray(identity.resize((size, size // times), Image.Resampling.BICUBIC), np.float32)


def psnr(picture: Any, reference: Any, known: Any = None) -> float:
    """The peak signal-to-noise ratio of uint8 pictures in dB, over all values; MOST_DECIBELS where they are equal.

    Args:
        known: Which pixels count, bool [height, width]; by default all.
    """
    squares = np.square(np.asarray(picture, np.float64) - np.asarray(reference, np.float64))
    error = squares.mean() if known is None else squares[known].mean()
    return min(float(10 * np.log10(255.0**2 / error)), MOST_DECIBELS) if error else MOST_DECIBELS
