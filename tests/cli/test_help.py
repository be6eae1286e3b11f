"""`--help` and completion in the shell: examples that each command takes, and names that are completed."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from cnnkit.cli import cli
from cnnkit.cli.examples import EXAMPLES
from cnnkit.config import shipped
from cnnkit.errors import UsageError
from cnnkit.runs.inputs import ImageInputs
from cnnkit.runs.interface import Interface


def commands(group: click.Group, path: str = "") -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        full = f"{path} {name}".strip()
        yield full, command
        if isinstance(command, click.Group):
            yield from commands(command, full)


COMMANDS = dict(commands(cli))


def test_every_command_has_examples_in_its_help() -> None:
    assert set(EXAMPLES) == set(COMMANDS)
    for path, command in COMMANDS.items():
        shown = command.get_help(click.Context(command))
        for example in EXAMPLES[path]:
            assert f"\n    {example}\n" in shown + "\n", path


@pytest.mark.parametrize(("path", "example"), [(path, line) for path, lines in EXAMPLES.items() for line in lines])
def test_an_example_is_what_the_command_takes(path: str, example: str) -> None:
    """Parsed, not carried out; pipes and redirections are the shell's."""
    (line,) = [part.strip() for part in example.split("|") if part.strip().startswith("cnnkit")]
    _, *words = shlex.split(line.partition(" >")[0])
    context = click.Context(cli)
    command: click.Command = cli
    while isinstance(command, click.Group):
        # A group's own options stand before its command.
        _, words, _ = command.make_parser(context).parse_args(words)
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command = found
    assert command is COMMANDS[path] or path in ("show", "data", "launch")
    command.make_context("example", words, resilient_parsing=False)


def completed(line: str, incomplete: str) -> list[str]:
    found = ShellComplete(cli, {}, "cnnkit", "_CNNKIT_COMPLETE").get_completions(line.split(), incomplete)
    return [item.value if item.type == "plain" else f"<{item.type}>" for item in found]


def test_names_are_completed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("digits-1", "digits-2", "mnist-1"):
        os.makedirs(f"runs/{name}")
        Path(f"runs/{name}/config.yaml").touch()
    assert completed("new", "cif") == [name for name in shipped.names() if name.startswith("cif")]
    assert completed("eval", "dig") == ["digits-1", "digits-2", "<dir>"]
    assert completed("train", "") == ["digits-1", "digits-2", "mnist-1", "<file>"]
    assert completed("show filters", "m") == ["mnist-1", "<dir>"]
    for name in ("model.onnx", "exported/mine.ONNX", "exported/mine.onnx.json"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    for command in ("predict", "serve"):
        assert completed(command, "m") == ["mnist-1", "model.onnx", "<dir>"]
        assert completed(command, "exported/") == ["exported/mine.ONNX", "<dir>"]
        assert completed(command, "nowhere/") == ["<dir>"]
    assert completed("eval", "mo") == ["<dir>"]
    Path("model.onnx").unlink()
    for option in ("--resume", "--init-from"):
        assert completed(f"train {option}", "dig") == ["digits-1", "digits-2", "<dir>"]
    for command in COMMANDS.values():
        for argument in command.params:
            named = argument.metavar or ""
            if isinstance(argument, click.Argument) and ("RUN" in named or "CONFIG" in named):
                found = argument.shell_complete(click.Context(command), "mn")
                assert [item.value for item in found] == ["mnist-1", "mn"], (command.name, argument.name)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["train", ""], "CONFIG|FOLDER|TABLE"),
        (["train", "--resume", ""], "--resume"),
        (["new", "--from", ""], "--from"),
        (["new", "digits", "-o", ""], "--output"),
        (["eval", "first", ""], "RUN"),
        (["eval", "--csv", ""], "--csv"),
        (["serve", "run", "--allow-host", ""], "--allow-host"),
        (["data", "info", ""], "NAME|FOLDER|TABLE|CONFIG"),
        (["show", "gradcam", "run", "1.png", "--class", ""], "--class"),
    ],
)
def test_no_name_is_empty(arguments: list[str], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(cli, arguments)
    assert isinstance(done.exception, UsageError)
    assert f'{name}: expected a name, got "" (a string)' in str(done.exception)


def test_an_image_without_a_name_is_not_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1.png").touch()
    inputs = ImageInputs(Interface((8, 8, 1), ("a", "b"), "softmax"))
    assert inputs.collect(["."], None) == [Path("1.png")]
    with pytest.raises(UsageError, match="expected an image file, or a folder of them, got"):
        inputs.collect([""], None)
