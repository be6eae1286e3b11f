"""The live page in a real browser: a training watched from its first epoch to its end, and one that is stopped."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from browser import PageAt, browser, overflow, page_at, serious_findings, wait_until

from cnnkit.runs.directory import Run
from cnnkit.runs.progress import Reporter, read_state

pytest.importorskip("uvicorn", reason="needs the extra `serve`: pip install cnnkit[serve]")

__all__ = ["browser", "page_at"]

ROOT = Path(__file__).parents[2]

#: A training with its page, as the command line puts it together.
TRAIN = """
import sys
import time
from cnnkit.config.load import load_config
from cnnkit.terminal.console import Console
from cnnkit.live.serving import live_page
from cnnkit.runs.progress import evaluating
from cnnkit.runs.evaluation import evaluate_run
from cnnkit.training.train import train

console = Console()
with live_page(console, port=0) as opened:
    trained = train(load_config(sys.argv[1]), console, sys.argv[2], opened=opened)
    with evaluating(trained.run):
        evaluate_run(trained)
"""

WATCH = """
import sys
import time
from pathlib import Path
from cnnkit.live.serving import watch
from cnnkit.runs.directory import Run

watch(Run(Path(sys.argv[1])), port=int(sys.argv[2]))
"""


class LivePage:
    """A page that changes by itself."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def wait(self, expression: str) -> None:
        wait_until(self.page, expression)

    def status(self, text: str) -> None:
        """Waits for a text in the status."""
        self.wait(f"document.getElementById('status').textContent.includes({json.dumps(text)})")

    def check(self) -> None:
        """Nothing wider than the window, no serious finding of axe; `page_at` looks at what the browser reports."""
        assert overflow(self.page) <= 0
        assert serious_findings(self.page) == []

    def forgive_lost_connection(self) -> None:
        """Whoever asks a server that has gone gets such reports; the browser writes them, not the page."""
        lost = ("failed: ", "error: Failed to load resource: net::ERR_CONNECTION_REFUSED")
        self.page.reports[:] = [report for report in self.page.reports if not report.startswith(lost)]


def config(folder: Path, epochs: int) -> str:
    layers = [{"Conv2D": {"filters": 12, "kernel_size": 3}}, "ReLU", "Flatten", {"Dropout": 0.3}, {"Dense": "classes"}]
    content = {
        "data": {"name": "digits", "batch_size": 16, "validation": 0.1},
        "model": {"layers": layers},
        "training": {
            "epochs": epochs,
            "optimizer": {"Adam": {"learning_rate": 0.002}},
            "schedule": "CosineDecay",
            "steps_per_execution": 1,
            "tensorboard": False,
        },
    }
    path = folder / f"net{epochs}.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@contextlib.contextmanager
def process(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", script, *arguments], stdout=subprocess.PIPE, text=True, env=environment
    ) as started:
        try:
            yield started
        finally:
            started.kill()


def address_of(training: subprocess.Popen[str]) -> str:
    """What the process says of the page's address; it prints that before the first epoch."""
    assert training.stdout is not None
    for line in training.stdout:
        if line.startswith("live "):
            return line.split()[1]
    raise AssertionError("no address was printed")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("live")


