"""Texts as samples: rows of a table or text files, numbered by a vocabulary of the training split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.sample import Sample, TextSample
from cnnkit.config.table import ImageTable, ListedImage, read_image_table
from cnnkit.data.splits import Array, Source
from cnnkit.data.targets import Targets, make_targets
from cnnkit.images.formats import CorruptImage
from cnnkit.texts.words import Vocabulary


class TextSource:
    """Texts with a target each, all in memory.

    Args:
        texts: The texts.
        names: What each is called, see `Source.identity`.
        targets: Theirs.
        sample: What they are read by; it has the vocabulary before any is read.
        length: How many words the network takes of each.
        groups: As `Source.groups` says.
    """

    key = None

    def __init__(
        self,
        texts: Sequence[str],
        names: Sequence[str],
        targets: Targets,
        sample: TextSample,
        length: int,
        *,
        groups: Array | None = None,
    ) -> None:
        self.texts = texts
        self.names = names
        self.targets = targets
        self.shape: tuple[int, ...] = (length,)
        self.stored_shape: tuple[int, ...] = self.shape
        self.sample: Sample = sample
        self.groups = groups

    def identity(self, position: int) -> str:
        return self.names[position]

    def path(self, position: int) -> str | None:
        return None

    def read(self, positions: Array) -> Array:
        """The numbers of the words of some texts, int32 [len(positions), length]."""
        vocabulary = self.sample.vocabulary
        assert vocabulary is not None
        rows = [vocabulary.numbers(self.texts[int(position)], self.shape[0]) for position in positions]
        return np.array(rows, np.int32).reshape(len(rows), *self.shape)

    def read_in_graph(self, positions: Any) -> Any:
        import tensorflow as tf

        return tf.numpy_function(self.read, [positions], tf.int32)

    def decode(self, positions: Array) -> Iterator[tuple[Array, Array]]:
        yield positions, self.read(positions)


class TextTable:
    """A table of texts."""

    problems: Sequence[CorruptImage] = ()

    def __init__(self, table: ImageTable, config: DataConfig, info: DataSetInfo) -> None:
        self.table = table
        self.config = config
        self.info = info
        self.splits = tuple(table.splits)
        self.notes = table.notes
        assert isinstance(info.sample, TextSample)
        self.sample = info.sample
        self._opened: dict[str, TextSource] = {}

    @property
    def fingerprint(self) -> str:
        digest = hashlib.blake2b(digest_size=8)
        digest.update(repr(self.table.names).encode())
        for split, rows in self.table.splits.items():
            for row in rows:
                digest.update(repr((split, row.text, row.value, row.group)).encode("utf-8", "surrogatepass"))
        count = sum(map(len, self.table.splits.values()))
        return f"table {self.table.name} ({count} texts, content {digest.hexdigest()})"

    def open(self, spec: str) -> Source:
        if spec not in self._opened:
            rows = self.table.splits[spec]
            targets = make_targets(self.info.target, [row.value for row in rows])
            texts, names = [row.text for row in rows], [row.file for row in rows]
            length = self.info.shape[0]
            self._opened[spec] = TextSource(texts, names, targets, self.sample, length, groups=_groups(rows))
        return self._opened[spec]

    def begin(self, training: tuple[Any, Array]) -> DataSetInfo:
        """See `Collection.begin`: the vocabulary is that of the training texts."""
        source, positions = training
        texts = (source.texts[int(position)] for position in positions)
        self.sample = replace(self.sample, vocabulary=Vocabulary.of(texts, self.sample.size))
        for one in self._opened.values():
            one.sample = self.sample
        return replace(self.info, sample=self.sample)


def _groups(rows: Sequence[ListedImage]) -> Array | None:
    """The number of each row's group, int64 [n]; None where the rows have none."""
    if rows and rows[0].group is None:
        return None
    return np.unique([str(row.group) for row in rows], return_inverse=True)[1]


def open_texts(config: DataConfig, info: DataSetInfo) -> TextTable:
    """The configured texts.

    Raises:
        DataProblem: if a table does not hold what it should.
    """
    return TextTable(info.table or read_image_table(config, type(info.target)), config, info)
