"""The images that all contestants see: those of the config's data set where it is prepared, else random ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pool import ask
from cnnkit.config.load import LoadedConfig, load_config

RANDOM = "random images"


@dataclass(frozen=True)
class Images:
    """Images in two files, `<path>.images.npy` and `<path>.labels.npy`.

    Attributes:
        source: The data set's name, or `random images`.
    """

    path: str
    source: str
    count: int

    @property
    def stand_in(self) -> str | None:
        """The path where cnnkit has to take these images for its data set's; None where it reads the data set."""
        return self.path if self.source == RANDOM else None

    def described(self) -> str:
        """What the images are, as a sentence begins with it."""
        return "Random images" if self.source == RANDOM else f"Images of {self.source}"


def load_with_whole_images(config: str, overrides: list[str]) -> LoadedConfig:
    """A config without images that grow from epoch to epoch: a repeat is one of the last epochs, which take longest."""
    from cnnkit.augmentation.resizing import ProgressiveResizing

    loaded = load_config(config, overrides)
    whole = [one for one in loaded.config.augmentation if not isinstance(one, ProgressiveResizing)]
    return replace(loaded, config=loaded.config.model_copy(update={"augmentation": whole}))


def write_images(
    config: Path, overrides: list[str], count: int, folder: Path, split: str = "train", *, real: bool = True
) -> Images:
    """The first images of a config's training or test split.

    Where the data set is not here, random images of its shape; nothing is downloaded.

    Args:
        count: At most so many.
        folder: Gets the files.
        real: Whether the data set is looked for at all.
    """
    path = str(folder / f"{config.stem}-{split}")
    spec = {"config": str(config), "overrides": overrides, "count": count, "output": path, "split": split, "real": real}
    answer = ask("reading the images", {"kind": "images", **spec})
    return Images(path, answer["source"], answer["count"])


def save_images(images: Any, labels: Any, path: str) -> None:
    """Writes images, uint8 [n, height, width, channels], and labels, whole numbers [n]."""
    np.save(f"{path}.images.npy", images)
    np.save(f"{path}.labels.npy", labels)


def random_images(count: int, shape: tuple[int, ...], classes: int) -> tuple[Any, Any]:
    """Random images and labels, always the same."""
    random = np.random.default_rng(0)
    return random.integers(0, 256, (count, *shape), dtype=np.uint8), random.integers(0, classes, count)


def read_images(path: str) -> tuple[Any, Any]:
    """Images, uint8 [n, height, width, channels], and labels, int64 [n]."""
    return np.load(f"{path}.images.npy"), np.load(f"{path}.labels.npy").astype(np.int64)


def read_aligned(path: str) -> tuple[Any, Any]:
    """The same, the images as cnnkit's own loading leaves them: TensorFlow shares their memory."""
    from cnnkit.data.splits import empty_samples

    with open(f"{path}.images.npy", "rb") as stream:
        version = np.lib.format.read_magic(stream)
        assert version == (1, 0)
        shape, _, _ = np.lib.format.read_array_header_1_0(stream)
        images = empty_samples(shape[0], tuple(shape[1:]), "uint8")
        stream.readinto(images.reshape(-1).data)
    return images, np.load(f"{path}.labels.npy").astype(np.int64)


def write_pairs(folder: Path, data: dict[str, Any], count: int) -> str:
    """Random images and masks of the size that a config's `data` names, as the PNG files of a folder and as arrays.

    Args:
        folder: Gets `train/`, `test/` and `classes.txt`, and the arrays.
        data: With `shape`, `classes` and `ignore`, as a config has them.

    Returns:
        The path that `read_pairs` takes.
    """
    from PIL import Image

    random = np.random.default_rng(0)
    height, width, channels = data["shape"]
    images = random.integers(0, 256, (count, height, width, channels), dtype=np.uint8)
    # Squares of 20 pixels, each of one class.
    squares = random.integers(0, data["classes"], (count, -(-height // 20), -(-width // 20)), dtype=np.uint8)
    masks = squares.repeat(20, 1).repeat(20, 2)[:, :height, :width]
    masks[:, 0] = data["ignore"]
    # One pair to test on, or cnnkit would hold back some of the others.
    for split, chosen in (("train", slice(None)), ("test", slice(1))):
        for kind, pictures in (("images", images), ("masks", masks)):
            (folder / split / kind).mkdir(parents=True)
            for number, pixels in enumerate(pictures[chosen]):
                Image.fromarray(pixels).save(folder / split / kind / f"{number:04}.png", compress_level=1)
    (folder / "classes.txt").write_text("".join(f"class {number}\n" for number in range(data["classes"])), "utf-8")
    path = str(folder / "pairs")
    np.savez(f"{path}.npz", images=images, masks=masks)
    return path


def read_pairs(path: str) -> tuple[Any, Any]:
    """Images, uint8 [n, height, width, channels], and masks, uint8 [n, height, width]."""
    with np.load(f"{path}.npz") as arrays:
        return arrays["images"], arrays["masks"]
