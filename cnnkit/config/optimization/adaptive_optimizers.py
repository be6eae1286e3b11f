"""The optimizers that few configs use; a module of their own keeps the start of all others quick."""

from typing import ClassVar

from pydantic import Field

from cnnkit.config.optimization.optimizers import BETA, BETA_2, EPSILON, Optimizer
from cnnkit.format.fields import (
    LARGEST_NUMBER,
    LARGEST_STEPS,
    Fraction,
    NonNegativeNumber,
    Number,
    PositiveNumber,
    Rate,
)


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012)."""

    state_of_momentum: ClassVar[bool] = True

    rho: Fraction = Field(default=0.9, description=BETA_2)
    momentum: Fraction = Field(default=0.0, description="Share of the last step that is kept.")
    epsilon: NonNegativeNumber = Field(default=1e-7, description=EPSILON)
    centered: bool = Field(default=False, description="Divide by the estimated variance instead of the square.")


class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012)."""

    states: ClassVar[int] = 2

    rho: Fraction = Field(default=0.95, description=BETA_2)
    epsilon: NonNegativeNumber = Field(default=1e-7, description=EPSILON)


class Adagrad(Optimizer):
    """Adagrad (Duchi 2011)."""

    initial_accumulator_value: NonNegativeNumber = Field(default=0.1, description="Where the sums of squares start.")
    epsilon: NonNegativeNumber = Field(default=1e-7, description=EPSILON)


class Adamax(Optimizer):
    """Adam with the infinity norm (Kingma & Ba 2014)."""

    states: ClassVar[int] = 2

    beta_1: Rate = Field(default=0.9, description=BETA)
    beta_2: Rate = Field(default=0.999, description="Decay of the running maximum of the gradient.")
    epsilon: NonNegativeNumber = Field(default=1e-7, description=EPSILON)


class Adafactor(Optimizer):
    """Adafactor (Shazeer & Stern 2018)."""

    beta_2_decay: Number = Field(default=-0.8, description="Exponent of the running average's decay.")
    epsilon_1: NonNegativeNumber = Field(default=1e-30, description=EPSILON)
    epsilon_2: NonNegativeNumber = Field(default=1e-3, description="Smallest parameter scale.")
    clip_threshold: PositiveNumber = Field(default=1.0, description="Largest root mean square of an update.")
    relative_step: bool = Field(default=True, description="Cap the rate by 1/sqrt(updates).")


class Nadam(Optimizer):
    """Adam with Nesterov momentum (Dozat 2016)."""

    states: ClassVar[int] = 2

    beta_1: Rate = Field(default=0.9, description=BETA)
    beta_2: Rate = Field(default=0.999, description=BETA_2)
    epsilon: NonNegativeNumber = Field(default=1e-7, description=EPSILON)


class Ftrl(Optimizer):
    """Follow the regularized leader (McMahan 2013)."""

    states: ClassVar[int] = 2

    learning_rate_power: float = Field(
        default=-0.5, ge=-LARGEST_NUMBER, le=0, description="How the rate falls; 0 for a fixed rate."
    )
    initial_accumulator_value: NonNegativeNumber = Field(default=0.1, description="Where the sums of squares start.")
    l1_regularization_strength: NonNegativeNumber = Field(default=0.0, description="L1 penalty.")
    l2_regularization_strength: NonNegativeNumber = Field(default=0.0, description="L2 penalty.")
    l2_shrinkage_regularization_strength: NonNegativeNumber = Field(default=0.0, description="Shrinkage penalty.")
    beta: NonNegativeNumber = Field(default=0.0, description="The paper's beta.")


class Lion(Optimizer):
    """Lion (Chen 2023)."""

    beta_1: Rate = Field(default=0.9, gt=0, description="Share of the old momentum in an update.")
    beta_2: Rate = Field(default=0.99, description="Decay of the momentum.")


class Lamb(Optimizer):
    """LAMB (You 2019)."""

    states: ClassVar[int] = 2

    beta_1: Rate = Field(default=0.9, description=BETA)
    beta_2: Rate = Field(default=0.999, description=BETA_2)
    epsilon: NonNegativeNumber = Field(default=1e-7, description=EPSILON)


class ScheduleFreeAdamW(Optimizer):
    """AdamW that needs no schedule (Defazio 2024)."""

    states: ClassVar[int] = 2

    learning_rate: PositiveNumber = Field(default=0.0025, description="Step size.")
    beta_1: Rate = Field(default=0.9, gt=0, description="Share of the average in the point of the gradient.")
    beta_2: Rate = Field(default=0.999, description=BETA_2)
    epsilon: NonNegativeNumber = Field(default=1e-8, description=EPSILON)
    warmup_steps: int = Field(
        default=0, ge=0, le=LARGEST_STEPS, description="Updates over which the rate grows from 0."
    )
