"""What `training.stages` says of the network's layers, held against these."""

from __future__ import annotations

from collections.abc import Sequence

from cnnkit.config.reports import Report
from cnnkit.config.staged import trained_in, unfrozen_by
from cnnkit.config.stages import Stage
from cnnkit.config.training import TrainingConfig
from cnnkit.format.explain import Path
from cnnkit.format.similar import suggestion
from cnnkit.layers.stack import Step
from cnnkit.layers.weight_paths import SEPARATOR, WeightedLayer, layers_meant, path_of_layer, weighted_layers


def check_stages(training: TrainingConfig, steps: Sequence[Step], report: Report) -> None:
    """Whether each name in `freeze` and `unfreeze` means layers and changes some, and each stage trains something.

    Args:
        steps: The network.
        report: As for `check_training`.
    """
    layers = list(weighted_layers(steps))
    for index, stage in enumerate(training.stages):
        path: Path = ("training", "stages", index)
        # Of a name that means nothing, what follows from it would be a false error.
        if not all(_known(stage, layers, steps, path, report)):
            return
        trained = {layer.path for layer in layers if layer.is_trained}
        for place, name in enumerate(stage.freeze):
            # The first stage may say again what a layer's own `trainable: false` says.
            if index and trained.isdisjoint(layer.path for layer in layers_meant(name, layers)):
                report((*path, "freeze", place), f"`{name}` is frozen already", False)
        frozen = {layer.path for name in stage.freeze for layer in layers_meant(name, layers)}
        for place, name in enumerate(stage.unfreeze):
            if not any(one.path in frozen or not one.is_trained for one in unfrozen_by(name, stage, layers)):
                report((*path, "unfreeze", place), _changes_nothing(name, layers, frozen), False)
        if index and not stage.model_fields_set - {"epochs"}:
            report(path, "the stage is like the one before it; add its epochs to that one", False)
        layers = list(trained_in(stage, layers))
        if not any(layer.is_trained and layer.trainable_size for layer in layers):
            report(path, "the stage trains nothing: every layer with weights is frozen", False)


def _known(
    stage: Stage, layers: Sequence[WeightedLayer], steps: Sequence[Step], path: Path, report: Report
) -> list[bool]:
    """Whether each name means a layer with weights; reports those that do not."""
    known = []
    for key, names in (("freeze", stage.freeze), ("unfreeze", stage.unfreeze)):
        for place, name in enumerate(names):
            known.append(bool(layers_meant(name, layers)))
            if not known[-1]:
                labels = [path_of_layer(number, step.layer, None, "") for number, step in enumerate(steps)]
                message = (
                    f"the layer `{name}` has no weights"
                    if name in labels
                    else f"no layer with weights has the name `{name}`{suggestion(name, _names(layers))}"
                )
                report((*path, key, place), message, False)
    return known


def _names(layers: Sequence[WeightedLayer]) -> list[str]:
    return sorted({part for layer in layers for part in layer.path.split(SEPARATOR)})


def _changes_nothing(name: str, layers: Sequence[WeightedLayer], frozen: set[str]) -> str:
    meant = layers_meant(name, layers)
    if all(layer.is_trained and layer.path not in frozen for layer in meant):
        return f"`{name}` is trained already"
    return (
        f"`{name}` unfreezes batch normalization alone, which stays frozen; name its layers, or write "
        "`unfreeze_batch_norm: true`"
    )
