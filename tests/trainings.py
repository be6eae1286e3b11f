"""Small trainings on the bundled digits, and what tests compare of any run."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from cnnkit.config.load import load_config
from cnnkit.runs.directory import Run
from cnnkit.terminal.console import Console
from cnnkit.training.initial_weights import match_weights, open_source
from cnnkit.training.train import resume, train

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


def composites() -> dict[str, Any]:
    """Layers inside layers: dropout, batch normalization, what trains in a form of its own, and a repeated block."""
    convolution = {"Conv2D": {"filters": 8, "kernel_size": 3, "padding": "same", "activation": "relu"}}
    unit = {
        "parameters": {"rate": 0.2},
        "layers": [{"Residual": [convolution, "BatchNormalization", {"Dropout": "$rate"}]}],
    }
    pooled = [convolution, {"MaxPooling2D": {"pool_size": 2, "strides": 2}}, "LocalResponseNormalization"]
    return config(
        model={
            "blocks": {"unit": unit},
            "layers": [
                {"Repeat": {"times": 2, "layers": [{"unit": {"rate": 0.1}}]}},
                {"Branches": [pooled, [{"AveragePooling2D": 2}, "unit"]]},
                "Flatten",
                {"Dense": {"units": "classes", "activation": "softmax"}},
            ],
        }
    )


def write(folder: Path, content: dict[str, Any], name: str = "net.yaml") -> str:
    path = folder / name
    path.write_text(yaml.safe_dump(content))
    return str(path)


def run_training(
    folder: Path, content: dict[str, Any], name: str, overrides: tuple[str, ...] = (), init_from: Run | None = None
) -> Run:
    loaded = load_config(write(folder, content), overrides)
    initial = None if init_from is None else match_weights(open_source(str(init_from.path)), loaded)
    return train(loaded, Console(stream=io.StringIO()), str(folder / name), initial=initial).run


class Killed(BaseException):
    """What no handler of cnnkit's catches, as little as SIGKILL."""


@contextmanager
def killed_in(epoch: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The block is killed in an epoch, counted from 0, after the first steps between two returns to Python."""
    from cnnkit.training import callbacks

    is_due, on_keep = callbacks.Keeper.is_due, callbacks.Keeper.on_keep

    def end_without(self: Any) -> bool:
        if not is_due(self) and len(self.rows) == epoch:
            raise Killed
        return is_due(self)

    def end(self: Any, position: Any, metrics: Any) -> None:
        on_keep(self, position, metrics)
        if len(self.rows) == epoch:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.Keeper, "is_due", end_without)
        patch.setattr(callbacks.Keeper, "on_keep", end)
        with pytest.raises(Killed):
            yield


def killed_in_epoch(
    epoch: int, monkeypatch: pytest.MonkeyPatch, folder: Path, content: dict[str, Any], init_from: Run | None = None
) -> Run:
    """A run whose process was killed, see `killed_in`."""
    with killed_in(epoch, monkeypatch):
        run_training(folder, content, "run", init_from=init_from)
    return Run(folder / "run")


def assert_same(run: Run, whole: Run) -> None:
    """Whether two runs have come to the same figures, model and checkpoint, bit for bit."""
    assert rows(run) == rows(whole)
    for ours, theirs in zip(weights(run), weights(whole), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    with np.load(run.checkpoint) as ours, np.load(whole.checkpoint) as theirs:
        assert set(ours.files) == set(theirs.files)
        for name in set(ours.files) - {"state"}:
            np.testing.assert_array_equal(ours[name], theirs[name], err_msg=name)


def continued(run: Run) -> str:
    """Resumes a run; returns what was said."""
    said = io.StringIO()
    resume(str(run.path), None, (), Console(stream=said))
    return said.getvalue()


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
