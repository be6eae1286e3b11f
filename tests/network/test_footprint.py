"""What a network needs in memory at the least: against Keras' own variables, by hand, and refused before it is made."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import keras
import pytest

from cnnkit.cli import cli
from cnnkit.config.load import load_config
from cnnkit.config.optimization.optimizers import OPTIMIZERS
from cnnkit.errors import CnnkitError
from cnnkit.layers.stack import Step
from cnnkit.network import footprint
from cnnkit.network.footprint import Footprint, of_inference, of_training
from cnnkit.network.summary import summarize
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run
from cnnkit.terminal.console import Console
from cnnkit.training import preparation
from cnnkit.training.train import train

ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"momentum": 0.9},
    {"momentum": 0.0},
    {"amsgrad": True},
    {"centered": True},
    {"use_ema": True},
    {"gradient_accumulation_steps": 2},
]


@pytest.mark.parametrize("name", OPTIMIZERS.names())
def test_an_optimizer_has_as_many_variables_as_are_counted(name: str) -> None:
    cls = OPTIMIZERS.get(name)
    assert cls is not None
    for arguments in ARGUMENTS:
        if set(arguments) <= set(cls.model_fields):
            chosen: Any = cls.model_validate(arguments)
            optimizer = chosen.build(0.1)
            optimizer.build([keras.Variable(keras.ops.zeros((7, 5)))])
            assert chosen.copies() == sum(tuple(one.shape) == (7, 5) for one in optimizer.variables), arguments


CONFIG = """\
data: {name: digits, batch_size: 100}
model:
  layers:
    - Conv2D: {filters: 6, kernel_size: 3, padding: same}
    - Residual: [{Conv2D: {filters: 6, kernel_size: 3, padding: same}}]
    - Branches: [[{Conv2D: {filters: 4, kernel_size: 1}}], [{Conv2D: {filters: 4, kernel_size: 3, padding: same}}], []]
    - MaxPooling2D: 2
    - Conv2D: {filters: 5, kernel_size: 3, trainable: false}
    - Flatten
    - Dense: {units: 3000, activation: relu}
    - Dense: {units: classes, activation: softmax}
training: {epochs: 1, optimizer: Adam}
"""


def stack_of(tmp_path: Path, text: str = CONFIG) -> tuple[list[Step], Any]:
    (tmp_path / "c.yaml").write_text(text)
    loaded = load_config(str(tmp_path / "c.yaml"))
    return loaded.config.model.trace(loaded.info.shape, loaded.info.target.values), loaded


def test_the_sum_by_hand(tmp_path: Path) -> None:
    stack, loaded = stack_of(tmp_path)
    fixed = 9 * 14 * 5 + 5
    trained = (9 + 1) * 6 + (9 * 6 + 1) * 6 + (6 + 1) * 4 + (9 * 6 + 1) * 4 + (20 + 1) * 3000 + 3001 * 10
    # The image, the inputs of two convolutions, once where two begin with one, and those of two Dense layers.
    kept = 64 + 64 * 6 + 64 * 6 + 2 * 2 * 5 + 3000
    found = of_training(stack, loaded.config.training, batch=100, images=7)
    assert found == Footprint(
        weights=4 * (trained + fixed),
        states=2,
        state_bytes=4 * 2 * trained,
        gradient=4 * 20 * 3000,
        activations=4 * 100 * kept,
        batch=100,
        images=7,
    )
    assert found.total == 4 * (3 * trained + fixed + 100 * kept) + 7
    assert f"{found.total / 2**20:.1f} MiB = weights" in found.as_text()
    assert summarize(loaded).as_json()["training_bytes"] == found.total - 7
    assert "(batches of 100)" in summarize(loaded).as_table()


def test_computing_an_image_needs_the_weights_and_one_layers_values(tmp_path: Path) -> None:
    stack, _ = stack_of(tmp_path)
    assert of_inference(stack).weights == of_training(stack, stack_of(tmp_path)[1].config.training, 1).weights
    # Half precision may hold them in two bytes.
    assert of_inference(stack).activations == 2 * (3000 + 20)


def test_what_exceeds_the_memory_is_refused_before_it_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither weights nor a run directory are made; the sum is in the message."""
    stack_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(footprint, "reachable_memory", lambda: 1 << 20)
    monkeypatch.setattr(preparation, "build_model", None)
    with pytest.raises(CnnkitError) as caught:
        train(load_config("c.yaml"), Console(), str(tmp_path / "run"))
    for word in ("at least 2.6 MiB = weights", "optimizer", "(2 for each weight)", "images", "MiB are free"):
        assert word in str(caught.value)
    assert os.listdir(tmp_path) == ["c.yaml"]


def test_a_run_that_does_not_fit_is_not_opened(digits_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(footprint, "reachable_memory", lambda: 100)
    with pytest.raises(CnnkitError, match="the network needs more memory than there is"):
        _ = open_run(digits_run).model


def test_inspect_says_what_training_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stack_of(tmp_path)
    assert cli.main(["inspect", str(tmp_path / "c.yaml")], standalone_mode=False) is None
    assert "training memory  at least 2.5 MiB = weights" in capsys.readouterr().out
