"""Data sets that are not there: what happens without a network, and with one that says nothing."""

from __future__ import annotations

import itertools
import json
import socket
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from cnnkit.config.data import DataConfig
from cnnkit.data import load, prepare
from cnnkit.data.download import fetch
from cnnkit.errors import CnnkitError
from cnnkit.machine import fetching


@pytest.fixture(autouse=True)
def empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    return tmp_path / "tfds"


@pytest.fixture
def silent_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A network that takes every connection and never answers: a proxy of that kind for the child."""
    server = socket.create_server(("127.0.0.1", 0))
    connections = []

    def accept() -> None:
        while True:
            try:
                connections.append(server.accept()[0])
            except OSError:
                return

    threading.Thread(target=accept, daemon=True).start()
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{server.getsockname()[1]}")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield
    server.close()
    for connection in connections:
        connection.close()


@pytest.fixture
def fast_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three seconds pass between two looks at the clock, so that children need not sleep, and may be slow to start."""
    seconds = itertools.count(step=3)
    monkeypatch.setattr(fetching, "time", SimpleNamespace(monotonic=lambda: next(seconds)))


def child(code: str) -> list[str]:
    """A child process that reports as the real one does."""
    start = "import json, os, time\ndef say(**report): print(json.dumps(report), flush=True)\n"
    return [sys.executable, "-c", start + code]


def assert_three_ways_out(error: CnnkitError) -> None:
    assert error.exit_code == 1
    for way in ("network", "TFDS_DATA_DIR", "`folder:`"):
        assert way in str(error)


@pytest.mark.long
def test_a_network_that_says_nothing_ends_in_the_three_ways_out(silent_network: None) -> None:
    with pytest.raises(CnnkitError, match=r"no byte has arrived for 2 s") as caught:
        fetch("fashion_mnist", stall_seconds=2)
    assert_three_ways_out(caught.value)


def test_a_network_that_refuses_ends_in_the_three_ways_out(monkeypatch: pytest.MonkeyPatch) -> None:
    server = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{server.getsockname()[1]}"
    server.close()  # nobody listens there now
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, address)
    with pytest.raises(CnnkitError, match="fashion_mnist") as caught:
        load(DataConfig.model_validate({"name": "fashion_mnist"}), 0)
    assert_three_ways_out(caught.value)


def test_a_config_can_forbid_the_download() -> None:
    with pytest.raises(CnnkitError, match=r"data\.download") as caught:
        load(DataConfig.model_validate({"name": "mnist", "download": False}), 0)
    assert_three_ways_out(caught.value)


def test_a_name_that_tensorflow_datasets_does_not_know_is_answered_with_the_nearest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # A child that has not begun to work on a busy machine looks like one that waits for the network.
    monkeypatch.setattr(fetching, "FIRST_BYTE_SECONDS", 300.0)
    with pytest.raises(CnnkitError, match="did you mean `kmnist`"):
        fetch("kmnistt", stall_seconds=300)


@pytest.mark.usefixtures("fast_clock")
def test_a_slow_download_that_progresses_goes_on(empty_folder: Path) -> None:
    folder = empty_folder / "kmnist" / "1.0.0"
    code = (
        "for count in range(1, 6):\n"
        "    say(bytes=count, cpu=0.01)\n"
        f"os.makedirs({str(folder)!r})\n"
        "for name in ('dataset_info.json', 'features.json'):\n"
        f"    open(os.path.join({str(folder)!r}, name), 'w').close()\n"
        "say(done=True)\n"
    )
    # Longer than the patience, which each byte renews.
    assert fetch("kmnist", stall_seconds=20, command=child(code)) == folder


def test_a_download_that_stops_is_ended() -> None:
    code = "say(bytes=1000, cpu=0.0)\nwhile True:\n    time.sleep(0.2)\n    say(bytes=1000, cpu=0.01)\n"
    with pytest.raises(CnnkitError, match="no byte has arrived for 1 s"):
        fetch("kmnist", stall_seconds=1, command=child(code))


@pytest.mark.usefixtures("fast_clock")
def test_work_without_bytes_goes_on() -> None:
    code = "for count in range(5):\n    say(bytes=0, cpu=float(count))\nsay(error='failed', message='end')\n"
    with pytest.raises(CnnkitError, match="cannot prepare `kmnist`: end"):
        fetch("kmnist", stall_seconds=20, command=child(code))


def test_a_child_that_dies_is_reported_with_its_last_words() -> None:
    with pytest.raises(CnnkitError, match=r"ended early .*ZeroDivisionError"):
        fetch("kmnist", command=child("1 / 0"))


def test_prepared_data_are_found_without_a_child(empty_folder: Path) -> None:
    folder = empty_folder / "kmnist" / "3.0.1"
    folder.mkdir(parents=True)
    for name in ("dataset_info.json", "features.json"):
        (folder / name).write_text(json.dumps({}))
    assert fetch("kmnist", command=["no such program"]) == folder


def test_digits_need_no_preparing() -> None:
    assert prepare("digits") is None
