"""Levels of a network, which layer-wise learning rates follow."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from trainings import config, write

from cnnkit.config.load import load_config
from cnnkit.layers.depth import NETWORK_LEVELS, levels_before_output

CONVOLUTION = {"Conv2D": {"filters": 4, "kernel_size": 3, "padding": "same"}}
DENSE = {"Dense": "classes"}


def levels(folder: Path, layers: list[Any], **blocks: Any) -> dict[str, int]:
    content = config(model={"layers": layers, "blocks": blocks}, data={"normalization": "none"})
    return levels_before_output(load_config(write(folder, content)).steps)


def test_a_kernel_is_a_level_with_what_follows_it(tmp_path: Path) -> None:
    layers = ["BatchNormalization", CONVOLUTION, "BatchNormalization", "PReLU", CONVOLUTION, "ReLU", "Flatten", DENSE]
    expected = {
        "0.BatchNormalization": 2,
        "1.Conv2D": 2,
        "2.BatchNormalization": 2,
        "3.PReLU": 2,
        "4.Conv2D": 1,
        "7.Dense": 0,
    }
    assert levels(tmp_path, layers) == expected


def test_paths_side_by_side_are_one_level_and_repetitions_are_many(tmp_path: Path) -> None:
    unit = {"layers": [{"Residual": [CONVOLUTION, "BatchNormalization", CONVOLUTION]}]}
    found = levels(tmp_path, [CONVOLUTION, {"Repeat": {"times": 2, "layers": ["unit"]}}, "Flatten", DENSE], unit=unit)
    inside = {level for path, level in found.items() if path.startswith("1.Repeat/")}
    assert (found["0.Conv2D"], inside, found["3.Dense"]) == (3, {1, 2}, 0)
    assert Counter(found.values()) == {3: 1, 2: 3, 1: 3, 0: 1}


@pytest.mark.parametrize("name", ["MobileNetV3Small", "VGG16"])
def test_a_backbone_has_as_many_levels_as_convnext(tmp_path: Path, name: str) -> None:
    """Each with as many kernels as the others, or one more; in the order of the network."""
    layers = [{"Branches": {"paths": [[], [], []]}}, {"Resizing": {"height": 64, "width": 64}}, {"Backbone": name}]
    found = levels(tmp_path, [*layers, "GlobalAveragePooling2D", DENSE])
    backbone = {path: level for path, level in found.items() if path.startswith(name)}
    assert set(backbone.values()) == set(range(1, NETWORK_LEVELS + 1))
    assert list(backbone.values()) == sorted(backbone.values(), reverse=True)
    steps = load_config(str(tmp_path / "net.yaml")).steps
    operations = steps[2].layer.operations(steps[2].input_shape)
    kernels = Counter(
        backbone[f"{name}/{operation.name}"]
        for operation in operations
        if any(len(weight.shape) in (2, 4) for weight in operation.weights)
    )
    assert max(kernels.values()) - min(kernels.values()) <= 1
