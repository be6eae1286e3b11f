"""From a config to what `fit` needs: data, runtime settings, and the compiled network."""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from cnnkit.config.staged import StagePlan, stage_plans
from cnnkit.errors import UsageError
from cnnkit.format.document import dump
from cnnkit.layers.base import Sharing
from cnnkit.layers.stack import head as head_of
from cnnkit.layers.weight_paths import meant
from cnnkit.machine.devices import join_others
from cnnkit.machine.tensorflow import request
from cnnkit.network.footprint import Footprint, check_training, of_others, of_training
from cnnkit.runs.inference import inference_batch_size
from cnnkit.training.course import Course
from cnnkit.training.model import (
    build_model,
    build_other,
    measure_initial_weights,
    normalization_constants,
    train_only,
    weights_by_path,
)
from cnnkit.training.settings import Runtime, choose_settings

if TYPE_CHECKING:
    from cnnkit.config.load import LoadedConfig
    from cnnkit.config.run import RunConfig
    from cnnkit.config.sample import Sample
    from cnnkit.config.target import Target
    from cnnkit.config.training import TrainingConfig
    from cnnkit.data import DataSets
    from cnnkit.layers.stack import Step
    from cnnkit.machine.devices import Devices
    from cnnkit.training.initial_weights import InitialWeights
    from cnnkit.training.learned_weights import LearnedWeights
    from cnnkit.training.loop import Loop, Position

log = logging.getLogger("cnnkit")


@dataclass
class Preparation:
    """All that `fit` needs.

    Attributes:
        model: What is trained: the network, or a model of the task's around it.
        images_per_epoch: Those that all steps of an epoch see.
        target: What is learned, as far as it is measured on the training images.
        plateau: The callback of the stage that the model is compiled for; None without one.
        plans: What each stage does.
        course: Which one the model is compiled for.
    """

    config: RunConfig
    data: DataSets
    runtime: Runtime
    model: Any
    head: str
    steps_per_epoch: int
    images_per_epoch: int
    class_names: tuple[str, ...]
    target: Target
    plateau: Any
    plans: tuple[StagePlan, ...]
    course: Course

    @property
    def network(self) -> Any:
        """The network that is kept."""
        return self.config.task.network(self.model)

    @property
    def plan(self) -> StagePlan:
        """The stage that the model is compiled for."""
        return self.plans[self.course.stage]

    def begin_next_stage(self, epoch: int) -> None:
        """Compiles the model for the next stage, whose weights are those that this one has led to.

        As at the end of Keras' `fit`, averages take the place of the weights that were averaged.

        Args:
            epoch: Epochs of the run that have ended.
        """
        model = self.model
        model.optimizer.finalize_variable_values(model.trainable_variables)
        self.course.advance(epoch)
        self.plateau = compile_for(
            self.plan, model, self.config, self.target, self.head, self.runtime, self.steps_per_epoch
        )


def load_data(loaded: LoadedConfig) -> DataSets:
    """The images that a run trains and validates on."""
    from cnnkit import data as data_module

    config = loaded.config
    # Loading the data may load TensorFlow.
    request(config.training.onednn, config.training.threads)
    digest = hashlib.sha256(dump(config.to_plain()).encode()).hexdigest()
    join_others(config.training.strategy, {"digest of the config": digest[:12]})
    return data_module.load(config.data, config.seed, config.task, splits=("train", "validation"), info=loaded.info)


