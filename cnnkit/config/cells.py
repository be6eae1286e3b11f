"""The cells of a table: its file, its columns, and what all kinds of rows have in common."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from cnnkit.config.class_names import same_for
from cnnkit.config.data import DataProblem
from cnnkit.config.split_folders import SPLIT_WORDS
from cnnkit.format.similar import nearest
from cnnkit.images.formats import IMAGE_SUFFIXES
from cnnkit.terminal.printable import printable

#: Endings of files whose cells tabs separate, whatever their header looks like.
_TAB_SUFFIXES = (".tsv", ".tab")
#: What may separate cells otherwise: the one that the header has most of, and of equals the first.
_DELIMITERS = ",\t;"

#: Endings of files that commands take for tables; a config may name any other.
TABLE_SUFFIXES = (".csv", ".txt", *_TAB_SUFFIXES)

#: The columns of a table without a header whose rows are those of keras-retinanet: an image, a box, and its class.
RETINANET_COLUMNS = ("image", "x1", "y1", "x2", "y2", "class")

#: The splits, in their order everywhere.
SPLITS = ("train", "validation", "test")

#: Said of a path that leads nowhere.
_NO_FILE = "which is no file"

#: Rows that an error shows; of further ones, how many there are.
_SHOWN = 20


def is_table(path: str) -> bool:
    """Whether a command takes a path for that of a table, by its ending; it need not exist."""
    return path.lower().endswith(TABLE_SUFFIXES) and not os.path.isdir(path)


def columns_of(file: str | Path) -> list[str]:
    """The columns of a table.

    Raises:
        DataProblem: if it cannot be read.
    """
    return [name for name in read_cells(Path(file).expanduser(), {})[0] if name]


def cells_of(file: str | Path) -> dict[str, list[str]]:
    """The cells of each column of a table, without what is wrong with rows; one of several of a name.

    Raises:
        DataProblem: if it cannot be read.
    """
    header, rows, _ = read_cells(Path(file).expanduser(), {})
    return {name: [cells[place] for _, cells in rows] for place, name in enumerate(header) if name}


def read_cells(file: Path, problems: dict[int, str]) -> tuple[list[str], list[tuple[int, list[str]]], str]:
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
    # A cell may be a long text: as long as the file, and not only the 131,072 characters that csv allows at first.
    limit = csv.field_size_limit(max(len(text), csv.field_size_limit()))
    try:
        for cells in lines:
            stripped = [cell.strip() for cell in cells]
            if any(stripped) and not header:
                header = stripped
                if _is_of_retinanet(stripped):
                    header = list(RETINANET_COLUMNS)
                    rows.append((line, stripped))
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
    finally:
        csv.field_size_limit(limit)
    if not header:
        raise DataProblem(f"`{file}` is empty; expected a header with the names of the columns, then rows", "table")
    return header, rows, delimiter


def _is_of_retinanet(cells: Sequence[str]) -> bool:
    """Whether the first row of a table is one of an image and a box: RetinaNet's tables have no header."""
    if len(cells) != len(RETINANET_COLUMNS) or not cells[0].lower().endswith(IMAGE_SUFFIXES):
        return False
    return all(re.fullmatch(r"-?\d*\.?\d*", cell) for cell in cells[1:5])


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


def places_of(file: Path, header: Sequence[str], wanted: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Where the columns are that a config names.

    Args:
        wanted: The columns of each field of `data`.

    Raises:
        DataProblem: naming each column that is not there, or there twice.
    """
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
    return {field: [there[same_for(name)] for name in names] for field, names in wanted.items()}


def split_of(cell: str | None, wrong: list[str]) -> str:
    """The split of a row: `train` where no column says it, and empty where the cell does not.

    Args:
        wrong: Gets what is wrong with the cell.
    """
    if cell is None:
        return "train"
    split = SPLIT_WORDS.get(cell.lower(), "")
    if not cell:
        wrong.append("is in no split: the cell is empty")
    elif not split:
        wrong.append(f"is in the split `{cell}`; expected `train`, `validation` (or `val`) or `test`")
    return split


def image_of(file: Path, written: str, wrong: list[str]) -> str:
    """The path of a row's image, relative to the folder of the table; empty where the cell is.

    Args:
        file: The table.
        wrong: Gets what is wrong with the cell.
    """
    if not written:
        wrong.append("names no image: the cell is empty")
        return ""
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
    return name


def refusal(file: Path, problems: Mapping[int, str], rows: int) -> str:
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
