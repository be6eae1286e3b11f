"""What a plain Keras script makes, such as a layer: calls with their arguments, as values, without Keras."""

from dataclasses import dataclass
from typing import Any


class Raw(str):
    """A text that is Python already, such as the name of a variable."""


@dataclass(frozen=True)
class Argument:
    """One argument of a call.

    Attributes:
        value: A plain value, `Raw` Python, another `Call`, or a list or tuple of such.
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
        makes_layer: Whether a function of tensors makes a layer, whose name and the like it takes.
        module: The module of cnnkit that a function of tensors, which Keras does not have, is copied from.
    """

    function: str
    arguments: tuple[Argument, ...] = ()
    leading: str | None = None
    of_tensor: bool = False
    makes_layer: bool = False
    module: str = "cnnkit.layers.functions"
