"""The training of a config as Python: optimizer, schedule, loss, metrics and callbacks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from cnnkit.config.optimization.decays import PiecewiseConstantDecay
from cnnkit.config.optimization.schedules import ReduceLROnPlateau, Schedule
from cnnkit.config.script_parts import ScriptParts
from cnnkit.config.staged import StagePlan
from cnnkit.config.training import TrainingConfig
from cnnkit.eject.nodes import Leaf
from cnnkit.eject.text import call_text, copied, keras_name, literal, named, number, wrapped
from cnnkit.format.script import Argument, Call, Raw
from cnnkit.layers.weight_paths import SEPARATOR, keras_path, meant
from cnnkit.runs.best import Monitor
from cnnkit.task import Task

#: Keras' guide to fine-tuning: flags first, then `compile`.
_TRAIN_ONLY = '''\
def train_only(model, names):
    """Freezes all layers with weights but those of these names."""
    # This sets those inside, too, so it comes first.
    model.trainable = True
    for name, layer in named_layers(model):
        if layer.weights:
            layer.trainable = name in names
'''

_NAMED_LAYERS = '''\
def named_layers(model, outer=""):
    """The layers of a model with their names; one in a network inside is called `network/layer`."""
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            yield from named_layers(layer, f"{outer}{layer.name}/")
        else:
            yield outer + layer.name, layer
'''

_BEST_MODEL = '''\
class BestModel(keras.callbacks.Callback):
    """Keeps the model of the epoch with the {largest} {metric}; the lower loss breaks ties."""

    best = None

    def on_epoch_end(self, epoch, logs=None):
        score = {sign}logs["{metric}"], -logs["{tie_breaker}"]
        if self.best is None or score > self.best:
            self.best = score
            self.model.save(BEST)
'''


@dataclass
class TrainingText:
    """What a script needs to train.

    Attributes:
        functions: Classes that Keras lacks.
        rate: Lines that leave `rate`, the learning rate; `steps` are the batches of an epoch.
        optimizer: Lines that leave `optimizer`.
        compiled: The arguments of `compile`, beside the optimizer.
        callbacks: One expression each, but for `best`.
        best: The callback that keeps the best epoch, as an expression; it follows the others.
        trained: The lines before `rate` that say what is trained; none where that does not change.
        scaled: The lines after the optimizer is built that give each layer its rate; none where all have the same.
        counts_layers: Whether layers are called by names that Keras gives them, by counting.
    """

    functions: list[str] = field(default_factory=list)
    rate: list[str] = field(default_factory=list)
    optimizer: list[str] = field(default_factory=list)
    compiled: list[str] = field(default_factory=list)
    callbacks: list[str] = field(default_factory=list)
    best: str = ""
    trained: list[str] = field(default_factory=list)
    scaled: list[str] = field(default_factory=list)
    counts_layers: bool = False


def write_training(
    training: TrainingConfig,
    task: Task,
    parts: ScriptParts,
    jit: str,
    validated: bool,
    leaves: Sequence[Leaf],
    plan: StagePlan | None = None,
) -> TrainingText:
    """The text of everything between a model and `fit`.

    Args:
        training: That of a stage, where there are some.
        parts: The task's, see `Task.script`.
        jit: Whether XLA compiles the training step, as an expression.
        validated: Whether there is a validation split.
        leaves: The network's layers.
        plan: The stage.
    """
    text = TrainingText()
    _write_rate(training, text, "EPOCHS" if plan is None else str(training.epochs))
    _write_optimizer(training, text, leaves)
    if plan is not None and plan.rates:
        _write_scaled(plan, text, leaves)
    text.functions += parts.functions
    text.functions += [copied(module, names) + "\n" for module, names in parts.copied.items()]
    steps = training.steps_per_execution
    text.compiled = [
        f"loss={call_text(parts.loss)}",
        f"metrics=[{', '.join(map(literal, parts.metrics))}]",
        f"steps_per_execution={'min(8, steps)' if steps == 'auto' else steps}",
        f"jit_compile={jit}",
    ]
    if training.optimizer.use_ema:
        # In front of what keeps the best epoch, so that it keeps the averaged weights.
        text.callbacks.append("keras.callbacks.SwapEMAWeights(swap_on_epoch=True)")
    if training.early_stopping is not None:
        stopping = named("keras.callbacks.EarlyStopping", None, **training.early_stopping.to_plain())
        text.callbacks.append(call_text(stopping))
    if training.schedule is not None or training.warmup_epochs:
        text.functions.append(copied("cnnkit.training.schedules", ["EpochRate"]) + "\n")
        text.callbacks.append("EpochRate()")
    monitor = Monitor.of_config(training, task)
    chooses = not monitor.keeps_last and (validated or not monitor.metric.startswith("val_"))
    if chooses:
        text.functions.append(_best_model(monitor))
    text.best = "BestModel()" if chooses else "keras.callbacks.ModelCheckpoint(BEST)"
    return text


def write_trained(plan: StagePlan, text: TrainingText, leaves: Sequence[Leaf]) -> None:
    """Adds to the text of a stage what it trains."""
    text.functions += [_NAMED_LAYERS, _TRAIN_ONLY]
    trained = _names_in_script(leaves, plan.trained)
    text.trained = [f"train_only(model, {literal([name for name, _, _ in trained])})"]
    text.counts_layers = text.counts_layers or any(leaf.is_numbered for _, _, leaf in trained)


def _names_in_script(leaves: Sequence[Leaf], paths: Collection[str]) -> list[tuple[str, str, Leaf]]:
    """What `named_layers` calls the layers of some paths: that name, the path, and the layer it is or is inside of."""
    named_paths = [(leaf.name, leaf.path, leaf) for leaf in leaves if leaf.path in paths]
    for leaf in leaves:
        inside = leaf.path + SEPARATOR
        within = sorted(path for path in paths if path.startswith(inside))
        named_paths += [(f"{leaf.name}/{path.removeprefix(inside)}", path, leaf) for path in within]
    return named_paths


def _write_scaled(plan: StagePlan, text: TrainingText, leaves: Sequence[Leaf]) -> None:
    text.functions.append(copied("cnnkit.training.schedules", ["scale_rates"]) + "\n")
    text.functions.append(_NAMED_LAYERS)
    levels = _names_in_script(leaves, plan.levels)
    decay = number(plan.training.layer_decay)
    rates = {name: Raw(f"{decay}**{plan.levels[path]}") for name, path, _ in levels}
    text.scaled = [
        f"rates = {literal(rates)}",
        "layer_of = {id(weight): name for name, layer in named_layers(model) for weight in layer.weights}",
        "scale_rates(optimizer, [rates[layer_of[id(weight)]] for weight in model.trainable_variables])",
    ]
    text.counts_layers = text.counts_layers or any(leaf.is_numbered for _, _, leaf in levels)


def _best_model(monitor: Monitor) -> str:
    highest = monitor.mode == "max"
    return _BEST_MODEL.format(
        largest="highest" if highest else "lowest",
        metric=monitor.metric,
        sign="" if highest else "-",
        tie_breaker=monitor.tie_breaker,
    )


def _write_rate(training: TrainingConfig, text: TrainingText, epochs: str) -> None:
    """As `cnnkit.training.schedules.make_rate`: Keras counts batches, the config updates.

    Args:
        epochs: Those that a schedule spans, as an expression.
    """
    batches = training.optimizer.gradient_accumulation_steps or 1
    updates, scale = _units(batches)
    warmup = training.warmup_epochs
    if warmup:
        text.rate.append(f"warmup = {scale}round({number(warmup)} * {updates})")
    schedule = training.schedule
    base = literal(training.optimizer.learning_rate)
    if training.plateau is not None:
        _write_plateau(training.plateau, bool(warmup), base, text)
        return
    if schedule is None:
        text.rate.append(f"rate = {base}")
    else:
        text.rate.append(f"rate = {call_text(_schedule(schedule, base, batches, bool(warmup), epochs))}")
    if warmup:
        text.functions.append(copied("cnnkit.training.schedules", ["WarmUp"]) + "\n")
        text.rate.append("rate = WarmUp(rate, warmup)")


def _write_plateau(plateau: ReduceLROnPlateau, warm: bool, base: str, text: TrainingText) -> None:
    arguments = {name: getattr(plateau, name) for name in plateau.arguments()}
    if not warm:
        text.rate.append(f"rate = {base}")
        text.callbacks.append(call_text(named("keras.callbacks.ReduceLROnPlateau", None, **arguments)))
        return
    text.functions.append(copied("cnnkit.training.schedules", ["WarmUp", "ReduceWarmedUpRate"]) + "\n")
    text.rate.append(f'base = keras.Variable({base}, trainable=False, dtype="float32", name="rate")')
    text.rate.append("rate = WarmUp(base, warmup)")
    text.callbacks.append(call_text(named("ReduceWarmedUpRate", "rate", rate=Raw("base"), **arguments)))


def _units(batches: int) -> tuple[str, str]:
    """The updates of an epoch, and the factor from updates to what Keras counts, as texts.

    Args:
        batches: Batches in an update.
    """
    return ("steps", "") if batches == 1 else (f"steps / {batches}", f"{batches} * ")


def _schedule(schedule: Schedule, base: str, batches: int, warm: bool, epochs_of_all: str) -> Call:
    updates, scale = _units(batches)
    module = f"keras.optimizers.schedules.{type(schedule).__name__}"

    def in_batches(epochs: float) -> str:
        return f"{scale}max(1, round({number(epochs)} * {updates}))"

    if isinstance(schedule, PiecewiseConstantDecay):
        boundaries = [str((last + 1) * batches - 1) for last in schedule.boundaries or []] or [
            f"{scale}round({number(epochs)} * {updates}) - 1" for epochs in schedule.boundaries_epochs or []
        ]
        return named(module, "boundaries", boundaries=[Raw(one) for one in boundaries], values=schedule.values)
    arguments: dict[str, Any] = {"initial_learning_rate": Raw(base)}
    for name in type(schedule).model_fields:
        if name.endswith("_epochs"):
            continue
        value = getattr(schedule, name)
        if name in schedule.step_arguments:
            epochs = getattr(schedule, name.replace("steps", "epochs"), None)
            if epochs is not None:
                value = Raw(in_batches(epochs))
            elif value is None:
                rest = [" - warmup"] if warm else []
                own = getattr(schedule, "warmup_steps", 0)
                rest += [f" - {scale}{own}"] if own else []
                whole = f"{epochs_of_all} * steps" if not scale else f"{scale}round({epochs_of_all} * {updates})"
                # Accumulation over more batches than there are leaves no update.
                value = Raw(whole + "".join(rest) if not scale else f"max({batches}, {whole}{''.join(rest)})")
            elif scale and value:
                value = Raw(f"{scale}{value}")
        elif name not in schedule.model_fields_set:
            continue
        if value != type(schedule).model_fields[name].get_default():
            arguments[name] = value
    return named(module, "initial_learning_rate", **arguments)


def _left_to_adam(keywords: Sequence[str], leaves: Sequence[Leaf]) -> tuple[list[str], list[Leaf]]:
    """`exclude_layers` with the names that layers have in the script, and the layers that are called by these."""

    def is_found(leaf: Leaf) -> bool:
        paths = [keras_path(f"{leaf.path}/{weight}") for weight in leaf.weights]
        return any(re.search(keyword, path) for keyword in keywords for path in paths)

    left = [leaf for leaf in leaves if is_found(leaf)]
    kinds = {leaf.kind for leaf in left if leaf.is_numbered}
    whole = {kind for kind in kinds if all(one in left for one in leaves if one.kind == kind and one.is_numbered)}
    alone = [leaf for leaf in left if not (leaf.is_numbered and leaf.kind in whole)]
    patterns = [*(re.escape(leaf.name) for leaf in alone), *(f"{keras_name(kind)}(_[0-9]+)?" for kind in sorted(whole))]
    return [rf"\b{pattern}/" for pattern in patterns], alone


def _not_decayed(names: Sequence[str], leaves: Sequence[Leaf]) -> tuple[list[str], list[Leaf]]:
    """Lines that exempt the weights that the names mean, and the layers that are called by their names there."""
    places = {f"{leaf.path}/{weight}": (leaf, weight) for leaf in leaves for weight in leaf.weights}
    own = [name for name in names if any(weight == name for _, weight in places.values())]
    left = {path for name in names if name not in own for path in meant(name, places)}
    whole = [leaf for leaf in leaves if leaf.weights and all(f"{leaf.path}/{one}" in left for one in leaf.weights)]
    single = [places[path] for path in places if path in left and places[path][0] not in whole]
    tests = [f"weight.name in {literal(own)}"] if own else []
    tests += [f"layer.name in {literal([leaf.name for leaf in whole])}"] if whole else []
    # Attention has several weights of one name, which their paths tell apart.
    parts = [f"{leaf.name}/{weight}" for leaf, weight in single if SEPARATOR in weight]
    others = [(leaf.name, weight) for leaf, weight in single if SEPARATOR not in weight]
    tests += [f"weight.path in {literal(parts)}"] if parts else []
    tests += [f"(layer.name, weight.name) in {literal(others)}"] if others else []
    lines = [
        "not_decayed = [",
        "    weight",
        "    for layer in model.layers",
        "    for weight in layer.trainable_weights",
    ]
    for word, test in zip(["if", *itertools.repeat("or", len(tests) - 1)], tests, strict=True):
        lines += wrapped(f"{word} {test}", 4)
    lines += ["]", "optimizer.exclude_from_weight_decay(not_decayed)"]
    return lines, [*whole, *(leaf for leaf, _ in single)]


def _write_optimizer(training: TrainingConfig, text: TrainingText, leaves: Sequence[Leaf]) -> None:
    optimizer = training.optimizer
    kind = type(optimizer).__name__
    arguments = [Argument("learning_rate", Raw("rate"))]
    called: list[Leaf] = []
    convolutions = getattr(optimizer, "convolutions", False)
    for name in optimizer.arguments():
        ours = name == "convolutions" or (name == "normalize_kernels" and not convolutions)
        if name == "learning_rate" or ours:
            continue
        value = getattr(optimizer, name)
        if name == "exclude_layers" and value:
            value, called = _left_to_adam(value, leaves)
        arguments.append(Argument(name, value))
    call = Call(f"keras.optimizers.{kind}", tuple(arguments), "learning_rate")
    if convolutions:
        text.functions.append(copied("cnnkit.config.optimization.muon", ["ConvolutionMuon"]) + "\n")
        # Ours takes its arguments by name.
        call = Call("ConvolutionMuon", tuple(arguments))
    text.optimizer.append(f"optimizer = {call_text(call)}")
    if training.exclude_from_weight_decay:
        lines, excluded = _not_decayed(training.exclude_from_weight_decay, leaves)
        called += excluded
        text.optimizer += lines
    text.counts_layers = any(leaf.is_numbered for leaf in called)
    if training.dtype_policy == "mixed_float16":
        text.optimizer.append("optimizer = keras.optimizers.LossScaleOptimizer(optimizer)")
