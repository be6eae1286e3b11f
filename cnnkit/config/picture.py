"""The one picture that a network restores: where its files are, and what size it gets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.image_folder import image_header
from cnnkit.format.override import BUNDLED
from cnnkit.images.formats import CorruptImage
from cnnkit.images.padding import NO_PADDING, Padding, padding_to


@dataclass(frozen=True)
class PictureInfo:
    """What is known of a picture by the headers of its files.

    Attributes:
        shape: (height, width, channels) of what is restored, without a border.
        times: How many times higher and wider that is than the picture that it is made of.
        padding: The border that the network's output has around it.
        missing: Why the picture itself cannot be read, where only the config says what it is.
    """

    shape: tuple[int, int, int]
    times: int = 1
    padding: Padding = NO_PADDING
    missing: str | None = None


def picture_file(name: str) -> Path:
    """The file of a picture: one that comes with scikit-learn by its name, or the user's."""
    if name in BUNDLED:
        # Without importing scikit-learn.
        package = find_spec("sklearn")
        assert package is not None
        assert package.origin is not None
        return Path(package.origin).parent / "datasets" / "images" / f"{name}.jpg"
    return Path(name).expanduser()


def describe_picture(config: DataConfig) -> PictureInfo:
    """The size of the picture of a `data` section, and of what is restored.

    Raises:
        DataProblem: if there is no such picture, or the files do not fit together.
    """
    assert config.picture is not None
    missing = None
    try:
        height, width, channels = image_header(picture_file(config.picture), config.max_megapixels)
    except (CorruptImage, OSError) as problem:
        if config.shape is None:
            raise DataProblem(_reason(problem), "image") from None
        (height, width, channels), missing = config.shape, _reason(problem)
    if config.image_size is not None:
        height, width = config.image_size
    channels = config.channels or (config.shape[2] if config.shape is not None else channels)
    if config.shape is not None and config.shape[:2] != (height, width):
        raise DataProblem(
            f"`data.shape` is {'x'.join(map(str, config.shape))}, but the picture is {height}x{width}; remove `shape`",
            "shape",
        )
    damage = config.damage
    if damage is not None and damage.scale is not None and (height % damage.scale or width % damage.scale):
        fitting = [size - size % damage.scale for size in (height, width)]
        raise DataProblem(
            f"the picture is {height}x{width}, which `scale: {damage.scale}` does not divide; "
            f"`image_size: {fitting}` with `resize: crop` would do",
            "image_size" if config.image_size is not None else "image",
        )
    if damage is not None and damage.mask is not None:
        _check_size("damage", damage.mask, (height, width), config, "the mask")
    times = config.enlarge or 1
    height, width = height * times, width * times
    if config.reference is not None:
        _check_size("reference", config.reference, (height, width), config, "the undamaged picture")
    padding = NO_PADDING if config.pad_to is None else padding_to(height, width, config.pad_to)
    times = damage.scale if damage is not None and damage.scale is not None else times
    return PictureInfo((height, width, channels), times, padding, missing)


def _check_size(argument: str, file: str, size: Sequence[int], config: DataConfig, what: str) -> None:
    """Whether another file is as large as the picture; where that is resized, so is the file."""
    try:
        found = image_header(picture_file(file), config.max_megapixels)[:2]
    except (CorruptImage, OSError) as problem:
        raise DataProblem(_reason(problem), argument) from None
    if config.image_size is None and found != tuple(size):
        raise DataProblem(
            f"{what} `{file}` is {found[0]}x{found[1]} (height x width), but should be {size[0]}x{size[1]}", argument
        )


def _reason(problem: Exception) -> str:
    return problem.message if isinstance(problem, CorruptImage) else str(problem)
