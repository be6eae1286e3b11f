"""The convolution layers. A filter of size F over C channels has F^2 C weights and one bias.

What they have in common with those of signals and volumes (`signals.py`, `volumes.py`) is written once, for any number
of axes; the fields here are those of images.
"""

import math
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from cnnkit.format.base import describe, invalid
from cnnkit.format.fields import Dimension, PositiveInteger, Sizes2D
from cnnkit.format.script import Call
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.layers import geometry
from cnnkit.layers.activated import with_function
from cnnkit.layers.base import Layer, Names, Scope, Weight
from cnnkit.layers.initializers import GLOROT_UNIFORM, ZEROS
from cnnkit.layers.receptive_field import Bounds
from cnnkit.layers.weights import (
    ACTIVATION_OF_OUTPUT,
    ActivationField,
    ConstraintField,
    InitializerField,
    RegularizerField,
    check_weight_objects,
)
from cnnkit.layers.window import Amounts, FromZero2D, WindowedLayer, compute_dtype

_FILTERS = "Number of filters, which is the number of output channels: a whole number from 1, or `classes`."
#: What fills a register of AVX-512, as float32.
_FEWEST_SAFE_CHANNELS = 16
_DILATION = "Distance between the window's taps along [height, width], from 1 (dense)."


class Convolution(WindowedLayer):
    """What all convolutions share."""

    window_argument: ClassVar[str] = "kernel_size"
    #: The argument prefixes of its kernels.
    kernels: ClassVar[tuple[str, ...]] = ("kernel",)

    kernel_size: Sizes2D = Field(description="The window's [height, width], from 1.")
    strides: Sizes2D = Field(default=(1, 1), description="The window's steps along [height, width], from 1.")
    dilation_rate: Sizes2D = Field(default=(1, 1), description=_DILATION)
    activation: ActivationField | None = Field(default=None, description=ACTIVATION_OF_OUTPUT)
    use_bias: bool = Field(default=True, description="Whether each filter adds a bias.")
    bias_initializer: InitializerField = Field(default=ZEROS, description="How the bias starts.")
    bias_regularizer: RegularizerField | None = Field(default=None, description="Penalty on the bias.")
    activity_regularizer: RegularizerField | None = Field(default=None, description="Penalty on the output.")
    bias_constraint: ConstraintField | None = Field(default=None, description="Constraint on the bias.")

    @model_validator(mode="after")
    def _weight_objects(self) -> Self:
        # A kernel has two axes of channels, an output one of channels and that of the batch.
        check_weight_objects(self, {"bias": 1} | dict.fromkeys((*self.kernels, "activity"), self.axes + 2))
        return self

    def resolve(self, names: Names, input_shape: Shape) -> Layer:
        return with_function(super().resolve(names, input_shape), names, input_shape)

    @property
    def output_activation(self) -> str | None:
        return None if self.activation == "linear" else self.activation

    def with_bias(self, filters: int, *kernels: Weight) -> tuple[Weight, ...]:
        return (*kernels, Weight("bias", (filters,))) if self.use_bias else kernels


def refuse_strided_dilation(layer: Convolution) -> None:
    """Keras has no convolution that is strided and dilated at once."""
    if max(layer.strides) > 1 and max(layer.dilation_rate) > 1:
        raise invalid(
            f"strides {list(layer.strides)} and dilation_rate {list(layer.dilation_rate)} do not work "
            "together; Keras wants one of them to be 1"
        )


class KernelConvolution(Convolution):
    """A convolution with one kernel, over all channels."""

    leading: ClassVar[str | None] = "filters"

    filters: Dimension = Field(description=_FILTERS)
    kernel_initializer: InitializerField = Field(default=GLOROT_UNIFORM, description="How the kernel starts.")
    kernel_regularizer: RegularizerField | None = Field(default=None, description="Penalty on the kernel.")
    kernel_constraint: ConstraintField | None = Field(default=None, description="Constraint on the kernel.")

    @model_validator(mode="after")
    def _strides_or_dilation(self) -> Self:
        refuse_strided_dilation(self)
        return self

    def output_filters(self, input_shape: Shape) -> int:
        return int(self.filters)

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        # Each output channel sees all input channels.
        return self._spatial_axis(axis, input_shape) is None


