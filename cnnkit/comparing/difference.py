"""`cnnkit diff`: two configs or runs, layer by layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

from cnnkit.config.load import LoadedConfig
from cnnkit.format.base import NamedObject, StrictModel, to_plain
from cnnkit.format.shapes import format_shape
from cnnkit.layers.base import Layer
from cnnkit.layers.block_calls import BlockCall
from cnnkit.layers.resolved import Resolved
from cnnkit.layers.unresolved import Unresolved
from cnnkit.network.footprint import format_bytes
from cnnkit.network.summary import LayerRow, Summary, summarize
from cnnkit.runs.config import load_named
from cnnkit.runs.finding import is_config, run_of
from cnnkit.runs.interface import INITIAL_WEIGHTS
from cnnkit.runs.listing import number_in, weights_begun_with
from cnnkit.task import Figure
from cnnkit.terminal.tables import aligned

#: What it costs to change a layer into one of its kind, by share of its arguments, against 1 for leaving one out.
_CHANGE = 1.5

#: Pairs of layers that are weighed against each other in one list.
_MOST_CELLS = 250_000

_Sign = Literal["=", "~", "-", "+"]


@dataclass(frozen=True)
class Side:
    """A config or a run, as it is compared.

    Attributes:
        name: As the user named it.
        figure: The headline of its task.
        value: Its value on the test split; None without a run that has been evaluated.
        weights: The run whose weights the network began with; None without one.
    """

    name: str
    loaded: LoadedConfig
    summary: Summary
    figure: Figure
    value: float | None
    weights: str | None = None

    def value_of(self, figure: Figure) -> float | None:
        """The value of a headline; None where it is another's."""
        return self.value if figure == self.figure else None


@dataclass(frozen=True)
class Pair:
    """A layer of one network, or of both where they are aligned.

    Attributes:
        sign: `=` the same, `~` changed, `-` only in the first, `+` only in the second.
        inside: The same for the layers that both are made of.
    """

    sign: _Sign
    first: LayerRow | None
    second: LayerRow | None
    inside: tuple[Pair, ...] = ()

    def changes(self) -> dict[str, tuple[Any, Any]]:
        """The arguments that differ, each with both values, written or not; None where one does not have it."""
        if self.first is None or self.second is None:
            return {}
        return differences(_full_arguments(self.first), _full_arguments(self.second))


def open_side(name: str) -> Side:
    """A config file, or a run: its directory, or its name under runs/.

    Raises:
        CnnkitError: if it cannot be read.
    """
    loaded = load_named(name)
    run = None if is_config(name) else run_of(name)
    figure = loaded.config.task.headline
    if run is None:
        return Side(name, loaded, summarize(loaded), figure, None)
    value = number_in(run, run.evaluation, figure.name)
    return Side(name, loaded, summarize(loaded), figure, value, weights_begun_with(run))


def align(first: Sequence[LayerRow], second: Sequence[LayerRow]) -> list[Pair]:
    """The cheapest way from one list of layers to another: keep, change, leave out, insert.

    Only layers of one kind are changed into each other. Lists that differ in very many layers are compared place by
    place.
    """
    return _Alignment().pairs(first, second)


class _Alignment:
    """The alignment of sequences of Needleman and Wunsch (1970); what equal layers cost is worked out once."""

    def __init__(self) -> None:
        self._marks: dict[int, int] = {}
        self._numbers: dict[Any, int] = {}
        self._changes: dict[tuple[int, int], float] = {}

    def pairs(self, first: Sequence[LayerRow], second: Sequence[LayerRow]) -> list[Pair]:
        # Equal beginnings are kept whatever follows.
        begun = 0
        for one, other in zip(first, second, strict=False):
            if self._mark(one) != self._mark(other):
                break
            begun += 1
        kept = [Pair("=", one, other) for one, other in zip(first[:begun], second[:begun], strict=True)]
        first, second = first[begun:], second[begun:]
        if len(first) * len(second) > _MOST_CELLS:
            return [
                *kept,
                *(pair for one, other in zip_longest(first, second) for pair in self._at_one_place(one, other)),
            ]
        return [*kept, *self._walk(first, second, self._costs(first, second))]

    def _mark(self, row: LayerRow) -> int:
        """What makes two layers the same: their kind, their arguments and what they are made of; not their sizes."""
        if id(row) not in self._marks:
            inside = tuple(self._mark(one) for one in row.rows)
            key = (row.type, repr(sorted(_full_arguments(row).items())), inside)
            self._marks[id(row)] = self._numbers.setdefault(key, len(self._numbers))
        return self._marks[id(row)]

    def _change(self, first: LayerRow, second: LayerRow) -> float:
        marks = self._mark(first), self._mark(second)
        if marks[0] == marks[1]:
            return 0.0
        if marks not in self._changes:
            self._changes[marks] = _distance(first, second)
        return self._changes[marks]

    def _costs(self, first: Sequence[LayerRow], second: Sequence[LayerRow]) -> list[list[float]]:
        """What it costs at the least to get from the first layers of one list to those of the other."""
        costs = [[float(column) for column in range(len(second) + 1)]]
        for row, one in enumerate(first, 1):
            before, here = costs[-1], [float(row)]
            for column, other in enumerate(second, 1):
                least = min(before[column], here[column - 1]) + 1
                if one.type == other.type:
                    least = min(least, before[column - 1] + self._change(one, other))
                here.append(least)
            costs.append(here)
        return costs

    def _walk(self, first: Sequence[LayerRow], second: Sequence[LayerRow], costs: list[list[float]]) -> list[Pair]:
        pairs: list[Pair] = []
        row, column = len(first), len(second)
        while row or column:
            here = costs[row][column]
            a, b = (first[row - 1] if row else None), (second[column - 1] if column else None)
            # From the end: among equal layers the first ones are kept, and what was removed stands before what came
            # for it.
            if b and here == costs[row][column - 1] + 1:
                pairs.append(Pair("+", None, b))
                column -= 1
            elif a and here == costs[row - 1][column] + 1:
                pairs.append(Pair("-", a, None))
                row -= 1
            else:
                assert a is not None
                assert b is not None
                pairs.append(self._changed(a, b))
                row, column = row - 1, column - 1
        return pairs[::-1]

    def _changed(self, first: LayerRow, second: LayerRow) -> Pair:
        same = self._mark(first) == self._mark(second)
        return (
            Pair("=", first, second) if same else Pair("~", first, second, tuple(self.pairs(first.rows, second.rows)))
        )

    def _at_one_place(self, first: LayerRow | None, second: LayerRow | None) -> list[Pair]:
        if first is not None and second is not None and first.type == second.type:
            return [self._changed(first, second)]
        removed = [Pair("-", first, None)] if first is not None else []
        return removed + ([Pair("+", None, second)] if second is not None else [])


