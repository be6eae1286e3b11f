"""The pictures of `cnnkit show`: what is in them against independent sources, and that each command writes its file."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from sharing import copied
from trainings import run_training

from cnnkit.cli import cli
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.report.single import write_report
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def show() -> Any:
    def run(*arguments: object) -> Result:
        return CliRunner().invoke(cli, ["show", *map(str, arguments)])

    return run


def picture(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"), np.int64)


def rows_of(run: Run) -> list[dict[str, str]]:
    with run.predictions.open(newline="") as stream:
        return list(csv.DictReader(stream))


def wrong(run: Run) -> list[dict[str, str]]:
    return [row for row in rows_of(run) if row["true_class"] != row["predicted_class"]]


def test_the_worst_mistakes_are_those_of_the_predictions_file(digits_run: Run) -> None:
    from sklearn.datasets import load_digits

    from cnnkit.tasks.classification.predictions import read_predictions, worst_mistakes

    predictions = read_predictions(open_run(digits_run))
    found = worst_mistakes(predictions, 5)
    expected = sorted(wrong(digits_run), key=lambda row: -float(row["confidence"]))[:5]
    assert expected
    assert [one.confidence for one in found] == [float(row["confidence"]) for row in expected]
    images = load_digits().images
    for one, image in zip(found, predictions.pictures(found), strict=True):
        row = rows_of(digits_run)[one.place]
        assert (one.true_class, one.predicted_class) == (row["true_class"], row["predicted_class"])
        assert one.true_probability == float(row[f"probability_{one.true_class}"])
        # The image is the one that the row names, as scikit-learn has it.
        place = int(one.identity.rpartition("/")[2])
        assert one.identity == row["file"] if "file" in row else row["index"]
        np.testing.assert_array_equal(image[..., 0], np.rint(images[place] * 255 / 16))


def test_the_confused_pairs_are_counted(digits_run: Run) -> None:
    from cnnkit.tasks.classification.predictions import confused_pairs, read_predictions

    counts = Counter((row["true_class"], row["predicted_class"]) for row in wrong(digits_run))
    support = Counter(row["true_class"] for row in rows_of(digits_run))
    found = confused_pairs(read_predictions(open_run(digits_run)), 3, 2)
    assert [one.count for one in found] == [count for _, count in counts.most_common(3)]
    for one in found:
        assert one.count == counts[one.true_class, one.predicted_class]
        assert one.share == pytest.approx(one.count / support[one.true_class])
        assert len(one.examples) == min(2, one.count)
        assert all((m.true_class, m.predicted_class) == (one.true_class, one.predicted_class) for m in one.examples)


def test_patches_come_from_where_a_filter_responds_most(digits_run: Run) -> None:
    """Against Keras' own model up to the layer, image by image."""
    import keras

    from cnnkit.config.load import load_config
    from cnnkit.inside.feature_maps import compile_stages
    from cnnkit.inside.outputs import way_to
    from cnnkit.inside.show import strongest
    from cnnkit.runs.evaluation import labelled_images

    model = open_run(digits_run).model
    split = labelled_images(open_run(digits_run))
    place = way_to(load_config(str(digits_run.config)), "3.Conv2D")[-1]
    names = [layer.name for layer in model.layers]
    until = keras.Sequential([keras.Input(model.input_shape[1:]), *model.layers[: names.index("3.Conv2D") + 1]])
    outputs = until.predict(split.read(np.arange(split.size)), verbose=0)
    values, positions = strongest(compile_stages(model, [place], jit_compile=False), split)
    np.testing.assert_allclose(values, outputs.max(axis=(1, 2)), rtol=1e-4, atol=1e-4)
    rows, columns = np.divmod(positions, outputs.shape[2])
    at = outputs[np.arange(split.size)[:, None], rows, columns, np.arange(outputs.shape[3])]
    np.testing.assert_allclose(at, values, rtol=1e-4, atol=1e-4)