def prepare(
    loaded: LoadedConfig,
    data: DataSets | None = None,
    initial: InitialWeights | None = None,
    course: Course | None = None,
    learned: Sequence[LearnedWeights] = (),
) -> Preparation:
    """Loads the data, chooses the runtime settings, builds and compiles the model.

    Args:
        data: What `load_data` returned, where it has been called.
        initial: The weights of a run to begin with.
        course: The stage to go on with; by default the first one.
        learned: What the backbones begin with.
    """
    from cnnkit import data as data_module

    config = loaded.config
    # Neither a run that goes on, nor what is measured to choose its settings.
    is_new = data is None and course is None
    if data is None:
        data = load_data(loaded)
    assert data.train is not None
    if initial is not None:
        initial.check_vocabulary(data.info.sample.vocabulary)
    steps = steps_of(config, data)
    stack = loaded.steps
    chosen = choose_settings(config.training, loaded.all_steps, steps)
    _check_shares(config, data.train.size, chosen.devices)
    config = config.model_copy(update={"data": config.data.model_copy(update={"memory": data.memory})})
    config = resolved(config, chosen)
    plans, course = stage_plans(config.training, stack), course or Course.of(config.training, None)
    if chosen.device == "CPU":
        largest = config.steps_in_training(stack, data.info.values)[-1]
        for plan in plans:
            check_training(_footprint(plan, config, data, largest, chosen.devices, loaded.others))
        if is_new and chosen.devices.is_chief:
            for warning in config.task.warnings(loaded):
                log.warning("%s", warning)
    measured = None
    if config.data.normalization == "standardize":
        with data_module.naming_corrupt_files(data.train, data.validation):
            measured = data_module.channel_statistics(data.train)
    constants = normalization_constants(config, measured)
    target = config.task.measure_target(data.info.target, data.train)

    def initialize(model: Any) -> None:
        assert data.train is not None
        measure_initial_weights(model, data.train)
        for weights in learned:
            weights.assign_to(model)
        if initial is not None:
            initial.assign_to(model)

    plan = plans[course.stage]
    model, plateau = compile_model(
        config,
        target,
        stack,
        constants,
        chosen,
        steps,
        initialize,
        plan,
        lambda network, others: config.task.make_trainer(network, config, data, others),
        data.info.sample,
        loaded.others,
    )
    head = head_of([step.layer for step in stack])
    names = data.info.target.all_names
    images = steps * config.data.batch_size
    if config.task.steps_per_epoch() is None:
        images = min(data.train.size, images)
    return Preparation(config, data, chosen, model, head, steps, images, names, target, plateau, plans, course)


def steps_of(config: RunConfig, data: DataSets) -> int:
    """How many steps an epoch has."""
    from cnnkit import data as data_module

    own = config.task.steps_per_epoch()
    if own is not None:
        return own
    assert data.train is not None
    return data_module.steps_per_epoch(data.train.size, config.data.batch_size, config.data.drop_remainder)


def _check_shares(config: RunConfig, images: int, devices: Devices) -> None:
    """Raises UsageError where a batch has no image for some replica."""
    batch_size = config.data.batch_size
    last = 0 if config.data.drop_remainder else images % batch_size
    smallest = last or batch_size
    if smallest < devices.replicas:
        which = "an epoch's last batch has" if last else "`data.batch_size` is"
        raise UsageError(
            f"{which} {smallest}, but {devices.replicas} devices share each batch",
            "Write `data.drop_remainder: true`, another `data.batch_size`, or train on fewer devices.",
        )


