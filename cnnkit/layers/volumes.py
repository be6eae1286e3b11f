"""The layers of three axes, for volumes such as scans, or images over time."""

from typing import ClassVar

from pydantic import Field

from cnnkit.format.fields import DataFormat, Sizes3D
from cnnkit.layers.convolution import Convolution, PlainConvolution, TransposedConvolution
from cnnkit.layers.dropout import SpatialDropout
from cnnkit.layers.pooling import AveragePooling, GlobalPooling, MaxPooling, Pooling
from cnnkit.layers.resampling import Cropping, UpSampling, ZeroPadding
from cnnkit.layers.window import Amounts3D, FromZero3D, Padding3D, WindowedLayer

_DATA_FORMAT = "Order of the axes: channels_last (depth, height, width, channels; the default) or channels_first."
_WINDOW = "The window's [depth, height, width], from 1."
_AMOUNTS = "a number, [depth, height, width] or [[front, back], [top, bottom], [left, right]], from 0."


class VolumeWindow(WindowedLayer):
    """A window that moves through a volume."""

    axes: ClassVar[int] = 3

    padding: Padding3D = Field(
        default="valid",
        description="Slices, rows and columns added around the volume: `valid` none; `same` enough for an output of "
        f"input / stride; `full` dilation x (window - 1) on each side; {_AMOUNTS}",
    )
    data_format: DataFormat | None = Field(default=None, description=_DATA_FORMAT)


class VolumeConvolution(VolumeWindow, Convolution):
    """What convolutions of volumes share."""

    kernel_size: Sizes3D = Field(description=_WINDOW)
    strides: Sizes3D = Field(default=(1, 1, 1), description="The window's steps along [depth, height, width], from 1.")
    dilation_rate: Sizes3D = Field(
        default=(1, 1, 1),
        description="Distance between the window's taps along [depth, height, width], from 1 (dense).",
    )


class Conv3D(VolumeConvolution, PlainConvolution):
    """Slides K filters through a volume: D' = (D - F + 2P)/S + 1 and K(F^3 C + 1) parameters."""


class Conv3DTranspose(VolumeConvolution, TransposedConvolution):
    """The transposed convolution, which enlarges a volume by its stride: D' = (D - 1)S + F - 2P.

    Explicit padding crops the result, so that it undoes a convolution with that padding.
    """

    output_padding: FromZero3D | None = Field(
        default=None,
        description="Slices, rows and columns added at the output's end, a number or [depth, height, width], each from "
        "0 to below the stride; by default as many as `same` needs for input x stride.",
    )


class VolumePooling(VolumeWindow, Pooling):
    """What the windowed poolings of volumes share."""

    strides: Sizes3D | None = Field(
        default=None,
        description="The window's steps along [depth, height, width], from 1; by default the window's size.",
    )


class MaxPooling3D(VolumePooling, MaxPooling):
    """The maximum of each window of a volume. Explicit padding never wins: it is minus infinity."""

    pool_size: Sizes3D = Field(default=(2, 2, 2), description=_WINDOW)


class AveragePooling3D(VolumePooling, AveragePooling):
    """The mean of each window of a volume. `same` leaves padding out of the mean, explicit padding counts as zeros."""

    pool_size: Sizes3D = Field(description=_WINDOW)


class GlobalVolumePooling(GlobalPooling):
    """What the global poolings of volumes share."""

    axes: ClassVar[int] = 3

    data_format: DataFormat | None = Field(default=None, description=_DATA_FORMAT)
    keepdims: bool = Field(default=False, description="Whether depth, height and width stay, with size 1.")


class GlobalMaxPooling3D(GlobalVolumePooling):
    """The maximum of each channel of a volume."""


class GlobalAveragePooling3D(GlobalVolumePooling):
    """The mean of each channel of a volume."""


class UpSampling3D(UpSampling):
    """Repeats each position of a volume along each axis."""

    axes: ClassVar[int] = 3

    size: Sizes3D = Field(default=(2, 2, 2), description="Factors for [depth, height, width], from 1.")
    data_format: DataFormat | None = Field(default=None, description=_DATA_FORMAT)


class ZeroPadding3D(ZeroPadding):
    """Adds slices, rows and columns of zeros."""

    axes: ClassVar[int] = 3

    padding: Amounts3D = Field(
        default=((1, 1), (1, 1), (1, 1)), description=f"Slices, rows and columns added: {_AMOUNTS}"
    )
    data_format: DataFormat | None = Field(default=None, description=_DATA_FORMAT)


class Cropping3D(Cropping):
    """Cuts slices, rows and columns off."""

    axes: ClassVar[int] = 3

    cropping: Amounts3D = Field(
        default=((1, 1), (1, 1), (1, 1)), description=f"Slices, rows and columns cut: {_AMOUNTS}"
    )
    data_format: DataFormat | None = Field(default=None, description=_DATA_FORMAT)


class SpatialDropout3D(SpatialDropout):
    """Drops whole channels of a volume."""

    axes: ClassVar[int] = 3

    data_format: DataFormat | None = Field(default=None, description=_DATA_FORMAT)
