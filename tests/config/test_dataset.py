"""What is known of a data set without TensorFlow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image
from pydantic import ValidationError

from cnnkit.config.check_objectives import check_class_weights
from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataProblem, DataSetInfo, describe_data_set, prepared_folder
from cnnkit.config.image_folder import list_image_folder, list_labelled_folder
from cnnkit.config.known_data_sets import DEFAULT_CONFIGURATIONS, KNOWN
from cnnkit.config.target import OneClass
from cnnkit.config.training import TrainingConfig


@pytest.fixture(autouse=True)
def no_prepared_data(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tfds")
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    return folder


def describe(**fields: Any) -> DataSetInfo:
    return describe_data_set(DataConfig.model_validate(fields))


def problem(**fields: Any) -> DataProblem:
    with pytest.raises(DataProblem) as caught:
        describe(**fields)
    return caught.value


def write_images(folder: Path, images: dict[str, tuple[str, tuple[int, int]]]) -> None:
    """Image files by path, each of a mode and a size (width, height)."""
    for name, (mode, size) in images.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new(mode, size).save(folder / name)


def write_prepared(
    root: Path, name: str, version: str, dimensions: list[int], classes: int, names: list[str] | None = None
) -> Path:
    """The description files of a prepared TFDS set, as TFDS 4.9 writes them."""
    folder = root / name / version
    folder.mkdir(parents=True)
    features = {
        "picture": {"image": {"dtype": "uint8", "shape": {"dimensions": [str(size) for size in dimensions]}}},
        "kind": {"classLabel": {"numClasses": str(classes)}},
    }
    (folder / "features.json").write_text(json.dumps({"featuresDict": {"features": features}}))
    keys = {"tuple": {"items": [{"featureKey": "picture"}, {"featureKey": "kind"}]}}
    splits = [{"name": "train", "shardLengths": ["7", "5"]}]
    (folder / "dataset_info.json").write_text(
        json.dumps({"name": name.partition("/")[0], "supervisedKeys": keys, "splits": splits})
    )
    if names:
        (folder / "kind.labels.txt").write_text("\n".join(names) + "\n")
    return folder


# --- The shipped table --------------------------------------------------------------------------------


def test_known_sets_are_as_tensorflow_datasets_describes_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.utils import gcs_utils

    monkeypatch.setattr(gcs_utils, "_is_gcs_disabled", True)
    for name, known in KNOWN.items():
        if name == "digits":
            continue
        info = tfds.builder(name, data_dir=tmp_path).info
        image, label = (info.features[key] for key in info.supervised_keys[:2])
        assert known.shape == image.shape, name
        assert known.classes == label.num_classes, name
        numbers = [str(number) for number in range(known.classes)]
        # Before it is prepared, a set whose names are in the download has numbers for names.
        if known.class_names is not None and label.names != numbers:
            assert list(known.class_names) == label.names, name


def test_default_configurations_are_those_of_tensorflow_datasets() -> None:
    import tensorflow_datasets as tfds

    for name, configuration in DEFAULT_CONFIGURATIONS.items():
        assert tfds.builder_cls(name).BUILDER_CONFIGS[0].name == configuration


def test_digits_are_as_scikit_learn_has_them() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    info = describe(name="digits")
    assert info.shape == (*digits.images.shape[1:], 1)
    assert info.class_names == tuple(str(name) for name in digits.target_names)


@pytest.mark.parametrize(
    ("name", "shape", "classes"),
    [
        ("mnist", (28, 28, 1), 10),
        ("mnist:3.0.1", (28, 28, 1), 10),
        ("mnist:3.*.*", (28, 28, 1), 10),
        ("emnist/letters", (28, 28, 1), 37),
        ("emnist/letters:3.1.0", (28, 28, 1), 37),
        ("emnist", (28, 28, 1), 62),
        ("cifar100", (32, 32, 3), 100),
    ],
)
def test_a_name_may_have_a_configuration_and_a_version(name: str, shape: Any, classes: int) -> None:
    info = describe(name=name)
    assert (info.shape, info.classes) == (shape, classes)


def test_image_size_replaces_height_and_width() -> None:
    assert describe(name="cifar10", image_size=[64, 48]).shape == (64, 48, 3)
    assert describe(name="imagenet2012", image_size=227).shape == (227, 227, 3)


def test_digits_are_not_resized() -> None:
    with pytest.raises(DataProblem, match="8x8 and never resized") as caught:
        describe(name="digits", image_size=16)
    assert caught.value.argument == "image_size"


def test_images_that_differ_in_size_need_image_size() -> None:
    found = problem(name="imagenet2012")
    assert found.argument == "image_size"
    assert "data.image_size" in found.message


@pytest.mark.parametrize("written", ["cifar1O", "CIFAR10", "cifar-10", "cifar_10"])
def test_an_unknown_name_is_answered_with_the_nearest(written: str) -> None:
    found = problem(name=written)
    assert found.argument == "name"
    assert "`cifar10" in found.message


def test_an_unknown_set_needs_shape_and_classes() -> None:
    found = problem(name="something_else", shape=[10, 12, 3])
    assert found.argument == "name"
    assert "data.shape" in found.message
    assert "data.classes" in found.message
    assert "data set `something_else`. For another" in found.message
    assert "did you mean `mnist`? For another" in problem(name="mnsit").message
    info = describe(name="something_else", shape=[10, 12, 3], classes=4)
    assert info == DataSetInfo((10, 12, 3), OneClass(4), "config")


def test_a_config_may_not_contradict_what_is_known() -> None:
    assert problem(name="cifar10", classes=100).argument == "classes"
    assert problem(name="cifar10", shape=[28, 28, 3]).argument == "shape"
    assert problem(name="cifar10", shape=[32, 32, 1]).argument == "shape"
    assert describe(name="cifar10", shape=[32, 32, 3], classes=10).shape == (32, 32, 3)
    assert describe(name="cifar10", shape=[64, 64, 3], image_size=64).shape == (64, 64, 3)


def test_slices_are_refused_where_they_mean_nothing() -> None:
    found = problem(name="digits", splits={"train": "train[:50%]"})
    assert found.argument == "splits"


# --- Prepared TFDS folders ----------------------------------------------------------------------------


def test_a_prepared_set_describes_itself(no_prepared_data: Path) -> None:
    write_prepared(no_prepared_data, "birds", "1.0.0", [20, 30, 3], 2, ["sparrow", "tit"])
    assert describe(name="birds") == DataSetInfo((20, 30, 3), OneClass(2, ("sparrow", "tit")), "prepared")


def test_the_newest_version_that_fits_is_taken(no_prepared_data: Path) -> None:
    for version, size in (("2.9.0", 9), ("2.10.0", 10), ("1.0.0", 1)):
        write_prepared(no_prepared_data, "birds", version, [size, size, 1], 2)
    (no_prepared_data / "birds" / "3.0.0").mkdir()  # nothing in it
    assert describe(name="birds").shape == (10, 10, 1)
    assert describe(name="birds:1.*.*").shape == (1, 1, 1)
    assert prepared_folder("birds:2.9.0") == no_prepared_data / "birds" / "2.9.0"
    assert prepared_folder("birds:4.0.0") is None


def test_sizes_that_differ_in_a_prepared_set_need_image_size(no_prepared_data: Path) -> None:
    write_prepared(no_prepared_data, "birds", "1.0.0", [-1, -1, 3], 2)
    assert problem(name="birds").argument == "image_size"
    assert describe(name="birds", image_size=16).shape == (16, 16, 3)


def test_a_set_with_configurations_needs_one(no_prepared_data: Path) -> None:
    write_prepared(no_prepared_data, "birds/large", "1.0.0", [20, 20, 3], 2)
    write_prepared(no_prepared_data, "birds/small", "1.0.0", [10, 10, 3], 2)
    assert describe(name="birds/small").shape == (10, 10, 3)
    found = problem(name="birds")
    assert "`birds/large`" in found.message
    assert "`birds/small`" in found.message


def test_a_set_without_labelled_images_is_refused(no_prepared_data: Path) -> None:
    folder = write_prepared(no_prepared_data, "books", "1.0.0", [1, 1, 1], 2)
    (folder / "features.json").write_text('{"featuresDict": {"features": {"text": {"text": {}}}}}')
    found = problem(name="books")
    assert found.argument == "name"
    assert "labelled images" in found.message


# --- Folders of class folders -----------------------------------------------------------------------------


def test_a_folder_is_described_by_its_class_folders_and_image_headers(tmp_path: Path) -> None:
    write_images(
        tmp_path,
        {
            "zebra/1.png": ("RGB", (6, 4)),
            "zebra/2.JPG": ("RGB", (6, 4)),
            "ant/sub/1.bmp": ("RGB", (6, 4)),
            "ant/2.png": ("L", (6, 4)),
            ".hidden/1.png": ("L", (9, 9)),
        },
    )
    (tmp_path / "README.txt").write_text("not a class")
    assert describe(folder=str(tmp_path)) == DataSetInfo((4, 6, 3), OneClass(2, ("ant", "zebra")), "folder")


@pytest.mark.parametrize(
    ("modes", "channels"),
    [
        (("L", "L", "L"), 1),
        (("1", "LA", "I;16"), 1),
        (("RGB", "RGBA", "P"), 3),
        (("L", "L", "RGB"), 3),
        (("L", "L", "P"), 3),
        (("RGB", "RGB", "L"), 3),
    ],
)
def test_colour_in_any_file_is_kept_and_a_gray_majority_is_told(
    tmp_path: Path, modes: tuple[str, ...], channels: int
) -> None:
    images = {f"a/{number}.png": (mode, (5, 5)) for number, mode in enumerate(modes)}
    write_images(tmp_path, {**images, "b/1.png": (modes[0], (5, 5))})
    found = describe(folder=str(tmp_path))
    assert found.shape == (5, 5, channels)
    gray_majority = channels == 3 and modes[0] == "L"
    assert (found.note or "").startswith("1 of the 4 images looked at have colour" if gray_majority else "")
    assert (found.note is not None) == gray_majority
    for stated in (1, 3):
        found = describe(folder=str(tmp_path), channels=stated)
        assert (found.shape, found.note) == ((5, 5, stated), None)


def test_channels_convert_files_alone(tmp_path: Path) -> None:
    assert describe(name="digits", channels=1).shape == (8, 8, 1)
    with pytest.raises(DataProblem, match=r"`data.channels` is 3, but the images of `digits` have 1"):
        describe(name="digits", channels=3)
    with pytest.raises(ValidationError, match=r"`channels` is 1, but `shape` says 3 channels"):
        DataConfig(folder=str(tmp_path), channels=1, shape=(5, 5, 3))
    for wrong in (2, True, 3.0, "3"):
        with pytest.raises(ValidationError):
            DataConfig(folder=str(tmp_path), channels=wrong)


def test_a_folder_may_be_read_as_grayscale(tmp_path: Path) -> None:
    write_images(tmp_path, {"a/1.png": ("RGB", (5, 5)), "b/1.png": ("RGB", (5, 5))})
    assert describe(folder=str(tmp_path), shape=[5, 5, 1]).shape == (5, 5, 1)
    assert problem(folder=str(tmp_path), shape=[6, 5, 3]).argument == "shape"


def test_the_exif_orientation_turns_height_and_width(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        exif = Image.Exif()
        exif[0x0112] = 6
        Image.new("RGB", (8, 5)).save(tmp_path / name / "1.jpg", exif=exif)
    assert describe(folder=str(tmp_path)).shape == (8, 5, 3)


def test_a_folder_whose_images_differ_in_size_needs_image_size(tmp_path: Path) -> None:
    write_images(tmp_path, {"a/1.png": ("RGB", (5, 5)), "b/1.png": ("RGB", (5, 7))})
    found = problem(folder=str(tmp_path))
    assert found.argument == "image_size"
    assert "5x5" in found.message
    assert "7x5" in found.message
    assert describe(folder=str(tmp_path), image_size=[8, 9]).shape == (8, 9, 3)


def test_train_and_test_folders_are_splits_but_a_class_may_be_called_train(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write_images(one, {f"{part}/{name}/1.png": ("L", (5, 5)) for part in ("train", "test") for name in "ab"})
    write_images(two, {f"{name}/1.png": ("L", (5, 5)) for name in ("train", "plane")})
    assert describe(folder=str(one)).class_names == ("a", "b")
    assert describe(folder=str(two)).class_names == ("plane", "train")


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([], "no class folders"),
        (["a/1.png"], "only one class"),
        (["a/1.png", "b/notes.txt"], "holds no images"),
        (["train/a/1.png", "train/b/1.png", "tset/a/1.png"], "`tset`"),
        (["train/a/1.png", "train/b/1.png", "test/a/1.png", "test/c/1.png"], "`b` is only in `train`"),
        (["train/a/1.png", "train/b/1.png", "val/a/1.png", "val/b/1.png", "valid/a/1.png"], "two folders"),
    ],
)
def test_a_folder_of_another_form_is_refused(tmp_path: Path, files: list[str], words: str) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        if file.endswith(".png"):
            Image.new("L", (5, 5)).save(tmp_path / file)
        else:
            (tmp_path / file).write_text("")
    found = problem(folder=str(tmp_path))
    assert found.argument == "folder"
    assert words in found.message


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Training", "Testing"),
        ("seg_train", "seg_test"),
        ("training_set", "test_set"),
        ("TrainImages", "ValImages"),
        ("trn", "tst"),
        ("train2017", "val2017"),
        ("TRAIN", "Eval"),
        ("train", "valid"),
    ],
)
def test_folders_named_and_filled_as_splits_are_splits(tmp_path: Path, train: str, test: str) -> None:
    write_images(tmp_path, {f"{part}/{name}/1.png": ("L", (5, 5)) for part in (train, test) for name in "ab"})
    listing = list_image_folder(tmp_path)
    assert listing.class_names == ("a", "b")
    assert listing.splits["train"] == ((f"{train}/a/1.png",), (f"{train}/b/1.png",))
    measured = list_labelled_folder(tmp_path)
    assert measured.splits == {"test": ((f"{test}/a/1.png",), (f"{test}/b/1.png",))}
    assert any(f"`{train}` is the train split" in note for note in listing.notes) == (test != "valid")


@pytest.mark.parametrize(
    "folders",
    [
        ["dog training", "dog testing", "cat training"],
        ["training shoes/left", "training shoes/right", "test tubes/left"],
        ["test 1/left", "test 2/left", "control/left"],
        ["valid", "invalid"],
        ["plane/jet", "train/steam"],
        ["indoor/a", "indoor/b", "outdoor/a", "outdoor/b"],
    ],
)
def test_class_folders_that_only_resemble_splits_are_classes(tmp_path: Path, folders: list[str]) -> None:
    write_images(tmp_path, {f"{folder}/1.png": ("L", (5, 5)) for folder in folders if folder != "train/steam"})
    if "train/steam" in folders:
        write_images(tmp_path, {"train/1.png": ("L", (5, 5))})
    assert list_image_folder(tmp_path).class_names == tuple(sorted({folder.split("/")[0] for folder in folders}))


@pytest.mark.parametrize(
    ("folders", "words"),
    [
        (["Training", "Testing"], "look like splits, but hold no class folders"),
        (["test", "val"], "look like splits"),
        (["test/a", "test/b", "val/a", "val/b"], "no training split"),
        (["Training/a", "Training/b", "Testing/a", "Testing/b", "more"], "`more` is beside folders"),
        (["seg_train/a", "seg_train/b", "train/a", "train/b"], "two folders for the train split"),
        (["seg_train/seg_train/a", "seg_test/seg_test/a", "seg_pred/seg_pred"], "`seg_pred` is beside folders"),
        (["train/a", "train/b", "test1"], "test1` has no class folders"),
        (["training/a", "training/b", "testing/a", "testing/c"], "`b` is only in `training`, `c` is only in `testing`"),
    ],
)
def test_what_looks_like_splits_but_is_none_is_said(tmp_path: Path, folders: list[str], words: str) -> None:
    write_images(tmp_path, {f"{folder}/1.png": ("L", (5, 5)) for folder in folders})
    assert words in problem(folder=str(tmp_path)).message


def test_folders_of_splits_may_hold_one_of_their_own_name(tmp_path: Path) -> None:
    parts = ("seg_train/seg_train", "seg_test/seg_test")
    write_images(tmp_path, {f"{part}/{name}/1.png": ("L", (5, 5)) for part in parts for name in "ab"})
    assert list_image_folder(tmp_path).splits == {
        "train": (("seg_train/seg_train/a/1.png",), ("seg_train/seg_train/b/1.png",)),
        "test": (("seg_test/seg_test/a/1.png",), ("seg_test/seg_test/b/1.png",)),
    }


def test_a_network_is_measured_on_the_split_that_training_would_test_on(tmp_path: Path) -> None:
    for part, names in (("train", "ab"), ("val", "ab"), ("test", "b")):
        write_images(tmp_path, {f"{part}/{name}/{part}.png": ("L", (5, 5)) for name in names})
    # Another network's classes may be missing, and those of `train` need not be there at all.
    assert list_labelled_folder(tmp_path).splits == {"test": (("test/b/test.png",),)}
    shutil.rmtree(tmp_path / "test")
    assert list_labelled_folder(tmp_path).splits == {"test": (("val/a/val.png",), ("val/b/val.png",))}
    shutil.rmtree(tmp_path / "val")
    with pytest.raises(DataProblem, match=r"only the training split `train`.*name the folder of the images themselves"):
        list_labelled_folder(tmp_path)
    assert list_labelled_folder(tmp_path / "train").class_names == ("a", "b")


def test_an_empty_class_folder_is_a_note_where_a_network_is_measured(tmp_path: Path) -> None:
    write_images(tmp_path, {"a/1.png": ("L", (5, 5))})
    (tmp_path / "b").mkdir()
    assert "`b`" not in problem(folder=str(tmp_path)).message
    assert "holds no images" in problem(folder=str(tmp_path)).message
    listing = list_labelled_folder(tmp_path)
    assert listing.splits == {"test": (("a/1.png",), ())}
    assert "holds no images" in listing.notes[0]
    (tmp_path / "a" / "1.png").unlink()
    with pytest.raises(DataProblem, match="none of the class folders"):
        list_labelled_folder(tmp_path)


COMPOSED, DECOMPOSED = unicodedata.normalize("NFC", "café"), unicodedata.normalize("NFD", "café")


def test_both_spellings_of_an_accented_name_are_one_class(tmp_path: Path) -> None:
    for part, name in (("train", DECOMPOSED), ("test", COMPOSED)):
        write_images(tmp_path, {f"{part}/{other}/1.png": ("L", (5, 5)) for other in (name, "cafz")})
    listing = list_image_folder(tmp_path)
    # As text, `cafz` stands between the two spellings; a label is the same class in both splits all the same.
    assert listing.class_names == (DECOMPOSED, "cafz")
    assert listing.splits["test"] == ((f"test/{COMPOSED}/1.png",), ("test/cafz/1.png",))
    (tmp_path / "train" / COMPOSED).mkdir()
    assert "two spellings" in problem(folder=str(tmp_path)).message


def test_folders_of_runs_are_no_classes(tmp_path: Path) -> None:
    images = {f"{name}/1.png": ("L", (5, 5)) for name in ("a", "b", "runs/net-1/plots", "net-2/plots")}
    write_images(tmp_path, images)
    for run in (tmp_path / "runs" / "net-1", tmp_path / "net-2"):
        for name in ("config.yaml", "environment.json"):
            (run / name).touch()
    listing = list_image_folder(tmp_path)
    assert listing.class_names == ("a", "b")
    assert [note.split("`")[1] for note in listing.notes] == ["net-2", "runs"]
    # A class of that name stays one.
    shutil.rmtree(tmp_path / "runs" / "net-1")
    write_images(tmp_path, {"runs/1.png": ("L", (5, 5))})
    assert list_image_folder(tmp_path).class_names == ("a", "b", "runs")


@pytest.mark.parametrize(
    ("names", "meant"),
    [
        (["0", "1", "10", "2"], ["0", "1", "2", "10"]),
        (["img1", "img10", "img9"], ["img1", "img9", "img10"]),
        (["Zebra", "ant"], ["ant", "Zebra"]),
        (["08", "09", "10"], None),
        (["ant", "bee"], None),
    ],
)
def test_a_list_of_class_weights_is_refused_where_people_sort_the_names_otherwise(
    names: list[str], meant: list[str] | None
) -> None:
    info = DataSetInfo((8, 8, 1), OneClass(len(names), tuple(sorted(names))), "folder")
    weights = list(range(len(names)))
    found: list[str] = []

    def check(weights: object, info: DataSetInfo) -> None:
        training = TrainingConfig.model_validate({"class_weights": weights})
        check_class_weights(training, info, lambda path, message, *_: found.append(message))

    check(weights, info)
    # The labels of other sets have an order of their own.
    check(weights, replace(info, source="prepared"))
    if meant is None:
        assert found == []
    else:
        (message,) = found
        mapping = yaml.safe_load(message[message.index("{") :])
        assert list(mapping.items()) == list(zip(meant, weights, strict=True))
        check(mapping, info)
        assert len(found) == 1


def test_class_weights_of_a_folder_are_found_in_either_spelling() -> None:
    info = DataSetInfo((8, 8, 1), OneClass(2, (DECOMPOSED, "mate")), "folder")
    training = TrainingConfig.model_validate({"class_weights": {COMPOSED: 2}})
    found: list[str] = []
    check_class_weights(training, info, lambda path, message, *_: found.append(message))
    assert found == []


@pytest.mark.parametrize(
    ("splits", "path"),
    [
        ({"validation": "test"}, "validation"),
        ({"validation": "test[:50%]+train[90%:]"}, "validation"),
        ({"train": "train+test"}, "train"),
        ({"train": "test"}, "train"),
    ],
)
def test_who_uses_the_test_split_says_what_to_test_on(splits: dict[str, str], path: str) -> None:
    found = problem(name="cifar10", splits=splits)
    assert found.argument == "splits"
    assert f"`{path}: {splits[path]}` takes of the test split" in found.message
    assert describe(name="cifar10", splits=splits | {"test": "test[50%:]"}).classes == 10
    # Names that only contain the word are others.
    assert describe(name="cifar10", splits={"validation": "testing"}).classes == 10
    assert "is a TFDS slice" in problem(folder="photos", splits=splits).message


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert "does not exist" in problem(folder=str(tmp_path / "nowhere")).message
    (tmp_path / "file").write_text("")
    assert "is a file" in problem(folder=str(tmp_path / "file")).message


def test_describing_imports_no_heavy_package() -> None:
    code = (
        "import sys\n"
        "from cnnkit.config.data import DataConfig\n"
        "from cnnkit.config.dataset import describe_data_set\n"
        "describe_data_set(DataConfig.model_validate({'name': 'cifar10'}))\n"
        "print([name for name in ('numpy', 'tensorflow', 'PIL', 'keras', 'sklearn') if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
