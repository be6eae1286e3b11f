"""Optimizers and learning-rate schedules by Keras' names, arguments and defaults.

A `schedule` takes its `initial_learning_rate` from the optimizer. Where Keras counts `decay_steps`, the
config may say `decay_epochs`; both count optimizer updates, and without either a schedule spans the run.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from cnnkit.config.base import (
    Fraction,
    NamedObject,
    NonNegativeInteger,
    NonNegativeNumber,
    PositiveInteger,
    PositiveNumber,
    Rate,
    Table,
    invalid,
)

OPTIMIZERS = Table(
    kind="optimizer",
    package="cnnkit.config",
    modules={
        "optimizers": (
            "SGD",
            "RMSprop",
            "Adam",
            "AdamW",
            "Adadelta",
            "Adagrad",
            "Adamax",
            "Adafactor",
            "Nadam",
            "Ftrl",
            "Lion",
            "Lamb",
            "Muon",
            "ScheduleFreeAdamW",
        )
    },
    aliases={
        "sgd": "SGD",
        "rmsprop": "RMSprop",
        "adam": "Adam",
        "adamw": "AdamW",
        "adadelta": "Adadelta",
        "adagrad": "Adagrad",
        "adamax": "Adamax",
        "adafactor": "Adafactor",
        "nadam": "Nadam",
        "ftrl": "Ftrl",
        "lion": "Lion",
        "muon": "Muon",
    },
    unavailable={
        "LossScaleOptimizer": "`dtype_policy: mixed_float16` puts it around the optimizer",
        "MultiOptimizer": "it needs one optimizer per group of variables, which the format cannot name yet",
    },
)

SCHEDULES = Table(
    kind="schedule",
    package="cnnkit.config",
    modules={
        "optimizers": (
            "CosineDecay",
            "CosineDecayRestarts",
            "ExponentialDecay",
            "InverseTimeDecay",
            "PiecewiseConstantDecay",
            "PolynomialDecay",
            "ReduceLROnPlateau",
        )
    },
    unavailable={
        "LearningRateScheduler": "it needs Python code; PiecewiseConstantDecay takes a list of rates",
    },
)


class Optimizer(NamedObject):
    """The arguments that every Keras optimizer has."""

    leading: ClassVar[str | None] = "learning_rate"

    learning_rate: PositiveNumber = Field(default=0.001, description="Step size; the base rate of a schedule.")
    weight_decay: NonNegativeNumber | None = Field(
        default=None,
        description="Decoupled decay: each update takes `learning_rate * weight_decay * w` off every weight, batch "
        "normalization and biases included, and bypasses momentum. See `training.exclude_from_weight_decay`.",
    )
    clipnorm: PositiveNumber | None = Field(default=None, description="Largest norm of each variable's gradient.")
    clipvalue: PositiveNumber | None = Field(default=None, description="Largest absolute value in a gradient.")
    global_clipnorm: PositiveNumber | None = Field(default=None, description="Largest norm of all gradients together.")
    use_ema: bool = Field(
        default=False,
        description="Keep an exponential moving average of the weights; validation, the choice of the best epoch and "
        "model.keras use it.",
    )
    ema_momentum: Fraction = Field(default=0.99, description="Share of the old average kept at each batch.")
    ema_overwrite_frequency: PositiveInteger | None = Field(
        default=None,
        description="Batches after which the weights themselves are replaced by their average (updates, with gradient "
        "accumulation).",
    )
    loss_scale_factor: PositiveNumber | None = Field(default=None, description="Factor on the loss, undone later.")
    gradient_accumulation_steps: int | None = Field(
        default=None, ge=2, description="Batches whose gradients are averaged into one update."
    )

    @model_validator(mode="after")
    def _one_clip(self) -> Optimizer:
        given = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(self, name) is not None]
        if len(given) > 1:
            raise invalid(f"has {' and '.join(f'`{name}`' for name in given)}; Keras takes one of them")
        return self

    def build(self, learning_rate: Any) -> Any:
        """The Keras optimizer with the given rate: a number or a Keras schedule."""
        import keras

        arguments = {name: getattr(self, name) for name in type(self).model_fields}
        arguments["learning_rate"] = learning_rate
        return getattr(keras.optimizers, type(self).__name__)(**arguments)


_BETA = "Decay of the running average of the gradient."
_BETA_2 = "Decay of the running average of its square."
_EPSILON = "Added to a denominator for numerical stability."


class SGD(Optimizer):
    """Gradient descent, with momentum where it is above 0."""

    learning_rate: PositiveNumber = Field(default=0.01, description="Step size; the base rate of a schedule.")
    momentum: Fraction = Field(default=0.0, description="Share of the last step that is kept.")
    nesterov: bool = Field(default=False, description="Nesterov's form of momentum.")


class RMSprop(Optimizer):
    """RMSprop (Hinton 2012)."""

    rho: Fraction = Field(default=0.9, description=_BETA_2)
    momentum: Fraction = Field(default=0.0, description="Share of the last step that is kept.")
    epsilon: NonNegativeNumber = Field(default=1e-7, description=_EPSILON)
    centered: bool = Field(default=False, description="Divide by the estimated variance instead of the square.")


class Adam(Optimizer):
    """Adam (Kingma & Ba 2014)."""

    beta_1: Rate = Field(default=0.9, description=_BETA)
    beta_2: Rate = Field(default=0.999, description=_BETA_2)
    epsilon: NonNegativeNumber = Field(default=1e-7, description=_EPSILON)
    amsgrad: bool = Field(default=False, description="The AMSGrad form.")


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2017)."""

    weight_decay: NonNegativeNumber = Field(
        default=0.004, description=Optimizer.model_fields["weight_decay"].description
    )