class PlainConvolution(KernelConvolution):
    """What Conv1D, Conv2D and Conv3D share."""

    groups: PositiveInteger = Field(
        default=1,
        description="Number of channel groups that are convolved apart; divides filters and input channels.",
    )

    @model_validator(mode="after")
    def _groups(self) -> Self:
        if not isinstance(self.filters, str) and int(self.filters) % self.groups:
            raise invalid(f"`groups` ({self.groups}) must divide `filters` ({self.filters})")
        return self

    def output_shape(self, input_shape: Shape) -> Shape:
        self.sizes(input_shape)
        for size, what in (
            (self.channels(input_shape), "input channels"),
            (int(self.filters), "filters"),
        ):
            if size % self.groups:
                raise ShapeError(
                    f"{self.groups} groups do not divide the {size} {what} (here: {format_shape(input_shape)})",
                    argument="groups",
                )
        return super().output_shape(input_shape)

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        inputs = self.channels(input_shape) // self.groups
        return self.with_bias(int(self.filters), Weight("kernel", (*self.window, inputs, int(self.filters))))

    def macs(self, input_shape: Shape) -> int:
        """H' W' F^2 (C / groups) K; the bias is not counted."""
        return math.prod(self.output_spatial(input_shape)) * self.variables(input_shape)[0].size

    def needs_xla_on_cpu(self) -> bool:
        # Grouped convolutions compile themselves with XLA inside Keras, and those of volumes have their axes turned.
        return self.data_format == "channels_first" and self.groups == 1 and self.axes < 3

    def breaks_onednn(self, input_shape: Shape) -> bool:
        # The gradient of such a kernel does so with AVX-512, for batches of odd sizes.
        is_strided_point = max(self.window) == 1 and max(self.strides) > 1
        return is_strided_point and self.channels(input_shape) < _FEWEST_SAFE_CHANNELS


class Conv2D(PlainConvolution):
    """Slides K filters over the image: W' = (W - F + 2P)/S + 1 and K(F^2 C + 1) parameters."""


class DepthwiseConvolution(Convolution):
    """What DepthwiseConv1D and DepthwiseConv2D share."""

    leading: ClassVar[str | None] = "kernel_size"
    kernels: ClassVar[tuple[str, ...]] = ("depthwise",)

    depth_multiplier: PositiveInteger = Field(default=1, description="Filters per input channel, from 1.")
    depthwise_initializer: InitializerField = Field(default=GLOROT_UNIFORM, description="How the kernel starts.")
    depthwise_regularizer: RegularizerField | None = Field(default=None, description="Penalty on the kernel.")
    depthwise_constraint: ConstraintField | None = Field(default=None, description="Constraint on the kernel.")

    def output_filters(self, input_shape: Shape) -> int:
        return self.channels(input_shape) * self.depth_multiplier

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return self.depth_multiplier > 1 and self._spatial_axis(axis, input_shape) is None

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        kernel = (*self.window, self.channels(input_shape), self.depth_multiplier)
        return self.with_bias(self.output_filters(input_shape), Weight("kernel", kernel))

    def macs(self, input_shape: Shape) -> int:
        """H' W' F^2 C times the depth multiplier; the bias is not counted."""
        return math.prod(self.output_spatial(input_shape)) * self.variables(input_shape)[0].size

    def needs_xla_on_cpu(self) -> bool:
        return unequal_strides_die(self)


class DepthwiseConv2D(DepthwiseConvolution):
    """Convolves each channel with its own filters, without mixing channels."""


class SeparableConvolution(Convolution):
    """What SeparableConv1D and SeparableConv2D share."""

    leading: ClassVar[str | None] = "filters"
    kernels: ClassVar[tuple[str, ...]] = ("depthwise", "pointwise")

    filters: Dimension = Field(description=_FILTERS)
    depth_multiplier: PositiveInteger = Field(default=1, description="Depthwise filters per input channel, from 1.")
    depthwise_initializer: InitializerField = Field(
        default=GLOROT_UNIFORM, description="How the depthwise kernel starts."
    )
    pointwise_initializer: InitializerField = Field(
        default=GLOROT_UNIFORM, description="How the pointwise kernel starts."
    )
    depthwise_regularizer: RegularizerField | None = Field(default=None, description="Penalty on the depthwise kernel.")
    pointwise_regularizer: RegularizerField | None = Field(default=None, description="Penalty on the pointwise kernel.")
    depthwise_constraint: ConstraintField | None = Field(
        default=None, description="Constraint on the depthwise kernel."
    )
    pointwise_constraint: ConstraintField | None = Field(
        default=None, description="Constraint on the pointwise kernel."
    )

    def output_filters(self, input_shape: Shape) -> int:
        return int(self.filters)

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        # Each output channel sees all input channels.
        return self._spatial_axis(axis, input_shape) is None

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        inputs = self.channels(input_shape)
        return self.with_bias(
            int(self.filters),
            Weight("depthwise_kernel", (*self.window, inputs, self.depth_multiplier)),
            Weight("pointwise_kernel", (*(1,) * self.axes, inputs * self.depth_multiplier, int(self.filters))),
        )

    def macs(self, input_shape: Shape) -> int:
        """H' W' (F^2 C M + C M K), M being the depth multiplier; the bias is not counted."""
        depthwise, pointwise = self.variables(input_shape)[:2]
        return math.prod(self.output_spatial(input_shape)) * (depthwise.size + pointwise.size)

    def needs_xla_on_cpu(self) -> bool:
        return unequal_strides_die(self)


class SeparableConv2D(SeparableConvolution):
    """A depthwise convolution, then a 1x1 one that mixes the channels (Chollet 2017, arXiv:1610.02357)."""


