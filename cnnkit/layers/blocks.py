"""The section `model.blocks`: layers under a name of their own."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from cnnkit.format.base import StrictModel, invalid, nested, to_plain
from cnnkit.format.expressions import CHANNELS, SIZES
from cnnkit.format.fields import DATA_NAMES
from cnnkit.format.schema import class_schema
from cnnkit.layers import LAYERS
from cnnkit.layers.base import Layer
from cnnkit.layers.block_calls import BlockCall
from cnnkit.layers.substitution import COMMON, KNOWN, Known, as_listed, holds_layers, knowing, wrong_expressions
from cnnkit.layers.unresolved import LayerField, Unresolved


@contextmanager
def known_blocks(written: Any) -> Iterator[None]:
    """Inside the block, layers may call the blocks of `model.blocks`.

    Args:
        written: The section as plain values, whether valid or not.
    """
    blocks: dict[str, Mapping[str, Any] | None] = {}
    for name, block in (written if isinstance(written, Mapping) else {}).items():
        if LAYERS.get(name) is not None:
            # Reported where the whole config is looked at; until then the name means the layer.
            continue
        plain = to_plain(block)
        parameters = plain.get("parameters", {}) if isinstance(plain, Mapping) else None
        # None where the block is broken, which is reported there.
        blocks[name] = parameters if isinstance(parameters, Mapping) else None
    with knowing(Known(blocks)):
        yield


def without_required(schema: dict[str, Any]) -> None:
    """For the JSON Schema of a section: a file that `extends` another writes a part of it."""
    schema.pop("required", None)


class BlockConfig(StrictModel):
    """Layers under a name of their own, to be used wherever a layer may stand: `name: {parameter: value}`."""

    model_config = ConfigDict(json_schema_extra=without_required)

    parameters: dict[str, Any] = Field(
        default={},
        description="What a call may set, each with its default or `required`; `$name` in the layers stands for it, "
        "in the place of a layer for a layer or a list of layers. A default may use the parameters before it.",
    )
    layers: Annotated[list[LayerField], Field(min_length=1)] = Field(
        description="The layers. `$height`, `$width` (or `$length`) and `$channels` are the sizes of what arrives at "
        "the layer where they are written."
    )

    @model_validator(mode="wrap")
    @classmethod
    def _with_parameters(cls, data: Any, handler: Any) -> Any:
        written = data.get("parameters") if isinstance(data, Mapping) else None
        parameters = frozenset(written) if isinstance(written, Mapping) else frozenset()
        with knowing(replace(KNOWN.get(), parameters=parameters | SIZES)):
            return handler(data)

    @model_validator(mode="after")
    def _defaults(self) -> "BlockConfig":
        before: set[str] = {*SIZES}
        errors = []
        for name, default in self.parameters.items():
            problems = list(wrong_expressions(default, frozenset(before)))
            if name in (*COMMON, CHANNELS, *DATA_NAMES) or not name.isidentifier():
                hint = "letters, digits and `_`" if not name.isidentifier() else "another name; this one is taken"
                problems.append(invalid(f"expected {hint} for a parameter, got `{name}`"))
            errors += [as_listed(error, (name,), default) for error in problems]
            before.add(name)
        if errors:
            raise nested("parameters", BlockConfig, errors)
        return self


def calls_in(layers: Any) -> Iterator[str]:
    """The names of the blocks that layers call, at any depth."""
    for layer in layers:
        if isinstance(layer, BlockCall):
            yield layer.block
        if isinstance(layer, Unresolved):
            cls = LAYERS.get(layer.written)
            schema = class_schema(cls) if cls is not None else None
            for key, value in layer.values.items():
                inner = schema.field(key) if schema is not None else None
                if inner is not None and holds_layers(inner):
                    yield from (name for name in _written_names(value) if name in layer.known.blocks)
        else:
            for value in vars(layer).values():
                yield from calls_in(_layers_in(value))


def takes_raw_images(layers: Any) -> bool:
    """Whether some layer, at any depth, takes images as they come, see `Layer.takes_raw_images`."""
    for layer in layers:
        cls = LAYERS.get(layer.written) if isinstance(layer, Unresolved) else type(layer)
        if cls is not None and issubclass(cls, Layer) and cls.takes_raw_images:
            return True
        if not isinstance(layer, Unresolved) and any(takes_raw_images(_layers_in(v)) for v in vars(layer).values()):
            return True
    return False


def _layers_in(value: Any) -> Iterator[Layer]:
    if isinstance(value, Layer):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _layers_in(item)


def _written_names(value: Any) -> Iterator[str]:
    """The names of the layers in lists of plain values, and in the lists inside them."""
    for entry in value if isinstance(value, list | tuple) else ():
        if isinstance(entry, str):
            yield entry
        elif isinstance(entry, Mapping) and len(entry) == 1:
            ((name, arguments),) = entry.items()
            yield name
            for item in arguments.values() if isinstance(arguments, Mapping) else [arguments]:
                yield from _written_names(item)
        else:
            yield from _written_names(entry)
