"""Layers that the config writes with names to be replaced: `$parameter`, `$channels`, and calls of its own blocks.

They are held as they were written, and become layers where the shape that arrives is known.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

from pydantic import ConfigDict, Field, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic_core import PydanticCustomError, core_schema

from cnnkit.config.base import (
    Choice,
    StrictModel,
    describe,
    invalid,
    keyword_arguments,
    nearest,
    split_named,
    suggestion,
    to_plain,
)
from cnnkit.config.explain import message_of, mistakes
from cnnkit.config.expressions import CHANNELS, CLASSES, NAME, check_expression, evaluate, is_expression, is_whole_name
from cnnkit.config.schema import Schema, class_schema
from cnnkit.layers import LAYERS
from cnnkit.layers.base import DEEPEST_CALLS, Layer, Names, Path, Shape, ShapeError, channels, format_shape
from cnnkit.layers.compound import Compound, Part, leaves
from cnnkit.layers.geometry import CHANNELS_LAST, arriving_order
from cnnkit.layers.stack import StackError, Step, trace

#: The default of a parameter that every call has to give.
REQUIRED = "required"

#: What every layer takes, blocks included.
COMMON = tuple(Layer.model_fields)


@dataclass(frozen=True)
class _Known:
    """What the part of a config that is being validated may name.

    Attributes:
        blocks: The parameters of each block, as written; None for a block that is broken.
        parameters: The names that a `$` may stand before.
    """

    blocks: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    parameters: frozenset[str] = frozenset({CHANNELS})


_NOTHING_KNOWN = _Known()
_KNOWN: ContextVar[_Known] = ContextVar("known", default=_NOTHING_KNOWN)


@contextmanager
def _knowing(known: _Known) -> Iterator[None]:
    token = _KNOWN.set(known)
    try:
        yield
    finally:
        _KNOWN.reset(token)


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
    with _knowing(_Known(blocks)):
        yield


class LayerChoice(Choice):
    """Marks a field as holding a layer, which may be a call of a block or have arguments with names."""

    def validate(self, value: Any) -> Layer:
        if isinstance(value, Layer):
            return value
        known = _KNOWN.get()
        if isinstance(value, str) and is_whole_name(value):
            check_expression(value, known.parameters)
            return Deferred.model_construct(written=value, values={}, known=known)
        name, raw = split_named(value, self.table, known.blocks)
        if name in known.blocks:
            return _read_call(name, raw, known)
        cls = self.table.get(name)
        assert cls is not None
        try:
            arguments = keyword_arguments(cls, name, raw)
        except PydanticCustomError:
            arguments = {}
        schema = class_schema(cls)
        named = {key for key, item in arguments.items() if _has_names(cls, schema, key, item)}
        if not named:
            found = super().validate(value)
            assert isinstance(found, Layer)
            return found
        errors = _mistakes_in_part(cls, schema, arguments, named, known)
        if errors:
            raise PydanticCustomError(
                "nested", "a mistake in {name}", {"name": name, "class": cls, "errors": errors}
            ) from None
        return Deferred.model_construct(written=name, values=arguments, known=known, **_common(arguments, named))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Besides the layers, names in lower case and `$name`: which blocks there are, the config itself says."""
        found = super().__get_pydantic_json_schema__(schema, handler)
        other = {"pattern": "^[a-z_][A-Za-z0-9_]*$"}
        call = {"type": "object", "propertyNames": other, "minProperties": 1, "maxProperties": 1}
        named = {"type": "string", "pattern": f"^{NAME.pattern}$"}
        found["anyOf"] += [{"type": "string", **other}, named, call]
        return found


LAYER_CHOICE = LayerChoice(LAYERS)

#: A layer of a list of layers.
LayerField = Annotated[Layer, LAYER_CHOICE]


def _common(arguments: Mapping[str, Any], named: set[str]) -> dict[str, Any]:
    return {key: arguments[key] for key in COMMON if key in arguments and key not in named}


def _holds_layers(schema: Schema) -> bool:
    """Whether a field holds layers, which see to their own names."""
    while schema.kind == "list" and schema.item is not None:
        schema = schema.item
    return schema.kind == "choice" and schema.table is LAYERS


def _has_names(cls: type[StrictModel], schema: Schema, key: str, value: Any) -> bool:
    inner = schema.field(key)
    if inner is None:
        return False
    if _holds_layers(inner) and not isinstance(value, str):
        return False
    if value == CLASSES and CLASSES in _literals(cls.model_fields[key].annotation):
        # The field takes the word itself.
        return False
    return any(is_expression(text, in_text=inner.kind in ("string", "choice")) for text in _texts(value))