def unequal_strides_die(layer: Convolution) -> bool:
    """Whether a depthwise convolution's strides stop its training on a CPU without XLA.

    Dilated ones are safe: Keras runs those at stride 1 and takes every S-th position.
    """
    return len(set(layer.strides)) > 1 and max(layer.dilation_rate) == 1


class TransposedConvolution(KernelConvolution):
    """What Conv1DTranspose, Conv2DTranspose and Conv3DTranspose share."""

    output_padding: FromZero2D | None = Field(
        default=None,
        description="Rows and columns added at the output's end, a number or [height, width], each from 0 to "
        "below the stride; by default as many as `same` needs for input x stride.",
    )

    @model_validator(mode="after")
    def _output_padding(self) -> Self:
        if self.output_padding is None:
            return self
        for axis, (extra, stride) in enumerate(zip(self.output_padding, self.strides, strict=True)):
            if extra >= stride:
                raise invalid(f"`output_padding` ({extra}) must be below the stride ({stride})")
            span = geometry.effective_window(self.window[axis], self.dilation[axis])
            if self.padding == "same" and extra == 0 and span % 2 == 0:
                raise invalid(
                    f"`output_padding: 0` with `padding: same` and an even window ({span}) gives a size that "
                    "TensorFlow refuses; use 1 with a stride above 1, or leave `output_padding` out"
                )
        return self

    def output_spatial(self, input_shape: Shape) -> tuple[int, ...]:
        crop = self.explicit_padding()
        sizes = self.sizes(input_shape)
        output = tuple(
            geometry.transposed_output_size(
                sizes[axis],
                self.window[axis],
                self.strides[axis],
                crop[axis] if crop else "same" if self.padding == "same" else "valid",
                self.output_padding[axis] if self.output_padding else None,
                self.dilation[axis],
            )
            for axis in range(self.axes)
        )
        if min(output) < 1:
            raise ShapeError(
                f"padding {describe(self.padding)} crops more than this layer makes of the "
                f"{format_shape(sizes)} input it receives (here: {format_shape(input_shape)}); the result "
                f"would be {format_shape(output)}",
                argument="padding",
            )
        return output

    def input_range(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        window, stride, dilation = self.window[axis], self.strides[axis], self.dilation[axis]
        return geometry.transposed_range(low, high, window, stride, self._cropped(axis, input_shape), dilation)

    def turn(self, axis: int, input_shape: Shape) -> tuple[int, int]:
        return self.strides[axis], 1

    def bounds(self, axis: int, input_shape: Shape) -> Bounds:
        before, stride = self._cropped(axis, input_shape), self.strides[axis]
        span = geometry.effective_window(self.window[axis], self.dilation[axis])
        return Bounds(1 / stride, (before - span + 1) / stride, before / stride)

    def _cropped(self, axis: int, input_shape: Shape) -> int:
        """Rows or columns that are cut off before the output's first."""
        if self.padding == "same":
            size, output = self.sizes(input_shape)[axis], self.output_spatial(input_shape)[axis]
            return geometry.transposed_crop(size, self.window[axis], self.strides[axis], output, self.dilation[axis])
        crop = self.explicit_padding()
        return crop[axis][0] if crop else 0

    def padded_shape(self, input_shape: Shape, amounts: Amounts) -> Shape:
        """What explicit padding crops."""
        sizes = [size + sum(amount) for size, amount in zip(self.output_spatial(input_shape), amounts, strict=True)]
        return self.shape_of(sizes, int(self.filters))

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        kernel = (*self.window, int(self.filters), self.channels(input_shape))
        return self.with_bias(int(self.filters), Weight("kernel", kernel))

    def macs(self, input_shape: Shape) -> int:
        """H W F^2 C K over the input's H and W; the bias is not counted."""
        return math.prod(self.sizes(input_shape)) * self.variables(input_shape)[0].size

    def skips(self, input_shape: Shape) -> tuple[str, ...]:
        return ()

    def drops(self, input_shape: Shape) -> tuple[str, ...]:
        return ()

    def needs_xla_on_cpu(self) -> bool:
        return self.data_format == "channels_first" or max(self.dilation_rate) > 1

    def padded_calls(self, call: Call, amounts: Amounts) -> tuple[Call, ...]:
        return call, self.edge_call(f"Cropping{self.axes}D", "cropping", amounts)

    def build_padded(self, scope: Scope, arguments: dict[str, Any], amounts: Amounts) -> Any:
        """A Sequential of the layer without padding and Keras' cropping."""
        import keras

        name, dtype = arguments["name"], arguments["dtype"]
        crop = self.edge_layer("Cropping", amounts, "cropping", dtype)
        inner = self.keras_layer(arguments | {"name": "padded"})
        inputs = keras.Input(scope.keras_shape, dtype=compute_dtype(dtype))
        return keras.Sequential([inputs, inner, crop], trainable=self.trainable, name=name)


class Conv2DTranspose(TransposedConvolution):
    """The transposed convolution, which enlarges the image by its stride: W' = (W - 1)S + F - 2P.

    Explicit padding crops the result, so that it undoes a convolution with that padding.
    """
