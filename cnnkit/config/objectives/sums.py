"""Losses made of losses."""

from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, model_validator

from cnnkit.config.objectives.losses import Loss
from cnnkit.format.base import Choice, Table, invalid
from cnnkit.format.fields import PositiveNumber

#: What a sum may consist of.
PARTS = Table(
    kind="loss of masks",
    package="cnnkit.config.objectives",
    modules={
        "crossentropies": ("CategoricalCrossentropy", "CategoricalFocalCrossentropy"),
        "distance_losses": ("Dice", "Tversky"),
    },
    listed=True,
)


class Sum(Loss):
    """A weighted sum of losses on masks."""

    leading: ClassVar[str | None] = "losses"

    losses: Annotated[list[Annotated[Loss, Choice(PARTS)]], Field(min_length=1)] = Field(
        description="The losses, such as [CategoricalCrossentropy, Dice]."
    )
    weights: list[PositiveNumber] | None = Field(
        default=None, description="The weight of each loss, in their order; by default 1 each."
    )

    @model_validator(mode="after")
    def _one_weight_each(self) -> Self:
        if self.weights is not None and len(self.weights) != len(self.losses):
            raise invalid(
                f"expected {len(self.losses)} weights, one per loss, got {len(self.weights)}", argument="weights"
            )
        return self

    def parts(self) -> list[tuple[float, Loss]]:
        return list(zip(self.weights or [1.0] * len(self.losses), self.losses, strict=True))

    def build(self, from_logits: bool) -> Any:
        raise NotImplementedError("a sum of losses is built part by part")
