"""`cnnkit new --from` for images with boxes: in a folder of any format, and in a table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from commands import run
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cnnkit.config.load import load_config
from cnnkit.config.run import RunConfig
from cnnkit.config.target import Boxes
from cnnkit.network.summary import summarize
from cnnkit.proposal.boxes import batch_with_boxes, network_of_boxes, size_for_boxes

SHARES = st.floats(0.01, 1.0)


@settings(max_examples=20, deadline=None)
@given(middle=st.tuples(st.integers(8, 4000), st.integers(8, 4000)), share=SHARES, channels=st.sampled_from((1, 3)))
def test_the_network_fits_the_size_that_is_chosen(middle: tuple[int, int], share: float, channels: int) -> None:
    size, _ = size_for_boxes(middle, True, [(share, share)])
    assert max(size) <= 384 + 32
    config = RunConfig.model_validate({"data": {"name": "digits"}, **yaml.safe_load(network_of_boxes(size, channels))})
    steps = config.model.trace((*size, channels), Boxes(5).values)
    assert steps[-1].output_shape == (size[0] // 4, size[1] // 4, 5 + 4)


def test_smaller_objects_need_larger_images() -> None:
    sizes = [size_for_boxes((1000, 1000), True, [(share, share)])[0][0] for share in (0.5, 0.1, 0.01)]
    assert sizes == [128, 256, 384]
    # Images are never enlarged, but for what halves; those that fit stay as they are.
    assert size_for_boxes((128, 96), True, [(0.05, 0.05)])[0] == (128, 96)
    assert size_for_boxes((100, 60), True, [(0.5, 0.5)])[0] == (96, 64)
    assert batch_with_boxes((128, 128), 6000) == 32
    assert batch_with_boxes((256, 256), 6000) == 8
    assert batch_with_boxes((128, 128), 60) == 4


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Twenty grey images of 64x48 with two boxes each, in COCO's format."""
    random = np.random.default_rng(0)
    (tmp_path / "street" / "images").mkdir(parents=True)
    images, annotations = [], []
    for number in range(20):
        pixels = random.integers(0, 256, (64, 48)).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "street" / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 64, "width": 48})
        for kind, box in enumerate(([4, 4, 24, 24], [20, 30, 16, 32])):
            annotations.append({"id": len(annotations), "image_id": number, "category_id": kind, "bbox": box})
    categories = [{"id": 0, "name": "car"}, {"id": 1, "name": "dog"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "street" / "annotations.json").write_text(json.dumps(document))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("kind", ["coco", "voc", "yolo", "yolo with a link", "table"])
def test_every_format_gets_a_config_that_sees_its_objects(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["data", "convert", "street", "new", "--to", kind.split()[0]], monkeypatch) == 0
    if kind == "yolo with a link":
        # Its text files alone make no folder of texts.
        Path("new/train/images").rename("elsewhere")
        Path("new/train/images").symlink_to(Path("elsewhere").resolve())
    source = "new/boxes.csv" if kind == "table" else "new"
    assert run(["new", "--from", source, "-o", "own.yaml"], monkeypatch) == 0
    output = capsys.readouterr().out
    assert "20 images of 64x48, grey, 2 classes, 40 objects to learn from; a fifth is kept to test" in output
    assert "a CenterNet from scratch" in output
    loaded = load_config("own.yaml")
    assert loaded.config.task.target is Boxes
    assert loaded.info.shape == (64, 48, 1)
    assert loaded.info.target.all_names == ("car", "dog")
    text = Path("own.yaml").read_text()
    assert "RandomFlip: horizontal" in text
    summary = summarize(loaded)
    assert summary.objects is not None
    assert summary.objects.beyond == 0
    if kind == "table":
        assert "boxes: {left: left, top: top, right: right, bottom: bottom, crowd: crowd}" in text


def test_a_backbone_and_images_without_objects_are_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["new", "--from", "street", "--backbone", "MobileNetV2"], monkeypatch) == 2
    assert "leave it out for masks and boxes" in capsys.readouterr().err
    file = folder / "street" / "annotations.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "annotations": []}))
    assert run(["new", "--from", "street"], monkeypatch) == 2
    assert "nothing to learn" in capsys.readouterr().err


def test_a_wrong_box_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "street" / "annotations.json"
    document = json.loads(file.read_text())
    document["annotations"][7]["bbox"] = [40, 0, 20, 20]
    file.write_text(json.dumps(document))
    assert run(["new", "--from", "street"], monkeypatch) == 2
    assert "annotation 7 of the image `images/3.png` lies outside of the image" in capsys.readouterr().err


@pytest.mark.long
def test_what_is_proposed_trains(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(["new", "--from", "street", "-o", "own.yaml"], monkeypatch) == 0
    assert run(["train", "own.yaml", "--run-dir", "run", "--set", "training.epochs=2"], monkeypatch) == 0
    metrics = json.loads(Path("run/evaluation.json").read_text())
    assert metrics["objects"] == 8
    assert np.isfinite(metrics["loss"])