class Adadelta(Optimizer):
    """Adadelta (Zeiler 2012)."""

    rho: Fraction = Field(default=0.95, description=_BETA_2)
    epsilon: NonNegativeNumber = Field(default=1e-7, description=_EPSILON)


class Adagrad(Optimizer):
    """Adagrad (Duchi 2011)."""

    initial_accumulator_value: NonNegativeNumber = Field(default=0.1, description="Where the sums of squares start.")
    epsilon: NonNegativeNumber = Field(default=1e-7, description=_EPSILON)


class Adamax(Optimizer):
    """Adam with the infinity norm (Kingma & Ba 2014)."""

    beta_1: Rate = Field(default=0.9, description=_BETA)
    beta_2: Rate = Field(default=0.999, description="Decay of the running maximum of the gradient.")
    epsilon: NonNegativeNumber = Field(default=1e-7, description=_EPSILON)


class Adafactor(Optimizer):
    """Adafactor (Shazeer & Stern 2018)."""

    beta_2_decay: float = Field(default=-0.8, description="Exponent of the running average's decay.")
    epsilon_1: NonNegativeNumber = Field(default=1e-30, description=_EPSILON)
    epsilon_2: NonNegativeNumber = Field(default=1e-3, description="Smallest parameter scale.")
    clip_threshold: PositiveNumber = Field(default=1.0, description="Largest root mean square of an update.")
    relative_step: bool = Field(default=True, description="Cap the rate by 1/sqrt(updates).")


class Nadam(Optimizer):
    """Adam with Nesterov momentum (Dozat 2016)."""

    beta_1: Rate = Field(default=0.9, description=_BETA)
    beta_2: Rate = Field(default=0.999, description=_BETA_2)
    epsilon: NonNegativeNumber = Field(default=1e-7, description=_EPSILON)


class Ftrl(Optimizer):
    """Follow the regularized leader (McMahan 2013)."""

    learning_rate_power: float = Field(default=-0.5, le=0, description="How the rate falls; 0 for a fixed rate.")
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

    beta_1: Rate = Field(default=0.9, description=_BETA)
    beta_2: Rate = Field(default=0.999, description=_BETA_2)
    epsilon: NonNegativeNumber = Field(default=1e-7, description=_EPSILON)


