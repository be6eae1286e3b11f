"""Learning-rate schedules by Keras' names, arguments and defaults.

A `schedule` takes its `initial_learning_rate` from the optimizer. Where Keras counts `decay_steps`, the
config may say `decay_epochs`; both count optimizer updates, and without either a schedule spans the run.
"""

from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from cnnkit.format.base import NamedObject, Table, invalid
from cnnkit.format.fields import (
    LARGEST_STEPS,
    Epochs,
    Fraction,
    NonNegativeInteger,
    NonNegativeNumber,
    PositiveNumber,
    Steps,
)

SCHEDULES = Table(
    kind="schedule",
    package="cnnkit.config.optimization",
    modules={
        "schedules": (
            "CosineDecay",
            "ReduceLROnPlateau",
        ),
        "decays": (
            "CosineDecayRestarts",
            "ExponentialDecay",
            "InverseTimeDecay",
            "PolynomialDecay",
            "PiecewiseConstantDecay",
        ),
    },
    unavailable={
        "StepLR": "write `PiecewiseConstantDecay: {boundaries_epochs: [30, 60], values: [0.1, 0.01, 0.001]}`",
        "MultiStepLR": "write `PiecewiseConstantDecay: {boundaries_epochs: [30, 60], values: [0.1, 0.01, 0.001]}`",
        "ExponentialLR": "write `ExponentialDecay: {decay_epochs: 1, decay_rate: 0.9}`",
        "CosineAnnealingLR": "write `CosineDecay`",
        "CosineAnnealingWarmRestarts": "write `CosineDecayRestarts: {first_decay_epochs: 10}`",
        "PolynomialLR": "write `PolynomialDecay`",
        "LinearLR": "write `PolynomialDecay: {end_learning_rate: 0}`",
        "OneCycleLR": "the nearest is `CosineDecay` with `training.warmup_epochs`",
        "LearningRateScheduler": "it needs Python code; PiecewiseConstantDecay takes a list of rates",
    },
)


class Schedule(NamedObject):
    """How the learning rate changes during a run."""

    #: Arguments that count optimizer updates; each may instead be written in epochs (`decay_epochs`).
    step_arguments: ClassVar[tuple[str, ...]] = ()

    def build(self, learning_rate: float, updates_per_epoch: float, total_updates: int, scale: int) -> Any:
        """The Keras schedule.

        Args:
            learning_rate: The base rate.
            updates_per_epoch: Optimizer updates in one epoch.
            total_updates: Updates that the schedule spans, where neither steps nor epochs are given.
            scale: What Keras counts per update: with gradient accumulation, Keras 3.15 hands a schedule the
                number of batches instead of the number of updates.
        """
        import keras

        arguments: dict[str, Any] = {"initial_learning_rate": learning_rate}
        for name in type(self).model_fields:
            if not name.endswith("_epochs"):
                arguments[name] = getattr(self, name)
        for name in self.step_arguments:
            epochs = getattr(self, name.replace("steps", "epochs"), None)
            if epochs is not None:
                arguments[name] = max(1, round(epochs * updates_per_epoch))
            elif arguments[name] is None:
                arguments[name] = max(1, total_updates - getattr(self, "warmup_steps", 0))
            arguments[name] *= scale
        return getattr(keras.optimizers.schedules, type(self).__name__)(**arguments)


def check_one_of(schedule: Schedule, steps: str, epochs: str, required: bool = False) -> None:
    given = [name for name in (steps, epochs) if getattr(schedule, name) is not None]
    if len(given) == 2:
        raise invalid(f"has both `{steps}` and `{epochs}`; keep one of them")
    if required and not given:
        raise invalid(f"needs `{steps}` or `{epochs}`")


class Decay(Schedule):
    step_arguments: ClassVar[tuple[str, ...]] = ("decay_steps",)
    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (("decay_steps", "decay_epochs"),)

    decay_steps: Steps | None = Field(
        default=None, description="Optimizer updates that the decay takes; by default the whole run."
    )
    decay_epochs: Epochs | None = Field(default=None, description="The same in epochs.")

    @model_validator(mode="after")
    def _steps_or_epochs(self) -> Self:
        check_one_of(self, "decay_steps", "decay_epochs")
        return self


class CosineDecay(Decay):
    """Half a cosine from the base rate to `alpha` times it (Loshchilov & Hutter 2016)."""

    step_arguments: ClassVar[tuple[str, ...]] = ("decay_steps", "warmup_steps")

    alpha: Fraction = Field(default=0.0, description="Smallest rate as a share of the base rate.")
    warmup_target: PositiveNumber | None = Field(
        default=None, description="Rate after Keras' own warm-up; `training.warmup_epochs` is the simpler way."
    )
    warmup_steps: int = Field(
        default=0,
        ge=0,
        le=LARGEST_STEPS,
        description="Updates of Keras' own warm-up, from the base rate to `warmup_target`.",
    )

    @model_validator(mode="after")
    def _whole_warmup(self) -> Self:
        if (self.warmup_target is None) != (self.warmup_steps == 0):
            raise invalid("`warmup_steps` and `warmup_target` only work together; Keras ignores one alone")
        return self


class ReduceLROnPlateau(Schedule):
    """Lower the rate when a metric has stopped improving (Keras' callback)."""

    monitor: str = Field(
        default="val_loss",
        description="The metric to watch, such as `val_loss` or `loss`. Where it is left out, `training.monitor` is "
        "watched, if that is given.",
    )
    factor: float = Field(default=0.1, gt=0, lt=1, description="Factor on the rate.")
    patience: NonNegativeInteger = Field(default=10, description="Epochs without improvement before it falls.")
    verbose: int = Field(default=0, ge=0, le=1, description="1 prints each change.")
    mode: Literal["auto", "min", "max"] = Field(default="auto", description="Whether smaller or larger is better.")
    min_delta: NonNegativeNumber = Field(default=1e-4, description="Smallest change that counts as improvement.")
    cooldown: NonNegativeInteger = Field(default=0, description="Epochs to wait after a change.")
    min_lr: NonNegativeNumber = Field(default=0.0, description="Smallest rate.")

    def build(self, learning_rate: float, updates_per_epoch: float, total_updates: int, scale: int) -> Any:
        raise TypeError("ReduceLROnPlateau is a callback; `make_rate` of cnnkit.training.schedules makes it")