def _literals(annotation: Any) -> tuple[Any, ...]:
    parts = getattr(annotation, "__args__", ())
    return tuple(value for part in (annotation, *parts) for value in getattr(part, "__args__", ()))


def _texts(value: Any) -> Iterator[str]:
    """The strings in a plain value that may be expressions."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if not _is_plain_name(key, item):
                yield from _texts(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts(item)


def _wrong_expressions(value: Any, names: frozenset[str], *, in_text: bool = False) -> Iterator[PydanticCustomError]:
    """What is wrong with the expressions in a plain value.

    Args:
        names: What they may name.
        in_text: Whether any text is valid where they stand.
    """
    for text in _texts(value):
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


def _mistakes_in_part(
    cls: type[StrictModel], schema: Schema, arguments: Mapping[str, Any], named: set[str], known: _Known
) -> list[Any]:
    """What is wrong with a layer's arguments whatever the names stand for, as pydantic lists errors."""
    errors: list[Any] = []
    for key in sorted(named):
        inner = schema.field(key)
        in_text = inner is not None and inner.kind in ("string", "choice")
        for error in _wrong_expressions(arguments[key], known.parameters, in_text=in_text):
            errors.append(_as_listed(error, (key,), arguments[key]))
    rest = {key: value for key, value in arguments.items() if key not in named}
    try:
        cls.model_validate(rest)
    except ValidationError as invalid_rest:
        for found in invalid_rest.errors(include_url=False):
            # What the whole object misses may come with what the names stand for.
            if found["loc"] and found["loc"][0] not in named:
                errors.append(found)
    return errors


def _as_listed(error: PydanticCustomError, loc: Path, value: Any) -> dict[str, Any]:
    return {"type": error.type, "loc": loc, "msg": error.message(), "input": value, "ctx": error.context or {}}


def substitute(value: Any, values: Mapping[str, Any], schema: Schema | None = None) -> Any:
    """A plain value with its expressions evaluated.

    Args:
        values: What the names stand for.
        schema: What the value is; None where anything may stand.
    """
    if schema is not None and _holds_layers(schema) and not isinstance(value, str):
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


def _values(names: Names, input_shape: Shape) -> dict[str, Any]:
    """What expressions at a layer may name."""
    axis = names.order.index(2) if len(input_shape) == 3 else -1
    return {**names.parameters, CHANNELS: input_shape[axis], CLASSES: names.classes}


class Deferred(Layer):
    """A layer whose arguments hold names, not validated as a whole yet; or a name that stands for a layer or several.

    Attributes:
        written: The layer's name, or `$name`.
        values: The arguments as written.
        known: What they may name.
    """

    written: str
    values: Any
    known: Any

    @property
    def kind(self) -> str:
        return self.written.removeprefix("$")

    def to_plain(self) -> Any:
        return {self.written: to_plain(self.values)} if self.values else self.written

    def arguments(self) -> dict[str, Any]:
        return dict(to_plain(self.values))

    def resolve(self, names: Names, input_shape: Shape) -> Layer:
        if self.written.startswith("$"):
            return self._named(names, input_shape)
        cls = LAYERS.get(self.written)
        assert cls is not None
        schema = class_schema(cls)
        values = _values(names, input_shape)
        if "data_format" in cls.model_fields and len(input_shape) == 3:
            values[CHANNELS] = channels(input_shape, self._data_format(values))
        arguments = {}
        for key, value in self.values.items():
            try:
                arguments[key] = substitute(value, values, schema.field(key))
            except PydanticCustomError as error:
                raise ShapeError(error.message(), key) from None
        with _knowing(self.known):
            try:
                found = LAYER_CHOICE.validate({self.written: arguments})
            except PydanticCustomError as error:
                first = next(mistakes([_as_listed(error, (), arguments)], StrictModel))
                path = first.path[1:]
                raise ShapeError(message_of(first) + _of_names(self.values, arguments, path), path) from None
        # What a name stood for may hold names again, such as `classes`; nothing else is left.
        return found.resolve(names, input_shape)

    def _data_format(self, values: Mapping[str, Any]) -> Any:
        """The order of the axes that the layer itself asks for; None, as in Keras, for channels last."""
        try:
            return substitute(self.values.get("data_format"), values)
        except PydanticCustomError as error:
            raise ShapeError(error.message(), "data_format") from None

    def _named(self, names: Names, input_shape: Shape) -> Layer:
        """The layer, or the list of layers as one, that a parameter stands for."""
        value = _values(names, input_shape)[self.kind]
        several = isinstance(value, list | tuple)
        with _knowing(self.known):
            try:
                layers = [LAYER_CHOICE.validate(one) for one in (value if several else [value])]
            except PydanticCustomError as error:
                first = next(mistakes([_as_listed(error, (), value)], StrictModel))
                raise ShapeError(f"{message_of(first)} (from `{self.written}`)") from None
        if not several:
            return layers[0].resolve(names, input_shape)
        try:
            return Compound.of(self, [Part.of("layers", trace(layers, input_shape, names))])
        except StackError as error:
            raise ShapeError(f"{error.message} (in `{self.written}`)", inside=error.inside) from None

    def named_in(self, argument: str | None) -> tuple[str, ...]:
        if self.written.startswith("$"):
            return (self.kind,)
        return _parameters_in(self.values.get(argument))


