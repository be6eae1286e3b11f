"""The layers of one axis: for signals, and for texts as positions of vectors. `signal` stands for both."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from cnnkit.format.base import invalid
from cnnkit.format.fields import DataFormat, Sizes1D
from cnnkit.layers.convolution import (
    Convolution,
    DepthwiseConvolution,
    PlainConvolution,
    SeparableConvolution,
    TransposedConvolution,
)
from cnnkit.layers.dropout import SpatialDropout
from cnnkit.layers.pooling import AveragePooling, GlobalPooling, MaxPooling, Pooling
from cnnkit.layers.resampling import Cropping, UpSampling, ZeroPadding
from cnnkit.layers.window import Amounts1D, FromZero1D, Padding1D, WindowedLayer

_DATA_FORMAT = "Order of the axes: channels_last (length, channels; the default) or channels_first."
_WINDOW = "The window's length, from 1."
_AMOUNTS = "a number for both ends, or [before, after], from 0."


class SignalWindow(WindowedLayer):
    """A window that moves along a signal."""

    axes: ClassVar[int] = 1

    padding: Padding1D = Field(
        default="valid",
        description="Positions added around the signal: `valid` none; `same` enough for an output of input / stride; "
        "`full` dilation x (window - 1) at each end; a number for both ends, or [before, after], from 0.",
    )
    data_format: DataFormat | None = Field(default=None, description=_DATA_FORMAT)


class SignalConvolution(SignalWindow, Convolution):
    """What convolutions of signals share."""

    kernel_size: Sizes1D = Field(description=_WINDOW)
    strides: Sizes1D = Field(default=(1,), description="The window's steps, from 1.")
    dilation_rate: Sizes1D = Field(default=(1,), description="Distance between the window's taps, from 1 (dense).")


class Conv1D(SignalConvolution, PlainConvolution):
    """Slides K filters along a signal: L' = (L - F + 2P)/S + 1 and K(F C + 1) parameters."""


class DepthwiseConv1D(SignalConvolution, DepthwiseConvolution):
    """Convolves each channel of a signal with its own filters, without mixing channels."""


class SeparableConv1D(SignalConvolution, SeparableConvolution):
    """A depthwise convolution of a signal, then one of length 1 that mixes the channels."""


class Conv1DTranspose(SignalConvolution, TransposedConvolution):
    """The transposed convolution, which makes a signal longer by its stride: L' = (L - 1)S + F - 2P.

    Explicit padding crops the result, so that it undoes a convolution with that padding.
    """

    output_padding: FromZero1D | None = Field(
        default=None,
        description="Positions added at the output's end, from 0 to below the stride; by default as many as `same` "
        "needs for input x stride.",
    )

    @model_validator(mode="after")
    def _crops_what_comes_first(self) -> Self:
        if self.data_format == "channels_first" and self.explicit_padding() is not None:
            raise invalid(
                "Keras' Cropping1D, by which explicit padding crops, takes the channels to come last; write "
                "`data_format: channels_last`, or `padding: valid` or `same`"
            )
        return self


class SignalPooling(SignalWindow, Pooling):
    """What the windowed poolings of signals share."""

    strides: Sizes1D | None = Field(
        default=None, description="The window's steps, from 1; by default the window's length."
    )


class MaxPooling1D(SignalPooling, MaxPooling):
    """The maximum of each window of a signal. Explicit padding never wins: it is minus infinity."""

    pool_size: Sizes1D = Field(default=(2,), description=_WINDOW)


class AveragePooling1D(SignalPooling, AveragePooling):
    """The mean of each window of a signal. `same` leaves padding out of the mean, explicit padding counts as zeros."""

    pool_size: Sizes1D = Field(description=_WINDOW)


class GlobalSignalPooling(GlobalPooling):
    """What the global poolings of signals share."""

    axes: ClassVar[int] = 1

    data_format: DataFormat | None = Field(default=None, description=_DATA_FORMAT)
    keepdims: bool = Field(default=False, description="Whether the axis of the positions stays, with size 1.")


class GlobalMaxPooling1D(GlobalSignalPooling):
    """The maximum of each channel of a signal, wherever in it (Collobert et al. 2011, max over time)."""


class GlobalAveragePooling1D(GlobalSignalPooling):
    """The mean of each channel of a signal; over the positions that a mask keeps, as after `Embedding` has one."""


class UpSampling1D(UpSampling):
    """Repeats each position of a signal."""

    axes: ClassVar[int] = 1

    size: Sizes1D = Field(default=(2,), description="How often each position is repeated, from 1.")


class ZeroPadding1D(ZeroPadding):
    """Adds zeros at the ends of a signal."""

    axes: ClassVar[int] = 1

    padding: Amounts1D = Field(default=((1, 1),), description=f"Positions added: {_AMOUNTS}")
    data_format: DataFormat | None = Field(default=None, description=_DATA_FORMAT)


class Cropping1D(Cropping):
    """Cuts positions off the ends of a signal."""

    axes: ClassVar[int] = 1

    cropping: Amounts1D = Field(default=((1, 1),), description=f"Positions cut: {_AMOUNTS}")


class SpatialDropout1D(SpatialDropout):
    """Drops whole channels of a signal."""

    axes: ClassVar[int] = 1
