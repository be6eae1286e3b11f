"""What `inspect --lint` says of a network: habits that cost accuracy, parameters or time, each with the fix."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cnnkit.config.check_networks import layers_of
from cnnkit.config.load import LoadedConfig
from cnnkit.format.shapes import Shape
from cnnkit.layers.stack import Step
from cnnkit.network.lint.advice import RULES, Advice, Rule, grouped

__all__ = ["RULES", "Advice", "Rule", "lint"]


def lint(loaded: LoadedConfig) -> list[Advice]:
    """What a teacher would say of a config's networks; nothing for sound ones.

    It is advice: a network may have its reasons.
    """
    kept, *_ = loaded.config.task.networks
    found = list(_of_network(loaded, kept, loaded.steps, loaded.info.shape))
    for name, steps in loaded.others.items():
        found += _of_network(loaded, name, steps, steps[0].input_shape)
    return grouped(found)


def _of_network(loaded: LoadedConfig, name: str, steps: Sequence[Step], taken: Shape) -> Iterator[Advice]:
    """The advice on one of a config's networks.

    Args:
        name: One of the task's `networks`.
        taken: The shape of what it takes.
    """
    from cnnkit.network.lint import layers, whole
    from cnnkit.network.lint.walk import walk

    task, target = loaded.config.task, loaded.info.target
    chain = walk(steps, layers_of(name))
    yield from layers.bias_before_normalization(chain)
    yield from layers.dropout_before_normalization(chain)
    if task.shown_together(name) > 1:
        yield from layers.normalization_of_mixed_batches(chain)
    yield from layers.warnings(chain)
    yield from layers.windows_on_one_pixel(chain)
    yield from layers.softmax_twice(chain)
    yield from whole.dense_share(chain)
    yield from whole.small_field(chain, taken)
    yield from whole.large_field(chain, taken)
    yield from whole.bottlenecks(chain, {loaded.info.classes, *(step.output_shape[-1] for step in steps[-1:])})
    if len(task.networks) == 1:
        # Of several, none tells what the images come with.
        yield from whole.narrow_dense(chain, target)