class Muon(Optimizer):
    """Muon (Jordan 2024), as Keras has it: orthogonalised updates for two-axis weights, Adam for all others.

    Keras treats only weights with two axes so: a convolution's kernel, with four, gets Adam.
    """

    weight_decay: NonNegativeNumber | None = Field(
        default=0.004, description="Decoupled weight decay of the weights that Muon updates."
    )
    adam_beta_1: Rate = Field(default=0.9, description=_BETA)
    adam_beta_2: Rate = Field(default=0.999, description=_BETA_2)
    adam_weight_decay: NonNegativeNumber | None = Field(
        default=0.004, description="Decoupled weight decay of the weights that Adam updates."
    )
    epsilon: NonNegativeNumber = Field(default=1e-7, description=_EPSILON)
    exclude_layers: list[str] | None = Field(default=None, description="Names of layers that Adam updates.")
    exclude_embeddings: bool = Field(default=True, description="Whether Adam updates embeddings.")
    muon_a: float = Field(default=3.4445, description="Newton-Schulz coefficient a.")
    muon_b: float = Field(default=-4.775, description="Newton-Schulz coefficient b.")
    muon_c: float = Field(default=2.0315, description="Newton-Schulz coefficient c.")
    adam_lr_ratio: PositiveNumber = Field(default=1, description="Adam's rate as a multiple of `learning_rate`.")
    momentum: Fraction = Field(default=0.95, description="Share of the last step that is kept.")
    ns_steps: PositiveInteger = Field(default=5, description="Newton-Schulz iterations.")
    nesterov: bool = Field(default=True, description="Nesterov's form of momentum.")
    rms_rate: NonNegativeNumber | None = Field(default=0.2, description="Root mean square that updates are scaled to.")


class ScheduleFreeAdamW(Optimizer):
    """AdamW that needs no schedule (Defazio 2024)."""

    learning_rate: PositiveNumber = Field(default=0.0025, description="Step size.")
    beta_1: Rate = Field(default=0.9, gt=0, description="Share of the average in the point of the gradient.")
    beta_2: Rate = Field(default=0.999, description=_BETA_2)
    epsilon: NonNegativeNumber = Field(default=1e-8, description=_EPSILON)
    warmup_steps: NonNegativeInteger = Field(default=0, description="Updates over which the rate grows from 0.")


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


def _one_of(schedule: Schedule, steps: str, epochs: str, required: bool = False) -> None:
    given = [name for name in (steps, epochs) if getattr(schedule, name) is not None]
    if len(given) == 2:
        raise invalid(f"has both `{steps}` and `{epochs}`; keep one of them")
    if required and not given:
        raise invalid(f"needs `{steps}` or `{epochs}`")


class _Decay(Schedule):
    step_arguments: ClassVar[tuple[str, ...]] = ("decay_steps",)

    decay_steps: PositiveInteger | None = Field(
        default=None, description="Optimizer updates that the decay takes; by default the whole run."
    )
    decay_epochs: PositiveNumber | None = Field(default=None, description="The same in epochs.")

    @model_validator(mode="after")
    def _steps_or_epochs(self) -> _Decay:
        _one_of(self, "decay_steps", "decay_epochs")
        return self


class CosineDecay(_Decay):
    """Half a cosine from the base rate to `alpha` times it (Loshchilov & Hutter 2016)."""

    step_arguments: ClassVar[tuple[str, ...]] = ("decay_steps", "warmup_steps")

    alpha: Fraction = Field(default=0.0, description="Smallest rate as a share of the base rate.")
    warmup_target: PositiveNumber | None = Field(
        default=None, description="Rate after Keras' own warm-up; `training.warmup_epochs` is the simpler way."
    )
    warmup_steps: NonNegativeInteger = Field(
        default=0, description="Updates of Keras' own warm-up, from the base rate to `warmup_target`."
    )

    @model_validator(mode="after")
    def _whole_warmup(self) -> CosineDecay:
        if (self.warmup_target is None) != (self.warmup_steps == 0):
            raise invalid("`warmup_steps` and `warmup_target` only work together; Keras ignores one alone")
        return self


