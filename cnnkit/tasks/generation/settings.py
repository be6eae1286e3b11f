"""The arguments of a generation, which its other modules go by."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from cnnkit.config.optimization.optimizers import OPTIMIZERS, Optimizer
from cnnkit.format.base import Choice
from cnnkit.format.fields import NonNegativeNumber, PositiveInteger, Text
from cnnkit.task import Task

#: The names of the two networks in a config.
GENERATOR, DISCRIMINATOR = "generator", "discriminator"


class Settings(Task):
    """How a generator and a discriminator are trained against each other."""

    networks: ClassVar[tuple[str, ...]] = (GENERATOR, DISCRIMINATOR)

    latent: PositiveInteger = Field(
        default=64, description="Standard normal numbers that the generator makes an image of."
    )
    loss: Literal["non_saturating", "hinge"] = Field(
        default="non_saturating",
        description="`non_saturating`: cross-entropy on logits, of which the generator lowers that of its images being "
        "real (Goodfellow 2014); `hinge` (Lim and Ye 2017).",
    )
    r1: NonNegativeNumber = Field(
        default=1.0,
        description="Gamma of R1 (Mescheder 2018, arXiv:1801.04406): half of it times the squared gradient of the "
        "discriminator at real images, on their scale of -1 to 1, is added to its loss; 0 for none.",
    )
    r1_every: PositiveInteger = Field(
        default=8, description="Steps from one to the next that has R1, so many times as large (Karras 2020)."
    )
    average: Annotated[float, Field(ge=0, lt=1)] = Field(
        default=0.999,
        description="Decay of the exponential average of the generator's weights, which is what is kept and used; "
        "smaller in the first steps, (1 + step) / (10 + step).",
    )
    conditional: bool = Field(
        default=False,
        description="Whether an image of a given class can be asked for: both networks are told the class, as one-hot "
        "after the latent vector and as a plane for each class after the channels of the image (Mirza and Osindero "
        "2014, arXiv:1411.1784).",
    )
    discriminator_optimizer: Annotated[Optimizer, Choice(OPTIMIZERS)] | None = Field(
        default=None, description="What trains the discriminator; by default an optimizer as `training.optimizer`."
    )
    classifier: Text | None = Field(
        default=None,
        description="The run of a classifier of the same images and classes, trained with cnnkit, by which the made "
        "images are measured; without one nobody knows how like real ones they are, nor whether all classes are made. "
        "A relative path belongs to the config file.",
    )
