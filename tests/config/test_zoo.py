"""The networks of the papers: counts against the papers or a second derivation, values against keras.applications."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import pytest

from cnnkit.config import shipped
from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.format.base import to_plain
from cnnkit.layers.resolved import Resolved, leaves
from cnnkit.layers.stack import Step
from cnnkit.network.summary import Summary, summarize
from cnnkit.training.model import build_model


def load(name: str, *overrides: str) -> LoadedConfig:
    return load_config(str(shipped.find(name)), overrides)


def summary(name: str, *overrides: str) -> Summary:
    return summarize(load(name, *overrides))


# --- Counts by a second derivation --------------------------------------------------------------------


def conv(size: int, before: int, after: int, bias: bool = True) -> int:
    return size * size * before * after + (after if bias else 0)


def lenet5() -> int:
    """LeCun 1998, section II.B, with C3 connected to all maps and pooling without coefficients."""
    return (25 + 1) * 6 + (25 * 6 + 1) * 16 + (400 + 1) * 120 + (120 + 1) * 84 + (84 + 1) * 10


def allconv() -> int:
    """Springenberg 2014, table 2, model C with strides (All-CNN-C, table 5)."""
    sizes = [(3, 3, 96), (3, 96, 96), (3, 96, 96), (3, 96, 192), (3, 192, 192), (3, 192, 192), (3, 192, 192)]
    return sum(conv(*one) for one in [*sizes, (1, 192, 192), (1, 192, 10)])


def googlenet() -> int:
    """Szegedy 2014, table 1."""
    modules = [
        (192, 64, 96, 128, 16, 32, 32), (256, 128, 128, 192, 32, 96, 64),
        (480, 192, 96, 208, 16, 48, 64), (512, 160, 112, 224, 24, 64, 64), (512, 128, 128, 256, 24, 64, 64),
        (512, 112, 144, 288, 32, 64, 64), (528, 256, 160, 320, 32, 128, 128),
        (832, 256, 160, 320, 32, 128, 128), (832, 384, 192, 384, 48, 128, 128),
    ]  # fmt: skip
    total = conv(7, 3, 64) + conv(1, 64, 64) + conv(3, 64, 192)
    for i, one, reduce3, three, reduce5, five, pool in modules:
        total += conv(1, i, one) + conv(1, i, reduce3) + conv(3, reduce3, three)
        total += conv(1, i, reduce5) + conv(5, reduce5, five) + conv(1, i, pool)
    return total + 1024 * 1000 + 1000


def resnet20(projections: bool) -> int:
    """He 2015, section 4.2: 6n + 2 layers with n = 3; batch normalization has two trained numbers per channel."""
    total = conv(3, 3, 16, False) + 2 * 16
    before = 16
    for filters in (16, 32, 64):
        for _ in range(3):
            total += conv(3, before, filters, False) + conv(3, filters, filters, False) + 4 * filters
            if projections and before != filters:
                total += before * filters + 2 * filters
            before = filters
    return total + 64 * 10 + 10


def densenet_bc(growth: int, depth: int) -> int:
    """Huang 2016, section 3, the trained numbers: (depth - 4) / 6 bottlenecks in each of three dense blocks."""
    total, channels = conv(3, 3, 2 * growth, False), 2 * growth
    for block in range(3):
        for _ in range((depth - 4) // 6):
            total += 2 * channels + conv(1, channels, 4 * growth, False)
            total += 2 * 4 * growth + conv(3, 4 * growth, growth, False)
            channels += growth
        if block < 2:
            total += 2 * channels + conv(1, channels, channels // 2, False)
            channels //= 2
    return total + 2 * channels + channels * 10 + 10


@pytest.mark.parametrize(
    ("name", "overrides", "derived", "published"),
    [
        ("lenet5_mnist", [], lenet5(), 61_706),
        ("imagenet_googlenet", [], googlenet(), 6_998_552),
        ("cifar10_allconv", [], allconv(), 1_369_738),
        ("cifar10_resnet20", [], resnet20(False), 269_722),
        ("cifar10_resnet20", ["model.blocks.basic.parameters.shortcut=auto"], resnet20(True), 272_474),
        ("cifar10_densenet", [], densenet_bc(12, 100), 769_162),
    ],
)
def test_trained_parameters_are_those_of_the_paper(
    name: str, overrides: list[str], derived: int, published: int
) -> None:
    assert summary(name, *overrides).trainable_parameters == derived == published


def test_alexnet_and_its_towers() -> None:
    """Krizhevsky 2012, figure 2; the towers meet in the third convolution and in the dense layers alone."""

    def count(groups: int) -> int:
        convolutions = [
            (11, 3, 96, 1),
            (5, 96, 256, groups),
            (3, 256, 384, 1),
            (3, 384, 384, groups),
            (3, 384, 256, groups),
        ]
        total = sum(size * size * (before // g) * after + after for size, before, after, g in convolutions)
        return total + (9216 + 1) * 4096 + (4096 + 1) * 4096 + (4096 + 1) * 1000

    assert summary("imagenet_alexnet").parameters == count(1) == 62_378_344
    assert summary("imagenet_alexnet_towers").parameters == count(2) == 60_965_224


def test_alexnet_has_the_sizes_of_the_paper() -> None:
    """Krizhevsky 2012, with the 227x227 input that its arithmetic needs."""
    found = summary("imagenet_alexnet").lines(9)
    assert [row.output_shape for _, row in found if row.type in ("Conv2D", "MaxPooling2D", "Dense")] == [
        (55, 55, 96), (27, 27, 96), (27, 27, 256), (13, 13, 256), (13, 13, 384), (13, 13, 384), (13, 13, 256),
        (6, 6, 256), (4096,), (4096,), (1000,),
    ]  # fmt: skip


def test_convnetjs_has_the_layers_of_the_demo() -> None:
    """https://cs.stanford.edu/people/karpathy/convnetjs/demo/cifar10.html"""
    loaded = load("cifar10_convnetjs")
    layers = leaves(loaded.config.model.resolved(loaded.info.shape, loaded.info.target.values))
    found = [(type(layer).__name__, getattr(layer, "filters", None)) for layer in layers]
    pair = [("Conv2D", 16), ("MaxPooling2D", None), ("Conv2D", 20), ("MaxPooling2D", None), ("Conv2D", 20)]
    assert found == [*pair, ("MaxPooling2D", None), ("Flatten", None), ("Dense", None)]
    shapes = [row.output_shape for row in summary("cifar10_convnetjs").rows]
    assert shapes == [(16, 16, 16), (8, 8, 20), (4, 4, 20), (320,), (10,)]


