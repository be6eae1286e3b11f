"""The live page without a browser: what a training tells of itself, how it is stopped, and what the server answers."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import socket
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from trainings import rows

from cnnkit.cli import cli
from cnnkit.config.load import load_config
from cnnkit.errors import CnnkitError
from cnnkit.live import serving
from cnnkit.runs import progress
from cnnkit.runs.best import Monitor
from cnnkit.runs.directory import Run
from cnnkit.runs.progress import Reporter, evaluating, is_complete, read_state, request_stop
from cnnkit.runs.trained import open_run
from cnnkit.terminal.console import Console
from cnnkit.training import callbacks, snapshots
from cnnkit.training.train import resume, train


def config(folder: Path, **training: Any) -> str:
    """A small network on the digits, with everything random switched on, and averaged weights."""
    content = {
        "seed": 3,
        "data": {"name": "digits", "batch_size": 64, "validation": 0.1},
        "augmentation": [{"RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1}}],
        "model": {
            "layers": [
                {"GaussianNoise": 0.1},
                {"Conv2D": {"filters": 8, "kernel_size": 3, "activity_regularizer": {"L2": {"l2": 0.001}}}},
                "BatchNormalization",
                "ReLU",
                "Flatten",
                {"Dropout": 0.3},
                {"Dense": "classes"},
            ]
        },
        "training": {
            "epochs": 3,
            "optimizer": {"Adam": {"learning_rate": 0.01, "use_ema": True, "ema_momentum": 0.9}},
            "tensorboard": False,
            **training,
        },
    }
    path = folder / "net.yaml"
    path.write_text(yaml.safe_dump(content))
    return str(path)


@contextlib.contextmanager
def eagerness() -> Iterator[None]:
    """Every look is written, and every epoch has a snapshot, however short it is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(callbacks, "SECONDS_BETWEEN_LOOKS", 0)
        patch.setattr(progress, "SECONDS_BETWEEN_WRITES", 0)
        patch.setattr(snapshots, "FIRST_SECONDS", 0)
        patch.setattr(snapshots, "SHARE", 0)
        yield


@pytest.fixture
def eager() -> Iterator[None]:
    with eagerness():
        yield


def run_training(folder: Path, overrides: tuple[str, ...] = (), name: str = "run", **options: Any) -> Run:
    loaded = load_config(config(folder), overrides)
    return train(loaded, Console(stream=io.StringIO()), str(folder / name), **options).run


