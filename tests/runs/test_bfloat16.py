"""Networks that are evaluated and used in bfloat16, whatever they were trained in."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run as run_command
from PIL import Image

from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import evaluate_run
from cnnkit.runs.precision import compute_in
from cnnkit.runs.trained import open_run


@pytest.fixture
def run(digits_run: Run, tmp_path: Path) -> Run:
    """A run that a test may write to."""
    shutil.copytree(digits_run.path, tmp_path / "run")
    return Run(tmp_path / "run")


def test_factors_between_the_first_and_the_last_layer_are_rounded_and_sums_are_not() -> None:
    """Against products in float64 of factors that are rounded where the docstring says so."""
    import keras
    import ml_dtypes

    from cnnkit.runs.inference import compile_network

    random = np.random.default_rng(0)
    images = random.integers(0, 256, (16, 12, 12, 3), np.uint8)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((12, 12, 3), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(24, 1),
            layers.Flatten(),
            layers.Dense(64),
            layers.BatchNormalization(),
            layers.Dense(8),
        ]
    )
    first, middle, last = (
        np.abs(random.normal(size=size)).astype(np.float32) for size in ((1, 1, 3, 24), (12 * 12 * 24, 64), (64, 8))
    )
    for place, kernel in ((1, first), (3, middle), (5, last)):
        model.layers[place].set_weights([kernel, np.zeros(kernel.shape[-1], np.float32)])

    def rounded(values: Any) -> Any:
        return np.asarray(values, np.float32).astype(ml_dtypes.bfloat16).astype(np.float64)

    def same(values: Any) -> Any:
        return np.asarray(values, np.float64)

    def outputs(middle_of: Any) -> Any:
        inner = middle_of((images / 255.0) @ same(first[0, 0]))
        # A batch normalization that has seen nothing divides by the root of 1.001.
        normalized = middle_of(middle_of(inner.reshape(16, -1) @ middle_of(middle)) / np.sqrt(1.001))
        return normalized @ same(last)

    compute_in(model, "bfloat16")
    found = np.asarray(compile_network(model, head="logits")(images), np.float64)
    # 3,456 products that were summed up in eight binary digits would stop far below their sum. Without instructions for
    # bfloat16, TensorFlow adds some of its partial sums in it.
    np.testing.assert_allclose(found, outputs(rounded), rtol=2.0**-7)
    assert not np.allclose(found, outputs(same), rtol=1e-5)
    compute_in(model, "float32")
    np.testing.assert_allclose(np.asarray(compile_network(model, head="logits")(images)), outputs(same), rtol=1e-5)


def test_the_first_layer_inside_a_block_is_the_first_of_the_network() -> None:
    import keras

    layers = keras.layers
    image = keras.Input((8, 8, 3))
    inner = keras.Sequential([layers.Conv2D(4, 3, name="first"), layers.Conv2D(4, 3, name="second")])
    heads = keras.Sequential(
        [layers.Dense(4, name="third"), layers.Dense(2, name="last"), layers.Softmax(name="after")]
    )
    attended = layers.MultiHeadAttention(1, 4, name="attention")
    outputs = inner(image)
    model = keras.Model(image, heads(layers.Flatten(name="between")(attended(outputs, outputs))))
    compute_in(model, "bfloat16")
    found = {
        layer.name: layer.compute_dtype
        for part in (inner, heads, model)
        for layer in part.layers
        if not hasattr(layer, "layers") and "input" not in layer.name
    }
    inside = dict.fromkeys(("second", "attention", "between", "third"), "bfloat16")
    assert found == {**dict.fromkeys(("first", "last", "after"), "float32"), **inside}
    assert attended.query_dense.compute_dtype == "bfloat16"
    assert all(weight.dtype == "float32" for weight in model.weights)


def test_a_run_is_evaluated_in_bfloat16_and_nothing_of_it_is_kept(run: Run) -> None:
    files = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    exact = json.loads(run.evaluation.read_text())
    found = evaluate_run(open_run(run, precision="bfloat16"))
    assert found["precision"] == "bfloat16"
    # Three of 360 images.
    assert found["accuracy"] == pytest.approx(exact["accuracy"], abs=3 / 360)
    assert found["loss"] == pytest.approx(exact["loss"], rel=0.02)
    assert found["loss"] != exact["loss"]
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == files
    # It was trained in float32.
    assert evaluate_run(open_run(run, precision="float32")) == {"precision": "float32", **exact}


def test_predict_and_eval_take_it(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    image = run.path.parent / "four.png"
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8) * 3).save(image)
    answers = {}
    for precision in ("float32", "bfloat16"):
        assert run_command(["predict", str(run.path), str(image), "--json", "--precision", precision], monkeypatch) == 0
        (answer,) = json.loads(capsys.readouterr().out)
        answers[precision] = np.array([answer["probabilities"][str(digit)] for digit in range(10)])
    np.testing.assert_allclose(answers["bfloat16"], answers["float32"], atol=0.05)
    assert np.any(answers["bfloat16"] != answers["float32"])
    # The softmax is one of float32.
    assert answers["bfloat16"].sum() == pytest.approx(1, abs=1e-5)
    assert run_command(["eval", str(run.path), "--precision", "bfloat16"], monkeypatch) == 0
    assert "test split, in bfloat16" in capsys.readouterr().out


def test_the_user_is_told_where_it_is_slower(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for hindrance in (None, "this processor has none"):
        caplog.clear()
        monkeypatch.setattr("cnnkit.runs.trained.bfloat16_hindrance", lambda answer=hindrance: answer)
        assert open_run(run, precision="bfloat16").model is not None
        assert ("this processor has none; it takes longer here than float32" in caplog.text) is (hindrance is not None)


@pytest.mark.parametrize("command", ["predict", "serve"])
def test_an_exported_file_keeps_its_own_numbers(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"")
    assert run_command([command, str(tmp_path / "model.onnx"), "--precision", "bfloat16"], monkeypatch) == 2
    assert "--precision is for runs" in capsys.readouterr().err
