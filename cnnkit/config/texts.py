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
from cnnkit.config.known_data_sets import KNOWN, KNOWN_TEXTS
from cnnkit.config.prepared import read_prepared_texts, text_feature_of
from cnnkit.config.split_folders import classes_by_name, split_folders
from cnnkit.config.table import ImageTable, ListedImage, check_table, read_image_table
from cnnkit.config.target import OneClass, Target
from cnnkit.config.tfds_names import known_name, meant_name, prepared_folder
from cnnkit.format.similar import suggestion
from cnnkit.images.files import files_in
from cnnkit.terminal.printable import printable
from cnnkit.texts.words import has_words

#: Files that an error names; of further ones, how many there are.
_SHOWN = 20


@dataclass(frozen=True)
class FoundTexts:
    """A data set of texts.

    Attributes:
        source: Where this was found, as `DataSetInfo.source`.
        names: Of the classes, labels or numbers; None where only the config says how many they are.
        table: The rows of a table.
        missing: Why the texts cannot be read, where only the config says what they are.
        classes: How many there are, where their names are not known; None where only the config says it.
    """

    source: str
    names: tuple[str, ...] | None = None
    table: ImageTable | None = None
    missing: str | None = None
    classes: int | None = None


def find_texts(config: DataConfig, target: type[Target]) -> FoundTexts:
    """The texts of a `data` section with `text`.

    Args:
        target: What is to be learned of them.

    Raises:
        DataProblem: if they are not there, or something is wrong with them.
    """
    if target.per_pixel or target.boxed:
        raise DataProblem(f"texts have no pixels that could be of {target.plural}; choose another `task:`", "text")
    if config.name is not None:
        return _find_named(config, config.name, target)
    try:
        table = read_texts(config, target)
        check_table(table)
    except DataProblem as problem:
        if os.path.lexists(config.source) or config.classes is None:
            raise
        # The file may come later, or have been there for the training alone.
        return FoundTexts("config", missing=problem.message)
    return FoundTexts("table" if config.folder is None else "folder", table.names, table=table)


def _find_named(config: DataConfig, name: str, target: type[Target]) -> FoundTexts:
    """The texts of a TFDS set."""
    if not issubclass(target, OneClass):
        raise DataProblem(
            f"the texts of a TFDS set have one class each, but the task learns {target.plural}; name a `table:`",
            "name",
        )
    if known_name(name) in KNOWN:
        raise DataProblem(f"`{name}` is a data set of images; remove `text`, or name another set", "text")
    assert config.text is not None
    known, folder = KNOWN_TEXTS.get(known_name(name)), prepared_folder(name)
    label = text_label(name, config.target)
    if folder is not None:
        facts = read_prepared_texts(folder, config.text, label)
        if facts["classes"] is None and config.classes is None:
            raise DataProblem(f"`{name}` does not say how many classes it has; set `data.classes`", "classes")
        return FoundTexts("prepared", facts["class_names"], classes=facts["classes"])
    if known is not None and label == known.label:
        if config.text not in known.features:
            raise DataProblem(f"`{name}` has no texts `{config.text}`{suggestion(config.text, known.features)}", "text")
        return FoundTexts("known", known.class_names)
    if config.classes is None:
        raise DataProblem(
            f"unknown data set `{name}`{meant_name(name) or '.'} For another TFDS set of texts, fetch it first "
            f"(`cnnkit data prepare {name}`) or set `data.classes`; for your own texts, use `table:` or `folder:`",
            "name",
        )
    return FoundTexts("config")


def text_label(name: str, stated: object = None) -> str | None:
    """The feature of the classes of a TFDS set of texts; None where only the set itself may know it.

    Args:
        stated: What a config says: its `target`.
    """
    known = KNOWN_TEXTS.get(known_name(name))
    return stated if isinstance(stated, str) else None if known is None else known.label


def text_feature(name: str) -> str | None:
    """The feature of a TFDS set that has texts to learn from; None where it is one of images, or not known.

    Raises:
        DataProblem: if the name is not of a TFDS name's form.
    """
    known, folder = KNOWN_TEXTS.get(known_name(name)), prepared_folder(name)
    if known is not None:
        return known.features[0]
    return None if folder is None or known_name(name) in KNOWN else text_feature_of(folder)


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
        files = {
            split: {name: text_files(path, ending) for name, path in folders.items()}
            for split, folders in text_folders(root).items()
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
    wordless = [f"`{row.file}`" for listed in rows.values() for row in listed if not has_words(row.text)]
    if wordless:
        shown = ", ".join(wordless[:_SHOWN]) + (f" and {len(wordless) - _SHOWN:,} more" * (len(wordless) > _SHOWN))
        raise DataProblem(
            printable(f"`{root}` has texts without a word, from which nothing can be learned: {shown}; remove them"),
            "folder",
        )
    ordered = {split: rows[split] for split in SPLITS if split in rows}
    return ImageTable(root, printable(root.name), tuple(map(printable, found)), ordered)


def text_folders(root: Path) -> dict[str, dict[str, Path]]:
    """For each split of a folder of texts, the folder of each class by its name.

    Raises:
        DataProblem: as `split_folders`.
        OSError: if a folder cannot be read.
    """
    splits = split_folders(root) or {"train": root}
    return {split: classes_by_name(folder) for split, folder in splits.items()}


def text_files(folder: Path, ending: str) -> list[Path]:
    """The files of a class: those of the ending, at any depth, sorted; found as `files_in` says."""
    found = map(Path, files_in(folder))
    return sorted(path for path in found if path.suffix.lower() == ending.lower() and path.is_file())


def _text_of(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataProblem(f"cannot read the text `{path}`: {error.strerror}", "folder") from None
    except UnicodeDecodeError:
        raise DataProblem(f"`{path}` is not UTF-8; save it as UTF-8", "folder") from None
