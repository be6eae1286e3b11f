"""How a network becomes what is drawn of it: equal things in a row once, and some blocks apart from the flow."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from cnnkit.format.shapes import Shape, format_shape
from cnnkit.layers.block_calls import BlockCall
from cnnkit.layers.composite import Repeat
from cnnkit.layers.resolved import Resolved
from cnnkit.layers.stack import Step
from cnnkit.plots.network_levels import Levels, valleys
from cnnkit.plots.network_nodes import (
    Fork,
    Group,
    Node,
    Panel,
    Structure,
    Tree,
    Volume,
    channels_first_after,
    is_plate,
    merge_of,
    parameters_text,
    plate_of,
    volume_of,
)

#: How much of a network is drawn inside panels beside the flow: nothing; blocks that hold a merge, but no block with
#: one; every block of two volumes or more.
NOTHING, INNERMOST_MERGES, ALL_BLOCKS = range(3)


def tree(steps: Sequence[Step], input_shape: Shape, detail: int) -> Tree:
    """What to draw of a network.

    Args:
        steps: Its layers, resolved.
        detail: NOTHING, INNERMOST_MERGES or ALL_BLOCKS is drawn apart from the flow.
    """
    builder = _Builder(detail, Counter(structure(step) for step in _all_steps(steps)))
    image = Volume(input_shape, False, "input", ("input",))
    nodes = builder.chain(steps, False, [image], outermost=True)
    done: set[Structure] = set()
    while len(done) < len(builder.panels):
        for key in [key for key in builder.panels if key not in done]:
            panel = builder.panels[key]
            panel.nodes = builder.inside(panel.first, panel.channels_first)
            done.add(key)
    by_name: dict[str, list[Panel]] = {}
    for panel in builder.panels.values():
        by_name.setdefault(panel.title, []).append(panel)
    for name, panels in by_name.items():
        if len(panels) > 1:
            for number, panel in enumerate(panels):
                panel.title = f"{name} {_letters(number)}"
    return Tree(nodes, builder.panels)


def _letters(number: int) -> str:
    """A, B, ..., Z, AA, AB, ... for 0, 1, ..."""
    head = _letters(number // 26 - 1) if number >= 26 else ""
    return head + chr(ord("A") + number % 26)


def structure(step: Step) -> Structure:
    """The kinds of layers that a layer is made of, without numbers: neither sizes nor the times of a repetition."""
    layer = step.layer
    if not isinstance(layer, Resolved):
        return (layer.kind,)
    parts = [tuple(structure(inner) for inner in part.steps) for part in layer.parts]
    if isinstance(layer.written, Repeat):
        rounds = [tuple(structure(inner) for inner in steps) for steps in _rounds(layer)]
        parts = [tuple(key for key, _ in itertools.groupby(rounds))]
    return (layer.kind, layer.merge, layer.activation, *parts)


def _rounds(layer: Resolved) -> list[tuple[Step, ...]]:
    """The steps of each repetition of a Repeat."""
    steps = layer.parts[0].steps
    each = len(layer.written.layers)
    return [steps[start : start + each] for start in range(0, len(steps), each)]


def _all_steps(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps at all depths."""
    for step in steps:
        yield step
        if isinstance(step.layer, Resolved):
            for part in step.layer.parts:
                yield from _all_steps(part.steps)


def _inner_steps(step: Step) -> list[Step]:
    return list(_all_steps([step]))[1:]


def _merges(step: Step) -> bool:
    return isinstance(step.layer, Resolved) and step.layer.merge is not None


def has_merges(steps: Sequence[Step]) -> bool:
    """Whether there are paths side by side in a network."""
    return any(_merges(step) for step in _all_steps(steps))


def _is_block(step: Step) -> bool:
    return isinstance(step.layer, Resolved) and isinstance(step.layer.written, BlockCall)


