"""`data.memory`: batches and whole runs are the same to the last bit whether images are kept or streamed."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from trainings import rows

from cnnkit.config.data import DataConfig
from cnnkit.data import Split, batches, channel_statistics, load, loading, memory, training_batches
from cnnkit.errors import CnnkitError
from cnnkit.runs.trained import open_run

#: Drawn per image, per batch and across images: whatever order or place they depend on shows.
AUGMENTATION = [{"RandomFlip": "horizontal"}, {"RandomCrop": {"padding": 2}}, {"MixUp": 0.4}]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of 30 JPEG images that differ in size."""
    random = np.random.default_rng(0)
    for name in "abc":
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(30):
            pixels = random.integers(0, 256, (*random.integers(8, 20, 2), 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / name / f"{number}.jpg")
    return tmp_path / "images"


def train_split(folder: Path, memory: str, **fields: Any) -> Split:
    config = DataConfig.model_validate({"folder": str(folder), "image_size": 9, "memory": memory, **fields})
    split = load(config, 0).train
    assert split is not None
    assert (split.images is None) == (memory == "stream")
    return split


def augmented(split: Split, epoch: int) -> list[tuple[Any, Any]]:
    from cnnkit.augmentation import AUGMENTATIONS
    from cnnkit.augmentation.pipeline import Pipeline
    from cnnkit.format.base import Choice

    choice = Choice(AUGMENTATIONS)
    layers: Any = [choice.validate(one) for one in AUGMENTATION]
    made = training_batches(split, batch_size=12, seed=5, epoch=epoch, transform=Pipeline(layers, seed=5))
    return [(images.numpy(), labels.numpy()) for images, labels in made]


def test_augmented_batches_are_the_same_streamed_and_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Several batches at a time are in the making, even where there is one core.
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    kept, streamed = train_split(folder, "cache"), train_split(folder, "stream")
    assert kept.ids == streamed.ids
    first_images = []
    for epoch in (0, 1, 7):
        pairs = list(zip(augmented(kept, epoch), augmented(streamed, epoch), strict=True))
        assert len(pairs) == 6
        first_images.append(pairs[0][1][0])
        for (images, labels), (other_images, other_labels) in pairs:
            np.testing.assert_array_equal(images, other_images)
            np.testing.assert_array_equal(labels, other_labels)
    assert not np.array_equal(first_images[0], first_images[1])


@pytest.mark.parametrize("limit", [1 << 16, 20])
def test_statistics_are_the_same_streamed_and_in_memory(
    folder: Path, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "STATISTICS_IMAGES", limit)
    kept, streamed = train_split(folder, "cache"), train_split(folder, "stream")
    first = channel_statistics(streamed)
    assert channel_statistics(kept) == first
    # Measured once: the second time, no file is read.
    monkeypatch.setattr(type(streamed.source), "decode", None)
    assert channel_statistics(streamed) == first
    assert streamed.size == 64
    places = range(64) if limit > 64 else [number * 64 // 20 for number in range(20)]
    pixels = streamed.read(list(places)).astype(np.float64)
    np.testing.assert_allclose(first[0], pixels.mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(first[1], pixels.var((0, 1, 2)), rtol=1e-10)


def test_auto_keeps_what_fits_in_a_third_of_the_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DataConfig.model_validate({"folder": str(folder), "image_size": 9})
    needed = 90 * 9 * 9 * 3
    for available, expected in ((3 * needed, "cache"), (3 * needed - 3, "stream")):
        monkeypatch.setattr(loading, "available_memory", lambda available=available: available)
        data = load(config, 0)
        assert data.memory == expected
        for split in (data.train, data.validation, data.test):
            assert split is not None
            assert (split.images is None) == (expected == "stream")


def test_images_that_cannot_fit_are_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "available_memory", lambda: 90 * 9 * 9 * 3 - 1)
    config = DataConfig.model_validate({"folder": str(folder), "image_size": 9, "memory": "cache"})
    with pytest.raises(CnnkitError, match=r"data\.memory: `cache`.*\n.*stream"):
        load(config, 0)


def test_large_batches_are_made_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "usable_cores", lambda: 64)
    for batch_bytes in (1, 1 << 20, 1 << 26, 1 << 30, 1 << 40):
        calls, ahead = memory.parallel_calls(batch_bytes), memory.batches_ahead(batch_bytes)
        assert 1 <= calls <= 64
        assert 2 <= ahead <= 16
        assert calls == 1 or calls * batch_bytes <= memory.PARALLEL_BYTES
        assert ahead == 2 or ahead * batch_bytes <= memory.PREFETCH_BYTES
    assert memory.parallel_calls(1 << 20) == 64


# --- TFDS ---------------------------------------------------------------------------------------------

CHILD = """
import sys
from cnnkit.config.data import DataConfig
from cnnkit.data import channel_statistics, load
config = DataConfig.model_validate({"name": "made", "image_size": 6})
data = load(config, int(sys.argv[1]), splits=("train", "validation"))
print(data.train.size, data.validation.size, channel_statistics(data.train))
print(*(name for name in ("tensorflow", "tensorflow_datasets") if name in sys.modules))
"""


@pytest.mark.long
def test_a_cached_start_needs_neither_tensorflow_nor_tensorflow_datasets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_records(tmp_path / "made" / "1.0.0", "png")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("CNNKIT_CACHE_DIR", str(tmp_path / "cache"))

    def start(seed: int) -> list[str]:
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(seed)], capture_output=True, text=True, timeout=120, check=True
        )
        return done.stdout.splitlines()

    first = start(0)
    assert first[1] == "tensorflow"
    assert start(0) == [first[0], ""]
    other = start(1)
    assert other[1] == ""
    assert other[0] != first[0]
    assert other[0].startswith("28 4 ")


