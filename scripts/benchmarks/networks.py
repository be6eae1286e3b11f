"""The networks of `throughput`, as the configs that cnnkit trains; the other sides write them in their own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from cnnkit.config import shipped

BATCH_SIZE = 128

#: Floating-point operations of a training step per multiply-accumulate of the forward pass: two operations, in the
#: forward pass, in the gradient of the input and in that of the weights. (The first layer needs no gradient of its
#: input, and everything that is no convolution or Dense layer is left out.)
FLOP_PER_MAC = 6

AUGMENTATIONS: dict[str, list[Any]] = {
    "none": [],
    "flip-shift": [{"RandomFlip": "horizontal"}, {"RandomCrop": {"padding": 4}}],
}

TITLES = {"tutorial": "tutorial CNN", "vgg": "VGG", "alexnet": "AlexNet for 32x32", "resnet20": "ResNet-20"}

#: The augmentation of each network where none is asked for: TensorFlow's tutorial has none.
USUAL_AUGMENTATION = {"tutorial": "none", "vgg": "flip-shift", "alexnet": "flip-shift", "resnet20": "flip-shift"}


def _tutorial_layers() -> list[Any]:
    """TensorFlow's tutorial "Convolutional Neural Network (CNN)", https://www.tensorflow.org/tutorials/images/cnn."""

    def convolution(filters: int) -> dict[str, Any]:
        return {"Conv2D": {"filters": filters, "kernel_size": 3, "activation": "relu"}}

    return [
        convolution(32),
        {"MaxPooling2D": 2},
        convolution(64),
        {"MaxPooling2D": 2},
        convolution(64),
        "Flatten",
        {"Dense": {"units": 64, "activation": "relu"}},
        {"Dense": "classes"},
    ]


def _vgg_layers() -> list[Any]:
    """Six convolutions with batch norm.

    Multiply-accumulates of one 32x32 image: 1.77 M and 37.7 M at 32x32, 18.9 M and 37.7 M at 16x16, 18.9 M and
    37.7 M at 8x8, together 152.8 M; times 6 is 0.917 GFLOP per training step.
    """
    layers: list[Any] = []
    for filters in (64, 128, 256):
        for _ in range(2):
            layers.append({"Conv2D": {"filters": filters, "kernel_size": 3, "padding": "same", "use_bias": False}})
            layers += ["BatchNormalization", "ReLU"]
        layers.append({"MaxPooling2D": 2})
    return [*layers, "GlobalAveragePooling2D", {"Dense": "classes"}]


def _resnet20_model() -> dict[str, Any]:
    """ResNet-20 with option A, as configs/cifar10_resnet20.yaml has it, without weight decay."""

    def convolution(filters: Any, strides: Any = 1) -> list[Any]:
        arguments = {"filters": filters, "kernel_size": 3, "strides": strides, "padding": "same", "use_bias": False}
        return [{"Conv2D": arguments}, "BatchNormalization"]

    main = [*convolution("$filters", "$strides"), "ReLU", *convolution("$filters")]
    residual = {"Residual": {"shortcut": "pad", "activation": "relu", "layers": main}}
    basic = {"parameters": {"filters": "required", "strides": 1}, "layers": [residual]}
    layers: list[Any] = [*convolution(16), "ReLU"]
    for filters in (16, 32, 64):
        layers += [{"basic": {"filters": filters, "strides": 1 if filters == 16 else 2}}]
        layers += [{"basic": filters}, {"basic": filters}]
    return {"blocks": {"basic": basic}, "layers": [*layers, "GlobalAveragePooling2D", {"Dense": "classes"}]}


def config(network: str, augmentation: str) -> dict[str, Any]:
    """The config of a network as plain YAML values: CIFAR-10, 0..1, no validation."""
    if network == "alexnet":
        plain = yaml.safe_load(shipped.find("cifar10_alexnet").read_text(encoding="utf-8"))
        model = plain["model"]
        optimizer = plain["training"]["optimizer"]
    elif network == "resnet20":
        model = _resnet20_model()
        optimizer = {"SGD": {"learning_rate": 0.1, "momentum": 0.9}}
    else:
        model = {"layers": _tutorial_layers() if network == "tutorial" else _vgg_layers()}
        optimizer = {"Adam": {"learning_rate": 0.001}}
    return {
        "data": {"name": "cifar10", "batch_size": BATCH_SIZE, "validation": 0, "normalization": "scale"},
        "augmentation": AUGMENTATIONS[augmentation],
        "model": model,
        "training": {"optimizer": optimizer},
    }


def write_config(network: str, augmentation: str, folder: Path) -> Path:
    """The config as a file, `<network>.yaml`."""
    path = folder / f"{network}.yaml"
    path.write_text(yaml.safe_dump(config(network, augmentation), sort_keys=False), encoding="utf-8")
    return path


def training_flop(file: Path) -> int:
    """Floating-point operations of a training step, for one image."""
    from cnnkit.config.load import load_config
    from cnnkit.network.summary import summarize

    summary = summarize(load_config(str(file)))
    rows = [row for _, row in summary.lines(summary.depth())]
    return FLOP_PER_MAC * sum(row.macs for row in rows if row.type in ("Conv2D", "Dense"))