def _of_names(written: Mapping[str, Any], arguments: Mapping[str, Any], path: Path) -> str:
    """Says which expression gave a value that is refused."""
    key = str(path[0]) if path else ""
    if key in written and written[key] != arguments[key] and isinstance(written[key], str):
        return f" (from `{written[key]}`)"
    return ""


# --- Blocks -------------------------------------------------------------------------------------------


def _read_call(name: str, raw: Any, known: _Known) -> "BlockCall":
    """A block's name and its raw value as a call.

    Raises:
        PydanticCustomError: if they do not fit the block's parameters.
    """
    parameters = known.blocks[name]
    if parameters is None:
        return BlockCall.model_construct(block=name, values={})
    if raw is not None and not isinstance(raw, Mapping):
        if not parameters:
            raise invalid(f"the block `{name}` has no parameters, got {describe(raw)}", block=name)
        raw = {next(iter(parameters)): raw}
    raw = dict(raw or {})
    errors: list[Any] = []

    def wrong(key: str | None, message: str) -> None:
        error = invalid(message, block=name)
        errors.append(_as_listed(error, () if key is None else (key,), raw if key is None else raw.get(key)))

    misspelt = {key: nearest(key, parameters) for key in raw if key not in parameters and key not in COMMON}
    for key in misspelt:
        hint = suggestion(key, parameters) if parameters else "; it has none at all"
        wrong(key, f"the block `{name}` has no parameter `{key}`{hint}")
    for key, default in parameters.items():
        if default == REQUIRED and key not in raw and key not in misspelt.values():
            wrong(None, f"the block `{name}` needs its parameter `{key}`")
    for key, value in raw.items():
        for error in _wrong_expressions(value, known.parameters) if key in parameters else ():
            wrong(key, error.message())
    common = {key: value for key, value in raw.items() if key in COMMON and key not in parameters}
    values = {key: value for key, value in raw.items() if key in parameters}
    for key, value in list(common.items()):
        if isinstance(value, str) and "$" in value:
            values[key] = common.pop(key)
            try:
                check_expression(value, known.parameters)
            except PydanticCustomError as error:
                wrong(key, error.message())
    try:
        call = BlockCall.model_validate({"block": name, "values": values, **common})
    except ValidationError as error:
        errors += error.errors(include_url=False)
    if errors:
        raise PydanticCustomError("nested", "a mistake in {name}", {"name": name, "class": BlockCall, "errors": errors})
    return call


