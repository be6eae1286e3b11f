"""`cnnkit new --from FOLDER` for images with masks."""

from __future__ import annotations

import re
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
from cnnkit.config.target import Mask
from cnnkit.images.padding import padding_to
from cnnkit.proposal.networks import levels, network_of_masks


def write_pairs(folder: Path, numbers: tuple[int, ...], count: int = 12, size: tuple[int, int] = (20, 24)) -> None:
    """Images of random pixels with masks of random numbers."""
    random = np.random.default_rng(0)
    for place in range(count):
        for name, values in (
            ("images", random.integers(0, 256, (*size, 3))),
            ("masks", random.choice(numbers, size)),
        ):
            (folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(values.astype(np.uint8)).save(folder / name / f"{place}.png")


SIDES = st.integers(2, 260)


@settings(max_examples=20, deadline=None)
@given(size=st.tuples(SIDES, SIDES))
def test_a_u_net_fits_images_of_any_size_with_their_border(size: tuple[int, int]) -> None:
    count = levels(size)
    top, bottom, left, right = padding_to(*size, 1 << count)
    padded = (size[0] + top + bottom, size[1] + left + right)
    text = network_of_masks(padded, count)
    config = RunConfig.model_validate({"data": {"name": "digits"}, **yaml.safe_load(text)})
    assert config.model.trace((*padded, 3), Mask(4).values)[-1].output_shape == (*padded, 4)
    said = [tuple(map(int, match)) for match in re.findall(r"# (\d+)x(\d+)", text)]
    assert said == [(padded[0] >> level, padded[1] >> level) for level in range(count + 1)]


def test_classes_are_those_of_the_file_and_another_number_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs(tmp_path / "roads", (0, 1, 2, 9))
    (tmp_path / "roads" / "classes.txt").write_text("road\ntree\nsky\n")
    monkeypatch.chdir(tmp_path)
    assert run(["new", "--from", "roads"], monkeypatch) == 0
    assert "12 images of 20x24, in colour, 3 classes; a fifth is kept to test" in capsys.readouterr().out
    loaded = load_config("roads.yaml")
    assert loaded.config.task.name == "segmentation"
    assert loaded.info.class_names == ("road", "tree", "sky")
    assert loaded.config.data.ignore == 9
    # 20 rows are halved once without a rest that counts: the border makes no difference.
    assert loaded.info.shape == (20, 24, 3)


def test_masks_without_names_have_numbered_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs(tmp_path / "cells", (0, 2, 255))
    monkeypatch.chdir(tmp_path)
    assert run(["new", "--from", "cells"], monkeypatch) == 0
    assert "Nothing says what the numbers in the masks mean" in capsys.readouterr().out
    loaded = load_config("cells.yaml")
    assert loaded.info.class_names == ("class 0", "class 1", "class 2")
    assert loaded.config.data.ignore == 255


def test_several_numbers_without_a_class_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_pairs(tmp_path / "roads", (0, 1, 8, 9))
    (tmp_path / "roads" / "classes.txt").write_text("road\ntree\n")
    monkeypatch.chdir(tmp_path)
    assert run(["new", "--from", "roads"], monkeypatch) == 2
    assert "8" in capsys.readouterr().err


@pytest.mark.parametrize("named", [True, False])
def test_masks_of_black_and_white_are_refused(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Many programs write what is there as 255: ignored, it would leave a network that knows one class only."""
    write_pairs(tmp_path / "cells", (0, 255))
    if named:
        (tmp_path / "cells" / "classes.txt").write_text("nothing\ncell\n")
    monkeypatch.chdir(tmp_path)
    assert run(["new", "--from", "cells"], monkeypatch) == 2
    assert "hold nothing but 0 and 255" in capsys.readouterr().err
    assert not Path("cells.yaml").exists()


@pytest.mark.long
def test_a_folder_of_masks_is_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path / "roads", (0, 1), size=(17, 20))
    monkeypatch.chdir(tmp_path)
    assert run(["train", "roads", "--set", "training.epochs=2", "--no-report"], monkeypatch) == 0
    assert Path("runs/roads-1/evaluation.json").exists()
