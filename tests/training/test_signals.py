"""Ctrl-C, SIGTERM and SIGHUP while a run is trained."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import run as command
from sharing import shared_run
from trainings import config, rows, run_training, state

from cnnkit.errors import Interrupted
from cnnkit.runs.directory import Run
from cnnkit.training import signals

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_acts_as_ctrl_c_with_its_own_exit_code(number: signal.Signals, code: int) -> None:
    # Whoever runs the tests may have it ignored, as `nohup` does.
    before = signal.signal(number, signal.SIG_DFL)

    def work() -> None:
        with signals.ending_in_order():
            try:
                os.kill(os.getpid(), number)
                time.sleep(10)
            except KeyboardInterrupt:
                raise Interrupted("interrupted; 3 epochs are kept", "Go on.") from None

    try:
        with pytest.raises(Interrupted, match=f"^ended by {number.name}; 3 epochs are kept") as caught:
            work()
        assert signal.getsignal(number) is signal.SIG_DFL
    finally:
        signal.signal(number, before)
    assert (caught.value.exit_code, caught.value.hint) == (code, "Go on.")
    assert not signals.requested()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_within_steps_a_signal_waits(number: signal.Signals, code: int) -> None:
    done = []

    def work() -> None:
        with signals.ending_in_order():
            with signals.waiting() as begin:
                begin()
                os.kill(os.getpid(), number)
                assert signals.requested()
                done.append("kept")
            raise Interrupted("interrupted")

    with pytest.raises(Interrupted) as caught:
        work()
    assert done == ["kept"]
    assert caught.value.exit_code == code
    assert caught.value.message == ("interrupted" if code == 130 else "ended by SIGTERM")


def test_ctrl_c_does_what_it_did_outside_of_steps() -> None:
    """The command notes it: compiled modules turn it into errors of their own."""
    noted = []

    def interrupt(number: int, frame: Any) -> None:
        noted.append(number)
        raise KeyboardInterrupt

    def work() -> None:
        with signals.ending_in_order():
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            work()
        assert signal.getsignal(signal.SIGINT) is interrupt
    finally:
        signal.signal(signal.SIGINT, before)
    assert noted == [signal.SIGINT]


def test_an_ignored_signal_stays_ignored_and_ctrl_c_stays_ctrl_c() -> None:
    def work() -> None:
        with signals.ending_in_order():
            os.kill(os.getpid(), signal.SIGHUP)
            assert not signals.requested()
            raise Interrupted("interrupted")

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pytest.raises(Interrupted) as caught:
            work()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert caught.value.exit_code == 130


#: Gets a signal twice, with some seconds between, and says how it went on.
TWICE = """
import os, signal, sys, time
from cnnkit.errors import Interrupted
from cnnkit.training import signals
number = getattr(signal, sys.argv[1])
signal.signal(number, signal.default_int_handler)
try:
    with signals.ending_in_order():
        try:
            os.kill(os.getpid(), number)
        except KeyboardInterrupt:
            time.sleep(float(sys.argv[2]))
            os.kill(os.getpid(), number)
            print("kept")
            raise
except Interrupted as error:
    sys.exit(error.exit_code)
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize(
    ("name", "code", "seconds", "said"),
    [
        ("SIGTERM", 143, 0.0, "kept\n"),
        ("SIGTERM", 143, signals.SECONDS_OF_A_REQUEST + 0.1, ""),
        ("SIGINT", 130, 0.0, "kept\n"),
        ("SIGINT", 130, 0.2, ""),
    ],
)
def test_a_second_signal_ends_at_once_unless_it_is_the_first_passed_on(
    name: str, code: int, seconds: float, said: str
) -> None:
    done = subprocess.run([sys.executable, "-c", TWICE, name, str(seconds)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (code, said), done.stderr


#: 3 epochs of one batch a step, so that a signal meets the middle of one.
OF_MANY_STEPS = config(data={"batch_size": 4}, training={"epochs": 3, "steps_per_execution": 1})


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    yield from shared_run(tmp_path_factory, "many_steps", lambda folder: run_training(folder, OF_MANY_STEPS, "run"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "code", "words"), [(signal.SIGTERM, 143, "ended by SIGTERM; "), (signal.SIGINT, 130, "interrupted; ")]
)
def test_a_training_that_is_ended_keeps_its_steps_and_goes_on(
    number: signal.Signals, code: int, words: str, whole_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real command, in a process of its own."""
    file = tmp_path / "net.yaml"
    file.write_text(yaml.safe_dump(OF_MANY_STEPS))
    run = Run(tmp_path / "run")
    training = [sys.executable, "-m", "cnnkit", "train", str(file), "--run-dir", str(run.path)]
    with subprocess.Popen(training, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while not run.metrics.exists():
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.2)
        begin = time.monotonic()
        process.send_signal(number)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == code, said
    assert time.monotonic() - begin < 5
    assert words in said
    assert "Continue with: cnnkit train --resume" in said
    assert state(run)["step"] > 0
    assert command(["train", "--resume", str(run.path), "--no-eval", "--no-report"], monkeypatch) == 0
    assert rows(run) == rows(whole_run)