@pytest.fixture(scope="module")
def long_training(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """One that goes on until it is stopped. It starts while the other is watched."""
    with process(TRAIN, config(folder, 5000), str(folder / "stopped")) as started:
        yield started


@pytest.fixture(scope="module")
def short_training(folder: Path, long_training: Any) -> Iterator[subprocess.Popen[str]]:
    with process(TRAIN, config(folder, 6), str(folder / "watched")) as started:
        yield started


def test_a_training_is_watched_from_its_first_epoch_to_its_end(
    page_at: PageAt, folder: Path, short_training: subprocess.Popen[str]
) -> None:
    run = Run(folder / "watched")
    shown = LivePage(page_at(address_of(short_training)))
    shown.wait("document.getElementById('run-text').textContent === 'epoch 1 of 6'")
    assert shown.page.inner_text("#run") == "watched"
    # The curves begin with the first epoch, and grow with each.
    shown.wait("document.querySelectorAll('#curves circle').length > 0")
    shown.status("Training is over")
    shown.status("Finished")
    shown.status("Test accuracy")
    assert read_state(run)["status"] == "finished"
    accuracy = run.read_json(run.evaluation)["accuracy"]
    assert f"Test accuracy {100 * accuracy:.2f} % (360 images)" in shown.page.inner_text("#status")
    # Five curves in three panels, with a point for each of six epochs.
    assert shown.page.locator("#curves figure").count() == 3
    shown.wait("document.querySelectorAll('#curves circle').length === 30")
    best = max(run.read_metrics(), key=lambda row: (row["val_accuracy"], -row["val_loss"]))
    assert f"best epoch ({best['epoch']:.0f})" in shown.page.inner_text("#curves")
    shown.page.click("summary")
    table = shown.page.locator("#table-body tr").first.inner_text().split()
    last = run.read_metrics()[-1]
    assert float(table[0]) == 6
    assert float(table[1]) == pytest.approx(last["loss"], rel=1e-4)
    # The guesses of the last epoch, marked by more than a colour.
    shown.wait("document.getElementById('filters-caption').textContent === 'After epoch 6'")
    guesses = shown.page.locator("#sample-list li").all_inner_texts()
    assert len(guesses) == 24
    right = sum("✓" in one for one in guesses)
    assert sum("✗" in one for one in guesses) == 24 - right
    assert f"{right} of 24 right" in shown.page.inner_text("#samples-note")
    loaded = "[...document.querySelectorAll('#samples img, #filters img')].every((i) => i.complete && i.naturalWidth)"
    shown.wait(loaded)
    shown.check()
    # The server goes with the training; the page keeps what it has, and says how to see it again.
    assert short_training.wait() == 0
    shown.page.wait_for_selector("#connection:not([hidden])")
    assert f"cnnkit watch {run.name}" in shown.page.inner_text("#connection")
    assert "Test accuracy" in shown.page.inner_text("#status")
    shown.check()
    shown.forgive_lost_connection()


def test_a_training_is_stopped_from_the_page(
    page_at: PageAt, folder: Path, long_training: subprocess.Popen[str]
) -> None:
    run = Run(folder / "stopped")
    shown = LivePage(page_at(address_of(long_training), 390, color_scheme="dark"))
    shown.page.wait_for_selector("#samples:not([hidden])")
    shown.check()
    # With the keyboard alone: what one falls upon is not the button that stops.
    shown.page.focus("#stop")
    shown.page.keyboard.press("Enter")
    shown.page.wait_for_selector("dialog[open]")
    shown.check()
    shown.page.keyboard.press("Enter")
    shown.wait("!document.querySelector('dialog').open")
    assert not run.stop_request.exists()
    shown.page.keyboard.press("Enter")
    shown.page.locator("dialog button[value=stop]").click()
    shown.status("Stopped from the live page")
    shown.status("Test accuracy")
    assert shown.page.locator("#stop").is_hidden()
    shown.check()
    assert long_training.wait() == 0
    assert read_state(run)["status"] == "stopped"
    assert 0 < len(run.read_metrics()) < 5000
    assert run.evaluation.exists()
    shown.forgive_lost_connection()


def test_a_page_connects_again_and_sees_that_a_training_was_killed(page_at: PageAt, tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.path.mkdir()
    code = "from cnnkit.runs.directory import Run; from pathlib import Path\nwith Run(Path('run')).training(): input()"
    trained = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, cwd=tmp_path)
    reporter = Reporter(run, 5, 10)
    reporter._fields["pid"] = trained.pid
    reporter.begin()
    reporter.begin_epoch(1)
    with process(WATCH, str(run.path), "0") as watching:
        address = address_of(watching)
        port = address.rstrip("/").rpartition(":")[2]
        shown = LivePage(page_at(address, 390))
        shown.status("Training.")
    shown.page.wait_for_selector("#connection:not([hidden])")
    assert shown.page.locator("#stop").is_disabled()
    trained.kill()
    trained.communicate()
    with process(WATCH, str(run.path), port) as watching:
        address_of(watching)
        shown.page.wait_for_selector("#connection", state="hidden")
        shown.status(f"Killed: The training process {trained.pid} ended without a word.")
        shown.check()
        watching.send_signal(2)
        assert watching.wait() == 0
    shown.forgive_lost_connection()
