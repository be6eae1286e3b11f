"""A layer whose kernel is kept at a spectral norm of 1."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Annotated, Any, ClassVar

from pydantic import Field, WithJsonSchema

from cnnkit.format.fields import Repetitions
from cnnkit.format.script import Argument, Call
from cnnkit.format.seeds import derive_seed
from cnnkit.format.shapes import Shape, ShapeError
from cnnkit.layers.base import Layer, Names, Scope, Weight
from cnnkit.layers.receptive_field import Bounds, Pattern
from cnnkit.layers.unresolved import LayerField

WrappedLayer = Annotated[LayerField, WithJsonSchema({"recursive": "layer"})]


class SpectralNormalization(Layer):
    """Divides a layer's kernel by its largest singular value in each training step (Miyato et al. 2018).

    For the discriminators of adversarial networks (arXiv:1802.05957). The value is found by power iteration, whose
    vector is a weight that no gradient trains.
    """

    leading: ClassVar[str | None] = "layer"

    layer: WrappedLayer = Field(description="A layer with one kernel: a convolution, or `Dense`.")
    power_iterations: Repetitions = Field(default=1, description="Steps of the power iteration, from 1.")

    def resolve(self, names: Names, input_shape: Shape) -> Layer:
        try:
            inner = self.layer.resolve(names, input_shape)
        except ShapeError as error:
            path = ("layer", self.layer.kind, *error.path)
            raise ShapeError(error.message, path, error.inside, of_value=error.of_value) from None
        kernels = [weight.name for weight in inner.variables(input_shape)[:1]]
        explicit = getattr(inner, "explicit_padding", lambda: None)()
        if kernels != ["kernel"] or explicit is not None:
            reason = (
                "with padding in numbers it is two layers; write `padding: same` or a ZeroPadding before it"
                if explicit is not None
                else f"`{inner.kind}` has none that Keras could normalize"
            )
            raise ShapeError(f"expected a layer with one kernel, such as `Conv2D` or `Dense`; {reason}", "layer")
        # A stage that freezes or unfreezes means both by the one name that they have.
        return self.model_copy(update={"layer": inner, "trainable": self.trainable and inner.trainable})

    def output_shape(self, input_shape: Shape) -> Shape:
        return self.layer.output_shape(input_shape)

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        kernel, *others = self.layer.variables(input_shape)
        return kernel, Weight("vector_u", (1, kernel.shape[-1]), trainable=False), *others

    def tensors(self, input_shape: Shape) -> Iterator[tuple[str, Shape]]:
        return self.layer.tensors(input_shape)

    def macs(self, input_shape: Shape) -> int:
        """Those of the layer: the norm is found in training only."""
        return self.layer.macs(input_shape)

    def range_along(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        return self.layer.range_along(low, high, axis, input_shape)

    def input_range(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        return self.layer.input_range(low, high, axis, input_shape)

    def pattern(self, axis: int, input_shape: Shape) -> Pattern | Bounds:
        return self.layer.pattern(axis, input_shape)

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return self.layer.sees_everything(axis, input_shape)

    def carries(self, axis: int, input_shape: Shape) -> int | None:
        return self.layer.carries(axis, input_shape)

    def arriving_order(self, order: tuple[int, ...]) -> tuple[int, ...]:
        return self.layer.arriving_order(order)

    def output_order(self, order: tuple[int, ...]) -> tuple[int, ...]:
        return self.layer.output_order(order)

    def warnings(self, input_shape: Shape) -> tuple[str, ...]:
        return self.layer.warnings(input_shape)

    def needs_xla_on_cpu(self) -> bool:
        return self.layer.needs_xla_on_cpu()

    def breaks_onednn(self, input_shape: Shape) -> bool:
        return self.layer.breaks_onednn(input_shape)

    @property
    def output_activation(self) -> str | None:
        return self.layer.output_activation

    def calls(self) -> tuple[Call, ...]:
        (inner,) = self.layer.calls()
        iterations = Argument("power_iterations", self.power_iterations, 1)
        return (Call("layers.SpectralNormalization", (Argument("layer", inner), iterations), "layer"),)

    def build(self, scope: Scope) -> Any:
        """Keras' layer around Keras' layer, the vector of the power iteration from a seed of its own."""
        import keras

        key = scope.seeds.key(self, scope.input_shape)
        name, dtype = self.name or scope.name, self.dtype or scope.dtype
        inner = replace(scope, name=self.layer.kind, dtype=dtype)
        wrapped = getattr(keras.layers, self.layer.kind)(**self.layer.arguments_drawn(inner, key))
        built = keras.layers.SpectralNormalization(wrapped, self.power_iterations, name=name, dtype=dtype)
        built.build((None, *scope.keras_shape))
        start = keras.initializers.TruncatedNormal(
            stddev=0.02, seed=derive_seed(scope.seeds.seed, "weights", key, "vector_u")
        )
        built.vector_u.assign(start(built.vector_u.shape, dtype=built.vector_u.dtype))
        built.trainable = self.trainable
        return built
