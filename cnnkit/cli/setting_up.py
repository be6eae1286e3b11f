"""`cnnkit new`, `schema` and `doctor`: what one needs before training."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import click

from cnnkit.cli.options import JSON, check_new, common, default_file, write_new_file
from cnnkit.errors import EXIT_FAILED, UsageError
from cnnkit.terminal.console import echo
from cnnkit.terminal.printable import printable_json


def _complete_shipped(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    from cnnkit.config import shipped

    return [name for name in shipped.names() if name.startswith(incomplete)]


@click.command()
@click.argument("name", required=False, shell_complete=_complete_shipped)
@click.option("--list", "list_names", is_flag=True, help="List the configs that cnnkit ships.")
@click.option(
    "--from",
    "source",
    metavar="FOLDER|TABLE",
    type=click.Path(),
    help="Write a config for one's own images or texts, with the reason for each choice.",
)
@click.option("--image", metavar="COLUMN", help="Of a table, the column of the images' paths.")
@click.option("--target", metavar="COLUMN,...", help="Of a table, what is to be learned: a column, or several.")
@click.option("--task", metavar="NAME", help="Of a table, the task, where its cells look like that of another.")
@click.option(
    "--backbone",
    metavar="NAME",
    help="Begin with this network of keras.applications, which has learned ImageNet; for photographs.",
)
@click.option(
    "--output", "-o", metavar="FILE", help="Where to write it, - for the terminal; by default NAME.yaml here."
)
@common
def new(
    name: str | None,
    list_names: bool,
    source: str | None,
    image: str | None,
    target: str | None,
    task: str | None,
    backbone: str | None,
    output: str | None,
) -> None:
    """Copy the shipped config NAME here, to edit; or write one for your own images or texts."""
    if source is not None:
        if name is not None or list_names:
            raise UsageError("--from writes a config for images or texts; leave out NAME and --list")
        _new_from(source, image, target, task, backbone, output)
        return
    if any(option is not None for option in (image, target, task, backbone)):
        raise UsageError("--image, --target, --task and --backbone are for images of your own; add --from FOLDER")
    if list_names:
        _list_shipped()
    elif name is not None:
        _copy_shipped(name, output)
    else:
        raise UsageError(
            "which config? expected: cnnkit new NAME, or cnnkit new --from FOLDER", "`cnnkit new --list` names some."
        )


def _list_shipped() -> None:
    from cnnkit.config import shipped
    from cnnkit.terminal.tables import aligned

    echo(aligned([[known, shipped.purpose(known)] for known in shipped.names()], "<<"))


def _copy_shipped(name: str, output: str | None) -> None:
    from cnnkit.config import shipped

    source = shipped.find(name)
    if output == "-":
        echo(source.read_text(encoding="utf-8"), nl=False)
        for base in shipped.bases(name):
            echo(f"it extends {base.name}: cnnkit new {base.stem}", err=True)
        return
    target = Path(output or source.name)
    bases = shipped.bases(name)
    copies = [(base, target.parent / base.name) for base in bases]
    for base, copy in copies:
        if copy == target:
            raise UsageError(
                f"`{source.name}` extends `{base.name}`, which is copied next to it, so it cannot be `{target}`",
                "Name another file with --output.",
            )
        # One that is there already may have been copied with another config.
        if copy.exists() and copy.read_bytes() != base.read_bytes():
            raise UsageError(
                f"`{target.name}` extends `{copy.name}`, and a different `{copy}` is there already",
                "Copy it into another folder with --output.",
            )
    check_new(target)
    # The bases first: a config whose base is not there is of no use.
    for base, copy in copies:
        if not copy.exists():
            write_new_file(copy, base.read_bytes())
    write_new_file(target, source.read_bytes())
    extended = f", and {', '.join(str(copy) for _, copy in copies)}, which it extends" if copies else ""
    echo(f"wrote {target}{extended}; train it: cnnkit train {shlex.quote(str(target))}")


def _new_from(
    source: str, image: str | None, target: str | None, task: str | None, backbone: str | None, output: str | None
) -> None:
    """Writes a config for images or texts."""
    from cnnkit.format.similar import suggestion
    from cnnkit.layers.backbone_graph import NETWORKS
    from cnnkit.proposal.config import proposer
    from cnnkit.tasks import TASKS, task_named

    learned = None if task is None else task_named(task)
    if task is not None and learned is None:
        raise UsageError(f"--task: there is no task `{task}`; expected one of {', '.join(TASKS.aliases)}")
    if backbone is not None and backbone not in NETWORKS:
        listed = suggestion(backbone, NETWORKS) or "; docs/reference.md lists them"
        raise UsageError(f"--backbone: there is no network `{backbone}`{listed}")
    file = Path(output) if output is not None and output != "-" else default_file(source)
    if output != "-":
        check_new(file)
    proposal = proposer(source, image, target, learned, backbone)(file)
    if output == "-":
        echo(proposal.text, nl=False)
        return
    write_new_file(file, proposal.text)
    for line in proposal.lines:
        echo(line)
    echo(f"wrote     {file}; train it: {shlex.join(['cnnkit', 'train', str(file), *_run_dir(source, file)])}")


def _run_dir(source: str, file: Path) -> list[str]:
    """The option that keeps a run out of the folder of its images; none where `runs` in the current folder is."""
    from cnnkit.format.run_folders import RUNS, check_outside

    if not os.path.isdir(os.path.expanduser(source)):
        return []
    try:
        check_outside(None, source)
    except UsageError:
        around = os.path.relpath(os.path.join(os.path.realpath(os.path.expanduser(source)), os.pardir))
        return ["--run-dir", os.path.join(around, RUNS, file.stem)]
    return []


@click.command()
@common
def schema() -> None:
    """Print the JSON Schema of the config format, for editors."""
    from cnnkit.config.run import RunConfig
    from cnnkit.format.schema import json_schema

    echo(printable_json(json_schema(RunConfig)))


@click.command()
@JSON
@common
def doctor(as_json: bool) -> None:
    """Show versions, devices, settings and data folders, and what is wrong with them."""
    from cnnkit.cli.diagnosis import as_text, examine

    report = examine()
    echo(printable_json(report) if as_json else as_text(report))
    if report["problems"]:
        sys.exit(EXIT_FAILED)