class _Builder:
    """Makes nodes of steps; collects the blocks to be drawn apart."""

    def __init__(self, detail: int, uses: Counter[Structure]) -> None:
        self._detail = detail
        self._uses = uses
        self.panels: dict[Structure, Panel] = {}

    def chain(
        self, steps: Sequence[Step], channels_first: bool, before: Sequence[Node] = (), outermost: bool = False
    ) -> tuple[Node, ...]:
        """The nodes of layers in order; equal composites in a row become one."""
        if valleys(steps, channels_first) == 1 and (outermost or not self._folds_valley(steps, channels_first)):
            levels = Levels(self._plain, self._folds)
            valley, after, channels_first = levels.valley(steps, channels_first, before, outermost)
            return (valley, *self._plain(after, channels_first, (), outermost))
        return self._plain(steps, channels_first, before, outermost)

    def _folds_valley(self, steps: Sequence[Step], channels_first: bool) -> bool:
        return any(self._folds(step) for step in steps if valleys([step], channels_first))

    def _plain(
        self, steps: Sequence[Step], channels_first: bool, before: Sequence[Node] = (), outermost: bool = False
    ) -> tuple[Node, ...]:
        """The same where no single one of them goes down and up again."""
        nodes = list(before)
        for step, times in _runs(steps):
            after = channels_first_after(step.layer, channels_first)
            if isinstance(step.layer, Resolved):
                _append(nodes, _times(self._resolved(step, channels_first, outermost), times, [step]))
            elif is_plate(step):
                _append(nodes, [Volume(step.output_shape, after, None, plates=(plate_of(step),))])
            else:
                nodes += [volume_of(step, after)]
            channels_first = after
        return tuple(nodes)

    def inside(self, step: Step, channels_first: bool) -> tuple[Node, ...]:
        """The nodes of a block that is drawn apart from the flow."""
        inner = _Builder(self._detail if self._detail == ALL_BLOCKS else NOTHING, Counter())
        inner.panels = self.panels
        return tuple(inner._opened(step, channels_first))

    def _folds(self, step: Step) -> bool:
        inner = _inner_steps(step)
        merging = _merges(step) or any(_merges(one) for one in inner)
        if self._detail == NOTHING or not (merging or self._detail == ALL_BLOCKS):
            return False
        if not _is_block(step):
            # Composites without a name are drawn where they are, unless they come again and again.
            return _merges(step) and not any(_merges(one) for one in inner) and self._uses[structure(step)] > 1
        if self._detail == ALL_BLOCKS:
            volumes = [one for one in inner if not isinstance(one.layer, Resolved) and not is_plate(one)]
            return len(volumes) > 1
        return not any(_is_block(one) and any(_merges(deep) for deep in _inner_steps(one)) for one in inner)

    def _resolved(self, step: Step, channels_first: bool, outermost: bool) -> list[Node]:
        if not self._folds(step):
            return self._opened(step, channels_first, outermost)
        layer = step.layer
        key = structure(step)
        panel = self.panels.setdefault(key, Panel(layer.kind, step, channels_first))
        panel.uses.append(step)
        notes = (*_repetitions(step), *parameters_text(layer, step.input_shape))
        after = channels_first_after(layer, channels_first)
        return [Volume(step.output_shape, after, "block", (), notes, panel=key)]

    def _opened(self, step: Step, channels_first: bool, outermost: bool = False) -> list[Node]:
        """The nodes of a composite with what is inside."""
        layer = step.layer
        assert isinstance(layer, Resolved)
        notes = parameters_text(layer, step.input_shape)
        if layer.merge is not None:
            if valleys([step], channels_first):
                return list(self.chain([step], channels_first))
            return [Group(layer.kind, notes, (self._fork(step, channels_first),))]
        if isinstance(layer.written, Repeat):
            return self._repeat(layer, channels_first)
        nodes = self.chain(layer.parts[0].steps, channels_first)
        if len(nodes) != 1:
            return [Group(layer.kind, notes, nodes, is_block=True)] if nodes else []
        only = nodes[0]
        if isinstance(only, Group) and not only.is_block:
            return [replace(only, title=layer.kind, notes=notes, is_block=True)]
        if isinstance(only, Volume):
            # Inside other composites, the layers' own numbers are enough.
            total = tuple(f"{layer.kind}: {note}" for note in notes[:1] if outermost)
            further = (note for note in (*total, *notes[1:]) if note.split(": ")[-1] not in only.notes)
            return [replace(only, notes=(*only.notes, *further))]
        return [Group(layer.kind, notes, nodes, is_block=True)]

    def _repeat(self, layer: Resolved, channels_first: bool) -> list[Node]:
        """One drawing for repetitions that are equal, or differ only in their numbers and hold a merge."""
        drawn: list[Node] = []

        def key(steps: tuple[Step, ...]) -> Any:
            return tuple(structure(step) for step in steps) if has_merges(steps) else steps

        for _, same in itertools.groupby(_rounds(layer), key):
            rounds = list(same)
            nodes = self.chain(rounds[0], channels_first)
            for steps in rounds[0]:
                channels_first = channels_first_after(steps.layer, channels_first)
            if len(rounds) == 1:
                for node in nodes:
                    _append(drawn, [node])
                continue
            if rounds[0] == rounds[-1]:
                drawn += _times(nodes, len(rounds), rounds[0])
            else:
                outputs = tuple(format_shape(steps[-1].output_shape) for steps in (rounds[0], rounds[-1]))
                total = sum(sum(one.layer.parameters(one.input_shape)) for steps in rounds for one in steps)
                notes = (f"{total:,} parameters in all",) if total else ()
                drawn.append(_growing(nodes, notes, outputs, len(rounds)))
        return drawn

    def _fork(self, step: Step, channels_first: bool) -> Fork:
        layer = step.layer
        assert isinstance(layer, Resolved)
        parts = list(layer.parts)
        if layer.kind == "Residual":
            # The shortcut is drawn above the main path.
            parts.reverse()
        paths = tuple(self.chain(part.steps, channels_first) for part in parts)
        return Fork(paths, layer.merge, merge_of(step, channels_first_after(layer, channels_first)))