class BlockCall(Layer):
    """A block of `model.blocks` where a layer stands, with values for its parameters."""

    block: str
    values: dict[str, Any]

    @property
    def kind(self) -> str:
        return self.block

    def to_plain(self) -> Any:
        arguments = self.arguments()
        return {self.block: arguments} if arguments else self.block

    def arguments(self) -> dict[str, Any]:
        common = {key: to_plain(getattr(self, key)) for key in COMMON if key in self.model_fields_set}
        return {**to_plain(self.values), **common}

    def resolve(self, names: Names, input_shape: Shape) -> Layer:
        block = names.blocks[self.block]
        if len(names.calls) >= DEEPEST_CALLS:
            last = " -> ".join([*names.calls[-3:], self.block])
            raise ShapeError(f"blocks are nested more than {DEEPEST_CALLS} deep: ... -> {last}")
        outer = _values(names, input_shape)
        values: dict[str, Any] = {}
        for key, default in block.parameters.items():
            try:
                if key in self.values:
                    values[key] = substitute(self.values[key], outer)
                else:
                    values[key] = substitute(default, values | {name: outer[name] for name in (CHANNELS, CLASSES)})
            except PydanticCustomError as error:
                if key in self.values:
                    raise ShapeError(error.message(), key) from None
                raise ShapeError(error.message(), inside=((self.block, ("parameters", key)),)) from None
        try:
            inner = replace(names, parameters=values, calls=(*names.calls, self.block))
            steps = trace(block.layers, input_shape, inner)
        except StackError as error:
            given, defaults = self._origins(block, error.blamed or ())
            places = (("layers", *error.path), *(("parameters", key) for key in defaults))
            first, *others = ((self.block, place) for place in places)
            raise ShapeError(error.message, given, (first, *error.inside, *others)) from None
        self._check_channels(block, steps, names, input_shape)
        return Compound.of(self._with_common(outer), [Part.of("layers", steps)], values=values)

    def named_in(self, argument: str | None) -> tuple[str, ...]:
        return _parameters_in(self.values.get(argument or ""))

    def _origins(self, block: "BlockConfig", blamed: Iterable[str]) -> tuple[str | None, list[str]]:
        """Where parameters have their values from: the first that this call gives, and those left to their defaults."""
        given, defaults = None, []
        waiting = [key for key in blamed if key in block.parameters]
        for key in waiting:
            if key in self.values:
                given = given or key
            else:
                defaults.append(key)
                waiting += [one for one in _parameters_in(block.parameters[key]) if one in block.parameters]
        return given, defaults

    def _check_channels(self, block: "BlockConfig", steps: Sequence[Step], names: Names, input_shape: Shape) -> None:
        """Whether the block reads the channels where the layers before it leave them, if its parameters count them.

        Raises:
            ShapeError: if not, so that nobody knows which axis `$channels` means.
        """
        reader = next((layer for layer in leaves([step.layer for step in steps]) if _moves_axes(layer)), None)
        if len(input_shape) != 3 or reader is None or arriving_order(reader, names.order) == names.order:
            return
        for key, default in block.parameters.items():
            if CHANNELS in _parameters_in(self.values.get(key, default)):
                message = (
                    f"`${CHANNELS}` is not known here: `{reader.kind}` in the block has `data_format: "
                    f"{reader.data_format}`, but the layers before it leave {format_shape(input_shape)} "  # type: ignore[attr-defined]
                    "in another order; write the number"
                )
                if key in self.values:
                    raise ShapeError(message, key)
                raise ShapeError(message, inside=((self.block, ("parameters", key)),))

    def _with_common(self, outer: Mapping[str, Any]) -> "BlockCall":
        """This call with what every layer takes in the place of names."""
        found = {key: substitute(self.values[key], outer) for key in COMMON if key in self.values}
        if not found:
            return self
        try:
            checked = BlockCall.model_validate({"block": self.block, "values": {}, **found})
        except ValidationError as error:
            first = next(mistakes(list(error.errors(include_url=False)), BlockCall))
            raise ShapeError(message_of(first), first.path) from None
        return self.model_copy(update={key: getattr(checked, key) for key in found})


def _parameters_in(value: Any) -> tuple[str, ...]:
    """The names that stand with a `$` in a plain value."""
    return tuple(name for text in _texts(value) for name in NAME.findall(text))


def _moves_axes(layer: Layer) -> bool:
    """Whether a layer says itself in which order it reads the axes, or changes it."""
    return getattr(layer, "data_format", None) is not None or layer.output_order(CHANNELS_LAST) != CHANNELS_LAST


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
        description="The layers. `$channels` is the number of channels that arrive at the layer where it is written."
    )

    @model_validator(mode="wrap")
    @classmethod
    def _with_parameters(cls, data: Any, handler: Any) -> Any:
        written = data.get("parameters") if isinstance(data, Mapping) else None
        parameters = frozenset(written) if isinstance(written, Mapping) else frozenset()
        with _knowing(replace(_KNOWN.get(), parameters=parameters | {CHANNELS})):
            return handler(data)

    @model_validator(mode="after")
    def _defaults(self) -> "BlockConfig":
        before: set[str] = {CHANNELS}
        errors = []
        for name, default in self.parameters.items():
            found = list(_wrong_expressions(default, frozenset(before)))
            if name in (*COMMON, CHANNELS, CLASSES) or not name.isidentifier():
                hint = "letters, digits and `_`" if not name.isidentifier() else "another name; this one is taken"
                found.append(invalid(f"expected {hint} for a parameter, got `{name}`"))
            errors += [_as_listed(error, (name,), default) for error in found]
            before.add(name)
        if errors:
            context = {"name": "parameters", "class": BlockConfig, "errors": errors}
            raise PydanticCustomError("nested", "a mistake in {name}", context)
        return self


def calls_in(layers: Any) -> Iterator[str]:
    """The names of the blocks that layers call, at any depth."""
    for layer in layers:
        if isinstance(layer, BlockCall):
            yield layer.block
        if isinstance(layer, Deferred):
            cls = LAYERS.get(layer.written)
            schema = class_schema(cls) if cls is not None else None
            for key, value in layer.values.items():
                inner = schema.field(key) if schema is not None else None
                if inner is not None and _holds_layers(inner):
                    yield from (name for name in _written_names(value) if name in layer.known.blocks)
        else:
            for value in vars(layer).values():
                yield from calls_in(_layers_in(value))


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
