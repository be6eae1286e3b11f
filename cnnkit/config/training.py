"""The `training` section: how long, with which optimizer, loss and schedule."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, PlainValidator, WithJsonSchema, model_validator

from cnnkit.config.objectives.losses import LOSSES, Loss
from cnnkit.config.objectives.metrics import METRICS, Metric
from cnnkit.config.optimization.optimizers import OPTIMIZERS, Adam, Optimizer
from cnnkit.config.optimization.schedules import SCHEDULES, ReduceLROnPlateau, Schedule
from cnnkit.config.stages import Stage
from cnnkit.format.base import Choice, StrictModel, describe, invalid
from cnnkit.format.fields import (
    LARGEST_COUNT,
    NonNegativeInteger,
    NonNegativeNumber,
    Number,
    PositiveInteger,
    PositiveNumber,
    Rate,
    is_number,
    is_whole,
    whole_schema,
)
from cnnkit.machine.processor import MOST_THREADS
from cnnkit.task import Figure


class EarlyStopping(StrictModel):
    """Stop when a metric has stopped improving (Keras' callback). The best epoch is kept with or without it."""

    monitor: str = Field(
        default="val_loss",
        description="The metric to watch, such as `val_accuracy`. Where it is left out, `training.monitor` is watched, "
        "if that is given.",
    )
    min_delta: NonNegativeNumber = Field(default=0, description="Smallest change that counts as improvement.")
    patience: NonNegativeInteger = Field(default=0, description="Epochs without improvement before it stops.")
    mode: Literal["auto", "min", "max"] = Field(default="auto", description="Whether smaller or larger is better.")
    baseline: Number | None = Field(default=None, description="A value that must be beaten.")
    start_from_epoch: NonNegativeInteger = Field(default=0, description="Epochs before it begins to watch.")


_WEIGHT_RULES = ("balanced", "median_frequency")


def _class_weights(value: Any) -> Any:
    if value is None or (isinstance(value, str) and value in _WEIGHT_RULES):
        return value
    if isinstance(value, list | dict) and value:
        for place, weight in value.items() if isinstance(value, dict) else enumerate(value):
            if not is_number(weight) or weight < 0:
                raise invalid(f"expected a number of at least 0, got {describe(weight)}", argument=place)
        return value
    raise invalid(
        "expected `balanced`, `median_frequency`, a list with one weight per class, or a mapping from class name to "
        f"weight (numbers of at least 0), got {describe(value)}"
    )


def _auto_or_count(most: int) -> Any:
    def validate(value: Any) -> Any:
        if value == "auto" or is_whole(value, 1, most):
            return value
        raise invalid(f"expected `auto` or a whole number from 1 to {most:,}, got {describe(value)}")

    return validate


def _auto_or_count_schema(most: int) -> dict[str, Any]:
    return {"anyOf": [{"const": "auto"}, whole_schema(1, most)]}


#: `auto`, or a number of training steps.
AutoOrSteps = Annotated[
    int | Literal["auto"],
    PlainValidator(_auto_or_count(LARGEST_COUNT)),
    WithJsonSchema(_auto_or_count_schema(LARGEST_COUNT)),
]

#: `auto`, or a number of threads.
AutoOrThreads = Annotated[
    int | Literal["auto"],
    PlainValidator(_auto_or_count(MOST_THREADS)),
    WithJsonSchema(_auto_or_count_schema(MOST_THREADS)),
]


class TrainingConfig(StrictModel):
    """How the network learns."""

    displaced: ClassVar[Mapping[str, tuple[str, ...]]] = {"stages": ("epochs",)}

    epochs: PositiveInteger = Field(
        default=10, description="Passes over the training split; with `stages`, those of all stages together."
    )
    stages: list[Stage] = Field(
        default=[],
        description="Parts of the training in order, each of which trains its own layers: `[{epochs: 3, freeze: stem}, "
        "{epochs: 10, unfreeze: all, learning_rate: 1e-5}]`. Without any, all epochs train the same.",
    )
    optimizer: Annotated[Optimizer, Choice(OPTIMIZERS)] = Field(
        default=Adam.with_defaults(),
        description="A Keras optimizer with its arguments: gradient clipping, weight decay, gradient "
        "accumulation and the moving average of the weights are arguments of it.",
    )
    schedule: Annotated[Schedule, Choice(SCHEDULES)] | None = Field(
        default=None,
        description="A Keras learning-rate schedule, or ReduceLROnPlateau; the base rate is the optimizer's.",
    )
    warmup_epochs: float = Field(
        default=0.0,
        ge=0,
        le=LARGEST_COUNT,
        description="Epochs over which the rate grows linearly from 0; the schedule starts after them.",
    )
    layer_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Factor on the learning rate from level to level towards the input (Clark 2020, arXiv:2003.10555): "
        "the level nearest the output learns at the rate, the one before it at `layer_decay` times that, and so on. A "
        "layer with a kernel is a level, with the normalization after it; a Residual or Branches is one; a Backbone "
        "has 12, of consecutive layers. Weight decay follows the rate.",
    )
    loss: Annotated[Loss, Choice(LOSSES)] | None = Field(
        default=None,
        description="A Keras loss; by default categorical cross-entropy, or binary for a sigmoid head. `val_loss` and "
        "the test split's `loss` are this one, with what regularizers add, and never see `label_smoothing`; "
        "evaluation.json has the `cross_entropy` beside it.",
    )
    metrics: list[Annotated[Metric, Choice(METRICS)]] = Field(
        default=[],
        description="Keras metrics to record besides loss and accuracy: of training and validation images in "
        "metrics.csv, of the test split under `metrics` in evaluation.json. Those that tell positive labels from "
        "negative ones count an image that MixUp or CutMix has mixed as the class with the larger share, as accuracy "
        "does.",
    )
    monitor: str | None = Field(
        default=None,
        description="The metric that chooses the best epoch, whose weights model.keras holds, such as `val_loss` or "
        "`val_auc`. Ties go to the smaller loss, then to the earlier epoch. `epoch` keeps the last one, as suits a "
        "rate that falls to 0 where the validation images are few or unlike others. By default `val_accuracy`; "
        "without validation images, the last epoch.",
    )
    label_smoothing: Rate = Field(
        default=0.0, description="Share of each training label spread over all classes; validation is not smoothed."
    )
    class_weights: Annotated[
        Any,
        PlainValidator(_class_weights),
        WithJsonSchema(
            {"anyOf": [{"enum": list(_WEIGHT_RULES)}, {"type": "array"}, {"type": "object"}, {"type": "null"}]}
        ),
    ] = Field(
        default=None,
        description="Weight of each class in the loss: `balanced` (inverse to its share of the training split), "
        "`median_frequency` (of masks: the median of the classes' shares of the images in which they occur, divided by "
        "its own; Eigen and Fergus 2015), a list in the order of the classes (of a folder: the names sorted as text), "
        "or a mapping from class name to weight (1 for classes left out).",
    )
    exclude_from_weight_decay: list[str] = Field(
        default=[],
        description="Weights that the optimizer's `weight_decay` leaves alone, by name: [bias, gamma, beta] leaves out "
        "biases and batch normalization. A name that no weight has means all weights of a layer: its `name` or its "
        "place (`0.Conv2D`, `2.Residual/layers.0.Conv2D`).",
    )
    early_stopping: EarlyStopping | None = Field(default=None, description="When to stop before the last epoch.")
    dtype_policy: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = Field(
        default="auto",
        description="Keras' dtype policy for the run. `auto`: float32 on a CPU; on GPUs with tensor cores "
        "mixed_bfloat16 (compute capability 8.0 and up) or mixed_float16 (7.x). On a CPU, sums of bfloat16 are "
        "added up in float32; without instructions for bfloat16, mixed_bfloat16 takes somewhat longer than float32.",
    )
    jit: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether XLA compiles the training step: `auto` is on on a GPU, and off on a CPU but for networks "
        "that can be trained there only with it.",
    )
    steps_per_execution: AutoOrSteps = Field(
        default="auto",
        description="Training steps between two returns to Python: `auto` is 8 on a CPU and 32 on a GPU, at most an "
        "epoch.",
    )
    threads: AutoOrThreads = Field(
        default="auto",
        description="Threads that compute one operation together (TensorFlow's intra-op threads): `auto` is one for "
        "each core that the process may use.",
    )
    onednn: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether oneDNN computes on the CPU: `auto` is on where the processor has AVX2, else as TensorFlow "
        "decides. The environment variable TF_ENABLE_ONEDNN_OPTS, where set, decides instead.",
    )
    fused_activations: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether `gelu` and `silu` are computed in one pass each way, where Keras has several; equal up to "
        "rounding. It is for one device, and changes nothing for several. `auto` is on on a CPU with instructions for "
        "bfloat16, without XLA, whose own loops do the same.",
    )
    forward_filter_gradients: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether the gradients of a convolution's filters are computed by the kernels of the forward "
        "pass, for layers of stride 1 with at least 64 channels and 128 filters; equal up to rounding. It is for CPUs "
        "without XLA, and changes nothing elsewhere. `auto` is off; `train --tune` tries it.",
    )
    strategy: Literal["auto", "one_device", "mirrored", "multi_worker"] = Field(
        default="auto",
        description="The devices that share each batch: `one_device`; `mirrored`, all GPUs of the machine; "
        "`multi_worker`, the processes that TF_CONFIG or Slurm names, each with all its GPUs. `auto` takes the "
        "processes of TF_CONFIG, else several GPUs, else one device.",
    )
    synchronize_batch_norm: Literal["auto", "on", "off"] = Field(
        default="auto",
        description="Whether batch normalization takes the statistics of the whole batch where several devices share "
        "it, as one device would; `auto` does. Without, each device has those of its share, which costs no "
        "communication, and the first one's are kept.",
    )
    checkpoint_minutes: PositiveNumber | None = Field(
        default=5.0,
        description="Minutes between two checkpoints within an epoch, besides those at each epoch's end; `null` for "
        "none. A run that is killed loses at most what came after its last one.",
    )
    tensorboard: bool = Field(default=True, description="Whether to write TensorBoard event files.")

    @model_validator(mode="after")
    def _weight_decay_to_exclude_from(self) -> Self:
        decays = [
            decay
            for part in self.in_stages()
            for decay in (part.optimizer.weight_decay, getattr(part.optimizer, "adam_weight_decay", None))
        ]
        if self.exclude_from_weight_decay and not any(decay is not None for decay in decays):
            raise invalid("`exclude_from_weight_decay` is set, but the optimizer has no `weight_decay`")
        return self

    @model_validator(mode="after")
    def _one_loss_scale(self) -> Self:
        if self.dtype_policy == "mixed_float16" and self.scales_loss:
            raise invalid("`mixed_float16` scales the loss by itself; leave out the optimizer's `loss_scale_factor`")
        return self

    @model_validator(mode="after")
    def _epochs_of_stages(self) -> Self:
        total = sum(stage.epochs for stage in self.stages)
        if not self.stages or self.epochs == total:
            return self
        if "epochs" in self.model_fields_set:
            raise invalid(
                f"`epochs` is {self.epochs}, but the {len(self.stages)} `stages` have {total} together; leave `epochs` "
                f"out, or change those of a stage (`training.stages[{len(self.stages) - 1}].epochs`)",
                argument="epochs",
            )
        return self.model_copy(update={"epochs": total})

    def in_stages(self) -> tuple[Self, ...]:
        """This section as it holds in each stage, in order; itself, where there are none."""
        return tuple(self._in(stage) for stage in self.stages) or (self,)

    def _in(self, stage: Stage) -> Self:
        update: dict[str, Any] = {"epochs": stage.epochs, "stages": []}
        for name in ("optimizer", "schedule", "warmup_epochs", "layer_decay"):
            if getattr(stage, name) is not None:
                update[name] = getattr(stage, name)
        if stage.learning_rate is not None:
            update["optimizer"] = self.optimizer.model_copy(update={"learning_rate": stage.learning_rate})
        return self.model_copy(update=update)

    @property
    def scales_loss(self) -> bool:
        """Whether an optimizer scales the loss by a factor of its own."""
        return any(part.optimizer.loss_scale_factor is not None for part in self.in_stages())

    def watching(self, figures: Sequence[Figure]) -> Self:
        """This section, in which what watches a metric and names none watches `monitor`, in a direction that is said.

        Args:
            figures: The columns of metrics.csv beside those of `metrics`.
        """

        def told(watcher: Any) -> Any:
            update: dict[str, Any] = {}
            if (
                self.monitor is not None
                and self.direction(self.monitor, figures)
                and "monitor" not in watcher.model_fields_set
            ):
                update["monitor"] = self.monitor
            direction = self.direction(update.get("monitor", watcher.monitor), figures)
            if watcher.mode == "auto" and direction is not None:
                update["mode"] = direction
            return watcher.model_copy(update=update) if update else watcher

        def with_told(section: Any, *names: str) -> Any:
            watchers = {name: getattr(section, name) for name in names}
            changed = {
                name: now
                for name, watcher in watchers.items()
                if isinstance(watcher, EarlyStopping | ReduceLROnPlateau) and (now := told(watcher)) is not watcher
            }
            return section.model_copy(update=changed) if changed else section

        section: Self = with_told(self, "early_stopping", "schedule")
        stages = [with_told(stage, "schedule") for stage in self.stages]
        if any(now is not before for now, before in zip(stages, self.stages, strict=True)):
            section = section.model_copy(update={"stages": stages})
        return section

    def direction(self, column: str, figures: Sequence[Figure]) -> Literal["max", "min"] | None:
        """Whether the largest or the smallest value of a column of metrics.csv is the best; None if it is no metric."""
        known = {
            **{figure.name: figure.mode for figure in figures},
            **{metric.column: metric.better for metric in self.metrics},
        }
        return known.get(column.removeprefix("val_"))

    @property
    def plateau(self) -> ReduceLROnPlateau | None:
        """The schedule if it is ReduceLROnPlateau."""
        return self.schedule if isinstance(self.schedule, ReduceLROnPlateau) else None
