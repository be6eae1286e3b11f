"""Names in a config's plain values, such as `$filters * 2`: found, checked, and replaced by what they stand for."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import PydanticCustomError

from cnnkit.format.base import invalid
from cnnkit.format.expressions import (
    CHANNELS,
    HEIGHT,
    LENGTH,
    NAME,
    SIZES,
    WIDTH,
    check_expression,
    evaluate,
    is_expression,
    is_whole_name,
)
from cnnkit.format.schema import Schema
from cnnkit.format.shapes import Path, Shape
from cnnkit.layers import LAYERS
from cnnkit.layers.base import Layer, Names
from cnnkit.layers.geometry import channels_last

#: What every layer takes, blocks included.
COMMON = tuple(Layer.model_fields)


@dataclass(frozen=True)
class Known:
    """What the part of a config that is being validated may name.

    Attributes:
        blocks: The parameters of each block, as written; None for a block that is broken.
        parameters: The names that a `$` may stand before.
    """

    blocks: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    parameters: frozenset[str] = SIZES


_NOTHING_KNOWN = Known()
KNOWN: ContextVar[Known] = ContextVar("known", default=_NOTHING_KNOWN)


@contextmanager
def knowing(known: Known) -> Iterator[None]:
    """Inside the block, what is validated may name these."""
    token = KNOWN.set(known)
    try:
        yield
    finally:
        KNOWN.reset(token)


def holds_layers(schema: Schema) -> bool:
    """Whether a field holds layers, which see to their own names."""
    while schema.kind == "list" and schema.item is not None:
        schema = schema.item
    return schema.kind == "choice" and schema.table is LAYERS


def texts(value: Any) -> Iterator[str]:
    """The strings in a plain value that may be expressions."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not _is_plain_name(key, item):
                yield from texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts(item)


def wrong_expressions(value: Any, names: frozenset[str], *, in_text: bool = False) -> Iterator[PydanticCustomError]:
    """What is wrong with the expressions in a plain value.

    Args:
        names: What they may name.
        in_text: Whether any text is valid where they stand.
    """
    for text in texts(value):
        if not is_expression(text, in_text=in_text):
            continue
        try:
            if in_text and not is_whole_name(text):
                raise invalid(f"expected text, or one `$name` and nothing else, got `{text}`")
            check_expression(text, names)
        except PydanticCustomError as error:
            yield error


def _is_plain_name(key: str, value: Any) -> bool:
    """Whether an argument is a layer's name, in which `-` is no arithmetic."""
    return key == "name" and isinstance(value, str) and "$" not in value


def as_listed(error: PydanticCustomError, loc: Path, value: Any) -> dict[str, Any]:
    return {"type": error.type, "loc": loc, "msg": error.message(), "input": value, "ctx": error.context or {}}


def substitute(value: Any, values: Mapping[str, Any], schema: Schema | None = None) -> Any:
    """A plain value with its expressions evaluated.

    Args:
        values: What the names stand for.
        schema: What the value is; None where anything may stand.
    """
    if schema is not None and holds_layers(schema) and not isinstance(value, str):
        return value
    if isinstance(value, str):
        in_text = schema is not None and schema.kind in ("string", "choice")
        return evaluate(value, values) if is_expression(value, in_text=in_text) else value
    if isinstance(value, Mapping):
        inner = schema if schema is not None and schema.kind in ("string", "choice") else None
        return {
            key: item if _is_plain_name(key, item) else substitute(item, values, inner) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [substitute(item, values, None) for item in value]
    return value


def values_for(names: Names, input_shape: Shape, order: tuple[int, ...] | None = None) -> dict[str, Any]:
    """What expressions at a layer may name.

    Args:
        order: Where height (0), width (1) and channels (2) lie for the layer, instead of where the layers before leave
            them.
    """
    rank = len(input_shape)
    order = order or (names.order if len(names.order) == rank else channels_last(rank))
    sizes = {CHANNELS: input_shape[order.index(rank - 1)]}
    if rank == 3:
        sizes = {name: input_shape[order.index(axis)] for axis, name in enumerate((HEIGHT, WIDTH, CHANNELS))}
    elif rank == 2:
        sizes[LENGTH] = input_shape[order.index(0)]
    elif rank > 3:
        # Channels in groups, say; rows and columns come first.
        sizes |= {HEIGHT: input_shape[0], WIDTH: input_shape[1]}
    # A block may have parameters called height, width, length, index and times.
    return {**sizes, **names.repetition, **names.parameters, CHANNELS: sizes[CHANNELS], **names.values}


def parameters_in(value: Any) -> tuple[str, ...]:
    """The names that stand with a `$` in a plain value."""
    return tuple(name for text in texts(value) for name in NAME.findall(text))
