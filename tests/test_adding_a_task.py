"""docs/adding_a_task.md, carried out on a copy of the package."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from package_copies import CNNKIT, added_lines, copy_package, insert, run
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import mean_absolute_error

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cnnkit as the page makes it, the page's config, and a run of it."""
    folder = tmp_path_factory.mktemp("copy")
    module, alias = added_lines(copy_package(folder, "adding_a_task.md"))
    table = folder / "cnnkit" / "tasks" / "__init__.py"
    insert(table, "    modules={\n", module)
    insert(table, "    aliases={\n", alias)
    run(folder, *CNNKIT, "train", "net.yaml", "--run-dir", "runs/one")
    return folder


def rows_of(package: Path, name: str) -> list[dict[str, str]]:
    return list(csv.DictReader((package / "runs" / "one" / name).read_text().splitlines()))


def probabilities(package: Path, images: np.ndarray) -> np.ndarray:
    """What the saved network outputs, opened by Keras alone."""
    import keras

    return np.asarray(
        keras.models.load_model(package / "runs" / "one" / "model.keras").predict(images, verbose=0), np.float64
    )


def test_the_figure_is_that_of_the_saved_network(package: Path) -> None:
    digits = load_digits()
    rows = rows_of(package, "predictions.csv")
    places = [int(row["file"].rpartition("/")[2]) for row in rows]
    images = np.round(digits.images[places] * 255 / 16).astype(np.uint8)[..., None]
    grades = probabilities(package, images) @ np.arange(10)
    evaluation = json.loads((package / "runs" / "one" / "evaluation.json").read_text())
    assert evaluation["grade_error"] == pytest.approx(mean_absolute_error(digits.target[places], grades), rel=1e-3)
    assert [float(row["true"]) for row in rows] == digits.target[places].tolist()
    # Whoever knows nothing is best off with the middle grade, and 2.5 away.
    assert evaluation["grade_error"] < 0.5


def test_the_figure_chooses_the_best_epoch_and_is_listed(package: Path) -> None:
    errors = [float(row["val_grade_error"]) for row in rows_of(package, "metrics.csv")]
    (listed,) = json.loads(run(package, *CNNKIT, "runs", "--json"))
    assert listed["headline"] == "grade_error"
    assert listed["best_validation"] == pytest.approx(min(errors))
    assert "Mean error in grades" in (package / "runs" / "one" / "report.html").read_text()


def test_eval_and_predict_answer_with_it(package: Path) -> None:
    assert "mean error in grades" in run(package, *CNNKIT, "eval", "runs/one")
    Image.fromarray(np.round(load_digits().images[0] * 255 / 16).astype(np.uint8)).save(package / "zero.png")
    (answer,) = json.loads(run(package, *CNNKIT, "predict", "runs/one", "zero.png", "--json"))
    assert (answer["class"], answer["numbers"]["grade"] < 0.5) == ("0", True)


def test_what_grades_do_not_heed_is_refused_with_its_place(package: Path) -> None:
    with pytest.raises(AssertionError, match=r"training\.label_smoothing\n.*leave it out"):
        run(package, *CNNKIT, "inspect", "net.yaml", "--set", "training.label_smoothing=0.1")
