"""What commands write again, and what they leave as it is: no option costs anybody a file of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from cnnkit.cli import cli
from cnnkit.cli.replacing import COCO, REPORT, check_replaceable, predictions_form
from cnnkit.config.target import Mask
from cnnkit.errors import UsageError
from cnnkit.tasks import task_named
from cnnkit.tasks.classification.predictions import Predictions as ClassPredictions
from cnnkit.tasks.detection.predictions import Predictions as BoxPredictions
from cnnkit.tasks.generation.evaluation import MadeImages
from cnnkit.tasks.multilabel.predictions import Predictions as LabelPredictions
from cnnkit.tasks.regression.predictions import Predictions as NumberPredictions
from cnnkit.tasks.restoration.evaluation import RestoredPicture
from cnnkit.tasks.segmentation.predictions import Predictions as MaskPredictions

ONE: Any = np.ones(1, int)
PAIR: Any = np.full((1, 2), 0.5)
NONE: Any = lambda *_: None  # noqa: E731
IDENTITIES: Any = (("1.png",), (1,))

WRITTEN: dict[str, list[Any]] = {
    "classification": [ClassPredictions(("a", "b"), ids, ONE, ONE, PAIR, NONE) for ids in IDENTITIES],
    "multilabel": [LabelPredictions(("x", "y"), ("1",), PAIR > 1, PAIR, (0.5, 0.5), NONE)],
    "regression": [NumberPredictions((name,), ("1",), PAIR[:, :1], PAIR[:, :1], NONE) for name in ("age", "m, kg")],
    "segmentation": [MaskPredictions(("1",), ONE, ONE, ONE, ("",), Mask(2, None, None), NONE, NONE, (0, 0, 0, 0))],
    "detection": [BoxPredictions(("1",), np.ones((1, 4), np.int64), 0.5, ("a",), NONE, NONE)],
    "generation": [MadeImages(1, None, None, None)],
    "restoration": [RestoredPicture("1", {"fit": 1.0}), RestoredPicture("1", {"psnr": 1.0, "ssim": 1.0})],
}


@pytest.mark.parametrize("name", WRITTEN)
def test_each_task_knows_what_it_has_written_from_tables_of_labels(name: str, tmp_path: Path) -> None:
    task = task_named(name)
    assert task is not None
    form = predictions_form(task)
    target = tmp_path / "a.csv"
    for predictions in WRITTEN[name]:
        target.write_text(predictions.as_csv())
        check_replaceable(target, "--csv", (), form)
    for header in ("file,label", "image,target", "file,labels", "epoch,loss", '"file","age"'):
        target.write_text(f"{header}\n1,2\n")
        with pytest.raises(UsageError, match="is there already, and is not what `eval --csv` writes"):
            check_replaceable(target, "--csv", (), form)


def test_objects_with_scores_are_no_annotations_of_a_data_set(tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 2, 2]}
    said = {"images": [], "annotations": [{**box, "score": 0.5}], "categories": []}
    target.write_text(json.dumps(said))
    check_replaceable(target, "--coco", (), COCO)
    for other in ({**said, "annotations": [box]}, {**said, "info": {}}, [box], {"lr": 1}):
        target.write_text(json.dumps(other))
        with pytest.raises(UsageError, match="is not what `predict --coco` writes"):
            check_replaceable(target, "--coco", (), COCO)


def test_what_holds_nothing_may_be_written(tmp_path: Path) -> None:
    check_replaceable(tmp_path / "new.html", "--output", (), REPORT)
    (tmp_path / "empty.html").touch()
    check_replaceable(tmp_path / "empty.html", "--output", (), REPORT)
    (tmp_path / "folder.html").mkdir()
    for form in (REPORT, None):
        with pytest.raises(UsageError, match="is there already"):
            check_replaceable(tmp_path / "folder.html", "--output", (), form)


def test_a_picture_takes_the_place_of_no_image_that_is_read(tmp_path: Path) -> None:
    (tmp_path / "photos" / "cat").mkdir(parents=True)
    (tmp_path / "table.txt").write_text("image;class\nphotos/cat/1.png;cat\n")
    (tmp_path / "link.png").symlink_to("photos/cat/1.png")
    images = [tmp_path / name for name in ("photos/cat/1.png", "other.png")]
    for image in images:
        image.write_bytes(b"pixels")
    for source in ("photos", "table.txt", "photos/cat/1.png"):
        check_replaceable(images[1], "--output", [tmp_path / source])
        with pytest.raises(UsageError, match=r"--output: .*1\.png` is"):
            check_replaceable(images[0], "--output", [tmp_path / source])
    with pytest.raises(UsageError, match="is a file that the command or its run reads"):
        check_replaceable(tmp_path / "link.png", "--output", [images[0]])


def run_with(data: str, folder: Path) -> str:
    """A run of which there is no more than its config."""
    (folder / "run").mkdir()
    (folder / "run" / "config.yaml").write_text(
        f"data: {data}\ntask: regression\nmodel: {{layers: [Flatten, {{Dense: targets}}]}}\n"
    )
    (folder / "run" / "environment.json").write_text("{}")
    return str(folder / "run")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images, a table of them, and a run that has learned from it; it is the current one."""
    monkeypatch.chdir(tmp_path)
    for name in ("1.png", "2.png"):
        Image.new("L", (8, 8)).save(name)
    Path("ages.csv").write_text("file,true_age,predicted_age\n1.png,1,1\n")
    Path("page.html").write_text("<title>mine</title>")
    Path("photos").mkdir()
    Path("photos/3.png").touch()
    run_with(f"{{table: {tmp_path / 'ages.csv'}, image: file, target: true_age}}", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["eval", "run", "--csv", "ages.csv"], "--csv: `ages.csv` is a file that the command or its run reads"),
        (["eval", "run", "--mistakes", "1.png"], "--mistakes: `1.png` is there already, and belongs to the images"),
        (["show", "features", "run", "2.png", "-o", "2.png"], "--output: `2.png` is a file that"),
        (["show", "gradcam", "run", "2.png", "-o", "./2.png"], "--output: `2.png` is a file that"),
        (["show", "mistakes", "run", "-o", "1.png"], "`1.png` is there already, and belongs"),
        (["show", "curves", "run", "-o", "1.png"], "`1.png` is there already, and belongs"),
        (["show", "architecture", "run/config.yaml", "-o", "1.png"], "`1.png` is there already, and belongs"),
        (["show", "augmentation", "run/config.yaml", "-o", "1.png"], "`1.png` is there already, and belongs"),
        (
            ["export", "run", "--format", "saved_model", "-o", "photos", "--overwrite"],
            "`photos` is a folder that holds something other than an exported network",
        ),
        (["report", "run", "-o", "page.html"], "`page.html` is there already, and is not what `report` writes"),
    ],
)
def test_no_command_replaces_what_it_reads_or_has_not_written(files: Path, command: list[str], message: str) -> None:
    before = {path: path.read_bytes() for path in files.rglob("*") if path.is_file()}
    done: Result = CliRunner().invoke(cli, command)
    assert isinstance(done.exception, UsageError), (done.output, done.exception)
    assert message in str(done.exception)
    assert {path: path.read_bytes() for path in files.rglob("*") if path.is_file()} == before
