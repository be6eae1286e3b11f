"""Scripts of networks that learn masks: their pairs, losses, weights and first epoch are those of `cnnkit train`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from ejected import as_module, each_split, figures, run_script, splits_of
from made_sets import store_masks
from PIL import Image

from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.data import load
from cnnkit.eject import eject
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import evaluate_run
from cnnkit.runs.trained import open_run
from tests.images.test_masks_read import packed_png
from tests.tasks.segmentation.scenes import IGNORE, write_scenes

#: From 32x32 to crops of 24x24, and to whole images of 36x36, which the border makes of them.
UNET: dict[str, Any] = {
    "task": "segmentation",
    "seed": 2,
    "data": {"ignore": IGNORE, "batch_size": 4, "validation": 0.2, "pad_to": 12},
    "augmentation": [
        {"RandomFlip": "horizontal"},
        {"RandomZoom": {"height_factor": [-0.3, 0.1], "fill_mode": "constant"}},
        {"RandomBrightness": 0.1},
        {"RandomCrop": {"height": 24, "width": 24}},
    ],
    "model": {
        "layers": [
            {"Conv2D": {"filters": 6, "kernel_size": 3, "padding": "same", "activation": "relu"}},
            {
                "Branches": {
                    "merge": "concatenate",
                    "paths": [
                        [],
                        [
                            {"MaxPooling2D": 2},
                            {"Conv2D": {"filters": 8, "kernel_size": 3, "padding": "same"}},
                            "BatchNormalization",
                            "ReLU",
                            {"Conv2DTranspose": {"filters": 6, "kernel_size": 2, "strides": 2}},
                        ],
                    ],
                }
            },
            {"Conv2D": {"filters": "classes", "kernel_size": 1}},
            "Softmax",
        ]
    },
    "training": {"epochs": 1, "tensorboard": False},
}


def written(folder: Path, **sections: Any) -> LoadedConfig:
    """The network above with other sections, for the pairs in a folder."""
    content = {
        name: {**value, **sections.pop(name, {})} if isinstance(value, dict) else value for name, value in UNET.items()
    }
    content["data"] = {"folder": str(folder / "scenes"), **content["data"]}
    (folder / "net.yaml").write_text(yaml.safe_dump(content | sections))
    return load_config(str(folder / "net.yaml"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_scenes(tmp_path / "scenes", 25)
    return tmp_path


@pytest.mark.long
def test_the_first_epoch_is_that_of_training(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = written(folder, training={"class_weights": "median_frequency"})
    expected = figures(loaded, folder)
    history, shown = run_script(eject(loaded), folder, monkeypatch)
    assert history.keys() == expected.keys() - {"learning_rate"}
    for name, values in history.items():
        assert values == pytest.approx(expected[name], rel=1e-4), name
    (share,) = re.findall(r"test mean IoU ([01]\.\d{4})", shown)
    tested = evaluate_run(open_run(Run(folder / "run")))
    assert float(share) == pytest.approx(tested["mean_iou"], abs=1e-4)


LOSSES: list[Any] = [
    None,
    {"CategoricalCrossentropy": {"label_smoothing": 0.1}},
    {"CategoricalFocalCrossentropy": {"gamma": 1.5}},
    "Dice",
    {"Tversky": {"alpha": 0.3, "beta": 0.7}},
    {"Sum": {"losses": ["CategoricalCrossentropy", "Dice"], "weights": [0.5, 2]}},
]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("ignore", [IGNORE, None])
def test_losses_are_those_of_training(loss: Any, ignore: int | None, folder: Path) -> None:
    """With weights where the config has some, on logits and on probabilities; pixels are ignored or not."""
    random = np.random.RandomState(0)
    masks = random.choice([0, 1, 2, 2 if ignore is None else ignore], (2, 5, 6, 1)).astype(np.uint8)
    scores = random.normal(0, 2, (2, 5, 6, 3)).astype(np.float32)
    weights = random.gamma(1, 1, (2, 5, 6)).astype(np.float32)
    only_regions = loss == "Dice" or "Tversky" in str(loss)
    for head in ["softmax"] if only_regions or "Dice" in str(loss) else ["softmax", "logits"]:
        layers = UNET["model"]["layers"][: None if head == "softmax" else -1]
        training = {"loss": loss, "class_weights": None if only_regions else [1, 2, 3]}
        data = {"ignore": ignore, "pad_to": None}
        loaded = written(folder, data=data, augmentation=[], model={"layers": layers}, training=training)
        module = as_module(script := eject(loaded))
        outputs = scores if head == "logits" else np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
        expected = loaded.config.task.make_loss(loaded.config.training, head, loaded.info.target)
        learned = eval(compiled(script)["loss"], module.__dict__)
        for of_pixels in (None, weights):
            theirs = float(learned(masks, outputs, of_pixels))
            assert theirs == pytest.approx(float(expected(masks, outputs, of_pixels)), rel=1e-5)


def compiled(script: str) -> dict[str, str]:
    """The arguments of a script's `compile`, as they are written."""
    calls = [node for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Call)]
    (call,) = [call for call in calls if ast.unparse(call.func) == "model.compile"]
    return {str(keyword.arg): ast.unparse(keyword.value) for keyword in call.keywords}


