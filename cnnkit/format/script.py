"""A layer as a plain Keras script makes it: calls with their arguments, as values, without Keras."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Argument:
    """One argument of a call.

    Attributes:
        value: A plain value, a list of plain values, or another `Call`.
        default: What is meant where the argument is left out; `...` where it cannot be.
    """

    name: str
    value: Any
    default: Any = ...


@dataclass(frozen=True)
class Call:
    """A call such as `layers.Conv2D(64, kernel_size=3)`.

    Attributes:
        function: Its name in the script: of Keras, or of something that the script defines itself.
        arguments: In the order in which they are written.
        leading: The argument that is written without its name.
        of_tensor: Whether the function takes the tensor itself, in front of its arguments; else it makes a layer.
        module: The module of cnnkit that a function of tensors, which Keras does not have, is copied from.
    """

    function: str
    arguments: tuple[Argument, ...] = ()
    leading: str | None = None
    of_tensor: bool = False
    module: str = "cnnkit.layers.functions"
