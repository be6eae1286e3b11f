"""The network as Python: one function for each block of the config, whatever differs between its uses a parameter.

The layers are those that the config resolves to, so that all shortcuts, paddings and numbers are settled. Uses of a
block that differ only in values share one function; values that change from use to use become its parameters.
"""

from __future__ import annotations

import builtins
import itertools
import keyword
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cnnkit.eject.nodes import Block, Leaf, Loop, Node, Paths, literals, literals_of, skeleton
from cnnkit.eject.reading import Reader, numbered
from cnnkit.eject.text import call_text, literal, wrapped
from cnnkit.format.script import Call, Raw
from cnnkit.format.shapes import format_shape
from cnnkit.layers.backbone import Backbone
from cnnkit.layers.base import Seeds
from cnnkit.layers.resolved import leaves, scopes
from cnnkit.layers.stack import Step


@dataclass
class _Function:
    """A block's function, and all its uses.

    Attributes:
        name: In the script.
        template: One of the uses; all have its skeleton.
        uses: The values of each use.
        parameters: For each parameter its name, and the place of one of the values that it stands for.
        names: For each value of the template, the parameter in its place; None for a constant.
    """

    name: str
    template: Block
    uses: list[list[Any]]
    parameters: list[tuple[str, int]] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)

    def find_parameters(self, called: list[Block], reserved: set[str]) -> None:
        """Tells constants from parameters: values that change from use to use; those that change alike are one.

        Args:
            called: The uses.
            reserved: Names that no parameter may have.
        """
        of_template = literals(self.template)
        columns = [tuple(map(literal, column)) for column in zip(*self.uses, strict=True)]
        given = {name: [dict(use.values).get(name) for use in called] for name, _ in self.template.values}
        texts = {name: tuple(map(literal, values)) for name, values in given.items()}
        classes: dict[tuple[str, tuple[str, ...]], str] = {}
        taken = set(reserved)
        # What has the values of one of the config's parameters is called like it, and nothing else is.
        kept = {name for name, column in texts.items() if column in columns}
        for place, (one, column) in enumerate(zip(of_template, columns, strict=True)):
            if len(set(column)) == 1:
                self.names.append(None)
                continue
            same = [name for name, values in texts.items() if values == column]
            name = one.name if one.name in same or not same else same[0]
            free = taken if same else taken | kept
            if not same and name in free:
                # A multiple of a parameter may be called like it, if nothing has the parameter itself.
                numbers = [values[place] for values in self.uses]
                multiples = (name for name, values in given.items() if _are_proportional(values, numbers))
                name = next((name for name in multiples if name not in free), name)
            key = one.name, column
            if key not in classes:
                classes[key] = numbered(name, free)
                taken.add(classes[key])
                self.parameters.append((classes[key], place))
            self.names.append(classes[key])