def _runs(steps: Sequence[Step]) -> Iterator[tuple[Step, int]]:
    """Each step, equal composites in a row once with their number."""
    for step, same in itertools.groupby(steps):
        number = len(list(same))
        if isinstance(step.layer, Resolved):
            yield step, number
        else:
            yield from [(step, 1)] * number


def _append(nodes: list[Node], more: Sequence[Node]) -> None:
    """Adds nodes; plates without a volume go to the volume before, where there is one."""
    for node in more:
        last = nodes[-1] if nodes else None
        if not isinstance(node, Volume) or node.family is not None or not node.plates or last is None:
            nodes.append(node)
        elif isinstance(last, Volume):
            nodes[-1] = replace(last, plates=last.plates + node.plates)
        elif isinstance(last, Fork):
            nodes[-1] = replace(last, tail=replace(last.tail, plates=last.tail.plates + node.plates))
        else:
            nodes.append(node)


def _times(nodes: Sequence[Node], times: int, steps: Sequence[Step]) -> list[Node]:
    """Nodes that come so many times in a row, and the steps that they were made of."""
    if times == 1:
        return list(nodes)
    only = nodes[0] if len(nodes) == 1 else None
    if isinstance(only, Group) and only.times == 1:
        return [replace(only, times=times, notes=tuple(f"{note} each" for note in only.notes[:1]) + only.notes[1:])]
    # A volume with the name of a block says it itself.
    named = isinstance(only, Volume) and only.panel is None and len(steps) == 1 and _is_block(steps[0])
    return [Group(steps[0].layer.kind if named else "", (), tuple(nodes), times=times, is_block=named)]


def _growing(nodes: Sequence[Node], notes: tuple[str, ...], outputs: tuple[str, ...], times: int) -> Group:
    """Repetitions that differ in their numbers, with the nodes of the first."""
    only = nodes[0]
    if len(nodes) == 1 and isinstance(only, Group) and only.times == 1:
        return replace(only, notes=notes, outputs=outputs, times=times)
    return Group("", notes, tuple(nodes), outputs, times)


def _repetitions(step: Step) -> tuple[str, ...]:
    """How often a block repeats what is inside it, where it is a repetition and nothing else."""
    layer = step.layer
    assert isinstance(layer, Resolved)
    steps = layer.parts[0].steps
    inner = steps[0].layer if layer.merge is None and len(steps) == 1 else None
    if not isinstance(inner, Resolved) or not isinstance(inner.written, Repeat):
        return ()
    rounds = {tuple(structure(one) for one in round_) for round_ in _rounds(inner)}
    return (f"{inner.written.times} repetitions",) if len(rounds) == 1 and inner.written.times > 1 else ()
