"""A network of keras.applications, without its classifier, as one layer."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from cnnkit.format.base import describe, invalid, shorten
from cnnkit.format.script import Argument, Call, Raw
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.format.similar import suggestion
from cnnkit.layers.backbone_graph import (
    CHANNELS,
    NETWORKS,
    Network,
    SizedPadding,
    Traced,
    numbered_by_keras,
    read_network,
    trace_network,
)
from cnnkit.layers.base import Layer, Scope, Weight
from cnnkit.layers.receptive_field import Pattern

#: The weights that keras.applications has.
IMAGENET = "imagenet"


def _network(value: Any) -> str:
    if isinstance(value, str) and value in NETWORKS:
        return value
    if isinstance(value, str):
        raise invalid(f"unknown network `{shorten(value)}`{suggestion(value, NETWORKS)}")
    raise invalid(f"expected the name of a network, such as `MobileNetV2`, got {describe(value)}")


def _weights(value: Any) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise invalid(
        f"expected `{IMAGENET}`, a file of weights (`.weights.h5`, `.h5`), a model (`.keras`), a run, or `null`, got "
        f"{describe(value)}"
    )


class Backbone(Layer):
    """A network of keras.applications without its classifier; it takes raw images, 0..255, red first.

    What the network expects of its images is done inside it. With learned weights, or where it is not trained, batch
    normalization keeps its mean and variance. The layers inside have Keras' names, so that
    `MobileNetV2/block_12_expand` is one of them wherever a layer or a weight is named. An example:
    `Backbone: {name: MobileNetV2, until: block_12_add, trainable: false}`.
    """

    leading: ClassVar[str | None] = "name"
    takes_raw_images: ClassVar[bool] = True

    name: Annotated[str, PlainValidator(_network), WithJsonSchema({"enum": list(NETWORKS)})] = Field(
        description="The network, by its name in keras.applications; also the layer's name in the model."
    )
    weights: Annotated[
        str | None, PlainValidator(_weights), WithJsonSchema({"type": ["string", "null"], "minLength": 1})
    ] = Field(
        default=IMAGENET,
        description="What it begins with: `imagenet`, downloaded once to where Keras keeps its weights; a file of its "
        "weights (`.weights.h5`, `.h5`) or of a model that has it (`.keras`); a run that has it; or `null`, random "
        "weights. A relative path belongs to the config file.",
    )
    until: str | None = Field(
        default=None,
        description="The network's layer, by Keras' name, whose output is the last to be computed; by default its own "
        "last. `cnnkit inspect --depth 2` lists them.",
    )

    @model_validator(mode="after")
    def _known_layer(self) -> Self:
        if self.until is not None:
            names = [node.name for node in self.network.nodes]
            if self.until not in names:
                hint = suggestion(self.until, names) or f"; its last one is `{names[-1]}`"
                raise invalid(f"{self.name} has no layer `{shorten(self.until)}`{hint}", argument="until")
        return self

    @property
    def network(self) -> Network:
        return read_network(self.name)

    @property
    def keeps_statistics(self) -> bool:
        """Whether batch normalization keeps its mean and variance in training."""
        return self.weights is not None or not self.trainable

    def operations(self, input_shape: Shape) -> Sequence[Traced]:
        return trace_network(self.name, self.until, input_shape)

    def output_shape(self, input_shape: Shape) -> Shape:
        if len(input_shape) != 3:
            raise ShapeError(f"{self.name} takes images (height, width, 3), but receives {format_shape(input_shape)}")
        if input_shape[2] != CHANNELS:
            raise ShapeError(
                f"{self.name} takes images of {CHANNELS} channels (red, green, blue), but receives "
                f"{format_shape(input_shape)}; `data.channels: 3` reads files in colour, and `Branches: {{paths: [[], "
                "[], []]}` before this layer makes three equal channels of a grey image"
            )
        smallest = self.network.smallest
        if min(input_shape[:2]) < smallest:
            raise ShapeError(
                f"{self.name} takes images of at least {smallest}x{smallest}, but receives "
                f"{format_shape(input_shape)}; enlarge them by `data.image_size: [{smallest}, {smallest}]` or more, or "
                "by `Resizing` or `UpSampling2D` before this layer"
            )
        return self._last(input_shape).shape

    def _last(self, input_shape: Shape) -> Traced:
        return self.operations(input_shape)[-1]

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        return tuple(
            Weight(f"{operation.name}/{weight.name}", weight.shape, weight.trainable)
            for operation in self.operations(input_shape)
            for weight in operation.weights
        )

    def macs(self, input_shape: Shape) -> int:
        """Those of all layers inside."""
        return sum(operation.macs for operation in self.operations(input_shape))

    def range_along(self, low: int, high: int, axis: int, input_shape: Shape) -> tuple[int, int]:
        return self._last(input_shape).range_along(low, high, axis, input_shape)

    def pattern(self, axis: int, input_shape: Shape) -> Pattern:
        return self._last(input_shape).pattern(axis, input_shape)

    def sees_everything(self, axis: int, input_shape: Shape) -> bool:
        return self._last(input_shape).sees_everything(axis, input_shape)

    def carries(self, axis: int, input_shape: Shape) -> int | None:
        return self._last(input_shape).carries(axis, input_shape)

    def built_for(self, input_shape: Shape) -> object:
        # Keras pads an even number of rows otherwise than an odd one.
        return tuple(
            layer.amounts(shape)
            for operation in self.operations(input_shape)
            for layer, shape in zip(operation.node.layers, operation.input_shapes, strict=True)
            if isinstance(layer, SizedPadding)
        )

    def calls(self) -> tuple[Call, ...]:
        network, place = self.network, len(self.network.nodes)
        applications = "keras.applications"
        until: Any = self.until
        if until is not None and numbered_by_keras(network.nodes[network.place(until)]):
            # How many such layers a script has made before, this one cannot know.
            until = network.place(until) - place
        normalizes = any(node.kind == "BatchNormalization" for node in network.nodes)
        preprocessing = None
        if network.preprocessing is not None:
            preprocessing = Raw(f"{applications}.{network.module}.preprocess_input")
        arguments = (
            Argument("make", Raw(f"{applications}.{self.name}")),
            Argument("preprocess_input", preprocessing, None),
            Argument("weights", self.weights, None),
            Argument("until", until, None),
            Argument("trainable", self.trainable, True),
            Argument("keeps_statistics", normalizes and self.trainable and self.keeps_statistics, False),
        )
        return (Call("backbone", arguments, "make", of_tensor=True),)

    def build(self, scope: Scope) -> Any:
        """A functional model that begins with the network's preprocessing; its layers have Keras' names."""
        from cnnkit.layers.backbone_model import Cut, build_backbone

        # Where the network ends changes no initial weight.
        key = scope.seeds.key(self.model_copy(update={"until": None}), scope.input_shape)
        dtype = self.dtype or scope.dtype
        model = build_backbone(Cut(self.network, self.until, self.name, key, dtype, self.keeps_statistics), scope)
        if not self.trainable:
            model.trainable = False
        return model
