"""The command line: parse, import lazily, call one function each.

TensorFlow is imported only by commands that compute, so that `--help` and config errors answer at once.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from typing import Any, NoReturn

import click

from cnnkit import __version__
from cnnkit.cli.datasets import data
from cnnkit.cli.examples import add_examples
from cnnkit.cli.exporting import export
from cnnkit.cli.generating import generate
from cnnkit.cli.launching import launch
from cnnkit.cli.measuring import evaluate, predict, runs
from cnnkit.cli.networks import diff, eject, inspect
from cnnkit.cli.options import State, common
from cnnkit.cli.restoring import restore
from cnnkit.cli.serving import serve, watch
from cnnkit.cli.setting_up import doctor, new, schema
from cnnkit.cli.showing import report, show
from cnnkit.cli.training import train
from cnnkit.errors import EXIT_FAILED, EXIT_INTERRUPTED, CnnkitError, ConfigError, of_the_system
from cnnkit.machine import garbage, pydantic_start
from cnnkit.terminal.console import Warnings, echo


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="cnnkit")
@common
def cli() -> None:
    """Train convolutional networks from YAML files, with TensorFlow and Keras.

    Start with: cnnkit new digits, then cnnkit train digits.yaml; or with a folder of images: cnnkit train photos
    """


for _command in (
    train,
    launch,
    restore,
    generate,
    evaluate,
    predict,
    inspect,
    diff,
    eject,
    export,
    show,
    report,
    serve,
    watch,
    runs,
    new,
    data,
    schema,
    doctor,
):
    cli.add_command(_command)
add_examples(cli)


def main() -> None:
    """Runs the command line and turns what goes wrong into one message and an exit code."""
    _prepare_process()
    try:
        result = cli.main(standalone_mode=False, prog_name="cnnkit")
        sys.stdout.flush()
        sys.exit(result if isinstance(result, int) else 0)
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        echo(shown.getvalue(), err=True, nl=False)
        sys.exit(error.exit_code)
    except ConfigError as error:
        # Its lines begin with a place, `file:line:column`, which editors find at a line's start.
        _fail(str(error), error.exit_code, prefix="")
    except CnnkitError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`).
        sys.exit(EXIT_FAILED)
    except Exception as error:
        if State.interrupted:
            # Compiled modules turn an interrupt into errors of their own, numpy's import into an ImportError.
            _fail("interrupted", EXIT_INTERRUPTED)
        known = of_the_system(error)
        if known is not None:
            _fail(str(known), known.exit_code)
        _fail(
            f"unexpected {type(error).__name__}: {error}\n"
            "This is a mistake in cnnkit; run the command again with --debug to see where.",
            EXIT_FAILED,
        )


def _prepare_process() -> None:
    """Makes any text printable whatever the encoding, closed standard streams harmless, and notes Ctrl-C."""
    State.debug = State.interrupted = False
    garbage.look_rarely()
    pydantic_start.search_for_none()
    _open_closed_streams()
    logger = logging.getLogger("cnnkit")
    if not any(isinstance(handler, Warnings) for handler in logger.handlers):
        logger.addHandler(Warnings(logging.WARNING))
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Where the shell has Ctrl-C ignored, it stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _open_closed_streams() -> None:
    """Opens what the shell has closed (`2>&-`): the next file would get its number, and native code writes there."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    # They stay open to the end.
    if sys.stdout is None:
        sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115


def _interrupt(number: int, frame: Any) -> None:
    State.interrupted = True
    raise KeyboardInterrupt


def _fail(message: str, code: int, prefix: str = "cnnkit: ") -> NoReturn:
    if State.debug:
        import traceback

        echo(traceback.format_exc(), err=True, nl=False)
    echo(prefix + message, err=True)
    sys.exit(code)
