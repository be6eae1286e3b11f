"""Prepared TFDS folders without TFDS: which record files a slice such as `train[:90%]` reads, and where in them.

Importing tensorflow_datasets takes seconds, and the few facts needed here are in `dataset_info.json`.
"""

from __future__ import annotations

import json
import mmap
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.data.splits import Array
from cnnkit.errors import CnnkitError
from cnnkit.format.similar import suggestion

#: A name, and perhaps a slice: `train`, `train[:90%]`, `train[10:20]`, `train[2shard]`.
_SLICE = re.compile(r"([\w-]+)(?:\[([\d\w%:.-]+)\])?")
_BOUND = re.compile(r"(-?[\d_.]+)?(%|shard)?")

#: Where a prepared set does not say how its files are named.
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


@dataclass(frozen=True)
class RecordFiles:
    """The record files of one split, in order.

    Args:
        files: Their paths.
        lengths: Records in each.
        byte_count: What the data set's facts say of its size.
    """

    files: tuple[str, ...]
    lengths: tuple[int, ...]
    byte_count: int

    @property
    def size(self) -> int:
        """Records in the split."""
        return sum(self.lengths)


@dataclass(frozen=True)
class PreparedFolder:
    """What `dataset_info.json` says of the files of a prepared set.

    Args:
        name: `name:version` or `name/configuration:version`.
        file_format: `tfrecord`, or another that cnnkit does not read.
        splits: The files of each split, in the order of the file.
    """

    name: str
    file_format: str
    splits: dict[str, RecordFiles]

    def fingerprint_of(self, samples: str) -> str:
        """Name, version, and records and bytes of each split.

        Args:
            samples: What the records hold, such as `images`.
        """
        sizes = ", ".join(
            f"{name} {split.size} {samples} {split.byte_count} bytes" for name, split in sorted(self.splits.items())
        )
        return f"{self.name} ({sizes})"

    def parts(self, spec: str) -> list[tuple[str, int, int]]:
        """(file, first record, number of records) of each part of a slice, in order.

        The slices are those of TFDS: splits joined by `+`, each with bounds in records, percent (rounded to the
        nearest record) or shards; `all` is every split.

        Raises:
            CnnkitError: if there is no such split, or the slice cannot be read.
        """
        found: list[tuple[str, int, int]] = []
        specs = list(self.splits) if spec == "all" else re.split(r"\s*\+\s*", spec)
        for part in specs:
            split, start, stop = self._bounds(part)
            before = 0
            for file, length in zip(split.files, split.lengths, strict=True):
                first, last = max(start, before), min(stop, before + length)
                if first < last:
                    found.append((file, first - before, last - first))
                before += length
        return found

    def overlap(self, first: str, second: str) -> bool:
        """Whether two slices share records."""
        return any(
            file == other and max(skip, start) < min(skip + take, start + number)
            for file, skip, take in self.parts(first)
            for other, start, number in self.parts(second)
        )

    def _bounds(self, spec: str) -> tuple[RecordFiles, int, int]:
        """The split of a slice without `+`, its first record, and the one after its last."""
        match = _SLICE.fullmatch(spec)
        if match is None:
            raise self._unreadable(spec, "expected a split, or a slice of one such as `train[:90%]`")
        name, selector = match.groups()
        split = self.splits.get(name)
        if split is None:
            known = ", ".join(f"`{name}`" for name in self.splits)
            raise self._unreadable(
                spec, f"`{self.name}` has no split `{name}`{suggestion(name, self.splits) or f'; it has {known}'}"
            )
        if selector is None:
            return split, 0, split.size
        bounds = [_BOUND.fullmatch(text) for text in selector.split(":")]
        try:
            if len(bounds) == 1 and bounds[0] is not None and bounds[0][2] == "shard":
                shard = int(bounds[0][1])
                return (split, *_between(split, shard, shard + 1, "shard"))
            if len(bounds) != 2 or bounds[0] is None or bounds[1] is None or selector == ":":
                raise ValueError("expected bounds such as `[:90%]`, `[1000:2000]` or `[0shard]`")
            unit = bounds[0][2] or bounds[1][2] or ""
            number = float if unit == "%" else int
            start, stop = (None if bound[1] is None else number(bound[1]) for bound in bounds if bound is not None)
            return (split, *_between(split, start, stop, unit))
        except (TypeError, ValueError) as error:
            raise self._unreadable(spec, str(error)) from None

    def _unreadable(self, spec: str, reason: str) -> CnnkitError:
        return CnnkitError(f"cannot read the slice `{spec}`: {reason}")


