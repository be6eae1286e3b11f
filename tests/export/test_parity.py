"""The comparison with Keras that `cnnkit export` makes."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run as command

from cnnkit.export.network import exportable
from cnnkit.export.parity import difference, drawn
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import labelled_images
from cnnkit.runs.trained import open_run


def export(run: Run, *more: str) -> list[str]:
    return ["export", str(run.path), "--format", "onnx", "-o", "model.onnx", *more]


@pytest.mark.long
def test_a_comparison_says_what_eval_says(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command(export(digits_run, "--json"), monkeypatch) == 0
    printed = json.loads(capsys.readouterr().out)
    evaluation = json.loads(digits_run.evaluation.read_text())
    parity = printed["parity"]
    assert (parity["images"], parity["figure"], parity["keras"]) == (360, "accuracy", evaluation["accuracy"])
    assert parity["exported"] == evaluation["accuracy"]
    assert [(part["batch"], part["equal"], part["answers"]) for part in parity["batches"]] == [(1, 1, 360), (7, 1, 360)]
    assert all(0 < part["difference"] < 1e-5 for part in parity["batches"])
    assert printed["speed"]["exported"]["bytes"] == Path("model.onnx").stat().st_size
    assert printed["speed"]["keras"]["bytes"] == digits_run.model.stat().st_size


@pytest.mark.long
def test_a_file_that_says_something_else_is_kept_under_another_name(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from cnnkit.export import exporting

    def convert_another(model: Any, *rest: Any) -> None:
        altered = exportable(model)
        *others, bias = altered.get_weights()
        altered.set_weights([*others, bias + np.linspace(0, 3, len(bias), dtype=np.float32)])
        convert(altered, *rest)

    convert = exporting.convert
    monkeypatch.setattr(exporting, "convert", convert_another)
    monkeypatch.chdir(tmp_path)
    assert command(export(digits_run, "--images", "50"), monkeypatch) == 1
    printed = capsys.readouterr()
    assert "its outputs differ from Keras' by 0." in printed.err
    assert "It is kept as `model.failed.onnx`" in printed.err
    assert "of 50 test images" in printed.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.failed.onnx", "model.failed.onnx.json"]
    # It is a matter of the tolerance alone.
    assert command(export(digits_run, "--images", "50", "--tolerance", "1"), monkeypatch) == 0


@pytest.mark.long
def test_without_its_images_a_run_is_exported_only_where_that_is_said(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run(Path(shutil.copytree(digits_run.path, tmp_path / "run")))
    environment = run.read_environment()
    run.write_json(run.environment, {**environment, "data": {**environment["data"], "fingerprint": "another"}})
    monkeypatch.chdir(tmp_path)
    assert command(export(run), monkeypatch) == 1
    assert "--no-parity" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert command(export(run, "--no-parity"), monkeypatch) == 0
    assert "was NOT compared with Keras" in capsys.readouterr().err
    assert (tmp_path / "model.onnx").exists()


def test_differences_are_shares_of_large_outputs_and_nan_stays() -> None:
    large = np.array([[2000.0, 0.5]], np.float32)
    assert difference(large, large + 1) == 1
    assert difference(large, large + np.array([1, 0])) == pytest.approx(1 / 2000)
    assert math.isnan(difference(large, np.array([[np.nan, 0.5]], np.float32)))
    assert math.isnan(difference(large, large[:, :1]))


def test_images_are_drawn_over_the_whole_split_and_keep_their_targets(digits_run: Run) -> None:
    split = labelled_images(open_run(digits_run))
    some = drawn(split, 50, 0)
    assert (some.size, len(set(some.ids))) == (50, 50)
    assert max(map(split.ids.index, some.ids)) > 300
    for image, label, identity in zip(some.read(np.arange(50)), some.labels, some.ids, strict=True):
        place = split.ids.index(identity)
        assert label == split.labels[place]
        np.testing.assert_array_equal(image, split.read([place])[0])


def test_mixed_precision_is_left_behind() -> None:
    import keras

    inner = keras.Sequential([keras.Input((4, 4, 2)), keras.layers.Conv2D(3, 2, dtype="mixed_bfloat16")])
    mixed = keras.Sequential(
        [
            keras.Input((4, 4, 2)),
            keras.layers.Normalization(mean=[1.0, 2.0], variance=[3.0, 4.0]),
            inner,
            keras.layers.Flatten(dtype="mixed_bfloat16"),
            keras.layers.Dense(2, dtype="float32"),
        ]
    )
    exact = exportable(mixed)
    assert {layer.compute_dtype for layer in exact._flatten_layers()} == {"float32"}
    assert mixed.layers[1].layers[0].compute_dtype == "bfloat16"
    images = np.random.default_rng(0).random((3, 4, 4, 2), np.float32)
    kernel, bias, weights, offsets = mixed.get_weights()
    scaled = (images - [1, 2]) / np.sqrt([3, 4])
    windows = np.lib.stride_tricks.sliding_window_view(scaled, (2, 2), axis=(1, 2))
    expected = (np.einsum("nhwcij,ijcf->nhwf", windows, kernel) + bias).reshape(3, -1) @ weights + offsets
    np.testing.assert_allclose(exact(images), expected, rtol=0, atol=1e-5)
