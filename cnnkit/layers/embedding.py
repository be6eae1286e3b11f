"""Word ids as vectors."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from cnnkit.errors import UsageError
from cnnkit.format.fields import LARGEST_COUNT, PositiveInteger, VocabularySize
from cnnkit.format.script import Call
from cnnkit.format.shapes import Shape, ShapeError
from cnnkit.layers.base import Layer, Scope, Weight
from cnnkit.layers.geometry import channels_last
from cnnkit.layers.other_initializers import RandomUniform
from cnnkit.layers.weights import ConstraintField, InitializerField, RegularizerField, check_weight_objects


class Embedding(Layer):
    """A learned vector for each id: (length,) whole numbers become (length, output_dim); N output_dim parameters.

    Ids are from 0 to below `input_dim`.
    """

    leading: ClassVar[str | None] = "input_dim"
    takes_ids: ClassVar[bool] = True

    input_dim: VocabularySize = Field(
        description="How many ids there are, N: a whole number from 1, or `words` (the size of the data set's "
        "vocabulary)."
    )
    output_dim: PositiveInteger = Field(description="Length of the vectors, which is the number of channels, from 1.")
    embeddings_initializer: InitializerField = Field(
        default=RandomUniform.with_defaults(), description="How the vectors start."
    )
    embeddings_regularizer: RegularizerField | None = Field(default=None, description="Penalty on the vectors.")
    embeddings_constraint: ConstraintField | None = Field(default=None, description="Constraint on the vectors.")
    mask_zero: bool = Field(
        default=False,
        description="Whether id 0 is padding, which layers that know masks leave out: GlobalAveragePooling1D, "
        "MultiHeadAttention. Convolutions and GlobalMaxPooling1D know none.",
    )

    padding_idx: Annotated[int, Field(ge=0, le=LARGEST_COUNT)] | None = Field(
        default=None,
        description="The id of padding, whose vector is zeros and stays so, as in PyTorch: 0 for texts. What follows "
        "sees nothing there, so that padding behind a text changes no answer; see docs/text.md.",
    )

    @model_validator(mode="after")
    def _weight_objects(self) -> Self:
        check_weight_objects(self, {"embeddings": 2})
        return self

    def output_shape(self, input_shape: Shape) -> Shape:
        if self.padding_idx is not None and self.padding_idx >= int(self.input_dim):
            raise ShapeError(f"ids are below {self.input_dim}, and padding would be {self.padding_idx}", "padding_idx")
        return (*input_shape, self.output_dim)

    def variables(self, input_shape: Shape) -> tuple[Weight, ...]:
        return (Weight("embeddings", (int(self.input_dim), self.output_dim)),)

    def output_order(self, order: tuple[int, ...]) -> tuple[int, ...]:
        return channels_last(len(order) + 1)

    def keras_arguments(self, scope: Scope) -> dict[str, Any]:
        arguments = super().keras_arguments(scope)
        # Keras has no such argument.
        del arguments["padding_idx"]
        return arguments

    def calls(self) -> tuple[Call, ...]:
        (call,) = super().calls()
        if self.padding_idx is None:
            return (call,)
        if self.mask_zero and self.padding_idx != 0:
            raise UsageError(
                f"no script can be written of an Embedding that masks the id 0 and whose padding is {self.padding_idx}",
                "Write `padding_idx: 0`, or leave out `mask_zero`.",
            )
        return (Call("padded_embedding", call.arguments, call.leading, of_tensor=True, makes_layer=True),)

    def build(self, scope: Scope) -> Any:
        if self.padding_idx is None:
            return super().build(scope)
        from cnnkit.layers.padded_embedding import PaddedEmbedding

        return PaddedEmbedding(**self.keras_arguments(scope), padding_idx=self.padding_idx)
