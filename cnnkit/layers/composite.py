"""Layers that hold layers: residual connections, branches, repetition. No wiring by index."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PlainValidator, ValidatorFunctionWrapHandler, WithJsonSchema, WrapValidator, model_validator

from cnnkit.format.base import describe, invalid, with_article
from cnnkit.format.expressions import INDEX, REPETITION, TIMES
from cnnkit.format.fields import LARGEST_COUNT, LARGEST_SIDE, is_whole, list_schema
from cnnkit.format.script import Argument, Call
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.layers import LAYERS, geometry
from cnnkit.layers.activated import with_function
from cnnkit.layers.axes import AXIS_SCHEMA, AxisField, check_axis
from cnnkit.layers.base import MOST_LAYERS, Layer, Names, Scope, ShapeLayer
from cnnkit.layers.convolution import PlainConvolution
from cnnkit.layers.normalization import BatchNormalization
from cnnkit.layers.resolved import OF_TWO, Merge, Part, Resolved, leaves
from cnnkit.layers.spatial import THINGS, channels, spatial
from cnnkit.layers.stack import StackError, Step, trace
from cnnkit.layers.submodel import functional
from cnnkit.layers.substitution import KNOWN, knowing
from cnnkit.layers.unresolved import LayerField
from cnnkit.layers.weights import ActivationField
from cnnkit.layers.window import compute_dtype

#: A list of layers inside a layer; its JSON Schema is that of `model.layers`, by reference.
Layers = Annotated[list[LayerField], WithJsonSchema({"type": "array", "items": {"recursive": "layer"}})]
_SOME = {"type": "array", "items": {"recursive": "layer"}, "minItems": 1}
SomeLayers = Annotated[list[LayerField], Field(min_length=1), WithJsonSchema(_SOME)]


def _counted(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    known = KNOWN.get()
    with knowing(replace(known, parameters=known.parameters | REPETITION)):
        return handler(value)


#: Layers that may name the repetition that they are in.
RepeatedLayers = Annotated[SomeLayers, WrapValidator(_counted)]


def _dot_axes(value: Any) -> tuple[int, int]:
    items = [value, value] if is_whole(value) else value
    if isinstance(items, list | tuple) and len(items) == 2:
        return check_axis(items[0]), check_axis(items[1])
    raise invalid(f"expected an axis, or a list of two: one of each path, got {describe(value)}")


#: An axis of both paths, or one of each; held as one of each.
DotAxes = Annotated[
    tuple[int, int],
    PlainValidator(_dot_axes),
    WithJsonSchema({"anyOf": [AXIS_SCHEMA, list_schema(AXIS_SCHEMA, 2, 2)]}),
]

_SHORTCUTS = ("auto", "identity", "pad")


def _shortcut(value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
    if isinstance(value, list | tuple):
        return handler(value)
    if value in _SHORTCUTS:
        return value
    raise invalid(f"expected `auto`, `identity`, `pad` or a list of layers, got {describe(value)}")


#: One of three names, or a list of layers.
Shortcut = Annotated[
    list[LayerField],
    WrapValidator(_shortcut),
    WithJsonSchema({"anyOf": [{"enum": list(_SHORTCUTS)}, {"type": "array", "items": {"recursive": "layer"}}]}),
]


def _path(title: str, layers: list[Layer], names: Names, input_shape: Shape, *path: str | int) -> Part:
    """One path of a composite, traced; errors name where it stands."""
    try:
        steps = trace(layers, input_shape, names)
    except StackError as error:
        raise ShapeError(error.message, (*path, *error.path), error.inside, error.blamed, error.of_value) from None
    return Part.of(title, steps)


class Repeat(Layer):
    """The layers one after another, so many times."""

    example: ClassVar[str] = """\
- Repeat:
    times: 4
    layers:
      - Residual:
          - Conv2D: {filters: $channels, kernel_size: 3, padding: same, activation: relu}
          - StochasticDepth: 0.2 * $index / $times
