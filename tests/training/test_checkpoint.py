"""A checkpoint holds all variables of every optimizer, and continues each to the last bit."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from cnnkit.config.optimization.optimizers import OPTIMIZERS
from cnnkit.config.training import TrainingConfig
from cnnkit.runs.directory import Run
from cnnkit.training.checkpoint import read_checkpoint, save_checkpoint
from cnnkit.training.preparation import make_optimizer

#: Those whose variables the first stage looks for: the common ones, and those that are not Keras' own.
QUICK = ("SGD", "Adam", "AdamW", "Muon", "ScheduleFreeAdamW")

WITH_EXTRAS = {"gradient_accumulation_steps": 2, "use_ema": True, "ema_momentum": 0.5, "clipnorm": 1.0}


@dataclass
class Trained:
    """What a checkpoint takes of a model: its variables, and an optimizer of them."""

    variables: list[Any]
    optimizer: Any = None

    @property
    def trainable_variables(self) -> list[Any]:
        return self.variables

    @property
    def everything(self) -> list[Any]:
        return [*self.variables, *self.optimizer.variables]


def prepared(optimizer: str, policy: str, arguments: dict[str, Any]) -> Trained:
    """A kernel of a convolution, one of a dense layer and a bias, with the optimizer that a config asks for."""
    random = np.random.default_rng(1)
    shapes = {"kernel": (2, 2, 1, 3), "dense": (3, 4), "bias": (4,)}
    model = Trained(
        [keras.Variable(random.normal(0, 1, shape).astype(np.float32), name=name) for name, shape in shapes.items()]
    )
    training = TrainingConfig.model_validate({"optimizer": {optimizer: arguments}, "dtype_policy": policy})
    model.optimizer = make_optimizer(training, 0.01, model)
    return model


def variables_in(owner: Any) -> dict[int, Any]:
    """Every Keras variable that an object holds, however deep; not through what Keras itself says of them."""
    found: dict[int, Any] = {}
    seen: set[int] = set()
    waiting = [owner]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, keras.Variable):
            found[id(value)] = value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list | tuple | set):
            waiting += value
        elif isinstance(value, keras.optimizers.Optimizer):
            waiting += vars(value).values()
    return found


def update(model: Trained, gradients: list[list[np.ndarray]]) -> None:
    for step in gradients:
        model.optimizer.apply([tf.constant(one) for one in step], model.variables)


@pytest.mark.parametrize(
    ("policy", "arguments"),
    [
        ("mixed_float16", WITH_EXTRAS),
        pytest.param("mixed_float16", {}, marks=pytest.mark.long),
        pytest.param("float32", WITH_EXTRAS, marks=pytest.mark.long),
        pytest.param("float32", {}, marks=pytest.mark.long),
    ],
    ids=["scaled-accumulating", "scaled", "accumulating", "plain"],
)
@pytest.mark.parametrize(
    ("optimizer", "further"),
    [
        *(pytest.param(name, {}, marks=() if name in QUICK else pytest.mark.long) for name in OPTIMIZERS.names()),
        ("Muon", {"convolutions": True, "normalize_kernels": True}),
    ],
)
def test_every_variable_of_an_optimizer_is_in_the_checkpoint(
    optimizer: str, further: dict[str, Any], arguments: dict[str, Any], policy: str, tmp_path: Path
) -> None:
    """The fourth batch ends an accumulation that the third began."""
    model = prepared(optimizer, policy, arguments | further)
    random = np.random.default_rng(0)
    gradients = [
        [random.normal(0, 0.1, variable.shape).astype(np.float32) for variable in model.variables] for _ in range(4)
    ]
    update(model, gradients[:3])
    kept = {id(variable) for variable in model.everything}
    missing = [variable.path for key, variable in variables_in(model.optimizer).items() if key not in kept]
    assert not missing
    run = Run(tmp_path)
    run.checkpoint.parent.mkdir()
    save_checkpoint(run, model, {"epochs_done": 0, "stopped": False, "rows": [], "callbacks": {}})
    again = prepared(optimizer, policy, arguments | further)
    checkpoint = read_checkpoint(run, parameters=1000)
    assert checkpoint is not None
    checkpoint.restore(again)
    for one in (model, again):
        update(one, gradients[3:])
    for ours, theirs in zip(again.everything, model.everything, strict=True):
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy(), err_msg=theirs.path)
