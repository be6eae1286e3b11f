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


def seresnet50(ratio: int) -> int:
    """Hu 2017, table 1: ResNet-50's bottlenecks, each with a gate of channels / ratio units and biases."""
    total, before = conv(7, 3, 64, False) + 2 * 64, 64
    for filters, depth in ((64, 3), (128, 4), (256, 6), (512, 3)):
        for block in range(depth):
            after, units = 4 * filters, 4 * filters // ratio
            sizes = [(1, before, filters), (3, filters, filters), (1, filters, after)]
            sizes += [(1, before, after)] if block == 0 else []
            total += sum(conv(*size, False) + 2 * size[2] for size in sizes)
            total += conv(1, after, units) + conv(1, units, after)
            before = after
    return total + 2048 * 1000 + 1000


def shufflenet(groups: int) -> int:
    """Zhang 2017, table 1: units of a quarter of the stage's channels, the first of which keeps what comes in."""
    total, before = conv(3, 3, 24, False) + 2 * 24, 24
    for filters, depth, first in ((240, 4, 1), (480, 8, groups), (960, 4, groups)):
        for unit in range(depth):
            inner, after = filters // 4, filters - before if unit == 0 else filters
            total += before * inner // (first if unit == 0 else groups) + 2 * inner
            total += 9 * inner + 2 * inner
            total += inner * after // groups + 2 * after
            before = filters
    return total + 960 * 1000 + 1000


def wideresnet(depth: int, width: int) -> int:
    """Zagoruyko 2016, table 1: (depth - 4) / 6 pre-activated pairs of convolutions in each of three groups."""
    total, before = conv(3, 3, 16, False), 16
    for filters in (16 * width, 32 * width, 64 * width):
        for _ in range((depth - 4) // 6):
            total += 2 * before + conv(3, before, filters, False) + 2 * filters + conv(3, filters, filters, False)
            total += conv(1, before, filters, False) if before != filters else 0
            before = filters
    return total + 2 * before + before * 10 + 10


def mixer(patches: int, channels: int, tokens_hidden: int, hidden: int, depth: int) -> int:
    """Tolstikhin 2021, table 1."""

    def mlp(size: int, inner: int) -> int:
        return (size + 1) * inner + (inner + 1) * size

    unit = mlp(patches, tokens_hidden) + mlp(channels, hidden) + 4 * channels
    return conv(16, 3, channels) + depth * unit + 2 * channels + channels * 1000 + 1000


def mobilenetv2_cifar(width: float, depth: float) -> int:
    """Sandler 2018, table 2, with ten classes; the inner widths are six times what comes in."""
    before, after = int(32 * width), int(16 * width)
    total = conv(3, 3, before, False) + 2 * before + 9 * before + 2 * before + before * after + 2 * after
    for filters, times in ((24, 2), (32, 3), (64, 4), (96, 3), (160, 3), (320, 1)):
        for _ in range(max(int(times * depth), 1)):
            before, after = after, int(filters * width)
            inner = 6 * before
            total += before * inner + 2 * inner + 9 * inner + 2 * inner + inner * after + 2 * after
    last = int(1280 * width)
    return total + after * last + 2 * last + last * 10 + 10


@pytest.mark.parametrize(
    ("name", "overrides", "derived", "published"),
    [
        ("lenet5_mnist", [], lenet5(), 61_706),
        ("imagenet_googlenet", [], googlenet(), 6_998_552),
        ("cifar10_allconv", [], allconv(), 1_369_738),
        ("cifar10_resnet20", [], resnet20(False), 269_722),
        ("cifar10_resnet20", ["model.blocks.basic.parameters.shortcut=auto"], resnet20(True), 272_474),
        ("cifar10_densenet", [], densenet_bc(12, 100), 769_162),
        # timm's seresnet50 and mixer_s16_224, pytorchcv's shufflenet_g3_w1; the paper says 36.5 million.
        ("imagenet_seresnet50", [], seresnet50(16), 28_088_024),
        ("imagenet_mixer", [], mixer(196, 512, 256, 2048, 8), 18_528_264),
        ("imagenet_shufflenet", [], shufflenet(3), 1_865_728),
        ("cifar10_wideresnet", [], wideresnet(28, 10), 36_479_194),
        # No paper has these.
        ("cifar10_mobilenetv2", [], mobilenetv2_cifar(1, 1), 2_236_682),
        ("cifar10_mobilenetv2_small", [], mobilenetv2_cifar(0.5, 0.5), 316_714),
    ],
)
def test_trained_parameters_are_those_of_the_paper(
    name: str, overrides: list[str], derived: int, published: int
) -> None:
    assert summary(name, *overrides).trainable_parameters == derived == published


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("imagenet_mobilenetv2", 3_538_984),
        ("imagenet_mobilenetv3small", 2_554_968),
        # Without the seven of its normalization of images.
        ("imagenet_efficientnetb0", 5_330_571 - 7),
        ("imagenet_convnexttiny", 28_589_128),
        ("imagenet_xception", 22_910_480),
    ],
)
def test_parameters_are_those_of_keras_applications(name: str, published: int) -> None:
    assert summary(name).parameters == published


