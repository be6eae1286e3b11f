"""Networks that make images, as files: what they make, what they say of themselves, and what is not asked of them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from commands import run as cnnkit
from PIL import Image

from cnnkit.export.exporting import ExportOptions, export_run
from cnnkit.export.formats import FORMATS
from cnnkit.export.places import Places
from cnnkit.export.runtimes import open_network
from cnnkit.runs.directory import Run
from cnnkit.runs.interface import noted_interface
from cnnkit.runs.trained import open_run


@pytest.mark.long
@pytest.mark.parametrize("name", FORMATS)
def test_a_file_makes_what_keras_makes(maker_run: Run, tmp_path: Path, name: str) -> None:
    format_ = FORMATS[name]
    outcome = export_run(open_run(maker_run), Places(format_, tmp_path / f"model{format_.ending}"), ExportOptions(20))
    assert outcome.failure is None
    assert outcome.parity is not None
    assert outcome.parity.images == 20
    assert {agreement.answers for agreement in outcome.parity.agreements} == {20 * 8 * 8}
    drawn = np.random.default_rng(1).standard_normal((5, 8))
    taken = np.concatenate([drawn, np.eye(10)[[3, 1, 4, 1, 5]]], axis=1).astype(np.float32)
    expected = keras.saving.load_model(maker_run.model).predict(taken, verbose=0)
    assert np.ptp(expected) > 100
    np.testing.assert_allclose(open_network(format_, outcome.places.main, 1)(taken), expected, atol=1e-2)

    facts = json.loads(outcome.places.description.read_text("utf-8"))
    assert facts["input"] == {"name": "latent", "shape": [None, 18], "dtype": "float32", "range": None}
    assert facts["output"] == {"name": "output_0", "shape": [None, 8, 8, 1], "range": [0, 255]}
    assert facts["classes"] == [str(digit) for digit in range(10)]
    noted = facts["environment"]
    assert (noted["data"]["latent"], noted["data"]["conditions"]) == (8, 10)
    assert noted_interface(noted, "the file", "") == open_run(maker_run).interface

    script = [sys.executable, str(outcome.places.script), "11"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    vectors = np.random.default_rng(0).standard_normal((11, 8)).astype(np.float32)
    with_classes = np.concatenate([vectors, np.eye(10, dtype=np.float32)[np.arange(11) % 10]], axis=1)
    made = keras.saving.load_model(maker_run.model).predict(with_classes, verbose=0)
    with Image.open(tmp_path / "made-0010.png") as last:
        np.testing.assert_allclose(np.asarray(last), made[10, ..., 0], atol=0.51)
    card = outcome.places.card.read_text("utf-8")
    assert "- input `latent`: float32 [latent vectors, 18], standard normal numbers and the class as one-hot" in card
    assert "values from 0 to 255" in card


def test_what_is_not_asked_of_such_a_file(
    maker_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    run = str(maker_run.path)
    assert cnnkit(["export", run, "--format", "onnx", "-o", "model.onnx", "--images", "3"], monkeypatch) == 0
    assert "latent vectors at a time" in capsys.readouterr().out
    for arguments, said in (
        (["predict", "model.onnx", "a.png"], "`predict` is for networks that take images"),
        (["serve", "model.onnx"], "Name the run that it was exported from"),
        (["generate", "model.onnx", "-o", "b.png"], "`model.onnx` is no run, but a network that was exported"),
        (["export", run, "--format", "litert", "--quantize", "int8"], "--quantize: what smaller numbers cost"),
    ):
        assert cnnkit(arguments, monkeypatch) == 2
        assert said in capsys.readouterr().err