def test_maxout_has_the_layers_of_the_paper() -> None:
    """Goodfellow 2013, section 4.2, and the configuration published with it."""
    found = summary("cifar10_maxout")
    shapes = [row.output_shape for _, row in found.lines(2) if row.type in ("Conv2D", "Maxout", "MaxPooling2D")]
    assert shapes == [
        (33, 33, 192), (33, 33, 96), (15, 15, 96),
        (14, 14, 384), (14, 14, 192), (6, 6, 192),
        (8, 8, 384), (8, 8, 192), (4, 4, 192), (500,),
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["cifar10_resnet20", "cifar10_densenet", "imagenet_densenet121", "imagenet_googlenet"])
def test_deep_networks_fit_on_one_screen(name: str) -> None:
    assert len(shipped.find(name).read_text().splitlines()) < 70


@pytest.mark.parametrize("name", [name for name in shipped.names() if name.endswith("_small")])
def test_small_variants_change_no_layer(name: str) -> None:
    """They are the full networks with other widths and depths: nothing is copied."""
    small, full = load(name).config.model, load(name.removesuffix("_small")).config.model
    assert to_plain(small.layers) == to_plain(full.layers)
    for key, block in full.blocks.items():
        assert to_plain(small.blocks[key].layers) == to_plain(block.layers)
    assert summary(name).macs <= summary(name.removesuffix("_small")).macs