class CosineDecayRestarts(Schedule):
    """Cosine decay with warm restarts, SGDR (Loshchilov & Hutter 2016)."""

    step_arguments: ClassVar[tuple[str, ...]] = ("first_decay_steps",)

    first_decay_steps: PositiveInteger | None = Field(
        default=None, description="Optimizer updates of the first period; by default the whole run."
    )
    first_decay_epochs: PositiveNumber | None = Field(default=None, description="The same in epochs.")
    t_mul: PositiveNumber = Field(default=2.0, description="Factor on the length of each next period.")
    m_mul: PositiveNumber = Field(default=1.0, description="Factor on the first rate of each next period.")
    alpha: Fraction = Field(default=0.0, description="Smallest rate as a share of the base rate.")

    @model_validator(mode="after")
    def _steps_or_epochs(self) -> CosineDecayRestarts:
        _one_of(self, "first_decay_steps", "first_decay_epochs")
        return self


class ExponentialDecay(_Decay):
    """The rate times `decay_rate` every `decay_steps` updates."""

    decay_rate: PositiveNumber = Field(description="Factor per `decay_steps`.")
    staircase: bool = Field(default=False, description="Fall in steps instead of smoothly.")


class InverseTimeDecay(_Decay):
    """The rate divided by 1 + `decay_rate` * updates / `decay_steps`."""

    decay_rate: PositiveNumber = Field(description="How fast the rate falls.")
    staircase: bool = Field(default=False, description="Fall in steps instead of smoothly.")


class PolynomialDecay(_Decay):
    """From the base rate to `end_learning_rate` along a polynomial."""

    end_learning_rate: NonNegativeNumber = Field(default=0.0001, description="The last rate.")
    power: PositiveNumber = Field(default=1.0, description="The polynomial's power; 1 is a straight line.")
    cycle: bool = Field(default=False, description="Start again after `decay_steps`.")


class PiecewiseConstantDecay(Schedule):
    """A list of rates, one per piece of the run; the optimizer's own rate is not used."""

    boundaries: list[PositiveInteger] | None = Field(
        default=None, min_length=1, description="Optimizer updates after which the next value holds."
    )
    boundaries_epochs: list[PositiveNumber] | None = Field(
        default=None, min_length=1, description="The same in epochs."
    )
    values: list[NonNegativeNumber] = Field(description="Rates; one more than boundaries.")

    @model_validator(mode="after")
    def _lengths(self) -> PiecewiseConstantDecay:
        _one_of(self, "boundaries", "boundaries_epochs", required=True)
        boundaries: list[Any] = list(self.boundaries or self.boundaries_epochs or [])
        if len(self.values) != len(boundaries) + 1:
            raise invalid(f"{len(boundaries)} boundaries need {len(boundaries) + 1} values, got {len(self.values)}")
        if boundaries != sorted(set(boundaries)):
            raise invalid(f"the boundaries must grow, got {boundaries}")
        return self

    def build(self, learning_rate: float, updates_per_epoch: float, total_updates: int, scale: int) -> Any:
        import keras

        steps = self.boundaries or [round(epochs * updates_per_epoch) for epochs in self.boundaries_epochs or []]
        return keras.optimizers.schedules.PiecewiseConstantDecay([step * scale for step in steps], self.values)


class ReduceLROnPlateau(Schedule):
    """Lower the rate when a metric has stopped improving (Keras' callback)."""

    monitor: str = Field(default="val_loss", description="The metric to watch, such as `val_loss` or `loss`.")
    factor: float = Field(default=0.1, gt=0, lt=1, description="Factor on the rate.")
    patience: NonNegativeInteger = Field(default=10, description="Epochs without improvement before it falls.")
    verbose: int = Field(default=0, ge=0, le=1, description="1 prints each change.")
    mode: Literal["auto", "min", "max"] = Field(default="auto", description="Whether smaller or larger is better.")
    min_delta: NonNegativeNumber = Field(default=1e-4, description="Smallest change that counts as improvement.")
    cooldown: NonNegativeInteger = Field(default=0, description="Epochs to wait after a change.")
    min_lr: NonNegativeNumber = Field(default=0.0, description="Smallest rate.")

    def build(self, learning_rate: float, updates_per_epoch: float, total_updates: int, scale: int) -> Any:
        raise TypeError("ReduceLROnPlateau is a callback; train.py makes it")