def _between(split: RecordFiles, start: float | None, stop: float | None, unit: str) -> tuple[int, int]:
    """Bounds in a unit as records counted from the split's start.

    Raises:
        ValueError: if they lie outside the split.
    """
    size = split.size
    if unit == "%":
        if any(abs(bound) > 100 for bound in (start, stop) if bound is not None):
            raise ValueError("percentages lie between -100 and 100")
        first, last = (None if bound is None else round(bound * size / 100) for bound in (start, stop))
    elif unit == "shard":
        # As TFDS counts: `[:0shard]` is all shards.
        if stop is not None and stop <= 0:
            stop += len(split.lengths)
        first, last = (None if bound is None else sum(split.lengths[: int(bound)]) for bound in (start, stop))
    else:
        first, last = (None if bound is None else int(bound) for bound in (start, stop))
    first, last = 0 if first is None else first, size if last is None else last
    if abs(first) > size or abs(last) > size:
        raise ValueError(f"the split has only {size} records")
    return first + size if first < 0 else first, last + size if last < 0 else last


def read_record_files(folder: Path) -> PreparedFolder:
    """The record files of a prepared TFDS set."""
    info: dict[str, Any] = json.loads((folder / "dataset_info.json").read_text("utf-8"))
    file_format = info.get("fileFormat") or "tfrecord"
    base = info.get("name") or folder.parent.name
    splits = {}
    for split in info.get("splits", []):
        lengths = tuple(int(length) for length in split.get("shardLengths", []))
        template = split.get("filepathTemplate") or _TEMPLATE
        digits = max(5, len(str(len(lengths))))
        total = f"{len(lengths):0{digits}d}"
        files = []
        for number in range(len(lengths)):
            index = f"{number:0{digits}d}"
            name = template.format(
                DATASET=base,
                SPLIT=split["name"],
                FILEFORMAT=file_format,
                SHARD_INDEX=index,
                NUM_SHARDS=total,
                SHARD_X_OF_Y=f"{index}-of-{total}",
            )
            files.append(str(folder / name))
        splits[split["name"]] = RecordFiles(tuple(files), lengths, int(split.get("numBytes") or 0))
    configuration = f"/{info['configName']}" if info.get("configName") else ""
    version = info.get("version") or folder.name
    return PreparedFolder(f"{base}{configuration}:{version}", file_format, splits)


def find_records(parts: Sequence[tuple[str, int, int]]) -> tuple[Array, Array, Array]:
    """For each record of some parts: the index of its part, where its bytes start in the file, and how many they are.

    A TFRecord is its length (8 bytes), a checksum (4), the bytes, and a checksum (4).

    Returns:
        int32, int64 and int32 [records].

    Raises:
        CnnkitError: if a file is missing or shorter than it should be.
    """
    indices, starts, lengths = [], [], []
    for index, (name, skip, take) in enumerate(parts):
        try:
            with open(name, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as view:
                place = 0
                for number in range(skip + take):
                    (length,) = struct.unpack_from("<Q", view, place)
                    if number >= skip:
                        starts.append(place + 12)
                        lengths.append(length)
                    place += length + 16
                if place > len(view):
                    raise ValueError("it is too short")
        except (OSError, ValueError, struct.error) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise CnnkitError(
                f"cannot read the record file `{name}`: {reason}", "The data set is damaged; prepare it again."
            ) from None
        indices.append(np.full(take, index, np.int32))
    return np.concatenate(indices), np.array(starts, np.int64), np.array(lengths, np.int32)
