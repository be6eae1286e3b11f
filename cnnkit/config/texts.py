"""What is known of a data set of texts without TensorFlow: its classes, and where they are."""

from __future__ import annotations

import os
from dataclasses import dataclass

from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.table import ImageTable, check_table, read_image_table
from cnnkit.config.target import Target


@dataclass(frozen=True)
class FoundTexts:
    """A data set of texts.

    Attributes:
        source: Where this was found, as `DataSetInfo.source`.
        names: Of the classes, labels or numbers; None where only the config says how many they are.
        table: The rows of a table.
        missing: Why the texts cannot be read, where only the config says what they are.
    """

    source: str
    names: tuple[str, ...] | None = None
    table: ImageTable | None = None
    missing: str | None = None


def find_texts(config: DataConfig, target: type[Target]) -> FoundTexts:
    """The texts of a `data` section with `text`.

    Args:
        target: What is to be learned of them.

    Raises:
        DataProblem: if they are not there, or something is wrong with them.
    """
    if target.per_pixel:
        raise DataProblem(f"texts have no pixels that could be of {target.plural}; choose another `task:`", "text")
    try:
        table = read_image_table(config, target)
        check_table(table)
    except DataProblem as problem:
        if os.path.lexists(config.source) or config.classes is None:
            raise
        # The file may come later, or have been there for the training alone.
        return FoundTexts("config", missing=problem.message)
    return FoundTexts("table", table.names, table=table)
