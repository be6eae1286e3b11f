"""Every shipped config loads, inspects, builds, trains a step, saves and opens again."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.augmentation import shapes_in_training
from cnnkit.config.load import load_config
from cnnkit.data import split_from_arrays
from cnnkit.layers.stack import head
from cnnkit.layers.weight_paths import weighted_layers
from cnnkit.network.summary import summarize
from cnnkit.training.model import (
    measure_initial_weights,
    normalization_constants,
    weights_by_path,
    without_training_state,
)
from cnnkit.training.preparation import compile_model, resolved
from cnnkit.training.settings import choose_settings

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))

#: The second stage trains them: those that take longest, and of a network of two sizes the larger.
LARGE = (
    *("imagenet_alexnet", "imagenet_alexnet_towers", "imagenet_densenet121", "imagenet_googlenet", "imagenet_resnet50"),
    *("imagenet_vgg16", "cifar10_densenet", "cifar10_densenet_small", "cifar10_googlenet", "cifar10_googlenet_small"),
    *("cifar10_resnet18", "cifar10_resnet18_small", "cifar10_vgg", "cifar10_maxout", "cifar10_allconv"),
    *("cifar10_alexnet", "cifar10_convnetjs", "cifar10_best"),
    *("cifar10_resnet20", "cifar10_vgg_small", "cifar10_allconv_small", "cifar10_maxout_small"),
    *("imagenet_mobilenetv2", "imagenet_mobilenetv3small", "imagenet_efficientnetb0", "imagenet_convnexttiny"),
    *("imagenet_xception", "imagenet_seresnet50", "imagenet_shufflenet", "imagenet_mixer", "cifar10_wideresnet"),
    *("cifar10_mobilenetv2", "cifar10_mobilenetv2_small", "cifar10_alexnet_small", "cifar10_convnetjs_small"),
    *("mnist", "mnist_fast", "mnist_lecture", "fashion_mnist", "lenet5_mnist"),
    *("unet_camvid", "unet_pet", "fcn_camvid", "transfer_mobilenet", "detect_digits", "detect_voc"),
)


#: Sides of images that are enough for each layer of a network for ImageNet, whose own sizes test_zoo.py holds against
#: papers and against Keras.
SIDE, SIDES = 96, {"imagenet_alexnet": 99, "imagenet_alexnet_towers": 99, "imagenet_mixer": 224}


def of_smaller_images(name: str) -> list[str]:
    """Overrides that have a network for ImageNet take images that it computes in a fraction of the time."""
    side = SIDES.get(name, SIDE)
    return [f"data.image_size={side}", f"data.shape=[{side},{side},3]"] if name.startswith("imagenet_") else []


@pytest.mark.usefixtures("freed_networks")
@pytest.mark.parametrize(
    "file",
    [pytest.param(path, id=path.stem, marks=pytest.mark.long if path.stem in LARGE else ()) for path in CONFIGS],
)
def test_shipped_config_trains_a_step(file: Path, tmp_path: Path) -> None:
    """On random images of the declared shape, or smaller; layer by layer, Keras agrees with what `inspect` says."""
    import keras

    loaded = load_config(str(file), of_smaller_images(file.stem), to_train=False)
    config, info = loaded.config, loaded.info
    if not config.task.takes_images:
        pytest.skip("its task takes steps of its own, which the task's tests take")
    summary = summarize(loaded)
    chosen = choose_settings(config.training, loaded.steps, 10)
    config = resolved(config, chosen)
    statistics = ([120.0] * info.shape[-1], [3600.0] * info.shape[-1])
    constants = normalization_constants(config, statistics)
    model, _ = compile_model(config, info.target, loaded.steps, constants, chosen, 10)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, *info.shape), dtype=np.uint8)
    measure_initial_weights(model, split_from_arrays(images, np.arange(4)))

    assert model.count_params() == summary.parameters
    listed = {
        layer.path_of(weight): weight.shape for layer in weighted_layers(loaded.steps) for weight in layer.weights
    }
    assert listed == {path: tuple(weight.shape) for path, weight in weights_by_path(model).items()}
    # The first layer is a normalization, except before a backbone, which has its own.
    # The training model of images that grow takes any height and width.
    growing = len(shapes_in_training(config.augmentation_in_training, info.shape)) > 1
    for row, layer in zip(summary.rows, model.layers[-len(summary.rows) :], strict=True):
        found, expected = tuple(layer.output.shape[1:]), row.output_shape
        assert found == ((None, None, *expected[2:]) if growing and len(expected) == 3 else expected)
        assert layer.count_params() == row.parameters

    # A class for each pixel is a number, one for the whole image one-hot.
    if info.target.per_pixel:
        labels = random.integers(0, info.classes, (4, *info.shape[:2], 1))
    elif info.target.boxed:
        corners = random.uniform(0, 60, (4, 3, 2))
        numbers = random.integers(0, info.classes, (4, 3, 1))
        labels = np.concatenate([corners, corners + 40, numbers, np.zeros((4, 3, 1))], axis=-1)
    else:
        labels = np.eye(info.classes, dtype=np.float32)[random.integers(0, info.classes, 4)]
    before = [content(weight) for weight in model.trainable_variables]
    moved = [False] * len(before)
    # A graph of hundreds of layers takes minutes to make, for two steps.
    model.run_eagerly = True
    for images_of_step in (slice(0, 2), slice(2, 4)):
        # Behind weights that begin as zeros, others move in the second step only.
        if not all(moved):
            history = model.fit(images[images_of_step], labels[images_of_step], batch_size=2, verbose=0, shuffle=False)
            assert np.isfinite(history.history["loss"]).all()
            moved = [
                already or content(weight) != start
                for already, start, weight in zip(moved, before, model.trainable_variables, strict=True)
            ]
    assert all(moved)
    assert all(np.isfinite(weight).all() for weight in model.trainable_variables)

    if file.with_name(f"{file.stem}_small.yaml").exists():
        # That one has the same layers.
        return
    path = tmp_path / "model.keras"
    without_training_state(model).save(path)
    again = keras.models.load_model(path)
    # Of two million outputs, some are sums that were rounded in another order.
    precision = 1e-4 if info.target.per_pixel else 1e-5
    # Logits are sums of numbers around 1, however small they are.
    logits = head([step.layer for step in loaded.steps]) == "logits"
    least = 1e-5 if info.target.boxed else 1e-6 if logits else 1e-7
    np.testing.assert_allclose(again(images), model(images), rtol=precision, atol=least)


def content(weight: Any) -> bytes:
    """Sixteen bytes that stand for a weight's values, of which the largest networks have half a gigabyte."""
    return hashlib.md5(np.ascontiguousarray(weight), usedforsecurity=False).digest()


@pytest.mark.parametrize("file", CONFIGS, ids=lambda path: path.stem)
def test_shipped_config_says_what_it_is_for(file: Path) -> None:
    first = file.read_text().split("\n", 1)[0]
    assert first.startswith("# ")
    assert len(first) > 20
