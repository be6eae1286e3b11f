"""Optimizers by Keras' names, arguments and defaults."""

import re
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from cnnkit.format.base import NamedObject, Table, describe, invalid
from cnnkit.format.fields import (
    LARGEST_COUNT,
    Fraction,
    NonNegativeNumber,
    Number,
    PositiveNumber,
    Rate,
    Repetitions,
    Steps,
)


def _expression(value: Any) -> str:
    try:
        re.compile(value)
    except (re.error, TypeError):
        raise invalid(f"expected a regular expression, got {describe(value)}") from None
    return str(value)


#: A regular expression.
Expression = Annotated[str, PlainValidator(_expression), WithJsonSchema({"type": "string", "format": "regex"})]

OPTIMIZERS = Table(
    kind="optimizer",
    package="cnnkit.config.optimization",
    modules={
        "optimizers": (
            "SGD",
            "Adam",
            "AdamW",
            "Muon",
        ),
        "adaptive_optimizers": (
            "RMSprop",
            "Adadelta",
            "Adagrad",
            "Adamax",
            "Adafactor",
            "Nadam",
            "Ftrl",
            "Lion",
            "Lamb",
            "ScheduleFreeAdamW",
        ),
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
        "SGDW": "write `SGD: {learning_rate: 0.1, weight_decay: 0.0005}`, whose decay is decoupled",
        "NAG": "write `SGD: {learning_rate: 0.1, momentum: 0.9, nesterov: true}`",
        "Momentum": "write `SGD: {learning_rate: 0.1, momentum: 0.9}`",
        "RAdam": "the nearest is `Adam` with `training.warmup_epochs`",
        "Adan": "cnnkit has the optimizers of Keras",
        "LARS": "cnnkit has the optimizers of Keras, among them `Lamb`",
        "LossScaleOptimizer": "`dtype_policy: mixed_float16` puts it around the optimizer",
        "MultiOptimizer": "it needs one optimizer per group of variables, which the format cannot name yet",
    },
)


class Optimizer(NamedObject):
    """The arguments that every Keras optimizer has."""

    leading: ClassVar[str | None] = "learning_rate"
    #: Variables of each weight's shape that it makes whatever its arguments, and whether momentum is one more.
    states: ClassVar[int] = 1
    state_of_momentum: ClassVar[bool] = False
    alternatives: ClassVar[tuple[tuple[str, ...], ...]] = (("clipnorm", "clipvalue", "global_clipnorm"),)

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
    ema_momentum: Fraction = Field(
        default=0.99,
        description="Share of the old average kept at each batch (each of an update's, with gradient accumulation).",
    )
    ema_overwrite_frequency: Steps | None = Field(
        default=None,
        description="Batches after which the weights themselves are replaced by their average (updates, with gradient "
        "accumulation).",
    )
    loss_scale_factor: PositiveNumber | None = Field(default=None, description="Factor on the loss, undone later.")
    gradient_accumulation_steps: int | None = Field(
        default=None, ge=2, le=LARGEST_COUNT, description="Batches whose gradients are averaged into one update."
    )

    @model_validator(mode="after")
    def _one_clip(self) -> Self:
        given = [name for name in ("clipnorm", "clipvalue", "global_clipnorm") if getattr(self, name) is not None]
        if len(given) > 1:
            raise invalid(f"has {' and '.join(f'`{name}`' for name in given)}; Keras takes one of them")
        return self

    def copies(self) -> int:
        """Variables of each trainable weight's shape that the optimizer makes, at the least."""
        momentum = getattr(self, "momentum", 0) > 0
        further = (self.use_ema, self.gradient_accumulation_steps is not None)
        states = self.states + (momentum and self.state_of_momentum) + getattr(self, "amsgrad", False)
        return states + getattr(self, "centered", False) + sum(further)

    def build(self, learning_rate: Any) -> Any:
        """The Keras optimizer with the given rate: a number or a Keras schedule."""
        import keras

        arguments = {name: getattr(self, name) for name in type(self).model_fields}
        arguments["learning_rate"] = learning_rate
        return getattr(keras.optimizers, type(self).__name__)(**arguments)


