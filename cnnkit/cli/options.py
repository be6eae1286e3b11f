"""What the commands share: options, files that were not there before, and how the command line was called."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from cnnkit.errors import CnnkitError, UsageError
from cnnkit.files import write_atomically

#: Parameters that are no names: texts, of which `predict` says which have no word, and what --set takes.
_MAY_BE_EMPTY = ("paths", "overrides")


class State:
    """How this process was called, and whether Ctrl-C was pressed."""

    debug = False
    interrupted = False


def common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that every command has, and what holds for those of each: none of its names is empty."""

    def remember(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        State.debug = State.debug or value

    @functools.wraps(command)
    def checked(*arguments: Any, **values: Any) -> Any:
        for parameter in click.get_current_context().command.params:
            _check_not_empty(parameter, values.get(parameter.name or ""))
        return command(*arguments, **values)

    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=remember, help="Show tracebacks of errors."
    )(checked)


def _check_not_empty(parameter: click.Parameter, value: Any) -> None:
    """Raises UsageError where a name is empty, as a variable may be in a script; a path would be the current folder."""
    if "" in (value if isinstance(value, tuple) else (value,)) and parameter.name not in _MAY_BE_EMPTY:
        # It loads pydantic, which not every command needs.
        from cnnkit.format.base import describe

        is_option = isinstance(parameter, click.Option)
        name = max(parameter.opts, key=len) if is_option else parameter.human_readable_name.strip("[].")
        hint = "Leave the option out, or say which." if is_option and not parameter.required else None
        raise UsageError(f"{name}: expected a name, got {describe('')}", hint)


def complete_runs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For the shell: the names of runs under runs/, and folders."""
    from cnnkit.runs.finding import list_runs

    try:
        names = [run.name for run in list_runs()]
    except CnnkitError:
        names = []
    items = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return [*items, CompletionItem(incomplete, type="dir")]


def complete_predictors(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For the shell: the same, and exported files that `predict` and `serve` take."""
    from cnnkit.runs.finding import EXPORTED

    folder = os.path.dirname(incomplete)
    try:
        names = sorted(os.path.join(folder, name) for name in os.listdir(folder or "."))
    except OSError:
        names = []
    files = [name for name in names if name.startswith(incomplete) and name.lower().endswith(EXPORTED)]
    *runs, folders = complete_runs(context, parameter, incomplete)
    return [*runs, *map(CompletionItem, files), folders]


def complete_configs(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """For the shell: files, and what stands for a run."""
    return [*complete_runs(context, parameter, incomplete)[:-1], CompletionItem(incomplete, type="file")]


CONFIG = click.argument("config", metavar="CONFIG", shell_complete=complete_configs)
RUN = click.argument("run", metavar="RUN", shell_complete=complete_runs)
PREDICTOR = click.argument("run", metavar="RUN", shell_complete=complete_predictors)
SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change one value of the config, such as training.epochs=5. Repeatable.",
)
TTA = click.option(
    "--tta",
    metavar="flip,shift",
    help="Average over views of each image: mirrored (flip), moved a pixel up-left and down-right (shift), or both.",
)
PRECISION = click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    help="What the network multiplies, by default as in training; bfloat16 is faster where the processor has it.",
)
HOST = click.option(
    "--host", metavar="NAME", default="127.0.0.1", show_default=True, help="The address that the page is served on."
)
ALLOW_HOST = click.option(
    "--allow-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Another name that browsers may call the page by, such as a proxy's. Repeatable.",
)
MAX_MEGAPIXELS = click.option(
    "--max-megapixels",
    type=click.FloatRange(0.001, 100_000),
    metavar="N",
    help="Refuse image files of more megapixels; by default as the run's config says.",
)
JSON = click.option("--json", "as_json", is_flag=True, help="Print only JSON.")


def named_file(name: str, endings: tuple[str, ...], option: str) -> Path:
    """The file that an option names, to be written.

    Args:
        option: What the option is called on the command line.

    Raises:
        UsageError: if the file's ending is none of those that can be written, or its folder is not there.
    """
    path = Path(name)
    if path.suffix.lower() not in endings:
        raise UsageError(f"{option}: expected a name that ends in {' or '.join(endings)}, got `{path}`")
    if not path.parent.is_dir():
        raise UsageError(f"{option}: there is no folder `{path.parent}`")
    return path


def line_width() -> int:
    """Characters of a line on the terminal; 0 where the output goes elsewhere, unless COLUMNS says how many."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdigit():
        return int(columns)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else 0
    except (OSError, ValueError):
        return 0


def default_file(source: str) -> Path:
    """The file of the config for a folder or table of images, where nobody names one: here, and called as they are."""
    from cnnkit.config.cells import is_table

    path = Path(os.path.abspath(os.path.expanduser(source)))
    # The name of a folder has no ending: `birds.v1` and `birds.v2` are two.
    name = path.stem if is_table(str(path)) else path.name
    return Path(f"{name or 'images'}.yaml")


def check_new(target: Path) -> None:
    """Raises UsageError if a file to write is there already."""
    if os.path.lexists(target):
        raise UsageError(f"`{target}` is there already", "Name another file with --output.")


def write_new_file(target: Path, content: bytes | str) -> None:
    """Writes a file that was not there before; whole, or not at all.

    Raises:
        UsageError: if it is there.
        CnnkitError: if it cannot be written.
    """
    check_new(target)
    try:
        write_atomically(target, content)
    except OSError as error:
        raise CnnkitError(f"cannot write `{target}`: {error.strerror}", "Nothing of it is left; try again.") from None