def test_feature_maps_are_normalised_and_sorted_by_activity() -> None:
    from cnnkit.inside.feature_maps import most_active, normalised

    maps = np.stack([np.full((2, 3), level, np.float32) for level in (1, 5, 3)], axis=-1)
    assert most_active(maps, 2) == [1, 2]
    assert normalised(np.array([[2.0, 4.0, 3.0]], np.float32)).tolist() == [[0, 1, 0.5]]
    assert normalised(maps[..., 0]).max() == 0


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["filters"], "filters.png"),
        pytest.param(["filters", "--layer", "3.Conv2D"], "filters-3.Conv2D.png", marks=pytest.mark.long),
        (["features", "5"], "features-5.png"),
        (["gradcam", "5"], "gradcam-5.png"),
        pytest.param(["gradcam", "--mistakes"], "gradcam-mistakes.png", marks=pytest.mark.long),
        pytest.param(["mistakes"], "mistakes.png", marks=pytest.mark.long),
        (["curves"], "curves.png"),
    ],
)
def test_each_picture_is_written_and_named(
    show: Any, digits_run: Run, arguments: list[str], name: str, tmp_path: Path
) -> None:
    run = copied(digits_run, tmp_path)
    kind, *rest = arguments
    first = show(kind, run.path, *rest)
    assert first.exit_code == 0, first.output
    assert first.output == f"wrote {run.path / 'plots' / name}\n"
    shown = picture(run.path / "plots" / name)
    assert shown.shape[1] >= 900
    assert len(np.unique(shown)) > 20
    again = show(kind, run.path, *rest, "--output", tmp_path / "again.png")
    assert again.exit_code == 0, again.output
    assert (tmp_path / "again.png").read_bytes() == (run.path / "plots" / name).read_bytes()


def test_a_file_is_looked_at_as_the_test_image_is(show: Any, digits_run: Run, tmp_path: Path) -> None:
    from PIL import Image

    from cnnkit.inside.show import read_input
    from cnnkit.runs.evaluation import labelled_images

    image = labelled_images(open_run(digits_run)).read([5])[0]
    Image.fromarray(image[..., 0]).save(tmp_path / "five.png")
    pixels, name = read_input(open_run(digits_run), str(tmp_path / "five.png"))
    np.testing.assert_array_equal(pixels, image)
    assert name == "five.png"
    assert show("features", digits_run.path, tmp_path / "five.png", "-o", tmp_path / "f.png").exit_code == 0


def test_no_two_images_share_a_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/1.jpg", "b/1.jpg", "b/1.png", "5"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    run = Run(Path("run"))
    images = ["a/1.jpg", "b/1.jpg", "b/1.png", "5", "7", "a/" + "long" * 60 + ".jpg"]
    pictures = [run.plot_of("gradcam", image, classes) for image in images for classes in ((), ("x",), ("x", "y"))]
    assert len({picture.name for picture in pictures}) == len(pictures)
    assert max(len(picture.name.encode()) for picture in pictures) < 255
    assert run.plot_of("gradcam", "7").name == "gradcam-7.png"
    assert run.plot_of("gradcam", "7", ["x", "", "3.Conv2D"]) != run.plot_of("gradcam", "7", ["x", "3.Conv2D"])
    deep = [f"{'level/' * 40}{kind}" for kind in ("é" * 90, "Conv2D", "ReLU")]
    layers = [run.plot_at("filters", name).name for name in ("3.Conv2D", *deep)]
    assert layers[0] == "filters-3.Conv2D.png"
    assert len(set(layers)) == 4
    assert max(len(name.encode()) for name in layers) < 255
    # The same image has the same picture, wherever one stands.
    before = run.plot_of("gradcam", "a/1.jpg")
    monkeypatch.chdir(tmp_path / "b")
    assert run.plot_of("gradcam", "../a/1.jpg") == before