def stop_in_epoch(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody presses the stop button at the first look of an epoch."""
    look = Reporter.look

    def press(self: Reporter, *figures: Any) -> None:
        if self._fields["epoch"] == epoch:
            assert request_stop(self.run)
        look(self, *figures)

    monkeypatch.setattr(Reporter, "look", press)


# --- What a training writes -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def unwatched(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same training where nothing is written for the page."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(snapshots.Snapshots, "take", lambda *_: None)
        patch.setattr(progress, "_write", lambda *_: None)
        return run_training(tmp_path_factory.mktemp("unwatched"))


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Run:
    with eagerness():
        return run_training(tmp_path_factory.mktemp("watched"))


@pytest.mark.long
def test_a_watched_training_learns_the_same_bit_for_bit(unwatched: Run, watched: Run) -> None:
    assert not unwatched.live_snapshot.exists()
    assert watched.live_snapshot.exists()
    assert rows(watched) == rows(unwatched)
    with np.load(watched.checkpoint) as ours, np.load(unwatched.checkpoint) as theirs:
        assert set(ours.files) == set(theirs.files)
        # Dropout's and the noise's random states are among them.
        for name in set(ours.files) - {"state"}:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


@pytest.mark.usefixtures("eager")
def test_the_state_follows_a_training_from_start_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without validation, model.keras holds the last epoch's averaged weights: the truth for the last snapshot."""
    import keras

    written: list[dict[str, Any]] = []
    write = progress._write
    monkeypatch.setattr(progress, "_write", lambda run, fields: (written.append(dict(fields)), write(run, fields)))
    seen: list[str] = []
    run = run_training(
        tmp_path, ("data.validation=0",), opened=lambda opened: seen.append(read_state(opened)["status"])
    )
    assert seen == ["starting"]
    statuses = [one["status"] for one in written]
    assert list(dict.fromkeys(statuses)) == ["starting", "training", "evaluating", "finished"]
    training = [one for one in written if one["status"] == "training"]
    # 1,437 images to train on in batches of 64.
    assert {one["steps"] for one in training} == {23}
    assert [one["epoch"] for one in training] == sorted(one["epoch"] for one in training)
    assert {one["epoch"] for one in training} == {1, 2, 3}
    steps = [one["step"] for one in training if one["epoch"] == 2]
    assert steps == sorted(steps)
    assert steps[0] == 0
    assert steps[-1] == 23
    assert len(set(steps)) > 2
    looked = [one for one in training if one.get("eta_seconds") and 0 < one["step"] < 23]
    assert all(0 < one["loss"] < 20 and 0 <= one["accuracy"] <= 1 for one in looked)
    last = read_state(run)
    assert (last["status"], last["epochs_done"], last["pid"]) == ("finished", 3, os.getpid())
    assert abs(time.time() - last["updated"]) < 600
    final = rows(run)[-1]
    assert last["loss"] == pytest.approx(float(final["loss"]), rel=1e-6)

    model = keras.models.load_model(run.model, compile=False)
    samples, snapshot = np.load(run.live_samples), np.load(run.live_snapshot)
    assert int(snapshot["epoch"]) == last["snapshot_epoch"] == 3
    np.testing.assert_array_equal(snapshot["kernel"], np.asarray(model.layers[2].kernel))
    logits = np.asarray(model(samples["images"], training=False), np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(snapshot["probabilities"], expected, atol=1e-5)


@pytest.mark.long
@pytest.mark.usefixtures("eager")
def test_test_images_that_cannot_be_read_do_not_disturb_the_training(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from PIL import Image

    random = np.random.default_rng(0)
    for split, number in (("train", 20), ("test", 2)):
        for kind in ("a", "b"):
            folder = tmp_path / "photos" / split / kind
            folder.mkdir(parents=True)
            for index in range(number):
                Image.fromarray(random.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / f"{index}.png")
    (tmp_path / "photos" / "test" / "a" / "0.png").write_bytes(b"no picture")
    overrides = (
        f"data.folder={tmp_path / 'photos'}",
        "data.batch_size=8",
        "training.epochs=1",
        # What is kept in memory is decoded, test images too, before training begins.
        "data.memory=stream",
    )
    run = run_training(tmp_path, overrides)
    assert "the live page shows no test images: cannot read the image file" in caplog.text
    assert "cannot read the image file" in read_state(run)["images_problem"]
    assert len(rows(run)) == 1
    with np.load(run.live_snapshot) as snapshot:
        assert set(snapshot.files) == {"epoch", "kernel"}


# --- How it ends ------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.usefixtures("eager")
def test_a_stopped_run_is_measured_and_can_be_resumed(
    unwatched: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_in_epoch(2, patch)
        done = CliRunner().invoke(cli, ["train", config(tmp_path), "--run-dir", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    run = Run(tmp_path / "run")
    assert f"stopped from the live page; 1 epoch is kept. Continue with: cnnkit train --resume {run.path}" in (
        done.output
    )
    assert "stopped from the live page" in run.log.read_text()
    assert rows(run) == rows(unwatched)[:1]
    assert run.evaluation.exists()
    assert run.curves.exists()
    last = read_state(run)
    assert (last["status"], last["epochs_done"]) == ("stopped", 1)
    assert not request_stop(run)
    # One that was asked for too late, or of a process that was killed, is not for the next.
    run.stop_request.touch()
    resume(str(run.path), None, (), Console(stream=io.StringIO()))
    assert rows(run) == rows(unwatched)
    assert read_state(run)["status"] == "finished"


@pytest.mark.long
@pytest.mark.usefixtures("eager")
def test_a_run_stopped_in_its_first_epoch_keeps_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnkit.runs.evaluation import evaluate_run

    stop_in_epoch(1, monkeypatch)
    run = run_training(tmp_path)
    assert not run.metrics.exists()
    assert evaluate_run(open_run(run))["images"] == 360
    last = read_state(run)
    assert last["status"] == "stopped"
    assert "no checkpoint to resume" in last["message"]


@pytest.mark.long
def test_a_failed_and_an_interrupted_run_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CnnkitError, match=r"became (nan|inf|non-finite)"):
        run_training(tmp_path, ("training.optimizer.Adam.learning_rate=1e30",), "failed")
    failed = read_state(Run(tmp_path / "failed"))
    assert failed["status"] == "failed"
    assert "learning rate" in failed["message"]

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(callbacks.EpochClock, "on_epoch_begin", interrupt)
    with pytest.raises(CnnkitError, match="interrupted"):
        run_training(tmp_path, (), "interrupted")
    assert read_state(Run(tmp_path / "interrupted"))["status"] == "interrupted"


@pytest.mark.long
def test_a_run_killed_after_its_last_checkpoint_shows_its_last_epoch(
    watched: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However short the process is that goes on."""
    from cnnkit.training import live_files

    class Killed(BaseException):
        pass

    original = live_files.LiveFiles.on_epoch_end

    def end(self: Any, epoch: int, logs: Any = None) -> None:
        if epoch == 2:
            raise Killed
        original(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(live_files.LiveFiles, "on_epoch_end", end)
        patch.setattr(snapshots, "FIRST_SECONDS", math.inf)
        with pytest.raises(Killed):
            run_training(tmp_path)
    run = Run(tmp_path / "run")
    assert not run.live_snapshot.exists()
    resume(str(run.path), None, (), Console(stream=io.StringIO()))
    with np.load(run.live_snapshot) as ours, np.load(watched.live_snapshot) as theirs:
        assert set(ours.files) == set(theirs.files)
        for name in ours.files:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)
    assert run.live_samples.read_bytes() == watched.live_samples.read_bytes()
    shown, expected = read_state(run), read_state(watched)
    told = {"status", "epochs_done", "best_epoch", "monitor", "snapshot_epoch", "filters", "images", "loss", "accuracy"}
    assert {name: shown[name] for name in told} == {name: expected[name] for name in told}


def test_a_run_that_was_trained_further_lacks_its_evaluation_and_report(left: Run) -> None:
    """Those of before are there; its process was killed between the last epoch and the evaluation."""
    left.write_metrics([{"epoch": 1, "loss": 1.0}])
    Reporter(left, 1, 10).end("finished", "trained 1 epoch")
    assert not is_complete(left)
    for number, path in enumerate((left.metrics, left.evaluation, left.report)):
        path.touch()
        os.utime(path, ns=(0, number))
    assert is_complete(left)
    os.utime(left.metrics, ns=(0, 2))
    assert not is_complete(left)


@pytest.fixture
def left(tmp_path: Path) -> Run:
    """A run whose process has left without a last word."""
    run = Run(tmp_path / "running")
    run.path.mkdir()
    run.config.write_text("")
    reporter = Reporter(run, 5, 10)
    reporter.begin()
    reporter.begin_epoch(1)
    return run


@pytest.fixture
def running(left: Run) -> Iterator[Run]:
    """A run that this process seems to train."""
    with left.training():
        yield left


def test_a_killed_process_is_recognised(left: Run) -> None:
    fields = left.read_json(left.live_state)
    with left.training():
        # A process that is there may say nothing for hours, as in a long evaluation.
        left.write_json(left.live_state, fields | {"updated": time.time() - 36000})
        assert read_state(left)["status"] == "training"
    killed = read_state(left)
    assert (killed["status"], str(os.getpid()) in killed["message"]) == ("killed", True)
    assert not request_stop(left)
    # Another machine's lock may not be seen from here; only a long silence tells.
    left.write_json(left.live_state, fields | {"machine": "elsewhere"})
    assert read_state(left)["status"] == "training"
    left.write_json(left.live_state, fields | {"machine": "elsewhere", "updated": time.time() - 3600})
    silent = read_state(left)
    assert (silent["status"], "60 minutes" in silent["message"]) == ("silent", True)


def test_who_may_not_write_the_run_is_told_so(running: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    testclient = pytest.importorskip("fastapi.testclient", reason="needs httpx")
    from cnnkit.live import server

    def refuse(run: Run) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(server, "request_stop", refuse)
    client = testclient.TestClient(server.LiveApp(running, "127.0.0.1"), base_url="http://127.0.0.1:8017")
    answer = client.post("/stop")
    assert answer.status_code == 403
    assert "cannot be written: Permission denied" in answer.json()["detail"]


def test_the_evaluation_shows_in_the_state_and_leaves_it(left: Run) -> None:
    Reporter(left, 5, 10).end("stopped", "as asked")
    with evaluating(left):
        assert read_state(left)["status"] == "evaluating"
    assert read_state(left)["status"] == "stopped"
    with pytest.raises(ValueError, match="broken"), evaluating(left):
        raise ValueError("broken")
    last = read_state(left)
    assert (last["status"], last["message"]) == ("failed", "the evaluation failed: broken")


def test_a_folder_that_cannot_be_written_does_not_end_the_training(tmp_path: Path) -> None:
    (tmp_path / "live").write_text("in the way")
    reporter = Reporter(Run(tmp_path), 5, 10)
    reporter.begin()
    reporter.begin_epoch(1)
    reporter.look(1, 1.0, 64, {"loss": 0.5})
    assert read_state(Run(tmp_path))["status"] == "unknown"


# --- The server -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(watched: Run) -> Run:
    from cnnkit.runs.evaluation import evaluate_run

    with evaluating(watched):
        evaluate_run(open_run(watched))
    return watched


@pytest.fixture
def client(finished: Run) -> Any:
    pytest.importorskip("fastapi", reason="needs the extra `serve`: pip install cnnkit[serve]")
    testclient = pytest.importorskip("fastapi.testclient", reason="needs httpx")
    from cnnkit.live.server import LiveApp

    return testclient.TestClient(LiveApp(finished, "127.0.0.1"), base_url="http://127.0.0.1:8017")


def test_the_server_tells_the_state_rows_and_test_metrics(client: Any, finished: Run) -> None:
    answer = client.get("/state").json()
    assert answer["status"] == "finished"
    assert [row["epoch"] for row in answer["rows"]] == [1, 2, 3]
    assert answer["rows"][0]["val_loss"] == pytest.approx(float(rows(finished)[0]["val_loss"]))
    metrics = finished.read_json(finished.evaluation)
    assert answer["test"] == {name: metrics[name] for name in ("accuracy", "loss", "images")} | {"samples": "images"}
    assert answer["figures"] == [
        {"name": "loss", "label": "loss", "is_share": False},
        {"name": "accuracy", "label": "accuracy", "is_share": True},
    ]
    for name in ("loss", "accuracy"):
        assert answer[name] == pytest.approx(answer["rows"][-1][name], rel=1e-6)
    assert answer["stopping"] is False
    assert (answer["best_epoch"], answer["monitor"]) == (Monitor().best_epoch(answer["rows"]), "val_accuracy")


def test_the_server_shows_kernels_and_guesses(client: Any, finished: Run) -> None:
    from PIL import Image

    guesses = client.get("/samples").json()
    assert guesses["epoch"] == 3
    assert guesses["kind"] == "classes"
    assert len(guesses["images"]) == 24
    with np.load(finished.live_snapshot) as snapshot, np.load(finished.live_samples) as samples:
        probabilities, labels, images = snapshot["probabilities"], samples["labels"], samples["images"]
    for one, row, label in zip(guesses["images"], probabilities, labels, strict=True):
        assert one["class"] == str(label)
        assert one["right"] == (row.argmax() == label)
        assert one["top"][0] == {"class": str(row.argmax()), "probability": pytest.approx(row.max())}
    shown = Image.open(io.BytesIO(client.get("/images/5.png").content))
    np.testing.assert_array_equal(np.asarray(shown), images[5][..., 0])
    before, now = (client.get(f"/filters.png?when={when}").content for when in ("before", "now"))
    assert before != now
    # 8 kernels of 3x3 in 3 rows; the place of the ninth is empty.
    picture = Image.open(io.BytesIO(now))
    assert picture.mode == "RGBA"
    assert picture.getpixel((picture.width - 1, picture.height - 1))[3] == 0
    assert picture.getpixel((0, picture.height - 1))[3] == 255
    for missing in ("/images/24.png", "/images/-1.png"):
        assert client.get(missing).status_code == 404


def test_the_page_and_its_parts_are_served_with_a_policy(client: Any) -> None:
    for address, kind in (
        ("/", "text/html"),
        ("/static/main.js", "text/javascript"),
        ("/static/style.css", "text/css"),
        ("/static/common.css", "text/css"),
    ):
        answer = client.get(address)
        assert answer.status_code == 200, address
        assert answer.headers["content-type"].startswith(kind)
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/static/../server.py").status_code == 404
    assert client.get("/docs").status_code == 404


def test_a_run_in_progress_is_stopped_by_its_page_alone(running: Run) -> None:
    pytest.importorskip("fastapi", reason="needs the extra `serve`: pip install cnnkit[serve]")
    testclient = pytest.importorskip("fastapi.testclient", reason="needs httpx")
    from cnnkit.live.server import LiveApp

    client = testclient.TestClient(LiveApp(running, "127.0.0.1"), base_url="http://127.0.0.1:8017")
    for headers in (
        {"Host": "evil.example:8017"},
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://127.0.0.1:8017"},
    ):
        assert client.post("/stop", headers=headers).status_code == 403, headers
    assert client.get("/state", headers={"Host": "evil.example"}).status_code == 403
    assert not running.stop_request.exists()
    for host in ("localhost:8017", "[::1]:8017", socket.gethostname()):
        assert client.get("/state", headers={"Host": host}).status_code == 200, host
    own = {"Origin": "http://127.0.0.1:8017", "Sec-Fetch-Site": "same-origin"}
    assert client.post("/stop", headers=own).status_code == 202
    assert running.stop_request.exists()
    assert client.get("/state").json()["stopping"] is True
    Reporter(running, 5, 10).end("finished", "")
    assert client.post("/stop", headers=own).status_code == 409


def test_a_run_that_has_nothing_yet_is_served_too(running: Run) -> None:
    pytest.importorskip("fastapi", reason="needs the extra `serve`: pip install cnnkit[serve]")
    from cnnkit.live.server import filters_png, guesses, run_state

    answer = run_state(running)
    assert (answer["rows"], answer["test"], answer["status"]) == ([], None, "training")
    assert filters_png(running, "now") is None
    assert guesses(running) == {"epoch": None, "images": []}
    json.dumps(answer, allow_nan=False)


def test_watchers_learn_nothing_of_the_machine_that_trains(running: Run) -> None:
    from cnnkit.live.server import run_state

    Reporter(running, 5, 10).end("failed", f"cannot read the image file `{running.path / 'my photos' / 'cat.png'}`")
    answer = run_state(running)
    assert answer["message"] == "cannot read the image file `cat.png`"
    text = json.dumps(answer)
    assert str(running.path.parent) not in text
    assert socket.gethostname() not in text
    assert "pid" not in answer
    assert (
        answer["folder"]
        == run_state(Run(running.path / "."))["folder"]
        != run_state(Run(running.path.parent))["folder"]
    )


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with (
        pytest.raises(CnnkitError, match="uvicorn, which is not installed") as caught,
        serving.live_page(Console(stream=io.StringIO())),
    ):
        pass
    assert caught.value.hint == 'pip install "cnnkit[serve]"'


def get_state(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(address + "state", timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def answers(address: str) -> bool:
    try:
        get_state(address)
    except OSError:
        return False
    return True


@pytest.mark.long
def test_a_page_beside_a_training_ends_with_it(running: Run) -> None:
    pytest.importorskip("uvicorn", reason="needs the extra `serve`: pip install cnnkit[serve]")
    stream = io.StringIO()
    with serving.live_page(Console(stream=stream), port=0) as opened:
        opened(running)
        address = stream.getvalue().split()[-1]
        assert get_state(address)["status"] == "training"
        Reporter(running, 5, 10).end("finished", "")
    # An open page still gets the final state.
    assert get_state(address)["status"] == "finished"
    while answers(address):
        time.sleep(0.2)


def test_a_server_that_breaks_is_a_warning(
    running: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("uvicorn", reason="needs the extra `serve`: pip install cnnkit[serve]")
    monkeypatch.setattr(serving, "_START", "import sys; sys.exit('no server today')")
    before = set(threading.enumerate())
    with serving.live_page(Console(stream=io.StringIO()), port=0) as opened:
        opened(running)
        for thread in set(threading.enumerate()) - before:
            thread.join()
    assert "the live page has ended, the training goes on: no server today" in caplog.text
