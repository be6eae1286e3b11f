"""Writes what cnnkit knows of the networks of keras.applications: their graphs, smallest images and weight files.

    python scripts/make_backbones.py          # writes cnnkit/layers/backbones/*.json.gz
    python scripts/make_backbones.py --check  # fails where they are not those of the installed Keras

Each file holds one network without its classifier, as `cnnkit.layers.backbone_graph` reads it.
"""

from __future__ import annotations

import argparse
import gc
import gzip
import importlib
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

import keras
from keras.src.applications import imagenet_utils

from cnnkit.layers.backbone_graph import FOLDER, NETWORKS, SUFFIX

#: What tells a network's preprocessing, by what its own function makes of a pixel.
_PIXEL = (10.0, 20.0, 200.0)
#: Sides of square images for which some networks have weights of their own.
_SIDES = (96, 128, 160, 192, 224)
#: NASNet without a size would be another network: it compares the sizes of what it adds up.
_SHAPE = (224, 224, 3)

#: For each type of layer, the arguments that its shapes, weights or operations depend on.
_ARGUMENTS: dict[str, tuple[str, ...]] = {
    "Conv2D": ("filters", "kernel_size", "strides", "padding", "groups", "use_bias"),
    "SeparableConv2D": ("filters", "kernel_size", "strides", "padding", "use_bias"),
    "DepthwiseConv2D": ("kernel_size", "strides", "padding", "use_bias"),
    "MaxPooling2D": ("pool_size", "strides", "padding"),
    "AveragePooling2D": ("pool_size", "strides", "padding"),
    "GlobalAveragePooling2D": ("keepdims",),
    "BatchNormalization": ("scale",),
    "LayerNormalization": (),
    "Normalization": ("mean",),
    "Dense": ("units",),
    "Reshape": ("target_shape",),
    "ZeroPadding2D": ("padding",),
    "Cropping2D": ("cropping",),
    "LayerScale": ("projection_dim",),
}
#: What keeps the shape, or merges what has one shape, without weights.
_PLAIN = ("Activation", "ReLU", "Dropout", "Rescaling", "Add", "Multiply", "Concatenate", "CustomScaleLayer")


class _Sized(tuple[tuple[int, int], ...]):
    """Amounts of padding that depend on the size that arrives, and the window that they are for."""

    window: tuple[int, int]


@contextmanager
def _told_paddings() -> Iterator[None]:
    """Inside the block, layers that pad by what Keras' `correct_pad` says remember the window."""
    correct_pad, initialize = imagenet_utils.correct_pad, keras.layers.ZeroPadding2D.__init__

    def told(inputs: Any, kernel_size: int | tuple[int, int]) -> _Sized:
        sized = _Sized(correct_pad(inputs, kernel_size))
        sized.window = (kernel_size, kernel_size) if isinstance(kernel_size, int) else kernel_size
        return sized

    def initialize_told(self: Any, padding: Any = (1, 1), **options: Any) -> None:
        initialize(self, padding, **options)
        self.window = getattr(padding, "window", None)

    with mock.patch.object(imagenet_utils, "correct_pad", told):
        with mock.patch.object(keras.layers.ZeroPadding2D, "__init__", initialize_told):
            yield


def _arguments(operation: Any) -> dict[str, Any]:
    kind = type(operation).__name__
    config = operation.get_config()
    names = _ARGUMENTS.get(kind, ())
    if kind not in _ARGUMENTS and kind not in _PLAIN:
        raise SystemExit(f"{operation.name}: no rule for the type {kind}")
    arguments = {name: config[name] for name in names}
    if kind == "ZeroPadding2D" and operation.window is not None:
        return {"window": list(operation.window)}
    if kind == "Normalization":
        return {"learned": config["mean"] is None}
    return arguments


def _nodes(model: Any) -> list[list[Any]]:
    """The network's operations in Keras' order: name, type, arguments, and the places of what they take."""
    places: dict[str, int] = {}
    nodes: list[list[Any]] = []
    for operation in model.operations:
        places[operation.name] = len(nodes) - 1 if isinstance(operation, keras.layers.InputLayer) else len(nodes)
        if isinstance(operation, keras.layers.InputLayer):
            continue
        tensors = operation._inbound_nodes[-1].input_tensors
        if isinstance(operation, keras.Sequential):
            inner = [[layer.name, type(layer).__name__, _arguments(layer)] for layer in operation.layers]
            arguments: dict[str, Any] = {"layers": inner}
        else:
            arguments = _arguments(operation)
        inputs = [places[tensor._keras_history.operation.name] for tensor in tensors]
        nodes.append([operation.name, type(operation).__name__, arguments, inputs])
    return nodes


