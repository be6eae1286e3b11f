"""`cnnkit data`: data sets, and the cache of decoded images."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from cnnkit.cli.options import JSON, common, complete_configs
from cnnkit.errors import EXIT_FAILED, CnnkitError, ConfigError, UsageError
from cnnkit.terminal.console import echo
from cnnkit.terminal.printable import printable_json

if TYPE_CHECKING:
    from cnnkit.config.data import DataConfig
    from cnnkit.data.survey import FileFacts
    from cnnkit.runs.directory import Run
    from cnnkit.task import Task


@click.group()
@common
def data() -> None:
    """List, fetch and look at data sets, and clear the cache."""


@data.command("list")
@JSON
@common
def data_list(as_json: bool) -> None:
    """List the data sets that are here, and those that cnnkit knows."""
    from cnnkit.data.catalog import list_data_sets
    from cnnkit.terminal.tables import as_table

    rows = [asdict(row) for row in list_data_sets()]
    if as_json:
        echo(printable_json(rows))
    else:
        echo(as_table(rows))


@data.command("prepare")
@click.argument("name")
@common
def data_prepare(name: str) -> None:
    """Download the TFDS data set NAME and prepare it."""
    from cnnkit.data.catalog import prepare

    # A child process downloads; this one needs no TensorFlow.
    folder = prepare(name)
    echo(f"`{name}` is ready in {folder}" if folder else f"`{name}` is bundled; it needs no download")


def _columns(command: Callable[..., None]) -> Callable[..., None]:
    """The options that name the columns of a table that no config names."""
    target = click.option("--target", metavar="COLUMN", help="Of a table alone, the column of the classes.")
    image = click.option("--image", metavar="COLUMN", help="Of a table alone, the column of the images' paths.")
    return image(target(command))


@data.command("info")
@click.argument("source", metavar="NAME|FOLDER|TABLE|CONFIG", shell_complete=complete_configs)
@_columns
@JSON
@common
def data_info(source: str, image: str | None, target: str | None, as_json: bool) -> None:
    """Show the splits, classes and pixel statistics of a data set."""
    from cnnkit.data.catalog import data_set_summary
    from cnnkit.terminal.tables import as_lines

    config, seed, task = _data_source(source, image, target)
    summary = data_set_summary(config, seed, task)
    if as_json:
        echo(printable_json(summary))
        return
    notes = summary.pop("notes", [])
    echo("\n".join([as_lines(summary), *(f"note: {note}" for note in notes)]))


@data.command("check")
@click.argument("source", metavar="FOLDER|TABLE|CONFIG", shell_complete=complete_configs)
@_columns
@JSON
@common
def data_check(source: str, image: str | None, target: str | None, as_json: bool) -> None:
    """List what is odd in a folder or table: damage, unfit masks, copies, sizes. Exit 1 if it needs a decision."""
    from cnnkit.data.check import check_folder

    config, seed, refused, task = _folder_source(source, image, target)
    if config.sample.unchangeable is not None:
        raise UsageError(
            f"`data check` looks at image files, and `{config.source}` holds {config.sample.plural}",
            "What is wrong with a row stops `cnnkit data info CONFIG`, which also says how many words are known.",
        )
    report = check_folder(config, seed, _bar, refused, task)
    echo(printable_json(report.as_json()) if as_json else report.as_text())
    sys.exit(EXIT_FAILED if report.needs_decision else 0)


@contextlib.contextmanager
def _bar(files: Iterable[FileFacts], count: int) -> Iterator[Iterable[FileFacts]]:
    """A bar on a terminal that follows the files."""
    if not sys.stderr.isatty():
        yield files
        return
    with click.progressbar(files, length=count, label="decoding", file=sys.stderr) as shown:
        yield shown


@data.command("convert")
@click.argument("source", metavar="FOLDER|TABLE|CONFIG", shell_complete=complete_configs)
@click.argument("folder", metavar="NEW_FOLDER", type=click.Path(path_type=Path))
@click.option(
    "--to",
    "kind",
    type=click.Choice(["coco", "voc", "yolo", "table"]),
    required=True,
    help="The format: one JSON file for a split, an XML file or a text file for an image, or one table.",
)
@_columns
@common
def data_convert(source: str, folder: Path, kind: str, image: str | None, target: str | None) -> None:
    """Write annotated images (COCO, Pascal VOC, YOLO, or a table with a row for each box) in another format."""
    from cnnkit.data.box_formats import convert

    for line in convert(_annotated_section(source, image, target), folder, kind):
        echo(line)


def _annotated_section(source: str, image: str | None, target: str | None) -> DataConfig:
    """The `data` section of a folder or table of annotated images, or of a config of one."""
    from cnnkit.config.cells import is_table
    from cnnkit.config.data import DataConfig

    if not is_table(source) and not _is_config(source):
        _refuse_columns(source, image, target)
        return DataConfig(folder=source)
    found = _folder_source(source, image, target, "data convert")
    if found.task is None or not found.task.target.boxed:
        raise UsageError(
            f"`{source}` has no boxes; `data convert` changes the format of annotated images",
            "The columns of a box are called xmin, ymin, xmax and ymax, or are named by `data.boxes` of a config.",
        )
    return found.config


@data.command("clear-cache")
@common
def data_clear_cache() -> None:
    """Remove the decoded images that are kept for the next start."""
    from cnnkit.data.cache import cache_folder, clear_cache

    echo(f"freed {clear_cache() / 1e6:,.1f} MB in {cache_folder()}")


class _Source(NamedTuple):
    """Images that were named.

    Attributes:
        refused: What is wrong with the images of a config.
        task: What a config learns of them; None where none says it.
    """

    config: DataConfig
    seed: int
    refused: str | None
    task: Task | None


def _table_source(source: str, image: str | None, target: str | None) -> _Source:
    """A table that no config names, of texts, of images with a class or, where columns are called so, of boxes."""
    from cnnkit.config.boxes.table import likely_columns
    from cnnkit.config.cells import cells_of
    from cnnkit.config.data import DataConfig, DataProblem
    from cnnkit.config.target import Boxes
    from cnnkit.proposal.columns import IMAGE_COLUMNS, TARGET_COLUMNS, section_of_cells, split_column
    from cnnkit.proposal.texts import texts_in
    from cnnkit.tasks import task_of

    text = texts_in(source) if image is None else None
    if text is not None:
        config, task = section_of_cells(source, {"text": text}, target)
        return _Source(config, 0, None, task)
    try:
        cells = cells_of(source)
    except DataProblem as problem:
        raise UsageError(problem.message) from None
    columns = list(cells)
    image = image or next((name for name in IMAGE_COLUMNS if name in columns), None)
    boxes, split = likely_columns(columns), split_column(cells)
    of_boxes = boxes.to_plain().values() if boxes is not None else ()
    others = [name for name in columns if name not in (image, split) and name not in of_boxes]
    target = target or next((name for name in TARGET_COLUMNS if name in others), None)
    target = target or (others[0] if len(others) == 1 else None)
    for option, column in (("--image", image), ("--target", target)):
        if column is None:
            listed = ", ".join(f"`{name}`" for name in columns)
            raise UsageError(f"which column of `{source}` is meant? Name it with {option}; it has {listed}")
    section = {"table": source, "image": image, "target": target, "split": split, "boxes": boxes}
    return _Source(DataConfig.model_validate(section), 0, None, None if boxes is None else task_of(Boxes))


def _folder_source(source: str, image: str | None, target: str | None, command: str = "data check") -> _Source:
    """The `data` section of a folder or table, or of a config or a run whose images are in one."""
    from cnnkit.config.cells import is_table
    from cnnkit.config.data import DataConfig

    if is_table(source):
        return _table_source(source, image, target)
    _refuse_columns(source, image, target)
    if os.path.isdir(source) and not _is_config(source):
        from cnnkit.proposal.texts import texts_in

        return _Source(DataConfig(folder=source, text=texts_in(source)), 0, None, _task_of(source))
    if not os.path.exists(source) and not _is_config(source):
        raise UsageError(
            f"there is neither a folder of images nor a table, a config or a run `{source}`",
            "Data sets that are known by a name are looked at by `cnnkit data info`.",
        )
    from cnnkit.runs.finding import config_file, is_config, run_of

    run = None if is_config(source) else run_of(source)
    section = _written_section(config_file(source)) if run is None else _section_of(run)
    if section.config.picture is not None:
        raise UsageError(
            f"`{source}` restores one picture; `{command}` looks at folders and tables",
            f"The picture is looked at by: cnnkit data info {shlex.quote(source)}",
        )
    if not section.config.has_files:
        raise UsageError(
            f"`{source}` takes the data set `{section.config.name}`; `{command}` looks at folders and tables",
            "Name a folder, or a config with `data.folder` or `data.table`.",
        )
    return section


def _task_of(folder: str) -> Task | None:
    """What is learned of a folder that no config names: masks or boxes where it has such; None for what is usual."""
    from cnnkit.config.boxes.listing import holds_boxes
    from cnnkit.config.mask_folder import holds_pairs
    from cnnkit.config.target import Boxes, Mask
    from cnnkit.tasks import task_of

    if holds_pairs(folder):
        return task_of(Mask)
    return task_of(Boxes) if holds_boxes(folder) else None


def _refuse_columns(source: str, image: str | None, target: str | None) -> None:
    if image is not None or target is not None:
        raise UsageError(f"--image and --target are for tables; `{source}` is none")


def _section_of(run: Run) -> _Source:
    from cnnkit.runs.trained import open_run

    trained = open_run(run)
    config = trained.loaded.config
    try:
        trained.check_images()
    except CnnkitError as error:
        return _Source(config.data, config.seed, error.message, config.task)
    return _Source(config.data, config.seed, None, config.task)


def _written_section(file: str) -> _Source:
    """The `data` section of a config that is right in itself."""
    from pydantic import ValidationError

    from cnnkit.config.load import load_config
    from cnnkit.config.run import RunConfig
    from cnnkit.format.override import read_tree
    from cnnkit.format.schema import Schema

    try:
        config = load_config(file).config
    except ConfigError as error:
        about_images = all(problem.path.startswith("data") for problem in error.problems)
        try:
            config = RunConfig.model_validate(read_tree(file, Schema("model", model=RunConfig)).plain())
        except ValidationError:
            about_images = False
        if not about_images:
            raise
        return _Source(config.data, config.seed, error.problems[0].message, config.task)
    return _Source(config.data, config.seed, None, config.task)


def _is_config(source: str) -> bool:
    from cnnkit.runs.finding import is_config, run_of

    return is_config(source) or source.endswith((".yaml", ".yml")) or run_of(source) is not None


def _data_source(source: str, image: str | None, target: str | None) -> tuple[DataConfig, int, Task | None]:
    """The `data` section that a config, a run, a folder, a table or a name stands for, its seed and its task."""
    from cnnkit.config.cells import is_table
    from cnnkit.config.data import DataConfig
    from cnnkit.config.dataset import DataProblem, describe_data_set, known_name
    from cnnkit.config.known_data_sets import KNOWN_BOXES
    from cnnkit.config.target import Boxes
    from cnnkit.config.texts import text_feature
    from cnnkit.proposal.texts import texts_in
    from cnnkit.runs.config import load_named
    from cnnkit.tasks import task_of

    if is_table(source):
        table = _table_source(source, image, target)
        return table.config, table.seed, table.task
    _refuse_columns(source, image, target)
    if _is_config(source):
        loaded = load_named(source, with_images=True).config
        return loaded.data, loaded.seed, loaded.task
    is_folder = Path(source).is_dir()
    try:
        text = texts_in(source) if is_folder else text_feature(source)
        config = DataConfig.model_validate({"folder" if is_folder else "name": source, "text": text})
        boxed = not is_folder and known_name(source) in KNOWN_BOXES
        task = _task_of(source) if is_folder else task_of(Boxes) if boxed else None
        # The sizes of a folder's images may be any; nothing is trained here.
        describe_data_set(config.model_copy(update={"image_size": (1, 1)}) if is_folder else config, task)
    except DataProblem as problem:
        raise UsageError(problem.message) from None
    return config, 0, task
