"""A config that comes through a pipe, or the standard input, is read once and is as good as a file."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from broken import edited
from commands import run

from cnnkit import cli
from cnnkit.config.load import load_config
from cnnkit.format import files

TEXT = """\
# Kept as it is.
data: {name: digits}
model: {layers: [Flatten, Dense: {units: classes, activation: softmax}]}
training: {epochs: 1}
"""

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")


@pytest.fixture(autouse=True)
def nothing_read_yet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(files, "_streams", {})
    monkeypatch.chdir(tmp_path)


def named_pipe(text: str) -> str:
    """A pipe that gives a text once."""
    os.mkfifo("pipe")
    threading.Thread(target=Path("pipe").write_text, args=(text,), daemon=True).start()
    return "pipe"


def standard_input(text: str) -> str:
    sys.stdin = SimpleNamespace(buffer=io.BytesIO(text.encode()))  # type: ignore[assignment]
    return "-"


@pytest.fixture(params=[named_pipe, standard_input])
def piped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    monkeypatch.setattr(sys, "stdin", sys.stdin)
    found: Callable[[str], str] = request.param
    return found


@pytest.mark.parametrize("command", ["inspect {}", "eject {} -o -", "data info {}"])
def test_every_command_that_takes_a_config_reads_a_pipe(
    command: str,
    piped: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("stdin.yaml").write_text(TEXT)
    assert run(command.replace("{}", "stdin.yaml").split(), monkeypatch) == 0
    expected = capsys.readouterr().out
    assert run(command.replace("{}", piped(TEXT)).split(), monkeypatch) == 0
    assert capsys.readouterr().out == expected


def test_a_pipe_is_read_once(
    piped: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name = piped(TEXT)
    assert run(["diff", name, name], monkeypatch) == 0
    assert "= 1 Dense" in capsys.readouterr().out


def test_what_was_read_is_kept_and_relative_names_belong_to_the_current_folder(piped: Callable[[str], str]) -> None:
    Path("base.yaml").write_text(TEXT)
    text = "extends: base.yaml\nseed: 3\n"
    loaded = load_config(piped(text))
    assert loaded.text == text
    assert loaded.name == "stdin"
    assert loaded.config.seed == 3
    assert loaded.config.data.name == "digits"


def test_a_mistake_in_the_standard_input_has_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", sys.stdin)
    assert run(["inspect", standard_input(edited(("epochs: 1", "epochs: 0"), text=TEXT))], monkeypatch) == 2
    assert capsys.readouterr().err.startswith("<stdin>:4:20  training.epochs\n")


def test_a_folder_says_what_it_holds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos/cats").mkdir(parents=True)
    Path("photos/cats/1.JPG").touch()
    Path("configs").mkdir()
    Path("configs/a.yaml").touch()
    Path("results/a-1").mkdir(parents=True)
    Path("results/a-1/config.yaml").touch()
    Path("empty").mkdir()
    for folder, words in {
        "photos": "It holds images (photos/cats); write a config for them: cnnkit new --from photos",
        "configs": "It holds configs; name one, such as configs/a.yaml",
        "results": "It holds runs; name one, such as results/a-1",
    }.items():
        assert run(["inspect", folder], monkeypatch) == 2
        assert words in capsys.readouterr().err
        if folder != "photos":
            # That is no mistake: a config for them is written.
            assert run(["train", folder], monkeypatch) == 2
            assert words in capsys.readouterr().err
    assert run(["inspect", "empty"], monkeypatch) == 2
    assert capsys.readouterr().err == "cnnkit: `empty` is no run: it has no config.yaml\n"


@pytest.mark.long
def test_a_run_from_a_pipe_has_the_text_that_was_read(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cnnkit", "train", "/dev/stdin", "--run-dir", "run", "--no-report"]
    environment = os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[2])}
    done = subprocess.run(command, input=TEXT, text=True, env=environment, cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert (tmp_path / "run" / "config.source.yaml").read_text() == TEXT
