"""The script and the model card that lie beside an exported network."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import digit_tables
import numpy as np
import pytest
import yaml
from PIL import Image
from trainings import run_training

from cnnkit.export.exporting import ExportOptions, Outcome, export_run
from cnnkit.export.formats import FORMATS
from cnnkit.export.places import Places
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import evaluate_run
from cnnkit.runs.trained import open_run

#: Runs a script with none but its folder and Python's own modules, then says what of it was there.
ALONE = """
import importlib.util, runpy, sys
packages, script = sys.argv[1:3]
sys.path.insert(0, packages)
sys.argv = sys.argv[2:]
runpy.run_path(script, run_name="__main__")
names = ("tensorflow", "keras", "cnnkit", "onnx", "PIL")
print([name for name in names if importlib.util.find_spec(name)], file=sys.stderr)
"""


def exported(run: Run, folder: Path, name: str = "onnx", **options: Any) -> Outcome:
    outcome = export_run(
        open_run(run), Places(FORMATS[name], folder / f"model{FORMATS[name].ending}"), ExportOptions(**options)
    )
    assert outcome.failure is None
    return outcome


def saved(images: np.ndarray, folder: Path) -> str:
    np.save(folder / "images.npy", images)
    return str(folder / "images.npy")


def some_digits() -> np.ndarray:
    from sklearn.datasets import load_digits

    images: np.ndarray = (load_digits().images[:20, ..., None] * 15.9375).astype(np.uint8)
    return images


def keras_outputs(run: Run, images: np.ndarray) -> np.ndarray:
    import keras

    model = keras.models.load_model(run.model, compile=False)
    outputs: np.ndarray = model(images.astype(np.float32), training=False).numpy()
    return outputs


@pytest.mark.long
def test_the_script_needs_onnxruntime_and_numpy_alone(digits_run: Run, tmp_path: Path) -> None:
    outcome = exported(digits_run, tmp_path, images=10)
    packages = tmp_path / "packages"
    packages.mkdir()
    # onnxruntime's own needs are flatbuffers, packaging and protobuf, which is a part of `google`.
    for name in ("onnxruntime", "numpy", "flatbuffers", "packaging", "google"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        (origin,) = spec.submodule_search_locations or ()
        (packages / name).symlink_to(origin)
        libraries = Path(origin).with_name(f"{name}.libs")
        if libraries.exists():
            (packages / libraries.name).symlink_to(libraries)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", ALONE, packages, outcome.places.script, saved(some_digits(), tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        # Not in the checkout.
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[-1] == "[]"
    said = re.findall(r"^(\d) \[", done.stdout, re.MULTILINE)
    assert said == [str(best) for best in keras_outputs(digits_run, some_digits()).argmax(axis=1)]
    assert len(set(said)) == 10


@pytest.mark.long
@pytest.mark.parametrize("name", ["saved_model", "litert", "openvino"])
def test_each_format_has_a_script(name: str, digits_run: Run, tmp_path: Path) -> None:
    outcome = exported(digits_run, tmp_path, name, images=10)
    said = run_script(outcome, some_digits(), tmp_path)
    best = keras_outputs(digits_run, some_digits()).argmax(axis=1)
    assert re.findall(r"^(\d) \[", said, re.MULTILINE) == [str(number) for number in best]


def run_script(outcome: Outcome, images: np.ndarray, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, outcome.places.script, saved(images, folder)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


SIGMOID = {"Dense": {"units": "classes", "activation": "sigmoid"}}


def digits_with(task: Any, target: Any, head: Any) -> Callable[[Path], tuple[dict[str, Any], np.ndarray]]:
    def made(folder: Path) -> tuple[dict[str, Any], np.ndarray]:
        table = digit_tables.write_digits(folder, 400)
        _, images, _ = digit_tables.read_images(table, "test", [])
        return digit_tables.config(task, table, target, head), images

    return made


def scenes(folder: Path) -> tuple[dict[str, Any], np.ndarray]:
    sys.path.append(str(Path(__file__).parents[1] / "tasks" / "segmentation"))
    from scenes import CONFIG, write_scenes

    for number, part in enumerate(("train", "test")):
        write_scenes(folder / "scenes" / part, 30, 100 * number, size=30)
    (folder / "scenes" / "train" / "classes.txt").rename(folder / "scenes" / "classes.txt")
    (folder / "scenes" / "test" / "classes.txt").unlink()
    config = yaml.safe_load(CONFIG)
    config["data"] |= {"folder": str(folder / "scenes"), "pad_to": 16}
    images = sorted((folder / "scenes" / "test" / "images").iterdir())
    return config, np.stack([np.asarray(Image.open(file)) for file in images])


def check_labels(said: str, outputs: np.ndarray) -> None:
    names = np.array(digit_tables.LABELS)
    expected = [str(names[row >= 0.5].tolist()) for row in outputs]
    assert [line.split("] [")[0] + "]" for line in said.splitlines()] == expected
    assert len(set(expected)) > 2


def check_numbers(said: str, outputs: np.ndarray) -> None:
    rows = [list(json.loads(line.replace("'", '"')).values()) for line in said.splitlines()]
    np.testing.assert_allclose(rows, outputs, rtol=1e-4)


def check_masks(said: str, outputs: np.ndarray) -> None:
    # 30 rows and columns, with one of a border on each side.
    masks = outputs.argmax(axis=-1)[:, 1:-1, 1:-1]
    shares = [float((mask == 0).mean()) for mask in masks]
    assert [float(found) for found in re.findall(r"'ground': ([\d.]+)", said)] == pytest.approx(shares)


@pytest.mark.long
@pytest.mark.parametrize(
    ("make", "check", "limit"),
    [
        (
            digits_with("multilabel", list(digit_tables.LABELS), SIGMOID),
            check_labels,
            "The labels with the lowest average precision: ",
        ),
        (
            digits_with("regression", ["lit", "thousandth"], {"Dense": "targets"}),
            check_numbers,
            "lit: the mean absolute",
        ),
        (scenes, check_masks, "The classes with the lowest IoU: "),
    ],
)
def test_every_task_is_exported_compared_and_described(make: Any, check: Any, limit: str, tmp_path: Path) -> None:
    config, images = make(tmp_path)
    run = run_training(tmp_path, config, "run")
    evaluation = evaluate_run(open_run(run))
    outcome = exported(run, tmp_path / "exported")
    parity = outcome.parity
    assert parity is not None
    assert parity.headline.before == pytest.approx(evaluation[parity.headline.figure.name], rel=1e-5)
    assert (parity.difference < 1e-4, parity.agreements[0].equal > 0.999) == (True, True)
    given = images
    if images.shape[1] == 30:
        given = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), "edge")
    check(run_script(outcome, images, tmp_path), keras_outputs(run, given))
    assert f"\n- {limit}" in outcome.places.card.read_text()
