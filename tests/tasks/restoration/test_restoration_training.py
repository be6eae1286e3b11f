"""A picture is restored by a training like any other: its figures, its files, its resume, and what its commands say."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from commands import run as cnnkit
from PIL import Image
from small_pictures import config, save, smooth_picture
from trainings import assert_same, continued, killed_in_epoch, run_training

from cnnkit.comparing.seeds import read_results
from cnnkit.report.single import write_report
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import evaluate_ensemble, evaluate_run
from cnnkit.runs.trained import open_run


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path), np.float64)


def psnr(one: np.ndarray, other: np.ndarray) -> float:
    """By its definition."""
    return float(10 * np.log10(255**2 / np.mean((one - other) ** 2)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("restoration")
    save(smooth_picture(), made / "photo.png")
    return made


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    trained = run_training(folder, config(str(folder / "photo.png")), "run")
    evaluate_run(open_run(trained))
    return trained


def iterations(run: Run) -> list[dict[str, float]]:
    with run.iterations.open() as stream:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(stream)]


def test_the_figures_are_those_of_the_files(run: Run) -> None:
    truth, restored, damaged = smooth_picture(), pixels(run.restored), pixels(run.damaged)
    evaluation = json.loads(run.evaluation.read_text())
    assert evaluation["psnr"] == pytest.approx(psnr(restored, truth))
    assert evaluation["psnr_before"] == pytest.approx(psnr(damaged, truth))
    assert evaluation["fit"] == pytest.approx(psnr(restored, damaged))
    # Noise of 25, a little less where it is cut off at black and white.
    assert 20 < np.sqrt(np.mean((damaged - truth) ** 2)) < 25

    rows = iterations(run)
    assert [row["iteration"] for row in rows] == list(range(1, 25))
    least = min(rows, key=lambda row: row["variance"])
    assert (evaluation["iteration"], evaluation["variance"]) == (least["iteration"], least["variance"])
    # The average of the outputs then is the picture, which has been rounded to bytes.
    assert least["psnr"] == pytest.approx(evaluation["psnr"], abs=0.02)


def test_what_is_learned_is_kept(run: Run) -> None:
    """model.keras is plain Keras: of the noise that NumPy draws by the run's seed it makes the picture."""
    import keras

    model = keras.models.load_model(run.model)
    assert model.input_shape == (None, 32, 40, 4)
    noise = np.random.default_rng(1).uniform(0, 0.1, (1, 32, 40, 4)).astype(np.float32)
    picture = 255 * np.asarray(model(noise))[0]
    # Not the average of the outputs, and with moving statistics, but of the same picture.
    restored, grey = pixels(run.restored), np.full_like(picture, 128)
    assert psnr(picture, restored) > psnr(grey, restored) + 3


@pytest.mark.long
def test_killed_and_resumed_it_is_the_same(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "killed").mkdir()
    killed = killed_in_epoch(1, monkeypatch, folder / "killed", config(str(folder / "photo.png")))
    continued(killed)
    assert_same(killed, run)
    assert killed.restored.read_bytes() == run.restored.read_bytes()
    assert killed.iterations.read_bytes() == run.iterations.read_bytes()


@pytest.mark.long
def test_killed_within_its_first_epoch_it_is_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint is due after some minutes, and an epoch of a large picture takes longer."""
    content = config(str(folder / "photo.png"))
    content["task"]["restoration"]["iterations"] = 20
    content["training"] |= {"epochs": 1, "checkpoint_minutes": 1e-9}
    (folder / "early").mkdir()
    killed = killed_in_epoch(0, monkeypatch, folder / "early", content)
    assert "step" in continued(killed)
    whole = run_training(folder, content, "whole")
    assert_same(killed, whole)
    assert killed.restored.read_bytes() == whole.restored.read_bytes()


@pytest.mark.long
def test_the_variance_ends_it(folder: Path) -> None:
    """At the first epoch's end that is `patience` steps after the minimum."""
    content = config(str(folder / "photo.png"), training={"epochs": 40, "tensorboard": False})
    # The noise on the input is large, so that the outputs soon vary as much as ever.
    content["task"] = {"restoration": {"iterations": 4, "input_channels": 4, "input_noise": 3, "patience": 10}}
    stopped = run_training(folder, content, "stopped")
    rows = iterations(stopped)
    variances = [row["variance"] for row in rows]
    at = int(np.argmin(variances))
    assert len(rows) < 160
    assert len(rows) - 4 < at + 1 + 10 <= len(rows)
    # It has come to its end.
    evaluate_run(open_run(stopped))
    (result,) = read_results([stopped])
    assert result.finished


