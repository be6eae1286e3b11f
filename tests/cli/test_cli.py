"""The commands as a user runs them, on the bundled digits: what they print, write and exit with."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken import edited

from cnnkit.cli import main

CONFIGS = Path(__file__).parents[2] / "configs"

CONFIG = """\
# A small network for these tests.
data: {name: digits, batch_size: 32}
augmentation:
  - RandomTranslation: {height_factor: 0.1, width_factor: 0.1, fill_mode: constant}
model:
  layers:
    - Conv2D: {filters: 8, kernel_size: 3, activation: relu}
    - MaxPooling2D: 2
    - Flatten
    - Dropout: 0.1
    - Dense: {units: classes, activation: softmax}
training:
  epochs: 2
  optimizer: {Adam: {learning_rate: 0.01}}
"""


@dataclass
class Result:
    code: int
    out: str
    err: str


Cnnkit = Callable[..., Result]


@pytest.fixture
def cnnkit(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Cnnkit:
    """Runs a command in this process, where TensorFlow is loaded only once."""

    def run(*arguments: object) -> Result:
        capfd.readouterr()
        monkeypatch.setattr("sys.argv", ["cnnkit", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capfd.readouterr()
        return Result(int(end.value.code or 0), captured.out, captured.err)

    return run


@contextlib.contextmanager
def start(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A command in a process of its own, which a test that fails does not leave behind, nor wait for."""
    command = [sys.executable, "-m", "cnnkit", *arguments]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which `cnnkit train net.yaml` has been run; tests must not change runs/net-1."""
    folder = tmp_path_factory.mktemp("a user's folder ü")
    (folder / "net.yaml").write_text(CONFIG)
    with start(folder, "train", "net.yaml") as process:
        output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert errors == ""
    (folder / "output.txt").write_text(output)
    return folder


@pytest.fixture
def here(trained: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Works in the folder of the trained run."""
    monkeypatch.chdir(trained)
    return trained


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Works in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def digits_by_place() -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's digits as the data set serves them: uint8 [1797, 8, 8, 1], and labels."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return np.rint(bunch.images * 255 / 16).astype(np.uint8)[..., None], bunch.target


@pytest.fixture(scope="module")
def plain_model(trained: Path) -> Any:
    """The run's model, opened by Keras alone."""
    import keras

    return keras.models.load_model(trained / "runs/net-1/model.keras")


