"""Exact copies of training images in another split: sought by sums of pixels, and told by the pixels themselves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cnnkit.data.decoded import kept_moments
from cnnkit.data.splits import Array, Source, Split, chunk_size
from cnnkit.data.survey import pixels_digest

#: Odd numbers that mix the sums of an image, two for each channel, to one number.
_MIXERS = np.random.RandomState(0).randint(1 << 62, size=6, dtype=np.uint64) * np.uint64(2) + np.uint64(1)

#: Copies that a line names.
_NAMED = 3


@dataclass(frozen=True, eq=False)
class Measured:
    """Images whose sums are known, whether they are in memory or not.

    Attributes:
        name: What they are called.
        source: Where they come from.
        positions: Their places in it, [n].
        moments: What `decoded.image_moments` says of each, [n, channels, 2].
        read: The samples at some of `positions`' indices, [m, *source.shape].
    """

    name: str
    source: Source
    positions: Array
    moments: Array
    read: Callable[[Array], Array]

    def target(self, index: int) -> bytes:
        """What tells the target of an image from others; nothing where masks are stored with the images."""
        return self.source.targets.values[self.positions[index]].tobytes()


@dataclass(frozen=True)
class Copies:
    """Images of a split that are training images, too.

    Attributes:
        split: Its name.
        images: How many it has.
        files: Those that are copies.
        mislabelled: How many of them are in another class there than here.
    """

    split: str
    images: int
    files: tuple[str, ...]
    mislabelled: int


def measured(split: Split, name: str | None = None) -> Measured | None:
    """The images of a split that is in memory; None of one that is not."""
    if split.moments is None:
        return None
    moments = split.moments[:, : split.shape[-1]]
    return Measured(name or split.name, split.source, split.positions, moments, split.read)


def measured_in_cache(name: str, source: Source, positions: Array) -> Measured | None:
    """Those of a source's images that the cache holds, read when they are needed; None where it holds none."""
    kept = kept_moments(source)
    if kept is None:
        return None
    found, moments = kept
    wanted = np.isin(found, positions)
    places = found[wanted]
    channels = source.shape[-1]
    moments = moments[wanted][:, :channels]
    return Measured(name, source, places, moments, lambda indices: source.read(places[indices])[..., :channels])


def find_copies(training: Measured, other: Measured) -> Copies | None:
    """Which images of a split are training images too, as the network gets them; None where there is none."""
    if training.source.shape != other.source.shape:
        return None
    known, looked_at = _mixed(training.moments), _mixed(other.moments)
    # Images with the same pixels have the same sums, and few others do.
    candidates = np.flatnonzero(np.isin(looked_at, known))
    if not len(candidates):
        return None
    known_targets: dict[bytes, set[bytes]] = defaultdict(set)
    originals = np.flatnonzero(np.isin(known, looked_at[candidates]))
    for index, digest in _digests(training, originals):
        known_targets[digest].add(training.target(index))
    copies = [
        (index, other.target(index) not in known_targets[digest])
        for index, digest in _digests(other, candidates)
        if digest in known_targets
    ]
    if not copies:
        return None
    files = tuple(other.source.identity(int(other.positions[index])) for index, _ in copies)
    return Copies(other.name, len(other.positions), files, sum(mislabelled for _, mislabelled in copies))


def copies_text(found: Sequence[Copies]) -> str:
    """What was found, as one line."""
    counts = ", ".join(f"{len(one.files):,} of {one.images:,} in {one.split}" for one in found)
    mislabelled = sum(one.mislabelled for one in found)
    of_others = f" ({mislabelled:,} of them in another class)" if mislabelled else ""
    files = [file for one in found for file in one.files]
    named = ", ".join(files[:_NAMED]) + (", ..." if len(files) > _NAMED else "")
    return f"exact copies of training images: {counts}{of_others}: {named}"


def _mixed(moments: Array) -> Array:
    """One number for the sums of each image, uint64 [n]."""
    rows = moments.reshape(len(moments), -1).astype(np.uint64)
    # NumPy's products and sums of whole numbers wrap.
    return (rows * _MIXERS[: rows.shape[1]]).sum(axis=1, dtype=np.uint64)


def _digests(images: Measured, indices: Array) -> Iterator[tuple[int, bytes]]:
    step = chunk_size(images.source.shape)
    for start in range(0, len(indices), step):
        part = indices[start : start + step]
        for index, image in zip(part, images.read(part), strict=True):
            yield int(index), pixels_digest(image)
