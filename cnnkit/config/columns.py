"""What the cells of a table say of an image, for each kind of target that a table can hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Protocol

from cnnkit.config.class_names import same_for
from cnnkit.config.data import DataProblem
from cnnkit.config.target import Labels, Numbers, OneClass, Target
from cnnkit.format.similar import suggestion
from cnnkit.terminal.printable import printable

#: The cells of the target's columns in one row.
Cells = tuple[str, ...]

#: A class's number, or one number for each label or column.
Value = int | tuple[float, ...]

#: Stands between the labels of an image in one cell.
SEPARATOR = ";"

#: How tables write whether an image has a label, in small letters.
_MARKS = {**dict.fromkeys(("0", "0.0", "false"), 0.0), **dict.fromkeys(("1", "1.0", "true"), 1.0)}

#: The largest number that float32 holds, with which networks are trained.
_LARGEST = 3.4e38


class TargetReader(Protocol):
    """Reads the target's columns."""

    def names(self, rows: Sequence[Cells], given: Sequence[str] | None) -> tuple[str, ...]:
        """The classes, labels or numbers in order.

        Args:
            given: Those that there are; None where they are what occurs.

        Raises:
            DataProblem: if the columns cannot hold the target.
        """

    def value(self, cells: Cells, names: Sequence[str]) -> Value:
        """What a row says.

        Raises:
            ValueError: if it does not say it, with what the row does instead.
        """

    def rank(self, value: Value) -> int:
        """What images are sorted by, before their files."""

    def unused(self, values: Sequence[Value], names: Sequence[str]) -> list[str]:
        """Of the names, those that no image has."""


class _Classes:
    """One class per image, in one column."""

    def __init__(self, column: str | Sequence[str], named: bool) -> None:
        if len(column) == 1 and not isinstance(column, str):
            (column,) = column
        if not isinstance(column, str):
            raise DataProblem(
                f"each image has one class, which is in one column; got {len(column)} columns. Name one, such as "
                f"`target: {column[0]}`",
                "target",
            )
        self.column = column

    def names(self, rows: Sequence[Cells], given: Sequence[str] | None) -> tuple[str, ...]:
        found = tuple(given) if given is not None else tuple(sorted({same_for(cell) for (cell,) in rows if cell}))
        if len(found) < 2:
            only = f" (`{found[0]}`)" if found else ""
            raise DataProblem(
                f"the column `{self.column}` has only {len(found)} class{'' if len(found) == 1 else 'es'}{only}; "
                "at least two are needed",
                "target",
            )
        return tuple(map(printable, found))

    def value(self, cells: Cells, names: Sequence[str]) -> int:
        (cell,) = cells
        if not cell:
            raise ValueError("has no class: the cell is empty")
        return _place(cell, names, "class")

    def rank(self, value: Value) -> int:
        assert isinstance(value, int)
        return value

    def unused(self, values: Sequence[Value], names: Sequence[str]) -> list[str]:
        used = set(values)
        return [name for place, name in enumerate(names) if place not in used]


class _LabelList:
    """Any number of labels per image, in one cell."""

    def __init__(self, column: str) -> None:
        self.column = column

    def names(self, rows: Sequence[Cells], given: Sequence[str] | None) -> tuple[str, ...]:
        cells = {cell for (cell,) in rows}
        filled = {cell.lower() for cell in cells if cell}
        if filled and filled <= set(_MARKS):
            raise DataProblem(
                f"the column `{self.column}` holds only 0 and 1. A column for each label is named in a list, "
                f"`target: [{self.column}, ...]`; one column alone holds labels with `{SEPARATOR}` between them",
                "target",
            )
        if not any(SEPARATOR in cell for cell in cells) and any("|" in cell for cell in cells):
            example = min(cell for cell in cells if "|" in cell)
            raise DataProblem(
                f"`{SEPARATOR}` stands between the labels of a cell, such as `cat{SEPARATOR}dog`; the column "
                f"`{self.column}` has `|`: `{printable(example)}`",
                "target",
            )
        found = given if given is not None else sorted({same_for(label) for cell in cells for label in _labels(cell)})
        if not found:
            raise DataProblem(f"no row of the column `{self.column}` has a label", "target")
        _refuse_separators(found, "class_names")
        return tuple(map(printable, found))

    def value(self, cells: Cells, names: Sequence[str]) -> tuple[float, ...]:
        (cell,) = cells
        marked = {_place(label, names, "label") for label in _labels(cell)}
        return tuple(float(place in marked) for place in range(len(names)))

    def rank(self, value: Value) -> int:
        return 0

    def unused(self, values: Sequence[Value], names: Sequence[str]) -> list[str]:
        return _never_marked(values, names)


