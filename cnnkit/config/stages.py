"""`training.stages`: parts of a training, each of which trains its own layers with an optimizer of its own."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from cnnkit.config.optimization.optimizers import OPTIMIZERS, Optimizer
from cnnkit.config.optimization.schedules import SCHEDULES, Schedule
from cnnkit.format.base import Choice, StrictModel, describe, invalid, to_plain
from cnnkit.format.fields import LARGEST_COUNT, PositiveInteger, PositiveNumber


def _names(value: Any) -> list[str]:
    names = value if isinstance(value, list) else [value]
    for place, name in enumerate(names):
        if not isinstance(name, str) or not name:
            received = f"expected the name of a layer, such as `3.Conv2D`, or `all`, got {describe(name)}"
            raise invalid(received, **({"argument": place} if isinstance(value, list) else {}))
    return names


#: Layers by name, see `layers.weight_paths.layers_meant`.
LayerNames = Annotated[
    list[str],
    PlainValidator(_names),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


class Stage(StrictModel):
    """Some epochs in which the same layers are trained.

    Each stage goes on with the weights of the one before it, and begins with a new optimizer, as after `compile` in
    Keras: momenta are 0, schedules and warm-up begin, and early stopping and ReduceLROnPlateau have seen nothing yet.
    What a stage leaves out is that of `training`, whatever the stages before it say; only which layers are frozen goes
    on from stage to stage.
    """

    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (("learning_rate", "optimizer"),)

    epochs: PositiveInteger = Field(description="Passes over the training split. Early stopping ends the stage.")
    freeze: LayerNames = Field(
        default=[],
        description="Layers that training leaves as they are from this stage on: their weights get no gradient, no "
        "weight decay and no optimizer variables, their regularizers add nothing to the loss, and batch normalization "
        "among them uses its moving statistics and does not change them. One name or a list; `all` for every layer.",
    )
    unfreeze: LayerNames = Field(
        default=[],
        description="Layers that are trained from this stage on, after `freeze`, including such with `trainable: "
        "false`. Batch normalization stays frozen, unless it is named itself.",
    )
    unfreeze_batch_norm: bool = Field(
        default=False,
        description="Whether batch normalization among the layers of `unfreeze` is trained again, its statistics too. "
        "With few images or small batches that loses what it has learned.",
    )
    learning_rate: PositiveNumber | None = Field(
        default=None, description="The base rate of the stage, with the optimizer of `training`."
    )
    optimizer: Annotated[Optimizer, Choice(OPTIMIZERS)] | None = Field(
        default=None, description="Another optimizer, with its rate."
    )
    schedule: Annotated[Schedule, Choice(SCHEDULES)] | None = Field(
        default=None, description="A schedule of the stage; it spans the stage, as that of `training` does."
    )
    warmup_epochs: float | None = Field(
        default=None, ge=0, le=LARGEST_COUNT, description="Epochs at the stage's beginning over which the rate grows."
    )
    layer_decay: float | None = Field(default=None, gt=0, le=1, description="As in `training`, for the stage alone.")

    @model_validator(mode="after")
    def _one_rate(self) -> Self:
        if self.learning_rate is not None and self.optimizer is not None:
            raise invalid("has both `learning_rate` and `optimizer`, which has a rate of its own; keep one of them")
        return self

    def to_plain(self) -> dict[str, Any]:
        """What is written: the rest is that of `training`."""
        return {
            name: to_plain(getattr(self, name)) for name in type(self).model_fields if name in self.model_fields_set
        }
