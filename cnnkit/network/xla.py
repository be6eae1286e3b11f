"""Which networks a CPU can train only with XLA."""

from __future__ import annotations

from collections.abc import Sequence

from cnnkit.layers.resolved import leaf_steps
from cnnkit.layers.stack import Step


def needing_xla(stack: Sequence[Step], dtype_policy: str, onednn: bool) -> str | None:
    """Why the network cannot be trained on a CPU without XLA; None where it can.

    TensorFlow's own kernels lack some layouts, strides and dilations. oneDNN's have them, but only in float32; and for
    some convolutions they write where they should not.
    """
    for step in leaf_steps(stack):
        layer = step.layer
        if layer.needs_xla_on_cpu() and not (onednn and (layer.dtype or dtype_policy) == "float32"):
            return f"TensorFlow can train {layer.kind} as configured on a CPU only with XLA"
        if onednn and layer.breaks_onednn(step.input_shape):
            return f"oneDNN cannot be trusted with {layer.kind} as configured"
    return None
