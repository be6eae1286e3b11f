"""The whole config of a run."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Self

from pydantic import ConfigDict, Field, model_validator

from cnnkit.augmentation import AUGMENTATIONS, Augmentation, shapes_in_training
from cnnkit.config.data import DataConfig
from cnnkit.config.training import TrainingConfig
from cnnkit.format.base import Choice, StrictModel
from cnnkit.format.shapes import Shape
from cnnkit.layers.base import Layer, Names
from cnnkit.layers.blocks import BlockConfig, known_blocks, takes_raw_images, without_required
from cnnkit.layers.sizes import for_both
from cnnkit.layers.stack import Step, trace
from cnnkit.layers.unresolved import LayerField
from cnnkit.task import Task
from cnnkit.tasks import TASKS, default_task

#: The layers of a network, at least one.
Layers = Annotated[list[LayerField], Field(min_length=1)]


class StackConfig(StrictModel):
    """One of several networks of a model: a stack of layers."""

    model_config = ConfigDict(json_schema_extra=without_required)

    layers: Layers = Field(description="Its layers from input to output, by Keras' names or those of blocks.")


class ModelConfig(StrictModel):
    """The network: a stack of layers. Normalisation comes before the first one by itself.

    A task that trains several networks against each other has a stack for each, by the name that `Task.networks` gives.
    """

    model_config = ConfigDict(json_schema_extra=without_required)

    blocks: dict[str, BlockConfig] = Field(
        default={},
        description="Layers under names of their own, to be used in `layers` and in other blocks. A name in lower case "
        "cannot be taken for a layer; the JSON Schema knows only such.",
    )
    layers: Layers | None = Field(
        default=None, description="The layers from input to output, by Keras' names or those of blocks."
    )
    generator: StackConfig | None = Field(
        default=None, description="Of a model that makes images: the network that makes one of a latent vector."
    )
    discriminator: StackConfig | None = Field(
        default=None, description="Of a model that makes images: the network that tells real images from made ones."
    )

    @model_validator(mode="wrap")
    @classmethod
    def _with_blocks(cls, data: Any, handler: Any) -> Any:
        with known_blocks(data.get("blocks") if isinstance(data, Mapping) else None):
            return handler(data)

    @property
    def stacks(self) -> Mapping[str, Sequence[Layer]]:
        """The layers of each network by its name; the only one has the name `""`."""
        named = {name: getattr(self, name) for name in STACKS}
        several = {name: stack.layers for name, stack in named.items() if stack is not None}
        return several if self.layers is None else {"": self.layers, **several}

    def trace(self, input_shape: Shape, values: Mapping[str, int], network: str = "") -> list[Step]:
        """The layers of a network, every name in them replaced, with the shapes around them.

        Args:
            values: What names such as `classes` stand for, see `DataSetInfo.values`.
            network: Which one, see `stacks`.

        Raises:
            StackError: at the first layer that cannot take what arrives.
        """
        return trace(self.stacks[network], input_shape, Names(values, self.blocks))

    def resolved(self, input_shape: Shape, values: Mapping[str, int], network: str = "") -> list[Layer]:
        """The layers of a network, every name in them replaced by what it stands for."""
        return [step.layer for step in self.trace(input_shape, values, network)]

    def to_plain(self) -> dict[str, Any]:
        written = ("layers", *STACKS)
        return {name: value for name, value in super().to_plain().items() if name not in written or value is not None}


#: The fields of `model` that are networks of their own.
STACKS = tuple(name for name, field in ModelConfig.model_fields.items() if field.annotation == StackConfig | None)


def _with_extends(schema: dict[str, Any]) -> None:
    """Adds what a file may hold beside the fields, which are those of the config after `extends`."""
    extends = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}],
        "description": "Another config that this one changes, or a list of such, of which later ones change earlier "
        "ones. A relative path belongs to the folder of this file. Mappings merge; lists, and named objects of another "
        "name, replace.",
    }
    schema["properties"] = {"extends": extends, **schema["properties"]}
    schema["anyOf"] = [{"required": ["extends"]}, {"required": schema.pop("required")}]


LARGEST_SEED = 2**31 - 1


class RunConfig(StrictModel):
    """One config file: data, augmentation, model and training."""

    model_config = ConfigDict(json_schema_extra=_with_extends)

    seed: int = Field(
        default=0,
        ge=0,
        lt=LARGEST_SEED + 1,
        description="Seed of initial weights, dropout, data order, augmentation and split.",
    )
    task: Annotated[Task, Choice(TASKS)] = Field(
        default=default_task(), description="What the network learns of each image; by default its class."
    )
    data: DataConfig = Field(description="Which images, and how they reach the network.")
    augmentation: list[Annotated[Augmentation, Choice(AUGMENTATIONS)]] = Field(
        default=[], description="Random changes to training images, in this order."
    )
    model: ModelConfig = Field(description="The network.")
    training: TrainingConfig = Field(default=TrainingConfig.with_defaults(), description="How it learns.")

    @model_validator(mode="after")
    def _watch(self) -> Self:
        training = self.training.watching(self.task.columns)
        return self if training is self.training else self.model_copy(update={"training": training})

    @model_validator(mode="after")
    def _as_the_network_takes_them(self) -> Self:
        """What follows for the images, where nothing else is written, from what the network takes."""
        lists = [*self.model.stacks.values(), *(block.layers for block in self.model.blocks.values())]
        implied = dict(self.task.implied_data)
        if not implied and (self.data.text is not None or any(map(takes_raw_images, lists))):
            implied = {"normalization": "none"}
        update = {name: value for name, value in implied.items() if name not in self.data.model_fields_set}
        return self.model_copy(update={"data": self.data.model_copy(update=update)}) if update else self

    @property
    def layers(self) -> Sequence[Layer]:
        """The layers of the network, of several that of the one which is kept."""
        return self.model.stacks[self.task.networks[0]]

    @property
    def mixes_labels(self) -> bool:
        """Whether training images are mixed, and their labels with them; masks are pasted, and their ids not mixed."""
        return not self.task.target.per_pixel and any(one.mixes_labels for one in self.augmentation)

    @property
    def augmentation_in_training(self) -> list[Augmentation]:
        """The changes to training images, what is a share of all epochs as their number."""
        taken = (one.over(self.training.epochs) for one in self.augmentation)
        return [one for one in taken if one is not None]

    def steps_in_training(self, steps: Sequence[Step], values: Mapping[str, int]) -> list[Sequence[Step]]:
        """The network as the images of training go through it, for each of their sizes, that of the last epoch last.

        Args:
            steps: The network for whole images, see `LoadedConfig.steps`.
            values: What names in layers stand for.
        """
        if not self.task.takes_images:
            return [steps]
        whole = steps[0].input_shape
        return [
            steps if shape == whole else self.model.trace(shape, values, self.task.networks[0])
            for shape in shapes_in_training(self.augmentation_in_training, whole)
        ]

    def steps_to_build(self, steps: Sequence[Step], values: Mapping[str, int]) -> Sequence[Step]:
        """The network for whole images and for those of training alike; for the arguments see `steps_in_training`."""
        for others in self.steps_in_training(steps, values):
            if others[0].input_shape != steps[0].input_shape:
                steps = for_both(steps, others)
        return steps