@contextmanager
def _recorded_downloads(files: list[dict[str, Any]]) -> Iterator[None]:
    """Inside the block, Keras downloads nothing: what it would download is noted."""

    def get_file(fname: str, origin: str, file_hash: str | None = None, **_: Any) -> str:
        files.append({"file": fname, "url": origin, "md5": file_hash})
        return fname

    with mock.patch("keras.src.utils.file_utils.get_file", get_file):
        with mock.patch("keras.Model.load_weights", return_value=None):
            yield


def _weight_files(make: Any) -> list[dict[str, Any]]:
    """The files of the weights that learned ImageNet; those for some sides before that for all others."""
    files: list[dict[str, Any]] = []
    with _recorded_downloads(files), warnings.catch_warnings():
        # That the weights are those of another side is what is asked here.
        warnings.simplefilter("ignore")
        make(include_top=False, weights="imagenet", input_shape=(233, 233, 3))
        usual = files[-1]
        special = []
        for side in _SIDES:
            # Only the networks that have several take notice of the side.
            if make.__name__ in ("MobileNet", "MobileNetV2"):
                make(include_top=False, weights="imagenet", input_shape=(side, side, 3))
                if files[-1] != usual:
                    special.append({"side": side, **files[-1]})
    return [*special, usual]


def _smallest(make: Any) -> int:
    """The side of the smallest images that Keras lets through."""
    try:
        make(include_top=False, weights=None, input_shape=(1, 1, 3))
    except ValueError as error:
        # Not all ask `imagenet_utils.obtain_input_shape`.
        match = re.search(r"at least (\d+)x\1\b", str(error))
        if match:
            return int(match[1])
        raise
    raise SystemExit(f"{make.__name__} takes images of one pixel")


def _preprocessing(module: Any) -> str | None:
    """The mode of `imagenet_utils.preprocess_input` that a module's own function has; None where it has none."""
    import numpy as np

    pixel = np.array(_PIXEL, "float32").reshape(1, 1, 1, 3)
    ours = module.preprocess_input(pixel.copy())
    if np.array_equal(ours, pixel):
        return None
    modes = ("caffe", "tf", "torch")
    return next(m for m in modes if np.array_equal(ours, imagenet_utils.preprocess_input(pixel.copy(), mode=m)))


def describe(name: str) -> dict[str, Any]:
    """What the file of a network holds."""
    make = getattr(keras.applications, name)
    module = importlib.import_module(f"keras.applications.{NETWORKS[name]}")
    keras.backend.clear_session()
    with _told_paddings():
        model = make(include_top=False, weights=None, input_shape=_SHAPE)
        nodes = _nodes(model)
    del model
    described = {
        "preprocessing": _preprocessing(module),
        "smallest": _smallest(make),
        "weights": _weight_files(make),
        "layers": nodes,
    }
    gc.collect()
    return described


def _as_bytes(described: dict[str, Any]) -> bytes:
    text = json.dumps(described, separators=(",", ":")) + "\n"
    return gzip.compress(text.encode(), mtime=0)


def main() -> None:
    """Writes or checks the files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail where a file differs")
    parser.add_argument("names", nargs="*", help="networks; by default all")
    arguments = parser.parse_args()
    networks = {name for name in dir(keras.applications) if name[0].isupper()}
    if networks != set(NETWORKS):
        sys.exit(f"NETWORKS of cnnkit/layers/backbone_graph.py differs in {sorted(networks ^ set(NETWORKS))}")
    differing = []
    for name in arguments.names or NETWORKS:
        file = Path(FOLDER) / f"{name}{SUFFIX}"
        described = describe(name)
        if arguments.check:
            known = json.loads(gzip.decompress(file.read_bytes())) if file.exists() else None
            differing += [name] if known != described else []
        else:
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(_as_bytes(described))
    if differing:
        sys.exit(f"not as Keras {keras.__version__} has them: {', '.join(differing)}; run {sys.argv[0]}")


if __name__ == "__main__":
    main()
