"""A run may be damaged, or come from anybody: no command fails without naming the file, hangs, or reads another."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import signal
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damages import KINDS, bytes_of, run_command, values_of
from report_runs import written
from sharing import changed_config
from trainings import run_training

from cnnkit.errors import CnnkitError, ConfigError
from cnnkit.live import server
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import evaluate_run
from cnnkit.runs.progress import is_complete, request_stop
from cnnkit.runs.progress import read_state as read_live_state
from cnnkit.runs.trained import open_run

NAME = "a-1"


@pytest.fixture(autouse=True)
def _ends() -> Iterator[None]:
    """What hangs is ended."""

    def end(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run that has every file but a model."""
    folder = tmp_path_factory.mktemp("whole")
    run = written(folder / "runs" / NAME, ["a", "b"], [0, 1, 1, 0], [0, 1, 0, 0], {"name": "digits"})
    environment = run.read_environment()
    environment |= {
        "settings": {"device": "CPU", "jit_compile": False, "threads": 2, "onednn": True, "dtype_policy": "float32"},
        "processor": "x",
        "usable_cores": 2,
        "command": ["cnnkit", "train", "a.yaml"],
        "written": {"seed": "a.yaml:1:1"},
        "resumed": [{"after_epoch": 1, "command": ["cnnkit"]}],
    }
    run.write_json(run.environment, environment)
    for path in (run.live, run.curves.parent):
        path.mkdir()
    run.write_json(
        run.live_state,
        {"status": "training", "pid": 1, "machine": "x", "updated": 1.0, "epochs": 2, "steps": 3, "filters": 2},
    )
    np.savez(run.live_samples, images=np.zeros((2, 8, 8, 1), np.uint8), labels=np.array([0, 1]))
    kernel = np.ones((3, 3, 1, 2), np.float32)
    np.savez(run.live_snapshot, epoch=1, kernel=kernel, probabilities=np.full((2, 2), 0.5))
    np.save(run.initial_filters, kernel)
    rows = [{"epoch": epoch, "loss": 1.0, "seconds": 1.0} for epoch in (1, 2)]
    state = {"epochs_done": 2, "stopped": False, "rows": rows, "callbacks": {}}
    np.savez(run.checkpoint, state=np.asarray(json.dumps(state)), weight=np.zeros(3))
    run.log.write_text("")
    return folder


