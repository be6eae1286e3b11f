"""Small trainings on the bundled digits, and what tests compare of any run."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cnnkit.config.load import load_config
from cnnkit.runs.directory import Run
from cnnkit.terminal.console import Console
from cnnkit.training.train import train

TIMING = ("seconds", "images_per_second")


def config(**sections: Any) -> dict[str, Any]:
    """A small network on the bundled digits, with everything random switched on."""
    base: dict[str, Any] = {
        "seed": 3,
        "data": {"name": "digits", "batch_size": 64},
        "augmentation": [
            {"RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1}},
            {"RandomRotation": 0.03},
        ],
        "model": {
            "layers": [
                {"Conv2D": {"filters": 8, "kernel_size": 3, "padding": "same"}},
                "BatchNormalization",
                "ReLU",
                {"MaxPooling2D": 2},
                "Flatten",
                {"Dropout": 0.3},
                {"Dense": {"units": "classes", "activation": "softmax"}},
            ]
        },
        "training": {
            "epochs": 4,
            "optimizer": {"Adam": {"learning_rate": 0.01, "use_ema": True, "ema_momentum": 0.9}},
            "schedule": {"ReduceLROnPlateau": {"monitor": "val_loss", "patience": 0, "min_delta": 10, "factor": 0.5}},
            "label_smoothing": 0.1,
            "tensorboard": False,
        },
    }
    for name, value in sections.items():
        base[name] = {**base[name], **value} if isinstance(value, dict) else value
    return base


def write(folder: Path, content: dict[str, Any], name: str = "net.yaml") -> str:
    path = folder / name
    path.write_text(yaml.safe_dump(content))
    return str(path)


def run_training(folder: Path, content: dict[str, Any], name: str, overrides: tuple[str, ...] = ()) -> Run:
    loaded = load_config(write(folder, content), overrides)
    return train(loaded, Console(stream=io.StringIO()), str(folder / name)).run


def rows(run: Run) -> list[dict[str, str]]:
    """metrics.csv as text, timing columns aside."""
    with run.metrics.open() as stream:
        return [{k: v for k, v in row.items() if k not in TIMING} for row in csv.DictReader(stream)]


def weights(run: Run) -> list[np.ndarray]:
    import keras

    return [np.asarray(w) for w in keras.models.load_model(run.model, compile=False).get_weights()]


def outputs_of(run: Run, images: np.ndarray) -> np.ndarray:
    """What the saved network outputs, opened by Keras alone, in float64."""
    import keras

    return np.asarray(keras.models.load_model(run.model, compile=False).predict(images, verbose=0), np.float64)


def state(run: Run) -> dict[str, Any]:
    from cnnkit.training.checkpoint import read_state

    return read_state(run)
