"""The layer table of `inspect`: shapes, parameters, operations, memory and receptive field, without TensorFlow."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import TYPE_CHECKING, Any

from cnnkit.config.check_networks import layers_of
from cnnkit.config.load import LoadedConfig
from cnnkit.config.sample import IMAGES, Sample
from cnnkit.config.staged import StagePlan, stage_plans
from cnnkit.format.explain import format_path
from cnnkit.format.shapes import format_shape
from cnnkit.layers.base import Operation
from cnnkit.layers.receptive_field import View
from cnnkit.layers.resolved import Resolved
from cnnkit.layers.stack import Step
from cnnkit.layers.window import WindowedLayer
from cnnkit.network.footprint import ACTIVATION_BYTES, Footprint, format_bytes, of_others, of_training
from cnnkit.terminal.tables import aligned

if TYPE_CHECKING:
    from cnnkit.config.boxes.sizes import ObjectSizes

#: Rows of the table that fit a screen, where layers can be folded.
SCREEN_LINES = 45

_HEADER = ("layer", "output", "parameters", "MACs", "activations", "receptive field")
#: Columns that give way where the table is wider than the screen, in this order; before them, long names do.
_GIVE_WAY = ("activations", "receptive field", "MACs")
_SHORTEST_NAME = 16


@dataclass(frozen=True)
class LayerRow:
    """What `inspect` says of one layer, for one image.

    Attributes:
        index: The layer's place in `model.layers`, or that of the layer that it is inside of.
        label: Its name in the model, which tells where it stands: `3.Residual`, and inside it `layers.0.Conv2D`.
        macs: Multiply-accumulates of a forward pass.
        activation_bytes: What leaves the layer; for a layer made of others, theirs too.
        view: What is seen of the image after this layer.
        rows: The layers that it is made of.
        shortcut: What became of a `shortcut: auto`, in words.
        frozen: Whether the config says that its weights are not trained.
    """

    index: int
    label: str
    type: str
    name: str
    arguments: dict[str, Any]
    output_shape: tuple[int, ...]
    trainable_parameters: int
    non_trainable_parameters: int
    macs: int
    activation_bytes: int
    view: View
    warnings: tuple[str, ...]
    rows: tuple[LayerRow, ...] = ()
    shortcut: str | None = None
    frozen: bool = False

    @property
    def parameters(self) -> int:
        return self.trainable_parameters + self.non_trainable_parameters

    @cached_property
    def receptive_field(self) -> tuple[int, ...]:
        """The input region that one output position sees: of an image its height and width."""
        return self.view.field()

    def all_warnings(self) -> list[str]:
        """The warnings of this layer and of those inside it, each as the end of a text that names the layer."""
        inside = [f", {row.label}{text}" for row in self.rows for text in row.all_warnings()]
        return [*(f": {text}" for text in self.warnings), *inside]

    def as_json(self) -> dict[str, Any]:
        """The row as plain JSON values."""
        return {
            "index": self.index,
            "label": self.label,
            "type": self.type,
            "name": self.name,
            "arguments": self.arguments,
            "output_shape": list(self.output_shape),
            "parameters": self.parameters,
            "trainable_parameters": self.trainable_parameters,
            "macs": self.macs,
            "activation_bytes": self.activation_bytes,
            "receptive_field": list(self.receptive_field),
            "warnings": list(self.warnings),
            **({"frozen": True} if self.frozen else {}),
            **({"shortcut": self.shortcut} if self.shortcut is not None else {}),
            **({"layers": [row.as_json() for row in self.rows]} if self.rows else {}),
        }


@dataclass(frozen=True)
class Summary:
    """All rows of a config's network with their totals.

    Attributes:
        training: What the stage needs that needs most.
        stages: What each trains; empty for a training without, in which all layers learn alike.
        sample: What the network is given.
        objects: How large the objects are that are to be found in images; None where there are none, or they are not
            here.
        network: The name of the network among several that are trained together; of one alone, none.
    """

    config: str
    input_shape: tuple[int, ...]
    classes: int
    rows: tuple[LayerRow, ...]
    training: Footprint
    stages: tuple[StagePlan, ...] = ()
    sample: Sample = IMAGES
    objects: ObjectSizes | None = None
    network: str = ""

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def trainable_parameters(self) -> int:
        return sum(row.trainable_parameters for row in self.rows)

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        return sum(row.activation_bytes for row in self.rows)

    @property
    def receptive_field(self) -> tuple[int, ...]:
        return self.rows[-1].receptive_field

    @property
    def warnings(self) -> list[str]:
        place = format_path(layers_of(self.network))
        return [f"{place}[{row.index}].{row.type}{text}" for row in self.rows for text in row.all_warnings()]

    def as_json(self) -> dict[str, Any]:
        """The summary as plain JSON values."""
        return {
            "config": self.config,
            "input_shape": list(self.input_shape),
            "classes": self.classes,
            "parameters": self.parameters,
            "trainable_parameters": self.trainable_parameters,
            "macs": self.macs,
            "activation_bytes": self.activation_bytes,
            "training_bytes": self.training.total,
            "receptive_field": list(self.receptive_field),
            **({"objects": self.objects.as_json()} if self.objects is not None else {}),
            "layers": [row.as_json() for row in self.rows],
            **({"stages": [plan.as_json() for plan in self.stages]} if self.stages else {}),
            "warnings": self.warnings,
        }

    def lines(self, depth: int) -> list[tuple[int, LayerRow]]:
        """The rows down to a depth, 1 for only the layers of the config, each with how deep it lies, from 0."""

        def below(rows: Sequence[LayerRow], level: int) -> Iterator[tuple[int, LayerRow]]:
            for row in rows:
                yield level, row
                if level + 1 < depth:
                    yield from below(row.rows, level + 1)

        return list(below(self.rows, 0))

    def depth(self) -> int:
        """How deep layers lie inside layers: 1 where none does."""

        def deepest(rows: Sequence[LayerRow]) -> int:
            return 1 + max((deepest(row.rows) for row in rows), default=0) if rows else 0

        return deepest(self.rows)

    def readable_depth(self) -> int:
        """The largest depth at which the table still fits a screen."""
        depths = range(self.depth(), 1, -1)
        return next((depth for depth in depths if len(self.lines(depth)) <= SCREEN_LINES), 1)

    def as_table(self, depth: int | None = None, *, warnings: bool = True, width: int = 0) -> str:
        """The summary as aligned text.

        Args:
            width: Characters of a line, where names and columns are to give way; 0 for as many as it takes.
            depth: How deep to unfold layers that are made of others, from 1; by default as far as fits a screen.
            warnings: Whether they stand below it.
        """
        if depth is None:
            depth = self.readable_depth()
        lines = [("input", format_shape(self.input_shape), "", "", "", "")]
        lines += [
            (
                f"{row.index:>2} {row.name}" if level == 0 else "   " + "  " * level + row.label,
                format_shape(row.output_shape),
                f"{row.parameters:,}",
                f"{row.macs:,}",
                format_bytes(row.activation_bytes),
                format_shape(row.receptive_field),
            )
            for level, row in self.lines(depth)
        ]
        table, left_out = _fitted([_HEADER, *lines], width)
        field = self.receptive_field
        rule = "-" * max(map(len, table))
        fixed = self.parameters - self.trainable_parameters
        totals = [
            f"parameters       {self.parameters:,}" + (f" ({fixed:,} not trainable)" if fixed else ""),
            f"MACs             {self.macs:,} per {self.sample.singular}",
            f"activations      {format_bytes(self.activation_bytes)} per {self.sample.singular}, 32-bit",
            f"training memory  at least {self.training.as_text()}",
            f"receptive field  {format_shape(field)} of {format_shape(self.input_shape[: len(field)])}",
        ]
        if self.objects is not None:
            totals.append(f"objects          {self.objects.as_text()}")
        totals += [
            f"frozen           {row.name}: {row.parameters:,} parameters are not trained"
            + (", and batch normalization keeps its mean and variance" if row.type == "Backbone" else "")
            for row in self.rows
            if row.frozen
        ]
        ends = itertools.accumulate(plan.training.epochs for plan in self.stages)
        totals += [
            f"stage {number:<10} {plan.epochs_text(end)}: {plan.as_text()}"
            for number, (plan, end) in enumerate(zip(self.stages, ends, strict=True), 1)
        ]
        chosen = Counter(row.shortcut for _, row in self.lines(self.depth()) if row.shortcut is not None)
        if chosen:
            texts = [f"{text} ({count} times)" if count > 1 else text for text, count in chosen.items()]
            totals.append("auto shortcuts   " + ("\n" + " " * 17).join(texts))
        if depth < self.depth():
            totals.append(f"folded at depth {depth} of {self.depth()}; `--depth {self.depth()}` shows all layers")
        if left_out:
            totals.append(f"left out for {width} columns: {', '.join(left_out)}")
        lines_below = [f"warning: {warning}" for warning in self.warnings] if warnings else []
        return "\n".join([table[0], rule, *table[1:], rule, *totals, *lines_below])


def _fitted(lines: Sequence[Sequence[str]], width: int) -> tuple[list[str], list[str]]:
    """A table's lines, the first its header, as text; names are cut and columns left out until it fits a width.

    Returns:
        The lines, and the names of the columns that are left out.
    """
    columns = list(range(len(lines[0])))
    left_out: list[str] = []
    name_width = max(len(line[0]) for line in lines)
    waiting = [_HEADER.index(name) for name in _GIVE_WAY]
    while True:
        widths = {column: max(len(line[column]) for line in lines) for column in columns}
        widths[0] = name_width
        over = sum(widths.values()) + 2 * (len(columns) - 1) - width if width else 0
        if over <= 0:
            break
        if name_width > _SHORTEST_NAME:
            name_width = max(_SHORTEST_NAME, name_width - over)
        elif waiting:
            column = waiting.pop(0)
            columns.remove(column)
            left_out.append(lines[0][column])
        else:
            break
    # What the columns that gave way leave, names take back.
    widths[0] = min(max(len(line[0]) for line in lines), name_width - min(over, 0))

    rows = [[_cut(line[0], widths[0]), *(line[column] for column in columns[1:])] for line in lines]
    return aligned(rows, "<<" + ">" * (len(columns) - 2)).splitlines(), left_out


def _cut(name: str, width: int) -> str:
    """A layer's name in a width: of one inside another, whose name begins with its place, the end."""
    if len(name) <= width:
        return name
    inner = name.lstrip()
    indent = len(name) - len(inner)
    if indent > 1 and width - indent - 3 > 0:
        return name[:indent] + "..." + inner[-(width - indent - 3) :]
    return name[: width - 3] + "..."


