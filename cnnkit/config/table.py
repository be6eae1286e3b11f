"""Tables of samples: files that name an image, or hold a text, in each row, and what is to be learned of it."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnkit.config.class_names import same_for
from cnnkit.config.columns import READERS, Cells, TargetReader, Value
from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.split_folders import SPLIT_WORDS
from cnnkit.config.target import Target
from cnnkit.format.similar import nearest
from cnnkit.images.formats import IMAGE_SUFFIXES
from cnnkit.terminal.printable import printable

#: The column of the images' paths where a config names none.
IMAGE_COLUMN = "image"

#: Endings of files whose cells tabs separate, whatever their header looks like.
_TAB_SUFFIXES = (".tsv", ".tab")
#: What may separate cells otherwise: the one that the header has most of, and of equals the first.
_DELIMITERS = ",\t;"

#: Endings of files that commands take for tables; a config may name any other.
TABLE_SUFFIXES = (".csv", ".txt", *_TAB_SUFFIXES)

#: The splits, in their order everywhere.
SPLITS = ("train", "validation", "test")

#: Said of a path that leads nowhere.
_NO_FILE = "which is no file"

#: Rows that an error shows; of further ones, how many there are.
_SHOWN = 20


@dataclass(frozen=True)
class ListedImage:
    """A row of a table.

    Attributes:
        file: The image file, relative to the table's folder; of a text, the name of the table's file and the line.
        value: What is to be learned of it: the number of its class, or one number for each label or column.
        line: The first line of the row in the table's file, from 1.
        group: What the column of the groups says; None where there is no such column.
        text: The text, where rows hold texts.
    """

    file: str
    value: Value
    line: int
    group: str | None = None
    text: str = ""


@dataclass(frozen=True)
class ImageTable:
    """The images of a table.

    Attributes:
        root: The folder of the table's file.
        name: The name of the table's file.
        names: The classes or labels, sorted as text or in the order that was asked for; or the columns of numbers.
        splits: The images of each split, sorted by class, where they have one each, and by file: the order of the
            table's rows makes no difference. `train` alone where no column divides them.
        notes: What the user should know of what was read, a line each.
        delimiter: What stands between the cells of a row.
    """

    root: Path
    name: str
    names: tuple[str, ...]
    splits: Mapping[str, tuple[ListedImage, ...]]
    notes: tuple[str, ...] = ()
    delimiter: str = ","

    def text(self, image: ListedImage) -> str:
        """What is to be learned of an image: its class, its labels, or its numbers."""
        if isinstance(image.value, int):
            return self.names[image.value]
        return ", ".join(f"{name} {value:g}" for name, value in zip(self.names, image.value, strict=True) if value)

    def files(self) -> Iterator[str]:
        for images in self.splits.values():
            for image in images:
                yield image.file


@dataclass(frozen=True)
class _Row:
    """The cells that a config asks for, of one row.

    Attributes:
        line: The first line of the row, from 1.
        sample: The path of the image as it is written, or the text.
        target: The cells of the target's columns.
        split: The cell of the splits' column; None where none is asked for, as for `group`.
    """

    line: int
    sample: str
    target: Cells
    split: str | None
    group: str | None


def read_image_table(config: DataConfig, target: type[Target], names: Sequence[str] | None = None) -> ImageTable:
    """Reads the table of a config and checks all of it.

    Args:
        config: A `data` section with `table`.
        target: What is to be learned of the images.
        names: The classes or labels that there are; by default those of `data.class_names`, else those that occur.

    Raises:
        DataProblem: if the file or columns are not there; or rows cannot be used, which are named by their lines.
    """
    assert config.table is not None
    file = Path(config.table).expanduser()
    reader = _target_reader(config, target)
    problems: dict[int, str] = {}
    header, cells, delimiter = _read_cells(file, problems)
    rows = _columns(config, file, header, cells)
    if not rows:
        message = _listed(file, problems, 0) if problems else f"`{file}` has no rows below its header"
        raise DataProblem(message, "table")
    found_names = reader.names([row.target for row in rows], names or config.class_names)
    read = _image if config.text is None else _text
    images, splits = _read_rows(rows, file, reader, found_names, read, problems)
    _refuse_torn_groups(images, splits, problems)
    if problems:
        raise DataProblem(_listed(file, problems, len(rows)), "table")
    notes = _repeated(len(rows) - len(images))
    unused = reader.unused([image.value for image in images.values()], found_names) if names is None else []
    if unused:
        notes.append(f"no {config.sample.singular} has " + ", ".join(f"`{name}`" for name in unused))
    divided: dict[str, list[ListedImage]] = {}
    for image in sorted(images.values(), key=lambda image: (reader.rank(image.value), image.text, image.file)):
        divided.setdefault(splits[image.file], []).append(image)
    ordered = {split: tuple(divided[split]) for split in SPLITS if split in divided}
    return ImageTable(file.parent, printable(file.name), found_names, ordered, tuple(notes), delimiter)


def is_table(path: str) -> bool:
    """Whether a command takes a path for that of a table, by its ending; it need not exist."""
    return path.lower().endswith(TABLE_SUFFIXES) and not os.path.isdir(path)


def check_table(table: ImageTable) -> None:
    """Checks that one can train on a table.

    Raises:
        DataProblem: if its splits leave no images to train on, or none of a class.
    """
    train = table.splits.get("train", ())
    if not train:
        others = " and ".join(f"`{split}`" for split in table.splits)
        raise DataProblem(
            f"`{table.root / table.name}` has only images of the split {others}, and none of `train`", "split"
        )
    values = {image.value for image in train}
    lacking = [
        f"`{table.names[image.value]}` (line {image.line})"
        for images in table.splits.values()
        for image in images
        if isinstance(image.value, int) and image.value not in values
    ]
    if lacking:
        more = f" and {len(lacking) - 1:,} more" if len(lacking) > 1 else ""
        raise DataProblem(
            f"in `{table.root / table.name}`, no training image has the class {lacking[0]}{more}; a network cannot "
            "learn it. Put some of its images in the split `train`, or leave it out",
            "split",
        )


def columns_of(file: str | Path) -> list[str]:
    """The columns of a table.

    Raises:
        DataProblem: if it cannot be read.
    """
    return [name for name in _read_cells(Path(file).expanduser(), {})[0] if name]


def cells_of(file: str | Path) -> dict[str, list[str]]:
    """The cells of each column of a table, without what is wrong with rows; one of several of a name.

    Raises:
        DataProblem: if it cannot be read.
    """
    header, rows, _ = _read_cells(Path(file).expanduser(), {})
    return {name: [cells[place] for _, cells in rows] for place, name in enumerate(header) if name}


def _target_reader(config: DataConfig, target: type[Target]) -> TargetReader:
    assert config.target is not None
    make = next((READERS[kind] for kind in target.__mro__ if kind in READERS), None)
    if make is None:
        raise DataProblem(
            "a table has classes, labels or numbers in its cells; the task is to learn something else of each image. "
            "Name a `folder:` that holds it, or choose another `task:`",
            "table",
        )
    return make(config.target, config.class_names is not None)


# --- The file -------------------------------------------------------------------------------------------


def _read_cells(file: Path, problems: dict[int, str]) -> tuple[list[str], list[tuple[int, list[str]]], str]:
    """The header, the cells of each row with its first line, and what separates them.

    Blanks around cells, and empty lines, are left out.

    Args:
        problems: Gets the rows that have more or fewer cells than the header, by their lines.
    """
    text = _read_text(file)
    first = text.split("\n", 1)[0]
    delimiter = "\t" if file.suffix.lower() in _TAB_SUFFIXES else _delimiter(first)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    header: list[str] = []
    rows: list[tuple[int, list[str]]] = []
    line = 1
    try:
        for cells in lines:
            stripped = [cell.strip() for cell in cells]
            if any(stripped) and not header:
                header = stripped
            elif any(stripped):
                if len(cells) != len(header):
                    noun = "cell" if len(cells) == 1 else "cells"
                    problems[line] = f"has {len(cells)} {noun}; the header has {len(header)}"
                else:
                    rows.append((line, stripped))
            line = lines.line_num + 1
    except csv.Error as error:
        raise DataProblem(
            f"`{file}` cannot be read from line {line} on: {error}. A cell that holds {_shown(delimiter)}, a quote or "
            'a line break is written in double quotes, and a quote in it as two: `""`',
            "table",
        ) from None
    if not header:
        raise DataProblem(f"`{file}` is empty; expected a header with the names of the columns, then rows", "table")
    return header, rows, delimiter


def _read_text(file: Path) -> str:
    if not file.is_file():
        reason = "is a folder" if file.is_dir() else "is no regular file" if file.exists() else "does not exist"
        raise DataProblem(f"the table `{file}` {reason}; expected a file of comma- or tab-separated values", "table")
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise DataProblem(f"cannot read the table `{file}`: {error.strerror}", "table") from None
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        kind = "UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "not UTF-8"
        raise DataProblem(f"`{file}` is {kind} (line {line}); save it as UTF-8", "table") from None


def _delimiter(header: str) -> str:
    return max(_DELIMITERS, key=re.sub(r'"[^"]*"', "", header).count)


def _shown(delimiter: str) -> str:
    return "a tab" if delimiter == "\t" else f"`{delimiter}`"


def _columns(config: DataConfig, file: Path, header: list[str], rows: list[tuple[int, list[str]]]) -> list[_Row]:
    """The cells of the columns that a config names.

    Raises:
        DataProblem: naming each column that is not there, or there twice.
    """
    assert config.target is not None
    targets = [config.target] if isinstance(config.target, str) else list(config.target)
    sample = "image" if config.text is None else "text"
    wanted = {sample: [config.text or config.image or IMAGE_COLUMN], "target": targets}
    wanted |= {"split": [config.split]} if config.split is not None else {}
    wanted |= {"group": [config.group]} if config.group is not None else {}
    there = {same_for(name): place for place, name in enumerate(header)}
    problems = []
    for field, names in wanted.items():
        for name in names:
            times = sum(same_for(name) == same_for(other) for other in header)
            if times != 1:
                close = nearest(name, header) if not times else None
                hint = f", did you mean `{close}`?" if close else ""
                count = "no column" if not times else f"{times} columns"
                problems.append((field, f"{count} `{name}` (`data.{field}`{hint})"))
    if problems:
        existing = ", ".join(f"`{name}`" for name in header if name)
        missing = " and ".join(problem for _, problem in problems)
        raise DataProblem(printable(f"`{file}` has {missing}; its columns are {existing}"), problems[0][0])
    places = {field: [there[same_for(name)] for name in names] for field, names in wanted.items()}

    def cell(cells: list[str], field: str) -> str | None:
        return cells[places[field][0]] if field in places else None

    return [
        _Row(
            line,
            cells[places[sample][0]],
            tuple(cells[place] for place in places["target"]),
            cell(cells, "split"),
            cell(cells, "group"),
        )
        for line, cells in rows
    ]


# --- Its rows -------------------------------------------------------------------------------------------


def _read_rows(
    rows: Sequence[_Row],
    file: Path,
    reader: TargetReader,
    names: Sequence[str],
    read: Callable[[Path, _Row, list[str]], tuple[str, str]],
    problems: dict[int, str],
) -> tuple[dict[str, ListedImage], dict[str, str]]:
    """The image of each file, or each text, and its split; what is wrong with rows goes to `problems`, by their lines.

    Args:
        read: What a row is known by, and its text; empty where something is wrong with it, which it adds to a list.
    """
    images: dict[str, ListedImage] = {}
    splits: dict[str, str] = {}
    for row in rows:
        wrong: list[str] = []
        name, text = read(file, row, wrong)
        split = _split(row.split, wrong)
        if row.group == "":
            wrong.append("has no group: the cell is empty")
        try:
            image = ListedImage(name, reader.value(row.target, names), row.line, row.group, text)
        except ValueError as problem:
            wrong.append(str(problem))
            name = ""
        if name:
            other = images.setdefault(name, image)
            if (other.value, other.group, splits.setdefault(name, split)) != (image.value, row.group, split):
                wrong.append(f"names `{name}` again, which line {other.line} gives another target, split or group")
        if wrong:
            problems[row.line] = "; ".join(wrong)
    return images, splits


def _split(cell: str | None, wrong: list[str]) -> str:
    if cell is None:
        return "train"
    split = SPLIT_WORDS.get(cell.lower(), "")
    if not cell:
        wrong.append("is in no split: the cell is empty")
    elif not split:
        wrong.append(f"is in the split `{cell}`; expected `train`, `validation` (or `val`) or `test`")
    return split


def _text(file: Path, row: _Row, wrong: list[str]) -> tuple[str, str]:
    """The text of a row, which is known by its line: two texts may be alike."""
    if not row.sample:
        wrong.append("has no text: the cell is empty")
    return f"{printable(file.name)}:{row.line}" if row.sample else "", row.sample


def _image(file: Path, row: _Row, wrong: list[str]) -> tuple[str, str]:
    """The path of a row's image."""
    written = row.sample
    if not written:
        wrong.append("names no image: the cell is empty")
        return "", ""
    name = os.path.normpath(written)
    path = os.path.join(file.parent, name)
    if not os.path.isfile(path):
        message = f"names `{written}`, {_NO_FILE}"
        if os.path.isfile(path.replace("\\", "/")):
            message += "; write paths with `/`"
        elif not os.path.splitext(name)[1]:
            ending = next((suffix for suffix in IMAGE_SUFFIXES if os.path.isfile(path + suffix)), None)
            message += f"; `{written}{ending}` is" if ending else ""
        wrong.append(message)
    return name, ""


