"""Which weights a name means, and that an optimizer's decay leaves exactly these alone: in training, and in scripts."""

from __future__ import annotations

import re
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.eject import eject
from cnnkit.layers.weight_paths import meant, weight_paths

#: Names that hold those of weights, a block that is used twice, layers without a name, a frozen one; and one that is
#: built as two, for Keras knows no padding by a number.
NETWORK = """
data: {name: digits}
model:
  blocks:
    biasfree:
      layers:
        - Residual: [{Conv2D: {filters: 4, kernel_size: 1, use_bias: false}}, BatchNormalization]
        - Conv2D: {filters: 4, kernel_size: 3, padding: 1, name: mix}
  layers:
    - Conv2D: {filters: 4, kernel_size: 3, name: bias_stem}
    - biasfree
    - Branches: [[biasfree, PReLU], [{SeparableConv2D: {filters: 4, kernel_size: 1, name: gamma}}]]
    - Conv2D: {filters: 4, kernel_size: 1, name: beta_1, trainable: false}
    - Flatten
    - Dense: {units: 4, activation: relu}
    - Dense: {units: classes, activation: softmax}
training:
"""


def loaded(folder: Path, training: str) -> LoadedConfig:
    file = folder / "network.yaml"
    file.write_text(NETWORK + training)
    return load_config(str(file))


def ratios(model: Any, optimizer: Any, batches: int) -> list[float]:
    """What batches without any gradient leave of each weight that can be trained."""
    import keras

    weights = model.trainable_variables
    for weight in weights:
        weight.assign(np.ones(weight.shape))
    for _ in range(batches):
        optimizer.apply([keras.ops.zeros(weight.shape) for weight in weights], weights)
    return [float(np.mean(weight)) for weight in weights]


def trained(config: LoadedConfig, batches: int) -> dict[str, float]:
    """By path, as `train` makes model and optimizer."""
    from cnnkit.training.model import build_model, weights_by_path
    from cnnkit.training.preparation import make_optimizer

    training = config.config.training
    plain = config.config.model_copy(update={"training": training.model_copy(update={"dtype_policy": "float32"})})
    model = build_model(plain, config.steps, config.info.target, None)
    optimizer = make_optimizer(training, training.optimizer.learning_rate, model)
    paths = {id(weight): path for path, weight in weights_by_path(model).items()}
    left = ratios(model, optimizer, batches)
    found = {paths[id(weight)]: ratio for weight, ratio in zip(model.trainable_variables, left, strict=True)}
    # The frozen layer has a path, too, and no say.
    assert {path for path in weight_paths(steps(config)) if "beta_1" not in path} == set(found)
    return found


def steps(config: LoadedConfig) -> Any:
    return list(config.steps)


def in_script(config: LoadedConfig, batches: int, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """In the order of the script's variables, with the optimizer that it compiles."""
    import keras

    class Compiled(Exception):
        pass

    def stop(model: Any, *arguments: Any, **options: Any) -> None:
        raise Compiled(model)

    module = ModuleType("ejected")
    exec(compile(eject(config), "ejected.py", "exec"), module.__dict__)
    with monkeypatch.context() as patch:
        patch.setattr(keras.Model, "summary", lambda model: None)
        patch.setattr(keras.Model, "fit", stop)
        with pytest.raises(Compiled) as stopped:
            module.main()
    (model,) = stopped.value.args
    return ratios(model, model.optimizer, batches)


@pytest.mark.parametrize(
    ("optimizer", "batches", "names", "left_alone"),
    [
        (
            "SGD: {learning_rate: 0.01, weight_decay: 1}",
            13,
            ["bias", "gamma", "beta", "5.Dense"],
            "/(bias|gamma|beta)$|^5.Dense/",
        ),
        pytest.param(
            "AdamW: {learning_rate: 0.01, weight_decay: 1, use_ema: true}",
            2,
            ["bias_stem", "6.Dense"],
            "^(bias_stem|6.Dense)/",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "Muon: {learning_rate: 0.01, weight_decay: 1, adam_weight_decay: 1, convolutions: true}",
            2,
            ["1.biasfree", "mix/kernel", "alpha"],
            "^1.biasfree/|/mix/kernel$|/alpha$",
            marks=pytest.mark.long,
        ),
        pytest.param(
            "Muon: {learning_rate: 0.01, weight_decay: null, adam_weight_decay: 1, gradient_accumulation_steps: 2}",
            4,
            ["5.Dense/bias", "gamma/pointwise_kernel"],
            # Muon's own decay is that of matrices.
            "^5.Dense/bias$|/gamma/pointwise_kernel$|Dense/kernel$",
            marks=pytest.mark.long,
        ),
    ],
)
def test_decay_leaves_alone_what_a_name_means(
    optimizer: str, batches: int, names: list[str], left_alone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Plain arithmetic: each update takes a hundredth off."""
    policy = "mixed_float16" if "AdamW" in optimizer else "float32"
    text = f"  dtype_policy: {policy}\n  optimizer: {{{optimizer}}}\n  exclude_from_weight_decay: {names}\n"
    config = loaded(tmp_path, text)
    decay = 0.99 ** (batches // 2 if "accumulation" in optimizer else batches)
    found = trained(config, batches)
    expected = {path: 1.0 if re.search(left_alone, path) else decay for path in found}
    assert found == pytest.approx(expected, abs=1e-4)
    left = in_script(config, batches, monkeypatch)
    assert sorted(left) == pytest.approx(sorted(expected.values()), abs=1e-4)


def test_names_mean_weights_first_and_layers_then() -> None:
    paths = ["bias/kernel", "bias/bias", "2.block/layers.0.Conv2D/kernel", "2.block/layers.10.Conv2D/kernel"]
    assert meant("bias", paths) == ["bias/bias"]
    assert meant("bias/kernel", paths) == ["bias/kernel"]
    assert meant("2.block", paths) == paths[2:]
    assert meant("layers.0.Conv2D", paths) == paths[2:3]
    assert meant("0.Conv2D", paths) == meant("block", paths) == meant("", paths) == []
