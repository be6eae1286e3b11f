"""What all pictures share: colours, figures without global state, and files that are written whole."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from cnnkit.files import replacing
from cnnkit.plots.fonts import quiet, suit

DPI = 160

#: Okabe and Ito's palette, which people with any colour vision can tell apart.
BLUE, VERMILION, GREEN, ORANGE, SKY, PURPLE = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7"
YELLOW = "#F0E442"
GREY = "#6b6b6b"


#: Text stays text, without the machine's fonts in the file, and names inside it are the same every time.
_SVG: Any = {"svg.fonttype": "none", "svg.hashsalt": "cnnkit"}


def figure_of(width_inches: float, height_inches: float, constrained: bool = True) -> Any:
    """An empty white figure; `constrained` keeps labels from overlapping and from being cut off."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    layout: Any = "constrained" if constrained else None
    figure = Figure(figsize=(width_inches, height_inches), dpi=DPI, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def show_percent(axes: Any) -> None:
    """Labels an axis of shares, 0..1, in percent."""
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.5g} %")


def save(figure: Any, path: Path, tight: bool = False) -> None:
    """Writes a PNG or an SVG, as the file's ending says, so that no one ever reads half a picture."""
    with replacing(path) as temporary:
        _write(figure, temporary, path.suffix.removeprefix(".").lower(), tight)


def as_svg(figure: Any, tight: bool = False) -> str:
    """The figure as an `<svg>` element for a page: transparent, its black in the colour of the text around it."""
    stream = io.BytesIO()
    figure.patch.set_alpha(0)
    for axes in figure.axes:
        axes.patch.set_alpha(0)
    _write(figure, stream, "svg", tight)
    text = stream.getvalue().decode()
    return text[text.index("<svg") :].replace("#000000", "currentColor")


def _write(figure: Any, target: Any, kind: str, tight: bool) -> None:
    import matplotlib

    # An SVG's letters are drawn by whoever shows it, with fonts of their own.
    suit(figure, drawn=kind != "svg")
    # matplotlib would write its version and the date into the file.
    metadata = {"Date": None} if kind == "svg" else {"Software": None}
    with quiet(), matplotlib.rc_context(_SVG):
        bounds = "tight" if tight else None
        figure.savefig(target, format=kind, dpi=DPI, bbox_inches=bounds, metadata=metadata)
