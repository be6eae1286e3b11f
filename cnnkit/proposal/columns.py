"""What the columns of a table are: where its images are, what is to be learned, splits and groups."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from cnnkit.config.boxes.table import likely_columns
from cnnkit.config.cells import cells_of
from cnnkit.config.columns import SEPARATOR
from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.split_folders import SPLIT_WORDS
from cnnkit.config.target import Boxes, Labels, Numbers, OneClass, Target
from cnnkit.errors import UsageError
from cnnkit.images.formats import IMAGE_SUFFIXES
from cnnkit.task import Task
from cnnkit.tasks import task_of

#: What the columns of paths and of classes are called where nobody says it, the likeliest first.
IMAGE_COLUMNS = ("image", "path", "file", "filename", "file_name", "image_path")
TARGET_COLUMNS = ("label", "class", "target", "category", "labels", "classes", "tags")

#: What columns of groups are called, whose images must not come into several splits.
_GROUP_COLUMNS = ("group", "group_id", "patient", "patient_id", "subject", "subject_id")

#: Whole numbers are classes up to this many, and numbers to be told from then on.
_MOST_NUMBERED_CLASSES = 30

#: How cells say that an image has a label, or has it not.
_MARKS = frozenset(("0", "1", "0.0", "1.0", "true", "false"))

Cells = Mapping[str, Sequence[str]]


def table_section(
    source: str, image: str | None, target: str | None, task: Task | None = None
) -> tuple[DataConfig, Task]:
    """The `data` section of a table, and the task that learns of it.

    Args:
        source: Its file.
        image: The column of the paths; by default one that is called so, or whose cells end as image files do.
        target: The column of what is to be learned, or several with commas between them; by default one that is called
            so, the only one that is left, or all that are left if these hold 0 and 1 alone.
        task: By default that which learns what the cells look like.

    Raises:
        UsageError: if the table cannot be read, or nothing says which column is meant.
    """
    cells = _cells(source)
    image = image or _image_column(cells)
    if image is None:
        raise _which("--image", source, cells)
    return section_of_cells(source, {"image": image}, target, task)


def section_of_cells(
    source: str, sample: Mapping[str, str], target: str | None, task: Task | None = None
) -> tuple[DataConfig, Task]:
    """The same, where it is known which column holds the images or texts.

    Args:
        sample: The field of `data` that names this column, and the column.
        source, target, task: As for `table_section`.
    """
    cells = _cells(source)
    others = {name: column for name, column in cells.items() if name not in sample.values()}
    split = split_column(others)
    group = next((name for name in others if name.lower() in _GROUP_COLUMNS and _repeat(others[name])), None)
    may_have_boxes = "image" in sample and (task is None or task.target.boxed)
    boxes = likely_columns(list(others)) if may_have_boxes else None
    of_boxes = boxes.to_plain().values() if boxes is not None else ()
    left = {name: column for name, column in others.items() if name not in (split, group, *of_boxes)}
    chosen = [name.strip() for name in target.split(",")] if target is not None else _target_columns(left)
    if not chosen:
        raise _which("--target", source, cells)
    fields: dict[str, Any] = {"table": source, **sample, "target": chosen if len(chosen) > 1 else chosen[0]}
    if boxes is not None:
        fields["boxes"] = boxes
        task = task_of(Boxes)
    fields |= {"split": split} if split is not None else {}
    fields |= {"group": group} if group is not None else {}
    task = task or task_of(kind_of([cells.get(name, ()) for name in chosen]))
    assert task is not None
    return DataConfig.model_validate(fields), task


def _cells(source: str) -> Cells:
    try:
        return cells_of(source)
    except DataProblem as problem:
        raise UsageError(problem.message) from None


def _which(option: str, source: str, cells: Cells) -> UsageError:
    listed = ", ".join(f"`{name}`" for name in cells)
    return UsageError(f"which column of `{source}` is meant? Name it with {option}; it has {listed}")


def _image_column(cells: Cells) -> str | None:
    by_name = next((name for known in IMAGE_COLUMNS for name in cells if name.lower() == known), None)
    return by_name or next((name for name, column in cells.items() if are_images(column)), None)


def are_images(column: Sequence[str]) -> bool:
    """Whether cells are names of image files. A few that are none are told of when the rows are read."""
    return 2 * sum(cell.lower().endswith(IMAGE_SUFFIXES) for cell in column) > len(column)


def split_column(cells: Cells) -> str | None:
    """The column that says which split each row is in; None where there is none."""
    return next((name for name, column in cells.items() if _are_splits(column)), None)


def _are_splits(column: Sequence[str]) -> bool:
    # As for names of files: left out for the sake of a typing error, the splits would be drawn anew.
    splits = [split for cell in column if (split := SPLIT_WORDS.get(cell.lower())) is not None]
    return "train" in splits and len(set(splits)) > 1 and 2 * len(splits) > len(column)


def _repeat(column: Sequence[str]) -> bool:
    return 1 < len(set(column)) < len(column)


def _target_columns(left: Cells) -> list[str]:
    named = next((name for known in TARGET_COLUMNS for name in left if name.lower() == known), None)
    if named is not None:
        return [named]
    if len(left) == 1 or (left and all(_are_marks(column) for column in left.values())):
        return list(left)
    return []


def _are_marks(column: Sequence[str]) -> bool:
    return {cell.lower() for cell in column} <= _MARKS


def kind_of(columns: Sequence[Sequence[str]]) -> type[Target]:
    """What cells say of an image: its class, labels or numbers.

    Args:
        columns: The cells of each of the columns that are learned.
    """
    if len(columns) > 1:
        return Labels if all(map(_are_marks, columns)) else Numbers
    (column,) = columns
    if any(SEPARATOR in cell for cell in column):
        return Labels
    numbers = [number for number in map(_number, column) if number is not None]
    if 2 * len(numbers) <= len(column):
        return OneClass
    # A few cells that are none, as a typing error makes them, are told of when the numbers are read.
    whole = all(number.is_integer() for number in numbers)
    return OneClass if whole and len(set(numbers)) <= _MOST_NUMBERED_CLASSES else Numbers


def class_hint(source: str, target: str | list[str] | None) -> str | None:
    """What to do where a column that was taken for numbers has classes; None where all of its cells are numbers."""
    if not isinstance(target, str) or all(map(_is_number, _cells(source).get(target, ()))):
        return None
    of_classes = task_of(OneClass)
    assert of_classes is not None
    named = shlex.join([source, "--target", target, "--task", of_classes.name])
    return f"Most of its cells are numbers. If they are names of classes: cnnkit new --from {named}"


def _is_number(cell: str) -> bool:
    return not cell or _number(cell) is not None


def _number(cell: str) -> float | None:
    """What a cell says if it is meant as a number, which may have a decimal comma."""
    try:
        return float(cell.replace(",", ".", 1))
    except ValueError:
        return None
