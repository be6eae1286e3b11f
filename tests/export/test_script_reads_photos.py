"""The script beside an exported network reads image files as the network's training did."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from exported_answers import odd_images
from onnx_files import NAMES, SHAPE, outputs_of, write_network

from cnnkit.data.images import read_for
from cnnkit.export.formats import FORMATS
from cnnkit.export.inputs import given_to
from cnnkit.export.places import Places
from cnnkit.export.script import script_for
from cnnkit.images.formats import CorruptImage
from cnnkit.images.padding import cropped
from cnnkit.runs.interface import Interface
from cnnkit.tasks.classification import Classification


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return sorted(odd_images(tmp_path_factory.mktemp("photos") / "odd").iterdir())


@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
@pytest.mark.parametrize("shape", [(24, 32, 3), (9, 4, 1), (33, 50, 3)])
def test_a_photo_is_read_as_in_training_to_the_last_bit(
    resize: str, shape: tuple[int, int, int], photos: list[Path]
) -> None:
    interface = Interface(shape, ("a", "b"), "softmax", resize=resize, padding=(1, 0, 0, 2))
    names: dict[str, Any] = {"np": np, "sys": sys}
    exec(given_to(interface).functions, names)
    compared = []
    for photo in photos:
        if photo.name == "deep.png":
            with pytest.raises(SystemExit, match="more than 8 bits"):
                names["read"](photo)
            continue
        try:
            expected = cropped(read_for(interface, photo), interface.padding)
        except CorruptImage:
            continue
        np.testing.assert_array_equal(names["read"](photo), expected, err_msg=photo.name, strict=True)
        compared.append(photo)
    assert len(compared) == len(photos) - 2


def write_script(folder: Path, interface: Interface) -> Path:
    places = Places(FORMATS["onnx"], write_network(folder / "model.onnx"))
    places.description.write_text(json.dumps({"classes": NAMES}), "utf-8")
    trained: Any = SimpleNamespace(interface=interface, task=Classification())
    places.script.write_text(script_for(places, trained), "utf-8")
    return places.script


@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
def test_the_script_answers_for_photos_and_for_arrays(resize: str, photos: list[Path], tmp_path: Path) -> None:
    interface = Interface(SHAPE, NAMES, "softmax", resize=resize)
    script = write_script(tmp_path, interface)
    asked = [photo for photo in photos if photo.name in ("turned.jpg", "colour.bmp", "clear.png")]
    images = np.stack([read_for(interface, photo) for photo in asked])
    np.save(tmp_path / "images.npy", images)
    outputs = outputs_of(images)
    for arguments in (asked, [tmp_path / "images.npy"]):
        done = subprocess.run(
            [sys.executable, script, *arguments], capture_output=True, text=True, timeout=60, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        said = [line.partition(" ") for line in done.stdout.splitlines()]
        assert [name for name, _, _ in said] == [NAMES[row.argmax()] for row in outputs]
        numbers = [np.fromstring(row.strip("[]"), sep=" ") for _, _, row in said]
        np.testing.assert_allclose(numbers, outputs, rtol=1e-5)


def test_without_files_the_script_says_how_it_is_called(tmp_path: Path) -> None:
    script = write_script(tmp_path, Interface(SHAPE, NAMES, "softmax"))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert f": python {script} photo.jpg\n" in done.stderr
    assert "Traceback" not in done.stderr