def test_deeper_blocks_drop_out_more_often() -> None:
    """EfficientNet: 0.2 * b / 16 for block b of 0..15 (keras.applications); ConvNeXt: up to 0.1 (Liu 2022, table 5)."""

    def rates(name: str) -> list[float]:
        loaded = load(name)
        layers = leaves(loaded.config.model.resolved(loaded.info.shape, loaded.info.target.values))
        return [layer.rate for layer in layers if layer.kind == "Dropout" and layer.noise_shape is not None]

    assert rates("imagenet_efficientnetb0") == [
        *(0.025, 0.05, 0.075, 0.0875, 0.1125, 0.125, 0.15, 0.1625, 0.175),
    ]
    np.testing.assert_allclose(rates("imagenet_convnexttiny"), np.linspace(0, 0.1, 18), atol=1e-12)


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
    shapes = [row.output_shape for _, row in found.lines(3) if row.type in ("Conv2D", "Maxout", "MaxPooling2D")]
    assert shapes == [
        (33, 33, 192), (33, 33, 96), (15, 15, 96),
        (14, 14, 384), (14, 14, 192), (6, 6, 192),
        (8, 8, 384), (8, 8, 192), (4, 4, 192), (500,),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        *("cifar10_resnet20", "cifar10_densenet", "imagenet_densenet121", "imagenet_googlenet", "imagenet_mobilenetv2"),
        *("imagenet_mobilenetv3small", "imagenet_efficientnetb0", "imagenet_convnexttiny", "imagenet_xception"),
        *("imagenet_seresnet50", "imagenet_shufflenet", "imagenet_mixer", "cifar10_wideresnet", "cifar10_mobilenetv2"),
    ],
)
def test_deep_networks_fit_on_one_screen(name: str) -> None:
    assert len(shipped.find(name).read_text().splitlines()) < 70


#: Small variants that do not learn well without batch normalization, which their papers have not.
NORMALIZED = ("cifar10_allconv_small", "cifar10_maxout_small")


#: What a batch normalization after a layer takes over from it.
TAKEN_OVER = ("activation", "use_bias", "kernel_regularizer", "kernel_constraint")


def without_normalization(layers: list[Any]) -> list[Any]:
    """A block's layers, but for a batch normalization, the activation after it, and what it takes over."""
    left = []
    for layer in layers:
        [(kind, arguments)] = layer.items() if isinstance(layer, dict) else [(layer, {})]
        if kind not in ("BatchNormalization", "ReLU"):
            own = {name: value for name, value in arguments.items() if name not in TAKEN_OVER}
            left.append({kind: own})
    return left


@pytest.mark.parametrize("name", [name for name in shipped.names() if name.endswith("_small")])
def test_small_variants_change_no_layer(name: str) -> None:
    """The full networks with other widths and depths: nothing is copied. A few have normalizations besides."""
    small, full = load(name).config.model, load(name.removesuffix("_small")).config.model
    assert to_plain(small.layers) == to_plain(full.layers)
    for key, block in full.blocks.items():
        ours, theirs = to_plain(small.blocks[key].layers), to_plain(block.layers)
        if name in NORMALIZED:
            ours, theirs = without_normalization(ours), without_normalization(theirs)
        assert ours == theirs
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


def in_order(model: Any) -> list[Any]:
    """Keras' layers with weights from input to output, those inside of others too."""
    layers: list[Any] = []
    for layer in model.layers:
        layers += in_order(layer) if isinstance(layer, keras.Model) else [layer]
    return [layer for layer in layers if layer.weights and not isinstance(layer, keras.layers.Normalization)]