def _written_arguments(row: LayerRow) -> dict[str, Any]:
    """The arguments that the config writes, without the layers inside a layer, which are compared by themselves."""
    return _without_layers(row, row.arguments)


def _full_arguments(row: LayerRow) -> dict[str, Any]:
    """All arguments, so that a default means the same written or not; of a block, what its parameters stand for."""
    layer: Any = row.view.layer if row.type else None
    # An operation in a network that is one layer is no layer of the config.
    if layer is None or not hasattr(layer, "model_fields_set"):
        return row.arguments
    written = layer.written if isinstance(layer, Resolved) else layer
    if isinstance(written, BlockCall | Unresolved):
        return {**layer.values, **{name: getattr(layer, name) for name in Layer.model_fields}}
    fields = {name: getattr(written, name) for name in type(written).model_fields}
    return {name: _in_full(value) for name, value in _without_layers(row, fields).items()}


def _without_layers(row: LayerRow, arguments: dict[str, Any]) -> dict[str, Any]:
    if row.type not in ("Residual", "Branches", "Repeat"):
        return arguments
    return {key: value for key, value in arguments.items() if not isinstance(value, list)}


def _in_full(value: Any) -> Any:
    """A field's value as plain YAML with every default of the objects in it."""
    if isinstance(value, StrictModel):
        arguments = {name: _in_full(getattr(value, name)) for name in type(value).model_fields}
        return {type(value).__name__: arguments} if isinstance(value, NamedObject) else arguments
    if isinstance(value, Mapping):
        return {key: _in_full(item) for key, item in value.items()}
    return [_in_full(item) for item in value] if isinstance(value, list | tuple) else value


def _distance(first: LayerRow, second: LayerRow) -> float:
    """What it costs to change a layer into one that is not the same."""
    one, other = _full_arguments(first), _full_arguments(second)
    changed = {key for key in one.keys() | other.keys() if one.get(key) != other.get(key)}
    keys = changed | _written_arguments(first).keys() | _written_arguments(second).keys()
    # Something has changed, if only inside.
    return _CHANGE * max(len(changed), 0.5) / (len(keys) + 1)


def differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """The keys whose values differ, nested mappings key by key (`a.b`), each with both values."""
    values: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys([*first, *second]):
        one, other = first.get(key), second.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            values |= {f"{key}.{inner}": pair for inner, pair in differences(one, other).items()}
        elif one != other:
            values[key] = (one, other)
    return values


def _section_differences(first: Side, second: Side) -> dict[str, tuple[Any, Any]]:
    """What differs outside the network."""
    names = ("seed", "task", "data", "augmentation", "training")
    one, other = ({name: to_plain(getattr(side.loaded.config, name)) for name in names} for side in (first, second))
    begun = (first.weights, second.weights)
    return {**differences(one, other), **({INITIAL_WEIGHTS: begun} if begun[0] != begun[1] else {})}


def compare(first: Side, second: Side) -> dict[str, Any]:
    """The whole comparison as plain JSON values."""
    totals = {
        key: [getattr(first.summary, key), getattr(second.summary, key)]
        for key in ("parameters", "trainable_parameters", "macs", "activation_bytes", "receptive_field")
    }
    return {
        "first": first.name,
        "second": second.name,
        "layers": [as_json(pair) for pair in align(first.summary.rows, second.summary.rows)],
        "totals": totals,
        **{figure.name: [side.value_of(figure) for side in (first, second)] for figure in _headlines(first, second)},
        "sections": {key: list(pair) for key, pair in _section_differences(first, second).items()},
    }


