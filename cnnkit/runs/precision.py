"""The numbers that a trained network multiplies when it is evaluated and used."""

from __future__ import annotations

from typing import Any, Literal

from cnnkit.layers.submodel import leaves_of

#: What `--precision` may say.
Precision = Literal["float32", "bfloat16"]


def compute_in(model: Any, precision: Precision) -> None:
    """Lets the layers of a model multiply numbers of a precision, whatever it was trained in; weights stay float32.

    In bfloat16, the first layer with a kernel and the last one, with all that comes before and after them, stay in
    float32: in the one, rounding hurts most (filters that whiten their input enlarge what is lost), and there is little
    to multiply; the other's sums are the answers. In between it is Keras' policy `mixed_bfloat16`, by which a batch
    normalization computes in float32.

    Args:
        model: An uncompiled Keras model that nothing has traced yet.
    """
    leaves = list(leaves_of(model))
    kernels = [place for place, layer in enumerate(leaves) if any(len(weight.shape) > 1 for weight in layer.weights)]
    inner = range(kernels[0] + 1, kernels[-1]) if precision == "bfloat16" and kernels else range(0)
    for place, layer in enumerate(leaves):
        # A layer may be made of others, such as the projections of attention.
        for part in layer._flatten_layers():
            part.dtype_policy = "mixed_bfloat16" if place in inner else "float32"
