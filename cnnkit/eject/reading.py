"""From the layers that a config resolves to, to the nodes that its script is written from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from cnnkit.eject.nodes import Block, Leaf, Loop, Node, Paths
from cnnkit.eject.text import keras_name
from cnnkit.format.script import Argument, Call
from cnnkit.layers import LAYERS
from cnnkit.layers.base import Layer, Scope
from cnnkit.layers.block_calls import BlockCall
from cnnkit.layers.composite import Repeat
from cnnkit.layers.resolved import Part, Resolved, scopes
from cnnkit.layers.spectral import SpectralNormalization
from cnnkit.layers.stack import Step
from cnnkit.layers.weight_paths import SEPARATOR


def numbered(name: str, taken: Collection[str]) -> str:
    """The name, with a number where it is taken."""
    number = 1
    while (name if number == 1 else f"{name}_{number}") in taken:
        number += 1
    return name if number == 1 else f"{name}_{number}"


@dataclass
class Reader:
    """Turns resolved layers into nodes.

    Attributes:
        policy: The run's dtype policy.
        explicit: For each layer with a name of its own, what its seeds are derived from.
        leaves: The layers that are not made of others.
    """

    policy: str
    explicit: dict[str, str] = field(default_factory=dict)
    leaves: list[Leaf] = field(default_factory=list)
    _outer: tuple[str, ...] = ()
    _made: Counter[str] = field(default_factory=Counter)
    _named: dict[str, int] = field(default_factory=dict)
    _taken: set[str] = field(default_factory=set)

    def read(self, steps: Sequence[Step], inner: Sequence[Scope], trainable: bool) -> tuple[Node, ...]:
        nodes: list[Node] = []
        for step, scope in zip(steps, inner, strict=True):
            layer = step.layer
            if isinstance(layer, Resolved):
                nodes += self._resolved(layer, scope, trainable)
            else:
                nodes += self._plain(layer, scope, trainable)
        return tuple(nodes)

    def _path(self, part: Part, resolved: Resolved, scope: Scope, trainable: bool) -> tuple[Node, ...]:
        dtype = resolved.dtype or scope.dtype
        inner = scopes(part.steps, part.labels, scope.seeds, dtype, ending=scope.ending)
        outer, self._outer = self._outer, (*self._outer, resolved.name or scope.name)
        nodes = self.read(part.steps, inner, trainable and resolved.trainable)
        self._outer = outer
        return nodes

    def _resolved(self, layer: Resolved, scope: Scope, trainable: bool) -> list[Node]:
        paths = [(_variable(part.title), self._path(part, layer, scope, trainable)) for part in layer.parts]
        dtype = self._dtype(layer.dtype or scope.dtype)
        activation = None
        if layer.activation != "linear":
            activation = Call("layers.Activation", (Argument("activation", layer.activation), *dtype), "activation")
        if layer.merge is not None:
            merge = Call(f"layers.{layer.merge.capitalize()}", (*layer.merge_arguments, *dtype))
            return [Paths(tuple(paths), merge, activation)]
        ((_, body),) = paths
        if not body:
            return []
        if isinstance(layer.written, BlockCall):
            return [Block(layer.kind, tuple(layer.values.items()), body)]
        if isinstance(layer.written, Repeat):
            size = len(body) // layer.written.times
            # Repetitions may be empty, as where a Repeat inside has `times: $index`.
            if body == body[:size] * layer.written.times:
                return [Loop(layer.written.times, body[:size])]
        return list(body)

    def _plain(self, layer: Layer, scope: Scope, trainable: bool) -> list[Node]:
        calls = list(layer.calls())
        common: list[Argument] = []
        is_trained = trainable and layer.trainable
        if isinstance(layer, SpectralNormalization):
            calls = [self._wrapping(call, layer.layer, is_trained, layer.dtype or scope.dtype) for call in calls]
        weights = layer.variables(scope.input_shape)
        name = None
        if layer.name is not None:
            number = self._named.get(layer.name, 0)
            self._named[layer.name] = number + 1
            # Keras would give the names of its own kind to other layers.
            own = f"{layer.name}_layer" if _is_automatic(layer.name) else layer.name
            name = numbered(own, self._taken)
            self._taken.add(name)
            common.append(Argument("name", name))
            if weights or layer.takes_seed:
                self.explicit[name] = f"name={layer.name}" + (f"#{number}" if number else "")
        path = SEPARATOR.join([*self._outer, layer.name or scope.name])
        trained = tuple(weight.name for weight in weights if weight.trainable)
        self.leaves.append(Leaf(layer.kind, path, name or self._automatic(layer.kind), name is None, trained))
        if weights and not is_trained:
            common.append(Argument("trainable", False, True))
        # The padding beside a layer has neither weights nor draws.
        own_call = f"layers.{type(layer).__name__}"
        main = next((place for place, call in enumerate(calls) if call.function == own_call), 0)
        for place, call in enumerate(calls):
            if call.makes_layer or not call.of_tensor:
                extra = (*(common if place == main else ()), *self._dtype(layer.dtype or scope.dtype))
                calls[place] = replace(call, arguments=(*call.arguments, *extra))
        return list(calls)

    def _wrapping(self, call: Call, layer: Layer, is_trained: bool, dtype: str | None) -> Call:
        """A call whose leading argument makes a layer, which Keras tells nothing of the one around it.

        Args:
            layer: The layer inside.
            is_trained: Whether the one around it is.
            dtype: That of the one around it.
        """
        inner, *others = call.arguments
        trained = Argument("trainable", is_trained, True)
        arguments = (*inner.value.arguments, trained, *self._dtype(layer.dtype or dtype))
        return replace(call, arguments=(replace(inner, value=replace(inner.value, arguments=arguments)), *others))

    def _automatic(self, kind: str) -> str:
        """The name that Keras gives the next layer of a kind that has none."""
        number = self._made[kind]
        self._made[kind] += 1
        return keras_name(kind) + (f"_{number}" if number else "")

    def _dtype(self, dtype: str | None) -> tuple[Argument, ...]:
        return (Argument("dtype", dtype),) if dtype not in (None, self.policy) else ()


def _is_automatic(name: str) -> bool:
    """Whether Keras may call a layer of a script so by itself."""
    merges = ("Add", "Average", "Concatenate", "Maximum", "Minimum", "Multiply", "Subtract", "Dot")
    kinds = (*LAYERS.names(), *merges, "InputLayer", "Normalization", "Identity")
    return re.sub(r"_[0-9]+$", "", name) in {keras_name(kind) for kind in kinds}


def _variable(title: str) -> str:
    """The name of the tensor on a path."""
    kind, _, number = title.partition(".")
    return f"path_{int(number) + 1}" if number else {"layers": "main"}.get(kind, kind)
