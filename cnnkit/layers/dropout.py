"""The layers that draw at random in training and do nothing in inference."""

from typing import Annotated, Any, ClassVar

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from cnnkit.format.base import describe, invalid
from cnnkit.format.fields import DataFormat, Fraction, Rate, is_whole, list_schema, whole_schema
from cnnkit.format.shapes import Shape, ShapeError
from cnnkit.layers.base import MOST_VALUES, Scope, ShapeLayer
from cnnkit.layers.spatial import SpatialLayer
from cnnkit.layers.weights import refuse_seed
from cnnkit.layers.window import DATA_FORMAT


class RandomLayer(ShapeLayer):
    """A layer that draws at random in training and does nothing in inference."""

    takes_seed: ClassVar[bool] = True

    _no_seed = model_validator(mode="before")(refuse_seed)

    def build(self, scope: Scope) -> Any:
        if not scope.sharing.draws:
            return super().build(scope)
        from cnnkit.layers import shared_draws

        return getattr(shared_draws, type(self).__name__)(**self.keras_arguments(scope))


def _noise_shape(value: Any) -> list[int | None]:
    if isinstance(value, list | tuple) and value and all(v is None or is_whole(v, 1, MOST_VALUES) for v in value):
        if value[0] in (None, 1):
            return list(value)
        raise invalid(f"`noise_shape` starts with the batch axis: null (each image its own) or 1, not {value[0]}")
    raise invalid(f"expected a list of sizes from 1 and nulls, batch axis first, got {describe(value)}")


NoiseShape = Annotated[
    list[int | None],
    PlainValidator(_noise_shape),
    WithJsonSchema(list_schema({"anyOf": [whole_schema(1, MOST_VALUES), {"type": "null"}]})),
]
_NOISE_SHAPE = (
    "Shape of the random mask, batch axis first: 1 where values are dropped together, null for the input's "
    "size. [null, 1, 1, null] drops whole channels."
)


def check_noise_shape(noise_shape: list[int | None] | None, input_shape: Shape) -> None:
    """Raises ShapeError where the mask does not broadcast to the input."""
    if noise_shape is None:
        return
    sizes = noise_shape[1:]
    if len(sizes) != len(input_shape) or any(
        size not in (None, 1, real) for size, real in zip(sizes, input_shape, strict=False)
    ):
        raise ShapeError(
            f"`noise_shape` {noise_shape} does not fit (batch, {', '.join(map(str, input_shape))}): "
            "each size must be 1, null or the input's",
            argument="noise_shape",
        )


class Dropout(RandomLayer):
    """Sets a random share of the values to 0 and scales the rest up (Srivastava et al. 2014)."""

    leading: ClassVar[str | None] = "rate"

    rate: Fraction = Field(description="Share of the values that are dropped, 0..1.")
    noise_shape: NoiseShape | None = Field(default=None, description=_NOISE_SHAPE)

    def output_shape(self, input_shape: Shape) -> Shape:
        check_noise_shape(self.noise_shape, input_shape)
        return input_shape


class SpatialDropout(RandomLayer, SpatialLayer):
    """What SpatialDropout1D, SpatialDropout2D and SpatialDropout3D share."""

    leading: ClassVar[str | None] = "rate"

    rate: Fraction = Field(description="Share of the channels that are dropped, 0..1.")

    def output_shape(self, input_shape: Shape) -> Shape:
        self.sizes(input_shape)
        return input_shape

    def keras_arguments(self, scope: Scope) -> dict[str, Any]:
        # The Keras layers whose constructor does not take `trainable`; they have no weights.
        arguments = super().keras_arguments(scope)
        del arguments["trainable"]
        return arguments


class SpatialDropout2D(SpatialDropout):
    """Drops whole channels (Tompson et al. 2015, arXiv:1411.4280)."""

    data_format: DataFormat | None = Field(default=None, description=DATA_FORMAT)


class GaussianNoise(RandomLayer):
    """Adds normally distributed noise."""

    leading: ClassVar[str | None] = "stddev"

    stddev: Fraction = Field(description="Standard deviation of the noise, 0..1.")


class GaussianDropout(RandomLayer):
    """Multiplies by noise of mean 1, standard deviation sqrt(rate / (1 - rate)) (Srivastava et al. 2014)."""

    leading: ClassVar[str | None] = "rate"

    rate: Rate = Field(description="As a dropout rate, 0 to below 1.")


class AlphaDropout(RandomLayer):
    """Dropout that keeps mean and variance; for SELU networks (Klambauer et al. 2017, arXiv:1706.02515)."""

    leading: ClassVar[str | None] = "rate"

    rate: Rate = Field(description="Share of the values that are dropped, 0 to below 1.")
    noise_shape: NoiseShape | None = Field(default=None, description=_NOISE_SHAPE)

    def output_shape(self, input_shape: Shape) -> Shape:
        check_noise_shape(self.noise_shape, input_shape)
        return input_shape