@pytest.mark.parametrize(
    "rule",
    [
        "balanced",
        pytest.param("median_frequency", marks=pytest.mark.long),
        {"disc": 4},
        pytest.param([0.5, 1, 2], marks=pytest.mark.long),
    ],
    ids=str,
)
def test_weights_of_pixels_are_those_of_training(rule: Any, folder: Path) -> None:
    loaded = written(folder, training={"class_weights": rule})
    config = loaded.config
    split = load(config.data, config.seed, config.task, splits=["train"]).train
    assert split is not None
    finish = config.task.finish_batches(config.training, split, loaded.info.target)
    assert finish is not None
    script = eject(loaded)
    module, (images, masks) = as_module(script), splits_of(script)["train"]
    (lines,) = re.findall(r"\n    \]\n((?:    .*\n)*?    class_weights = .*\n)", script)
    names = {**module.__dict__, "train": (images, masks)}
    exec(textwrap.dedent(lines), names)
    pictures, targets, weights = next(iter(module.training_batches(images, masks, np.int64(0), names["class_weights"])))
    expected = finish({"images": pictures, "segmentation_masks": targets})[2].numpy()
    # Ignored pixels may have any weight.
    counts = targets[..., 0].numpy() != IGNORE
    np.testing.assert_allclose(weights.numpy()[counts], expected[counts], rtol=1e-6)


def assert_same_data(loaded: LoadedConfig, script: str | None = None) -> None:
    """Holds the images and masks that a script reads against those that cnnkit does."""
    config = loaded.config
    expected = load(config.data, config.seed, config.task)
    found = splits_of(script or eject(loaded))
    for name, read, split in each_split(found, expected):
        batch = split.read_batch(range(split.size))
        np.testing.assert_array_equal(read[0], batch["images"], err_msg=name)
        np.testing.assert_array_equal(read[1], batch["segmentation_masks"], err_msg=name)


@pytest.mark.parametrize("resize", ["stretch", "pad", "crop"])
def test_pairs_are_resized_and_padded_the_same(resize: str, folder: Path) -> None:
    assert_same_data(written(folder, augmentation=[], data={"image_size": [12, 23], "resize": resize, "channels": 1}))


@pytest.mark.parametrize("parts", [("train",), ("Train", "TEST"), ("train", "val"), ("training", "valid", "test")])
def test_folders_of_splits_are_read_the_same(parts: tuple[str, ...], tmp_path: Path) -> None:
    for number, part in enumerate(parts):
        write_scenes(tmp_path / "scenes" / part, 6, first=10 * number)
    assert_same_data(written(tmp_path, data={"class_names": ["a", "b", "c"], "validation": 0.3}))


def test_splits_inside_the_folders_are_read_the_same(tmp_path: Path) -> None:
    for number, part in enumerate(("train", "val", "test")):
        write_scenes(tmp_path / part, 6, first=10 * number)
        for kind in ("images", "masks"):
            (tmp_path / "scenes" / kind).mkdir(parents=True, exist_ok=True)
            (tmp_path / part / kind).rename(tmp_path / "scenes" / kind / part)
    assert_same_data(written(tmp_path, data={"class_names": ["a", "b", "c"], "validation": 0.3}))


def test_masks_of_any_kind_are_read_the_same(folder: Path) -> None:
    """Suffixes, sub-folders, palettes and bits; images that cannot be read are left out, and nothing is ignored."""
    scenes = folder / "scenes"
    for number, file in enumerate(sorted((scenes / "masks").iterdir())):
        mask = np.asarray(Image.open(file)) % IGNORE
        indexed = Image.fromarray(mask)
        file.unlink()
        if number % 4 == 0:
            file.with_name(f"{file.stem}_mask.png").write_bytes(packed_png(4, 0, mask))
        elif number % 4 == 1:
            file.write_bytes(packed_png(2, 0, mask))
        elif number % 4 == 2:
            indexed.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200])
            indexed.save(file)
        else:
            for kind in ("images", "masks"):
                (scenes / kind / "more").mkdir(exist_ok=True)
            indexed.save(scenes / "masks" / "more" / f"{file.stem}-label.png")
            Image.open(scenes / "images" / file.name).convert("P").save(scenes / "images" / "more" / file.name)
            (scenes / "images" / file.name).unlink()
    (scenes / "images" / "004.png").write_text("no image")
    data = {"ignore": None, "pad_to": None, "skip_corrupt": True, "validation": 0}
    assert_same_data(written(folder, data=data, augmentation=[]))


