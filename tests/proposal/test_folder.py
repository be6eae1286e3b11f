"""`cnnkit new --from FOLDER`: configs for folders of images, which say what was found and are right at once."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from commands import run
from hypothesis import example, given, settings
from hypothesis import strategies as st
from image_folders import write_digit_images, write_images
from PIL import Image

from cnnkit.cli.options import default_file
from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.errors import UsageError
from cnnkit.format.document import parse
from cnnkit.format.run_folders import check_outside
from cnnkit.proposal.config import Proposal, propose
from cnnkit.proposal.look import Seen, look


def proposed(source: Path, file: Path | None = None) -> tuple[Proposal, LoadedConfig]:
    """The proposal for images, and the config that it is once it is written."""
    file = file or source.parent / "proposed.yaml"
    proposal = propose(look(str(source)), file)
    file.write_text(proposal.text, encoding="utf-8")
    return proposal, load_config(str(file))


@pytest.fixture(scope="module")
def two_classes(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """A folder of cats and dogs, as it was looked at."""
    return look(str(write_images(tmp_path_factory.mktemp("photos"), ["cat", "dog"])))


def words(text: str) -> str:
    """The comments of a text in one line."""
    return " ".join(text.replace("#", " ").split())


def test_images_are_described_by_their_real_figures(tmp_path: Path) -> None:
    for digit in range(10):
        write_images(tmp_path / "digits", [str(digit)], count=20 + digit)
    proposal, loaded = proposed(tmp_path / "digits")
    assert "245 images of 8x8, grey, 10 classes of 20 to 29; a fifth is kept to test." in words(proposal.text)
    # A fifth, 49, is tested on; a tenth of the other 196 watches, rounded up.
    assert "20 of the training images watch the training, of each class alike" in words(proposal.text)
    assert loaded.info.shape == (8, 8, 1)
    assert loaded.info.target.names == tuple("0123456789")
    assert [type(one).__name__ for one in loaded.config.augmentation] == ["RandomCrop"]


def test_sizes_that_differ_are_brought_to_their_median(tmp_path: Path) -> None:
    for side in (8, 10, 12):
        write_images(tmp_path / "photos", [f"of{side}", f"other{side}"], size=(side, side))
    proposal, loaded = proposed(tmp_path / "photos")
    assert "36 images of 8x8 to 12x12, grey, 6 classes of 6" in words(proposal.text)
    assert loaded.config.data.image_size == (10, 10)
    assert loaded.config.data.resize == "stretch"


def test_proportions_that_differ_are_kept(tmp_path: Path) -> None:
    write_images(tmp_path / "photos", ["tall"], size=(20, 10))
    write_images(tmp_path / "photos", ["wide"], size=(10, 20))
    proposal, loaded = proposed(tmp_path / "photos")
    assert loaded.config.data.resize == "pad"
    assert "0.50 to 2.00" in proposal.text


def test_large_images_are_made_smaller_in_their_proportions(tmp_path: Path) -> None:
    _, loaded = proposed(write_images(tmp_path / "photos", ["cat", "dog"], size=(300, 400), mode="RGB"))
    assert loaded.config.data.image_size == (72, 96)


@pytest.mark.parametrize(("mode", "channels", "says"), [("L", 1, None), ("grey in colour", 1, 1), ("RGB", 3, None)])
def test_grey_images_stored_in_colour_are_read_as_grey(
    tmp_path: Path, mode: str, channels: int, says: int | None
) -> None:
    _, loaded = proposed(write_images(tmp_path / "photos", ["cat", "dog"], mode=mode))
    assert loaded.info.shape == (8, 8, channels)
    assert loaded.config.data.channels == says


def test_damaged_files_are_named_and_left_out(tmp_path: Path) -> None:
    folder = write_images(tmp_path / "photos", ["cat", "dog"])
    broken = folder / "cat" / "3.png"
    broken.write_bytes(broken.read_bytes()[:50])
    proposal, loaded = proposed(folder)
    assert loaded.config.data.skip_corrupt
    assert "1 file cannot be read (cat/3.png)" in words(proposal.text)


def test_copies_of_training_images_among_those_to_test_are_told(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    write_images(folder / "train", ["cat", "dog"], seed=1)
    write_images(folder / "test", ["cat", "dog"], seed=2)
    image = Image.open(folder / "train" / "cat" / "0.png")
    image.save(folder / "test" / "cat" / "0.bmp")
    proposal, _ = proposed(folder)
    assert any("1 image is a copy of one in another split" in line for line in proposal.lines)
    image.save(folder / "train" / "cat" / "9.bmp")
    proposal, _ = proposed(folder)
    # Of the training images some are drawn to validate.
    assert any("1 image is a copy of another" in line for line in proposal.lines)
    assert not any("copy" in line for line in proposed(write_images(tmp_path / "others", ["cat", "dog"]))[0].lines)


def test_classes_of_very_different_size_are_weighted(tmp_path: Path) -> None:
    write_images(tmp_path / "photos", ["many"], count=40)
    write_images(tmp_path / "photos", ["few"], count=8)
    proposal, loaded = proposed(tmp_path / "photos")
    assert loaded.config.training.class_weights == "balanced"
    assert "`many` has 5 times the images of `few`" in words(proposal.text)
    write_images(tmp_path / "photos", ["few"], count=30)
    assert proposed(tmp_path / "photos")[1].config.training.class_weights is None


def test_nothing_is_held_out_of_a_class_that_has_too_few(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    write_images(folder / "train", ["cat"], count=12)
    write_images(folder / "train", ["dog"], count=1)
    write_images(folder / "test", ["cat", "dog"], seed=2)
    proposal, loaded = proposed(folder)
    assert loaded.config.data.validation == 0
    assert "too few images of some class to hold any out" in words(proposal.text)
    assert loaded.config.training.monitor is None


@settings(max_examples=20, deadline=None)
@example(name="\u00a0")
@given(name=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=20))
def test_any_name_of_a_folder_is_written_such_that_it_is_read_again(two_classes: Seen, name: str) -> None:
    named = f"here/{name}"
    text = propose(replace(two_classes, source=named, data={"folder": named}), Path("here/mine.yaml")).text
    # What YAML takes for an escape or a comment is neither.
    assert parse(text, "mine.yaml").plain()["data"]["folder"] == os.path.relpath(named, "here")


def test_a_path_belongs_to_the_folder_of_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(tmp_path / "photos", ["cat", "dog"])
    (tmp_path / "configs").mkdir()
    monkeypatch.chdir(tmp_path)
    assert run(["new", "--from", "photos", "-o", "configs/mine.yaml"], monkeypatch) == 0
    loaded = load_config("configs/mine.yaml")
    assert loaded.config.data.folder is not None
    assert Path(loaded.config.data.folder).samefile("photos")
    monkeypatch.chdir(tmp_path / "configs")
    assert load_config("mine.yaml").info.classes == 2


def test_a_file_that_is_there_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "photos", ["cat", "dog"])
    monkeypatch.chdir(tmp_path)
    Path("photos.yaml").write_text("mine")
    assert run(["new", "--from", "photos"], monkeypatch) == 2
    assert "`photos.yaml` is there already" in capsys.readouterr().err
    assert Path("photos.yaml").read_text() == "mine"
    assert run(["new", "--from", "photos", "-o", "-"], monkeypatch) == 0
    assert capsys.readouterr().out.startswith("# Images of `photos`: 12 images of 8x8")


def test_what_is_written_can_be_inspected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "photos", ["cat", "dog"], size=(32, 32), mode="RGB")
    monkeypatch.chdir(tmp_path)
    assert run(["new", "--from", "photos"], monkeypatch) == 0
    assert "train it: cnnkit train photos.yaml" in capsys.readouterr().out
    assert run(["inspect", "photos.yaml", "--json"], monkeypatch) == 0
    summary = json.loads(capsys.readouterr().out)
    assert f"{summary['parameters']:,} parameters" in Path("photos.yaml").read_text()


def test_what_is_recommended_inside_the_folder_of_the_images_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = write_images(tmp_path / "my photos", ["cat", "dog"])
    for place, source, file in ((photos, ".", "my photos.yaml"), (photos / "cat", "..", "my photos.yaml")):
        monkeypatch.chdir(place)
        assert run(["new", "--from", source], monkeypatch) == 0
        *_, command = capsys.readouterr().out.strip().rpartition("train it: ")
        *train, option, directory = shlex.split(command)
        assert (train, option) == (["cnnkit", "train", file], "--run-dir")
        assert Path(os.path.normpath(place / directory)) == tmp_path / "runs" / "my photos"
        with pytest.raises(UsageError, match="would lie inside"):
            check_outside(None, str(photos))
        check_outside(directory, str(photos))


def test_folders_whose_names_differ_behind_a_dot_get_configs_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("birds.v1", "birds.v2"):
        write_images(tmp_path / name, ["cat", "dog"])
        assert run(["new", "--from", name], monkeypatch) == 0
        folder = load_config(f"{name}.yaml").config.data.folder
        assert folder is not None
        assert Path(folder).samefile(name)
    assert (default_file("lists/birds.csv"), default_file("birds.v1/")) == (Path("birds.yaml"), Path("birds.v1.yaml"))


def test_folders_that_nothing_can_be_learned_of_are_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    def refusal(source: str) -> str:
        assert run(["new", "--from", source], monkeypatch) == 2
        # What `train` does with it is the same.
        first = capsys.readouterr().err
        assert run(["train", source], monkeypatch) == 2
        assert capsys.readouterr().err == first
        return first

    Path("empty").mkdir()
    assert "holds no images at all: put those of each class into a folder of its own" in refusal("empty")
    write_images(Path("one"), ["cat"])
    assert "only one class folder (`cat`); at least two are needed" in refusal("one")
    write_images(Path("alone/flat"), [""])
    assert "Nothing says what its 6 images show" in refusal("alone/flat")
    write_images(Path("classes"), ["cat", "dog"])
    assert "name the folder that holds them all: cnnkit new --from classes" in refusal("classes/cat")
    write_images(Path("flat"), [""])
    (Path("flat") / "labels.csv").write_text("image,class\n0.png,cat\n")
    assert "cnnkit new --from flat/labels.csv" in refusal("flat")
    write_images(Path("hollow"), ["cat", "dog"])
    (Path("hollow") / "bird").mkdir()
    # Neither a word nor a sentence with a comma is a table of the images.
    for text in ("word", "from a friend, in May\nwith a zoom, at night\n"):
        (Path("hollow") / "cat" / "notes.txt").write_text(text)
        assert "What is in it: cnnkit data check hollow" in refusal("hollow")
    write_images(Path("few"), ["cat"], count=6)
    write_images(Path("few"), ["dog"], count=1)
    assert "class `dog` there is 1 to train on; expected at least 2" in refusal("few")
    write_images(Path("run"), ["cat", "dog"])
    for name in ("config.yaml", "environment.json"):
        (Path("run") / name).write_text("{}")
    assert "is a run, or holds runs" in refusal("run")
    assert run(["new", "--from", "missing"], monkeypatch) == 2
    assert "`missing` does not exist; expected a folder of images" in capsys.readouterr().err
    write_images(Path("broken"), ["cat", "dog"])
    for file in Path("broken").rglob("*.png"):
        # The header of a bitmap is whole, its pixels are missing.
        Image.new("L", (8, 8)).save(file.with_suffix(".bmp"))
        file.write_bytes(file.with_suffix(".bmp").read_bytes()[:1100])
        file.with_suffix(".bmp").unlink()
    assert "none of the 12 image files of `broken` can be read" in refusal("broken")
    for file in Path("broken").rglob("*.png"):
        file.write_text("no image")
    assert "none of the image files in the folder `broken` can be read" in refusal("broken")


@pytest.mark.long
def test_training_a_folder_writes_a_config_and_learns_the_digits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_digit_images(tmp_path / "digits", ("train", "test"))
    monkeypatch.chdir(tmp_path)
    assert run(["train", "digits", "--no-report"], monkeypatch) == 0
    said = capsys.readouterr().out
    assert "config    digits.yaml, written; edit it, and train that: cnnkit train digits.yaml" in said
    evaluation = json.loads(Path("runs/digits-1/evaluation.json").read_text())
    # The published figure of configs/digits.yaml is 98.3 to 98.9 %.
    assert evaluation["accuracy"] > 0.98
    written = Path("digits.yaml").read_text()
    assert Path("runs/digits-1/config.source.yaml").read_text() == written


def test_nothing_is_written_into_a_folder_whose_runs_would_lie_among_its_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "photos", ["cat", "dog"])
    monkeypatch.chdir(tmp_path / "photos")
    assert run(["train", "."], monkeypatch) == 2
    assert "would lie inside the folder of the images" in capsys.readouterr().err
    assert sorted(path.name for path in Path().iterdir()) == ["cat", "dog"]


def test_training_a_folder_takes_a_free_name_and_the_options_of_any_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(tmp_path / "photos", ["cat", "dog"], count=10)
    monkeypatch.chdir(tmp_path)
    Path("photos.yaml").write_text("mine")
    arguments = ["train", "photos", "--set", "training.epochs=none"]
    # The option is wrong, so that nothing is trained; the config is there all the same.
    assert run(arguments, monkeypatch) == 2
    captured = capsys.readouterr()
    assert "config    photos-2.yaml, written" in captured.out
    assert "--set training.epochs=none" in captured.err
    assert Path("photos.yaml").read_text() == "mine"
    assert run(arguments, monkeypatch) == 2
    assert "config    photos-2.yaml, as it was written before" in capsys.readouterr().out