def test_augmentation_shows_what_the_pipeline_makes(show: Any, tmp_path: Path) -> None:
    """The drawn pictures are the pipeline's own draws; MixUp's labels are named with their shares."""
    config = tmp_path / "net.yaml"
    config.write_text(
        "data: {name: digits}\naugmentation: [{RandomTranslation: {height_factor: 0.2, width_factor: 0.2}}, MixUp]\n"
        "model: {layers: [Flatten, {Dense: classes}]}\n"
    )
    result = show("augmentation", config, "--images", 2, "--draws", 3, "-o", tmp_path / "a.png")
    assert result.exit_code == 0, result.output
    assert picture(tmp_path / "a.png").shape[1] >= 900
    rows = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cnnkit.inside.show.sheet", lambda title, found, path, **_: rows.extend(found))
        show("augmentation", config, "--images", 4, "--draws", 8, "-o", tmp_path / "a.png")
    captions = [picture.caption for row in rows for picture in row.pictures]
    shares = [dict(line.split()[::-1] for line in one.splitlines()) for one in captions if "%" in one]
    assert shares
    assert all(len(one) == 2 for one in shares)
    result = show("augmentation", config, "--set", "augmentation=[]", "-o", tmp_path / "b.png")
    assert isinstance(result.exception, UsageError)
    assert "has no augmentation" in str(result.exception)


@pytest.mark.long
def test_augmentation_in_a_process_of_its_own_is_quiet(tmp_path: Path) -> None:
    """TensorFlow greets on standard error where it is loaded past `runtime`, and then without cnnkit's settings."""
    config = tmp_path / "net.yaml"
    config.write_text(
        "data: {name: digits}\naugmentation: [{RandomRotation: 0.1}]\nmodel: {layers: [Flatten, {Dense: classes}]}\n"
    )
    command = [sys.executable, "-m", "cnnkit", "show", "augmentation", str(config), "--draws", "1"]
    done = subprocess.run([*command, "-o", "a.png"], cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stdout, done.stderr) == (0, "wrote a.png\n", "")


def test_runs_of_one_name_are_told_apart_by_their_paths(show: Any, digits_run: Run, tmp_path: Path) -> None:
    other = tmp_path / "elsewhere" / digits_run.name
    shutil.copytree(digits_run.path, other)
    result = show("curves", digits_run.path, other, "-o", tmp_path / "both.SVG")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "both.SVG").read_text()
    assert f">{other}<" in text
    assert f">{digits_run.path}<" in text
    assert "comes twice" in str(show("curves", other, other, "-o", tmp_path / "both.svg").exception)


