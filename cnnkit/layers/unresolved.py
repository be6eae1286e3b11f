"""Layers that the config writes with names to be replaced: `$parameter`, `$channels`, and calls of its own blocks.

They are held as they were written, and become layers where the shape that arrives is known.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import GetJsonSchemaHandler, ValidationError
from pydantic_core import PydanticCustomError, core_schema

from cnnkit.format.base import Choice, StrictModel, keyword_arguments, nested, split_named, to_plain
from cnnkit.format.explain import message_of, mistakes
from cnnkit.format.expressions import NAME, check_expression, is_expression, is_whole_name
from cnnkit.format.fields import DATA_NAMES
from cnnkit.format.schema import Schema, class_schema
from cnnkit.format.shapes import Path, Shape, ShapeError
from cnnkit.layers import LAYERS
from cnnkit.layers.base import Layer, Names
from cnnkit.layers.block_calls import read_call
from cnnkit.layers.geometry import channels_first, channels_last
from cnnkit.layers.resolved import Part, Resolved
from cnnkit.layers.stack import StackError, trace
from cnnkit.layers.substitution import (
    COMMON,
    KNOWN,
    Known,
    as_listed,
    holds_layers,
    knowing,
    parameters_in,
    substitute,
    texts,
    values_for,
    wrong_expressions,
)


class LayerChoice(Choice):
    """Marks a field as holding a layer, which may be a call of a block or have arguments with names."""

    def validate(self, value: Any) -> Layer:
        if isinstance(value, Layer):
            return value
        known = KNOWN.get()
        if isinstance(value, str) and is_whole_name(value):
            check_expression(value, known.parameters)
            return Unresolved.model_construct(written=value, values={}, known=known)
        name, raw = split_named(value, self.table, known.blocks)
        if name in known.blocks:
            return read_call(name, raw, known)
        cls = self.table.get(name)
        assert cls is not None
        try:
            arguments = keyword_arguments(cls, name, raw)
        except PydanticCustomError:
            arguments = {}
        schema = class_schema(cls)
        named = {key for key, item in arguments.items() if _has_names(cls, schema, key, item)}
        if not named:
            layer = super().validate(value)
            assert isinstance(layer, Layer)
            return layer
        errors = _mistakes_in_part(cls, schema, arguments, named, known)
        if errors:
            raise nested(name, cls, errors) from None
        return Unresolved.model_construct(written=name, values=arguments, known=known, **_common(arguments, named))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Besides the layers, names in lower case and `$name`: which blocks there are, the config itself says."""
        json_schema = super().__get_pydantic_json_schema__(schema, handler)
        other = {"pattern": "^[a-z_][A-Za-z0-9_]*$"}
        call = {"type": "object", "propertyNames": other, "minProperties": 1, "maxProperties": 1}
        named = {"type": "string", "pattern": f"^{NAME.pattern}$"}
        json_schema["anyOf"] += [{"type": "string", **other}, named, call]
        return json_schema


LAYER_CHOICE = LayerChoice(LAYERS)

#: A layer of a list of layers.
LayerField = Annotated[Layer, LAYER_CHOICE]


def _common(arguments: Mapping[str, Any], named: set[str]) -> dict[str, Any]:
    return {key: arguments[key] for key in COMMON if key in arguments and key not in named}


def _has_names(cls: type[StrictModel], schema: Schema, key: str, value: Any) -> bool:
    inner = schema.field(key)
    if inner is None:
        return False
    if holds_layers(inner) and not isinstance(value, str):
        return False
    if value in DATA_NAMES and value in _literals(cls.model_fields[key].annotation):
        # The field takes the word itself.
        return False
    return any(is_expression(text, in_text=inner.kind in ("string", "choice")) for text in texts(value))


def _literals(annotation: Any) -> tuple[Any, ...]:
    parts = getattr(annotation, "__args__", ())
    return tuple(value for part in (annotation, *parts) for value in getattr(part, "__args__", ()))