def predictions(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """predictions.csv: place of each image in the data set, true class, probabilities."""
    with (folder / "runs/net-1/predictions.csv").open(newline="") as stream:
        rows = list(csv.reader(stream))
    header, body = rows[0], rows[1:]
    first = header.index("probability_0")
    places = np.array([int(row[0].rpartition("/")[2]) for row in body])
    truth = np.array([int(row[header.index("true_class")]) for row in body])
    return places, truth, np.array([[float(value) for value in row[first:]] for row in body])


class TestTrain:
    def test_the_run_holds_what_the_design_promises(self, trained: Path) -> None:
        run = trained / "runs/net-1"
        for name in (
            "config.yaml",
            "config.source.yaml",
            "environment.json",
            "metrics.csv",
            "model.keras",
            "evaluation.json",
            "predictions.csv",
            "plots/curves.png",
            "plots/confusion_matrix.png",
            "plots/filters.png",
            "log.txt",
        ):
            assert (run / name).stat().st_size > 0, name
        assert list((run / "checkpoints").iterdir())
        assert list((run / "tensorboard").rglob("events.out.tfevents.*"))
        assert (run / "config.source.yaml").read_text() == CONFIG
        # Nothing half written is left behind.
        assert [path for path in run.rglob("*") if path.name.startswith(".")] == []
        assert os.listdir(trained / "runs") == ["net-1"]

    def test_the_log_holds_what_the_console_showed(self, trained: Path) -> None:
        output = (trained / "output.txt").read_text()
        assert (trained / "runs/net-1/log.txt").read_text() == output
        assert "\x1b" not in output
        assert "\r" not in output
        lines = output.splitlines()
        assert [line.split("  ")[0] for line in lines if line.startswith("epoch")] == ["epoch 1/2", "epoch 2/2"]
        for word in ("loss", "accuracy", "val_loss", "val_accuracy", "images/s", "ETA"):
            assert word in next(line for line in lines if line.startswith("epoch 1/2"))

    def test_metrics_have_a_row_per_epoch(self, trained: Path) -> None:
        with (trained / "runs/net-1/metrics.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert [row["epoch"] for row in rows] == ["1", "2"]
        wanted = {"loss", "accuracy", "val_loss", "val_accuracy", "learning_rate", "seconds", "images_per_second"}
        assert wanted <= set(rows[0])

    def test_the_environment_says_what_ran(self, trained: Path) -> None:
        import keras
        import tensorflow

        environment = json.loads((trained / "runs/net-1/environment.json").read_text())
        assert environment["tensorflow"] == tensorflow.__version__
        assert environment["keras"] == keras.__version__
        assert environment["command"][1:] == ["train", "net.yaml"]
        assert environment["data"]["fingerprint"]
        # 8 (3^2 + 1) + (3^2 * 8 + 1) * 10
        assert environment["model"]["parameters"] == 80 + 730

    def test_the_resolved_config_has_no_auto_and_inspects(self, trained: Path, here: Path, cnnkit: Cnnkit) -> None:
        assert "auto" not in re.findall(r"\w+", (trained / "runs/net-1/config.yaml").read_text().partition("\n")[2])
        for target in ("runs/net-1", "runs/net-1/", "runs/net-1/config.yaml"):
            result = cnnkit("inspect", target, "--json")
            assert (result.code, json.loads(result.out)["parameters"]) == (0, 810)

    def test_what_names_no_new_run_is_refused(self, here: Path, cnnkit: Cnnkit) -> None:
        before = sorted(Path().rglob("*"))
        for arguments, part in (
            (("train",), "which config?"),
            (("train", "net.yaml", "--run-dir", "runs/net-1"), "not empty"),
            (("train", "net.yaml", "--run-dir", "net.yaml"), "file"),
            (("train", "--resume", "net-1", "--run-dir", "x"), "--run-dir"),
            (("train", "--resume", "nothing"), "no run"),
            (("train", "--resume", "net-1"), "all its 2 epochs"),
            (("train", "--resume", "net-1", "--set", "seed=4"), "seed"),
        ):
            result = cnnkit(*arguments)
            assert (result.code, result.out) == (2, ""), arguments
            assert part in result.err
            assert "Traceback" not in result.err
        assert sorted(Path().rglob("*")) == before

    @pytest.mark.parametrize("more", [(), ("--run-dir", "1/run"), ("--seeds", "2"), ("--tune",)])
    def test_a_run_inside_the_folder_of_its_images_is_refused_before_training(
        self, empty: Path, cnnkit: Cnnkit, more: tuple[str, ...]
    ) -> None:
        write_digits(empty, "1/a.png", "1/b.png", "2/a.png", "2/b.png")
        (empty / "net.yaml").write_text(edited(("name: digits", "folder: ."), text=CONFIG))
        before = sorted(empty.rglob("*"))
        result = cnnkit("train", "net.yaml", *more)
        assert result.code == 2
        assert "would lie inside the folder of the images" in result.err
        assert sorted(empty.rglob("*")) == before

    def test_ctrl_c_in_the_last_evaluation_says_that_the_run_is_trained(
        self, here: Path, tmp_path: Path, cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from cnnkit.runs.directory import Run
        from cnnkit.runs.trained import open_run

        def interrupt(*_: object) -> None:
            raise KeyboardInterrupt

        (tmp_path / "a run").mkdir()
        monkeypatch.setattr("cnnkit.training.train.train", lambda *_: open_run(Run(tmp_path / "a run")))
        monkeypatch.setattr("cnnkit.runs.evaluation.evaluate_run", interrupt)
        result = cnnkit("train", "net.yaml")
        assert result.code == 130
        assert f"cnnkit eval '{tmp_path}/a run'" in result.err

    def test_an_error_takes_the_live_bar_away(
        self, here: Path, cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ended = []

        def fail(loaded: object, console: Any, *_: object) -> None:
            monkeypatch.setattr(console, "end_epoch", lambda: ended.append(True))
            raise RuntimeError("a damaged record")

        monkeypatch.setattr("cnnkit.training.train.train", fail)
        assert cnnkit("train", "net.yaml").code == 1
        assert ended


def write_digits(folder: Path, *names: str) -> None:
    """Files of class folders, each with an image of its class."""
    from PIL import Image

    images, labels = digits_by_place()
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        digit = int((folder / name).parent.name)
        Image.fromarray(images[labels == digit][0, ..., 0]).save(folder / name)


class TestEvaluation:
    def test_json_agrees_with_predictions_csv_and_plain_keras(
        self, trained: Path, here: Path, cnnkit: Cnnkit, plain_model: Any
    ) -> None:
        result = cnnkit("eval", "--json")
        assert (result.code, result.err) == (0, "")
        metrics = json.loads(result.out)
        assert metrics == json.loads((trained / "runs/net-1/evaluation.json").read_text())
        assert {"accuracy", "top_5_accuracy", "loss", "calibration_error", "per_class"} <= set(metrics)

        places, truth, probabilities = predictions(trained)
        images, labels = digits_by_place()
        np.testing.assert_array_equal(labels[places], truth)
        assert len(set(places.tolist())) == len(places) == metrics["images"] == 360
        np.testing.assert_allclose(probabilities, plain_model.predict(images[places], verbose=0), atol=2e-5)
        assert metrics["accuracy"] == pytest.approx((probabilities.argmax(1) == truth).mean(), abs=1e-12)
        best = np.argsort(-probabilities, axis=1)[:, :5]
        assert metrics["top_5_accuracy"] == pytest.approx((best == truth[:, None]).any(1).mean(), abs=1e-12)
        assert metrics["loss"] == pytest.approx(-np.log(probabilities[np.arange(360), truth]).mean(), rel=1e-4)
        # Two epochs are enough to be far from chance, and each class has its row.
        assert metrics["accuracy"] > 0.5
        assert [row["class"] for row in metrics["per_class"]] == [str(digit) for digit in range(10)]
        assert [row["support"] for row in metrics["per_class"]] == np.bincount(truth, minlength=10).tolist()

    def test_text_shows_the_same_and_names_the_run(self, trained: Path, here: Path, cnnkit: Cnnkit) -> None:
        metrics = json.loads((trained / "runs/net-1/evaluation.json").read_text())
        for run in ((), ("runs/net-1/",)):
            result = cnnkit("eval", *run)
            assert (result.code, result.err) == (0, "")
            assert "net-1, test split" in result.out.splitlines()[0]
            assert f"{metrics['accuracy']:.2%}" in result.out
            assert "Confusion matrix" in result.out

    def test_other_splits_leave_the_run_as_it_is(
        self, trained: Path, here: Path, cnnkit: Cnnkit, plain_model: Any
    ) -> None:
        before = {path: path.read_bytes() for path in (trained / "runs").rglob("*") if path.is_file()}
        sizes = {}
        for split in ("validation", "train"):
            result = cnnkit("eval", "--split", split, "--json")
            assert result.code == 0
            sizes[split] = json.loads(result.out)["images"]
        assert sizes == {"validation": 144, "train": 1293}
        assert {path: path.read_bytes() for path in (trained / "runs").rglob("*") if path.is_file()} == before
        # What validation measured in the best epoch is what `eval` measures.
        with (trained / "runs/net-1/metrics.csv").open(newline="") as stream:
            best = max(float(row["val_accuracy"]) for row in csv.DictReader(stream))
        accuracy = json.loads(cnnkit("eval", "--split", "validation", "--json").out)["accuracy"]
        assert accuracy == pytest.approx(best, abs=1e-6)

    def test_a_folder_of_images_of_other_sizes(
        self, here: Path, tmp_path: Path, cnnkit: Cnnkit, plain_model: Any
    ) -> None:
        import keras
        from PIL import Image

        images, labels = digits_by_place()
        folder = tmp_path / "my images ü"
        seen = []
        for place in range(60):
            factor = (1, 2, 5)[place % 3]
            big = images[place].repeat(factor, axis=0).repeat(factor, axis=1)
            target = folder / str(labels[place]) / f"{place}.png"
            target.parent.mkdir(parents=True, exist_ok=True)
            picture = Image.fromarray(big[..., 0])
            (picture.convert("RGB") if place % 2 else picture).save(target)
            seen.append(np.asarray(keras.layers.Resizing(8, 8, antialias=True)(big.astype("float32"))))
        guesses = plain_model.predict(np.stack(seen), verbose=0).argmax(1)
        expected = guesses == labels[:60]
        before = (here / "runs/net-1/evaluation.json").read_bytes()
        table, sheet = tmp_path / "each.csv", tmp_path / "wrong.png"
        result = cnnkit("eval", "--data", folder, "--json", "--csv", table, "--mistakes", sheet)
        assert (result.code, result.err) == (0, "")
        metrics = json.loads(result.out)
        assert metrics["images"] == 60
        assert metrics["accuracy"] == pytest.approx(expected.mean(), abs=1e-12)
        assert (here / "runs/net-1/evaluation.json").read_bytes() == before
        with table.open(newline="", encoding="utf-8") as stream:
            rows = {row["file"]: (row["true_class"], row["predicted_class"]) for row in csv.DictReader(stream)}
        assert rows == {
            f"{label}/{place}.png": (str(label), str(guess))
            for place, (label, guess) in enumerate(zip(labels[:60], guesses, strict=True))
        }
        assert not expected.all()
        with Image.open(sheet) as picture:
            assert picture.format == "PNG"

    def test_each_image_of_the_test_split_is_written_as_in_the_run(
        self, here: Path, tmp_path: Path, cnnkit: Cnnkit
    ) -> None:
        result = cnnkit("eval", "--csv", tmp_path / "a.csv")
        assert result.out.splitlines()[-1] == f"wrote {tmp_path / 'a.csv'}"
        assert (tmp_path / "a.csv").read_text() == (here / "runs/net-1/predictions.csv").read_text()
        # What it has written, it writes again.
        assert cnnkit("eval", "--csv", tmp_path / "a.csv").code == 0
        command = ("eval", "--split", "validation", "--tta", "shift", "--json", "--csv")
        assert json.loads(cnnkit(*command, tmp_path / "b.csv").out)["images"] == 144
        assert len((tmp_path / "b.csv").read_text().splitlines()) == 1 + 144
        # What cannot be written is said before anything is computed.
        result = cnnkit("eval", "--csv", tmp_path / "a.txt", "--mistakes", "nowhere/a.png")
        assert (result.code, result.out) == (2, "")

    def test_folders_that_do_not_fit_are_named(self, here: Path, tmp_path: Path, cnnkit: Cnnkit) -> None:
        (tmp_path / "zebra").mkdir()
        (tmp_path / "lion").mkdir()
        for name in ("zebra", "lion"):
            from PIL import Image

            Image.new("L", (8, 8)).save(tmp_path / name / "1.png")
        nothing = tmp_path / "nothing"
        for folder, code, part in (
            (tmp_path, 1, "lion"),
            (nothing, 2, "does not exist"),
            ("net.yaml", 2, "is a file"),
        ):
            result = cnnkit("eval", "--data", folder)
            assert (result.code, result.out) == (code, "")
            assert part in result.err

    def test_a_run_is_no_ensemble_with_itself(self, here: Path, cnnkit: Cnnkit) -> None:
        result = cnnkit("eval", "net-1", here / "runs" / "net-1")
        assert (result.code, result.out) == (2, "")
        assert "named twice" in result.err

    def test_a_run_that_may_not_be_written_is_measured_all_the_same(
        self, here: Path, cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(path: Path, content: bytes | str) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        # The superuser may write anywhere, so the refusal is played.
        monkeypatch.setattr("cnnkit.runs.directory.write_atomically", refuse)
        result = cnnkit("eval", "--json")
        assert result.code == 0
        assert json.loads(result.out)["images"] == 360

    def test_test_time_augmentation_is_kept_beside_the_plain_evaluation(
        self, trained: Path, here: Path, cnnkit: Cnnkit, plain_model: Any
    ) -> None:
        run = trained / "runs/net-1"
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        result = cnnkit("eval", "--tta", "shift", "--json")
        assert (result.code, result.err) == (0, "")
        metrics = json.loads(result.out)
        assert metrics["tta"] == ["shift"]
        assert metrics["split"] == "test"

        places, truth, _ = predictions(trained)
        images = digits_by_place()[0][places]
        padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        plain, down, up = (
            np.log(plain_model.predict(view, verbose=0)) for view in (images, padded[:, :8, :8], padded[:, 2:, 2:])
        )
        scores = 0.5 * plain + 0.25 * (down + up)
        assert metrics["accuracy"] == pytest.approx((scores.argmax(1) == truth).mean(), abs=1e-12)
        loss = np.log(np.exp(scores).sum(axis=1)) - scores[np.arange(360), truth]
        assert metrics["loss"] == pytest.approx(loss.mean(), rel=1e-4)

        kept = run / "evaluation.tta.json"
        assert json.loads(kept.read_text()) == metrics
        kept.unlink()
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before

    def test_test_time_augmentation_is_named_in_the_text(self, here: Path, cnnkit: Cnnkit) -> None:
        result = cnnkit("eval", "--split", "validation", "--tta", "flip,shift")
        assert result.code == 0
        assert "validation split, test-time augmentation: flip, shift" in result.out.splitlines()[0]
        assert not (here / "runs/net-1/evaluation.tta.json").exists()

    @pytest.mark.parametrize("command", [("eval",), ("predict", "net-1", "net.yaml")])
    def test_an_unknown_test_time_augmentation(self, here: Path, cnnkit: Cnnkit, command: tuple[str, ...]) -> None:
        result = cnnkit(*command, "--tta", "foo")
        assert (result.code, result.out) == (2, "")
        assert "`foo`" in result.err
        assert "flip,shift" in result.err

    def test_corrupt_files_of_another_folder_are_left_out_where_that_is_asked(
        self, here: Path, tmp_path: Path, cnnkit: Cnnkit, caplog: pytest.LogCaptureFixture
    ) -> None:
        write_digits(tmp_path, "1/a.png", "2/b.png")
        for broken in ("1/x.png", "2/y.png"):
            (tmp_path / broken).write_text("broken")
        result = cnnkit("eval", "net-1", "--data", tmp_path)
        assert (result.code, result.out) == (1, "")
        assert "1/x.png" in result.err
        assert "2/y.png" in result.err
        assert "add `--skip-corrupt`" in result.err
        result = cnnkit("eval", "net-1", "--data", tmp_path, "--skip-corrupt", "--json")
        assert (result.code, json.loads(result.out)["images"]) == (0, 2)
        assert "left out 2 image files" in caplog.text
        assert cnnkit("eval", "net-1", "--skip-corrupt").code == 2

    def test_a_folder_of_splits_is_measured_as_it_would_be_in_training(
        self, here: Path, tmp_path: Path, cnnkit: Cnnkit, caplog: pytest.LogCaptureFixture
    ) -> None:
        write_digits(tmp_path, "train/1/a.png", "train/2/b.png", "train/2/c.png", "val/1/a.png")
        (tmp_path / "val" / "2").mkdir()
        result = cnnkit("eval", "net-1", "--data", tmp_path, "--json")
        assert [row["support"] for row in json.loads(result.out)["per_class"]][:3] == [0, 1, 0]
        assert "val/2` holds no images" in caplog.text
        result = cnnkit("eval", "net-1", "--data", tmp_path / "train", "--json")
        assert json.loads(result.out)["images"] == 3

    def test_unknown_runs_and_splits(self, here: Path, cnnkit: Cnnkit) -> None:
        for arguments, part in (
            (("nothing",), "net-1"),
            (("net.yaml",), "is no run"),
            (("--split", "all"), "'test', 'validation', 'train'"),
        ):
            result = cnnkit("eval", *arguments)
            assert (result.code, result.out) == (2, "")
            assert part in result.err

    def test_without_any_run(self, empty: Path, cnnkit: Cnnkit) -> None:
        result = cnnkit("eval")
        assert result.code == 2
        assert "there are no runs" in result.err
        assert "cnnkit train" in result.err


class TestDamagedRuns:
    @pytest.fixture
    def run(self, here: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A copy of the run, to be damaged."""
        run = tmp_path / "runs" / "net-1"
        shutil.copytree(here / "runs/net-1", run)
        monkeypatch.chdir(tmp_path)
        return run

    @pytest.mark.parametrize("command", [("eval",), ("predict", "net-1", "image.png")])
    def test_no_model(self, run: Path, command: tuple[str, ...], cnnkit: Cnnkit) -> None:
        (run / "model.keras").unlink()
        Path("image.png").write_bytes(b"")
        result = cnnkit(*command)
        assert (result.code, result.out) == (1, "")
        assert "has no model" in result.err

    @pytest.mark.parametrize("damage", ["empty", "cut", "other"])
    def test_a_broken_model(self, run: Path, damage: str, cnnkit: Cnnkit) -> None:
        content = (run / "model.keras").read_bytes()
        broken = {"empty": b"", "cut": content[: len(content) // 2], "other": b"PK\x05\x06" + bytes(18)}[damage]
        (run / "model.keras").write_bytes(broken)
        result = cnnkit("eval")
        assert (result.code, result.out) == (1, "")
        assert "model.keras` cannot be opened" in result.err
        assert "mistake in cnnkit" not in result.err

    @pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"data": 3, "model": null}'])
    def test_a_broken_environment(self, run: Path, text: str, cnnkit: Cnnkit) -> None:
        (run / "environment.json").write_text(text)
        result = cnnkit("eval")
        assert (result.code, result.out) == (1, "")
        assert "environment.json" in result.err
        assert "mistake in cnnkit" not in result.err

    def test_a_broken_config(self, run: Path, cnnkit: Cnnkit) -> None:
        (run / "config.yaml").write_text("data: [")
        result = cnnkit("eval")
        assert result.code == 2
        assert "config.yaml:1:" in result.err

    def test_a_broken_checkpoint(self, run: Path, cnnkit: Cnnkit) -> None:
        for path in (run / "checkpoints").iterdir():
            path.write_bytes(path.read_bytes()[:1000])
        result = cnnkit("train", "--resume", "net-1", "--set", "training.epochs=3")
        assert result.code == 1
        assert "checkpoint" in result.err
        assert "mistake in cnnkit" not in result.err

    @pytest.mark.parametrize("name", ["metrics.csv", "environment.json", "evaluation.json", "config.yaml"])
    @pytest.mark.parametrize("content", [b"", b"\xff\x00", b"[1, 2]", b'{"model": []}', b"epoch\nx\n", b"training: 3"])
    def test_runs_lists_them_all_the_same(self, run: Path, name: str, content: bytes, cnnkit: Cnnkit) -> None:
        shutil.copytree(run, run.with_name("whole-1"))
        (run / name).write_bytes(content)
        Path("runs/half-made-1").mkdir()
        for arguments in ((), ("--json",)):
            result = cnnkit("runs", *arguments)
            assert (result.code, result.err) == (0, "")
            assert "whole-1" in result.out
            assert "net-1" in result.out
            assert "half-made" not in result.out


class TestPredict:
    @pytest.fixture
    def images(self, tmp_path: Path) -> Path:
        """Digits 0 to 5 as 0.png ... 5.png, and a file that is no image."""
        from PIL import Image

        folder = tmp_path / "some images"
        folder.mkdir()
        images, _ = digits_by_place()
        for place in range(6):
            Image.fromarray(images[place, ..., 0]).save(folder / f"{place}.png")
        (folder / "broken.png").write_bytes((folder / "0.png").read_bytes()[:60])
        return folder

    @pytest.fixture
    def expected(self, plain_model: Any) -> np.ndarray:
        return np.asarray(plain_model.predict(digits_by_place()[0][:6], verbose=0))

    def test_json(self, here: Path, images: Path, expected: np.ndarray, cnnkit: Cnnkit) -> None:
        files = [images / f"{place}.png" for place in range(6)]
        result = cnnkit("predict", "net-1", *files, "--json")
        assert (result.code, result.err) == (0, "")
        entries = json.loads(result.out)
        assert [entry["file"] for entry in entries] == [str(file) for file in files]
        for entry, row in zip(entries, expected, strict=True):
            assert list(entry["probabilities"].values()) == pytest.approx(row.tolist(), rel=1e-4, abs=1e-6)
            assert entry["class"] == str(row.argmax())

    def test_csv(self, here: Path, images: Path, expected: np.ndarray, cnnkit: Cnnkit) -> None:
        result = cnnkit("predict", "net-1", images / "3.png", images / "1.png", "--csv")
        assert (result.code, result.err) == (0, "")
        rows = list(csv.DictReader(io.StringIO(result.out)))
        assert [Path(row["file"]).name for row in rows] == ["3.png", "1.png"]
        for row, probabilities in zip(rows, expected[[3, 1]], strict=True):
            assert row["class"] == str(probabilities.argmax())
            assert float(row["probability"]) == pytest.approx(probabilities.max(), rel=1e-4)

    def test_table(self, here: Path, images: Path, expected: np.ndarray, cnnkit: Cnnkit) -> None:
        result = cnnkit("predict", "net-1", images / "2.png", "--top", "2")
        assert (result.code, result.err) == (0, "")
        order = np.argsort(-expected[2])
        line = result.out.splitlines()[-1].replace(str(images / "2.png"), "")
        assert line.split() == [
            str(order[0]),
            f"{expected[2][order[0]]:.4f}",
            str(order[1]),
            f"{expected[2][order[1]]:.4f}",
        ]

    def test_test_time_augmentation(
        self, here: Path, images: Path, expected: np.ndarray, cnnkit: Cnnkit, plain_model: Any
    ) -> None:
        result = cnnkit("predict", "net-1", images / "4.png", "--tta", "flip", "--json")
        assert (result.code, result.err) == (0, "")
        mirrored = plain_model.predict(digits_by_place()[0][4:5, :, ::-1], verbose=0)[0]
        averaged = np.sqrt(expected[4] * mirrored)
        (entry,) = json.loads(result.out)
        assert list(entry["probabilities"].values()) == pytest.approx(averaged / averaged.sum(), rel=1e-4, abs=1e-6)

    def test_a_corrupt_file_fails_and_the_others_are_predicted(
        self, here: Path, images: Path, expected: np.ndarray, cnnkit: Cnnkit
    ) -> None:
        result = cnnkit("predict", "net-1", images, "--json")
        assert result.code == 1
        assert "1 of 7 files could not be read" in result.err
        entries = {Path(entry["file"]).name: entry for entry in json.loads(result.out)}
        assert "broken.png" in entries["broken.png"]["error"]
        for place in range(6):
            assert entries[f"{place}.png"]["class"] == str(expected[place].argmax())

    def test_what_cannot_be_asked(self, here: Path, images: Path, cnnkit: Cnnkit) -> None:
        (images / "empty").mkdir()
        for arguments, code, part in (
            (("net-1",), 2, "which images?"),
            (("net-1", images / "nothing.png"), 2, "nothing.png does not exist"),
            (("nothing", images), 2, "is no run"),
            (("net-1", images, "--csv", "--json"), 2, "exclude each other"),
            (("net-1", images, "--top", "0"), 2, "--top"),
            (("net-1", images / "empty"), 1, "found none"),
        ):
            result = cnnkit("predict", *arguments)
            assert (result.code, result.out) == (code, "")
            assert part in result.err


class TestRuns:
    def test_table_and_json(self, trained: Path, here: Path, cnnkit: Cnnkit) -> None:
        result = cnnkit("runs", "--json")
        assert (result.code, result.err) == (0, "")
        (row,) = json.loads(result.out)
        evaluation = json.loads((trained / "runs/net-1/evaluation.json").read_text())
        assert row["run"] == "net-1"
        assert (row["epochs"], row["planned_epochs"]) == (2, 2)
        assert row["test_accuracy"] == evaluation["accuracy"]
        assert row["parameters"] == 810
        with (trained / "runs/net-1/metrics.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert row["best_val_accuracy"] == max(float(epoch["val_accuracy"]) for epoch in rows)
        assert row["seconds"] == pytest.approx(sum(float(epoch["seconds"]) for epoch in rows), abs=0.06)
        table = cnnkit("runs").out.splitlines()
        assert len(table) == 2
        assert f"{evaluation['accuracy']:.4f}" in table[1]
        assert "810" in table[1]

    def test_no_runs(self, empty: Path, cnnkit: Cnnkit) -> None:
        assert json.loads(cnnkit("runs", "--json").out) == []
        result = cnnkit("runs")
        assert result.code == 0
        assert "cnnkit train" in result.out
        assert os.listdir() == []


class TestNew:
    def test_copies_and_never_overwrites(self, empty: Path, cnnkit: Cnnkit) -> None:
        assert cnnkit("new", "digits").code == 0
        copy = empty / "digits.yaml"
        assert copy.read_bytes() == (CONFIGS / "digits.yaml").read_bytes()
        copy.write_text("# mine")
        result = cnnkit("new", "digits")
        assert result.code == 2
        assert "there already" in result.err
        assert copy.read_text() == "# mine"
        assert cnnkit("new", "digits.yaml", "--output", "my net.yaml").code == 0
        assert cnnkit("inspect", "my net.yaml").code == 0

    def test_a_config_comes_with_those_that_it_extends(self, empty: Path, cnnkit: Cnnkit) -> None:
        assert cnnkit("new", "cifar10_vgg_small", "-o", "mine.yaml").code == 0
        assert (empty / "cifar10_vgg.yaml").read_bytes() == (CONFIGS / "cifar10_vgg.yaml").read_bytes()
        assert cnnkit("inspect", "mine.yaml").code == 0
        assert cnnkit("new", "cifar10_vgg_small").code == 0
        (empty / "cifar10_vgg.yaml").write_text("# edited")
        result = cnnkit("new", "cifar10_vgg_small", "-o", "third.yaml")
        assert result.code == 2
        assert "a different `cifar10_vgg.yaml` is there already" in result.err
        assert (empty / "cifar10_vgg.yaml").read_text() == "# edited"
        assert not (empty / "third.yaml").exists()

    def test_a_config_and_what_it_extends_need_two_names(self, empty: Path, cnnkit: Cnnkit) -> None:
        (empty / "fresh").mkdir()
        for target in ("cifar10_vgg.yaml", "fresh/./cifar10_vgg.yaml"):
            result = cnnkit("new", "cifar10_vgg_small", "-o", target)
            assert (result.code, result.out) == (2, "")
            assert "extends `cifar10_vgg.yaml`" in result.err
        assert os.listdir("fresh") == []

    def test_a_dash_is_the_terminal(self, empty: Path, cnnkit: Cnnkit) -> None:
        result = cnnkit("new", "digits", "-o", "-")
        assert result.out == (CONFIGS / "digits.yaml").read_text(encoding="utf-8")
        assert os.listdir() == []
        result = cnnkit("new", "cifar10_vgg_small", "-o", "-")
        assert result.err == "it extends cifar10_vgg.yaml: cnnkit new cifar10_vgg\n"

    def test_list_names_every_config(self, cnnkit: Cnnkit) -> None:
        result = cnnkit("new", "--list")
        assert result.code == 0
        assert [line.split()[0] for line in result.out.splitlines()] == sorted(p.stem for p in CONFIGS.glob("*.yaml"))

    def test_what_cannot_be_copied(self, empty: Path, cnnkit: Cnnkit) -> None:
        for arguments, code, part in (
            ((), 2, "--list"),
            (("digts",), 2, "did you mean `digits`"),
            (("digits", "-o", "no/such/folder.yaml"), 1, "No such file"),
        ):
            result = cnnkit("new", *arguments)
            assert (result.code, result.out) == (code, "")
            assert part in result.err
        assert os.listdir() == []


class TestData:
    def test_list(self, cnnkit: Cnnkit) -> None:
        rows = {row["name"]: row for row in json.loads(cnnkit("data", "list", "--json").out)}
        assert rows["digits"]["where"] == "bundled"
        assert rows["cifar100"]["classes"] == 100
        table = cnnkit("data", "list")
        assert table.code == 0
        assert "None" not in table.out
        assert "{" not in table.out

    def test_info(self, here: Path, cnnkit: Cnnkit) -> None:
        images, labels = digits_by_place()
        reports = [json.loads(cnnkit("data", "info", source, "--json").out) for source in ("digits", "net.yaml")]
        # The config has the default seed, so that both have the same splits.
        assert reports[0] == reports[1]
        splits = reports[0]["splits"]
        assert {name: split["images"] for name, split in splits.items()} == {
            "train": 1293,
            "validation": 144,
            "test": 360,
        }
        total = [sum(split["per_class"][str(digit)] for split in splits.values()) for digit in range(10)]
        assert total == np.bincount(labels).tolist()
        assert reports[0]["mean"] == pytest.approx([images.mean()], rel=0.02)
        text = cnnkit("data", "info", "runs/net-1")
        assert text.code == 0
        assert "1,293" in text.out

    def test_info_of_a_folder(self, tmp_path: Path, cnnkit: Cnnkit) -> None:
        from PIL import Image

        for name, count in (("cat", 12), ("dog", 15)):
            (tmp_path / name).mkdir()
            for number in range(count):
                Image.new("RGB", (9, 7), "red").save(tmp_path / name / f"{number}.png")
        report = json.loads(cnnkit("data", "info", f"{tmp_path}/", "--json").out)
        assert (report["shape"], report["class_names"]) == ([7, 9, 3], ["cat", "dog"])
        assert sum(split["images"] for split in report["splits"].values()) == 27
        assert report["mean"] == [255, 0, 0]

    @pytest.mark.long
    def test_info_of_real_data(self, tfds_data: Path, cnnkit: Cnnkit) -> None:
        report = json.loads(cnnkit("data", "info", "mnist", "--json").out)
        assert (report["shape"], report["classes"]) == ([28, 28, 1], 10)
        sizes = {name: split["images"] for name, split in report["splits"].items()}
        assert sizes == {"train": 54_000, "validation": 6_000, "test": 10_000}
        # The well-known mean of MNIST's training images, 0.1307.
        assert report["mean"][0] / 255 == pytest.approx(0.1307, abs=0.0005)

    def test_prepare_of_what_is_bundled(self, cnnkit: Cnnkit) -> None:
        result = cnnkit("data", "prepare", "digits")
        assert result.code == 0
        assert "no download" in result.out

    def test_sources_that_are_none(self, here: Path, cnnkit: Cnnkit) -> None:
        for source, part in (("mnits", "mnist"), ("nett.yaml", "did you mean `net.yaml`"), ("a b", "no data set name")):
            result = cnnkit("data", "info", source)
            assert (result.code, result.out) == (2, "")
            assert part in result.err


class TestErrors:
    def test_a_config_error_begins_with_its_place(self, empty: Path, cnnkit: Cnnkit) -> None:
        Path("net.yaml").write_text(edited(("batch_size", "batch_sise"), text=CONFIG))
        for command in ("train", "inspect"):
            result = cnnkit(command, "net.yaml")
            assert (result.code, result.out) == (2, "")
            assert result.err.startswith("net.yaml:2:22  data.batch_sise\n")
            assert "did you mean `batch_size`" in result.err
        assert os.listdir() == ["net.yaml"]

    def test_other_errors_begin_with_the_program(self, empty: Path, cnnkit: Cnnkit) -> None:
        for arguments in (("eval",), ("new",), ("new", "digts")):
            assert cnnkit(*arguments).err.startswith("cnnkit: ")

    def test_a_traceback_only_with_debug(self, empty: Path, cnnkit: Cnnkit) -> None:
        assert "Traceback" not in cnnkit("eval").err
        for arguments in (("--debug", "eval"), ("eval", "--debug")):
            result = cnnkit(*arguments)
            assert result.code == 2
            assert "Traceback" in result.err
            assert "there are no runs" in result.err
        assert "Traceback" not in cnnkit("eval").err

    def test_a_mistake_in_cnnkit_says_so(self, empty: Path, cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail() -> None:
            raise ZeroDivisionError("division by zero")

        monkeypatch.setattr("cnnkit.runs.listing.run_rows", fail)
        result = cnnkit("runs")
        assert (result.code, result.out) == (1, "")
        assert "ZeroDivisionError" in result.err
        assert "--debug" in result.err
        assert "Traceback" not in result.err
        assert "Traceback" in cnnkit("runs", "--debug").err

    @pytest.mark.parametrize(
        ("error", "part"),
        [
            (MemoryError(), "not enough memory"),
            (ImportError("x.so: failed to map segment from shared object"), "not enough memory: x.so"),
            (RuntimeError("can't start new thread"), "not enough memory"),
            (OSError(12, "Cannot allocate memory"), "not enough memory"),
            (
                type("ResourceExhaustedError", (Exception,), {})(
                    "{{function_node __wrapped__Mul_device_/job:localhost}} OOM when allocating tensor with "
                    "shape[30000,2] and type float on /job:localhost/device:CPU:0 by allocator mklcpu [Op:Mul] name: "
                ),
                "not enough memory: TensorFlow found none for [30000,2] values of type float\n",
            ),
            (OSError(28, "No space left on device", "a/b.csv"), "`a/b.csv`: No space left on device\nFree some space"),
            (OSError(30, "Read-only file system", "a"), "`a`: Read-only file system\nMake its file system writable"),
            (OSError(36, "File name too long", "aa"), "`aa`: File name too long\nUse a shorter name"),
        ],
    )
    def test_what_the_system_refuses_is_no_mistake_in_cnnkit(
        self, error: Exception, part: str, empty: Path, cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> None:
            raise error

        monkeypatch.setattr("cnnkit.runs.listing.run_rows", fail)
        result = cnnkit("runs")
        assert (result.code, result.out) == (1, "")
        assert part in result.err
        assert "mistake in cnnkit" not in result.err

    @pytest.mark.parametrize("closed", ["2>&-", ">&-", "<&- >&- 2>&-"])
    def test_closed_streams_are_harmless(self, closed: str, empty: Path) -> None:
        """The next file that is opened would get the number of a closed one, and what is written there."""
        code = "import os, sys; from cnnkit.cli import main; sys.argv = ['cnnkit', 'eval', 'x']\n"
        code += "try: main()\nfinally: open('number', 'w').write(str(os.open('file', os.O_WRONLY | os.O_CREAT)))"
        done = subprocess.run(["bash", "-c", f'exec "{sys.executable}" -c "$0" {closed}', code], capture_output=True)
        assert done.returncode == 2
        assert int(Path("number").read_text()) > 2

    def test_names_reach_no_terminal_as_commands_to_it(self, empty: Path, cnnkit: Cnnkit) -> None:
        name = "\x1b[31mred\x9b\u202e-1"
        Path("runs", name).mkdir(parents=True)
        Path("runs", name, "config.yaml").write_text("training: {epochs: 3}")
        shown = r"\x1b[31mred\x9b\u202e-1"
        assert shown in cnnkit("runs").out
        assert shown in cnnkit("eval", "no run").err
        assert json.loads(cnnkit("runs", "--json").out)[0]["run"] == name
        for arguments in (
            ("runs",),
            ("runs", "--json"),
            ("eval", name),
            ("eval", f"--{name}"),
            ("--debug", "eval", name),
        ):
            result = cnnkit(*arguments)
            assert set("\x1b\x9b\u202e").isdisjoint(result.out + result.err)

    def test_ctrl_c_exits_with_130(self, empty: Path, cnnkit: Cnnkit, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt() -> None:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)

        def disguised() -> None:
            try:
                interrupt()
            except KeyboardInterrupt:
                # As numpy's import does.
                raise ImportError("numpy failed to load") from None

        for function in (interrupt, disguised):
            monkeypatch.setattr("cnnkit.runs.listing.run_rows", function)
            result = cnnkit("runs")
            assert (result.code, result.out) == (130, "")
            assert result.err.strip() == "cnnkit: interrupted"

    @pytest.mark.parametrize("arguments", [("bogus",), ("train", "--bogus"), ("inspect",), ()])
    def test_wrong_usage_exits_with_2(self, arguments: tuple[str, ...], cnnkit: Cnnkit) -> None:
        result = cnnkit(*arguments)
        assert (result.code, result.out) == (2, "")
        assert "Usage: cnnkit" in result.err

    def test_version(self, cnnkit: Cnnkit) -> None:
        from cnnkit import __version__

        assert cnnkit("--version").out.split()[-1] == __version__

    @pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
    def test_a_full_disk_is_no_mistake_in_cnnkit(self, empty: Path) -> None:
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                [sys.executable, "-m", "cnnkit", "new", "--list"], stdout=full, stderr=subprocess.PIPE, text=True
            )
        assert done.returncode == 1
        assert done.stderr.splitlines()[0] == "cnnkit: `standard output`: No space left on device"

    def test_output_that_the_terminal_cannot_encode(self, empty: Path) -> None:
        Path("runs/猫-1").mkdir(parents=True)
        Path("runs/猫-1/config.yaml").write_text("training: {epochs: 1}")
        environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
        for arguments in ([], ["--json"]):
            done = subprocess.run(
                [sys.executable, "-m", "cnnkit", "runs", *arguments], env=environment, capture_output=True
            )
            assert (done.returncode, done.stderr) == (0, b"")
            assert b"\\u732b-1" in done.stdout


def lines_until(process: subprocess.Popen[str], word: str, seconds: float) -> Iterator[str]:
    """The process's lines up to the first one that holds the word."""
    assert process.stdout is not None
    end = time.monotonic() + seconds
    while select.select([process.stdout], [], [], max(0.0, end - time.monotonic()))[0]:
        line = process.stdout.readline()
        if not line:
            break
        yield line
        if word in line:
            return
    pytest.fail(f"no line with {word!r} came within {seconds} s")


class TestProcesses:
    @pytest.mark.long
    def test_ctrl_c_keeps_what_was_learned_and_resume_finishes(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cnnkit: Cnnkit
    ) -> None:
        (tmp_path / "net.yaml").write_text(CONFIG)
        with start(tmp_path, "train", "net.yaml", "--set", "training.epochs=300") as process:
            list(lines_until(process, "epoch   1/300", 300))
            process.send_signal(signal.SIGINT)
            errors = process.communicate(timeout=60)[1]
        assert process.returncode == 130
        assert "Traceback" not in errors
        assert "--resume runs/net-1" in errors
        run = tmp_path / "runs/net-1"
        assert (run / "model.keras").exists()
        assert list((run / "checkpoints").iterdir())
        with (run / "metrics.csv").open(newline="") as stream:
            before = list(csv.DictReader(stream))
        assert 1 <= len(before) < 300

        monkeypatch.chdir(tmp_path)
        # The message is a command that can be pasted.
        (command,) = re.findall(r"cnnkit (train --resume .*)", errors)
        last = len(before) + 1
        result = cnnkit(*command.split(), "--set", f"training.epochs={last}")
        assert (result.code, result.err) == (0, "")
        with (run / "metrics.csv").open(newline="") as stream:
            after = list(csv.DictReader(stream))
        assert after[:-1] == before
        assert after[-1]["epoch"] == str(last)
        assert json.loads((run / "evaluation.json").read_text())["images"] == 360
        # One log holds both parts.
        log = (run / "log.txt").read_text()
        assert "epoch   1/300" in log
        assert f"epoch {last}/{last}" in log

    @pytest.mark.long
    def test_a_reader_that_goes_away_does_not_end_the_run(self, tmp_path: Path) -> None:
        (tmp_path / "net.yaml").write_text(CONFIG)
        with start(tmp_path, "train", "net.yaml", "--run-dir", "my run/") as process:
            (first,) = lines_until(process, "", 300)
            assert "net.yaml" in first
            assert process.stdout is not None
            process.stdout.close()
            assert process.stderr is not None
            errors = process.stderr.read()
        assert (process.returncode, errors) == (0, "")
        assert (tmp_path / "my run/evaluation.json").exists()
        log = (tmp_path / "my run/log.txt").read_text()
        assert "epoch 2/2" in log
        *_, test, report = log.splitlines()
        assert test.startswith("test ")
        assert report == "report    my run/report.html"
