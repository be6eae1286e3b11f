"""What is known of a data set of texts without TensorFlow: its classes, and where they are."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnkit.config.cells import SPLITS
from cnnkit.config.class_names import place_of, same_for
from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.split_folders import class_folders, split_folders
from cnnkit.config.table import ImageTable, ListedImage, check_table, read_image_table
from cnnkit.config.target import OneClass, Target
from cnnkit.format.similar import suggestion
from cnnkit.images.files import is_passed_over
from cnnkit.terminal.printable import printable


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
    if config.name is not None:
        raise DataProblem(
            f"texts are read from a `table:` or a `folder:`, and `{config.name}` is a TFDS set; write its texts into a "
            "table, with a column for the class",
            "name",
        )
    if target.per_pixel:
        raise DataProblem(f"texts have no pixels that could be of {target.plural}; choose another `task:`", "text")
    try:
        table = read_texts(config, target)
        check_table(table)
    except DataProblem as problem:
        if os.path.lexists(config.source) or config.classes is None:
            raise
        # The file may come later, or have been there for the training alone.
        return FoundTexts("config", missing=problem.message)
    return FoundTexts("table" if config.folder is None else "folder", table.names, table=table)


def read_texts(config: DataConfig, target: type[Target], names: Sequence[str] | None = None) -> ImageTable:
    """The rows of a table of texts, or the files of a folder of class folders as such rows.

    Args:
        names: The classes that there are; by default those that are found.

    Raises:
        DataProblem: if something is wrong with them.
    """
    if config.folder is None:
        return read_image_table(config, target, names)
    if not issubclass(target, OneClass):
        raise DataProblem(
            f"texts in class folders have one class each, but the task learns {target.plural} of each; name a `table:`",
            "folder",
        )
    return _read_folder(Path(config.folder).expanduser(), config.text or "", names)


def _read_folder(root: Path, ending: str, names: Sequence[str] | None) -> ImageTable:
    if not root.is_dir():
        reason = "is a file" if root.exists() else "does not exist"
        raise DataProblem(f"the folder `{root}` {reason}; expected a folder of class folders of texts", "folder")
    if not re.fullmatch(r"\.[A-Za-z0-9]+", ending):
        raise DataProblem(f"of a folder, `text` is the ending of its files, such as `.txt`; got `{ending}`", "text")
    try:
        splits = split_folders(root) or {"train": root}
        files = {
            split: {same_for(path.name): _files(path, ending) for path in class_folders(folder)}
            for split, folder in splits.items()
        }
    except OSError as error:
        raise DataProblem(f"cannot read the folder `{error.filename}`: {error.strerror}", "folder") from None
    found = tuple(names or sorted({name for classes in files.values() for name in classes}))
    for name in (name for classes in files.values() for name in classes):
        if place_of(name, found) is None:
            raise DataProblem(f"`{root}` has the class `{name}`{suggestion(name, found)}; expected {found}", "folder")
    empty = [name for name in found if not files.get("train", {}).get(name)] if names is None else []
    if empty or len(found) < 2:
        what = f"no `{ending}` file to train on in the class folder `{empty[0]}`" if empty else "only one class folder"
        raise DataProblem(f"`{root}` has {what}; expected a folder of `{ending}` files for each class", "folder")
    rows = {
        split: tuple(
            ListedImage(path.relative_to(root).as_posix(), number, 1, text=_text_of(path))
            for number, name in enumerate(found)
            for path in classes.get(same_for(name), ())
        )
        for split, classes in files.items()
    }
    ordered = {split: rows[split] for split in SPLITS if split in rows}
    return ImageTable(root, printable(root.name), tuple(map(printable, found)), ordered)


def _files(folder: Path, ending: str) -> list[Path]:
    """The files of a class: those of the ending, at any depth, sorted; hidden ones are passed over."""
    found = (path for path in folder.rglob("*") if path.suffix.lower() == ending.lower() and path.is_file())
    return sorted(path for path in found if not any(map(is_passed_over, path.relative_to(folder).parts)))


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataProblem(f"cannot read the text `{path}`: {error.strerror}", "folder") from None
    except UnicodeDecodeError:
        raise DataProblem(f"`{path}` is not UTF-8; save it as UTF-8", "folder") from None