"""

    times: int = Field(ge=0, le=MOST_LAYERS, description="How often, from 0 (which passes the input on).")
    layers: RepeatedLayers = Field(
        description="The layers that are repeated. In them, `$index` is the number of the repetition, from 0, and "
        "`$times` how many there are, unless the block around has parameters of these names."
    )

    def resolve(self, names: Names, input_shape: Shape) -> Layer:
        steps: list[Step] = []
        labels: list[str] = []
        shape = input_shape
        for number in range(self.times):
            try:
                inner = replace(names, repetition={INDEX: number, TIMES: self.times})
                part = _path(f"{number}.layers", self.layers, inner, shape, "layers")
            except ShapeError as error:
                raise self._in_repetition(number, names, error) from None
            shape = part.output_shape(shape)
            steps += part.steps
            labels += part.labels
        named = next((place for place, layer in enumerate(self.layers) if layer.name is not None), None)
        if self.times > 1 and named is not None:
            layer = self.layers[named]
            raise ShapeError(
                f"a layer that is repeated would have the name `{layer.name}` {self.times} times; leave the name out",
                ("layers", named, layer.kind, "name"),
            )
        return Resolved.of(self, [Part("layers", tuple(steps), tuple(labels))])

    def _in_repetition(self, number: int, names: Names, error: ShapeError) -> ShapeError:
        """The error of a layer inside, with the repetition where it appeared."""
        blamed = error.blamed or ()
        own = REPETITION - names.parameters.keys()
        text = f"in repetition {number + 1} of {self.times}" if self.times > 1 else ""
        if INDEX in own.intersection(blamed):
            text += f"{', ' if text else ''}where `${INDEX}` is {number}"
        message = f"{error.message} ({text})" if text else error.message
        # A Repeat around this one counts its own repetitions.
        others = None if error.blamed is None else tuple(name for name in blamed if name not in own)
        return ShapeError(message, error.path, error.inside, others, error.of_value)


class Branches(Layer):
    """Paths side by side from the same input, merged: Inception, DenseNet, squeeze and excitation, U-Net."""

    leading: ClassVar[str | None] = "paths"
    example: ClassVar[str] = """\
- Branches:                               # side by side: four paths of Inception
    - [Conv2D: {filters: 8, kernel_size: 1}]
    - [Conv2D: {filters: 8, kernel_size: 1}, Conv2D: {filters: 16, kernel_size: 3, padding: same}]
    - [MaxPooling2D: {pool_size: 3, strides: 1, padding: same}]
    - []                                  # the input as it is
- Branches:                               # a gate: the input times numbers from 0 to 1, one for each pixel
    merge: multiply
    paths:
      - []
      - [Conv2D: {filters: 1, kernel_size: 7, padding: same, activation: sigmoid}]
