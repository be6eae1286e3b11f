"""`cnnkit data`: data sets, and the cache of decoded images."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cnnkit.cli.options import JSON, common
from cnnkit.errors import UsageError

if TYPE_CHECKING:
    from cnnkit.config.data import DataConfig


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
    from cnnkit.listing import as_table

    rows = [asdict(row) for row in list_data_sets()]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False, default=str))
    else:
        click.echo(as_table(rows))


@data.command("prepare")
@click.argument("name")
@common
def data_prepare(name: str) -> None:
    """Download the TFDS data set NAME and prepare it."""
    from cnnkit.data.catalog import prepare

    # A child process downloads; this one needs no TensorFlow.
    folder = prepare(name)
    click.echo(f"`{name}` is ready in {folder}" if folder else f"`{name}` is bundled; it needs no download")


@data.command("info")
@click.argument("source", metavar="NAME|FOLDER|CONFIG")
@JSON
@common
def data_info(source: str, as_json: bool) -> None:
    """Show the splits, classes and pixel statistics of a data set."""
    from cnnkit.data.catalog import data_set_summary
    from cnnkit.listing import as_lines

    config, seed = _data_source(source)
    summary = data_set_summary(config, seed)
    click.echo(json.dumps(summary, indent=2, ensure_ascii=False) if as_json else as_lines(summary))


@data.command("clear-cache")
@common
def data_clear_cache() -> None:
    """Remove the decoded images that are kept for the next start."""
    from cnnkit.data.cache import cache_folder, clear_cache

    click.echo(f"freed {clear_cache() / 1e6:,.1f} MB in {cache_folder()}")


def _data_source(source: str) -> tuple[DataConfig, int]:
    """The `data` section that a config, a run, a folder or a name stands for, and the seed."""
    from cnnkit.config.data import DataConfig
    from cnnkit.config.dataset import DataProblem, describe_data_set
    from cnnkit.config.load import load_config
    from cnnkit.rundir import config_file, run_of

    if os.path.isfile(source) or source.endswith((".yaml", ".yml")) or run_of(source) is not None:
        loaded = load_config(config_file(source)).config
        return loaded.data, loaded.seed
    config = DataConfig.model_validate({"folder" if Path(source).is_dir() else "name": source})
    try:
        describe_data_set(config)
    except DataProblem as problem:
        raise UsageError(problem.message) from None
    return config, 0
