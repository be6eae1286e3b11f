"""Shapes of tensors without the batch axis, and what is raised where one does not fit."""

#: A tensor's shape without the batch axis, such as (32, 32, 3).
Shape = tuple[int, ...]


#: Keys and places in lists, as far as they lead to a value of the config.
Path = tuple[str | int, ...]


class ShapeError(ValueError):
    """A layer cannot take the shape that arrives at it.

    Args:
        message: Both sizes, and what to do.
        argument: The argument to blame, where there is one, or the path to it; the error then points at it.
        inside: For each block of the config that the error lies in, from the outermost: its name, and the path to
            blame in its definition.
        blamed: The parameters of the block that the layer is in which gave what is refused; None where nobody has
            looked yet.
        of_value: Whether the argument's value is none that it could have, whatever arrives; the error then points at
            the value.
    """

    def __init__(
        self,
        message: str,
        argument: str | Path | None = None,
        inside: tuple[tuple[str, Path], ...] = (),
        blamed: tuple[str, ...] | None = None,
        of_value: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.path: Path = () if argument is None else (argument,) if isinstance(argument, str) else argument
        self.inside = inside
        self.blamed = blamed
        self.of_value = of_value

    @property
    def argument(self) -> str | None:
        """The layer's own argument to blame."""
        return str(self.path[0]) if self.path else None


def format_shape(shape: Shape) -> str:
    """A shape as messages and tables write it: 32x32x3."""
    return "x".join(str(size) for size in shape)
