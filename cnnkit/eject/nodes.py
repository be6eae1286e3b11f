"""What a network's text is made of, between the layers and the statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnnkit.format.script import Argument, Call


@dataclass(frozen=True)
class Leaf:
    """A layer that is not made of others, in the order in which a script makes them.

    Attributes:
        kind: What the YAML file and Keras call it.
        path: In a run, as `cnnkit.layers.weight_paths` has it, without the weight.
        name: In the script: its own, or the one that Keras gives it there.
        is_numbered: Whether Keras gives it the name, by how many of its kind were made before.
        weights: Keras' names of its weights that can be trained.
    """

    kind: str
    path: str
    name: str
    is_numbered: bool
    weights: tuple[str, ...]


@dataclass(frozen=True)
class Paths:
    """Paths from one tensor, merged."""

    paths: tuple[tuple[str, tuple[Any, ...]], ...]
    merge: Call
    activation: Call | None


@dataclass(frozen=True)
class Block:
    """A use of a block: its name, what its parameters stand for, and what it is made of."""

    name: str
    values: tuple[tuple[str, Any], ...]
    body: tuple[Any, ...]


@dataclass(frozen=True)
class Loop:
    """The same several times."""

    times: int
    body: tuple[Any, ...]


#: What a network's text is made of.
Node = Call | Paths | Block | Loop


def literals(node: Any) -> list[Argument]:
    """The values in a node, in the order in which `_Writer` comes upon them."""
    if isinstance(node, Call):
        places = []
        for argument in node.arguments:
            if isinstance(argument.value, Call):
                places += literals(argument.value)
            else:
                places.append(argument)
        return places
    if isinstance(node, Loop):
        return [Argument("times", node.times), *literals_of(node.body)]
    if isinstance(node, Block):
        return literals_of(node.body)
    ends = [node.merge, *([node.activation] if node.activation is not None else [])]
    return [*(one for _, path in node.paths for one in literals_of(path)), *literals_of(ends)]


def literals_of(nodes: Sequence[Any]) -> list[Argument]:
    return [one for node in nodes for one in literals(node)]


def skeleton(node: Any) -> Any:
    """A node without its values: what two uses of one function have in common."""
    if isinstance(node, Call):
        return (
            node.function,
            tuple((one.name, skeleton(one.value) if isinstance(one.value, Call) else None) for one in node.arguments),
        )
    if isinstance(node, Loop):
        return "loop", tuple(map(skeleton, node.body))
    if isinstance(node, Block):
        return "block", node.name, tuple(map(skeleton, node.body))
    paths = tuple((title, tuple(map(skeleton, path))) for title, path in node.paths)
    return "paths", paths, skeleton(node.merge), node.activation and skeleton(node.activation)
