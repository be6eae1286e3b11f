"""Files of networks that have been built open in Keras alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.training.model import without_training_state

from . import test_building, test_composite
from .test_building import OWN, run_python
from .truth import random_images

#: For each folder: opens the model, and keeps what it computes.
OPEN = """
import sys
import numpy as np
import keras
for folder in sys.argv[1:]:
    model = keras.saving.load_model(f"{folder}/model.keras", safe_mode=True)
    np.save(f"{folder}/outputs.npy", np.asarray(model(np.load(f"{folder}/images.npy"))))
    print(model.count_params())
assert not any(name.split(".")[0] == "cnnkit" for name in sys.modules)
"""


#: Attention, a wrapper, and sub-models of one axis; a volume at last. ReLU makes ids of what is drawn.
OTHER_AXES: list[tuple[str, Any]] = [
    ("ReLU", None),
    ("Embedding", {"input_dim": 20, "output_dim": 8}),
    ("MultiHeadAttention", {"num_heads": 2, "key_dim": 4, "dropout": 0.1}),
    ("RMSNormalization", None),
    ("SpectralNormalization", {"layer": {"Conv1D": {"filters": 6, "kernel_size": 3, "padding": "same"}}}),
    ("Conv1D", {"filters": 6, "kernel_size": 3, "padding": [1, 2]}),
    ("MaxPooling1D", {"padding": 1}),
    ("Conv1DTranspose", {"filters": 4, "kernel_size": 3, "padding": 1}),
    ("AdaptiveMaxPooling1D", 1),
    ("Reshape", [1, 2, 1, 2]),
    ("Conv3D", {"filters": 3, "kernel_size": [1, 3, 1], "padding": "full"}),
    ("Flatten", None),
]


def composites(folder: Path) -> Any:
    """A network of blocks, each kind of shortcut, branches and repetitions."""
    block = [
        {
            "Conv2D": {
                "filters": "$filters",
                "kernel_size": 3,
                "strides": "$strides",
                "padding": "same",
                "activation": "relu",
            }
        },
        {"MaxPooling2D": {"pool_size": 3, "strides": 1, "padding": "same"}},
        {"Conv2D": {"filters": "$filters", "kernel_size": 1, "kernel_initializer": "Dirac"}},
        "BatchNormalization",
    ]
    blocks = {
        "unit": {
            "parameters": {"filters": "required", "strides": 1, "shortcut": "auto"},
            "layers": [{"Residual": {"layers": block, "shortcut": "$shortcut", "activation": "relu"}}],
        }
    }
    layers = [
        {"unit": {"filters": 8, "strides": 2}},
        {"unit": {"filters": 16, "strides": 2, "shortcut": "pad"}},
        {"Branches": [["LocalResponseNormalization"], [{"Repeat": {"times": 2, "layers": [{"unit": 16}]}}], []]},
        *test_composite.HEAD,
    ]
    loaded = test_composite.load(folder, {"blocks": blocks, "layers": layers}, (16, 16, 3))
    return test_composite.build(loaded)


@pytest.mark.long
def test_saved_models_open_without_cnnkit(tmp_path: Path) -> None:
    """Every layer that is a sub-model, and some that are not; and composites."""
    built = {
        "layers": test_building.build(OWN, (12, 11, 4)),
        "other_axes": test_building.build(OTHER_AXES, (9,)),
        "composites": composites(tmp_path),
    }
    expected = {}
    for name, model in built.items():
        folder = tmp_path / name
        folder.mkdir()
        images = random_images(3, *model.input_shape[1:])
        plain = without_training_state(model)
        expected[name] = np.asarray(model(images))
        np.testing.assert_allclose(np.asarray(plain(images)), expected[name], rtol=1e-5, atol=1e-6)
        plain.save(folder / "model.keras")
        np.save(folder / "images.npy", images)
    out = run_python(OPEN, *(str(tmp_path / name) for name in built))
    assert [int(line) for line in out.split()] == [model.count_params() for model in built.values()]
    for name, outputs in expected.items():
        np.testing.assert_allclose(np.load(tmp_path / name / "outputs.npy"), outputs, rtol=1e-5, atol=1e-6)
