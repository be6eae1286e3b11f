"""What convolutions and poolings share: a window that moves over the image, and its padding."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema

from cnnkit.format.base import describe, invalid
from cnnkit.format.fields import LARGEST_SIDE, DataFormat, is_whole, list_schema, whole_schema
from cnnkit.format.script import Argument, Call
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.format.similar import suggestion
from cnnkit.layers import geometry
from cnnkit.layers.base import Layer, Scope, as_argument, channels, image_shape, spatial

#: ((top, bottom), (left, right)), in pixels.
Amounts = tuple[geometry.Amount, geometry.Amount]

_PAIRS = f"a whole number, [height, width], or [[top, bottom], [left, right]], all from 0 to {LARGEST_SIDE:,}"


def to_pair(value: Any) -> geometry.Amount | None:
    """A whole number from 0 to LARGEST_SIDE, or two, as two; None for anything else."""
    items = [value, value] if is_whole(value) else value
    if isinstance(items, list | tuple) and len(items) == 2 and all(is_whole(i, 0, LARGEST_SIDE) for i in items):
        return (items[0], items[1])
    return None


def _pair_from_zero(value: Any) -> geometry.Amount:
    pair = to_pair(value)
    if pair is None:
        raise invalid(
            f"expected a whole number from 0 to {LARGEST_SIDE:,}, or a list [height, width] of two, "
            f"got {describe(value)}"
        )
    return pair


def to_amounts(value: Any) -> Amounts | None:
    """Rows and columns on each side as Keras writes them; None for anything else."""

    sides = [value, value] if is_whole(value) else value
    if not isinstance(sides, list | tuple) or len(sides) != 2:
        return None
    height, width = to_pair(sides[0]), to_pair(sides[1])
    return (height, width) if height is not None and width is not None else None


def _amounts(value: Any) -> Amounts:
    amounts = to_amounts(value)
    if amounts is None:
        raise invalid(f"expected {_PAIRS}, got {describe(value)}")
    return amounts


def _padding(value: Any) -> str | Amounts:
    names = ("valid", "same", "full")
    if isinstance(value, str):
        if value in names:
            return value
        raise invalid(f"unknown padding `{value}`{suggestion(value, names)}")
    amounts = to_amounts(value)
    if amounts is None:
        raise invalid(f"expected `valid`, `same`, `full`, {_PAIRS}, got {describe(value)}")
    return amounts


_SIZE = whole_schema(0, LARGEST_SIDE)
_TWO_SIZES = list_schema(_SIZE, 2, 2)
_SIDES = list_schema({"anyOf": [_SIZE, _TWO_SIZES]}, 2, 2)

#: One whole number from 0 for both axes, or [height, width]; held as (height, width).
PairFromZero = Annotated[
    tuple[int, int],
    PlainValidator(_pair_from_zero),
    WithJsonSchema({"anyOf": [_SIZE, _TWO_SIZES]}),
]

#: Rows and columns on each side; held as ((top, bottom), (left, right)).
AmountsField = Annotated[Amounts, PlainValidator(_amounts), WithJsonSchema({"anyOf": [_SIZE, _SIDES]})]

#: `valid`, `same`, `full`, or rows and columns on each side.
PaddingField = Annotated[
    str | Amounts,
    PlainValidator(_padding),
    WithJsonSchema({"anyOf": [{"enum": ["valid", "same", "full"]}, _SIZE, _SIDES]}),
]

DATA_FORMAT = "Order of the axes: channels_last (height, width, channels; the default) or channels_first."


def compute_dtype(dtype: str | None) -> str:
    """The dtype in which a Keras layer with this dtype policy computes."""
    import keras

    return str(keras.dtype_policies.get(dtype).compute_dtype)


def window_text(window: tuple[int, int], dilation: tuple[int, int]) -> str:
    text = f"a {format_shape(window)} window"
    if dilation == (1, 1):
        return text
    span = [geometry.effective_window(f, d) for f, d in zip(window, dilation, strict=True)]
    return f"{text} with dilation {format_shape(dilation)} spans {format_shape(tuple(span))} and"


def _rows_and_columns(axes: list[int], *, plural: bool) -> str:
    return " and ".join(("row", "column")[axis] + ("s" if plural else "") for axis in axes)


class WindowedLayer(Layer):
    """A layer whose output positions each see a window of the input, W' = (W - F + 2P)/S + 1 of them."""

    #: The argument that holds the window's size.
    window_argument: ClassVar[str]

    padding: PaddingField = Field(
        default="valid",
        description="Rows and columns added around the image: `valid` none; `same` enough for an output of "
        "input / stride; `full` dilation x (window - 1) on each side; a number, [height, width] or "
        "[[top, bottom], [left, right]], from 0.",
    )
    data_format: DataFormat | None = Field(default=None, description=DATA_FORMAT)

    @property
    def window(self) -> tuple[int, int]:
        size: tuple[int, int] = getattr(self, self.window_argument)
        return size

    @property
    def step(self) -> tuple[int, int]:
        """The stride along height and width."""
        strides: tuple[int, int] | None = getattr(self, "strides")  # noqa: B009 (declared by subclasses)
        return self.window if strides is None else strides

    @property
    def dilation(self) -> tuple[int, int]:
        rate: tuple[int, int] = getattr(self, "dilation_rate", (1, 1))
        return rate

    def explicit_padding(self) -> Amounts | None:
        """The padding that cnnkit adds itself; None where Keras does it (`valid`, `same`)."""
        if self.padding == "full":
            (fh, fw), (dh, dw) = self.window, self.dilation
            return geometry.full_padding(fh, dh), geometry.full_padding(fw, dw)
        if isinstance(self.padding, str) or self.padding == ((0, 0), (0, 0)):
            return None
        return self.padding

    def padding_amounts(self, input_shape: Shape) -> Amounts:
        """How many rows and columns are added on each side of an input."""
        if self.padding == "same":
            height, width = (
                geometry.same_padding(*values)
                for values in zip(
                    spatial(input_shape, self.data_format), self.window, self.step, self.dilation, strict=True
                )
            )
            return height, width
        return self.explicit_padding() or ((0, 0), (0, 0))

    def output_filters(self, input_shape: Shape) -> int:
        """The number of channels that leave the layer."""
        return input_shape[0] if self.data_format == "channels_first" else input_shape[-1]

    def output_spatial(self, input_shape: Shape) -> tuple[int, int]:
        """The output's height and width.

        Raises:
            ShapeError: if the window does not fit the padded input.
        """
        sizes = spatial(input_shape, self.data_format)
        amounts = self.padding_amounts(input_shape)
        height, width = (
            geometry.output_size(size, window, stride, amount, dilation)
            for size, window, stride, amount, dilation in zip(
                sizes, self.window, self.step, amounts, self.dilation, strict=True
            )
        )
        if height < 1 or width < 1:
            padded = ""
            if amounts != ((0, 0), (0, 0)):
                grown = tuple(size + sum(amount) for size, amount in zip(sizes, amounts, strict=True))
                padded = f", {format_shape(grown)} with its padding"
            raise ShapeError(
                f"{window_text(self.window, self.dilation)} does not fit the {format_shape(sizes)} input "
                f"this layer receives{padded} (here: {format_shape(input_shape)}); use a smaller window, "
                "`padding: same`, or shrink the image less before",
                argument=self.window_argument,
            )
        return height, width

    def output_shape(self, input_shape: Shape) -> Shape:
        height, width = self.output_spatial(input_shape)
        return image_shape(height, width, self.output_filters(input_shape), self.data_format)

    def tensors(self, input_shape: Shape) -> Iterator[tuple[str, Shape]]:
        yield from super().tensors(input_shape)
        amounts = self.explicit_padding()
        if amounts is not None:
            yield "image with its padding", self.padded_shape(input_shape, amounts)

    def padded_shape(self, input_shape: Shape, amounts: Amounts) -> Shape:
        """What the sub-model that pads an image hands to the layer inside it."""
        height, width = (
            size + sum(amount) for size, amount in zip(spatial(input_shape, self.data_format), amounts, strict=True)
        )
        return image_shape(height, width, channels(input_shape, self.data_format), self.data_format)

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
        return tuple(text.format(_rows_and_columns(axes, plural=True)) for text, axes in skipped.items())

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
            f"{_rows_and_columns(axes, plural=rest > 1)}{f', {after} of them padding' if after else ''}"
            for (rest, after, arithmetic), axes in dropped.items()
        )

    def _windows(self, input_shape: Shape) -> list[tuple[int, int, int, geometry.Amount, int]]:
        """Size, window, stride, padding and dilation along height and along width."""
        sizes, amounts = spatial(input_shape, self.data_format), self.padding_amounts(input_shape)
        return list(zip(sizes, self.window, self.step, amounts, self.dilation, strict=True))

    def calls(self) -> tuple[Call, ...]:
        amounts = self.explicit_padding()
        (call,) = super().calls()
        if isinstance(self.padding, str) and amounts is None:
            return (call,)
        call = replace(call, arguments=tuple(one for one in call.arguments if one.name != "padding"))
        return (call,) if amounts is None else self.padded_calls(call, amounts)

    def padded_calls(self, call: Call, amounts: Amounts) -> tuple[Call, ...]:
        """`calls` with explicit padding, given the call without it."""
        return self.edge_call("ZeroPadding2D", "padding", amounts), call

    def edge_call(self, layer: str, argument: str, amounts: Amounts) -> Call:
        """A layer that adds rows and columns on each side, or takes them away."""
        data_format = Argument("data_format", self.data_format, None)
        return Call(f"layers.{layer}", (Argument(argument, as_argument(argument, amounts)), data_format), argument)

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
        """A Sequential of ZeroPadding2D and the layer without padding."""
        import keras

        name, dtype = arguments["name"], arguments["dtype"]
        pad = keras.layers.ZeroPadding2D(
            [list(amount) for amount in amounts],
            data_format=self.data_format,
            dtype=dtype,
            name="zero_padding",
        )
        inner = self.keras_layer(arguments | {"name": "padded"})
        inputs = keras.Input(scope.keras_shape, dtype=compute_dtype(dtype))
        return keras.Sequential([inputs, pad, inner], trainable=self.trainable, name=name)
