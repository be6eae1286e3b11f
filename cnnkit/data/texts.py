"""Texts as samples, numbered by a vocabulary of the training split; those of a table, and of text files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from cnnkit.config.cells import SPLITS
from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.sample import Sample, TextSample
from cnnkit.config.table import ImageTable, ListedImage
from cnnkit.data.splits import Array, DataSets, Source
from cnnkit.data.targets import Targets, group_numbers, make_targets
from cnnkit.images.formats import CorruptImage
from cnnkit.texts.words import Vocabulary, words_in


class NumberedTexts:
    """Texts that are read as the numbers of their words, all in memory: what sources of them have in common.

    Args:
        sample: What they are read by; it has the vocabulary before any is read.
        length: How many words the network takes of each.
    """

    key = None

    def __init__(self, sample: Sample, length: int) -> None:
        self.sample = sample
        self.shape: tuple[int, ...] = (length,)
        self.stored_shape: tuple[int, ...] = self.shape

    def text(self, position: int) -> str:
        """The text itself."""
        raise NotImplementedError

    def path(self, position: int) -> str | None:
        return None

    def read(self, positions: Array) -> Array:
        """The numbers of the words of some texts, int32 [len(positions), length]."""
        vocabulary = self.sample.vocabulary
        assert vocabulary is not None
        rows = [vocabulary.numbers(self.text(int(position)), self.shape[0]) for position in positions]
        return np.array(rows, np.int32).reshape(len(rows), *self.shape)

    def read_in_graph(self, positions: Any) -> Any:
        import tensorflow as tf

        return tf.numpy_function(self.read, [positions], tf.int32)

    def decode(self, positions: Array) -> Iterator[tuple[Array, Array]]:
        yield positions, self.read(positions)


class TextSource(NumberedTexts):
    """Texts with a target each.

    Args:
        rows: The texts, with what they are known by and their groups.
        targets: Theirs.
        sample, length: As for `NumberedTexts`.
    """

    def __init__(self, rows: Sequence[ListedImage], targets: Targets, sample: Sample, length: int) -> None:
        super().__init__(sample, length)
        self.rows = rows
        self.targets = targets
        self.groups = group_numbers([row.group for row in rows])

    def text(self, position: int) -> str:
        return self.rows[position].text

    def identity(self, position: int) -> str:
        return self.rows[position].file


class LearnsWords:
    """What collections of texts have in common: the vocabulary is that of the training texts.

    Attributes:
        info: What is known of the data set.
    """

    info: DataSetInfo
    _opened: dict[str, Any]

    @property
    def sample(self) -> TextSample:
        """What texts are read by, as far as it is known."""
        assert isinstance(self.info.sample, TextSample)
        return self.info.sample

    def begin(self, training: Callable[[], tuple[Any, Array]]) -> DataSetInfo:
        """See `Collection.begin`."""
        source, positions = training()
        texts = (source.text(int(position)) for position in positions)
        sample = replace(self.sample, vocabulary=Vocabulary.of(texts, self.sample.size))
        self.info = replace(self.info, sample=sample)
        for opened in self._opened.values():
            opened.sample = sample
        return self.info


class TextTable(LearnsWords):
    """A table of texts."""

    problems: Sequence[CorruptImage] = ()

    def __init__(self, table: ImageTable, config: DataConfig, info: DataSetInfo) -> None:
        self.table = table
        self.config = config
        self.info = info
        self.splits = tuple(table.splits)
        self.notes = table.notes
        self._opened: dict[str, TextSource] = {}

    @property
    def fingerprint(self) -> str:
        digest = hashlib.blake2b(digest_size=8)
        digest.update(repr(self.table.names).encode())
        for split, rows in self.table.splits.items():
            for row in rows:
                digest.update(repr((split, row.text, row.value, row.group)).encode("utf-8", "surrogatepass"))
        count = sum(map(len, self.table.splits.values()))
        kind = "table" if self.config.folder is None else "folder"
        return f"{kind} {self.table.name} ({count} texts, content {digest.hexdigest()})"

    def open(self, spec: str) -> Source:
        if spec not in self._opened:
            rows = self.table.splits[spec]
            targets = make_targets(self.info.target, [row.value for row in rows])
            self._opened[spec] = TextSource(rows, targets, self.sample, self.info.shape[0])
        return self._opened[spec]


def text_summary(config: DataConfig, data: DataSets) -> dict[str, Any]:
    """What is in a data set of texts, as plain values, see `catalog.data_set_summary`.

    `words` has of each split how many words its texts have, and the share that the vocabulary does not know;
    `vocabulary` how many words it holds of how many different ones in the training texts; `cut` is the share of longer
    texts.
    """
    target, sample = data.info.target, data.info.sample
    assert sample.vocabulary is not None
    length = data.info.shape[0]
    splits, distinct = {}, set()
    for name in SPLITS:
        split = getattr(data, name)
        if split is None:
            continue
        texts = [words_in(split.source.text(int(position))) for position in split.positions]
        if name == "train":
            distinct = {word for words in texts for word in words}
        lengths = np.array([len(words) for words in texts])
        unknown = sum(word not in sample.vocabulary for words in texts for word in words)
        splits[name] = {
            "texts": split.size,
            **split.targets.summary(target.all_names),
            "words": {"min": int(lengths.min()), "median": int(np.median(lengths)), "max": int(lengths.max())},
            "unknown": round(unknown / max(1, int(lengths.sum())), 4),
            "cut": round(float(np.mean(lengths > length)), 4),
        }
    return {
        "source": config.source,
        "length": length,
        "vocabulary": {"known": len(sample.vocabulary.words), "in_training_texts": len(distinct)},
        target.plural: target.size,
        f"{target.singular}_names": list(target.all_names),
        "splits": splits,
        "fingerprint": data.fingerprint,
        **({"notes": list(data.notes)} if data.notes else {}),
    }
