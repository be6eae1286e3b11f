"""A handful of what kill_test.py and fail_writes.py in scripts/ try, and that they notice what they are to notice."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sharing import copied

from cnnkit.files import TEMPORARY, write_atomically
from cnnkit.runs.directory import Run

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Any, Any]]:
    """The two modules."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import fail_writes
    import kill_test

    yield kill_test, fail_writes
    for name in ("fail_writes", "kill_test"):
        sys.modules.pop(name, None)


def change_weight(run: Run) -> None:
    import keras

    model = keras.models.load_model(run.model, compile=False)
    weights = model.get_weights()
    weights[-1][0] = np.nextafter(weights[-1][0], np.float32(9))
    model.set_weights(weights)
    model.save(run.model)


def change_metrics(run: Run) -> None:
    run.metrics.write_text(re.sub(r"^2,0\.", "2,1.", run.metrics.read_text(), flags=re.MULTILINE))


def change_checkpoint(run: Run) -> None:
    with np.load(run.checkpoint) as stored:
        arrays = dict(stored)
    arrays["optimizer/0/adam/iteration"] = arrays["optimizer/0/adam/iteration"] + 1
    np.savez(run.checkpoint, **arrays)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        (lambda run: None, None),
        (change_metrics, "metrics.csv"),
        (change_weight, "model.keras"),
        (change_checkpoint, "checkpoint"),
        (lambda run: run.predictions.write_text(run.predictions.read_text() + " "), "predictions.csv"),
        (lambda run: next(run.tensorboard.rglob("events*")).write_bytes(b""), "tensorboard"),
        (lambda run: run.evaluation.unlink(), "evaluation.json is missing"),
        (lambda run: run.curves.unlink(), "plots/curves.png is missing"),
        (lambda run: (run.live / f"{TEMPORARY}x.json").touch(), f"{TEMPORARY}x.json is left over"),
    ],
)
def test_a_difference_is_noticed(
    scripts: tuple[Any, Any], digits_run: Run, tmp_path: Path, change: Callable[[Run], Any], difference: str | None
) -> None:
    run = copied(digits_run, tmp_path)
    change(run)
    differences = scripts[0].differences(run.path, digits_run.path)
    if difference is None:
        assert differences == []
    else:
        assert any(found.startswith(difference) for found in differences), differences
        assert len(differences) <= 2


@pytest.mark.long
def test_a_broken_file_is_noticed(scripts: tuple[Any, Any], digits_run: Run, tmp_path: Path) -> None:
    fail_writes = scripts[1]
    run = copied(digits_run, tmp_path)
    run.report.write_text("<html></html>\n")
    assert fail_writes.broken(run.path) == []
    paths = [path for path in run.path.rglob("*") if path.suffix in fail_writes._READERS]
    assert {path.suffix for path in paths} == set(fail_writes._READERS)
    for path in paths:
        whole = path.read_bytes()
        os.truncate(path, len(whole) // 2)
        broken = [text.split(" is broken")[0] for text in fail_writes.broken(run.path)]
        assert broken == [str(path.relative_to(run.path))]
        path.write_bytes(whole)
    # Between two lines.
    run.metrics.write_text("".join(run.metrics.read_text().splitlines(keepends=True)[:-1]))
    (broken,) = fail_writes.broken(run.path)
    assert broken.startswith("metrics.csv is broken")


@pytest.mark.parametrize("way", ["ENOSPC", "EIO", "short", "killed"])
def test_a_fault_is_at_each_step_of_a_file_and_what_is_written_is_whole(
    scripts: tuple[Any, Any], tmp_path: Path, way: str
) -> None:
    fail_writes = scripts[1]
    steps = fail_writes.STEPS if way != "short" else ("write", "fsync")
    for number, step in enumerate(fail_writes.STEPS, 1):
        folder = tmp_path / step
        folder.mkdir()
        path = folder / "metrics.csv"
        path.write_text("old\n")
        fault = fail_writes.Fault(folder, way, number)
        if step not in steps:
            with fault.active():
                write_atomically(path, "new\n")
            assert fault.hit is None
            continue
        expected = fail_writes.Killed if way == "killed" else OSError
        with fault.active():
            try:
                write_atomically(path, "new\n")
            except expected:
                pass
            else:
                pytest.fail("nothing failed")
        assert fault.hit[0] == step
        assert path.read_text() == ("new\n" if step == "folder" else "old\n")
        left = [name for name in os.listdir(folder) if name.startswith(TEMPORARY)]
        assert len(left) == (way == "killed" and step in ("write", "fsync", "rename"))


@pytest.mark.long
@pytest.mark.parametrize(
    ("script", "options"),
    [
        ("kill_test.py", ["--kills", "3", "--configs", "Adam, EMA"]),
        # Some faults of each way.
        ("fail_writes.py", ["--stride", "43"]),
    ],
)
def test_trainings_come_to_the_same_end(script: str, options: list[str]) -> None:
    done = subprocess.run([sys.executable, str(SCRIPTS / script), *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    rows = [line.split("|") for line in done.stdout.splitlines()[2:]]
    assert rows
    assert {row[-2].strip() for row in rows} == {"0"}
