"""`cnnkit launch`: what it refuses, and what its workers are told to do. What becomes of them: tests/launch."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path
from typing import Any

import click
import pytest
from commands import run

from cnnkit.cli.launching import OF_THE_START
from cnnkit.cli.training import train
from cnnkit.launch import launching
from cnnkit.launch.cluster import Cluster
from cnnkit.launch.launching import Command

HERE = ["launch", "--workers", "2", "train"]


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Cluster, Command, int]]:
    """What `launch` is called with; nothing is started."""
    calls: list[tuple[Cluster, Command, int]] = []

    def launch(*arguments: Any) -> int:
        calls.append(arguments)  # type: ignore[arg-type]
        return 143

    monkeypatch.setattr(launching, "launch", launch)
    monkeypatch.delenv("TF_CONFIG", raising=False)
    return calls


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["launch"], "Usage: cnnkit launch"),
        (["launch", "train", "net.yaml"], "how many workers? expected --workers N, or --hosts"),
        (["launch", "--workers", "2", "eval", "run"], "only `train` can be launched, got `eval`"),
        (["launch", "--workers", "2", "--", "ls"], "only `train` can be launched, got `ls`"),
        (["launch", "--workers", "0", "train", "net.yaml"], "'--workers': 0 is not in the range"),
        (["launch", "--workers", "2", "--rank", "0", "train", "net.yaml"], "leave out one or the other"),
        (["launch", "--workers", "2", "--hosts", "a:1,b:1", "train", "net.yaml"], "leave out one or the other"),
        (["launch", "--rank", "0", "train", "net.yaml"], "--rank goes with --hosts; expected"),
        (["launch", "--hosts", "a:1,b:1", "train", "net.yaml"], "which of the 2 hosts is this one?"),
        (["launch", "--hosts", "a:1,b:1", "--rank", "2", "train", "net.yaml"], "expected --rank 0 to 1, got 2"),
        (["launch", "--hosts", "a:1,a:1", "--rank", "0", "train", "net.yaml"], "`a:1` comes twice"),
        (["launch", "--hosts", "a:1,b", "--rank", "0", "train", "net.yaml"], "expected HOST:PORT, got `b`"),
        (["launch", "--hosts", "a:1,", "--rank", "0", "train", "net.yaml"], "expected HOST:PORT, got ``"),
        (["launch", "--hosts", "a:0,b:1", "--rank", "0", "train", "net.yaml"], "a port from 1 to 65535, got `a:0`"),
        (["launch", "--hosts", "a:65536", "--rank", "0", "train", "net.yaml"], "a port from 1 to 65535, got `a:65536`"),
        (["launch", "--hosts", "http://a:1", "--rank", "0", "train", "net.yaml"], "got `http://a:1`"),
        ([*HERE, "net.yaml", "--seeds", "3"], "leave out --seeds"),
        ([*HERE, "net.yaml", "--tune"], "leave out --tune"),
        ([*HERE, "net.yaml", "--no-such-option"], "No such option"),
    ],
)
def test_what_cannot_be_launched_is_refused_by_name(
    arguments: list[str],
    said: str,
    launched: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run(arguments, monkeypatch) == 2
    assert said in capfd.readouterr().err
    assert launched == []


def test_a_cluster_of_somebody_else_is_left_alone(
    launched: list[Any], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TF_CONFIG", "{}")
    assert run([*HERE, "net.yaml"], monkeypatch) == 2
    assert capfd.readouterr().err.startswith("cnnkit: TF_CONFIG is set")
    assert launched == []


def test_addresses_are_names_or_numbers(launched: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    hosts = "node-1.example:2222, 10.0.0.2:2222,[fe80::1]:65535"
    assert run(["launch", "--hosts", hosts, "--rank", "2", "--restart", "4", "train", "net.yaml"], monkeypatch) == 143
    ((cluster, command, restarts),) = launched
    assert cluster == Cluster(3, ("node-1.example:2222", "10.0.0.2:2222", "[fe80::1]:65535"), 2)
    assert restarts == 4
    assert command.arguments(None) == ["train", "net.yaml"]


def parsed(words: list[str]) -> dict[str, Any]:
    return train.make_context("train", list(words)).params


def sample(option: click.Option) -> list[str]:
    """An option with a value that it takes."""
    if option.is_flag:
        return [option.opts[0]]
    value = "7" if isinstance(option.type, click.IntRange) else "-a b=c"
    return [option.opts[0], value, option.opts[0], f"{value}0"] if option.multiple else [option.opts[0], value]


def test_workers_get_the_options_that_launch_got(launched: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """All of them, also those of a later day; for a restart those that its config.yaml does not have already."""
    options = [option for option in train.params if isinstance(option, click.Option)]
    here = [option for option in options if option.name not in ("seeds", "tune")]
    words = [word for option in here for word in sample(option)]
    assert run([*HERE, *words, "net.yaml"], monkeypatch) == 143
    ((cluster, command, restarts),) = launched
    assert (cluster, restarts) == (Cluster(2), 0)
    program, *first = command.arguments(None)
    assert program == "train"
    assert parsed(first) == parsed([*words, "net.yaml"])
    assert "--debug" in first
    program, *again = command.arguments("runs/a b")
    assert program == "train"
    kept = [word for option in here if option.name not in OF_THE_START for word in sample(option)]
    assert parsed(again) == parsed([*kept, "--resume", "runs/a b"])
    # A new option of `train` belongs into one or the other.
    kept_names = {"no_eval", "no_report", "live", "host", "allowed_hosts", "port", "debug", "allow_other_workers"}
    assert {option.name for option in here} - set(OF_THE_START) <= kept_names
    # `train` refuses these beside --resume.
    assert {"run_dir", "init_from"} <= set(OF_THE_START)


def test_options_that_were_not_given_are_not_made_up(launched: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run([*HERE, "--resume", "digits-1"], monkeypatch) == 143
    ((_, command, _),) = launched
    assert command.arguments(None) == ["train", "--resume=digits-1"]


def test_a_config_whose_name_looks_like_an_option(launched: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    assert run([*HERE, "--", "--tune"], monkeypatch) == 143
    ((_, command, _),) = launched
    assert parsed(command.arguments(None)[1:])["config"] == "--tune"


def test_a_config_from_a_pipe_is_read_once_for_all(
    launched: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Input:
        buffer = io.BytesIO(b"seed: 1\n")

    monkeypatch.setattr(sys, "stdin", Input())
    monkeypatch.setattr("cnnkit.format.files._streams", {})
    assert run([*HERE, "-"], monkeypatch) == 143
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    threading.Thread(target=pipe.write_text, args=("seed: 2\n",), daemon=True).start()
    assert run([*HERE, str(pipe)], monkeypatch) == 143
    assert [command.config for _, command, _ in launched] == [b"seed: 1\n", b"seed: 2\n"]
    assert [command.arguments(None) for _, command, _ in launched] == [["train", "-"]] * 2