def _mistakes_in_part(
    cls: type[StrictModel], schema: Schema, arguments: Mapping[str, Any], named: set[str], known: Known
) -> list[Any]:
    """What is wrong with a layer's arguments whatever the names stand for, as pydantic lists errors."""
    errors: list[Any] = []
    for key in sorted(named):
        inner = schema.field(key)
        in_text = inner is not None and inner.kind in ("string", "choice")
        for error in wrong_expressions(arguments[key], known.parameters, in_text=in_text):
            errors.append(as_listed(error, (key,), arguments[key]))
    rest = {key: value for key, value in arguments.items() if key not in named}
    try:
        cls.model_validate(rest)
    except ValidationError as invalid_rest:
        for mistake in invalid_rest.errors(include_url=False):
            # What the whole object misses may come with what the names stand for.
            if mistake["loc"] and mistake["loc"][0] not in named:
                errors.append(mistake)
    return errors


class Unresolved(Layer):
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
        values = values_for(names, input_shape)
        if "data_format" in cls.model_fields and len(input_shape) > 1:
            order = channels_first if self._data_format(values) == "channels_first" else channels_last
            values = values_for(names, input_shape, order(len(input_shape)))
        arguments = {}
        for key, value in self.values.items():
            try:
                arguments[key] = substitute(value, values, schema.field(key))
            except PydanticCustomError as error:
                raise ShapeError(error.message(), key, of_value=True) from None
        with knowing(self.known):
            try:
                layer = LAYER_CHOICE.validate({self.written: arguments})
            except PydanticCustomError as error:
                first = next(mistakes([as_listed(error, (), arguments)], StrictModel))
                path = first.path[1:]
                message = message_of(first) + _of_names(self.values, arguments, path)
                raise ShapeError(message, path, of_value=True) from None
        # What a name stood for may hold names again, such as `classes`; nothing else is left.
        return layer.resolve(names, input_shape)

    def _data_format(self, values: Mapping[str, Any]) -> Any:
        """The order of the axes that the layer itself asks for; None, as in Keras, for channels last."""
        try:
            return substitute(self.values.get("data_format"), values)
        except PydanticCustomError as error:
            raise ShapeError(error.message(), "data_format", of_value=True) from None

    def _named(self, names: Names, input_shape: Shape) -> Layer:
        """The layer, or the list of layers as one, that a parameter stands for."""
        value = values_for(names, input_shape)[self.kind]
        several = isinstance(value, list | tuple)
        with knowing(self.known):
            try:
                layers = [LAYER_CHOICE.validate(one) for one in (value if several else [value])]
            except PydanticCustomError as error:
                first = next(mistakes([as_listed(error, (), value)], StrictModel))
                raise ShapeError(f"{message_of(first)} (from `{self.written}`)") from None
        if not several:
            return layers[0].resolve(names, input_shape)
        try:
            return Resolved.of(self, [Part.of("layers", trace(layers, input_shape, names))])
        except StackError as error:
            raise ShapeError(f"{error.message} (in `{self.written}`)", inside=error.inside) from None

    def named_in(self, argument: str | None) -> tuple[str, ...]:
        if self.written.startswith("$"):
            return (self.kind,)
        return parameters_in(self.values.get(argument))


def _of_names(written: Any, evaluated: Any, path: Path) -> str:
    """Says which expressions gave a value that is refused."""
    for part in path:
        inside = isinstance(written, Mapping | list | tuple)
        if not inside or not (part in written if isinstance(written, Mapping) else isinstance(part, int)):
            break
        written, evaluated = written[part], evaluated[part]
    if written == evaluated:
        return ""
    expressions = [text for text in texts(written) if is_expression(text)]
    values = evaluated if isinstance(evaluated, list) else [evaluated]
    divided = any("/" in text.replace("//", "") for text in expressions)
    rounded = "; `//` rounds down" if divided and any(isinstance(value, float) for value in values) else ""
    return f" (from {', '.join(f'`{text}`' for text in expressions)}{rounded})" if expressions else ""
