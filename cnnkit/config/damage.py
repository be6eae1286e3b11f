"""What is done to a picture that is to be restored."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from cnnkit.format.base import StrictModel, invalid
from cnnkit.format.fields import NonNegativeInteger, PositiveNumber, Text


class Damage(StrictModel):
    """What is done to a picture before a network restores it; the picture as it was tells how well that went.

    It is carried out in the order of the fields: first smaller, then noise, then pixels are taken away.
    """

    scale: Annotated[int, Field(ge=2, le=16)] | None = Field(
        default=None, description="How many times lower and narrower it becomes (2..16), by Pillow's bicubic filter."
    )
    noise: PositiveNumber | None = Field(
        default=None,
        description="Standard deviation of normal noise that is added to every value, on the scale 0..255.",
    )
    missing: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        default=None, description="Share of the pixels that are taken away (0..1)."
    )
    mask: Text | None = Field(
        default=None,
        description="An image file of the picture's size: where it is black (below 128), pixels are missing. The "
        "picture itself may be damaged there already. A relative path belongs to the config file.",
    )

    seed: NonNegativeInteger = Field(
        default=0,
        description="Draws the noise and the missing pixels; not the run's own, so that runs of several seeds restore "
        "the same picture.",
    )

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.is_known and self.mask is None:
            raise invalid("names no damage; expected `noise`, `mask`, `missing` or `scale`, or no `damage` at all")
        if self.missing is not None and self.mask is not None:
            raise invalid("has both `missing` and `mask`; keep one of them", argument="missing")
        return self

    @property
    def is_known(self) -> bool:
        """Whether the picture as it was is known: all but a mask, whose pixels may have been lost before."""
        return any(value is not None for value in (self.scale, self.noise, self.missing))