def test_kernels_of_every_convolution_are_filters() -> None:
    """By what the layers compute: an impulse in one channel gives the mirrored kernel."""
    import keras

    from cnnkit.training.model import first_kernel

    draws = np.random.default_rng(0)
    for layer, channels in (
        (keras.layers.Conv2D(3, 3, padding="same"), 2),
        (keras.layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"), 1),
        (keras.layers.Conv2DTranspose(3, 3, padding="same"), 2),
    ):
        model = keras.Sequential([keras.Input((5, 5, 2)), layer])
        model.set_weights([draws.normal(size=weight.shape) for weight in model.get_weights()])
        kernel = first_kernel(model)
        assert kernel is not None
        depthwise = channels == 1
        assert kernel.shape == (3, 3, channels, 4 if depthwise else 3)
        impulse = np.zeros((1, 5, 5, 2), np.float32)
        impulse[0, 2, 2, 1] = 1
        outputs = (np.asarray(model(impulse)) - np.asarray(model(0 * impulse)))[0, 1:4, 1:4]
        expected = kernel[:, :, 0, 2:] if depthwise else kernel[:, :, 1]
        if not isinstance(layer, keras.layers.Conv2DTranspose):
            expected = expected[::-1, ::-1]
        np.testing.assert_allclose(outputs[..., 2:] if depthwise else outputs, expected, rtol=1e-4, atol=1e-5)


def test_kernels_of_signals_and_volumes_are_filters() -> None:
    """Likewise; an impulse in the middle."""
    import keras

    from cnnkit.training.model import first_kernel

    draws = np.random.default_rng(0)
    for layer, depthwise, turned in (
        (keras.layers.Conv1D(4, 3, padding="same"), False, False),
        (keras.layers.Conv1DTranspose(4, 3, padding="same"), False, True),
        (keras.layers.DepthwiseConv1D(3, depth_multiplier=2, padding="same"), True, False),
        (keras.layers.Conv3D(4, 3, padding="same"), False, False),
        (keras.layers.Conv3DTranspose(4, 3, padding="same"), False, True),
    ):
        axes = 3 if "3D" in type(layer).__name__ else 1
        model = keras.Sequential([keras.Input((*[5] * axes, 2)), layer])
        model.set_weights([draws.normal(size=weight.shape) for weight in model.get_weights()])
        kernel = first_kernel(model)
        assert kernel is not None
        assert kernel.shape == (*[3] * axes, 1 if depthwise else 2, 4)
        assert first_kernel(model, 4) is None
        impulse = np.zeros((1, *[5] * axes, 2), np.float32)
        impulse[(0, *[2] * axes, 1)] = 1
        middle = (0, *[slice(1, 4)] * axes)
        outputs = (np.asarray(model(impulse)) - np.asarray(model(0 * impulse)))[middle]
        expected = kernel[..., 0, 2:] if depthwise else kernel[..., 1, :]
        expected = expected if turned else np.flip(expected, range(axes))
        np.testing.assert_allclose(outputs[..., 2:] if depthwise else outputs, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_filters_of_signals_are_drawn_and_what_cannot_be_seen_is_said(show: Any, tmp_path: Path) -> None:
    for channels, seen in ((4, True), (160, False)):
        layers = [
            {"Reshape": [64, 1]},
            {"Dense": channels},
            {"Conv1D": {"filters": 6, "kernel_size": 5}},
            "GlobalMaxPooling1D",
            {"Dense": "classes"},
        ]
        content = {
            "data": {"name": "digits"},
            "model": {"layers": layers},
            "training": {"epochs": 1, "tensorboard": False},
        }
        run = run_training(tmp_path, content, f"signals-{channels}")
        report = write_report(open_run(run)).read_text("utf-8")
        shown = show("filters", run.path)
        assert ("6 kernels of 5 × 4; a row for each channel." in report) == seen
        assert (shown.exit_code == 0 and run.filters.exists()) == seen
        if not seen:
            assert "`2.Conv1D`, has kernels of 5 positions and 160 channels" in str(shown.exception)


def test_curves_of_several_runs_share_a_plot(show: Any, digits_run: Run, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(digits_run.path, other)
    result = show("curves", digits_run.path, other, "-o", tmp_path / "both.svg")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "both.svg").read_text()
    assert digits_run.name in text
    assert ">other<" in text
    assert "best epoch" in text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gradcam"], "expected an image, or --mistakes"),
        (["gradcam", "5", "--mistakes"], "expected an image, or --mistakes"),
        (["gradcam", "5", "--class", "cat"], "has no class `cat`"),
        (["features", "no.png"], "neither"),
        (["features", "360"], "there is no test image 360"),
        (["filters", "--layer", "9.Conv2D"], "no layer `9.Conv2D`"),
        (["mistakes", "-o", "x.gif"], "ends in .png"),
        (["mistakes", "-o", "nowhere/x.png"], "no folder `nowhere`"),
    ],
)
def test_what_cannot_be_shown_is_said(show: Any, digits_run: Run, arguments: list[str], message: str) -> None:
    kind, *rest = arguments
    result = show(kind, digits_run.path, *rest)
    assert isinstance(result.exception, UsageError)
    assert message in str(result.exception)


def test_a_run_without_evaluation_says_how_to_make_one(digits_run: Run, tmp_path: Path) -> None:
    from cnnkit.tasks.classification.predictions import read_predictions, worst_mistakes

    copy = Run(tmp_path / "copy")
    shutil.copytree(digits_run.path, copy.path)
    copy.predictions.unlink()
    with pytest.raises(CnnkitError) as error:
        worst_mistakes(read_predictions(open_run(copy)), 3)
    assert "cnnkit eval" in error.value.hint
    copy.predictions.write_text("index,true_class\n")
    with pytest.raises(CnnkitError, match="one row per test image"):
        worst_mistakes(read_predictions(open_run(copy)), 3)
