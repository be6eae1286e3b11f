"""Smaller numbers for the weights of LiteRT files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run as command

from cnnkit.errors import CnnkitError
from cnnkit.export.exporting import ExportOptions, export_run
from cnnkit.export.formats import FORMATS
from cnnkit.export.places import Places
from cnnkit.export.quantize import TensorTypes, check_types, converter_settings
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import EvaluationOptions, labelled_images
from cnnkit.runs.trained import open_run


def kernels_by_interpreter(path: Path) -> dict[str, int]:
    """The types of constants with several axes, as LiteRT's interpreter tells them."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path))
    types: dict[str, int] = {}
    for tensor in interpreter.get_tensor_details():
        # What is computed has the batch as its first axis, and is not there before it is.
        if len(tensor["shape"]) < 2:
            continue
        try:
            interpreter.get_tensor(tensor["index"])
        except ValueError:
            continue
        name = np.dtype(tensor["dtype"]).name
        types[name] = types.get(name, 0) + 1
    return types


@pytest.mark.long
@pytest.mark.parametrize(
    ("kind", "kernels"),
    [("int8", {"int8": 4}), ("float16", {"float16": 4}), ("dynamic", {"int8": 2, "float32": 2})],
)
def test_kernels_have_the_type_that_was_asked_for(
    kind: str, kernels: dict[str, int], digits_run: Run, tmp_path: Path
) -> None:
    places = Places(FORMATS["litert"], tmp_path / "model.tflite")
    outcome = export_run(open_run(digits_run), places, ExportOptions(images=100, quantize=kind, calibration=50))
    assert outcome.types is not None
    assert outcome.types.weights == kernels_by_interpreter(places.main) == kernels
    assert outcome.parity is not None
    assert outcome.parity.difference > 1e-4
    assert abs(outcome.parity.headline.loss) <= 0.01
    assert outcome.speeds[1].size < outcome.speeds[0].size / 2
    assert json.loads(places.description.read_text())["quantize"] == kind


@pytest.mark.long
def test_a_loss_above_the_tolerance_fails(digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnkit.export import exporting

    def darkened(kind: str | None, images: Any) -> dict[str, Any]:
        """Ranges of images that are all black do not fit real ones."""
        settings = converter_settings(kind, images)
        black = [np.zeros((1, 8, 8, 1), np.float32)]
        return {**settings, "representative_dataset": lambda: iter([black])}

    monkeypatch.setattr(exporting, "converter_settings", darkened)
    places = Places(FORMATS["litert"], tmp_path / "model.tflite")
    outcome = export_run(open_run(digits_run), places, ExportOptions(images=100, quantize="int8"))
    assert outcome.failure is not None
    assert outcome.failure.startswith("its accuracy lost ")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in places.failed().described)


def test_kernels_that_stay_float_are_refused() -> None:
    check_types("int8", TensorTypes({}, {"int8": 4}))
    check_types("dynamic", TensorTypes({}, {"int8": 1, "float32": 3}))
    with pytest.raises(CnnkitError, match="--quantize int8: 1 of 4 kernels have stayed float32"):
        check_types("int8", TensorTypes({}, {"int8": 3, "float32": 1}))
    with pytest.raises(CnnkitError, match="--quantize dynamic: 4 of 4 kernels have stayed float32"):
        check_types("dynamic", TensorTypes({}, {"float32": 4}))


def test_ranges_come_from_training_images_as_they_are(digits_run: Run) -> None:
    split = labelled_images(open_run(digits_run), EvaluationOptions(split="train"))
    batches = list(converter_settings("int8", split)["representative_dataset"]())
    assert len(batches) == split.size == 1293
    for place in (0, 1292):
        (image,) = batches[place]
        assert image.dtype == np.float32
        np.testing.assert_array_equal(image, split.read([place]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "onnx", "--quantize", "int8"], "--quantize is for --format litert, not for onnx"),
        (["--format", "litert", "--quantize", "float16", "--calibration", "5"], "--calibration is for --quantize int8"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["export", "no-such-run", *arguments], monkeypatch) == 2
    assert message in capsys.readouterr().err
