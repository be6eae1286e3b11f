"""What a network needs in memory at the least: its weights, and what a batch leaves until its gradients are computed.

Lower bounds, from shapes alone: what exceeds all the memory that there is cannot run, and is refused before anything of
it is made. What needs less may still not fit.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cnnkit.errors import CnnkitError
from cnnkit.layers.resolved import Resolved, leaf_steps
from cnnkit.layers.weight_paths import WeightedLayer, weighted_layers
from cnnkit.machine.memory import reachable_memory

if TYPE_CHECKING:
    from cnnkit.config.run import RunConfig
    from cnnkit.config.training import TrainingConfig
    from cnnkit.layers.base import Operation, Weight
    from cnnkit.layers.stack import Step

#: Bytes of one activation, and of one weight: a 32-bit float.
ACTIVATION_BYTES = 4

#: The same in half precision.
_HALF_BYTES = 2


@dataclass(frozen=True)
class Footprint:
    """Bytes that are in memory at the same time, at the least.

    Attributes:
        weights: All weights, once.
        states: Variables that the optimizer has for each trainable weight; 0 where several have not as many.
        state_bytes: All of these together.
        gradient: The largest gradient of one weight; others may be used up before it is made.
        activations: Values of a batch that wait until gradients are made of them.
        batch: Its images.
        images: Images that are kept in memory.
    """

    weights: int
    states: int = 0
    state_bytes: int = 0
    gradient: int = 0
    activations: int = 0
    batch: int = 1
    images: int = 0

    @property
    def total(self) -> int:
        # As gradients are made, activations go.
        return self.weights + self.state_bytes + max(self.gradient, self.activations) + self.images

    def beside(self, other: Footprint) -> Footprint:
        """What two networks need that learn in the same steps."""
        return Footprint(
            weights=self.weights + other.weights,
            states=self.states if self.states == other.states else 0,
            state_bytes=self.state_bytes + other.state_bytes,
            gradient=max(self.gradient, other.gradient),
            activations=self.activations + other.activations,
            batch=self.batch,
            images=self.images + other.images,
        )

    def as_text(self) -> str:
        """The sum, such as `3.0 GiB = weights 1.0 GiB + ...`."""
        parts = [f"weights {format_bytes(self.weights)}"]
        if self.state_bytes:
            each = f" ({self.states} for each weight)" if self.states else ""
            parts.append(f"optimizer {format_bytes(self.state_bytes)}{each}")
        if self.gradient > self.activations:
            parts.append(f"gradient {format_bytes(self.gradient)}")
        else:
            parts.append(f"activations {format_bytes(self.activations)} (batches of {self.batch:,})")
        if self.images:
            parts.append(f"images {format_bytes(self.images)}")
        return f"{format_bytes(self.total)} = {' + '.join(parts)}"


def of_training(
    stack: Sequence[Step],
    training: TrainingConfig,
    batch: int,
    images: int = 0,
    layers: Iterable[WeightedLayer] | None = None,
) -> Footprint:
    """What training a network needs.

    Args:
        stack: The network, see `ModelConfig.trace`.
        batch: Images in a batch.
        images: Bytes of the images that are kept in memory.
        layers: Its layers with weights, where others are trained than the network itself says.
    """
    trained = [layer for layer in layers or weighted_layers(stack) if layer.is_trained]
    counts = [step.layer.parameters(step.input_shape) for step in stack]
    states = training.optimizer.copies()
    size = _weight_bytes(stack)
    half = "16" in training.dtype_policy or any("16" in (step.layer.dtype or "") for step in leaf_steps(stack))
    gradients = [weight.size for layer in trained for weight in layer.weights if weight.trainable]
    return Footprint(
        weights=sum(sum(count) for count in counts) * size,
        states=states,
        state_bytes=sum(gradients) * states * size,
        gradient=max(gradients, default=0) * (_HALF_BYTES if half else size),
        activations=_kept_values(stack) * batch * (_HALF_BYTES if half else ACTIVATION_BYTES),
        batch=batch,
        images=images,
    )


def of_others(config: RunConfig, others: Mapping[str, Sequence[Step]], batch: int) -> dict[str, Footprint]:
    """What each network needs that is trained beside the one that is kept.

    Args:
        others: Their layers, by name.
        batch: Images in a batch.
    """
    task, training = config.task, config.training
    found = {}
    for name, steps in others.items():
        own = training.model_copy(update={"optimizer": task.optimizer_of(name, training)})
        found[name] = of_training(steps, own, batch * task.shown_together(name))
    return found


def of_inference(stack: Sequence[Step]) -> Footprint:
    """What computing one image needs."""
    parameters = sum(sum(step.layer.parameters(step.input_shape)) for step in stack)
    largest = max(math.prod(step.input_shape) + math.prod(step.output_shape) for step in leaf_steps(stack))
    return Footprint(weights=parameters * _weight_bytes(stack), activations=largest * _HALF_BYTES)


def _weight_bytes(stack: Sequence[Step]) -> int:
    """Bytes of one weight; mixed precision keeps them in 32 bits."""
    half = any(step.layer.dtype in ("float16", "bfloat16") for step in leaf_steps(stack))
    return _HALF_BYTES if half else ACTIVATION_BYTES


def _kept_values(stack: Sequence[Step]) -> int:
    """Values of one image that stay until gradients are made of them: what kernels act on, and their largest output.

    What several paths begin with is one tensor; where that cannot be told, it counts once.
    """
    kept = sum(_kept(stack))
    return max([kept, *(math.prod(step.output_shape) for step in leaf_steps(stack))])


def _kept(stack: Sequence[Step]) -> Iterator[int]:
    for step in stack:
        layer = step.layer
        if isinstance(layer, Resolved):
            paths = [list(_kept(part.steps)) for part in layer.parts] if layer.trainable else []
            if layer.merge is None:
                yield from paths[0] if paths else ()
                continue
            # The first that each path keeps may be what all of them begin with.
            yield max((path[0] for path in paths if path), default=0)
            yield from (size for path in paths for size in path[1:])
        elif operations := layer.operations(step.input_shape):
            yield from (_kept_by(operation) for operation in (operations if layer.trainable else ()))
        elif layer.trainable and _has_kernel(layer.variables(step.input_shape)):
            yield math.prod(step.input_shape)


def _kept_by(operation: Operation) -> int:
    return math.prod(operation.input_shapes[0]) if _has_kernel(operation.weights) else 0


def _has_kernel(weights: Iterable[Weight]) -> bool:
    return any(weight.trainable and len(weight.shape) > 1 for weight in weights)


def check_training(footprint: Footprint) -> None:
    """Refuses what cannot be trained in the memory that there is.

    Raises:
        CnnkitError: if it needs more, with the sum.
    """
    # The images are there already.
    memory = reachable_memory() + footprint.images
    if footprint.total > memory:
        raise CnnkitError(
            f"training needs more memory than there is: at least {footprint.as_text()}, but {format_bytes(memory)} are "
            "free",
            "Use a smaller `data.batch_size`, fewer filters or units, or an optimizer with fewer variables.",
        )


def check_inference(footprint: Footprint) -> None:
    """Refuses a network that cannot compute one image in the memory that there is.

    Raises:
        CnnkitError: if it needs more, with the sum.
    """
    memory = reachable_memory()
    if footprint.total > memory:
        raise CnnkitError(
            f"the network needs more memory than there is: at least {footprint.as_text()}, but {format_bytes(memory)} "
            "are free"
        )


def format_bytes(count: int) -> str:
    """A number of bytes as people read it: 512 B, 12.0 KiB, 3.4 MiB."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")
