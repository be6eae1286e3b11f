"""What each stage of a training trains, known from the config: no tensor is needed for that."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from cnnkit.config.stages import Stage
from cnnkit.config.training import TrainingConfig
from cnnkit.format.base import some_of
from cnnkit.layers.depth import levels_before_output
from cnnkit.layers.resolved import Resolved
from cnnkit.layers.stack import Step
from cnnkit.layers.weight_paths import SEPARATOR, WeightedLayer, layers_meant, path_of_layer, weighted_layers


@dataclass(frozen=True)
class StagePlan:
    """What a stage of a training does.

    Attributes:
        training: The section `training` as it holds in the stage, without stages.
        layers: The network's layers with weights, those that the stage trains with `is_trained`.
        levels: How far before the output each lies, see `layers.depth`.
    """

    training: TrainingConfig
    layers: tuple[WeightedLayer, ...]
    levels: Mapping[str, int]

    @cached_property
    def trained(self) -> frozenset[str]:
        """The paths of the layers that are trained."""
        return frozenset(layer.path for layer in self.layers if layer.is_trained)

    @property
    def frozen(self) -> list[str]:
        """The paths of the layers that could be trained, and are not."""
        return [layer.path for layer in self.layers if not layer.is_trained and layer.trainable_size]

    @property
    def parameters(self) -> int:
        """The numbers that training changes by gradients."""
        return sum(layer.trainable_size for layer in self.layers if layer.is_trained)

    @property
    def rates(self) -> dict[str, float]:
        """The factor on the learning rate for each layer with weights; none where it is 1 for all."""
        decay = self.training.layer_decay
        return {} if decay == 1 else {path: decay**level for path, level in self.levels.items()}

    def as_json(self) -> dict[str, Any]:
        """What `inspect` and environment.json say of the stage."""
        return {
            "epochs": self.training.epochs,
            "trainable_parameters": self.parameters,
            "frozen": self.frozen,
            **({"rates": self.rates} if self.rates else {}),
        }

    def epochs_text(self, end: int) -> str:
        """Which epochs of the run they are, from 1, with the last one."""
        begin = end - self.training.epochs + 1
        return f"epochs {begin}-{end}" if begin < end else f"epoch {end}"

    def as_text(self) -> str:
        """What is trained, and what is not."""
        trained = sum(layer.is_trained and layer.trainable_size > 0 for layer in self.layers)
        frozen = f"; frozen: {some_of(self.frozen)}" if self.frozen else ""
        text = f"trains {self.parameters:,} parameters in {trained} of {trained + len(self.frozen)} layers"
        return text + self.rates_text + frozen

    @property
    def rates_text(self) -> str:
        """The end of a text that says how slowly the first trained layers learn; empty where all learn alike."""
        rates = [self.rates[layer.path] for layer in self.layers if self.rates and layer.is_trained]
        return f", at {min(rates):.3g} to {max(rates):.3g} times the rate" if rates and min(rates) < max(rates) else ""

    def steps(self, steps: Sequence[Step]) -> list[Step]:
        """The network in which each layer has the `trainable` of the stage."""
        return list(_with_trainable(steps, None, "", self.trained))


def stage_plans(training: TrainingConfig, steps: Sequence[Step]) -> tuple[StagePlan, ...]:
    """What each stage of a training does; a training without `stages` is one.

    Args:
        training: Its names of layers mean some, see `check_stages`.
        steps: The network, see `ModelConfig.trace`.
    """
    layers = list(weighted_layers(steps))
    levels = levels_before_output(steps)
    plans = []
    for index, part in enumerate(training.in_stages()):
        if training.stages:
            layers = list(trained_in(training.stages[index], layers))
        plans.append(StagePlan(part, tuple(layers), levels))
    return tuple(plans)


def trained_in(stage: Stage, layers: Sequence[WeightedLayer]) -> Iterator[WeightedLayer]:
    """The layers as a stage trains them.

    Args:
        layers: As they were trained before it.
    """
    frozen = {layer.path for name in stage.freeze for layer in layers_meant(name, layers)}
    unfrozen = {layer.path for name in stage.unfreeze for layer in unfrozen_by(name, stage, layers)}
    for layer in layers:
        trained = layer.path in unfrozen or (layer.is_trained and layer.path not in frozen)
        yield replace(layer, is_trained=trained) if trained != layer.is_trained else layer


def unfrozen_by(name: str, stage: Stage, layers: Sequence[WeightedLayer]) -> list[WeightedLayer]:
    """The layers that a name in `unfreeze` means: batch normalization only where that is asked for."""
    return [
        layer
        for layer in layers_meant(name, layers)
        if stage.unfreeze_batch_norm or not layer.has_statistics or layer.is_called(name)
    ]


def _with_trainable(
    steps: Sequence[Step], labels: Sequence[str] | None, outer: str, trained: frozenset[str]
) -> Iterator[Step]:
    for index, step in enumerate(steps):
        layer = step.layer
        path = path_of_layer(index, layer, labels, outer)
        if isinstance(layer, Resolved):
            inside = path + SEPARATOR
            parts = tuple(
                replace(part, steps=tuple(_with_trainable(part.steps, part.labels, inside, trained)))
                for part in layer.parts
            )
            some = any(one.startswith(inside) for one in trained)
            yield replace(step, layer=layer.model_copy(update={"parts": parts, "trainable": some}))
        elif operations := layer.operations(step.input_shape):
            # What is trained in part counts as frozen where only the whole is asked for.
            paths = {path + SEPARATOR + operation.name for operation in operations if operation.weights}
            yield replace(step, layer=layer.model_copy(update={"trainable": paths <= trained}))
        elif layer.variables(step.input_shape):
            yield replace(step, layer=layer.model_copy(update={"trainable": path in trained}))
        else:
            yield step
