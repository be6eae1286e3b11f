"""Small networks for tests that look inside one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.config.load import LoadedConfig, load_config

UNET = """
data: {name: digits}
model:
  layers:
    - Conv2D: {filters: 4, kernel_size: 3, padding: same, activation: relu}
    - Branches:
        paths:
          - []
          - [{MaxPooling2D: 2}, {Conv2D: {filters: 6, kernel_size: 3, padding: same}},
             {Conv2DTranspose: {filters: 3, kernel_size: 2, strides: 2}}]
    - Repeat: {times: 2, layers: [{Conv2D: {filters: 5, kernel_size: 3, padding: same}}, ReLU]}
    - MaxPooling2D: 2
    - Residual: {layers: [{Conv2D: {filters: 5, kernel_size: 3, padding: same}}, BatchNormalization], activation: relu}
    - GlobalAveragePooling2D
    - Dense: {units: classes, activation: softmax}
"""


def written(folder: Path, text: str) -> LoadedConfig:
    """The config of a text."""
    path = folder / "net.yaml"
    path.write_text(text)
    return load_config(str(path), ["training.dtype_policy=float32"])


def built(loaded: LoadedConfig) -> Any:
    """Its network as it is saved, with random weights."""
    from cnnkit.training.model import build_model, without_training_state

    channels = loaded.info.shape[-1]
    constants = ([120.0] * channels, [4000.0] * channels)
    model = build_model(loaded.config, loaded.steps, loaded.info.target, constants)
    draws = np.random.default_rng(0)
    for variable in model.variables:
        values = draws.normal(0, 0.3, variable.shape).astype(np.float32)
        # Fresh statistics would hide a batch normalization that is left out.
        variable.assign(np.abs(values) + 0.5 if variable.name == "moving_variance" else values)
    return without_training_state(model)