def as_json(pair: Pair) -> dict[str, Any]:
    """A pair as plain JSON values."""
    row = pair.first or pair.second
    assert row is not None
    entry: dict[str, Any] = {
        "sign": pair.sign,
        "type": row.type,
        "labels": [one.label if one else None for one in (pair.first, pair.second)],
        "changes": {key: list(values) for key, values in pair.changes().items()},
    }
    for key in ("parameters", "macs", "activation_bytes", "receptive_field", "output_shape"):
        entry[key] = [getattr(one, key) if one else None for one in (pair.first, pair.second)]
    if pair.inside:
        entry["layers"] = [as_json(one) for one in pair.inside]
    return entry


def as_text(first: Side, second: Side) -> str:
    """The comparison as a terminal shows it."""
    lines = [f"- {first.name}", f"+ {second.name}", ""]
    pairs = align(first.summary.rows, second.summary.rows)
    lines += [line for pair in pairs for line in pair_lines(pair, 0)]
    lines += ["", *_total_lines(first, second)]
    sections = _section_differences(first, second)
    if sections:
        lines += ["", *(f"{key}: {shown(one)} -> {shown(other)}" for key, (one, other) in sections.items())]
    return "\n".join(lines)


def pair_lines(pair: Pair, depth: int = 0, *, changes_only: bool = False) -> Iterator[str]:
    """A pair as a terminal shows it: one line for it, and one for each layer inside.

    Args:
        depth: How deep it lies inside others, from 0.
        changes_only: Whether to leave out the layers inside that are the same.
    """
    row = pair.second or pair.first
    assert row is not None
    places = [str(one.index) if depth == 0 else one.label for one in (pair.first, pair.second) if one is not None]
    place = " -> ".join(dict.fromkeys(places))
    text = f"{pair.sign} {'  ' * depth}{place}" + (f" {row.name}" if depth == 0 else "")
    notes = [f"{key}: {shown(one)} -> {shown(other)}" for key, (one, other) in pair.changes().items()]
    if pair.first is None or pair.second is None:
        arguments = _written_arguments(row)
        notes.append(", ".join(f"{key}: {shown(value)}" for key, value in arguments.items()))
        notes.append(f"{format_shape(row.output_shape)}, {row.parameters:,} parameters, {row.macs:,} MACs")
    else:
        for name, form in (("output_shape", format_shape), ("receptive_field", format_shape)):
            before, after = getattr(pair.first, name), getattr(pair.second, name)
            if before != after:
                notes.append(f"{name.replace('_', ' ')} {form(before)} -> {form(after)}")
        for name, unit in (("parameters", "parameters"), ("macs", "MACs")):
            change = getattr(pair.second, name) - getattr(pair.first, name)
            if change:
                notes.append(f"{change:+,} {unit}")
    text += "".join(f"  {note}" for note in notes if note)
    yield text
    for one in pair.inside:
        if one.sign != "=" or not changes_only:
            yield from pair_lines(one, depth + 1, changes_only=changes_only)


def shown(value: Any) -> str:
    """A value of the config on one line."""
    from cnnkit.format.document import dump

    if value is None:
        return "(default)"
    return " ".join(dump(value).removesuffix("...\n").split())


def _total_lines(first: Side, second: Side) -> list[str]:
    one, other = first.summary, second.summary
    kind = one.sample.singular if one.sample.singular == other.sample.singular else "sample"
    rows: list[tuple[str, ...]] = [
        ("parameters", f"{one.parameters:,}", f"{other.parameters:,}", _change(one.parameters, other.parameters)),
        (f"MACs per {kind}", f"{one.macs:,}", f"{other.macs:,}", _change(one.macs, other.macs)),
        (
            f"activations per {kind}",
            format_bytes(one.activation_bytes),
            format_bytes(other.activation_bytes),
            _change(one.activation_bytes, other.activation_bytes),
        ),
        ("receptive field", format_shape(one.receptive_field), format_shape(other.receptive_field), ""),
    ]
    rows += [_figure_row(figure, first, second) for figure in _headlines(first, second)]
    return aligned([row for row in rows if row], "<>>>").splitlines()


def _headlines(first: Side, second: Side) -> Iterable[Figure]:
    return dict.fromkeys((first.figure, second.figure))


def _figure_row(figure: Figure, first: Side, second: Side) -> tuple[str, ...]:
    """A headline on the test split; empty where no side has it."""
    before, after = first.value_of(figure), second.value_of(figure)
    if before is None and after is None:
        return ()
    shown = ["-" if value is None else figure.text(value) for value in (before, after)]
    change = "" if before is None or after is None else figure.difference(after - before)
    return (f"test {figure.label}", *shown, change)


def _change(before: int, after: int) -> str:
    if before == after:
        return ""
    if not before:
        return "new"
    return f"{after / before:.1f} times" if after >= 3 * before else f"{after / before - 1:+.1%}"
