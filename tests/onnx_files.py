"""Networks as .onnx files that are written in milliseconds, with what cnnkit's exports say of themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

#: What `write_network` makes by default: the share of each channel in the sum of all, for images of 6x5 pixels.
SHAPE = (6, 5, 3)
NAMES = ("red", "green", "blue")
CONFIG = "data: {name: mnist}\nmodel: {layers: [Flatten, {Dense: classes}]}\n"


def description(**changes: Any) -> dict[str, Any]:
    """What an export says of itself; `data` and `model` change what it says of the environment."""
    data = {"image_shape": list(SHAPE), "class_names": list(NAMES), "resize": "stretch", **changes.pop("data", {})}
    model = {"head": "softmax", **changes.pop("model", {})}
    environment = {"data": data, "model": model, "concluded": changes.pop("concluded", {})}
    base = {"format": "onnx", "cnnkit": "0.1.0", "task": "classification", "config": CONFIG, "batch": 4}
    return {**base, "environment": environment, **changes}


def write_network(
    path: Path,
    metadata: Any = None,
    *,
    shape: Sequence[int] = SHAPE,
    weights: np.ndarray | None = None,
    bias: np.ndarray | None = None,
    per_pixel: bool = False,
    batch: int | str = "batch",
    opset: int = 17,
    ir_version: int = 8,
    last: tuple[str, list[int]] | None = None,
) -> Path:
    """A network that multiplies an image's mean colour, or each pixel's colour, with a matrix, and takes the softmax.

    Args:
        metadata: The JSON of its metadata, or its text; that of `description` by default; False for none.
        weights: [channels, classes]; a hundredth of the identity by default.
        bias: [classes].
        last: An operation on the outputs and what it takes besides, such as `("Reshape", [7, 3])`.
    """
    from onnx import TensorProto, helper, numpy_helper, save

    channels = shape[2]
    weights = np.eye(channels) / 100 if weights is None else weights
    classes = weights.shape[1]
    constants = {"weights": weights, "bias": np.zeros(classes) if bias is None else bias}
    arrays = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in constants.items()]
    nodes = [] if per_pixel else [helper.make_node("ReduceMean", ["image"], ["colour"], axes=[1, 2], keepdims=0)]
    nodes += [
        helper.make_node("MatMul", ["image" if per_pixel else "colour", "weights"], ["products"]),
        helper.make_node("Add", ["products", "bias"], ["scores"]),
        helper.make_node("Softmax", ["scores"], ["output_0" if last is None else "shares"], axis=-1),
    ]
    if last is not None:
        arrays.append(numpy_helper.from_array(np.asarray(last[1], np.int64), "last"))
        nodes.append(helper.make_node(last[0], ["shares", "last"], ["output_0"]))
    outer = (*shape[:2], classes) if per_pixel else (classes,)
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, *shape])],
        [helper.make_tensor_value_info("output_0", TensorProto.FLOAT, [batch, *outer])],
        arrays,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    if metadata is not False:
        text = metadata if isinstance(metadata, str) else json.dumps(description() if metadata is None else metadata)
        helper.set_model_props(model, {"cnnkit": text})
    save(model, path)
    return path


def outputs_of(images: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """What the network says of images [n, height, width, channels], computed by NumPy in float64."""
    weights = np.eye(images.shape[-1]) / 100 if weights is None else weights
    scores = images.astype(np.float64).mean(axis=(1, 2)) @ weights
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)
