"""A block of `model.blocks` where a layer stands."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from cnnkit.format.base import describe, invalid, nested, to_plain
from cnnkit.format.explain import message_of, mistakes
from cnnkit.format.expressions import SIZES, check_expression
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.format.similar import nearest, suggestion
from cnnkit.layers.base import DEEPEST_CALLS, Layer, Names
from cnnkit.layers.geometry import channels_last
from cnnkit.layers.resolved import Part, Resolved, leaves
from cnnkit.layers.stack import StackError, Step, trace
from cnnkit.layers.substitution import (
    COMMON,
    Known,
    as_listed,
    parameters_in,
    substitute,
    values_for,
    wrong_expressions,
)

#: The default of a parameter that every call has to give.
REQUIRED = "required"


def read_call(name: str, raw: Any, known: Known) -> "BlockCall":
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
        errors.append(as_listed(error, () if key is None else (key,), raw if key is None else raw.get(key)))

    misspelt = {key: nearest(key, parameters) for key in raw if key not in parameters and key not in COMMON}
    for key in misspelt:
        hint = suggestion(key, parameters) if parameters else "; it has none at all"
        wrong(key, f"the block `{name}` has no parameter `{key}`{hint}")
    for key, default in parameters.items():
        if default == REQUIRED and key not in raw and key not in misspelt.values():
            wrong(None, f"the block `{name}` needs its parameter `{key}`")
    for key, value in raw.items():
        for error in wrong_expressions(value, known.parameters) if key in parameters else ():
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
        raise nested(name, BlockCall, errors)
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
        outer = values_for(names, input_shape)
        inside = replace(names, repetition={})
        values: dict[str, Any] = {}
        for key, default in block.parameters.items():
            try:
                if key in self.values:
                    values[key] = substitute(self.values[key], outer)
                else:
                    values[key] = substitute(default, values_for(replace(inside, parameters=values), input_shape))
            except PydanticCustomError as error:
                raise self._wrong_value(key, error.message()) from None
        try:
            inner = replace(inside, parameters=values, calls=(*names.calls, self.block))
            steps = trace(block.layers, input_shape, inner)
        except StackError as error:
            given, defaults = self._origins(block.parameters, error.blamed or ())
            places = (("layers", *error.path), *(("parameters", key) for key in defaults))
            first, *others = ((self.block, place) for place in places)
            blocks = (first, *error.inside, *others)
            raise ShapeError(error.message, given, blocks, of_value=error.of_value) from None
        self._check_channels(block.parameters, steps, names, input_shape)
        return Resolved.of(self._with_common(outer), [Part.of("layers", steps)], values=values)

    def named_in(self, argument: str | None) -> tuple[str, ...]:
        return parameters_in(self.values.get(argument or ""))

    def _wrong_value(self, key: str, message: str) -> ShapeError:
        """An error about a parameter's value: here, or in the block's own line where its default is at work."""
        if key in self.values:
            return ShapeError(message, key, of_value=True)
        return ShapeError(message, inside=((self.block, ("parameters", key)),))

    def _origins(self, parameters: Mapping[str, Any], blamed: Iterable[str]) -> tuple[str | None, list[str]]:
        """Where parameters have their values from: the first that this call gives, and those left to their defaults."""
        given, defaults = None, []
        waiting = [key for key in blamed if key in parameters]
        for key in waiting:
            if key in self.values:
                given = given or key
            else:
                defaults.append(key)
                waiting += [one for one in parameters_in(parameters[key]) if one in parameters]
        return given, defaults

    def _check_channels(
        self, parameters: Mapping[str, Any], steps: Sequence[Step], names: Names, input_shape: Shape
    ) -> None:
        """Whether the block reads the channels where the layers before it leave them, if its parameters count them.

        Raises:
            ShapeError: if not, so that nobody knows which axis `$channels` means.
        """
        reader = next((layer for layer in leaves([step.layer for step in steps]) if _moves_axes(layer)), None)
        if len(input_shape) != 3 or reader is None or reader.arriving_order(names.order) == names.order:
            return
        for key, default in parameters.items():
            counted = SIZES.intersection(parameters_in(self.values.get(key, default))) - names.parameters.keys()
            if counted:
                message = (
                    f"`${min(counted)}` is not known here: `{reader.kind}` in the block has `data_format: "
                    f"{reader.data_format}`, but the layers before it leave {format_shape(input_shape)} "  # type: ignore[attr-defined]
                    "in another order; write the number"
                )
                raise self._wrong_value(key, message)

    def _with_common(self, outer: Mapping[str, Any]) -> "BlockCall":
        """This call with what every layer takes in the place of names."""
        common = {key: substitute(self.values[key], outer) for key in COMMON if key in self.values}
        if not common:
            return self
        try:
            checked = BlockCall.model_validate({"block": self.block, "values": {}, **common})
        except ValidationError as error:
            first = next(mistakes(list(error.errors(include_url=False)), BlockCall))
            raise ShapeError(message_of(first), first.path, of_value=True) from None
        return self.model_copy(update={key: getattr(checked, key) for key in common})


def _moves_axes(layer: Layer) -> bool:
    """Whether a layer says itself in which order it reads the axes, or changes it."""
    last = channels_last(3)
    return getattr(layer, "data_format", None) is not None or layer.output_order(last) != last