def test_prepared_records_that_change_are_decoded_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    config = DataConfig.model_validate({"name": "made", "image_size": 6, "validation": 0, "memory": "cache"})
    streamed = config.model_copy(update={"memory": "stream"})
    for seed in (1, 2):
        write_records(tmp_path / "made" / "1.0.0", "bmp", seed)
        kept, fresh = load(config, 0).train, load(streamed, 0).train
        assert kept is not None
        assert kept.images is not None
        assert fresh is not None
        np.testing.assert_array_equal(kept.images, fresh.read(np.arange(32)))


def test_a_damaged_record_file_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "made" / "1.0.0"
    write_records(folder, "bmp")
    file = folder / "made-train.tfrecord-00000-of-00001"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    config = DataConfig.model_validate({"name": "made", "image_size": 6, "validation": 0})
    with pytest.raises(CnnkitError, match=r"record file.*\n.*prepare it again"):
        load(config, 0)


def write_records(folder: Path, suffix: str, seed: int = 0) -> None:
    """A prepared set of 40 images of 8x8 in two classes, without TFDS."""
    import json

    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    split = {"name": "train", "shardLengths": ["40"], "numBytes": "1"}
    (folder / "dataset_info.json").write_text(
        json.dumps({"name": "made", "version": "1.0.0", "fileFormat": "tfrecord", "splits": [split]})
    )
    features = {
        "image": {"image": {"shape": {"dimensions": ["8", "8", "3"]}, "dtype": "uint8"}},
        "label": {"classLabel": {"numClasses": "2"}},
    }
    (folder / "features.json").write_text(json.dumps({"featuresDict": {"features": features}}))
    random = np.random.default_rng(seed)
    with tf.io.TFRecordWriter(str(folder / "made-train.tfrecord-00000-of-00001")) as writer:
        for number in range(40):
            stream = io.BytesIO()
            Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8)).save(stream, suffix)
            image = tf.train.Feature(bytes_list=tf.train.BytesList(value=[stream.getvalue()]))
            label = tf.train.Feature(int64_list=tf.train.Int64List(value=[number % 2]))
            example = tf.train.Example(features=tf.train.Features(feature={"image": image, "label": label}))
            writer.write(example.SerializeToString())


# --- Runs -----------------------------------------------------------------------------------------------


def run_training(folder: Path, name: str, images: Path, memory: str, epochs: int = 3) -> Any:
    from cnnkit.config.load import load_config
    from cnnkit.terminal.console import Console
    from cnnkit.training.train import train

    config = {
        "data": {"folder": str(images), "image_size": 8, "batch_size": 16, "memory": memory},
        "augmentation": AUGMENTATION,
        "model": {
            "layers": [
                {"Conv2D": {"filters": 4, "kernel_size": 3}},
                "BatchNormalization",
                "Flatten",
                {"Dropout": 0.3},
                {"Dense": {"units": "classes", "activation": "softmax"}},
            ]
        },
        "training": {"epochs": epochs, "tensorboard": False},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(config))
    return train(load_config(str(path)), Console(stream=io.StringIO()), str(folder / name)).run


@pytest.mark.long
def test_runs_are_the_same_streamed_in_memory_and_resumed_the_other_way(folder: Path, tmp_path: Path) -> None:
    from cnnkit.config.load import load_config
    from cnnkit.terminal.console import Console
    from cnnkit.training.train import resume

    kept = run_training(tmp_path, "kept", folder, "auto")
    streamed = run_training(tmp_path, "streamed", folder, "stream")
    assert len(rows(kept)) == 3
    assert rows(kept) == rows(streamed)
    # What ran is in the config, so that it runs again as it did.
    assert load_config(str(kept.config)).config.data.memory == "cache"
    assert load_config(str(streamed.config)).config.data.memory == "stream"
    short = run_training(tmp_path, "short", folder, "stream", epochs=1)
    resumed = resume(
        str(short.path), None, ("training.epochs=3", "data.memory=cache"), Console(stream=io.StringIO())
    ).run
    assert rows(resumed) == rows(kept)
    assert load_config(str(resumed.config)).config.data.memory == "cache"


@pytest.mark.long
def test_a_streamed_test_split_is_evaluated_as_one_in_memory(folder: Path, tmp_path: Path) -> None:
    from cnnkit.runs.evaluation import evaluate_run

    kept = evaluate_run(open_run(run_training(tmp_path, "kept", folder, "cache", epochs=1)))
    streamed = evaluate_run(open_run(run_training(tmp_path, "streamed", folder, "stream", epochs=1)))
    assert kept == streamed
    assert kept["images"] == 18


def test_workers_of_one_machine_share_its_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third of what is free may be filled with the 90 images of 9 x 9 x 3 bytes."""
    needed = 90 * 9 * 9 * 3
    monkeypatch.setattr("cnnkit.data.loading.available_memory", lambda: 4 * needed)
    train_split(folder, "cache")
    config = DataConfig.model_validate({"folder": str(folder), "image_size": 9, "memory": "auto"})
    assert load(config, 0).memory == "cache"
    monkeypatch.setenv("CNNKIT_SHARING_WORKERS", "2")
    assert load(config, 0).memory == "stream"
    monkeypatch.setenv("CNNKIT_SHARING_WORKERS", "8")
    with pytest.raises(CnnkitError, match=r"only 0\.0 GB are free for each worker"):
        train_split(folder, "cache")