BETA = "Decay of the running average of the gradient."
BETA_2 = "Decay of the running average of its square."
EPSILON = "Added to a denominator for numerical stability."


class SGD(Optimizer):
    """Gradient descent, with momentum where it is above 0."""

    states: ClassVar[int] = 0
    state_of_momentum: ClassVar[bool] = True

    learning_rate: PositiveNumber = Field(default=0.01, description="Step size; the base rate of a schedule.")
    momentum: Fraction = Field(default=0.0, description="Share of the last step that is kept.")
    nesterov: bool = Field(default=False, description="Nesterov's form of momentum.")


class Adam(Optimizer):
    """Adam (Kingma & Ba 2014)."""

    states: ClassVar[int] = 2

    beta_1: Rate = Field(default=0.9, description=BETA)
    beta_2: Rate = Field(default=0.999, description=BETA_2)
    epsilon: NonNegativeNumber = Field(default=1e-7, description=EPSILON)
    amsgrad: bool = Field(default=False, description="The AMSGrad form.")


class AdamW(Adam):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2017)."""

    weight_decay: NonNegativeNumber = Field(
        default=0.004, description=Optimizer.model_fields["weight_decay"].description
    )


class Muon(Optimizer):
    """Muon (Jordan 2024): orthogonalised updates for weights with two axes, Adam for all others.

    Keras gives a convolution's kernel, which has four axes, to Adam; `convolutions: true` takes it for a matrix
    [height * width * channels, filters], as the method's author does (github.com/KellerJordan/Muon).
    """

    convolutions: bool = Field(default=False, description="Whether Muon updates convolution kernels too.")
    normalize_kernels: bool = Field(
        default=False,
        description="With `convolutions`: scale each of these kernels to the norm sqrt(filters) before each update, as "
        "cifar10-airbench does: after a batch normalization, a rate then means the same throughout a run.",
    )

    weight_decay: NonNegativeNumber | None = Field(
        default=0.004, description="Decoupled weight decay of the weights that Muon updates."
    )
    adam_beta_1: Rate = Field(default=0.9, description=BETA)
    adam_beta_2: Rate = Field(default=0.999, description=BETA_2)
    adam_weight_decay: NonNegativeNumber | None = Field(
        default=0.004, description="Decoupled weight decay of the weights that Adam updates."
    )
    epsilon: NonNegativeNumber = Field(default=1e-7, description=EPSILON)
    exclude_layers: list[Expression] | None = Field(
        default=None,
        description="Regular expressions, each found in names of layers that Adam updates (`head`, `Dense`).",
    )
    exclude_embeddings: bool = Field(default=True, description="Whether Adam updates embeddings.")
    muon_a: Number = Field(default=3.4445, description="Newton-Schulz coefficient a.")
    muon_b: Number = Field(default=-4.775, description="Newton-Schulz coefficient b.")
    muon_c: Number = Field(default=2.0315, description="Newton-Schulz coefficient c.")
    adam_lr_ratio: PositiveNumber = Field(default=1, description="Adam's rate as a multiple of `learning_rate`.")
    momentum: Fraction = Field(default=0.95, description="Share of the last step that is kept.")
    ns_steps: Repetitions = Field(default=5, description="Newton-Schulz iterations.")
    nesterov: bool = Field(default=True, description="Nesterov's form of momentum.")
    rms_rate: NonNegativeNumber | None = Field(default=0.2, description="Root mean square that updates are scaled to.")

    @model_validator(mode="after")
    def _kernels_to_normalize(self) -> Self:
        if self.normalize_kernels and not self.convolutions:
            raise invalid("`normalize_kernels` has no effect without `convolutions: true`")
        return self

    def build(self, learning_rate: Any) -> Any:
        import keras

        arguments = {name: getattr(self, name) for name in type(self).model_fields}
        arguments["learning_rate"] = learning_rate
        if not arguments.pop("convolutions"):
            del arguments["normalize_kernels"]
            return keras.optimizers.Muon(**arguments)
        from cnnkit.config.optimization.muon import ConvolutionMuon

        return ConvolutionMuon(**arguments)
