"""What convolutions and poolings share: a window that moves over the image, and its padding."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema

from cnnkit.format.base import describe, invalid
from cnnkit.format.fields import AXES_NAMES, COUNTS, LARGEST_SIDE, DataFormat, is_whole, list_schema, whole_schema
from cnnkit.format.script import Argument, Call
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.format.similar import suggestion
from cnnkit.layers import geometry
from cnnkit.layers.base import Scope, as_argument
from cnnkit.layers.spatial import LINES, THINGS, SpatialLayer

#: Positions before and after the tensor along each spatial axis: ((top, bottom), (left, right)) of an image.
Amounts = tuple[geometry.Amount, ...]

#: How the amounts along so many axes are written one by one.
_SIDES_NAMES = {
    1: "[before, after]",
    2: "[[top, bottom], [left, right]]",
    3: "[[front, back], [top, bottom], [left, right]]",
}


def to_sizes(value: Any, axes: int = 2) -> tuple[int, ...] | None:
    """A whole number from 0 to LARGEST_SIDE, or one for each axis, as one for each; None for anything else."""
    items = [value] * axes if is_whole(value) else value
    if isinstance(items, list | tuple) and len(items) == axes and all(is_whole(i, 0, LARGEST_SIDE) for i in items):
        return tuple(items)
    return None


def to_amounts(value: Any, axes: int = 2) -> Amounts | None:
    """Rows and columns on each side as Keras writes them; None for anything else."""
    if axes == 1 and to_sizes(value) is not None:
        # Of one axis, [1, 2] are its two sides.
        value = [value]
    sides = [value] * axes if is_whole(value) else value
    if not isinstance(sides, list | tuple) or len(sides) != axes:
        return None
    pairs = [to_sizes(side) for side in sides]
    return tuple((pair[0], pair[1]) for pair in pairs if pair is not None) if None not in pairs else None


def _amounts_text(axes: int) -> str:
    one_by_one = f"{AXES_NAMES[axes]}, or {_SIDES_NAMES[axes]}" if axes > 1 else f"or {_SIDES_NAMES[axes]}"
    return f"a whole number, {one_by_one}, all from 0 to {LARGEST_SIDE:,}"


def _sizes_from_zero(axes: int) -> Callable[[Any], tuple[int, ...]]:
    def check(value: Any) -> tuple[int, ...]:
        sizes = to_sizes(value, axes)
        if sizes is None:
            alternative = f", or a list {AXES_NAMES[axes]} of {COUNTS[axes]}" if axes > 1 else ""
            raise invalid(f"expected a whole number from 0 to {LARGEST_SIDE:,}{alternative}, got {describe(value)}")
        return sizes

    return check


def _amounts(axes: int) -> Callable[[Any], Amounts]:
    def check(value: Any) -> Amounts:
        amounts = to_amounts(value, axes)
        if amounts is None:
            raise invalid(f"expected {_amounts_text(axes)}, got {describe(value)}")
        return amounts

    return check


def _padding(axes: int) -> Callable[[Any], str | Amounts]:
    names = ("valid", "same", "full")

    def check(value: Any) -> str | Amounts:
        if isinstance(value, str):
            if value in names:
                return value
            raise invalid(f"unknown padding `{value}`{suggestion(value, names)}")
        amounts = to_amounts(value, axes)
        if amounts is None:
            raise invalid(f"expected `valid`, `same`, `full`, {_amounts_text(axes)}, got {describe(value)}")
        return amounts

    return check


_SIZE = whole_schema(0, LARGEST_SIDE)
_TWO_SIZES = list_schema(_SIZE, 2, 2)


def _sizes_schema(axes: int) -> dict[str, Any]:
    return {"anyOf": [_SIZE, list_schema(_SIZE, axes, axes)]} if axes > 1 else _SIZE


def _amounts_schema(axes: int) -> dict[str, Any]:
    sides = list_schema({"anyOf": [_SIZE, _TWO_SIZES]}, axes, axes)
    return {"anyOf": [_SIZE, sides if axes > 1 else _TWO_SIZES]}


def _padding_schema(axes: int) -> dict[str, Any]:
    return {"anyOf": [{"enum": ["valid", "same", "full"]}, *_amounts_schema(axes)["anyOf"]]}


#: One whole number from 0 for all axes, or one for each; held as one for each.
FromZero1D = Annotated[tuple[int, ...], PlainValidator(_sizes_from_zero(1)), WithJsonSchema(_sizes_schema(1))]
FromZero2D = Annotated[tuple[int, ...], PlainValidator(_sizes_from_zero(2)), WithJsonSchema(_sizes_schema(2))]
FromZero3D = Annotated[tuple[int, ...], PlainValidator(_sizes_from_zero(3)), WithJsonSchema(_sizes_schema(3))]

#: Rows and columns on each side; held as ((top, bottom), (left, right)), with as many pairs as there are axes.
Amounts1D = Annotated[Amounts, PlainValidator(_amounts(1)), WithJsonSchema(_amounts_schema(1))]
Amounts2D = Annotated[Amounts, PlainValidator(_amounts(2)), WithJsonSchema(_amounts_schema(2))]
Amounts3D = Annotated[Amounts, PlainValidator(_amounts(3)), WithJsonSchema(_amounts_schema(3))]

#: `valid`, `same`, `full`, or rows and columns on each side.
Padding1D = Annotated[str | Amounts, PlainValidator(_padding(1)), WithJsonSchema(_padding_schema(1))]
Padding2D = Annotated[str | Amounts, PlainValidator(_padding(2)), WithJsonSchema(_padding_schema(2))]
Padding3D = Annotated[str | Amounts, PlainValidator(_padding(3)), WithJsonSchema(_padding_schema(3))]

#: Layers that add or cut positions and know where the channels lie; Keras' Cropping1D takes them to come last.
_WITH_DATA_FORMAT = ("ZeroPadding1D", "ZeroPadding2D", "ZeroPadding3D", "Cropping2D", "Cropping3D")

DATA_FORMAT = "Order of the axes: channels_last (height, width, channels; the default) or channels_first."


def compute_dtype(dtype: str | None) -> str:
    """The dtype in which a Keras layer with this dtype policy computes."""
    import keras

    return str(keras.dtype_policies.get(dtype).compute_dtype)


def window_text(window: Sequence[int], dilation: Sequence[int]) -> str:
    text = f"a {format_shape(tuple(window))} window" if len(window) > 1 else f"a window of {window[0]}"
    if max(dilation) == 1:
        return text
    span = [geometry.effective_window(f, d) for f, d in zip(window, dilation, strict=True)]
    return f"{text} with dilation {format_shape(tuple(dilation))} spans {format_shape(tuple(span))} and"


class WindowedLayer(SpatialLayer):
    """A layer whose output positions each see a window of the input, W' = (W - F + 2P)/S + 1 of them."""

    #: The argument that holds the window's size.
    window_argument: ClassVar[str]

    padding: Padding2D = Field(
        default="valid",
        description="Rows and columns added around the image: `valid` none; `same` enough for an output of "
        "input / stride; `full` dilation x (window - 1) on each side; a number, [height, width] or "
        "[[top, bottom], [left, right]], from 0.",
    )
    data_format: DataFormat | None = Field(default=None, description=DATA_FORMAT)

    @property
    def window(self) -> tuple[int, ...]:
        size: tuple[int, ...] = getattr(self, self.window_argument)
        return size

    @property
    def step(self) -> tuple[int, ...]:
        """The stride along each spatial axis."""
        strides: tuple[int, ...] | None = getattr(self, "strides")  # noqa: B009 (declared by subclasses)
        return self.window if strides is None else strides

    @property
    def dilation(self) -> tuple[int, ...]:
        rate: tuple[int, ...] = getattr(self, "dilation_rate", (1,) * self.axes)
        return rate

    def explicit_padding(self) -> Amounts | None:
        """The padding that cnnkit adds itself; None where Keras does it (`valid`, `same`)."""
        if self.padding == "full":
            return tuple(map(geometry.full_padding, self.window, self.dilation))
        if isinstance(self.padding, str) or not any(map(max, self.padding)):
            return None
        return self.padding

    def padding_amounts(self, input_shape: Shape) -> Amounts:
        """How many rows and columns are added on each side of an input."""
        if self.padding == "same":
            axes = zip(self.sizes(input_shape), self.window, self.step, self.dilation, strict=True)
            return tuple(geometry.same_padding(*values) for values in axes)
        return self.explicit_padding() or ((0, 0),) * self.axes

    def output_filters(self, input_shape: Shape) -> int:
        """The number of channels that leave the layer."""
        return self.channels(input_shape)

    def output_spatial(self, input_shape: Shape) -> tuple[int, ...]:
        """The output's size along each spatial axis, such as its height and width.

        Raises:
            ShapeError: if the window does not fit the padded input.
        """
        sizes = self.sizes(input_shape)
        amounts = self.padding_amounts(input_shape)
        axes = zip(sizes, self.window, self.step, amounts, self.dilation, strict=True)
        output = tuple(geometry.output_size(*values) for values in axes)
        if min(output) < 1:
            padded = ""
            if any(map(max, amounts)):
                grown = tuple(size + sum(amount) for size, amount in zip(sizes, amounts, strict=True))
                padded = f", {format_shape(grown)} with its padding"
            raise ShapeError(
                f"{window_text(self.window, self.dilation)} does not fit the {format_shape(sizes)} input "
                f"this layer receives{padded} (here: {format_shape(input_shape)}); use a smaller window, "
                f"`padding: same`, or shrink the {THINGS[self.axes]} less before",
                argument=self.window_argument,
            )
        return output

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.shape_of(self.output_spatial(input_shape), self.output_filters(input_shape))

    def tensors(self, input_shape: Shape) -> Iterator[tuple[str, Shape]]:
        yield from super().tensors(input_shape)
        amounts = self.explicit_padding()
        if amounts is not None:
            yield f"{THINGS[self.axes]} with its padding", self.padded_shape(input_shape, amounts)

    def padded_shape(self, input_shape: Shape, amounts: Amounts) -> Shape:
        """What the sub-model that pads an image hands to the layer inside it."""
        sizes = [size + sum(amount) for size, amount in zip(self.sizes(input_shape), amounts, strict=True)]
        return self.shape_of(sizes, self.channels(input_shape))

    def input_range(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        before = self.padding_amounts(input_shape)[axis][0]
        return geometry.convolution_range(low, high, self.window[axis], self.step[axis], before, self.dilation[axis])

    def turn(self, axis: int, input_shape: Shape) -> tuple[int, int]:
        return 1, self.step[axis]

    def warnings(self, input_shape: Shape) -> tuple[str, ...]:
        """Rows and columns of the image that no window reads."""
        return self.skips(input_shape) + self.drops(input_shape)

    def skips(self, input_shape: Shape) -> tuple[str, ...]:
        """A text for the rows and columns that a stride larger than the window passes over."""
        skipped: dict[str, list[int]] = {}
        for axis, values in enumerate(self._windows(input_shape)):
            size, window, stride, _, dilation = values
            count = geometry.unread(*values)
            if not count or not geometry.passes_over(window, stride, dilation):
                continue
            cause = f"the stride {stride} is larger than the window {window}"
            if dilation > 1:
                cause = f"with stride {stride} and dilation {dilation}, all windows of {window} read the same places"
            text = f"{cause}: of {size} {{}}, {size - count} are read, the others by nothing"
            skipped.setdefault(text, []).append(axis)
        return tuple(text.format(self._lines(axes, plural=True)) for text, axes in skipped.items())

    def drops(self, input_shape: Shape) -> tuple[str, ...]:
        """A text for the last rows and columns that are left over because the stride does not divide evenly."""
        dropped: dict[tuple[int, int, str], list[int]] = {}
        for axis, values in enumerate(self._windows(input_shape)):
            _, window, stride, (_, after), dilation = values
            rest = geometry.dropped(*values)
            # What is left over only of the padding is no loss.
            if rest > after and not geometry.passes_over(window, stride, dilation):
                dropped.setdefault((rest, after, geometry.size_arithmetic(*values)), []).append(axis)
        return tuple(
            f"the stride does not divide evenly: {arithmetic}; Keras drops the last {rest} "
            f"{self._lines(axes, plural=rest > 1)}{f', {after} of them padding' if after else ''}"
            for (rest, after, arithmetic), axes in dropped.items()
        )

    def _windows(self, input_shape: Shape) -> list[tuple[int, int, int, geometry.Amount, int]]:
        """Size, window, stride, padding and dilation along each spatial axis."""
        sizes, amounts = self.sizes(input_shape), self.padding_amounts(input_shape)
        return list(zip(sizes, self.window, self.step, amounts, self.dilation, strict=True))

    def _lines(self, axes: list[int], *, plural: bool) -> str:
        return " and ".join(LINES[self.axes][axis] + ("s" if plural else "") for axis in axes)

    def calls(self) -> tuple[Call, ...]:
        amounts = self.explicit_padding()
        (call,) = super().calls()
        if isinstance(self.padding, str) and amounts is None:
            return (call,)
        call = replace(call, arguments=tuple(one for one in call.arguments if one.name != "padding"))
        return (call,) if amounts is None else self.padded_calls(call, amounts)

    def padded_calls(self, call: Call, amounts: Amounts) -> tuple[Call, ...]:
        """`calls` with explicit padding, given the call without it."""
        return self.edge_call(f"ZeroPadding{self.axes}D", "padding", amounts), call

    def edge_call(self, layer: str, argument: str, amounts: Amounts) -> Call:
        """A layer that adds rows and columns on each side, or takes them away."""
        arguments = [Argument(argument, as_argument(argument, amounts))]
        if layer in _WITH_DATA_FORMAT:
            arguments.append(Argument("data_format", self.data_format, None))
        return Call(f"layers.{layer}", tuple(arguments), argument)

    def build(self, scope: Scope) -> Any:
        """The Keras layer; with explicit padding, a sub-model of stock layers that pads first."""
        amounts = self.explicit_padding()
        arguments = self.keras_arguments(scope)
        if amounts is not None:
            return self.build_padded(scope, arguments | {"padding": "valid"}, amounts)
        if not isinstance(self.padding, str):
            arguments["padding"] = "valid"
        return self.keras_layer(arguments)

    def keras_layer(self, arguments: dict[str, Any]) -> Any:
        import keras

        return getattr(keras.layers, type(self).__name__)(**arguments)

    def build_padded(self, scope: Scope, arguments: dict[str, Any], amounts: Amounts) -> Any:
        """A Sequential of Keras' zero padding and the layer without padding."""
        import keras

        name, dtype = arguments["name"], arguments["dtype"]
        pad = self.edge_layer("ZeroPadding", amounts, "zero_padding", dtype)
        inner = self.keras_layer(arguments | {"name": "padded"})
        inputs = keras.Input(scope.keras_shape, dtype=compute_dtype(dtype))
        return keras.Sequential([inputs, pad, inner], trainable=self.trainable, name=name)

    def edge_layer(self, kind: str, amounts: Amounts, name: str, dtype: Any) -> Any:
        """Keras' layer of this number of axes that adds positions on each side, or cuts them off."""
        import keras

        kind = f"{kind}{self.axes}D"
        sides = amounts[0] if self.axes == 1 else [list(amount) for amount in amounts]
        order = {"data_format": self.data_format} if kind in _WITH_DATA_FORMAT else {}
        return getattr(keras.layers, kind)(sides, dtype=dtype, name=name, **order)