def stored_set(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, mask: str, first: int) -> None:
    """A TFDS set of images of several sizes, three classes whose numbers begin somewhere, and a split for tests."""
    import tensorflow_datasets as tfds

    random = np.random.default_rng(0)

    def pairs(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
        sizes = random.integers(6, 12, (count, 2))
        images = [random.integers(0, 256, (*size, 3)).astype(np.uint8) for size in sizes]
        masks = [random.integers(first, first + 3, (*size, 1)).astype(np.uint8) for size in sizes]
        return list(zip(images, masks, strict=True))

    store_masks(folder, name, {"train": pairs(12), "test": pairs(3)}, mask)
    monkeypatch.setenv("TFDS_DATA_DIR", str(folder))
    # The real set of that name has another version.
    builder = tfds.builder_from_directory(folder / name / "1.0.0")
    monkeypatch.setattr(tfds, "load", lambda _, **options: builder.as_dataset(**options))
    monkeypatch.setattr(tfds, "builder", lambda _: builder)


@pytest.mark.parametrize(
    "resize", [pytest.param("stretch", marks=pytest.mark.long), "pad", pytest.param("crop", marks=pytest.mark.long)]
)
def test_masks_of_a_set_that_counts_from_one_are_read_the_same(
    resize: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the script is written without the set, of which cnnkit knows the masks."""
    stored_set(tmp_path, monkeypatch, "oxford_iiit_pet", "segmentation_mask", 1)
    data = {"folder": None, "name": "oxford_iiit_pet", "image_size": [6, 9], "resize": resize}
    loaded = written(tmp_path, data=data, augmentation=[])
    assert_same_data(loaded)
    with monkeypatch.context() as patch:
        patch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
        script = eject(written(tmp_path, data=data, augmentation=[]))
    assert_same_data(loaded, script)


@pytest.mark.long
def test_masks_of_a_set_that_is_not_known_are_read_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored_set(tmp_path, monkeypatch, "streets", "labels", 0)
    data = {"folder": None, "name": "streets", "image_size": 6, "class_names": ["a", "b", "c"], "ignore": None}
    assert_same_data(written(tmp_path, data=data | {"pad_to": None}, augmentation=[]))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "none"))
    stated = data | {"pad_to": None, "image_size": None, "class_names": None, "shape": [6, 6, 3], "classes": 3}
    with pytest.raises(UsageError, match="nothing here says which feature of `streets` has the masks"):
        eject(written(tmp_path, data=stated, augmentation=[]))


def test_a_script_says_what_is_wrong_with_masks(folder: Path) -> None:
    loaded = written(folder)
    scenes, script = folder / "scenes", eject(loaded)
    mask = Image.open(scenes / "masks" / "000.png")
    wrong: dict[str, Any] = {
        "masks hold [7], but the classes are 0 to 2": Image.fromarray(np.full((32, 32), 7, np.uint8)),
        "differ in size: (32, 16), (32, 32)": mask.resize((32, 16)),
        "its pixels are RGB": mask.convert("RGB"),
    }
    for message, image in wrong.items():
        image.save(scenes / "masks" / "000.png")
        with pytest.raises(ValueError, match=re.escape(message)):
            splits_of(script)
    (scenes / "masks" / "000.png").rename(scenes / "masks" / "other.png")
    with pytest.raises(ValueError, match=r"without an image: \['000', 'other'\]"):
        splits_of(script)
    with pytest.raises(CnnkitError, match=r"the image `.*images/000\.png` has no mask"):
        eject(written(folder))


def test_scripts_are_sound_python(folder: Path) -> None:
    """ruff finds no name that is not defined and none that is not used."""
    for number, loss in enumerate(LOSSES):
        weights = None if "Dice" in str(loss) or "Tversky" in str(loss) else "balanced"
        data = {"ignore": None, "pad_to": None} if number % 2 else {"skip_corrupt": True, "image_size": 24}
        loaded = written(
            folder, data=data, augmentation=UNET["augmentation"][:1], training={"loss": loss, "class_weights": weights}
        )
        (folder / f"script_{number}.py").write_text(eject(loaded))
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "E5,E7,E9,F"]
    done = subprocess.run([*command, "--line-length", "120", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