"""

    paths: Annotated[list[Layers], Field(min_length=2)] = Field(
        description="Two lists of layers or more; an empty list passes the input on."
    )
    merge: Merge = Field(
        default="concatenate",
        description="How the paths' outputs become one. Except for `concatenate` and `dot`, an axis of size 1 is "
        "stretched. `subtract` and `dot` are of two paths.",
    )
    axis: AxisField = Field(default=-1, description="The axis along which outputs are concatenated; -1: the channels.")
    axes: DotAxes | None = Field(
        default=None,
        description="With `dot`: the axis of both paths along which products are summed, or [that of the first, that "
        "of the second].",
    )
    normalize: bool = Field(
        default=False, description="With `dot`: whether vectors along the axes get length 1 before (their cosine)."
    )

    @model_validator(mode="after")
    def _fits_the_merge(self) -> Self:
        if self.merge in OF_TWO and len(self.paths) != 2:
            raise invalid(f"`merge: {self.merge}` is of two paths, got {len(self.paths)}", argument="paths")
        if self.merge == "dot" and self.axes is None:
            raise invalid("`merge: dot` needs `axes`, such as -1 for the channels of both paths")
        if self.merge != "dot" and (self.axes is not None or self.normalize):
            name = "normalize" if self.axes is None else "axes"
            raise invalid(f"`{name}` is for `merge: dot`, not for `{self.merge}`", argument=name)
        return self

    def resolve(self, names: Names, input_shape: Shape) -> Layer:
        parts = [
            _path(f"paths.{number}", path, names, input_shape, "paths", number)
            for number, path in enumerate(self.paths)
        ]
        product = None if self.axes is None else (self.axes, self.normalize)
        return Resolved.of(self, parts, self.merge, self.axis, product=product)


class PaddedChannels(ShapeLayer):
    """Appends channels of zeros (option A of He et al. 2015, arXiv:1512.03385); not written in configs.

    Attributes:
        filters: Channels afterwards.
    """

    filters: int

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:-1], self.filters)

    def calls(self) -> tuple[Call, ...]:
        return (Call("pad_channels", (Argument("filters", self.filters),), "filters", of_tensor=True),)

    def build(self, scope: Scope) -> Any:
        from cnnkit.layers.functions import pad_channels

        def body(inputs: Any) -> Any:
            return pad_channels(inputs, self.filters)

        return functional(scope.name, scope.keras_shape, compute_dtype(scope.dtype), body)


class Residual(Layer):
    """Adds a layer's input to the output of layers (He et al. 2015, arXiv:1512.03385)."""

    leading: ClassVar[str | None] = "layers"
    example: ClassVar[str] = """\
- Residual:                               # the skip adds the input as it is
    - Conv2D: {filters: $channels, kernel_size: 3, padding: same, activation: relu}
    - Conv2D: {filters: $channels, kernel_size: 3, padding: same}
- Residual:                               # here the shape changes: a 1x1 convolution of stride 2 is the skip
    activation: relu
    layers:
      - Conv2D: {filters: 32, kernel_size: 3, strides: 2, padding: same, use_bias: false}
      - BatchNormalization
"""

    layers: SomeLayers = Field(description="The main path.")
    shortcut: Shortcut = Field(
        default="auto",  # type: ignore[arg-type]
        description="How the input reaches the sum. `identity`: as it is. `auto`: as it is, or, where the shape "
        "changes, through a 1x1 convolution without bias, its stride implied by the shapes, followed by a "
        "BatchNormalization like the main path's if that has one after its last convolution, whatever follows it; "
        "a gate (`Branches` that multiply the input) is no part of the path. `inspect` says what it chose. "
        "`pad`: without parameters, every stride-th pixel with channels of zeros appended (option A of the paper). "
        "Or a list of layers.",
    )
    activation: ActivationField = Field(default="linear", description="Applied to the sum; as in `Activation`.")

    def resolve(self, names: Names, input_shape: Shape) -> Layer:
        if not isinstance(self.activation, str):
            return with_function(self, names, input_shape)
        main = _path("layers", self.layers, names, input_shape, "layers")
        shape = main.output_shape(input_shape)
        if not isinstance(self.shortcut, str):
            shortcut = _path("shortcut", self.shortcut, names, input_shape, "shortcut")
        else:
            implied = self._shortcut(main, input_shape, shape)
            shortcut = Part.of("shortcut", trace(implied, input_shape, names), implied=True)
            if self.shortcut == "auto":
                shortcut = replace(shortcut, chosen=_in_words(implied))
        given = shortcut.output_shape(input_shape)
        if given != shape:
            raise ShapeError(
                f"`layers` gives {format_shape(shape)}, but `shortcut` gives {format_shape(given)}; they are added, so "
                "they must agree",
                "shortcut",
            )
        return Resolved.of(self, [main, shortcut], "add", activation=self.activation)

    def _shortcut(self, main: Part, before: Shape, after: Shape) -> list[Layer]:
        """The layers that give the input the main path's shape.

        Raises:
            ShapeError: if none can.
        """
        if before == after:
            return []
        changed = f"the layers make {format_shape(after)} of {format_shape(before)}"
        if self.shortcut == "identity":
            raise ShapeError(f"{changed}, so that the input cannot be added; use `shortcut: auto`", "shortcut")
        axes = len(before) - 1
        if len(after) != len(before) or axes not in THINGS:
            raise ShapeError(f"{changed}; only images can be projected; name the layers of the shortcut", "shortcut")
        formats = {getattr(layer, "data_format", None) for layer in leaves([step.layer for step in main.steps])}
        data_format: Any = "channels_first" if "channels_first" in formats else None
        filters = channels(after, data_format)
        strides = []
        for size, wanted in zip(spatial(before, data_format, axes), spatial(after, data_format, axes), strict=True):
            if wanted > size:
                raise ShapeError(
                    f"{changed}; no convolution enlarges {with_article(THINGS[axes])}; name the layers of the "
                    f"shortcut, such as UpSampling{axes}D",
                    "shortcut",
                )
            stride = geometry.stride_between(size, wanted)
            if stride is None or stride > LARGEST_SIDE:
                lines = "positions" if axes == 1 else "rows or columns"
                raise ShapeError(
                    f"{changed}; no stride makes {wanted} of {size} {lines}; pad the convolutions "
                    "(`padding: same`), or name the layers of the shortcut",
                    "shortcut",
                )
            strides.append(stride)
        if filters > LARGEST_COUNT:
            raise ShapeError(
                f"{changed}; a shortcut has at most {LARGEST_COUNT:,} filters; name the layers of the shortcut",
                "shortcut",
            )
        if self.shortcut == "pad":
            if filters < channels(before, data_format) or data_format == "channels_first":
                raise ShapeError(
                    f"{changed}; `pad` only appends channels, which come last; use `shortcut: auto`", "shortcut"
                )
            pooling = {"pool_size": 1, "strides": tuple(strides)}
            subsampled = [_of_axes("MaxPooling", axes, pooling)] if max(strides) > 1 else []
            return [*subsampled, PaddedChannels.model_construct(filters=filters)]
        arguments = {"filters": filters, "kernel_size": 1, "strides": tuple(strides), "use_bias": False}
        projection = _of_axes("Conv", axes, arguments | {"data_format": data_format})
        normalization = _normalization(main.steps)
        if not isinstance(normalization, BatchNormalization):
            return [projection]
        # As in the main path, except how it starts: a main path may start at zero, the shortcut may not.
        kept = {
            name: getattr(normalization, name)
            for name in normalization.model_fields_set
            if name != "name" and not name.endswith("_initializer")
        }
        return [projection, BatchNormalization(**kept)]


