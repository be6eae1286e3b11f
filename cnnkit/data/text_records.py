"""Prepared TensorFlow Datasets of texts: a class and a text in each record."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.prepared import read_prepared_texts
from cnnkit.config.texts import text_label
from cnnkit.data.prepared import Prepared
from cnnkit.data.texts import LearnsWords, NumberedTexts
from cnnkit.data.tfds import RECORDS, LabelledRecords, PreparedRecords, checked, damaged
from cnnkit.machine.tensorflow import load_tensorflow


class PreparedTexts(PreparedRecords):
    """A prepared TFDS data set of texts.

    Args:
        folder: As for `PreparedRecords`.
        config: The `data` section, which names the feature of the texts.
        info: The classes, and how texts are read.

    Raises:
        DataProblem: if it has no such feature.
        CnnkitError: as `PreparedRecords`.
    """

    samples = "texts"

    def __init__(self, folder: Path, config: DataConfig, info: DataSetInfo) -> None:
        assert config.name is not None
        assert config.text is not None
        facts = read_prepared_texts(folder, config.text, text_label(config.name, config.target))
        super().__init__(folder, facts, info.target.all_names)
        self.text_key: str = facts["text"]
        self.info = info

    def open(self, spec: str) -> TextRecords:
        return TextRecords(self, spec)


class TextRecords(NumberedTexts, LabelledRecords):
    """The texts of one TFDS slice, read once."""

    prepared: PreparedTexts

    def __init__(self, prepared: PreparedTexts, spec: str) -> None:
        NumberedTexts.__init__(self, prepared.info.sample, prepared.info.shape[0])
        LabelledRecords.__init__(self, prepared, spec)

    @cached_property
    def _texts(self) -> list[bytes]:
        """The texts as they are stored: UTF-8."""
        tf = load_tensorflow()
        key = self.prepared.text_key
        feature = {key: tf.io.FixedLenFeature([], tf.string)}
        parsed = self._records().batch(RECORDS).map(lambda records: tf.io.parse_example(records, feature)[key])
        return [text for batch in checked(parsed) for text in batch]

    def text(self, position: int) -> str:
        try:
            return self._texts[position].decode("utf-8")
        except UnicodeDecodeError:
            raise damaged(f"the text {self.identity(position)} of `{self.prepared.name}` is not UTF-8") from None


class NamedTexts(LearnsWords, Prepared):
    """A prepared TFDS set of texts as a collection."""

    def __init__(self, folder: Path, config: DataConfig, info: DataSetInfo) -> None:
        super().__init__(PreparedTexts(folder, config, info))
        self.info = info
