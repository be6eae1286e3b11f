"""The network of a run: its drawing, its layers with what they cost, its first filters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from cnnkit.format.shapes import format_shape
from cnnkit.network.summary import LayerRow, Summary
from cnnkit.plots import style
from cnnkit.report.facts import Facts
from cnnkit.report.page import Missing, Picture, drawing, figure, yaml_text

if TYPE_CHECKING:
    from cnnkit.inside.windows import Windows


def architecture(facts: Facts) -> Any:
    """The network as a drawing."""
    from cnnkit.plots.architecture import architecture_figure

    if isinstance(facts.loaded, Missing):
        return facts.loaded
    # The drawing is titled with the config's name, which in a run is always the same.
    named = replace(facts.loaded, file=f"{facts.run.name}.yaml")
    svg = style.as_svg(architecture_figure(named), tight=True)
    return figure(svg, "architecture", "Drawing of the network; the table of its layers says the same in words.")


#: Windows of words beside each filter of a text network.
_WINDOWS = 3


@dataclass(frozen=True)
class LayerLine:
    """A row of the layer table.

    Attributes:
        level: How deep it lies inside other layers, from 0.
        share: Of the network's multiply-accumulates, 0..1.
    """

    level: int
    name: str
    arguments: str
    output: str
    parameters: int
    macs: int
    share: float
    activation_bytes: int
    receptive_field: str


@dataclass(frozen=True)
class LayerTable:
    """The layers with their cost.

    Attributes:
        lines: As deep as can be read at once.
        all_lines: Where those are not all, all of them; else none.
    """

    summary: Summary
    lines: list[LayerLine]
    all_lines: list[LayerLine]


def layer_table(facts: Facts) -> LayerTable | Missing:
    """The layer table of `cnnkit inspect`."""
    summary = facts.summary
    if isinstance(summary, Missing):
        return summary
    depth, full = summary.readable_depth(), summary.depth()
    return LayerTable(summary, _lines(summary, depth), _lines(summary, full) if depth < full else [])


def _lines(summary: Summary, depth: int) -> list[LayerLine]:
    return [_line(level, row, summary.macs) for level, row in summary.lines(depth)]


def _line(level: int, row: LayerRow, macs: int) -> LayerLine:
    plain = {key: value for key, value in row.arguments.items() if not _holds_layers(value)}
    return LayerLine(
        level,
        f"{row.index} {row.name}" if level == 0 else row.label,
        ", ".join(f"{key} {yaml_text(value, 40)}" for key, value in plain.items()),
        format_shape(row.output_shape),
        row.parameters,
        row.macs,
        row.macs / macs if macs else 0.0,
        row.activation_bytes,
        format_shape(row.receptive_field),
    )


def _holds_layers(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(one, dict | list | str) for one in value)


@dataclass(frozen=True)
class Filters:
    """The kernels of the first layer.

    Attributes:
        shape: (height, width, channels, number), or that of kernels of signals or volumes.
        shown: How many of them.
        layout: How a kernel lies in the picture, where that is to be said; else empty.
    """

    shape: tuple[int, ...]
    shown: int
    layout: str
    before: Picture
    after: Picture


def windows(facts: Facts) -> Windows | None:
    """The words that excite the first filters of a text network most; None of other networks."""
    if facts.sample.vocabulary is None:
        return None
    from cnnkit.inside.windows import windows_of

    return windows_of(facts.trained, count=_WINDOWS)


def filters(facts: Facts) -> Filters | Missing:
    """The kernels of the first layer before and after training."""
    from cnnkit.plots.kernels import MOST_FILTERS, kernel_picture, layout
    from cnnkit.runs.arrays import read_array
    from cnnkit.training.model import first_kernel

    if not facts.run.initial_filters.exists():
        return Missing(
            "The network has no convolution whose kernels could be seen, or the run was made before they were kept."
        )
    before = read_array(facts.run, facts.run.initial_filters)
    after = first_kernel(facts.trained.model, before.ndim)
    if after is None or after.shape != before.shape:
        return Missing("The initial filters that the run has kept are not those of the network's first layer.")
    shown = min(after.shape[-1], MOST_FILTERS)
    pictures = (drawing(kernel_picture(one[..., :shown]), True) for one in (before, after))
    return Filters(after.shape, shown, layout(after.ndim), *pictures)
