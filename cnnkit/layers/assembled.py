"""Layers that everybody assembles from others: each becomes a small named model of Keras' layers."""

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from cnnkit.format.base import invalid
from cnnkit.format.fields import DataFormat, Fraction, Number, PositiveInteger
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.layers import LAYERS
from cnnkit.layers.base import Layer, Names
from cnnkit.layers.core import Reshape
from cnnkit.layers.dropout import Dropout
from cnnkit.layers.initializers import GLOROT_UNIFORM
from cnnkit.layers.other_initializers import Constant
from cnnkit.layers.resolved import Part, Resolved
from cnnkit.layers.spatial import channels
from cnnkit.layers.stack import trace
from cnnkit.layers.weights import ActivationField, InitializerField, refuse_seed
from cnnkit.layers.window import DATA_FORMAT


class StochasticDepth(Layer):
    """Drops all that the layers before compute of an image, with a probability (Huang et al. 2016, arXiv:1603.09382).

    The last layer of the main path of a `Residual`, whose shortcut is then all that is left. In training, each image
    of a batch draws for itself, and what stays is divided by 1 - rate; in inference, everything passes. Also called
    drop path.
    """

    leading: ClassVar[str | None] = "rate"
    example: ClassVar[str] = """\
- Repeat:                                 # the deeper, the more often
    times: 6
    layers:
      - Residual: [Conv2D: {filters: $channels, kernel_size: 3, padding: same}, StochasticDepth: 0.1 * $index / $times]
"""

    rate: Fraction = Field(description="Probability of being dropped, 0..1.")

    _no_seed = model_validator(mode="before")(refuse_seed)

    def resolve(self, names: Names, input_shape: Shape) -> Layer:
        noise_shape = [None, *(1 for _ in input_shape)]
        return _in_order(self, [Dropout(rate=self.rate, noise_shape=noise_shape)], names, input_shape)


class LayerScale(Layer):
    """Multiplies each channel by a learned factor (Touvron et al. 2021, arXiv:2103.17239).

    The last layer of the main path of a `Residual`, before StochasticDepth: with factors near 0, a deep network begins
    as the identity. The factors are the kernel of a depthwise convolution of 1x1.
    """

    leading: ClassVar[str | None] = "init_values"
    example: ClassVar[str] = """\
- Residual:                               # a block of ConvNeXt
    - DepthwiseConv2D: {kernel_size: 7, padding: same}
    - LayerNormalization: {epsilon: 1.0e-6}
    - Dense: {units: $channels * 4, activation: gelu}
    - Dense: $channels // 4
    - LayerScale: 1.0e-6
"""
    only_scales: ClassVar[bool] = True

    init_values: Number = Field(default=1e-6, description="What the factors start from.")
    data_format: DataFormat | None = Field(default=None, description=DATA_FORMAT)

    def resolve(self, names: Names, input_shape: Shape) -> Layer:
        axes = len(input_shape) - 1
        start: Any = Constant(value=self.init_values)
        arguments: dict[str, Any] = {"use_bias": False, "depthwise_initializer": start}
        if axes in (1, 2):
            arguments |= {"kernel_size": (1,) * axes, "data_format": self.data_format}
            return _in_order(self, [_of_axes("DepthwiseConv", axes, arguments)], names, input_shape)
        if self.data_format == "channels_first":
            raise ShapeError(f"channels come last in {format_shape(input_shape)}", "data_format")
        as_image = Reshape(target_shape=(-1, 1, input_shape[-1]))
        scale = _of_axes("DepthwiseConv", 2, arguments | {"kernel_size": (1, 1)})
        return _in_order(self, [as_image, scale, Reshape(target_shape=input_shape)], names, input_shape)


class SqueezeExcite(Layer):
    """Multiplies each channel by a gate, 0 to 1, that all channels' means decide (Hu et al. 2017, arXiv:1709.01507).

    Global average pooling, a layer of fewer units with `activation`, one of as many as there are channels with
    `gate_activation`; both are convolutions of 1x1.
    """

    leading: ClassVar[str | None] = "ratio"
    example: ClassVar[str] = """\
- Residual:                               # of SE-ResNet: the gate ends the main path
    activation: relu
    layers:
      - Conv2D: {filters: $channels, kernel_size: 3, padding: same, use_bias: false}
      - BatchNormalization
      - SqueezeExcite: 16
"""

    ratio: PositiveInteger = Field(
        default=16, description="The inner layer has channels // ratio units, and 1 at least."
    )
    units: PositiveInteger | None = Field(default=None, description="Units of the inner layer, instead of `ratio`.")
    activation: ActivationField = Field(default="relu", description="Activation of the inner layer.")
    gate_activation: ActivationField = Field(default="sigmoid", description="Activation of the gate.")
    use_bias: bool = Field(default=True, description="Whether both layers add a bias.")
    kernel_initializer: InitializerField = Field(default=GLOROT_UNIFORM, description="How both layers' kernels start.")
    data_format: DataFormat | None = Field(default=None, description=DATA_FORMAT)

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if self.units is not None and "ratio" in self.model_fields_set:
            raise invalid("`ratio` and `units` both say how large the inner layer is; leave one out")
        return self

    def resolve(self, names: Names, input_shape: Shape) -> Layer:
        axes = len(input_shape) - 1
        if axes not in (1, 2, 3):
            raise ShapeError(
                "this layer needs an image, a signal or a volume, with channels, but receives "
                f"{format_shape(input_shape)}"
            )
        count = channels(input_shape, self.data_format)
        inner = self.units or max(1, count // self.ratio)
        gate = [_of_axes("GlobalAveragePooling", axes, {"data_format": self.data_format, "keepdims": True})]
        for filters, activation in ((inner, self.activation), (count, self.gate_activation)):
            arguments = {
                "filters": filters,
                "kernel_size": (1,) * axes,
                "activation": activation,
                "use_bias": self.use_bias,
                "kernel_initializer": self.kernel_initializer,
                "data_format": self.data_format,
            }
            gate.append(_of_axes("Conv", axes, arguments))
        passed_on = Part("identity", (), (), implied=True)
        return Resolved.of(
            self, [passed_on, Part.of("gate", trace(gate, input_shape, names), implied=True)], "multiply"
        )


def _of_axes(name: str, axes: int, arguments: dict[str, Any]) -> Layer:
    """A layer for signals, images or volumes: of 1, 2 or 3 axes."""
    cls = LAYERS.get(f"{name}{axes}D")
    assert cls is not None
    assert issubclass(cls, Layer)
    return cls(**arguments)


def _in_order(written: Layer, layers: list[Layer], names: Names, input_shape: Shape) -> Layer:
    return Resolved.of(written, [Part.of("layers", trace(layers, input_shape, names), implied=True)])