class _LabelColumns:
    """Any number of labels per image, each with a column of 0 and 1."""

    def __init__(self, columns: Sequence[str], named: bool) -> None:
        _refuse_names(named, "each label has a column, whose name is its own")
        _refuse_separators(columns, "target")
        self.columns = columns

    def names(self, rows: Sequence[Cells], given: Sequence[str] | None) -> tuple[str, ...]:
        return tuple(map(printable, self.columns))

    def value(self, cells: Cells, names: Sequence[str]) -> tuple[float, ...]:
        return tuple(self._mark(cell, name) for cell, name in zip(cells, names, strict=True))

    def _mark(self, cell: str, name: str) -> float:
        mark = _MARKS.get(cell.lower())
        if mark is None:
            got = f"`{cell}`" if cell else "an empty cell"
            raise ValueError(f"has {got} in the column `{name}`; expected 0 or 1")
        return mark

    def rank(self, value: Value) -> int:
        return 0

    def unused(self, values: Sequence[Value], names: Sequence[str]) -> list[str]:
        return _never_marked(values, names)


class _NumberColumns:
    """One or several numbers per image, each with a column."""

    def __init__(self, columns: str | Sequence[str], named: bool) -> None:
        _refuse_names(named, "numbers have no classes")
        self.columns = [columns] if isinstance(columns, str) else columns

    def names(self, rows: Sequence[Cells], given: Sequence[str] | None) -> tuple[str, ...]:
        return tuple(map(printable, self.columns))

    def value(self, cells: Cells, names: Sequence[str]) -> tuple[float, ...]:
        return tuple(self._number(cell, name) for cell, name in zip(cells, names, strict=True))

    def _number(self, cell: str, name: str) -> float:
        try:
            # Python reads 1_000 as a number; whoever writes that into a table means something else.
            number = float(cell.replace("_", "?"))
        except ValueError:
            got = f"`{cell}`" if cell else "an empty cell"
            hint = "; write a point for the decimal comma" if cell.count(",") == 1 else ""
            raise ValueError(f"has {got} in the column `{name}`; expected a number{hint}") from None
        if not math.isfinite(number) or abs(number) > _LARGEST:
            raise ValueError(f"has `{cell}` in the column `{name}`; expected a finite number within float32")
        return number

    def rank(self, value: Value) -> int:
        return 0

    def unused(self, values: Sequence[Value], names: Sequence[str]) -> list[str]:
        return []


def _labels_reader(column: str | Sequence[str], named: bool) -> TargetReader:
    return _LabelList(column) if isinstance(column, str) else _LabelColumns(column, named)


#: For each kind of target: makes the reader of its columns. The second argument says whether the config names classes.
READERS: Mapping[type[Target], Callable[[str | Sequence[str], bool], TargetReader]] = {
    OneClass: _Classes,
    Labels: _labels_reader,
    Numbers: _NumberColumns,
}


def _labels(cell: str) -> list[str]:
    return [label for part in cell.split(SEPARATOR) if (label := part.strip())]


def _place(name: str, names: Sequence[str], kind: str) -> int:
    place = _places(tuple(names)).get(same_for(printable(name)))
    if place is None:
        raise ValueError(f"has the unknown {kind} `{name}`{suggestion(name, names)}")
    return place


@lru_cache(maxsize=4)
def _places(names: tuple[str, ...]) -> dict[str, int]:
    return {same_for(name): place for place, name in enumerate(names)}


def _never_marked(values: Sequence[Value], names: Sequence[str]) -> list[str]:
    marked = [False] * len(names)
    for value in values:
        assert not isinstance(value, int)
        marked = [was or bool(mark) for was, mark in zip(marked, value, strict=True)]
    return [name for name, was in zip(names, marked, strict=True) if not was]


def _refuse_separators(labels: Sequence[str], field: str) -> None:
    """Refuses labels that could not be told from two."""
    for label in labels:
        if SEPARATOR in label:
            raise DataProblem(
                f"the label `{printable(label)}` holds `{SEPARATOR}`, which stands between the labels of an image in "
                "tables and in predictions.csv; give it another name",
                field,
            )


def _refuse_names(named: bool, reason: str) -> None:
    if named:
        raise DataProblem(f"{reason}; remove `class_names`", "class_names")
