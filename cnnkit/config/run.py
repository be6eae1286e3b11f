"""The whole config of a run."""

from typing import Annotated, Any

from pydantic import ConfigDict, Field

from cnnkit.augmentation import AUGMENTATIONS, Augmentation
from cnnkit.config.base import Choice, StrictModel
from cnnkit.config.data import DataConfig
from cnnkit.config.training import TrainingConfig
from cnnkit.layers import LAYERS
from cnnkit.layers.base import Layer


class ModelConfig(StrictModel):
    """The network: a stack of layers. Normalisation comes before the first one by itself."""

    layers: Annotated[list[Annotated[Layer, Choice(LAYERS)]], Field(min_length=1)] = Field(
        description="The layers from input to output, by Keras' names."
    )


def _with_extends(schema: dict[str, Any]) -> None:
    """Adds what a file may hold beside the fields, which are those of the config after `extends`."""
    extends = {
        "type": "string",
        "description": "Another config that this one changes; a relative path belongs to this file. Mappings merge; "
        "lists, and named objects of another name, replace.",
    }
    schema["properties"] = {"extends": extends, **schema["properties"]}
    schema["anyOf"] = [{"required": ["extends"]}, {"required": schema.pop("required")}]


class RunConfig(StrictModel):
    """One config file: data, augmentation, model and training."""

    model_config = ConfigDict(json_schema_extra=_with_extends)

    seed: int = Field(
        default=0, ge=0, lt=2**31, description="Seed of initial weights, dropout, data order, augmentation and split."
    )
    data: DataConfig = Field(description="Which images, and how they reach the network.")
    augmentation: list[Annotated[Augmentation, Choice(AUGMENTATIONS)]] = Field(
        default=[], description="Random changes to training images, in this order."
    )
    model: ModelConfig = Field(description="The network.")
    training: TrainingConfig = Field(default=TrainingConfig.with_defaults(), description="How it learns.")