def _of_axes(kind: str, axes: int, arguments: Mapping[str, Any]) -> Layer:
    """A layer of a kind for so many axes."""
    cls = LAYERS.get(f"{kind}{axes}D")
    assert cls is not None
    assert issubclass(cls, Layer)
    return cls.model_validate(arguments)


def _normalization(steps: Sequence[Step]) -> BatchNormalization | Literal["none"] | None:
    """The batch normalization after the last convolution of a path, whatever follows it.

    Where paths that hold convolutions are merged, each has to have one. The convolutions of a gate, which computes
    what its other path, the input, is multiplied with, are none of the path's.

    Returns:
        The normalization; `none` where the last convolution has none; None where there is neither.
    """
    for step in reversed(steps):
        layer = step.layer
        if isinstance(layer, BatchNormalization):
            return layer
        if isinstance(layer, Resolved):
            if layer.written.only_scales:
                continue
            inside = [_normalization(part.steps) for part in layer.parts]
            normalizations = [one for one in inside if one is not None]
            is_gate = layer.merge == "multiply" and len(normalizations) < len(inside)
            if normalizations and not is_gate:
                return "none" if "none" in normalizations else normalizations[0]
        elif any(weight.name.endswith("kernel") for weight in layer.variables(step.input_shape)):
            return "none"
    return None


def _in_words(shortcut: Sequence[Layer]) -> str:
    """What `shortcut: auto` became."""
    if not shortcut:
        return "identity"
    projection, *normalization = shortcut
    assert isinstance(projection, PlainConvolution)
    steps = projection.strides
    strides = f"stride {steps[0]}" if len(set(steps)) == 1 else f"strides {format_shape(steps)}"
    window = "x".join("1" * len(steps)) if len(steps) > 1 else "pointwise"
    return f"{window} convolution, {strides}{', BatchNormalization' if normalization else ''}"