@pytest.fixture
def run(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A copy of it, to be damaged, under runs/ of the working folder."""
    shutil.copytree(whole / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    return Run(Path("runs", NAME))


FILES = (
    "config.yaml",
    "environment.json",
    "metrics.csv",
    "evaluation.json",
    "predictions.csv",
    "log.txt",
    "checkpoints/last.npz",
    "checkpoints/initial_filters.npy",
    "live/state.json",
    "live/samples.npz",
    "live/snapshot.npz",
)


def look_at(run: Run) -> None:
    """What needs no TensorFlow: the list of runs, and all that the page of a run in progress asks for."""
    listed = json.loads(run_command("runs", "--json").stdout)
    assert [row["run"] for row in listed] == [run.name]
    server.run_state(run)
    server.guesses(run)
    server.image_png(run, 0)
    for when in ("before", "now"):
        server.filters_png(run, when)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.long) if name == "config.yaml" else name for name in FILES]
)
def test_a_damaged_file_stops_no_list_and_no_page(run: Run, name: str) -> None:
    path = run.path / name
    content = path.read_bytes()
    for damaged in bytes_of(content, 3) if content else ():
        path.write_bytes(damaged)
        look_at(run)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_file_is_not_opened(run: Run, kind: str) -> None:
    for name in FILES:
        path = run.path / name
        content = path.read_bytes()
        path.unlink()
        KINDS[kind](path)
        look_at(run)
        assert os.path.lexists(path)
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("environment.json", lambda run: (run.read_environment(), open_run(run).interface)),
        ("evaluation.json", lambda run: open_run(run).evaluation),
        ("live/state.json", lambda run: (server.run_state(run), request_stop(run), read_live_state(run))),
    ],
)
def test_any_other_value_is_an_error_that_names_the_file(run: Run, name: str, read: Any) -> None:
    messages = []
    for damaged in list(values_of((run.path / name).read_bytes())):
        (run.path / name).write_bytes(damaged)
        try:
            read(run)
        except CnnkitError as error:
            messages.append(error.message)
    assert all(name in message for message in messages)
    # A state that is damaged is one that nobody has written.
    assert (len(messages) > 30) == (name != "live/state.json")


@pytest.mark.parametrize(
    "text",
    [
        "index,true_class,predicted_class,confidence,probability_a,probability_b\n0,a,b,0.6,0.4\n",
        "index,true_class,predicted_class,confidence,probability_a,probability_b\n0,a,b,0.6,0.4,nan\n",
        "index,true_class,predicted_class,confidence,probability_a,probability_b\n",
        "index,true_class,predicted_class,confidence,probability_a,probability_b\n0,a,c,0.6,0.4,0.6\n",
        'index,true_class,predicted_class,confidence,probability_a,probability_b\n"0,a,b',
        "",
        "\0",
    ],
)
def test_predictions_that_are_cut_short_are_named(run: Run, text: str) -> None:
    run.predictions.write_text(text)
    result = run_command("show", "mistakes", NAME)
    assert result.exit_code == 1
    assert "predictions.csv` should hold one row per test image" in str(result.exception)


class TestNothingLeadsOutOfARun:
    @pytest.mark.parametrize("name", ["checkpoints", "plots", "live", "tensorboard", "tensorboard/train", "log.txt"])
    def test_where_something_would_be_written(self, run: Run, name: str, tmp_path: Path) -> None:
        """Resuming would add to the log, and write checkpoints, wherever a link led."""
        target = tmp_path / "target"
        path = run.path / name
        path.parent.mkdir(exist_ok=True)
        if name == "log.txt":
            target.write_text("mine")
            path.unlink()
        else:
            target.mkdir()
            shutil.rmtree(path, ignore_errors=True)
        path.symlink_to(target)
        for arguments in (("train", "--resume", NAME), ("show", "curves", NAME), ("report", NAME)):
            result = run_command(*arguments)
            assert result.exit_code == 1
            assert f"runs/{NAME}/{name}` cannot be used: it is a link" in str(result.exception)
        assert target.read_text() == "mine" if name == "log.txt" else list(target.iterdir()) == []
        assert run_command("runs").exit_code == 0

    def test_a_run_itself_may_be_a_link(self, run: Run) -> None:
        Path("elsewhere").symlink_to(run.path)
        assert run_command("show", "curves", "elsewhere").exit_code == 0

    def test_a_stop_is_not_asked_for_through_a_link(self, run: Run, tmp_path: Path) -> None:
        run.stop_request.symlink_to(tmp_path / "made")
        with run.training(), pytest.raises(OSError, match="it is a link"):
            request_stop(run)
        assert not (tmp_path / "made").exists()


class TestSizes:
    def test_an_archive_that_unpacks_to_more_than_its_network_is_refused(self, run: Run) -> None:
        """Two megabytes of zeros are a few thousand bytes; the network has twenty parameters."""
        with zipfile.ZipFile(run.model, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("model.weights.h5", bytes(2 << 20))
        assert run.model.stat().st_size < 10_000
        with pytest.raises(CnnkitError, match=r"model\.keras` is damaged: it would unpack to 2,097,152 bytes"):
            run.check_archive(run.model, 1 << 20)
        run.check_archive(run.model, 1 << 21)

    def test_a_compressed_checkpoint_is_refused(self, run: Run) -> None:
        from cnnkit.training.checkpoint import read_checkpoint

        with np.load(run.checkpoint) as archive:
            arrays = dict(archive)
        assert read_checkpoint(run, 3).state["epochs_done"] == 2
        np.savez_compressed(run.checkpoint, **arrays)
        with pytest.raises(CnnkitError, match="it is compressed"):
            read_checkpoint(run, 3)

    def test_a_sparse_file_of_any_size_is_not_read(self, run: Run) -> None:
        for path in (run.environment, run.metrics, run.checkpoint):
            with path.open("r+b") as stream:
                stream.truncate(1 << 42)
        look_at(run)
        with pytest.raises(CnnkitError, match=r"environment\.json`: it is larger than"):
            run.read_environment()

    def test_a_header_that_promises_too_much_is_damage(self, run: Run) -> None:
        """NumPy would make room for what an array's header says."""
        stream = io.BytesIO()
        np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": (1 << 44,)})
        run.initial_filters.write_bytes(stream.getvalue() + bytes(64))
        assert server.filters_png(run, "before") is None


def listed(name: str = NAME) -> tuple[str, list[str]]:
    """A run's state in the list, and the files that are damaged."""
    rows = {row["run"]: row for row in json.loads(run_command("runs", "--json").stdout)}
    return rows[name]["state"], rows[name]["damaged"]


class TestStates:
    @pytest.fixture
    def run(self, run: Run) -> Run:
        with zipfile.ZipFile(run.model, "w") as archive:
            archive.writestr("config.json", "{}")
        return run

    def test_a_run_from_its_beginning_to_its_end(self, run: Run) -> None:
        assert listed() == ("evaluated", [])
        with run.training():
            assert listed() == ("training", [])
        run.evaluation.unlink()
        assert listed() == ("trained", [])
        with changed_config(run) as content:
            content["training"]["epochs"] = 3
        assert listed() == ("interrupted", [])
        run.write_json(run.live_state, run.read_json(run.live_state) | {"status": "finished"})
        # Early stopping.
        assert listed() == ("trained", [])
        run.live_state.unlink()
        run.checkpoint.unlink()
        assert listed() == ("started", [])
        run.metrics.unlink()
        assert listed() == ("started", [])

    @pytest.mark.parametrize("name", [*FILES[:4], "checkpoints/last.npz", "model.keras"])
    def test_a_file_that_is_cut_is_named(self, run: Run, name: str) -> None:
        path = run.path / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] + (b"[" if name == "config.yaml" else b""))
        assert listed() == ("damaged", [path.name])
        assert f"damaged: {path.name}" in run_command("runs").stdout

    def test_metrics_that_are_cut_between_two_lines_are_named(self, run: Run) -> None:
        run.write_json(run.live_state, run.read_json(run.live_state) | {"epochs_done": 2})
        assert listed() == ("evaluated", [])
        run.metrics.write_text("".join(run.metrics.read_text().splitlines(keepends=True)[:-1]))
        # By itself, it is a whole file of fewer epochs.
        assert listed() == ("damaged", ["metrics.csv"])
        with pytest.raises(CnnkitError, match=r"is cut off: it holds 1 of the 2 epochs that the run has trained"):
            run.read_metrics()
        assert not is_complete(run)

    def test_a_link_is_named(self, run: Run) -> None:
        shutil.rmtree(run.curves.parent)
        run.curves.parent.symlink_to("/")
        assert listed() == ("damaged", ["plots"])


