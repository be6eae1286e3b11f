"""What `cnnkit export` writes: files that other programs run, and that say what they are."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run as command
from exported_answers import check_same_answers, check_same_feature_maps
from trainings import config, run_training

from cnnkit.errors import CnnkitError, UsageError
from cnnkit.export.exporting import ExportOptions, export_run
from cnnkit.export.formats import FORMATS
from cnnkit.export.places import Places, places_for
from cnnkit.runs.directory import Run
from cnnkit.runs.exported import ExportedNetwork
from cnnkit.runs.interface import noted_interface
from cnnkit.runs.trained import open_run
from cnnkit.serve.examples import Frame, read_examples

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 1)).astype(np.float32)

#: What is written is compared by the tests themselves.
UNSEEN = ExportOptions(images=0)


@pytest.fixture(scope="module")
def onnx_file(digits_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    export_run(open_run(digits_run), Places(FORMATS["onnx"], path), UNSEEN)
    return path


def outputs_of_keras(run: Run, images: np.ndarray) -> np.ndarray:
    import keras

    outputs: np.ndarray = keras.models.load_model(run.model, compile=False)(images, training=False).numpy()
    return outputs


def run_onnx(path: Path, images: np.ndarray) -> tuple[np.ndarray, str]:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (output,) = session.run(["output_0"], {"image": images})
    return output, session.get_modelmeta().custom_metadata_map["cnnkit"]


def run_saved_model(path: Path, images: np.ndarray) -> tuple[np.ndarray, str]:
    import tensorflow as tf

    outputs = tf.saved_model.load(str(path)).signatures["serving_default"](image=tf.constant(images))
    return outputs["output_0"].numpy(), (path / "assets.extra" / "cnnkit.json").read_text("utf-8")


def run_litert(path: Path, images: np.ndarray) -> tuple[np.ndarray, str]:
    from ai_edge_litert.interpreter import Interpreter
    from tensorflow.lite.tools import flatbuffer_utils

    interpreter = Interpreter(str(path))
    index = interpreter.get_input_details()[0]["index"]
    interpreter.resize_tensor_input(index, images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(index, images)
    interpreter.invoke()
    model = flatbuffer_utils.read_model(str(path))
    (entry,) = [entry for entry in model.metadata if entry.name == b"cnnkit"]
    text = bytes(model.buffers[entry.buffer].data).decode()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"]), text


def run_openvino(path: Path, images: np.ndarray) -> tuple[np.ndarray, str]:
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled({"image": images})["output_0"], model.get_rt_info("cnnkit").astype(str)


def test_a_file_gives_what_keras_gives_for_any_number_of_images(digits_run: Run, onnx_file: Path) -> None:
    expected = outputs_of_keras(digits_run, IMAGES)
    assert np.ptp(expected, axis=0).max() > 0.1
    for images, outputs in ((IMAGES, expected), (IMAGES[:1], expected[:1])):
        np.testing.assert_allclose(run_onnx(onnx_file, images)[0], outputs, rtol=0, atol=1e-5)


@pytest.mark.long
def test_layers_of_other_axes_and_attention_answer_alike_in_onnx(tmp_path: Path) -> None:
    tokens = [
        {"Reshape": [64]},
        {"Embedding": {"input_dim": 256, "output_dim": 8}},
        {"Conv1D": {"filters": 8, "kernel_size": 3, "padding": [1, 2], "strides": 2, "activation": "relu"}},
        {"Residual": ["RMSNormalization", {"MultiHeadAttention": {"num_heads": 2, "key_dim": 4}}]},
        {"SpectralNormalization": {"layer": {"Conv1D": {"filters": 8, "kernel_size": 3}}}},
        {"AdaptiveMaxPooling1D": 4},
        {"Reshape": [2, 2, 1, 8]},
        {"Conv3D": {"filters": 8, "kernel_size": 2, "padding": "same"}},
        {"Branches": {"merge": "subtract", "paths": [[], [{"AdaptiveAveragePooling3D": [2, 1, 1]}]]}},
        "GlobalMaxPooling3D",
        {"Dense": {"units": "classes", "activation": "softmax"}},
    ]
    content = config(data={"normalization": "none"}, model={"layers": tokens}, training={"epochs": 1})
    run = run_training(tmp_path, content, "tokens")
    path = tmp_path / "model.onnx"
    export_run(open_run(run), Places(FORMATS["onnx"], path), UNSEEN)
    expected = outputs_of_keras(run, IMAGES)
    assert np.ptp(expected, axis=0).max() > 1e-3
    np.testing.assert_allclose(run_onnx(path, IMAGES)[0], expected, rtol=0, atol=1e-5)


def check_description(text: str, run: Run, format_: str) -> None:
    description = json.loads(text)
    assert (description["format"], description["task"], description["quantize"]) == (format_, "classification", None)
    assert description["run"] == {"name": "digits", "sha256": hashlib.sha256(run.model.read_bytes()).hexdigest()}
    shape = {"name": "image", "shape": [None, 8, 8, 1], "dtype": "float32", "range": [0, 255]}
    assert (description["input"], description["output"]) == (shape, {"name": "output_0", "shape": [None, 10]})
    assert description["classes"] == [str(number) for number in range(10)]
    assert description["config"] == run.config.read_text("utf-8")
    # Whoever has the file alone knows as much of the images as whoever has the run.
    assert noted_interface(description["environment"], "the file", "") == open_run(run).interface


def test_a_file_says_what_it_is_and_so_does_the_json_beside_it(digits_run: Run, onnx_file: Path) -> None:
    _, text = run_onnx(onnx_file, IMAGES)
    assert text == onnx_file.with_name("model.onnx.json").read_text("utf-8")
    check_description(text, digits_run, "onnx")


def test_predict_and_serve_read_in_it_what_they_read_in_the_run(digits_run: Run, onnx_file: Path) -> None:
    trained, exported = open_run(digits_run), ExportedNetwork(onnx_file)
    assert exported.interface == trained.interface
    assert (exported.task, exported.parameters()) == (trained.task, trained.parameters())
    assert exported.network()[1] == trained.network()[1]
    accuracy = trained.task.headline
    assert exported.measured(accuracy) == trained.measured(accuracy) > 0.9
    answers = trained.task.answers(trained.interface)
    # The digits fill their 8x8 pixels, and drawings should.
    assert read_examples(exported, answers).frame == read_examples(trained, answers).frame == Frame(1.0, True)


def test_the_file_shows_the_feature_maps_of_the_run(digits_run: Run, onnx_file: Path) -> None:
    exported = check_same_feature_maps(digits_run, onnx_file, IMAGES[:1].astype(np.uint8))
    assert [stage.name for stage in exported.stages] == ["2.ReLU", "5.ReLU", "6.MaxPooling2D"]


@pytest.mark.long
def test_predict_says_of_any_image_what_it_says_for_the_run(digits_run: Run, tmp_path: Path) -> None:
    check_same_answers(digits_run, tmp_path)


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "run_file"), [("saved_model", run_saved_model), ("litert", run_litert), ("openvino", run_openvino)]
)
def test_other_formats_do_the_same(name: str, run_file: Any, digits_run: Run, tmp_path: Path) -> None:
    places = Places(FORMATS[name], tmp_path / f"model{FORMATS[name].ending}")
    export_run(open_run(digits_run), places, UNSEEN)
    for images in (IMAGES, IMAGES[:1]):
        outputs, text = run_file(places.main, images)
        np.testing.assert_allclose(outputs, outputs_of_keras(digits_run, images), rtol=0, atol=1e-5)
    assert text == places.description.read_text("utf-8")
    check_description(text, digits_run, name)
    assert sorted(tmp_path.iterdir()) == sorted(places.all)


def test_files_that_are_there_stay_unless_told(
    digits_run: Run,
    onnx_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "model.onnx.json"
    mine.write_text("mine")
    arguments = ["export", str(digits_run.path), "--format", "onnx", "-o", "model.onnx"]
    assert command(arguments, monkeypatch) == 2
    assert "`model.onnx.json` is there already" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx.json"]
    # The description is the same however many images are compared.
    assert command([*arguments, "--overwrite", "--images", "5"], monkeypatch) == 0
    assert mine.read_bytes() == onnx_file.with_name("model.onnx.json").read_bytes()
    assert run_onnx(tmp_path / "model.onnx", IMAGES)[1] == mine.read_text("utf-8")


def test_a_failing_export_leaves_nothing(digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any) -> None:
        raise OSError(28, "No space left on device", "model.onnx")

    monkeypatch.setattr("cnnkit.export.metadata.embed", fail)
    with pytest.raises(CnnkitError, match=r"cannot write `model\.onnx`: No space left on device"):
        export_run(
            open_run(digits_run), places_for(FORMATS["onnx"], str(tmp_path / "a/b/model.onnx"), "digits"), UNSEEN
        )
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_run_is_refused(digits_run: Run, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(digits_run.path, tmp_path / "digits"))
    content = bytearray((copy / "model.keras").read_bytes())
    content[len(content) // 2] ^= 255
    (copy / "model.keras").write_bytes(content)
    with pytest.raises(CnnkitError, match=r"model\.keras` is damaged"):
        export_run(open_run(Run(copy)), Places(FORMATS["onnx"], tmp_path / "model.onnx"), UNSEEN)
    assert [path.name for path in tmp_path.iterdir()] == ["digits"]


def test_a_folder_holds_several_exports_and_a_readme_of_its_own(digits_run: Run, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# My project\n")
    files = {"README.md"}
    for name in ("small.onnx", "large.onnx"):
        places = places_for(FORMATS["onnx"], str(tmp_path / name), "digits")
        places.check_free()
        export_run(open_run(digits_run), places, UNSEEN)
        files |= {name, f"{name}.json", f"{name}.py", f"{name}.md"}
    assert {path.name for path in tmp_path.iterdir()} == files
    assert (tmp_path / "README.md").read_text() == "# My project\n"
    assert "small.onnx.json" in (tmp_path / "small.onnx.md").read_text("utf-8")
    with pytest.raises(UsageError, match=r"small\.onnx` is there already"):
        places_for(FORMATS["onnx"], str(tmp_path / "small.onnx"), "digits").check_free()


@pytest.mark.parametrize("name", ["onnx", "litert", "openvino"])
def test_a_missing_extra_is_named_before_anything_is_read(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find_spec, missing = importlib.util.find_spec, FORMATS[name].packages[-1]
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else find_spec(name))
    assert command(["export", "no-such-run", "--format", name], monkeypatch) == 1
    message = f"the format {name} needs the package {missing}, which is not installed\n"
    assert capsys.readouterr().err == f'cnnkit: {message}pip install "cnnkit[{name}]"\n'


def test_a_card_says_what_the_run_has_noted(digits_run: Run, onnx_file: Path) -> None:
    card = onnx_file.with_name("model.onnx.md").read_text("utf-8")
    evaluation = json.loads(digits_run.evaluation.read_text())
    digest = hashlib.sha256(digits_run.model.read_bytes()).hexdigest()
    worst = min(evaluation["per_class"], key=lambda row: row["f1"])
    for text in (
        "# digits, ONNX",
        "- 29,354 parameters",
        f"`{digest}`",
        " pillow\npython model.onnx.py photo.jpg",
        "- train: 1,293 images",
        "on 360 test images that it has not learned from",
        f"| accuracy | {evaluation['accuracy']:.2%} |",
        "- **This file was not compared with Keras.**",
        f"lowest F1: {worst['class']} {worst['f1']:.2f} ({worst['support']} images), ",
        "## Licence\n\nUnknown",
    ):
        assert text in card
