"""Smaller numbers for weights: what LiteRT's converter is asked for, and whether the file has them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnkit.data.splits import Split
from cnnkit.errors import CnnkitError
from cnnkit.export.formats import KINDS
from cnnkit.machine.tensorflow import load_tensorflow


@dataclass(frozen=True)
class TensorTypes:
    """The types of the tensors in a LiteRT file.

    Attributes:
        all: How many tensors have each type.
        weights: The same of constants with at least two axes: kernels and matrices.
    """

    all: dict[str, int]
    weights: dict[str, int]

    def __str__(self) -> str:
        tensors, weights = (
            ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items(), key=lambda item: -item[1]))
            for counts in (self.all, self.weights)
        )
        return f"tensors in the file: {tensors}; kernels: {weights}"

    def as_json(self) -> dict[str, Any]:
        return {"tensors": self.all, "kernels": self.weights}


def converter_settings(kind: str | None, images: Split | None) -> dict[str, Any]:
    """What Keras hands to LiteRT's converter.

    Args:
        kind: One of KINDS; None for float32.
        images: Training images, which int8 takes its ranges from.
    """
    tf = load_tensorflow()
    operators = tf.lite.OpsSet.TFLITE_BUILTINS_INT8 if kind == "int8" else tf.lite.OpsSet.TFLITE_BUILTINS
    # Without TensorFlow's own operators, which no small runtime has.
    target: dict[str, Any] = {"supported_ops": [operators]}
    settings: dict[str, Any] = {"target_spec": target}
    if kind is not None:
        settings["optimizations"] = [tf.lite.Optimize.DEFAULT]
    if kind == "float16":
        target["supported_types"] = [tf.float16]
    if images is not None:
        settings["representative_dataset"] = lambda: _one_by_one(images)
    return settings


def _one_by_one(images: Split) -> Iterator[list[Any]]:
    for place in range(images.size):
        yield [images.read([place]).astype(images.source.sample.input_dtype)]


def read_types(path: Path) -> TensorTypes:
    """What types the tensors of a LiteRT file have, read from the file itself."""
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    names = {number: name.lower() for name, number in vars(schema.TensorType).items() if isinstance(number, int)}
    model = flatbuffer_utils.read_model(str(path))
    tensors = [tensor for graph in model.subgraphs for tensor in graph.tensors]

    def is_kernel(tensor: Any) -> bool:
        data = model.buffers[tensor.buffer].data
        return data is not None and len(data) > 0 and tensor.shape is not None and len(tensor.shape) > 1

    return TensorTypes(
        dict(Counter(names[tensor.type] for tensor in tensors)),
        dict(Counter(names[tensor.type] for tensor in tensors if is_kernel(tensor))),
    )


def check_types(kind: str, types: TensorTypes) -> None:
    """Whether a file has what was asked for.

    Raises:
        CnnkitError: if kernels have stayed float32, or for `dynamic` all of them.
    """
    wanted, left = types.weights.get(KINDS[kind], 0), types.weights.get("float32", 0)
    if wanted and (kind == "dynamic" or not left):
        return
    total = sum(types.weights.values())
    hint = "LiteRT quantizes so only kernels of at least 1,024 values; try" if kind == "dynamic" else "Try"
    others = " or ".join(other for other in KINDS if other != kind)
    raise CnnkitError(
        f"--quantize {kind}: {left} of {total} kernels have stayed float32", f"{hint} --quantize {others}."
    )
