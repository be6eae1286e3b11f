"""Activations as ONNX: what tf2onnx does not know is written in operators that it does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnnkit.export.formats import FORMATS
from cnnkit.export.network import convert, exportable


def largest_difference(activation: str, folder: Path) -> float:
    """Between Keras and onnxruntime, over arguments from -6 to 6; of large outputs, as a share of them."""
    import keras
    import onnxruntime

    model = keras.Sequential([keras.Input((1, 6, 1), name="image"), keras.layers.Activation(activation)])
    convert(exportable(model), FORMATS["onnx"], folder / "model.onnx", {})
    values = np.linspace(-6, 6, 101 * 6, dtype=np.float32).reshape(101, 1, 6, 1)
    session = onnxruntime.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    (outputs,) = session.run(None, {"image": values})
    expected = model(values).numpy()
    assert np.ptp(expected) > 0.5
    return float((np.abs(outputs - expected) / np.maximum(1, np.abs(expected))).max())


def test_gelu(tmp_path: Path) -> None:
    assert largest_difference("gelu", tmp_path) < 1e-6


OTHERS = """
celu elu exponential hard_shrink hard_sigmoid hard_silu hard_tanh leaky_relu log_sigmoid mish relu relu6 selu sigmoid
silu soft_shrink softplus softsign sparse_plus squareplus tanh tanh_shrink
"""


@pytest.mark.long
@pytest.mark.parametrize("activation", OTHERS.split())
def test_other_activations(tmp_path: Path, activation: str) -> None:
    assert largest_difference(activation, tmp_path) < 3e-6
