"""`cnnkit data`: data sets, and the cache of decoded images."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cnnkit.cli.options import JSON, common, complete_configs
from cnnkit.errors import EXIT_FAILED, CnnkitError, ConfigError, UsageError
from cnnkit.terminal.console import echo
from cnnkit.terminal.printable import printable_json

if TYPE_CHECKING:
    from cnnkit.config.data import DataConfig
    from cnnkit.data.survey import FileFacts
    from cnnkit.runs.directory import Run


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


@data.command("info")
@click.argument("source", metavar="NAME|FOLDER|CONFIG", shell_complete=complete_configs)
@JSON
@common
def data_info(source: str, as_json: bool) -> None:
    """Show the splits, classes and pixel statistics of a data set."""
    from cnnkit.data.catalog import data_set_summary
    from cnnkit.terminal.tables import as_lines

    config, seed = _data_source(source)
    summary = data_set_summary(config, seed)
    if as_json:
        echo(printable_json(summary))
        return
    notes = summary.pop("notes", [])
    echo("\n".join([as_lines(summary), *(f"note: {note}" for note in notes)]))


@data.command("check")
@click.argument("source", metavar="FOLDER|CONFIG", shell_complete=complete_configs)
@JSON
@common
def data_check(source: str, as_json: bool) -> None:
    """List what is odd in a folder of images: damage, copies, sizes. Exit 1 if it needs a decision."""
    from cnnkit.data.check import check_folder

    config, seed, refused = _folder_source(source)
    report = check_folder(config, seed, _bar, refused)
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


@data.command("clear-cache")
@common
def data_clear_cache() -> None:
    """Remove the decoded images that are kept for the next start."""
    from cnnkit.data.cache import cache_folder, clear_cache

    echo(f"freed {clear_cache() / 1e6:,.1f} MB in {cache_folder()}")


def _folder_source(source: str) -> tuple[DataConfig, int, str | None]:
    """The `data` section and the seed of a folder, or of a config or a run whose images are in one.

    Returns:
        Both; and what is wrong with the images of a config, or None.
    """
    from cnnkit.config.data import DataConfig

    if os.path.isdir(source) and not _is_config(source):
        return DataConfig(folder=source), 0, None
    if not os.path.exists(source) and not _is_config(source):
        raise UsageError(
            f"there is neither a folder of images nor a config or a run `{source}`",
            "Data sets that are known by a name are looked at by `cnnkit data info`.",
        )
    from cnnkit.runs.finding import config_file, is_config, run_of

    run = None if is_config(source) else run_of(source)
    config, seed, refused = _written_section(config_file(source)) if run is None else _section_of(run)
    if config.folder is None:
        raise UsageError(
            f"`{source}` takes the data set `{config.name}`; `data check` looks at folders of images",
            "Name a folder, or a config with `data.folder`.",
        )
    return config, seed, refused


def _section_of(run: Run) -> tuple[DataConfig, int, str | None]:
    """The `data` section and the seed of a run; and what is wrong with its images."""
    from cnnkit.runs.trained import open_run

    trained = open_run(run)
    config = trained.loaded.config
    try:
        trained.check_images()
    except CnnkitError as error:
        return config.data, config.seed, error.message
    return config.data, config.seed, None


def _written_section(file: str) -> tuple[DataConfig, int, str | None]:
    """The `data` section and the seed of a config that is right in itself; and what is wrong with its images."""
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
        return config.data, config.seed, error.problems[0].message
    return config.data, config.seed, None


def _is_config(source: str) -> bool:
    from cnnkit.runs.finding import is_config, run_of

    return is_config(source) or source.endswith((".yaml", ".yml")) or run_of(source) is not None


def _data_source(source: str) -> tuple[DataConfig, int]:
    """The `data` section that a config, a run, a folder or a name stands for, and the seed."""
    from cnnkit.config.data import DataConfig
    from cnnkit.config.dataset import DataProblem, describe_data_set
    from cnnkit.runs.config import load_named

    if _is_config(source):
        loaded = load_named(source, with_images=True).config
        return loaded.data, loaded.seed
    is_folder = Path(source).is_dir()
    config = DataConfig.model_validate({"folder" if is_folder else "name": source})
    try:
        # The sizes of a folder's images may be any; nothing is trained here.
        describe_data_set(config.model_copy(update={"image_size": (1, 1)}) if is_folder else config)
    except DataProblem as problem:
        raise UsageError(problem.message) from None
    return config, 0
