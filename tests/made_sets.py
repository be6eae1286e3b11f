"""Small TFDS data sets of random images, or of texts, prepared as TFDS does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


def store(
    folder: Path, name: str, splits: dict[str, Any], shape: Any = (None, None, 3), *, supervised: bool = True
) -> None:
    """Prepare a TFDS data set of the given {split: [(image, label), ...]} with two classes.

    Args:
        supervised: Whether the set says which of its features are input and target, as nearly all do.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    features = {"image": tfds.features.Image(shape=shape), "label": tfds.features.ClassLabel(names=["no", "yes"])}
    signature = {"image": tf.TensorSpec(shape, tf.uint8), "label": tf.TensorSpec((), tf.int64)}
    _store(folder, name, features, signature, splits)
    if supervised:
        _supervise(folder / name / "1.0.0", "image", "label")


def store_masks(folder: Path, name: str, splits: dict[str, Any], mask: str = "segmentation_mask") -> None:
    """Prepare a TFDS data set of the given {split: [(image, mask), ...]}, of any sizes.

    Args:
        mask: What its masks are called.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    features = {"image": tfds.features.Image(), mask: tfds.features.Image(shape=(None, None, 1))}
    signature = {
        "image": tf.TensorSpec((None, None, 3), tf.uint8),
        mask: tf.TensorSpec((None, None, 1), tf.uint8),
    }
    _store(folder, name, features, signature, splits)


def store_boxes(folder: Path, name: str, config: str, splits: dict[str, Any], crowd: str, names: list[str]) -> None:
    """Prepare a TFDS data set as `voc` and `coco` are, of {split: [(image, boxes, labels, crowds), ...]}.

    Args:
        splits: Boxes are (upper, left, lower, right), as shares.
        crowd: What marks objects that do not count: `is_difficult` or `is_crowd`.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    parts = {"bbox": tfds.features.BBoxFeature(), "label": tfds.features.ClassLabel(names=names), crowd: tf.bool}
    features = {"image": tfds.features.Image(), "objects": tfds.features.Sequence(parts)}
    signature = {
        "image": tf.TensorSpec((None, None, 3), tf.uint8),
        "objects": {
            "bbox": tf.TensorSpec((None, 4), tf.float32),
            "label": tf.TensorSpec((None,), tf.int64),
            crowd: tf.TensorSpec((None,), tf.bool),
        },
    }
    nested = {
        split: [
            (
                image,
                {
                    "bbox": np.array(boxes, np.float32).reshape(-1, 4),
                    "label": np.array(labels, np.int64),
                    crowd: np.array(crowds, bool),
                },
            )
            for image, boxes, labels, crowds in examples
        ]
        for split, examples in splits.items()
    }
    _store(folder, name, features, signature, nested, config)


def store_texts(folder: Path, splits: dict[str, Any]) -> Path:
    """Prepare the given {split: [(text, label), ...]} as TFDS' `imdb_reviews`, whose two classes are `neg` and `pos`.

    Returns:
        The folder of its version.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    features = {"text": tfds.features.Text(), "label": tfds.features.ClassLabel(names=["neg", "pos"])}
    signature = {"text": tf.TensorSpec((), tf.string), "label": tf.TensorSpec((), tf.int64)}
    _store(folder, "imdb_reviews", features, signature, splits, "plain_text")
    version = folder / "imdb_reviews" / "plain_text" / "1.0.0"
    _supervise(version, "text", "label")
    return version


def _supervise(version: Path, sample: str, label: str) -> None:
    """Lets a prepared set say which of its features are input and target, which TFDS' writer does not."""
    file = version / "dataset_info.json"
    items = [{"featureKey": sample}, {"featureKey": label}]
    file.write_text(json.dumps(json.loads(file.read_text()) | {"supervisedKeys": {"tuple": {"items": items}}}))


def _store(
    folder: Path,
    name: str,
    features: dict[str, Any],
    signature: dict[str, Any],
    splits: dict[str, Any],
    config: str | None = None,
) -> None:
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def make(examples: Any) -> Any:
        return tf.data.Dataset.from_generator(
            lambda: (dict(zip(features, parts, strict=True)) for parts in examples), output_signature=signature
        )

    tfds.disable_progress_bar()
    tfds.dataset_builders.store_as_tfds_dataset(
        name,
        version="1.0.0",
        config=config,
        features=tfds.features.FeaturesDict(features),
        split_datasets={split: make(examples) for split, examples in splits.items()},
        data_dir=folder,
    )


def examples(count: int, seed: int, sizes: tuple[int, int] = (5, 9), label: int | None = None) -> Any:
    random = np.random.default_rng(seed)
    return [
        (
            random.integers(0, 256, (*random.integers(sizes[0], sizes[1] + 1, 2), 3)).astype(np.uint8),
            number % 2 if label is None else label,
        )
        for number in range(count)
    ]
