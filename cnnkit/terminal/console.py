"""What a run says while it works: a live line on a terminal, plain lines in a pipe, all of it in log.txt."""

from __future__ import annotations

import contextlib
import logging
import sys
from pathlib import Path
from typing import Any, TextIO

import click

from cnnkit.terminal.printable import printable_text


def echo(text: str, *, err: bool = False, nl: bool = True, file: TextIO | None = None) -> None:
    """Prints text; the only way in which cnnkit does.

    Names in it may come from anybody: what would control the terminal is escaped, see `printable_text`.

    Args:
        err: Whether it goes to standard error.
        nl: Whether a new line follows.
        file: Where it goes instead.
    """
    try:
        click.echo(printable_text(text), err=err, nl=nl, file=file)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror, "standard error" if err else "standard output") from None


class Warnings(logging.Handler):
    """Shows what is logged on standard error, a line for each."""

    def emit(self, record: logging.LogRecord) -> None:
        # Nobody may be listening there.
        with contextlib.suppress(OSError):
            echo(record.getMessage(), err=True)


#: Columns that a terminal needs for the bar and the remaining time beside the figures.
_WIDTH_WITH_BAR = 70


class Console:
    """Prints lines and the progress of an epoch.

    Args:
        log: A file that gets every line too.
        stream: Where lines go; a terminal gets a live progress bar.
    """

    def __init__(self, log: Path | None = None, stream: TextIO | None = None) -> None:
        self.stream = stream if stream is not None else sys.stdout
        self.log = log
        self.closed = False
        self._bar: Any = None
        self._task: Any = None

    def line(self, text: str = "") -> None:
        """One finished line."""
        text = printable_text(text)
        self.record(text)
        if self.closed:
            return
        try:
            echo(text, file=self.stream)
        except OSError:
            # Whoever read the output has gone (`| head`), or its disk is full; the run and its log go on.
            self.closed = True

    def record(self, text: str) -> None:
        """A line only for log.txt."""
        if self.log is not None:
            from cnnkit.files import append_line

            append_line(self.log, printable_text(text))

    def begin_epoch(self, title: str, steps: int) -> None:
        """Starts the live bar of an epoch; does nothing where nobody watches."""
        if self.closed or self.stream is None or not self.stream.isatty():
            return
        from rich.console import Console as RichConsole
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        terminal = RichConsole(file=self.stream)
        if terminal.is_dumb_terminal:
            # It cannot take a line back.
            return
        parts: list[Any] = [
            TextColumn("{task.description}"),
            TaskProgressColumn(),
            TextColumn("{task.fields[figures]}"),
        ]
        if terminal.width >= _WIDTH_WITH_BAR:
            parts = [parts[0], BarColumn(bar_width=24), *parts[1:], TimeRemainingColumn()]
        self._bar = Progress(*parts, console=terminal, transient=True)
        self._task = self._bar.add_task(title, total=steps, figures="")
        self._bar.start()

    def update(self, step: int, figures: str) -> None:
        """Moves the live bar; may be called from another thread than the one that takes it away."""
        bar = self._bar
        if bar is not None:
            bar.update(self._task, completed=step, figures=figures)

    def end_epoch(self) -> None:
        """Takes the live bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def format_duration(seconds: float) -> str:
    """A duration as people read it: 12.3 s, 4 min 05 s, 2 h 03 min."""
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
