"""A small set of texts of two classes that a network learns in seconds, made by code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from tables import write_table

GOOD = ("wonderful", "moving", "witty", "superb", "charming")
BAD = ("dull", "awful", "tedious", "clumsy", "bland")
OTHERS = ("the", "film", "a", "story", "actor", "is", "and", "of", "this", "scene", "music", "with", "plot")


def reviews(count: int = 240, seed: int = 0) -> list[dict[str, str]]:
    """Rows `text`, `label`, `split`: each text has one or two words that tell, among others."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        words = list(random.choice(OTHERS, random.integers(4, 10)))
        label, telling = (("good", GOOD), ("bad", BAD))[number % 2]
        for word in random.choice(telling, random.integers(1, 3)):
            words.insert(int(random.integers(0, len(words) + 1)), word)
        split = "test" if number % 6 < 2 else "train"
        rows.append({"text": f"{' '.join(words).capitalize()}.", "label": label, "split": split})
    return rows


def write_reviews(folder: Path, count: int = 240) -> Path:
    return write_table(folder / "reviews.csv", reviews(count))


def text_config(table: Path, **sections: Any) -> dict[str, Any]:
    """A network after Kim (2014) for such a table."""
    convolutions = [
        [{"Conv1D": {"filters": 8, "kernel_size": width, "padding": "same", "activation": "relu"}}]
        for width in (2, 3, 4)
    ]
    base: dict[str, Any] = {
        "data": {
            "table": str(table),
            "text": "text",
            "target": "label",
            "split": "split",
            "words": 40,
            "length": 12,
            "batch_size": 16,
        },
        "model": {
            "layers": [
                {"Embedding": {"input_dim": "words", "output_dim": 8, "padding_idx": 0}},
                {"ZeroPadding1D": 3},
                {"Branches": convolutions},
                "GlobalMaxPooling1D",
                {"Dropout": 0.2},
                {"Dense": {"units": "classes", "activation": "softmax"}},
            ]
        },
        "training": {
            "epochs": 12,
            "optimizer": {"Adam": {"learning_rate": 0.01}},
            "dtype_policy": "float32",
            "tensorboard": False,
        },
    }
    for name, value in sections.items():
        base[name] = {**base[name], **value} if isinstance(value, dict) else value
    return base
