"""The blocks that are drawn apart from the flow of a network: each inside once, with a table of its uses."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from cnnkit.format.base import shorten
from cnnkit.format.shapes import format_shape
from cnnkit.plots.drawing import FONT, LINE_HEIGHT, Box, Drawn, Line, Outline, Placed, Text, text_width
from cnnkit.plots.network_boxes import Boxes
from cnnkit.plots.network_nodes import Group, Node, Panel

_TITLE = 9.0
_PAD = 8.0
#: Between panels, in points.
_SPACE = 10.0

#: A table of uses has no more rows.
_MOST_USES = 16


def panel_box(panel: Panel, boxes: Boxes) -> Box:
    """A block's inside in an outline, its title and first use above, a table of all uses below."""
    inner = boxes.chain(_without_own_outline(panel.nodes))
    table = _table(panel)
    step = panel.first
    trainable, fixed = step.layer.parameters(step.input_shape)
    first = "first use: " if len(panel.uses) > 1 else ""
    note = f"{first}{format_shape(step.input_shape)} → {format_shape(step.output_shape)}"
    if trainable + fixed:
        note += f", {trainable + fixed:,} parameters"
    note_left = _PAD + text_width(panel.title, _TITLE, bold=True) + 8
    width = max(inner.width + 2 * _PAD + 10, note_left + text_width(note, FONT) + _PAD, table.width + 2 * _PAD)
    left = (width - inner.width) / 2
    up, down = inner.up + 22, inner.down + 6 + (table.height + 6 if table.height else 0)
    y = up - 11
    return Box(
        width,
        up,
        down,
        0,
        width,
        (
            Outline(((0.0, -down), (width, up))),
            Text(((_PAD, y),), panel.title, _TITLE, True),
            Text(((note_left, y),), note, FONT),
            Line(((0.0, 0.0), (left + inner.enter, 0.0)), inner.arrow),
            Line(((left + inner.leave, 0.0), (width, 0.0)), True),
            Placed(inner, left, 0),
            Placed(table, (width - table.width) / 2, -inner.down - 8),
        ),
    )


def _without_own_outline(nodes: tuple[Node, ...]) -> tuple[Node, ...]:
    """What is inside a block, without the outline and the title that the panel gives it again."""
    only = nodes[0]
    if len(nodes) > 1 or not isinstance(only, Group):
        return nodes
    return only.nodes if only.times == 1 else (replace(only, title="", notes=(), is_block=False),)


def _table(panel: Panel) -> Box:
    """One row for each use that differs from the others: its output, the values that differ, its parameters.

    Empty where no values differ, so that the flow says all of it, or too many uses do.
    """
    values = [step.layer.values for step in panel.uses]  # type: ignore[attr-defined]
    plain = [name for name in values[0] if all(isinstance(each[name], int | float | str) for each in values)]
    names = [name for name in plain if len({each[name] for each in values}) > 1]
    rows = dict.fromkeys(
        (
            format_shape(step.output_shape),
            *(_value(each[name]) for name in names),
            f"{sum(step.layer.parameters(step.input_shape)):,}",
        )
        for step, each in zip(panel.uses, values, strict=True)
    )
    if not names or len(rows) > _MOST_USES:
        return Box(0, 0, 0, 0, 0)
    shapes: list[Drawn] = []
    x = 0.0
    line = FONT * LINE_HEIGHT
    for column in zip(("output", *names, "parameters"), *rows, strict=True):
        wide = max(text_width(text, FONT, number == 0) for number, text in enumerate(column))
        for number, text in enumerate(column):
            bold = number == 0
            # Numbers end below each other.
            start = x + wide - text_width(text, FONT, bold)
            shapes.append(Text(((start, -(number + 0.5) * line),), text, FONT, bold))
        x += wide + 9
    width = x - 9
    shapes.append(Line(((0.0, -line), (width, -line)), width=0.5))
    return Box(width, 0, line * (len(rows) + 1), 0, 0, tuple(shapes))


def _value(value: float | str) -> str:
    """A parameter's value as the config writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return shorten(value, 20) if isinstance(value, str) else f"{value:,}"


def shelves(panels: Sequence[Box], width: float) -> list[Box]:
    """Panels side by side, aligned at their upper ends, in as many rows as they need."""
    rows: list[Box] = []
    room = -math.inf
    for panel in panels:
        if panel.width > room:
            rows.append(Box(width, 0, 0, 0, 0))
            room = width
        shelf = rows[-1]
        shapes = (*shelf.shapes, Placed(panel, width - room, -panel.up))
        rows[-1] = replace(shelf, down=max(shelf.down, panel.height + _SPACE), shapes=shapes)
        room -= panel.width + _SPACE
    return rows


def column(panels: Sequence[Box]) -> Box:
    """Panels below each other."""
    shapes = []
    y = 0.0
    for panel in panels:
        shapes.append(Placed(panel, 0, y - panel.up))
        y -= panel.height + _SPACE
    return Box(max(panel.width for panel in panels), 0, -y, 0, 0, tuple(shapes))
