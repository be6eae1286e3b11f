"""How far the weights of a network lie before its output, in levels: what layer-wise learning rates follow."""

from collections.abc import Iterator, Sequence

from cnnkit.layers.resolved import Resolved
from cnnkit.layers.stack import Step
from cnnkit.layers.weight_paths import SEPARATOR, WeightedLayer, weighted_layers

#: Levels of a layer that is a whole network, as ConvNeXt is divided where it is fine-tuned (Liu 2022, arXiv:2201.03545,
#: appendix A.2). With a level for each of hundreds of layers, the first of them would not learn at all.
NETWORK_LEVELS = 12


def levels_before_output(steps: Sequence[Step]) -> dict[str, int]:
    """For each layer with weights, by its path, how many levels lie between it and the output.

    A layer with a kernel is a level, with the layers after it that have none, such as batch normalization. Paths side
    by side, as in a Residual, are one level together; blocks and repetitions are as many as the layers in them. A
    Backbone is divided into NETWORK_LEVELS of consecutive layers, equal in the number of their kernels.
    """
    levels: list[list[WeightedLayer]] = []
    for group in _groups(steps, None, ""):
        if levels and not (_has_kernel(group) and _has_kernel(levels[-1])):
            levels[-1] += group
        else:
            levels.append(list(group))
    last = len(levels) - 1
    return {layer.path: last - number for number, level in enumerate(levels) for layer in level}


def _groups(steps: Sequence[Step], labels: Sequence[str] | None, outer: str) -> Iterator[Sequence[WeightedLayer]]:
    """What lies on one level each, from input to output, where it has a kernel."""
    for index, step in enumerate(steps):
        layer = step.layer
        label = labels[index] if labels else f"{index}.{layer.kind}"
        if isinstance(layer, Resolved) and layer.merge is None:
            inside = outer + (layer.name or label) + SEPARATOR
            for part in layer.parts:
                yield from _groups(part.steps, part.labels, inside)
            continue
        together = list(weighted_layers([step], [label], outer))
        yield from _divided(together) if layer.operations(step.input_shape) else [together] if together else []


def _divided(layers: Sequence[WeightedLayer]) -> Iterator[Sequence[WeightedLayer]]:
    """The layers of a network in groups; each begins with a kernel, but for what precedes the first."""
    kernels = sum(_has_kernel([layer]) for layer in layers)
    levels = min(kernels, NETWORK_LEVELS)
    group: list[WeightedLayer] = []
    before = 0
    for layer in layers:
        if _has_kernel([layer]):
            begins = levels * before // kernels != levels * (before - 1) // kernels
            before += 1
            if begins and group and before > 1:
                yield group
                group = []
        group.append(layer)
    if group:
        yield group


def _has_kernel(layers: Sequence[WeightedLayer]) -> bool:
    return any(weight.name.endswith("kernel") for layer in layers for weight in layer.weights)