def summarize(loaded: LoadedConfig) -> Summary:
    """The summary of a config's network; of several, of the one that is kept.

    Example:
        >>> from cnnkit.config.load import load_config
        >>> summary = summarize(load_config("configs/digits.yaml"))
        >>> [row.name for row in summary.rows][:2]
        ['Conv2D', 'BatchNormalization']
    """
    info, steps = loaded.info, loaded.steps
    rows = _all_rows(steps, info.shape)
    plans = stage_plans(loaded.config.training, steps)
    batch = loaded.config.data.batch_size
    footprints = [of_training(plan.steps(steps), plan.training, batch, layers=plan.layers) for plan in plans]
    training = max(footprints, key=lambda footprint: footprint.total)
    shown = plans if loaded.config.training.stages or plans[0].rates_text else ()
    objects = _objects(loaded, rows[-1].receptive_field) if rows else None
    kept = loaded.config.task.networks[0]
    return Summary(loaded.file, info.shape, info.classes, rows, training, shown, info.sample, objects, kept)


def summarize_others(loaded: LoadedConfig) -> dict[str, Summary]:
    """The summaries of the networks that are trained beside the one that is kept, by name."""
    footprints = of_others(loaded.config, loaded.others, loaded.config.data.batch_size)
    found = {}
    for name, steps in loaded.others.items():
        shape = steps[0].input_shape
        found[name] = Summary(
            loaded.file,
            shape,
            loaded.info.classes,
            _all_rows(steps, shape),
            footprints[name],
            sample=loaded.config.data.sample,
            network=name,
        )
    return found


