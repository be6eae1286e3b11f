"""An ejected script divides, resizes, leaves out and reads images as `cnnkit train` and `eval` do."""

from __future__ import annotations

import functools
import itertools
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ejected import each_split, splits_of
from PIL import Image
from tables import write_classes, write_table

from cnnkit.config.load import load_config
from cnnkit.data import load
from cnnkit.eject import eject
from cnnkit.errors import UsageError

RESIZES = (None, "stretch", "pad", "crop")
#: Which folders stand beside each other; none for class folders alone.
LAYOUTS = (
    (),
    ("train", "test"),
    ("train", "val"),
    ("Train", "VALID", "test"),
    ("seg_train/seg_train", "seg_test"),
    ("Training", "Testing"),
)


def assert_same(file: Path, data: dict[str, Any], seed: int = 0, script: str | None = None) -> None:
    """Holds all that a script reads against what cnnkit does."""
    model = {"layers": ["Flatten", {"Dense": "classes"}]}
    file.write_text(yaml.safe_dump({"seed": seed, "data": data, "model": model}))
    loaded = load_config(str(file))
    expected = load(loaded.config.data, seed)
    found = splits_of(script or eject(loaded))
    for name, read, split in each_split(found, expected):
        images, labels = read
        np.testing.assert_array_equal(labels, split.labels, err_msg=f"{name} of {data}")
        np.testing.assert_array_equal(images, split.read(np.arange(split.size)), err_msg=f"{name} of {data}")


def make_folder(root: Path, layout: tuple[str, ...], *, sizes: bool, corrupt: bool) -> None:
    """Two classes of random images, of one size or several, in several modes and sub-folders.

    Args:
        corrupt: Whether there are files without an image, pipes, and images of more than 1,000 pixels.
    """
    random = np.random.RandomState(len(layout))
    for part, name in itertools.product(layout or ("",), ("cat", "dôg 2")):
        # macOS takes the letters of a name apart.
        name = unicodedata.normalize("NFD" if part == "Testing" else "NFC", name)
        (root / part / name / "more").mkdir(parents=True)
        for number in range(8):
            height, width = (6, 8) if not sizes else random.randint(4, 12, 2)
            image = Image.fromarray(random.randint(0, 256, (height, width, 3)).astype(np.uint8))
            if number == 2:
                image = Image.fromarray(np.asarray(image)[..., 0].astype(np.uint16) * 257)
            image = image.convert("L") if number == 3 else image
            if number == 4:
                image.putalpha(128)
            exif: Any = Image.Exif()
            exif[0x0112] = 6 if number == 5 and sizes else 1
            if number == 4:
                exif = b"Exif\0\0of no use"
            folder = root / part / name / ("more" if number % 3 == 0 else "")
            image.save(folder / f"{number}.{'tif' if number == 2 else 'png'}", exif=exif)
        if corrupt:
            for number in range(3):
                (root / part / name / f"0{number}.png").write_text("no image")
            os.mkfifo(root / part / name / "pipe.png")
            Image.new("RGB", (40, 30)).save(root / part / name / "large.png")
        (root / part / name / ".hidden.png").write_text("")
        (root / part / name / "note.txt").write_text("")
        (root / part / name / "folder.png").mkdir()


FOLDERS = list(itertools.product(LAYOUTS, RESIZES, (False, True), (0, 0.25)))


def check_folders(tmp_path: Path, combinations: list[Any]) -> None:
    for number, (layout, resize, corrupt, validation) in enumerate(combinations):
        root = tmp_path / str(number)
        make_folder(root, layout, sizes=resize is not None, corrupt=corrupt)
        data = {"folder": str(root), "validation": validation, "skip_corrupt": corrupt}
        if resize:
            data |= {"image_size": [5, 7], "resize": resize}
        if corrupt:
            data["max_megapixels"] = 0.001
        if number % 3 == 0:
            data["channels"] = 1
        assert_same(tmp_path / "c.yaml", data, seed=number)


