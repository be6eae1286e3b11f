"""Networks that are trained on crops and evaluated on whole images are one network, whatever is in them."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from cnnkit.config.run import RunConfig
from cnnkit.config.target import Mask
from cnnkit.eject.network import write_network
from cnnkit.eject.text import import_lines
from cnnkit.runs.inference import LARGEST_INFERENCE_BATCH, inference_batch_size
from cnnkit.training.model import build_model, without_training_state

WHOLE, CROP = (24, 32, 3), (16, 8, 3)

NETWORKS: dict[str, list[Any]] = {
    "unet": [
        {"double": 4},
        {
            "Branches": [
                [],
                [
                    {"MaxPooling2D": 2},
                    {"double": 6},
                    {"Branches": [[], [{"MaxPooling2D": 2}, "up"]]},
                    {"Conv2DTranspose": {"filters": "$channels // 2", "kernel_size": 2, "strides": 2}},
                ],
            ]
        },
        {"Conv2D": {"filters": "classes", "kernel_size": 1, "activation": "softmax"}},
    ],
    "kinds": [
        {"Conv2D": {"filters": 8, "kernel_size": 3, "padding": 1, "use_bias": False}},
        "BatchNormalization",
        {"Residual": [{"Conv2D": {"filters": 8, "kernel_size": 3, "padding": "same"}}, "BatchNormalization"]},
        {"Residual": [{"Conv2D": {"filters": 8, "kernel_size": 3, "padding": "same", "strides": 2}}, "ReLU"]},
        {"MaxPooling2D": {"pool_size": 3, "strides": 2, "padding": 1}},
        {"Branches": {"paths": [[{"GlobalAveragePooling2D": {"keepdims": True}}], []], "merge": "multiply"}},
        {"UpSampling2D": {"size": 4, "interpolation": "bilinear"}},
        {"Dense": "classes"},
    ],
}


def config(layers: list[Any], augmentation: list[Any]) -> RunConfig:
    blocks = {
        "double": {
            "parameters": {"filters": "required"},
            "layers": [
                {"Repeat": {"times": 2, "layers": [{"Conv2D": {"filters": "$filters", "kernel_size": 3,
                                                               "padding": "same", "activation": "relu"}}]}}
            ],
        },
        "up": {"layers": [{"double": "$channels"}, {"UpSampling2D": 2}]},
    }  # fmt: skip
    return RunConfig.model_validate(
        {
            "data": {"name": "digits"},
            "augmentation": augmentation,
            "model": {"blocks": blocks, "layers": layers},
            "training": {"dtype_policy": "float32"},
        }
    )


def built(config: RunConfig, shape: tuple[int, int, int], constants: Any) -> Any:
    """Its model for whole images of a shape, whose pixels have one of five classes."""
    target = Mask(5)
    return build_model(config, config.model.trace(shape, target.values), target, constants)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_for_crops_is_the_one_for_whole_images(name: str) -> None:
    constants = ([120.0], [4000.0])
    crop = [{"RandomCrop": {"height": CROP[0], "width": CROP[1]}}]
    both = built(config(NETWORKS[name], crop), WHOLE, constants)
    draws = np.random.default_rng(0)
    for shape in (WHOLE, CROP):
        alone = built(config(NETWORKS[name], []), shape, constants)
        # The same initial weights, too.
        for ours, theirs in zip(both.get_weights(), alone.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
        images = draws.uniform(0, 255, (2, *shape)).astype(np.float32)
        np.testing.assert_allclose(both(images), alone(images), atol=1e-5)
    saved = without_training_state(both, WHOLE)
    assert saved.input_shape == (None, *WHOLE)
    assert saved.output_shape == (None, *WHOLE[:2], 5)
    images = draws.uniform(0, 255, (2, *WHOLE)).astype(np.float32)
    np.testing.assert_allclose(saved(images), both(images), atol=1e-5)


def test_batches_of_evaluation_are_as_large_as_whole_images_allow() -> None:
    """They hang on the activations, of which a network for crops and whole images alike does not know how many."""
    crop = [{"RandomCrop": {"height": CROP[0], "width": CROP[1]}}]
    shape = (320, 480, 3)
    both, alone = (built(config(NETWORKS["unet"], one), shape, None) for one in (crop, []))
    expected = inference_batch_size(alone)
    assert inference_batch_size(both, shape) == expected < LARGEST_INFERENCE_BATCH
    # What is saved takes whole images, though what is inside its branches would take any.
    assert inference_batch_size(without_training_state(both, shape)) == expected


def test_the_script_of_a_network_for_crops_takes_both_sizes() -> None:
    values = Mask(5).values
    made = config(NETWORKS["unet"], [{"RandomCrop": {"height": CROP[0], "width": CROP[1]}}])
    steps = made.steps_to_build(made.model.trace(WHOLE, values), values)
    network = write_network(steps, WHOLE, "float32", None, set())
    body = "\n".join([*network.functions, "def build_model():", *(f"    {line}" for line in network.lines)])
    script = ModuleType("ejected")
    exec("\n".join([*import_lines(body)[1], body]), script.__dict__)
    model = script.build_model()
    for shape in (WHOLE, CROP):
        assert model(np.zeros((1, *shape), np.float32)).shape == (1, *shape[:2], 5)