@pytest.mark.long
def test_pixels_held_out_say_when_the_picture_is_taken(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Of a picture whose noise it learns in the end; with these, the curves have another column."""
    content = config(str(folder / "photo.png"), training={"epochs": 3, "tensorboard": False})
    content["task"]["restoration"]["held_out"] = 0.1
    judged = run_training(folder, content, "judged")
    assert "begin anew" not in caplog.text
    evaluate_run(open_run(judged))
    rows = iterations(judged)
    nearest = max(rows, key=lambda row: row["held_out"])
    evaluation = json.loads(judged.evaluation.read_text())
    assert (evaluation["iteration"], evaluation["held_out"]) == (nearest["iteration"], nearest["held_out"])
    assert nearest["psnr"] == pytest.approx(evaluation["psnr"], abs=0.02)
    assert "held_out" in judged.metrics.read_text().splitlines()[0]
    page = write_report(open_run(judged), folder / "judged.html").read_text()
    assert "The average of the outputs against the pixels held out" in page
    assert "nearest to known pixels that the network does not learn" in page
    assert "the minimum of their variance" not in page


@pytest.mark.long
def test_several_runs_are_the_mean_of_their_pictures(run: Run, folder: Path) -> None:
    other = run_training(folder, config(str(folder / "photo.png")) | {"seed": 2}, "other")
    metrics = evaluate_ensemble([open_run(run), open_run(other)])
    mean = np.rint((pixels(run.restored) + pixels(other.restored)) / 2)
    assert metrics["psnr"] == pytest.approx(psnr(mean, smooth_picture()))
    np.testing.assert_array_equal(pixels(run.damaged), pixels(other.damaged))


def test_the_report_has_the_pictures_and_the_curves(run: Run, tmp_path: Path) -> None:
    html = write_report(open_run(run), tmp_path / "report.html").read_text()
    for told in ("The damaged picture", "The restored picture", "The undamaged picture", "Variance of the outputs"):
        assert told in html
    assert "could not be made" not in html


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predict", "RUN", "photo.png"], "cnnkit restore CONFIG IMAGE"),
        (["serve", "RUN"], "cnnkit restore CONFIG IMAGE"),
        (["export", "RUN", "--format", "saved_model"], "cnnkit restore CONFIG IMAGE"),
        (["show", "features", "RUN", "photo.png"], "cnnkit restore CONFIG IMAGE"),
        (["show", "gradcam", "RUN", "photo.png"], "cnnkit restore CONFIG IMAGE"),
        (["show", "mistakes", "RUN"], "cnnkit report"),
        (["show", "augmentation", "RUN"], "no augmentation"),
        (["eject", "RUN"], "Train it with cnnkit"),
        (["data", "check", "RUN"], "cnnkit data info"),
        (["eval", "RUN", "--tta", "flip"], "--tta is for networks that look at images"),
        (["eval", "RUN", "--data", "."], "--data is for other images"),
    ],
)
def test_commands_that_do_not_apply_say_what_does(
    run: Run,
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = cnnkit([str(run.path) if one == "RUN" else one for one in arguments], monkeypatch)
    assert code == 2
    assert said in capsys.readouterr().err


@pytest.fixture
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.long
@pytest.mark.usefixtures("_in_folder")
def test_restore_takes_the_picture_as_it_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the network and training of a config; its damage and size are those of its own picture."""
    from trainings import write

    content = config("china")
    content["data"] |= {"image_size": [16, 16], "resize": "crop"}
    file = write(tmp_path, content)
    noisy = np.random.default_rng(0).normal(smooth_picture(), 20).clip(0, 255).astype(np.uint8)
    image = save(noisy, tmp_path / "noisy.png")
    reference = save(smooth_picture(), tmp_path / "clean.png")
    assert cnnkit(["restore", file, image, "--reference", reference, "-o", "out.png"], monkeypatch) == 0
    out = capsys.readouterr().out
    assert "wrote out.png" in out
    assert f"PSNR {psnr(pixels(Path('out.png')), smooth_picture()):.2f} dB" in out
    run = Run(Path("runs/net-1"))
    np.testing.assert_array_equal(pixels(run.damaged), noisy)
    # A config of something else restores nothing.
    assert cnnkit(["restore", "digits", image, "-o", "other.png"], monkeypatch) == 2
    assert "restores no picture" in capsys.readouterr().err
    # Nothing is replaced.
    assert cnnkit(["restore", file, image, "-o", "out.png"], monkeypatch) == 2


@pytest.mark.long
@pytest.mark.parametrize("way", ["fill_in", "enlarge"])
def test_a_picture_of_one_colour_is_restored(
    way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first fit is perfect, which no weight is for being."""
    monkeypatch.chdir(tmp_path)
    save(np.full((24, 32, 3), 255, np.uint8), tmp_path / "white.png")
    mask = np.full((24, 32), 255, np.uint8)
    mask[8:12, 8:20] = 0
    save(mask, tmp_path / "mask.png")
    more = {"fill_in": ["--mask", "mask.png"], "enlarge": ["--scale", "2"]}[way]
    short = ["--set", "training.epochs=1", "--set", "task.restoration.iterations=2"]
    assert cnnkit(["restore", way, "white.png", *more, "-o", "out.png", *short], monkeypatch) == 0, capsys.readouterr()
    with Image.open("out.png") as restored:
        assert restored.size == ((64, 48) if way == "enlarge" else (32, 24))
        assert np.asarray(restored).min() == 255
    assert "non-finite" not in capsys.readouterr().err
