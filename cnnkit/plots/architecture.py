"""A network as a drawing: feature maps as volumes to scale, composites as forks and outlines; without TensorFlow."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cnnkit.config.load import LoadedConfig
from cnnkit.format.base import shorten
from cnnkit.format.shapes import format_shape
from cnnkit.network.summary import Summary, summarize, summarize_others
from cnnkit.plots.drawing import (
    FONT,
    LINE_HEIGHT,
    POINTS,
    Box,
    Drawn,
    Line,
    Placed,
    Text,
    chain,
    paint,
    text_width,
    wrapped,
)
from cnnkit.plots.network_boxes import FAMILIES, GAP, Boxes, Scale, families_of, shapes_of, swatch
from cnnkit.plots.network_nodes import Tree, Valley, all_nodes
from cnnkit.plots.network_panels import column, panel_box, shelves
from cnnkit.plots.network_tree import ALL_BLOCKS, INNERMOST_MERGES, NOTHING, has_merges, tree
from cnnkit.plots.style import figure_of, save

#: A page on which the fonts are easy to read, in points: the shape of a slide.
_PAGE_WIDTH, _PAGE_HEIGHT = 960.0, 540.0
#: A drawing may be larger than the page by this factor before blocks are drawn apart from the flow. A network without
#: merges may be larger: all of it is in the sizes of its volumes, which a folded block does not show.
_MOST_SHRINKING = 1.1
_MOST_SHRINKING_OF_A_CHAIN = 1.5
#: Rows are tried up to where their number would make the flow higher than wide: points in a row for each row.
_WIDTH_PER_ROW = 100.0
#: Title and caption have at least this width, in points.
_NARROWEST = 420.0

#: The factor on volumes where levels lie below each other.
_ZOOM_OF_LEVELS = 0.75

_MARGIN = 14.0
_HEADING = 13.0
_SUBHEADING = 10.0
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
    """The network of a config as a matplotlib figure; of several, one below the other.

    Feature maps are cuboids in oblique projection, vectors bars. Layers that keep the size are plates on the volume
    before. What goes down through smaller images and up again is drawn as a U, other composites as forks and outlines;
    what comes several times in a row once, with how often. If a page would be too small, blocks are drawn apart from
    the flow, once for each structure.
    """
    page = _page(loaded)
    figure = figure_of(page.width / POINTS, page.height / POINTS, constrained=False)
    paint(figure, [page.content])
    return figure


def _page(loaded: LoadedConfig) -> _Page:
    """The most detailed drawing that is large enough on the page, else the one that is largest."""
    merging = has_merges(loaded.steps) or any(map(has_merges, loaded.others.values()))
    most = _MOST_SHRINKING if merging else _MOST_SHRINKING_OF_A_CHAIN
    tried = []
    for detail in (NOTHING, INNERMOST_MERGES, ALL_BLOCKS):
        page = _Page.of(shorten(loaded.name), list(_networks(loaded, detail)))
        if page.shrinking <= most:
            return page
        tried.append(page)
    return min(tried, key=lambda page: page.shrinking)


@dataclass(frozen=True)
class _Network:
    """A network to draw.

    Attributes:
        name: That among several; of one alone, none.
        totals: What is written below its name.
    """

    name: str
    totals: Sequence[str]
    tree: Tree


def _networks(loaded: LoadedConfig, detail: int) -> Iterator[_Network]:
    """A config's networks, the one that is kept first."""
    target = loaded.info.target
    learned = f"{target.size:,} {target.singular if target.size == 1 else target.plural}"
    summary = summarize(loaded)
    totals = [*_totals(summary), learned]
    yield _Network(summary.network, totals, tree(loaded.steps, summary.input_shape, detail))
    for name, other in summarize_others(loaded).items():
        yield _Network(name, _totals(other), tree(loaded.others[name], other.input_shape, detail))


@dataclass(frozen=True)
class _Page:
    """A finished drawing, its lower left corner at (0, 0), in points."""

    width: float
    height: float
    content: Placed

    @property
    def shrinking(self) -> float:
        """How much smaller than at its own size it appears on the page."""
        return max(self.width / _PAGE_WIDTH, self.height / _PAGE_HEIGHT)

    @classmethod
    def of(cls, name: str, networks: Sequence[_Network]) -> _Page:
        """The arrangement of networks, each in rows, that appears largest on the page."""
        trees = [network.tree for network in networks]
        inside = [node for one in trees for panel in one.panels.values() for node in panel.nodes]
        outside = [node for one in trees for node in one.nodes]
        scale = Scale.of(list(shapes_of([*outside, *inside])))
        zoom = scale.zoom(list(shapes_of(inside)))
        has_levels = any(isinstance(node, Valley) for node in all_nodes([*outside, *inside]))
        flow_zoom = _ZOOM_OF_LEVELS if any(isinstance(node, Valley) for node in outside) else 1.0
        drawn = []
        for one in trees:
            boxes, small = Boxes.of(scale, one, flow_zoom), Boxes.of(scale, one, zoom)
            flow = [boxes.box(node) for node in one.nodes]
            drawn.append(list(_bodies(flow, [panel_box(panel, small) for panel in one.panels.values()])))
        used = set(families_of([*outside, *inside]))
        candidates = []
        for bodies in itertools.product(*drawn):
            for content in _arranged(name, networks, bodies):
                width = content.width
                caption = _caption(scale, zoom / flow_zoom if inside else None, has_levels, width)
                candidates.append(_stacked([content, _legend(used, width), caption], width))
        return min(candidates, key=lambda page: page.shrinking)