def together(summaries: Sequence[Summary]) -> tuple[int, Footprint]:
    """The parameters of networks that are trained together, and what training them needs."""
    parameters = sum(summary.parameters for summary in summaries)
    return parameters, reduce(Footprint.beside, (summary.training for summary in summaries))


def _objects(loaded: LoadedConfig, field: Sequence[int]) -> ObjectSizes | None:
    """The objects of images with boxes, where their files are here."""
    if not loaded.info.target.boxed or loaded.info.listing is None:
        return None
    from cnnkit.config.boxes.listing import BoxListing
    from cnnkit.config.boxes.sizes import ObjectSizes, sides_in

    assert isinstance(loaded.info.listing, BoxListing)
    sides = sides_in(loaded.info.listing, loaded.info.shape, loaded.config.data.resize)
    return ObjectSizes(sides, (field[0], field[1])) if sides else None


def _all_rows(steps: Sequence[Step], input_shape: tuple[int, ...]) -> tuple[LayerRow, ...]:
    """The rows of a network."""
    return _rows(steps, [f"{index}.{step.layer.kind}" for index, step in enumerate(steps)], View.of(input_shape))


def _rows(
    steps: Sequence[Step],
    labels: Sequence[str],
    before: View,
    outer: int | None = None,
    implied: bool = False,
    read_beside: bool = False,
) -> tuple[LayerRow, ...]:
    """The rows of layers in order.

    Args:
        before: What is seen of the image before them.
        outer: The place in `model.layers` of what these layers are inside of.
        implied: Whether the config does not write these layers, so that it can mend nothing in them.
        read_beside: Whether another path reads the pixels that these layers leave out.
    """
    rows = []
    view = before
    for number, (step, label) in enumerate(zip(steps, labels, strict=True)):
        index = number if outer is None else outer
        inside, paths = _inside(step, view, index, implied, read_beside)
        view = view.behind(step.layer, step.input_shape, paths)
        silent = inside or implied or (read_beside and isinstance(step.layer, WindowedLayer))
        warnings = () if silent else step.layer.warnings(step.input_shape)
        rows.append(_row(step, index, label, view, inside, warnings))
    return tuple(rows)


