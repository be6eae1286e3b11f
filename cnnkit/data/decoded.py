"""Images decoded once: from the cache where they are in it, else from their files and into the cache."""

from __future__ import annotations

import contextlib
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cnnkit.data.cache import Damaged, entry_key, opened, read_arrays, write_arrays, writing
from cnnkit.data.images import CorruptFiles
from cnnkit.data.splits import Array, Source, empty_samples
from cnnkit.images.formats import CorruptImage


@dataclass(frozen=True)
class Decoded:
    """Images in memory.

    Args:
        positions: Their places in the source, sorted int64 [n]; corrupt ones are left out.
        images: [n, *source.stored_shape].
        moments: What `image_moments` says of each.
    """

    positions: Array
    images: Array
    moments: Array


def decode(source: Source, parts: Sequence[Array], *, keep: bool) -> list[Decoded]:
    """The images at some places of a source, for each of several parts of it.

    Args:
        parts: Sorted positions; two parts may share some.
        keep: Whether the cache is used. It holds the whole source, so that it serves any division into parts.
    """
    if not keep or source.key is None:
        wanted = np.unique(np.concatenate(parts))
        collected = _Parts(source, parts)
        for positions, images in source.decode(wanted):
            collected.add(positions, images, image_moments(images))
        return collected.done()
    key = entry_key(kind="images", source=source.key)
    with contextlib.suppress(Damaged), opened(key) as entry:
        if entry is not None:
            collected = _Parts(source, parts)
            positions, moments = entry.array("positions"), entry.array("moments")
            first = 0
            for images in entry.chunks("images", len(positions)):
                last = first + len(images)
                collected.add(positions[first:last], images, moments[first:last])
                first = last
            return collected.done()
    return _decode_and_keep(source, parts, key)


def _decode_and_keep(source: Source, parts: Sequence[Array], key: str) -> list[Decoded]:
    count = source.targets.size
    collected = _Parts(source, parts)
    all_positions = [np.empty(0, np.int64)]
    channels = channels_in(source.stored_shape)
    all_moments = [np.empty((0, channels, 2), np.int64)]
    with writing(key, count * (math.prod(source.stored_shape) + 8 + 16 * channels)) as writer:
        # Where the cache takes nothing, the rest is not needed.
        wanted = np.arange(count) if writer.is_open else np.unique(np.concatenate(parts))
        for positions, images in source.decode(wanted):
            moments = image_moments(images)
            collected.add(positions, images, moments)
            writer.append("images", images)
            all_positions.append(positions)
            all_moments.append(moments)
        writer.add("positions", np.concatenate(all_positions))
        writer.add("moments", np.concatenate(all_moments))
    return collected.done()


class _Parts:
    """Parts of a source that fill up as its images come by."""

    def __init__(self, source: Source, parts: Sequence[Array]) -> None:
        self.wanted = []
        for positions in parts:
            mask = np.zeros(source.targets.size, bool)
            mask[positions] = True
            self.wanted.append(mask)
        self.positions = [np.empty(len(positions), np.int64) for positions in parts]
        self.images = [empty_samples(len(positions), source.stored_shape, source.sample.dtype) for positions in parts]
        channels = channels_in(source.stored_shape)
        self.moments = [np.empty((len(positions), channels, 2), np.int64) for positions in parts]
        self.filled = [0] * len(parts)

    def add(self, positions: Array, images: Array, moments: Array) -> None:
        for index, mask in enumerate(self.wanted):
            rows = mask[positions]
            start = self.filled[index]
            end = self.filled[index] = start + int(np.count_nonzero(rows))
            self.positions[index][start:end] = positions[rows]
            self.moments[index][start:end] = moments[rows]
            np.compress(rows, images, axis=0, out=self.images[index][start:end])

    def done(self) -> list[Decoded]:
        rows = zip(self.positions, self.images, self.moments, self.filled, strict=True)
        return [Decoded(positions[:end], images[:end], moments[:end]) for positions, images, moments, end in rows]


def kept_moments(source: Source) -> tuple[Array, Array] | None:
    """The positions and moments of a source's images that are in the cache; None where they are not."""
    if source.key is None:
        return None
    found = read_arrays(entry_key(kind="images", source=source.key), "positions", "moments")
    return (found[0], found[1]) if found is not None else None


def channels_in(shape: tuple[int, ...]) -> int:
    """The channels of samples of a shape, of which there are none but in images."""
    return shape[2] if len(shape) == 3 else 0


def image_moments(images: Array) -> Array:
    """Each image's sum and sum of squares per channel, int64 [n, channels, 2], exact.

    Args:
        images: uint8 [n, height, width, channels]; of what is no image, nothing is summed.
    """
    channels = channels_in(images.shape[1:])
    found = np.empty((len(images), channels, 2), np.int64)
    for channel in range(channels):
        values = images[..., channel].reshape(len(images), math.prod(images.shape[1:3]))
        found[:, channel, 0] = values.sum(axis=1, dtype=np.int64)
        # 255 squared fits in 16 bits.
        found[:, channel, 1] = np.square(values, dtype=np.uint16).sum(axis=1, dtype=np.int64)
    return found


def moments_of(source: Source, positions: Array) -> Array:
    """`image_moments` of images that are not in memory, from the cache where they were measured before."""
    key = None
    if source.key is not None:
        measured = hashlib.blake2b(positions.tobytes(), digest_size=16).hexdigest()
        key = entry_key(kind="moments", source=source.key, positions=measured)
        found = read_arrays(key, "moments")
        if found is not None:
            return found[0]
    moments = np.concatenate([image_moments(images) for _, images in source.decode(positions)])
    if key is not None:
        write_arrays(key, {"moments": moments})
    return moments


def readable(source: Source, positions: Array) -> Array:
    """The positions whose images can be decoded: every one is tried once, and the outcome cached."""
    key = None
    if source.key is not None:
        key = entry_key(kind="readable", source=source.key)
        found = read_arrays(key, "positions")
        if found is not None:
            return np.intersect1d(positions, found[0])
    left = [part for part, _ in source.decode(np.arange(source.targets.size))]
    whole = np.concatenate([np.empty(0, np.int64), *left])
    if key is not None:
        write_arrays(key, {"positions": whole})
    return np.intersect1d(positions, whole)


def check_readable(sources: Sequence[Source]) -> None:
    """Decodes all images of some sources, of which several may be the same, and keeps none.

    Raises:
        CorruptFiles: if some cannot be decoded and are not to be left out; it names those of all sources.
    """
    failed: list[CorruptImage] = []
    for source in {id(source): source for source in sources}.values():
        try:
            for _ in source.decode(np.arange(source.targets.size)):
                pass
        except CorruptFiles as error:
            failed += error.errors
    if failed:
        raise CorruptFiles(failed)
