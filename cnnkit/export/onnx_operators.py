"""TensorFlow's operators that tf2onnx does not know, in ONNX's own."""

from __future__ import annotations

from typing import Any

#: The version of ONNX's operators that Erf came with.
_SINCE = 9


def teach_operators() -> None:
    """Tells tf2onnx how to write them; as often as one likes."""
    from tf2onnx.constants import ONNX_DOMAIN
    from tf2onnx.handler import tf_op

    for name, write in (("Erfc", _erfc), ("Expm1", _expm1)):
        tf_op.register_handler(write, _SINCE, [name], ONNX_DOMAIN, {})


def _erfc(graph: Any, node: Any, **_: Any) -> None:
    """erfc(x) = 1 - erf(x), as it stands in a GELU that is not approximated."""
    _with_one(graph, node, "Erf", one_first=True)


def _expm1(graph: Any, node: Any, **_: Any) -> None:
    """expm1(x) = exp(x) - 1, as it stands in CELU."""
    _with_one(graph, node, "Exp", one_first=False)


def _with_one(graph: Any, node: Any, operator: str, *, one_first: bool) -> None:
    """Replaces a node by the difference of 1 and what another operator makes of its input."""
    import numpy as np
    from tf2onnx.utils import make_name

    inputs, outputs, facts = node.input, node.output, {"shapes": node.output_shapes, "dtypes": node.output_dtypes}
    graph.remove_node(node.name)
    one = graph.make_const(make_name("one"), np.array(1, np.float32))
    other = graph.make_node(operator, inputs, **facts)
    terms = [one.output[0], other.output[0]] if one_first else [other.output[0], one.output[0]]
    graph.make_node("Sub", terms, name=node.name, outputs=outputs, **facts)
