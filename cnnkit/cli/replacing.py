"""Which files a command may write again: what it has written before, and nothing that it reads or that is another's."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.errors import UsageError
from cnnkit.images.formats import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from cnnkit.runs.directory import Run
    from cnnkit.task import Task

#: How many bytes of a file are looked at for what it begins with.
_HEAD = 1 << 16

#: What stands in the title of a report, of one run or of several.
_REPORT_TITLE = "cnnkit report</title>"


@dataclass(frozen=True)
class Form:
    """What a command writes, as far as a file can be told to be such a one.

    Attributes:
        command: What writes it, as on the command line.
        fits: Whether a file, which is there, is one.
    """

    command: str
    fits: Callable[[Path], bool]


def predictions_form(task: Task) -> Form:
    """A CSV file of what a network of the task said of each image."""
    return Form("eval --csv", lambda path: re.match(task.predictions_begin, _head(path)) is not None)


def _is_coco(path: Path) -> bool:
    """Whether a file has objects in COCO's format, each with a score: the annotations of a data set have none."""
    try:
        document = json.loads(path.read_bytes())
    except ValueError:
        return False
    return (
        isinstance(document, dict)
        and set(document) == {"images", "annotations", "categories"}
        and isinstance(document["annotations"], list)
        and all(isinstance(one, dict) and "score" in one for one in document["annotations"])
    )


COCO = Form("predict --coco", _is_coco)
REPORT = Form("report", lambda path: _REPORT_TITLE in _head(path))


def _head(path: Path) -> str:
    with path.open("rb") as stream:
        return stream.read(_HEAD).decode("utf-8-sig", "replace")


def data_of(runs: Iterable[Run], *others: str | None) -> Iterator[str]:
    """The files and folders that runs have learned from, as far as their configs can be read.

    Args:
        others: What the command reads besides; None for nothing.
    """
    from cnnkit.runs.listing import plain_config

    yield from (path for path in others if path is not None)
    for run in runs:
        yield from data_in(plain_config(run))


def data_in(config: Mapping[str, Any] | None) -> list[str]:
    """The same of a config, as plain values."""
    from cnnkit.runs.listing import within

    data = within(config, "data")
    named = [within(data, name) for name in ("folder", "table", "reference")]
    if within(data, "table") is None:
        # Of a table, that is the name of a column.
        named.append(within(data, "image"))
    return [path for path in (*named, within(data, "damage", "mask")) if isinstance(path, str)]


def check_replaceable(target: Path, option: str, inputs: Iterable[str | Path], form: Form | None = None) -> None:
    """Whether a file may be written, or written again. One that holds nothing always may.

    Args:
        target: The file.
        option: What names it on the command line.
        inputs: Files and folders that the command reads, or that its runs have learned from.
        form: What will be written, where that can be told from other files; of a picture it cannot, and so none in the
            folders, and none that a table names, is replaced.

    Raises:
        UsageError: if something would be lost that cannot be written again.
    """
    if not os.path.exists(target) or (target.is_file() and target.stat().st_size == 0):
        return
    hint = "Name another file."
    for path in inputs:
        if os.path.isfile(path) and os.path.samefile(path, target):
            raise UsageError(f"{option}: `{target}` is a file that the command or its run reads", hint)
        if form is None and _belongs_to(target, path):
            raise UsageError(f"{option}: `{target}` is there already, and belongs to the images of `{path}`", hint)
    if not (target.is_file() if form is None else _fits(form, target)):
        what = "no file" if form is None else f"not what `{form.command}` writes"
        raise UsageError(f"{option}: `{target}` is there already, and is {what}", hint)


def _fits(form: Form, target: Path) -> bool:
    try:
        return target.is_file() and form.fits(target)
    except OSError:
        return False


def _belongs_to(target: Path, source: str | Path) -> bool:
    """Whether a file lies in a folder, or stands in a cell of a table."""
    if os.path.isdir(source):
        return Path(os.path.realpath(source)) in Path(os.path.realpath(target)).parents
    if not os.path.isfile(source) or str(source).lower().endswith(IMAGE_SUFFIXES):
        return False
    from cnnkit.config.cells import read_cells
    from cnnkit.config.data import DataProblem

    try:
        _, rows, _ = read_cells(Path(source), {})
    except DataProblem:
        return False
    folder = os.path.dirname(os.path.abspath(source))
    # A table may name a million files, of which only those of this name are looked for.
    named = (os.path.join(folder, cell) for _, cells in rows for cell in cells if cell.endswith(target.name))
    return any(os.path.exists(file) and os.path.samefile(file, target) for file in named)