def test_a_folder_is_divided_resized_and_read_the_same(tmp_path: Path) -> None:
    check_folders(tmp_path, FOLDERS[:: len(FOLDERS) // 7])


@pytest.mark.long
def test_all_folders_are_divided_resized_and_read_the_same(tmp_path: Path) -> None:
    check_folders(tmp_path, FOLDERS)


@pytest.mark.parametrize("parts", [(), ("train",), ("Training", "test"), ("train", "val", "test")])
@pytest.mark.parametrize("ending", ["csv", "tsv"])
def test_a_table_is_divided_and_read_the_same(tmp_path: Path, parts: tuple[str, ...], ending: str) -> None:
    rows: list[dict[str, object]] = []
    for number, row in enumerate(write_classes(tmp_path, {"dog": 12, "cat; small": 14, "e\u0301": 13})):
        part = {"part": parts[number % len(parts)]} if parts else {}
        rows.append({"remark": 'a "b", c', "kind": row["label"], "file": f"./{row['image']}", **part})
    # A row that is there twice counts once.
    rows.append(rows[0])
    table = write_table(tmp_path / f"images.{ending}", rows, "\t" if ending == "tsv" else ";")
    data = {"table": str(table), "target": "kind", "image": "file", "validation": 0.2}
    if parts:
        data["split"] = "part"
    else:
        data["class_names"] = ["dog", "\u00e9", "cat; small"]
    assert_same(tmp_path / "c.yaml", data, seed=len(parts))


def test_what_no_script_reads_of_a_table_is_said(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.csv", [{**row, "who": "x"} for row in write_classes(tmp_path, {"a": 3, "b": 3})])
    data = {"table": str(table), "target": "label", "group": "who"}
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({"data": data, "model": {"layers": ["Flatten", {"Dense": "classes"}]}}))
    with pytest.raises(UsageError, match=r"no script keeps the groups of a table"):
        eject(load_config(str(config)))


def test_names_that_are_not_utf_8_are_escaped(tmp_path: Path) -> None:
    """Of the config, of folders and of classes; also where ASCII is all that the system is said to know."""
    root = os.path.join(os.fsencode(tmp_path), b"d\xff")
    for name in (b"caf\xe9", "käse".encode()):
        os.makedirs(os.path.join(root, name))
        for number in range(4):
            file = os.path.join(root, name, b"%d.png" % number)
            Image.new("RGB", (4, 3), (number, 0, 0)).save(os.fsdecode(file))
    config = os.path.join(root, b"b\xe9.yaml")
    with open(config, "w") as stream:
        stream.write("data: {folder: ., validation: 0}\nmodel: {layers: [Flatten, {Dense: classes}]}\n")
    ascii_alone = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "cnnkit", "eject", config, "-o", "script.py"]
    done = subprocess.run(command, env=ascii_alone, cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    for script in ((tmp_path / "script.py").read_text("utf-8"), eject(load_config(os.fsdecode(config)))):
        assert 'BEST = "b_.keras"' in script
        found = splits_of(script)
        assert (len(found["train"][0]), len(found["test"][0])) == (6, 2)


def test_digits_are_divided_the_same(tmp_path: Path) -> None:
    for validation in (0, 0.2):
        assert_same(tmp_path / "c.yaml", {"name": "digits", "validation": validation}, seed=3)


@pytest.fixture
def made(made_sets: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """TFDS reads TFDS_DATA_DIR when it is imported, which another test may have done with another folder."""
    import tensorflow_datasets as tfds

    monkeypatch.setenv("TFDS_DATA_DIR", str(made_sets))
    monkeypatch.setattr(tfds, "load", functools.partial(tfds.load, data_dir=made_sets, download=False))
    monkeypatch.setattr(tfds, "builder", functools.partial(tfds.builder, data_dir=made_sets))
    return made_sets


def check_tfds(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, combinations: list[Any]) -> None:
    for name, resize, splits, is_here in combinations:
        data: dict[str, Any] = {"name": name, "validation": 0.25, "splits": splits}
        if resize:
            data |= {"image_size": [4, 7], "resize": resize}
        elif name not in ("fixed", "plain"):
            data |= {"image_size": 5}
        script = None
        if not is_here:
            # Written where the set is not, from what the config states.
            stated = dict(data)
            stated["shape"] = [6, 6, 3] if name == "fixed" else ([4, 7, 3] if resize else [5, 5, 3])
            (tmp_path / "c.yaml").write_text(
                yaml.safe_dump(
                    {"seed": 1, "data": stated | {"classes": 2}, "model": {"layers": ["Flatten", {"Dense": "classes"}]}}
                )
            )
            with monkeypatch.context() as patch:
                patch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
                script = eject(load_config(str(tmp_path / "c.yaml")))
        assert_same(tmp_path / "c.yaml", data, 1, script)


SLICES: tuple[dict[str, str], ...] = ({}, {"validation": "validation"}, {"train": "train[:80%]", "test": "train[80%:]"})
SETS = [
    (name, resize, splits, is_here)
    for name, resize, splits, is_here in itertools.product(("fixed", "varied", "blind"), RESIZES, SLICES, (True, False))
    if "validation" not in splits or name == "varied"
] + [("plain", resize, {}, True) for resize in RESIZES]


@pytest.mark.long
def test_all_prepared_sets_are_divided_resized_and_read_the_same(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_tfds(made, tmp_path, monkeypatch, SETS)


def test_a_known_set_that_is_not_here_is_resized(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    for size, is_resized in ((16, True), (32, False), (None, False)):
        (tmp_path / "c.yaml").write_text(
            f"data: {{name: cifar10, image_size: {size or 'null'}}}\nmodel: {{layers: [Flatten, {{Dense: classes}}]}}\n"
        )
        assert (".map(resized)" in eject(load_config(str(tmp_path / "c.yaml")))) == is_resized
