"""A prepared TFDS set as a collection: its own splits and slices, each opened once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cnnkit.data.splits import ImageCollection, Source
from cnnkit.errors import CnnkitError

if TYPE_CHECKING:
    from cnnkit.data.tfds import PreparedRecords


class Prepared(ImageCollection):
    """A prepared TFDS set; splits without labels (as ImageNet's test split) do not count."""

    def __init__(self, prepared: PreparedRecords) -> None:
        self.prepared = prepared
        self.splits = tuple(prepared.splits)
        self.fingerprint = prepared.fingerprint
        self._opened: dict[str, Any] = {}

    def open(self, spec: str) -> Source:
        source: Any = self._slice(spec)
        if not source.is_labelled:
            samples = self.prepared.samples
            raise CnnkitError(f"the slice `{spec}` of `{self.prepared.name}` has {samples} without labels")
        return source

    def is_labelled(self, split: str) -> bool:
        return bool(self._slice(split).is_labelled)

    def _slice(self, spec: str) -> Any:
        if spec not in self._opened:
            self._opened[spec] = self.prepared.open(spec)
            self.notes = (*self.notes, *self._opened[spec].notes)
        return self._opened[spec]
