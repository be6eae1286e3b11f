"""The schedules that few configs use; a module of their own keeps the start of all others quick."""

from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from cnnkit.config.optimization.schedules import Decay, Schedule, check_one_of
from cnnkit.format.base import invalid
from cnnkit.format.fields import Epochs, Fraction, NonNegativeNumber, PositiveNumber, Steps


class CosineDecayRestarts(Schedule):
    """Cosine decay with warm restarts, SGDR (Loshchilov & Hutter 2016)."""

    step_arguments: ClassVar[tuple[str, ...]] = ("first_decay_steps",)
    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (("first_decay_steps", "first_decay_epochs"),)

    first_decay_steps: Steps | None = Field(
        default=None, description="Optimizer updates of the first period; by default the whole run."
    )
    first_decay_epochs: Epochs | None = Field(default=None, description="The same in epochs.")
    t_mul: PositiveNumber = Field(default=2.0, description="Factor on the length of each next period.")
    m_mul: PositiveNumber = Field(default=1.0, description="Factor on the first rate of each next period.")
    alpha: Fraction = Field(default=0.0, description="Smallest rate as a share of the base rate.")

    @model_validator(mode="after")
    def _steps_or_epochs(self) -> Self:
        check_one_of(self, "first_decay_steps", "first_decay_epochs")
        return self


class ExponentialDecay(Decay):
    """The rate times `decay_rate` every `decay_steps` updates."""

    decay_rate: PositiveNumber = Field(description="Factor per `decay_steps`.")
    staircase: bool = Field(default=False, description="Fall in steps instead of smoothly.")


class InverseTimeDecay(Decay):
    """The rate divided by 1 + `decay_rate` * updates / `decay_steps`."""

    decay_rate: PositiveNumber = Field(description="How fast the rate falls.")
    staircase: bool = Field(default=False, description="Fall in steps instead of smoothly.")


class PolynomialDecay(Decay):
    """From the base rate to `end_learning_rate` along a polynomial."""

    end_learning_rate: NonNegativeNumber = Field(default=0.0001, description="The last rate.")
    power: PositiveNumber = Field(default=1.0, description="The polynomial's power; 1 is a straight line.")
    cycle: bool = Field(default=False, description="Start again after `decay_steps`.")


class PiecewiseConstantDecay(Schedule):
    """A list of rates, one per piece of the run; the optimizer's own rate is not used."""

    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (("boundaries", "boundaries_epochs"),)

    boundaries: list[Steps] | None = Field(
        default=None,
        min_length=1,
        description="The last optimizer update with each value but the last one; the run's first update is 0, as in "
        "Keras.",
    )
    boundaries_epochs: list[Epochs] | None = Field(
        default=None, min_length=1, description="Epochs after which the next value holds."
    )
    values: list[NonNegativeNumber] = Field(description="Rates; one more than boundaries.")

    @model_validator(mode="after")
    def _lengths(self) -> Self:
        check_one_of(self, "boundaries", "boundaries_epochs", required=True)
        boundaries: list[Any] = list(self.boundaries or self.boundaries_epochs or [])
        if len(self.values) != len(boundaries) + 1:
            raise invalid(f"{len(boundaries)} boundaries need {len(boundaries) + 1} values, got {len(self.values)}")
        if boundaries != sorted(set(boundaries)):
            raise invalid(f"the boundaries must grow, got {boundaries}")
        return self

    def build(self, learning_rate: float, updates_per_epoch: float, total_updates: int, scale: int) -> Any:
        import keras

        # Of several batches in an update, Keras hands a schedule the number of the last one.
        ends = [(last + 1) * scale for last in self.boundaries or []] or [
            round(epochs * updates_per_epoch) * scale for epochs in self.boundaries_epochs or []
        ]
        return keras.optimizers.schedules.PiecewiseConstantDecay([end - 1 for end in ends], self.values)
