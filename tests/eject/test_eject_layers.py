"""Scripts of networks with layers of one and three axes, attention and merges start and draw as training does."""

from __future__ import annotations

import math
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ejected import as_module

from cnnkit.config.load import load_config
from cnnkit.eject import eject
from cnnkit.network.summary import summarize
from cnnkit.training.model import build_model

TOP = "data: {name: digits, normalization: none}\ntraining: {dtype_policy: float32}\nmodel:\n  layers:\n"
#: Padding in numbers, names, dtypes and frozen weights, which a script writes in another way than the config.
SIGNALS = """
- Reshape: [16, 4]
- Conv1D: {filters: 8, kernel_size: 3, padding: [1, 2], activation: relu}
- MaxPooling1D: {pool_size: 3, strides: 1, padding: 1}
- Residual: [SeparableConv1D: {filters: 12, kernel_size: 3, strides: 2, padding: same}, BatchNormalization]
- SpatialDropout1D: 0.2
- Conv1DTranspose: {filters: 6, kernel_size: 4, strides: 2, padding: 1}
- AdaptiveMaxPooling1D: 1
- Reshape: [2, 3, 1]
- Reshape: [6]
- Dense: classes
"""
VOLUMES = """
- Reshape: [4, 4, 4, 1]
- Conv3D: {filters: 4, kernel_size: [1, 2, 3], padding: [[0, 0], [1, 0], [1, 1]]}
- UpSampling3D: [1, 2, 1]
- AdaptiveAveragePooling3D: [2, 3, 1]
- GlobalAveragePooling3D
- Dense: classes
"""
TOKENS = """
- Reshape: [64]
- Embedding: {input_dim: 300, output_dim: 8}
- MultiHeadAttention: {num_heads: 2, key_dim: 4, dropout: 0.3, bias_initializer: RandomNormal}
- MultiHeadAttention: {num_heads: 2, key_dim: 4, use_gate: true, name: gated, trainable: false}
- RMSNormalization
- SpectralNormalization: {layer: {Conv1D: {filters: 6, kernel_size: 3}}}
- SpectralNormalization: {layer: {Conv1D: {filters: 6, kernel_size: 3, padding: same}}, power_iterations: 2}
- Branches: {merge: subtract, paths: [[], [AveragePooling1D: {pool_size: 3, strides: 1, padding: same}]]}
- GlobalMaxPooling1D
- Branches: {merge: dot, axes: [2, 1], normalize: true, paths: [[Reshape: [2, 3]], [Dense: 3]]}
- Dense: classes
"""


@pytest.mark.long
def test_scripts_of_other_axes_start_and_draw_as_training_does(tmp_path: Path) -> None:
    for name, layers in (("signals", SIGNALS), ("volumes", VOLUMES), ("tokens", TOKENS)):
        file = tmp_path / f"{name}.yaml"
        lines = "".join(f"    {line}\n" for line in layers.strip().splitlines())
        file.write_text(TOP + lines)
        loaded = load_config(str(file))
        first = build_model(loaded.config, loaded.steps, loaded.info.target, None)
        module = as_module(eject(loaded))
        second = module.build_model()
        module.draw_weights(second)
        assert [(one.shape, one.trainable) for one in first.weights] == [(w.shape, w.trainable) for w in second.weights]
        images = np.random.RandomState(1).randint(0, 256, (16, *loaded.info.shape)).astype(np.float32)
        for training in (False, True, True, False):
            ours, theirs = (np.asarray(one(images, training=training)) for one in (first, second))
            np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4 * np.abs(ours).max())


FROZEN = """
- Reshape: [16, 4]
- MultiHeadAttention: {num_heads: 2, key_dim: 4, trainable: false}
- Residual: {trainable: false, layers: [MultiHeadAttention: {num_heads: 2, key_dim: 4}]}
- SpectralNormalization: {layer: {Conv1D: {filters: 6, kernel_size: 3}}, trainable: false}
- SpectralNormalization: {layer: {Conv1D: {filters: 6, kernel_size: 3, trainable: false}}, dtype: float64}
- SpectralNormalization: {layer: {Conv1D: {filters: 5, kernel_size: 3, dtype: float64}}}
- Flatten
- Dense: classes
"""


def test_scripts_freeze_what_lies_in_layers_and_give_it_its_dtype(tmp_path: Path) -> None:
    """What Keras makes inside a layer is trained only where `inspect` counts it, and in the layer's dtype."""
    file = tmp_path / "frozen.yaml"
    file.write_text(TOP + "".join(f"    {line}\n" for line in FROZEN.strip().splitlines()))
    loaded = load_config(str(file))
    first = build_model(loaded.config, loaded.steps, loaded.info.target, None)
    module = as_module(eject(loaded))
    second = module.build_model()
    module.draw_weights(second)
    expected = [(weight.shape, weight.dtype) for weight in first.trainable_weights]
    assert sum(map(math.prod, (shape for shape, _ in expected))) == summarize(loaded).trainable_parameters
    assert [(weight.shape, weight.dtype) for weight in second.trainable_weights] == expected
    for weight, other in zip(first.weights, second.weights, strict=True):
        assert weight.dtype == other.dtype
        np.testing.assert_array_equal(weight, other)


def test_single_weights_of_attention_are_exempt_from_weight_decay(tmp_path: Path) -> None:
    file = tmp_path / "decayed.yaml"
    layers = "[Reshape: [16, 4], MultiHeadAttention: {num_heads: 2, key_dim: 4}, Flatten, Dense: classes]"
    excluded = "[1.MultiHeadAttention/query, 3.Dense/bias]"
    file.write_text(
        f"data: {{name: digits}}\nmodel: {{layers: {layers}}}\n"
        f"training: {{optimizer: {{AdamW: {{weight_decay: 0.1}}}}, exclude_from_weight_decay: {excluded}}}\n"
    )
    import keras

    script = eject(load_config(str(file)))
    module = as_module(script)
    start, end = script.index("    not_decayed = ["), script.index("    optimizer.exclude_from_weight_decay")
    keras.utils.clear_session()  # as in the script's `main`
    found: dict[str, Any] = {"model": module.build_model([0.0], [1.0])}
    exec(textwrap.dedent(script[start:end]), found)
    assert [weight.path.split("/")[-2:] for weight in found["not_decayed"][:2]] == [
        ["query", "kernel"],
        ["query", "bias"],
    ]
    assert [weight.shape for weight in found["not_decayed"][2:]] == [(10,)]
