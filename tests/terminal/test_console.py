"""What a run prints: plain lines in a pipe, a live bar on a terminal, every line in the log."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from cnnkit.terminal.console import Console, Warnings, format_duration

#: One epoch with its bar, as training drives it.
EPOCH = """
import time
from cnnkit.terminal.console import Console
console = Console()
console.line("before")
console.begin_epoch("epoch 1/3", 40)
for step in (10, 20, 30):
    console.update(step, f"loss 0.{step}")
    time.sleep(0.15)
console.end_epoch()
console.line("after")
"""


def test_a_pipe_gets_plain_lines_and_no_bar() -> None:
    stream = io.StringIO()
    console = Console(stream=stream)
    console.line("run       runs/digits-1")
    console.begin_epoch("epoch 1/3", 40)
    console.update(20, "loss 0.5")
    console.end_epoch()
    console.line("epoch 1/3  loss 0.5")
    assert stream.getvalue() == "run       runs/digits-1\nepoch 1/3  loss 0.5\n"


def test_the_log_gets_every_line_and_no_bar(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    console = Console(log, io.StringIO())
    console.line("first ü")
    console.begin_epoch("epoch 1/3", 40)
    console.update(20, "loss 0.5")
    console.end_epoch()
    console.line()
    console.line("last")
    assert log.read_text(encoding="utf-8") == "first ü\n\nlast\n"


def on_terminal(code: str, columns: int = 80, kind: str = "xterm") -> str:
    """What a program writes on a terminal."""
    parent, child = pty.openpty()
    environment = {**os.environ, "TERM": kind, "COLUMNS": str(columns), "LINES": "24"}
    process = subprocess.Popen([sys.executable, "-c", code], stdout=child, stderr=child, stdin=child, env=environment)
    os.close(child)
    parts = []
    # Linux reports an error where the other end of a terminal has been closed.
    with contextlib.suppress(OSError):
        while part := os.read(parent, 4096):
            parts.append(part)
    os.close(parent)
    assert process.wait(timeout=30) == 0
    return b"".join(parts).decode()


class Screen:
    """Just enough of a terminal to know what is left on it."""

    def __init__(self, text: str) -> None:
        self.lines: list[str] = [""]
        self.row = self.column = 0
        for token in re.findall(r"\x1b\[\??[0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", text):
            if token == "\r":
                self.column = 0
            elif token == "\n":
                self.row += 1
                self.lines += [""] * (self.row + 1 - len(self.lines))
            elif token.startswith("\x1b["):
                if token.endswith("A"):
                    self.row -= int(token[2:-1] or 1)
                elif token.endswith("2K"):
                    self.lines[self.row] = ""
            else:
                line = self.lines[self.row].ljust(self.column)
                self.lines[self.row] = line[: self.column] + token + line[self.column + len(token) :]
                self.column += len(token)

    def shown(self) -> list[str]:
        return [line.rstrip() for line in self.lines if line.strip()]


def test_a_terminal_gets_a_live_bar_that_goes_away() -> None:
    text = on_terminal(EPOCH)
    assert "epoch 1/3" in text
    assert "loss 0.20" in text
    assert "50%" in text
    assert Screen(text).shown() == ["before", "after"]
    # The cursor is hidden under the bar, and comes back.
    assert text.rfind("\x1b[?25h") > text.rfind("\x1b[?25l") >= 0


def test_a_narrow_terminal_gets_the_share_and_the_figures() -> None:
    text = on_terminal(EPOCH, columns=40)
    assert "epoch 1/3  50% loss 0.20" in re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert Screen(text).shown() == ["before", "after"]


def test_a_terminal_that_takes_no_line_back_gets_lines_alone() -> None:
    assert on_terminal(EPOCH, kind="dumb").replace("\r", "") == "before\nafter\n"


def test_a_reader_that_goes_away_stops_neither_the_run_nor_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    code = f"""
import time
from pathlib import Path
from cnnkit.terminal.console import Console
console = Console(Path({str(log)!r}))
console.line("one")
time.sleep(0.5)
for text in ("two", "three", "four"):
    console.line(text)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"one\n"
        process.stdout.close()
        errors = process.stderr.read()
    assert (process.returncode, errors) == (0, b"")
    assert log.read_text().split() == ["one", "two", "three", "four"]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_under_the_output_does_not_stop_the_run(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    code = f"""
from pathlib import Path
from cnnkit.terminal.console import Console
console = Console(Path({str(log)!r}))
console.line("one")
console.line("two")
"""
    with open("/dev/full", "w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    assert log.read_text().split() == ["one", "two"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0 s"),
        (12.34, "12.3 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (60, "1 min 00 s"),
        (245, "4 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7380, "2 h 03 min"),
        (100 * 3600, "100 h 00 min"),
    ],
)
def test_durations_read_as_people_write_them(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


def test_lines_of_others_do_not_control_the_terminal(tmp_path: Path) -> None:
    stream = io.StringIO()
    console = Console(tmp_path / "log.txt", stream)
    console.line("data      \x1b]0;title\x07 \x9b2J\ttab\nsecond")
    assert stream.getvalue() == "data      \\x1b]0;title\\x07 \\x9b2J\ttab\nsecond\n"
    assert (tmp_path / "log.txt").read_text() == stream.getvalue()


def test_a_warning_goes_to_standard_error_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    Warnings().emit(logging.LogRecord("cnnkit", logging.WARNING, "", 0, "left out: %s", ("\x1b[2J",), None))
    assert capsys.readouterr() == ("", "left out: \\x1b[2J\n")


def test_the_log_is_no_link(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("mine")
    (tmp_path / "log.txt").symlink_to(tmp_path / "target")
    with pytest.raises(OSError, match="it is a link") as caught:
        Console(tmp_path / "log.txt", io.StringIO()).line("added")
    assert caught.value.filename == str(tmp_path / "log.txt")
    assert (tmp_path / "target").read_text() == "mine"


def test_all_text_goes_through_one_function() -> None:
    package = Path(__file__).parents[2] / "cnnkit"
    found = [file.name for file in package.rglob("*.py") if "click.echo(" in file.read_text(encoding="utf-8")]
    assert found == ["console.py"]