def _inside(
    step: Step, before: View, index: int, implied: bool, read_beside: bool
) -> tuple[tuple[LayerRow, ...], tuple[View, ...]]:
    """The rows of the layers that a layer is made of, and what is seen of the image after each of its paths."""
    operations = step.layer.operations(step.input_shape)
    if operations:
        return tuple(_operation_row(operation, step, before, index) for operation in operations), ()
    if not isinstance(step.layer, Resolved):
        return (), ()
    lines: list[LayerRow] = []
    paths: list[View] = []
    for part in step.layer.parts:
        beside = read_beside or step.layer.loses_nothing_in(part)
        rows = _rows(part.steps, part.labels, before, index, implied or part.implied, beside)
        paths.append(rows[-1].view if rows else before)
        lines += rows
        if not part.steps:
            label = f"{part.title}: the input"
            lines.append(LayerRow(index, label, "", label, {}, step.input_shape, 0, 0, 0, 0, before, ()))
    return tuple(lines), tuple(paths)


def _operation_row(operation: Operation, step: Step, before: View, index: int) -> LayerRow:
    """The row of an operation of a layer that is a whole network."""
    trained = step.layer.trainable
    trainable = sum(weight.size for weight in operation.weights if weight.trainable and trained)
    return LayerRow(
        index=index,
        label=operation.name,
        type=operation.kind,
        name=operation.name,
        arguments=dict(operation.arguments),
        output_shape=operation.shape,
        trainable_parameters=trainable,
        non_trainable_parameters=sum(weight.size for weight in operation.weights) - trainable,
        macs=operation.macs,
        activation_bytes=operation.activations * ACTIVATION_BYTES,
        view=before.behind(operation, step.input_shape, ()),
        warnings=(),
    )


def _row(
    step: Step,
    index: int,
    label: str,
    view: View,
    inside: tuple[LayerRow, ...],
    warnings: tuple[str, ...],
) -> LayerRow:
    layer = step.layer
    trainable, fixed = layer.parameters(step.input_shape)
    own = math.prod(step.output_shape) * ACTIVATION_BYTES
    if layer.operations(step.input_shape) or (isinstance(layer, Resolved) and layer.merge is None):
        # Its output is that of the last layer inside.
        own = 0
    return LayerRow(
        index=index,
        label=layer.name or label,
        type=layer.kind,
        name=layer.name or layer.kind,
        arguments=layer.arguments(),
        output_shape=step.output_shape,
        trainable_parameters=trainable,
        non_trainable_parameters=fixed,
        macs=layer.macs(step.input_shape),
        activation_bytes=own + sum(row.activation_bytes for row in inside),
        view=view,
        warnings=warnings,
        rows=inside,
        shortcut=next((part.chosen for part in layer.parts if part.chosen), None)
        if isinstance(layer, Resolved)
        else None,
        frozen=trainable + fixed > 0 and not layer.trainable,
    )