def _arranged(name: str, networks: Sequence[_Network], bodies: Sequence[Box]) -> Iterator[Box]:
    """The drawings of networks with what is written of each: several below each other, and beside each other."""
    title = text_width(name, _HEADING, bold=True)
    if len(networks) == 1:
        width = max(bodies[0].width, _NARROWEST, title)
        yield replace(_below(_heading(name, networks[0].totals, width), bodies[0]), width=width)
        return
    headline = _text_box([(name, _HEADING, True)], 4)
    width = max(*(body.width for body in bodies), _NARROWEST, title)
    parts = [
        part
        for network, body in zip(networks, bodies, strict=True)
        for part in (_heading(network.name, network.totals, width, _SUBHEADING), body)
    ]
    yield replace(_below(headline, *parts), width=width)
    columns: list[Placed] = []
    left = lowest = 0.0
    for network, body in zip(networks, bodies, strict=True):
        wide = max(body.width, _NARROWEST)
        column_box = _below(_heading(network.name, network.totals, wide, _SUBHEADING), body)
        columns.append(Placed(column_box, left, 0))
        left += wide + _CHANNEL
        lowest = max(lowest, column_box.down)
    beside = Box(left - _CHANNEL, 0, lowest, 0, 0, tuple(columns))
    yield replace(_below(headline, beside), width=max(beside.width, title))


def _bodies(flow: Sequence[Box], panels: Sequence[Box]) -> Iterator[Box]:
    """The flow in one row, two rows and so on, with the panels below it and beside it."""
    most = math.ceil(math.sqrt(sum(box.width for box in flow) / _WIDTH_PER_ROW))
    for number in range(1, min(most, len(flow)) + 1):
        flowing = _flow([chain(row, GAP) for row in _rows(flow, number)])
        if not panels:
            yield flowing
            continue
        width = max(flowing.width, *(panel.width for panel in panels))
        yield _below(flowing, *shelves(panels, width))
        beside = column(panels)
        left = flowing.width + _CHANNEL
        placed = (Placed(flowing, 0, 0), Placed(beside, left, 0))
        yield Box(left + beside.width, 0, max(flowing.down, beside.down), 0, 0, placed)


def _below(*boxes: Box) -> Box:
    """Boxes below each other, the uppermost at y = 0."""
    shapes = []
    y = 0.0
    for box in boxes:
        shapes.append(Placed(box, 0, y - box.up))
        y -= box.height
    return Box(max(box.width for box in boxes), 0, -y, 0, 0, tuple(shapes))


def _stacked(blocks: Sequence[Box], width: float) -> _Page:
    """Boxes below each other on a page with margins."""
    stack = _below(*blocks)
    height = stack.height + 2 * _MARGIN
    return _Page(width + 2 * _MARGIN, height, Placed(stack, _MARGIN, height - _MARGIN))


def _totals(summary: Summary) -> list[str]:
    """Parameters, operations and input."""
    fixed = summary.parameters - summary.trainable_parameters
    return [
        f"{summary.parameters:,} parameters" + (f" ({fixed:,} not trainable)" if fixed else ""),
        f"{summary.macs:,} multiply-accumulates per {summary.sample.singular}",
        f"input {format_shape(summary.input_shape)}",
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


def _heading(name: str, totals: Sequence[str], width: float, name_size: float = _HEADING) -> Box:
    size = 8.5
    lines = wrapped(totals, "  ·  ", size, width)
    return _text_box([(name, name_size, True), *((line.strip(" ·"), size, False) for line in lines)], 8)


def _caption(scale: Scale, zoom: float | None, has_levels: bool, width: float) -> Box:
    """How to read the drawing.

    Args:
        zoom: The factor on volumes inside blocks that are drawn apart; None where there are none.
        has_levels: Whether layers are written beside arrows.
    """
    text = (
        "Below each volume: the size of the output, the layer, its parameters. Layers that keep the size are plates "
        "on the volume before, their parameters in brackets. "
    )
    if has_levels:
        text += "Beside arrows up and down: the layers that they stand for. "
    text += scale.text()
    if zoom is not None:
        text += f" Inside blocks that are drawn apart, volumes have {zoom:.2g} of that size."
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


def _flow(rows: Sequence[Box]) -> Box:
    """The rows of the flow, each joined to the next by a line around its end."""
    left = _CHANNEL if len(rows) > 1 else 0
    shapes: list[Drawn | Placed] = []
    y = 0.0
    axes = []
    for row in rows:
        y -= row.up
        axes.append(y)
        shapes.append(Placed(row, left, y))
        y -= row.down + _CHANNEL
    for (row, axis), (after, below) in itertools.pairwise(zip(rows, axes, strict=True)):
        end, turn, start = left + row.width + left / 2, axis - row.down - _CHANNEL / 2, left / 2
        points = ((left + row.leave, axis), (end, axis), (end, turn), (start, turn), (start, below))
        shapes.append(Line((*points, (left + after.enter, below)), arrow=after.arrow))
    return Box(left + max(row.width for row in rows) + left, 0, -y, 0, 0, tuple(shapes))
