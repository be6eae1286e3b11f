"""SIGTERM and SIGHUP while a run is trained."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
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


def test_within_steps_a_signal_waits() -> None:
    done = []

    def work() -> None:
        with signals.ending_in_order():
            with signals.waiting() as begin:
                begin()
                os.kill(os.getpid(), signal.SIGTERM)
                assert signals.requested()
                done.append("kept")
            raise Interrupted("interrupted")

    with pytest.raises(Interrupted) as caught:
        work()
    assert done == ["kept"]
    assert caught.value.exit_code == 143


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


#: Gets SIGTERM twice, with some seconds between, and says how it went on.
TWICE = """
import os, signal, sys, time
from cnnkit.errors import Interrupted
from cnnkit.training import signals
signals.SECONDS_OF_A_REQUEST = 0.3
try:
    with signals.ending_in_order():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        except KeyboardInterrupt:
            time.sleep(float(sys.argv[1]))
            os.kill(os.getpid(), signal.SIGTERM)
            print("kept")
            raise
except Interrupted as error:
    sys.exit(error.exit_code)
"""


@pytest.mark.parametrize(("seconds", "said"), [(0.0, "kept\n"), (0.5, "")])
def test_a_second_signal_ends_at_once_unless_it_is_the_first_passed_on(seconds: float, said: str) -> None:
    done = subprocess.run([sys.executable, "-c", TWICE, str(seconds)], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (143, said), done.stderr


@pytest.mark.long
def test_a_training_that_is_terminated_keeps_its_steps_and_goes_on(tmp_path: Path) -> None:
    """The real command; 3 epochs of one batch a step, so that the signal meets the middle of one."""
    content = config(data={"batch_size": 4}, training={"epochs": 3, "steps_per_execution": 1})
    file = tmp_path / "net.yaml"
    file.write_text(yaml.safe_dump(content))
    run = Run(tmp_path / "run")
    command = [sys.executable, "-m", "cnnkit", "train", str(file), "--run-dir", str(run.path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        while not run.metrics.exists():
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(0.2)
        begin = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.stderr is not None
        said = process.stderr.read()
    assert process.returncode == 143, said
    assert time.monotonic() - begin < 5
    assert "ended by SIGTERM; " in said
    assert "Continue with: cnnkit train --resume" in said
    assert state(run)["step"] > 0
    resumed = subprocess.run(
        [sys.executable, "-m", "cnnkit", "train", "--resume", str(run.path)], capture_output=True, text=True
    )
    assert resumed.returncode == 0, resumed.stderr
    assert rows(run) == rows(run_training(tmp_path, content, "whole"))