def _refuse_torn_groups(images: Mapping[str, ListedImage], splits: Mapping[str, str], problems: dict[int, str]) -> None:
    """Finds groups whose images a column of splits divides."""
    firsts: dict[str, ListedImage] = {}
    told: set[str] = set()
    for name, image in images.items():
        if image.group is None or image.group in told:
            continue
        first = firsts.setdefault(image.group, image)
        if splits[first.file] != splits[name]:
            told.add(image.group)
            problems.setdefault(
                image.line,
                f"puts the group `{image.group}` in the {splits[name]} split; line {first.line} puts it in the "
                f"{splits[first.file]} split",
            )


def _repeated(extra: int) -> list[str]:
    """A note on rows that name an image again."""
    return [f"{extra:,} row{' repeats' if extra == 1 else 's repeat'} an image; each counts once"] if extra else []


def _listed(file: Path, problems: Mapping[int, str], rows: int) -> str:
    """What is wrong with rows, a line each; of many, the first."""
    count = len(problems)
    lines = [f"{count:,} row{'' if count == 1 else 's'} of `{file}` cannot be used:"]
    lines += [f"{file.name}:{line}  {problems[line]}" for line in sorted(problems)[:_SHOWN]]
    if count > _SHOWN:
        lines.append(f"... and {count - _SHOWN:,} more")
    no_files = sum(_NO_FILE in problem for problem in problems.values())
    if no_files == rows > 0:
        lines.append(f"paths of images are relative to the folder of the table, `{file.parent}`")
    return "\n  ".join(map(printable, lines))