def resnet50_layers(model: Any) -> list[Any]:
    return [model.get_layer(name) for name in resnet50_names()]


def xception_layers(model: Any) -> list[Any]:
    """The shortcuts' convolutions, whose names do not say where they are, after the main paths of their blocks."""
    layers = in_order(model)
    beside = [layer for layer in layers if not layer.name.startswith(("block", "predictions"))]
    kinds = (keras.layers.Conv2D, keras.layers.BatchNormalization)
    shortcuts = list(zip(*([layer for layer in beside if isinstance(layer, kind)] for kind in kinds), strict=True))
    ordered = []
    for layer in (layer for layer in layers if layer not in beside):
        ordered.append(layer)
        if layer.name in ("block2_sepconv2_bn", "block3_sepconv2_bn", "block4_sepconv2_bn", "block13_sepconv2_bn"):
            ordered += shortcuts.pop(0)
    return ordered


#: Keras' network, what it is made with, and its layers in the order in which ours are read.
NETWORKS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "imagenet_vgg16": ("VGG16", {}, in_order),
    "imagenet_resnet50": ("ResNet50", {}, resnet50_layers),
    "imagenet_densenet121": ("DenseNet121", {}, in_order),
    "imagenet_mobilenetv2": ("MobileNetV2", {}, in_order),
    "imagenet_mobilenetv3small": ("MobileNetV3Small", {"include_preprocessing": False}, in_order),
    "imagenet_efficientnetb0": ("EfficientNetB0", {}, in_order),
    "imagenet_convnexttiny": ("ConvNeXtTiny", {"include_preprocessing": False}, in_order),
    "imagenet_xception": ("Xception", {}, xception_layers),
}


def draw(layers: Sequence[Any]) -> None:
    """Random weights; all of them, since fresh ones make all images alike."""
    random = np.random.default_rng(0)
    for layer in layers:
        values = []
        for weight in layer.weights:
            shape = tuple(weight.shape)
            if weight.name == "kernel":
                # A depthwise kernel adds up one channel.
                inputs = shape[:2] if isinstance(layer, keras.layers.DepthwiseConv2D) else shape[:-1]
                values.append(random.normal(0, math.sqrt(2 / math.prod(inputs)), shape))
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
    keras_name, arguments, order = NETWORKS[name]
    theirs = getattr(keras.applications, keras_name)(weights=None, classifier_activation=None, **arguments)
    # Both before the softmax.
    logits = ours
    if isinstance(ours.layers[-1], keras.layers.Softmax):
        logits = keras.Model(ours.inputs[0], ours.layers[-2].output)
    else:
        ours.layers[-1].activation = keras.activations.linear
    # EfficientNet divides by 255, and counts the weights of a normalization that does nothing until it is given some.
    scale, further = (255, 7) if keras_name == "EfficientNetB0" else (1, 0)
    assert ours.count_params() == theirs.count_params() - further

    steps = loaded.config.model.trace(loaded.info.shape, loaded.info.target.values)
    mine = list(built_leaves(steps, [f"{index}.{step.layer.kind}" for index, step in enumerate(steps)], ours))
    their_layers = order(theirs)
    draw(their_layers)
    assert len(mine) == len(their_layers)
    for layer, original in zip(mine, their_layers, strict=True):
        values = original.get_weights()
        # A LayerScale has a vector, and the 1x1 convolution in its place a kernel.
        layer.set_weights([value.reshape(own.shape) for own, value in zip(layer.weights, values, strict=True)])

    images = np.random.default_rng(1).normal(size=(2, *loaded.info.shape)).astype("float32")
    found, expected = np.asarray(logits(images)), np.asarray(theirs(images * scale))
    assert difference(found, expected) < 1e-4
    # The comparison sees another image, and one wrong epsilon.
    assert difference(found[:1], expected[1:]) > 1e-3
    normalizations = [layer for layer in mine if hasattr(layer, "epsilon")]
    if normalizations:
        epsilons = [layer.epsilon for layer in their_layers if hasattr(layer, "epsilon")]
        assert [layer.epsilon for layer in normalizations] == pytest.approx(epsilons, rel=1e-6)
        if isinstance(normalizations[0], keras.layers.BatchNormalization):
            normalizations[len(normalizations) // 2].epsilon *= 10
            assert difference(np.asarray(logits(images)), expected) > 1e-4
