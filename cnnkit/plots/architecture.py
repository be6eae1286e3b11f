"""A network as a drawing: feature maps as volumes to scale, composites as forks and outlines; without TensorFlow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnkit.config.load import LoadedConfig
from cnnkit.layers.base import format_shape
from cnnkit.plots.drawing import (
    LINE_HEIGHT,
    POINTS,
    Box,
    Drawn,
    Line,
    Outline,
    Text,
    chain,
    paint,
    text_width,
    wrapped,
)
from cnnkit.plots.network_boxes import FAMILIES, FONT, GAP, Boxes, Scale, families_of, shapes_of, swatch
from cnnkit.plots.network_tree import ALL_BLOCKS, INNERMOST_MERGES, NOTHING, Panel, Tree, tree
from cnnkit.plots.style import figure_of, save
from cnnkit.summary import Summary, summarize

#: A page on which the fonts are easy to read, in points: the shape of a slide.
_PAGE_WIDTH, _PAGE_HEIGHT = 960.0, 540.0
#: A drawing may be larger than the page by this factor before blocks are drawn apart from the flow.
_MOST_SHRINKING = 1.25
_MOST_ROWS = 12

#: Volumes inside the blocks that are drawn apart are smaller than those of the flow.
_PANEL_ZOOM = 0.6

_MARGIN = 14.0
_HEADING = 13.0
#: Between rows, and beside them, where the line to the next row runs.
_CHANNEL = 16.0


def architecture(loaded: LoadedConfig, path: Path) -> None:
    """Draws a config's network.

    Args:
        path: The file to write, a PNG or an SVG as its ending says.

    Raises:
        OSError: if the file cannot be written.
    """
    save(architecture_figure(loaded), path)


def architecture_figure(loaded: LoadedConfig) -> Any:
    """The network of a config as a matplotlib figure.

    Feature maps are cuboids in oblique projection, vectors bars. Layers that keep the size are plates on the volume
    before. Composites are drawn as forks and outlines; what comes several times in a row once, with how often. If a
    page would be too small, blocks are drawn apart from the flow, once for each structure.
    """
    summary = summarize(loaded)
    steps = loaded.config.model.trace(loaded.info.shape, loaded.info.classes)
    pages = (
        _Page.of(loaded.name, summary, tree(steps, loaded.info.shape, detail))
        for detail in (NOTHING, INNERMOST_MERGES, ALL_BLOCKS)
    )
    tried = []
    for page in pages:
        tried.append(page)
        if page.shrinking <= _MOST_SHRINKING:
            break
    page = min(tried, key=lambda page: page.shrinking) if page.shrinking > _MOST_SHRINKING else page
    figure = figure_of(page.width / POINTS, page.height / POINTS, constrained=False)
    paint(figure, page.shapes)
    return figure


@dataclass(frozen=True)
class _Page:
    """A finished drawing, its lower left corner at (0, 0), in points."""

    width: float
    height: float
    shapes: tuple[Drawn, ...]

    @property
    def shrinking(self) -> float:
        """How much smaller than at its own size it appears on the page."""
        return max(self.width / _PAGE_WIDTH, self.height / _PAGE_HEIGHT)

    @classmethod
    def of(cls, name: str, summary: Summary, found: Tree) -> _Page:
        """The arrangement of a network in rows that appears largest on the page."""
        inside = [node for panel in found.panels.values() for node in panel.nodes]
        scale = Scale.of(list(shapes_of([*found.nodes, *inside])))
        boxes = Boxes.of(scale, found)
        flow = [boxes.box(node) for node in found.nodes]
        small = Boxes.of(scale, found, _PANEL_ZOOM)
        panels = [_panel(panel, small) for panel in found.panels.values()]
        used = set(families_of([*found.nodes, *inside]))
        candidates = []
        for number in range(1, min(_MOST_ROWS, len(flow)) + 1):
            rows = [chain(row, GAP) for row in _rows(flow, number)]
            widest = max([row.width for row in rows] + [panel.width for panel in panels])
            width = max(widest + 2 * _CHANNEL, *(text_width(line, FONT) for line in _totals(summary)[:1]))
            blocks = [
                _heading(name, _totals(summary), width),
                _flow(rows, width),
                *_shelves(panels, width),
                _legend(used, width),
                _caption(scale, found, width),
            ]
            candidates.append(_stacked(blocks, width))
        return min(candidates, key=lambda page: page.shrinking)


def _stacked(blocks: Sequence[Box], width: float) -> _Page:
    """Boxes below each other on a page with margins."""
    shapes: list[Drawn] = []
    height = 2 * _MARGIN + sum(box.up + box.down for box in blocks)
    y = height - _MARGIN
    for box in blocks:
        shapes += box.at(_MARGIN, y - box.up)
        y -= box.up + box.down
    return _Page(width + 2 * _MARGIN, height, tuple(shapes))


def _totals(summary: Summary) -> list[str]:
    """Parameters, operations, input and classes."""
    fixed = summary.parameters - summary.trainable_parameters
    return [
        f"{summary.parameters:,} parameters" + (f" ({fixed:,} not trainable)" if fixed else ""),
        f"{summary.macs:,} multiply-accumulates per image",
        f"input {format_shape(summary.input_shape)}",
        f"{summary.classes:,} classes",
    ]


def _text_box(lines: Sequence[tuple[str, float, bool]], after: float) -> Box:
    """Lines of text below each other, each with its size and whether it is bold; then space."""
    shapes: list[Drawn] = []
    y = 0.0
    for text, size, bold in lines:
        y -= size * LINE_HEIGHT / 2
        shapes.append(Text(((0, y),), text, size, bold))
        y -= size * LINE_HEIGHT / 2
    return Box(0, 0, after - y, 0, 0, tuple(shapes))


def _heading(name: str, totals: Sequence[str], width: float) -> Box:
    size = 8.5
    lines = wrapped(totals, "  ·  ", size, width)
    return _text_box([(name, _HEADING, True), *((line.strip(" ·"), size, False) for line in lines)], 8)


def _caption(scale: Scale, found: Tree, width: float) -> Box:
    text = (
        "Each number row by row: the size of the output, the layer, its parameters. Layers that keep the size are "
        "plates on the volume before, with their parameters in brackets. "
    )
    text += scale.text()
    if found.panels:
        text += (
            f" In blocks that are drawn below the flow, volumes are drawn at {_PANEL_ZOOM:g} of that size, with the "
            "numbers of the block's first use."
        )
    return _text_box([(line, FONT, False) for line in wrapped(text.split(), " ", FONT, width)], 0)


def _legend(used: set[str], width: float) -> Box:
    """The colours of the kinds of layers that are drawn."""
    shapes: list[Drawn] = []
    x, y = 0.0, -6.0
    for family, (_, text) in FAMILIES.items():
        if family not in used:
            continue
        wide = 11 + text_width(text, FONT) + 12
        if x + wide > width and x > 0:
            x, y = 0.0, y - FONT * LINE_HEIGHT - 2
        shapes += [swatch(x, y, family, 7), Text(((x + 11, y),), text, FONT)]
        x += wide
    return Box(0, 0, 10 - y, 0, 0, tuple(shapes))


def _rows(boxes: Sequence[Box], number: int) -> list[list[Box]]:
    """Boxes in so many rows or fewer, in order, the widest row as narrow as possible."""
    low, high = max(box.width for box in boxes), sum(box.width + GAP for box in boxes)
    while high - low > 1:
        middle = (low + high) / 2
        low, high = (low, middle) if len(_filled(boxes, middle)) <= number else (middle, high)
    return _filled(boxes, high)


def _filled(boxes: Sequence[Box], width: float) -> list[list[Box]]:
    rows: list[list[Box]] = []
    room = 0.0
    for box in boxes:
        if not rows or box.width > room:
            rows.append([])
            room = width
        rows[-1].append(box)
        room -= box.width + GAP
    return rows


def _flow(rows: Sequence[Box], width: float) -> Box:
    """The rows of the flow, each joined to the next by a line around its end."""
    shapes: list[Drawn] = []
    wide = max(row.width for row in rows)
    left = (width - wide) / 2
    y = 0.0
    axes = []
    for row in rows:
        y -= row.up
        axes.append(y)
        shapes += row.at(left, y)
        y -= row.down + _CHANNEL
    for (row, axis), (after, below) in itertools.pairwise(zip(rows, axes, strict=True)):
        right, turn = left + wide + _CHANNEL / 2, axis - row.down - _CHANNEL / 2
        start = left - _CHANNEL / 2
        points = ((left + row.leave, axis), (right, axis), (right, turn), (start, turn), (start, below))
        shapes.append(Line((*points, (left + after.enter, below)), arrow=after.arrow))
    return Box(width, 0, -y, 0, 0, tuple(shapes))


def _panel(panel: Panel, boxes: Boxes) -> Box:
    """A block's inside in an outline."""
    inner = boxes.chain(panel.nodes)
    head = panel.title
    shape = format_shape(panel.first.input_shape)
    uses = len(panel.uses)
    note = f"from {shape}" + (f"; the first of {uses}" if uses > 1 else "")
    pad = 8.0
    width = max(inner.width, text_width(head, 9, True) + 8 + text_width(note, FONT)) + 2 * pad
    left = (width - inner.width) / 2
    up, down = inner.up + 22, inner.down + 6
    y = up - 11
    shapes: list[Drawn] = [
        Outline(((0.0, -down), (width, up))),
        Text(((pad, y),), head, 9, True),
        Text(((pad + text_width(head, 9, True) + 8, y),), note, FONT),
        Line(((2.0, 0.0), (left + inner.enter, 0.0)), inner.arrow),
        Line(((left + inner.leave, 0.0), (width - 2.0, 0.0)), True),
    ]
    return Box(width, up, down, 0, width, (*shapes, *inner.at(left, 0)))


def _shelves(panels: Sequence[Box], width: float) -> list[Box]:
    """Panels side by side, in as many rows as they need."""
    shelves: list[Box] = []
    room = -math.inf
    for panel in panels:
        if panel.width > room:
            shelves.append(Box(width, 0, 0, 0, 0))
            room = width
        shelf = shelves[-1]
        # Aligned at their upper ends.
        shapes = (*shelf.shapes, *panel.at(width - room, -panel.up))
        down = max(shelf.down, panel.up + panel.down + 10)
        shelves[-1] = Box(width, 0, down, 0, 0, shapes)
        room -= panel.width + 12
    return shelves