# --- Values against Keras' own networks ---------------------------------------------------------------


def built_leaves(steps: Sequence[Step], names: Sequence[str], model: Any) -> Iterator[Any]:
    """The Keras layers with weights, in the order in which the config reads."""
    for step, name in zip(steps, names, strict=True):
        layer = model.get_layer(step.layer.name or name)
        if isinstance(step.layer, Resolved):
            for part in step.layer.parts:
                yield from built_leaves(part.steps, part.labels, layer)
        elif layer.weights:
            yield layer


def resnet50_names() -> list[str]:
    names = ["conv1_conv", "conv1_bn"]
    for stage, depth in enumerate((3, 4, 6, 3), start=2):
        for block in range(1, depth + 1):
            for number in (1, 2, 3, 0) if block == 1 else (1, 2, 3):
                names += [f"conv{stage}_block{block}_{number}_{kind}" for kind in ("conv", "bn")]
    return [*names, "predictions"]


def in_order(model: Any) -> list[str]:
    return [layer.name for layer in model.layers if layer.weights]


#: Keras' network, its layers in the order in which ours are read, and whether they are normalized.
NETWORKS = {
    "imagenet_vgg16": ("VGG16", in_order),
    "imagenet_resnet50": ("ResNet50", lambda model: resnet50_names()),
    "imagenet_densenet121": ("DenseNet121", in_order),
}


def draw(layers: Sequence[Any]) -> None:
    """Random weights; all of them, since fresh ones make all images alike."""
    random = np.random.default_rng(0)
    for layer in layers:
        values = []
        for weight in layer.weights:
            shape = tuple(weight.shape)
            if weight.name == "kernel":
                values.append(random.normal(0, math.sqrt(2 / math.prod(shape[:-1])), shape))
            elif weight.name == "gamma":
                values.append(random.uniform(0.1, 0.3, shape))
            elif weight.name == "moving_variance":
                # Small, so that epsilon counts.
                values.append(random.uniform(0.01, 0.1, shape))
            else:
                values.append(random.normal(0, 0.1, shape))
        layer.set_weights(values)


def difference(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.abs(first - second).max() / np.abs(second).max())


@pytest.mark.long
@pytest.mark.parametrize("name", NETWORKS)
def test_values_are_those_of_keras_applications(name: str) -> None:
    loaded = load(name, "training.dtype_policy=float32", "data.normalization=none")
    ours = build_model(loaded.config, loaded.steps, loaded.info.target, None)
    keras_name, order = NETWORKS[name]
    theirs = getattr(keras.applications, keras_name)(weights=None, classifier_activation=None)
    ours.layers[-1].activation = keras.activations.linear
    assert ours.count_params() == theirs.count_params()

    steps = loaded.config.model.trace(loaded.info.shape, loaded.info.target.values)
    mine = list(built_leaves(steps, [f"{index}.{step.layer.kind}" for index, step in enumerate(steps)], ours))
    their_layers = [theirs.get_layer(one) for one in order(theirs)]
    draw(their_layers)
    assert len(mine) == len(their_layers)
    for layer, original in zip(mine, their_layers, strict=True):
        layer.set_weights(original.get_weights())

    images = np.random.default_rng(1).normal(size=(2, *loaded.info.shape)).astype("float32")
    found, expected = np.asarray(ours(images)), np.asarray(theirs(images))
    assert difference(found, expected) < 1e-4
    # The comparison sees another image, and one wrong epsilon.
    assert difference(found[:1], expected[1:]) > 1e-2
    normalizations = [layer for layer in mine if isinstance(layer, keras.layers.BatchNormalization)]
    if normalizations:
        assert all(layer.epsilon == pytest.approx(1.001e-5) for layer in normalizations)
        normalizations[len(normalizations) // 2].epsilon = 1e-3
        assert difference(np.asarray(ours(images)), expected) > 1e-4
