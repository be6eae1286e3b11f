"""A network that learns boxes for real, and what the commands say of it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner
from PIL import Image
from shapes import CONFIG, NAMES, write_shapes

from cnnkit.cli import cli
from cnnkit.config.load import load_config
from cnnkit.errors import UsageError
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import evaluate_run
from cnnkit.terminal.console import Console
from cnnkit.training.train import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the shapes and the config."""
    root = tmp_path_factory.mktemp("detection")
    write_shapes(root / "shapes", {"train": 240, "val": 32, "test": 48})
    (root / "detect.yaml").write_text(yaml.safe_dump(CONFIG), "utf-8")
    return root


@pytest.fixture(scope="module")
def run(folder: Path) -> Run:
    opened = train(load_config(str(folder / "detect.yaml")), Console(), str(folder / "runs" / "shapes"))
    evaluate_run(opened)
    return opened.run


def said(*arguments: object) -> str:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.long
def test_it_learns_and_an_epoch_measures_nearly_what_the_evaluation_does(run: Run) -> None:
    metrics = json.loads(run.evaluation.read_text())
    assert metrics["map_50"] > 0.8
    assert metrics["map"] <= metrics["map_50"]
    validation = json.loads(said("eval", run.path, "--split", "validation", "--json"))
    rows = run.read_metrics()
    best = max(rows, key=lambda row: row["val_map"])
    assert validation["map"] == pytest.approx(best["val_map"], abs=0.01)
    assert validation["map_50"] == pytest.approx(best["val_map_50"], abs=0.01)
    assert validation["loss"] == pytest.approx(best["val_loss"], rel=1e-3)


@pytest.mark.long
def test_predictions_count_hits_misses_and_false_alarms(run: Run) -> None:
    metrics = json.loads(run.evaluation.read_text())
    rows = list(csv.DictReader(run.predictions.read_text("utf-8").splitlines()))
    total = {name: sum(int(row[name]) for row in rows) for name in ("objects", "hits", "misses", "false_alarms")}
    assert total["hits"] + total["misses"] == total["objects"] == metrics["objects"]
    assert metrics["recall"] == pytest.approx(total["hits"] / total["objects"])
    assert metrics["precision"] == pytest.approx(total["hits"] / (total["hits"] + total["false_alarms"]))


@pytest.mark.long
def test_predict_says_boxes_and_draws_them(run: Run, folder: Path, tmp_path: Path) -> None:
    document = json.loads((folder / "shapes" / "test" / "annotations.json").read_text())
    boxes = [entry["bbox"] for entry in document["annotations"] if entry["image_id"] == 1]
    image = folder / "shapes" / "test" / "images" / "001.png"
    (entry,) = json.loads(said("predict", run.path, image, "--json", "--output", tmp_path / "drawn"))
    assert len(entry["boxes"]) == len(boxes)
    for left, top, width, height in boxes:
        nearest = min(entry["boxes"], key=lambda box: abs(box["left"] - left) + abs(box["top"] - top))
        assert abs(nearest["right"] - left - width) < 4
        assert abs(nearest["bottom"] - top - height) < 4
        assert nearest["class"] in NAMES
    drawn = np.asarray(Image.open(tmp_path / "drawn" / "001.boxes.png"))
    assert drawn.shape == (384, 384, 3)
    for _ in range(2):
        said("predict", run.path, image, "--coco", tmp_path / "found.json")
    truth = tmp_path / "annotations.json"
    truth.write_text(json.dumps(document))
    with pytest.raises(UsageError, match="is not what `predict --coco` writes"):
        said("predict", run.path, image, "--coco", truth)
    assert json.loads(truth.read_text()) == document


def test_objects_in_one_place_are_counted() -> None:
    from cnnkit.data.boxes import BoxTargets
    from cnnkit.tasks.detection.training import collisions

    boxes = np.array([[0, 0, 4, 4, 1, 0], [1, 1, 6, 6, 1, 0], [0, 0, 6, 6, 0, 0], [1, 1, 5, 5, 1, 1]], np.float32)
    targets = BoxTargets.of([boxes, boxes[:1]], 4, NAMES)
    # The second shares the place of the first; another class, another image and a crowd do not count.
    assert collisions(targets, 4) == 1
    assert collisions(targets, 1) == 0


@pytest.mark.long
def test_serve_says_objects_above_a_threshold(run: Run, folder: Path) -> None:
    pytest.importorskip("fastapi", reason='needs the extra: pip install "cnnkit[serve]"')
    testclient = pytest.importorskip("starlette.testclient")
    from cnnkit.runs.trained import open_run
    from cnnkit.serve import create_app

    image = (folder / "shapes" / "test" / "images" / "001.png").read_bytes()
    headers = {"Content-Type": "image/png"}
    app = create_app([open_run(run)], threshold=0.02)
    with testclient.TestClient(app, base_url="http://127.0.0.1") as client:
        assert client.get("/runs").json()["runs"][0]["facts"]["threshold"] == 0.02

        def boxes(path: str) -> list[dict[str, object]]:
            answer = client.post(path, content=image, headers=headers).json()
            (said,) = answer.get("predictions", [answer])
            return list(said["boxes"])

        every = boxes("/predict")
        sure = boxes("/predict?threshold=0.4")
        assert len(every) > len(sure) > 0
        assert sure == [box for box in every if float(str(box["score"])) >= 0.4]
        assert boxes("/explain?threshold=0.4") == sure
        assert client.post("/predict?threshold=2", content=image, headers=headers).status_code == 422
