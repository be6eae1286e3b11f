"""Small TFDS data sets of random images, prepared as TFDS does."""

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

    features = tfds.features.FeaturesDict(
        {"image": tfds.features.Image(shape=shape), "label": tfds.features.ClassLabel(names=["no", "yes"])}
    )

    def make(examples: Any) -> Any:
        signature = {"image": tf.TensorSpec(shape, tf.uint8), "label": tf.TensorSpec((), tf.int64)}
        return tf.data.Dataset.from_generator(
            lambda: ({"image": image, "label": label} for image, label in examples),
            output_signature=signature,
        )

    tfds.disable_progress_bar()
    tfds.dataset_builders.store_as_tfds_dataset(
        name,
        version="1.0.0",
        features=features,
        split_datasets={split: make(examples) for split, examples in splits.items()},
        data_dir=folder,
    )
    if supervised:
        file = folder / name / "1.0.0" / "dataset_info.json"
        items = [{"featureKey": "image"}, {"featureKey": "label"}]
        file.write_text(json.dumps(json.loads(file.read_text()) | {"supervisedKeys": {"tuple": {"items": items}}}))


def examples(count: int, seed: int, sizes: tuple[int, int] = (5, 9), label: int | None = None) -> Any:
    random = np.random.default_rng(seed)
    return [
        (
            random.integers(0, 256, (*random.integers(sizes[0], sizes[1] + 1, 2), 3)).astype(np.uint8),
            number % 2 if label is None else label,
        )
        for number in range(count)
    ]