def test_a_file_that_may_not_be_read_is_not_called_damaged(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The superuser may read anything, so the refusal is played."""
    run.model.write_bytes(b"")
    opened = os.open

    def refuse(path: Any, *arguments: Any, **options: Any) -> int:
        if Path(path).name in ("model.keras", "metrics.csv"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return opened(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refuse)
    for read in (lambda: open_run(run).model, run.read_metrics):
        with pytest.raises(CnnkitError, match="Permission denied\\nAsk its owner") as caught:
            read()
        assert "damaged" not in str(caught.value)


def test_a_misspelt_key_of_data_is_no_missing_data_set(run: Run) -> None:
    with changed_config(run) as content:
        content["data"]["nome"] = content["data"].pop("name")
    with pytest.raises(ConfigError, match="nome"):
        _ = open_run(run).loaded


# --- The commands that load TensorFlow ----------------------------------------------------------------

RESUME = ("train", "--resume", "run", "--set", "training.epochs=2", "--no-eval", "--no-report")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an evaluated run of one epoch."""
    layers: list[Any] = [{"Conv2D": {"filters": 2, "kernel_size": 3}}, "Flatten"]
    model = {"layers": [*layers, {"Dense": {"units": "classes", "activation": "softmax"}}]}
    content = {"data": {"name": "digits", "batch_size": 256}, "model": model}
    folder = tmp_path_factory.mktemp("trained")
    run = run_training(folder, content | {"training": {"epochs": 1, "tensorboard": False}}, "run")
    evaluate_run(open_run(run))
    return folder


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "commands", "count"),
    [
        ("model.keras", [("predict", "run", "image.png"), ("eval", "run")], 12),
        ("environment.json", [("predict", "run", "image.png"), ("show", "features", "run", "image.png")], 30),
        ("checkpoints/last.npz", [RESUME], 12),
        ("config.yaml", [("show", "gradcam", "run", "image.png")], 12),
        ("predictions.csv", [("show", "mistakes", "run")], 9),
        ("checkpoints/initial_filters.npy", [("show", "filters", "run")], 9),
    ],
)
def test_commands_that_load_tensorflow_name_the_file(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, commands: Any, count: int
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Image.new("L", (8, 8)).save("image.png")
    content = (trained / "run" / name).read_bytes()
    damages: list[Any] = list(bytes_of(content, count))
    if name.endswith(".json"):
        values = list(values_of(content))
        damages += values[:: len(values) // count]
    for damage in (*damages, *KINDS.values()):
        for command in commands:
            shutil.rmtree("run", ignore_errors=True)
            shutil.copytree(trained / "run", "run")
            path = Path("run", name)
            path.unlink()
            path.write_bytes(damage) if isinstance(damage, bytes) else damage(path)
            result = run_command(*command)
            assert result.exit_code == 0 or Path(name).name in str(result.exception), result.exception
