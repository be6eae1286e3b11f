"""The one picture that a network restores, as a data set of one image."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from cnnkit.config.picture import picture_file
from cnnkit.data.images import read_image
from cnnkit.data.splits import Array, ArraySource, DataSets, Split
from cnnkit.data.targets import NoTargets

if TYPE_CHECKING:
    from cnnkit.config.data import DataConfig
    from cnnkit.config.dataset import DataSetInfo


class PictureSource(ArraySource):
    """One picture.

    Args:
        pixels: uint8 [height, width, channels].
        file: Where it is.
    """

    def __init__(self, pixels: Array, file: Path) -> None:
        super().__init__(pixels[None], NoTargets(1), file.name)
        self.file = file

    def identity(self, position: int) -> str:
        return self.file.name

    def path(self, position: int) -> str | None:
        return str(self.file)


def load_picture(config: DataConfig, info: DataSetInfo) -> DataSets:
    """The picture of a `data` section, which is all there is to learn from and to be measured on.

    Raises:
        CorruptImage: if a file cannot be decoded.
    """
    assert config.picture is not None
    file = picture_file(config.picture)
    source = PictureSource(read_pixels(config.picture, config, info.target.size), file)
    digest = hashlib.blake2b(source.images.tobytes(), digest_size=8)
    for beside in (config.reference, None if config.damage is None else config.damage.mask):
        if beside is not None:
            digest.update(picture_file(beside).read_bytes())
    train, test = (
        Split(name, source.targets, source.shape, source, np.arange(1), source.images) for name in ("train", "test")
    )
    return DataSets(train, None, test, info, digest.hexdigest(), "cache")


def read_pixels(name: str, config: DataConfig, channels: int, times: int = 1) -> Array:
    """The picture, or another file of its section, uint8 [height, width, channels].

    Args:
        times: How many times higher and wider than the picture it is.
    """
    size = None if config.image_size is None else (config.image_size[0] * times, config.image_size[1] * times)
    return read_image(picture_file(name), size, channels, most_megapixels=config.max_megapixels, resize=config.resize)
