"""The shipped config for photographs, on images and annotations laid out as Pascal VOC hands them out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image, ImageDraw

from cnnkit.cli import cli
from cnnkit.runs.directory import Run

CONFIG = Path(__file__).parents[3] / "configs" / "detect_voc.yaml"

# http://host.robots.ox.ac.uk/pascal/VOC/voc2007/
NAMES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog"),
    *("horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)

IMAGE = """<annotation>
<folder>VOC2007</folder><filename>{name}.jpg</filename>
<source><database>The VOC2007 Database</database><annotation>PASCAL VOC2007</annotation><image>flickr</image></source>
<size><width>{width}</width><height>{height}</height><depth>3</depth></size><segmented>0</segmented>
{objects}</annotation>
"""
OBJECT = """<object><name>{name}</name><pose>Left</pose><truncated>0</truncated><difficult>{difficult}</difficult>
<bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>
"""


def write_voc(root: Path, counts: dict[str, int]) -> dict[str, int]:
    """A VOC folder with JPEG files of several sizes, four objects in each; and how many of each split are difficult."""
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    generator = np.random.default_rng(0)
    difficult = dict.fromkeys(counts, 0)
    number = 0
    for split, count in counts.items():
        names = []
        for _ in range(count):
            width, height = (int(side) for side in generator.choice([333, 375, 500], 2))
            picture = Image.new("RGB", (width, height), (90, 120, 90))
            objects = ""
            for _ in range(4):
                across, down = (int(side) for side in generator.integers(40, 200, 2))
                left, top = int(generator.integers(1, width - across)), int(generator.integers(1, height - down))
                kind, hard = int(generator.permutation(20)[0] + number) % 20, int(generator.random() < 0.2)
                # `difficult` and the last pixel are VOC's.
                edges = {"left": left, "top": top, "right": left + across - 1, "bottom": top + down - 1}
                objects += OBJECT.format(name=NAMES[kind], difficult=hard, **edges)
                difficult[split] += hard
                colour = tuple(int(value) for value in generator.integers(0, 256, 3))
                ImageDraw.Draw(picture).rectangle((left - 1, top - 1, left + across - 2, top + down - 2), fill=colour)
            name = f"{number:06d}"
            picture.save(root / "JPEGImages" / f"{name}.jpg")
            text = IMAGE.format(name=name, width=width, height=height, objects=objects)
            (root / "Annotations" / f"{name}.xml").write_text(text)
            names.append(name)
            number += 1
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
    return difficult


def said(*arguments: object) -> str:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.long
def test_the_shipped_config_trains_on_a_sample_and_answers(tmp_path: Path) -> None:
    difficult = write_voc(tmp_path / "VOC2007", {"train": 24, "val": 2, "test": 4})
    run = Run(tmp_path / "run")
    few = ("training.epochs=1", "training.warmup_epochs=0", "data.batch_size=8", f"data.folder={tmp_path / 'VOC2007'}")
    said("train", CONFIG, "--run-dir", run.path, *(part for one in few for part in ("--set", one)))
    (row,) = run.read_metrics()
    assert np.isfinite([row["loss"], row["val_loss"]]).all()
    metrics = json.loads(run.evaluation.read_text())
    assert metrics["images"] == 4
    assert metrics["objects"] == 4 * 4 - difficult["test"]
    image = tmp_path / "VOC2007" / "JPEGImages" / "000029.jpg"
    (entry,) = json.loads(
        said("predict", run.path, image, "--json", "--threshold", "0.01", "--output", tmp_path / "out")
    )
    with Image.open(image) as picture:
        width, height = picture.size
    assert entry["boxes"]
    for box in entry["boxes"]:
        assert box["class"] in NAMES
        assert 0 <= box["left"] <= box["right"] <= width
        assert 0 <= box["top"] <= box["bottom"] <= height
    with Image.open(tmp_path / "out" / "000029.boxes.png") as drawn:
        assert drawn.size == (2 * width, 2 * height)  # the image of the file, twice as large, with room for texts