def _footprint(
    plan: StagePlan,
    config: RunConfig,
    data: DataSets,
    stack: Sequence[Step],
    devices: Devices,
    others: Mapping[str, Sequence[Step]],
) -> Footprint:
    splits = [split for split in (data.train, data.validation) if split is not None and data.memory == "cache"]
    images = sum(split.size * math.prod(split.shape) for split in splits)
    batch = config.data.batch_size if data.train is None else min(config.data.batch_size, data.train.size)
    batch = -(-batch * devices.local // devices.replicas)
    kept = of_training(plan.steps(stack), plan.training, batch, images, plan.layers)
    return reduce(Footprint.beside, of_others(config, others, batch).values(), kept)


def compile_model(
    config: RunConfig,
    target: Target,
    stack: Sequence[Step],
    constants: tuple[Sequence[float], Sequence[float]] | None,
    chosen: Runtime,
    steps_per_epoch: int,
    initialize: Callable[[Any], None] = lambda model: None,
    plan: StagePlan | None = None,
    make_trainer: Callable[[Any, Mapping[str, Any]], Any] = lambda network, others: network,
    sample: Sample | None = None,
    others: Mapping[str, Sequence[Step]] = MappingProxyType({}),
) -> tuple[Any, Any]:
    """The compiled Keras model with a built optimizer, and the plateau callback (None without one).

    Args:
        config: With the settings that run in place of every `auto`.
        stack: The layers of the config, see `LoadedConfig.steps`.
        constants: Mean and variance per channel for the normalisation in front; None for none.
        initialize: Sets weights that no initializer can. The optimizer is built after it: ScheduleFreeAdamW begins
            with a copy of the weights.
        plan: The stage that it is compiled for; by default the first one.
        make_trainer: Makes the model that is trained of the network, see `Task.make_trainer`.
        sample: As for `build_model`.
        others: The layers of further networks.
    """
    import keras

    # Everything random has a seed of its own; this is for what a future Keras may add.
    keras.utils.set_random_seed(config.seed)
    devices = chosen.devices
    with devices.scope():
        several = devices.replicas > 1
        sharing = Sharing(draws=several, statistics=several and chosen.synchronize_batch_norm)
        own = constants if config.task.takes_images else None
        network = build_model(config, stack, target, own, sharing, sample)
        initialize(network)
        built = {name: build_other(config, name, steps, constants, sharing) for name, steps in others.items()}
        model = make_trainer(network, built)
    plan = plan or stage_plans(config.training, stack)[0]
    head = head_of([step.layer for step in stack])
    return model, compile_for(plan, model, config, target, head, chosen, steps_per_epoch)


def compile_for(
    plan: StagePlan,
    model: Any,
    config: RunConfig,
    target: Target,
    head: str,
    chosen: Runtime,
    steps_per_epoch: int,
) -> Any:
    """Compiles a built model for a stage, with a new optimizer; returns the plateau callback (None without one).

    Args:
        plan: The stage.
        config: With the settings that run in place of every `auto`.
        head: What the network outputs, see `layers.stack.head`.
    """
    from cnnkit.training.schedules import make_rate, scale_rates

    training, devices = plan.training, chosen.devices
    network = config.task.network(model)
    if config.training.stages:
        train_only(plan.trained, network)
    with devices.scope():
        rate, plateau = make_rate(training, steps_per_epoch)
        optimizer = make_optimizer(training, rate, network)
        model.other_optimizers = {
            name: _make_other_optimizer(name, other, training, config, steps_per_epoch)
            for name, other in config.task.other_networks(model).items()
        }
    if devices.replicas > 1:
        from cnnkit.training.replicas import add_up_gradients

        add_up_gradients(optimizer)
    if plan.rates:
        weights = weights_by_path(network)
        # The name of a weight may have several parts, as attention's `query/kernel`.
        layer_of = {layer.path_of(weight): layer.path for layer in plan.layers for weight in layer.weights}
        rates = {id(weight): plan.rates[layer_of[path]] for path, weight in weights.items()}
        scale_rates(optimizer, [rates[id(variable)] for variable in network.trainable_variables])
    # Outside of the scope: each process measures its own shares, and `Loop` adds them up.
    model.compile(
        optimizer=optimizer,
        loss=config.task.make_loss(training, head, target),
        metrics=config.task.make_metrics(training, head, target, config.mixes_labels),
        jit_compile=chosen.jit_compile,
        steps_per_execution=chosen.steps_per_execution,
        auto_scale_loss=False,
    )
    return plateau


def make_optimizer(training: TrainingConfig, rate: Any, model: Any) -> Any:
    """The Keras optimizer of a model, built, so that all its variables are there.

    Args:
        rate: The learning rate, a number or a Keras schedule.
    """
    import keras

    optimizer = training.optimizer.build(rate)
    if training.exclude_from_weight_decay:
        weights = weights_by_path(model)
        # Not by name: Keras would look for names anywhere in the names of layers, too.
        left = {path for name in training.exclude_from_weight_decay for path in meant(name, weights)}
        optimizer.exclude_from_weight_decay(var_list=[weights[path] for path in sorted(left)])
    # Before it is wrapped: a LossScaleOptimizer builds it with Keras' tracking off, and a variable that an optimizer
    # makes by itself (Nadam's product of momenta) would be missing from its variables, and so from the checkpoint.
    optimizer.build(model.trainable_variables)
    if training.dtype_policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(model.trainable_variables)
    return optimizer


def _make_other_optimizer(
    name: str, network: Any, training: TrainingConfig, config: RunConfig, steps_per_epoch: int
) -> Any:
    """The optimizer of a network that is trained beside the one that is kept, with the same schedule."""
    from cnnkit.training.schedules import make_rate

    own = training.model_copy(update={"optimizer": config.task.optimizer_of(name, training)})
    rate, _ = make_rate(own, steps_per_epoch)
    return make_optimizer(own, rate, network)


def resolved(config: RunConfig, chosen: Runtime) -> RunConfig:
    """The config with the settings that run in place of every `auto`."""
    return config.model_copy(update={"training": config.training.model_copy(update=chosen.as_fields())})


def training_batches(prepared: Preparation, position: Position, epochs: int | None) -> Any:
    """The training batches from a position on.

    Args:
        position: The first batch's.
        epochs: How many epochs, the one begun included; None for no end.
    """
    from cnnkit import data as data_module

    config, data = prepared.config, prepared.data
    own = config.task.training_batches(prepared, position, epochs)
    if own is not None:
        return own
    assert data.train is not None
    transform = None
    augmentation = config.augmentation_in_training
    if augmentation:
        from cnnkit.augmentation.pipeline import Pipeline

        target = data.info.target
        transform = Pipeline(
            augmentation,
            config.seed,
            masks=target.per_pixel,
            ignore=target.ignore,
            boxes=target.boxed,
        )
    return data_module.training_batches(
        data.train,
        batch_size=config.data.batch_size,
        seed=config.seed,
        epoch=position.epoch,
        step=position.step,
        epochs=epochs,
        drop_remainder=config.data.drop_remainder,
        transform=transform,
        finish=config.task.finish_batches(config.training, data.train, data.info.target),
        devices=prepared.runtime.devices,
    )


def validation_batches(prepared: Preparation) -> Any:
    """The validation batches that this process measures; None without validation images."""
    from cnnkit import data as data_module

    data = prepared.data
    if data.validation is None or not prepared.config.task.validates:
        return None
    batch_size = inference_batch_size(prepared.network, data.info.shape)
    devices = prepared.runtime.devices
    return data_module.evaluation_batches(
        data.validation, batch_size=batch_size, first=devices.rank, every=devices.workers
    )


def make_loop(
    prepared: Preparation,
    callbacks: Sequence[Any] = (),
    epochs: int | None = None,
    ending: Callable[[], int] = lambda: 0,
) -> Loop:
    """The loop that trains a prepared network.

    Args:
        callbacks: Keras callbacks.
        epochs: Of the whole run; None for batches without end.
        ending: As for `Loop`.
    """
    from cnnkit.training.loop import Loop
    from cnnkit.training.replicas import step_on_replicas

    devices, train_step = prepared.runtime.devices, prepared.model.train_step
    if devices.replicas > 1:
        train_step = step_on_replicas(train_step, devices, prepared.config.data.batch_size)

    def batches(position: Position) -> Any:
        return training_batches(prepared, position, None if epochs is None else epochs - position.epoch)

    return Loop(
        prepared.model,
        batches,
        validation_batches(prepared),
        steps=prepared.steps_per_epoch,
        steps_per_execution=prepared.runtime.steps_per_execution,
        jit_compile=prepared.runtime.jit_compile,
        train_step=train_step,
        callbacks=callbacks,
        ending=ending,
        devices=devices,
    )
