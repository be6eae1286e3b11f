"""Boxes on their way to the network: resized with their images, in batches, and images that are not as annotated."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import describe_data_set
from cnnkit.data import load
from cnnkit.data.box_formats import convert
from cnnkit.data.boxes import BoxTargets, placed
from cnnkit.data.check import check_folder
from cnnkit.data.images import RESIZERS
from cnnkit.errors import CnnkitError
from cnnkit.tasks import task_named


@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("size", [(40, 60), (60, 40), (50, 50), (33, 90)])
def test_boxes_are_where_pillow_puts_what_they_hold(resize: str, size: tuple[int, int]) -> None:
    height, width = size
    generator = np.random.default_rng(0)
    for _ in range(20):
        across, down = generator.integers(6, width // 2), generator.integers(6, height // 2)
        left, top = generator.integers(0, width - across + 1), generator.integers(0, height - down + 1)
        pixels = np.zeros(size, np.uint8)
        pixels[top : top + down, left : left + across] = 255
        new = np.asarray(RESIZERS[resize](Image.fromarray(pixels), 128, 96)).astype(float) / 255
        ((x0, y0, x1, y1),) = placed(np.array([[left, top, left + across, top + down]]), size, (96, 128), resize)
        # What lies in the box is white, and nothing else is, but for the smoothing of edges.
        expected = max(0.0, x1 - x0) * max(0.0, y1 - y0)
        assert new.sum() == pytest.approx(expected, abs=0.05 * expected + 2 * (x1 - x0 + y1 - y0) + 8)
        if expected > 100:
            rows, columns = np.mgrid[:96, :128] + 0.5
            assert (new * columns).sum() / new.sum() == pytest.approx((x0 + x1) / 2, abs=1)
            assert (new * rows).sum() / new.sum() == pytest.approx((y0 + y1) / 2, abs=1)


def test_batches_have_the_boxes_of_their_images() -> None:
    generator = np.random.default_rng(0)
    each = [generator.random((count, 6), np.float32) for count in (2, 0, 3, 1)]
    targets = BoxTargets.of(each, 4, ["a"])
    batch = targets.in_graph()(np.zeros((3, 8, 8, 1), np.uint8), np.array([2, 1, 0]))["bounding_boxes"].numpy()
    assert batch.shape == (3, 4, 6)
    for row, position in zip(batch, (2, 1, 0), strict=True):
        np.testing.assert_array_equal(row[: len(each[position])], each[position])
        assert (row[len(each[position]) :, 4] == -1).all()
    np.testing.assert_array_equal(targets.values[[2, 1, 0]], batch)
    np.testing.assert_array_equal(targets.take(np.array([3, 2])).values, targets.values[[3, 2]])


def other_sizes(folder: Path, kind: str) -> DataConfig:
    """Eight images of 32x40 (height x width), of the first of which annotations say 32x80.

    The second is a photo that was turned by its EXIF orientation: its pixels are stored as 40x32.
    """
    (folder / "images").mkdir(parents=True)
    (folder / "Annotations").mkdir()
    images, annotations = [], []
    for number in range(8):
        width = 40 if number else 80
        turned = Image.Exif()
        turned[0x0112] = 6
        exif = {"exif": turned} if number == 1 else {}
        Image.new("L", (32, 40) if number == 1 else (40, 32), number).save(folder / f"images/{number}.jpg", **exif)
        images.append({"id": number, "file_name": f"{number}.jpg", "height": 32, "width": width})
        annotations.append({"id": number, "image_id": number, "category_id": 0, "bbox": [1, 2, 9, 10]})
        if kind == "VOC":
            box = "<xmin>2</xmin><ymin>3</ymin><xmax>10</xmax><ymax>12</ymax>"
            (folder / f"Annotations/{number}.xml").write_text(
                f"<annotation><size><width>{width}</width><height>32</height></size>"
                f"<object><name>cat</name><bndbox>{box}</bndbox></object></annotation>"
            )
    if kind == "COCO":
        document = {"images": images, "annotations": annotations, "categories": [{"id": 0, "name": "cat"}]}
        (folder / "annotations.json").write_text(json.dumps(document))
    return DataConfig.model_validate({"folder": str(folder), "validation": 0, "image_size": [32, 32]})


@pytest.mark.parametrize("kind", ["COCO", "VOC"])
def test_an_image_of_another_size_than_its_annotations_say_is_named(tmp_path: Path, kind: str) -> None:
    config = other_sizes(tmp_path / "data", kind)
    message = "is 32x40, but its annotations say 32x80 (height x width)"
    with pytest.raises(CnnkitError) as refused:
        load(config, 0, task_named("detection"))
    assert f"images/0.jpg`: {message}" in refused.value.message
    report = check_folder(config, 0, lambda files, count: nullcontext(files), task=task_named("detection"))
    (finding,) = [one for one in report.findings if one.kind == "boxes"]
    assert finding.decide
    assert finding.files == {"images/0.jpg": message}
    new = tmp_path / "new"
    with pytest.raises(CnnkitError) as refused:
        convert(config, new, "yolo")
    assert f"images/0.jpg`: {message}" in refused.value.message
    assert not new.exists()
    note = describe_data_set(config, task_named("detection")).note or ""
    assert note.startswith("1 of the 8 images looked at have another size")
    assert message in note


def test_what_cannot_be_read_is_not_converted(tmp_path: Path) -> None:
    config = other_sizes(tmp_path / "data", "COCO")
    (tmp_path / "data" / "images" / "0.jpg").write_bytes(b"no image")
    with pytest.raises(CnnkitError, match=r"0.jpg"):
        convert(config, tmp_path / "new", "voc")