def _are_proportional(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Whether two sequences hold numbers of which each is the same multiple of the other's."""
    if not all(isinstance(value, int | float) for value in (*first, *second)):
        return False
    return all(one * second[0] == other * first[0] for one, other in zip(first, second, strict=True))


class _Writer:
    """Writes nodes as statements."""

    def __init__(self, nodes: Sequence[Node], reserved: set[str]) -> None:
        self.functions: dict[Any, _Function] = {}
        self._calls: dict[Any, list[Block]] = {}
        arguments = {one.name for one in literals_of(nodes)}
        reserved = reserved | set(keyword.kwlist) | set(dir(builtins)) | {"x", "_", "inputs", *_variables(nodes, "x")}
        self._reserved = reserved | arguments
        for node in nodes:
            self._collect(node)
        reserved |= {function.name for function in self.functions.values()}
        for key, function in self.functions.items():
            function.find_parameters(self._calls[key], reserved)

    def _collect(self, node: Any) -> None:
        if isinstance(node, Paths):
            for _, path in node.paths:
                for one in path:
                    self._collect(one)
        if isinstance(node, Block | Loop):
            for one in node.body:
                self._collect(one)
        if isinstance(node, Block):
            key = skeleton(node)
            if key not in self.functions:
                self.functions[key] = _Function(self._name(node.name), node, [])
            self.functions[key].uses.append([one.value for one in literals(node)])
            self._calls.setdefault(key, []).append(node)

    def _name(self, block: str) -> str:
        taken = {function.name for function in self.functions.values()}
        return numbered(f"block_{block}" if block in self._reserved or not block.isidentifier() else block, taken)

    def definitions(self) -> list[str]:
        """The functions, the inner ones first."""
        texts = []
        for function in self.functions.values():
            parameters = ", ".join(["x", *(name for name, _ in function.parameters)])
            lines = wrapped(f"def {function.name}({parameters}):")
            names = iter(function.names)
            body = self.statements(function.template.body, names, "x", "x", 4)
            assert not list(names)
            texts.append("\n".join([*lines, *_returning(body)]))
        return texts

    def statements(
        self, nodes: Sequence[Any], names: Iterator[str | None], source: str, target: str, indent: int
    ) -> list[str]:
        """Lines that take `source` through the nodes to `target`.

        Args:
            names: For each value of the nodes, in order, the parameter in its place; all of them are taken.
        """
        lines: list[str] = []
        if not nodes and source != target:
            lines.append(" " * indent + f"{target} = {source}")
        for node in nodes:
            lines += self._node(node, names, source, target, indent)
            source = target
        return lines

    def _node(self, node: Any, names: Iterator[str | None], source: str, target: str, indent: int) -> list[str]:
        if isinstance(node, Call):
            return wrapped(f"{target} = {applied(_bound(node, names), source)}", indent)
        if isinstance(node, Block):
            function = self.functions[skeleton(node)]
            given = [next(names) or literal(one.value) for one in literals(node)]
            texts = [
                f"{name}={given[place]}" if number else given[place]
                for number, (name, place) in enumerate(function.parameters)
            ]
            return wrapped(f"{target} = {function.name}({', '.join([source, *texts])})", indent)
        if isinstance(node, Loop):
            times = next(names) or str(node.times)
            if times == "1":
                return self.statements(node.body, names, source, target, indent)
            pad = " " * indent
            first = [f"{pad}{target} = {source}"] if source != target else []
            body = self.statements(node.body, names, target, target, indent + 4)
            return [*first, f"{pad}for _ in range({times}):", *body]
        return self._paths(node, names, source, target, indent)

    def _paths(self, node: Paths, names: Iterator[str | None], source: str, target: str, indent: int) -> list[str]:
        lines: list[str] = []
        ends = []
        for title, path in node.paths:
            variable = _variable(title, target)
            if path:
                lines += self.statements(path, names, source, variable, indent)
            ends.append(variable if path else source)
        lines += wrapped(f"{target} = {call_text(_bound(node.merge, names))}([{', '.join(ends)}])", indent)
        if node.activation is not None:
            lines += wrapped(f"{target} = {applied(_bound(node.activation, names), target)}", indent)
        return lines


def _variable(title: str, target: str) -> str:
    """The name of the tensor on a path that leads to another tensor."""
    # A path within a path must not overwrite the outer one's tensor.
    return title if target == "x" else f"{target}_{title}"


def _variables(nodes: Sequence[Any], target: str) -> Iterator[str]:
    """The names of the tensors on paths, at any depth: what a function assigns, it cannot call."""
    for node in nodes:
        if isinstance(node, Paths):
            for title, path in node.paths:
                variable = _variable(title, target)
                yield variable
                yield from _variables(path, variable)
        elif isinstance(node, Block):
            # A function has tensors of its own.
            yield from _variables(node.body, "x")
        elif isinstance(node, Loop):
            yield from _variables(node.body, target)


def _returning(body: list[str]) -> list[str]:
    """The body of a function that returns `x`: what its last statement gives, if that is one expression."""
    pad = "    "
    last = max(place for place, line in enumerate(body) if line[4] not in " )")
    if not body[last].startswith(f"{pad}x = "):
        return [*body, f"{pad}return x"]
    return [*body[:last], body[last].replace("x = ", "return ", 1), *body[last + 1 :]]


def _bound(call: Call, names: Iterator[str | None]) -> Call:
    """A call with parameters in the place of its values."""
    arguments = []
    for argument in call.arguments:
        if isinstance(argument.value, Call):
            arguments.append(replace(argument, value=_bound(argument.value, names)))
        else:
            name = next(names)
            # A parameter may be called like the default, such as `valid`, and stand for something else.
            arguments.append(argument if name is None else replace(argument, value=Raw(name), default=...))
    return replace(call, arguments=tuple(arguments))


def applied(call: Call, tensor: str) -> str:
    """A call as an expression of a tensor."""
    text = call_text(call, tensor)
    return text if call.of_tensor else f"{text}({tensor})"


# --- The whole ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class NetworkText:
    """A network as Python.

    Attributes:
        functions: The definitions of the blocks' functions.
        lines: The body of a function that makes the model, from `inputs` on.
        explicit: For each layer with a name of its own, what its seeds are derived from.
        leaves: The layers that are not made of others.
        helpers: Functions of tensors that the text calls and Keras does not have, by the module that has them.
        initializers: Initializers likewise.
        kinds: The kinds of its layers.
        learned: The networks of keras.applications in it that begin with learned weights, by name; None where there are
            none at all.
    """

    functions: list[str]
    lines: list[str]
    explicit: dict[str, str]
    leaves: list[Leaf]
    helpers: dict[str, set[str]]
    initializers: set[str]
    kinds: set[str]
    learned: list[str] | None = None

    @property
    def has_networks(self) -> bool:
        """Whether some layers are networks of keras.applications."""
        return self.learned is not None

    @property
    def has_parts(self) -> bool:
        """Whether some layers of Keras are made of layers."""
        return not self.kinds.isdisjoint({"MultiHeadAttention", "SpectralNormalization"})

    @property
    def has_padding(self) -> bool:
        """Whether it embeds ids of which one is padding."""
        return any("padded_embedding" in names for names in self.helpers.values())

    @property
    def whitens(self) -> bool:
        """Whether a kernel is measured on the training images."""
        return "PatchWhitening" in self.initializers


def write_network(
    steps: Sequence[Step],
    input_shape: tuple[int, ...],
    policy: str,
    front: str | None,
    reserved: set[str],
    dtype: str = "float32",
) -> NetworkText:
    """The statements that build the model.

    Args:
        steps: The resolved layers.
        policy: The run's dtype policy.
        front: The layer that normalizes the images, as Python; None for none.
        reserved: Names that the script uses itself.
        dtype: Of what the network takes.
    """
    labels = [f"{index}.{step.layer.kind}" for index, step in enumerate(steps)]
    inner = scopes(steps, labels, Seeds(0), policy, ending=True)
    reader = Reader(policy)
    groups = [reader.read([step], [scope], True) for step, scope in zip(steps, inner, strict=True)]
    nodes = [node for group in groups for node in group]
    calls = list(_calls_in(nodes))
    helpers: dict[str, set[str]] = {}
    for call in calls:
        if call.of_tensor and "." not in call.function:
            helpers.setdefault(call.module, set()).add(call.function)
    plain = [node for node in nodes if isinstance(node, Call) and not node.of_tensor]
    taken = literal(steps[0].fed or input_shape) + ("" if dtype == "float32" else f", dtype={literal(dtype)}")
    if len(plain) == len(nodes):
        lines = ["return keras.Sequential(", "    ["]
        layers = [f"keras.Input({taken})", *([front] if front else []), *map(call_text, plain)]
        for text in layers:
            lines += wrapped(text + ",", 8)
        lines += ["    ],", '    name="model",', ")"]
        definitions = []
    else:
        writer = _Writer(nodes, reserved.union(*helpers.values()))
        lines = [f"inputs = keras.Input({taken})"]
        source = "inputs"
        if front:
            lines.append(f"x = {front}(inputs)")
            source = "x"
        shape = input_shape
        for step, group in zip(steps, groups, strict=True):
            written = writer.statements(group, itertools.repeat(None), source, "x", 0)
            if written and len(step.output_shape) > 1 and step.output_shape != shape:
                note = f"{written[-1]}  # {format_shape(step.output_shape)}"
                written[-1] = note if len(note) <= 96 else written[-1]
            shape = step.output_shape
            lines += written
            source = "x" if group else source
        lines.append(f'return keras.Model(inputs, {source}, name="model")')
        definitions = writer.definitions()
    return NetworkText(
        definitions,
        lines,
        reader.explicit,
        reader.leaves,
        helpers,
        {call.function for call in calls if "." not in call.function and not call.of_tensor},
        {leaf.kind for leaf in reader.leaves},
        _learned(steps),
    )


def _learned(steps: Sequence[Step]) -> list[str] | None:
    networks = [layer for layer in leaves([step.layer for step in steps]) if isinstance(layer, Backbone)]
    return [network.name for network in networks if network.weights is not None] if networks else None


def _calls_in(nodes: Sequence[Any]) -> Any:
    for node in nodes:
        if isinstance(node, Call):
            yield node
            yield from _calls_in([one.value for one in node.arguments if isinstance(one.value, Call)])
        elif isinstance(node, Paths):
            yield from _calls_in([one for _, path in node.paths for one in path])
            yield node.merge
        else:
            yield from _calls_in(node.body)
