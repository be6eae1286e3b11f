"""What the reports are made with: templates, figures and images inside the page, and sections that may be missing."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeVar

from cnnkit.errors import CnnkitError
from cnnkit.images.pictures import data_url, picture_of
from cnnkit.network.footprint import format_bytes
from cnnkit.pages import style_sheet
from cnnkit.terminal.console import format_duration

log = logging.getLogger("cnnkit")

Made = TypeVar("Made")

#: Larger images are made smaller and stored as JPEG; a report is to be mailed.
_LARGEST_SIDE = 160
_LOSSLESS_SIDE = 96


@dataclass(frozen=True)
class Missing:
    """Why a part of a report is not there."""

    reason: str


def attempt(make: Callable[..., Made], *arguments: Any) -> Made | Missing:
    """A part of a report, or why it cannot be made: a report is written whatever a run lacks."""
    try:
        return make(*arguments)
    except CnnkitError as error:
        return Missing(error.message)
    except Exception as error:
        # A run is worth more than a page about it.
        log.debug("a part of the report cannot be made", exc_info=True)
        # TensorFlow's messages go on with the whole graph.
        reason = (str(error).strip().splitlines() or [""])[0]
        return Missing(f"This part could not be made: {type(error).__name__}: {reason}")


def percent(value: float, digits: int = 2) -> str:
    """A share, 0..1, in percent."""
    # No line break before the sign.
    return f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def render(template: str, **context: Any) -> str:
    """A template of this package as HTML; every text in `context` is escaped."""
    own = (files(__name__.rpartition(".")[0]) / "templates" / "report.css").read_text(encoding="utf-8")
    return _environment().get_template(template).render(style=_markup(style_sheet() + own), **context)


def render_part(package: str, template: str, values: Mapping[str, Any]) -> Any:
    """A template of another package, see `parts.Section`, as markup for one of this package's."""
    return _markup(_environment(package).get_template(template).render(values))


def _environment(package: str | None = None) -> Any:
    """What finds templates: in a package where one is given, and in this one."""
    import jinja2

    folders = [jinja2.PackageLoader(name, "templates") for name in (package, "cnnkit.report") if name is not None]
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(folders),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        percent=percent,
        number=lambda value: f"{value:,}",
        bytes=format_bytes,
        duration=format_duration,
        joined=lambda values: " × ".join(str(value) for value in values),
        contents=lambda sections: [(section.key, section.title) for section in sections],
        part=lambda section: attempt(render_part, section.package, section.template, section.values),
    )
    environment.tests["missing"] = lambda value: isinstance(value, Missing)
    return environment


def _markup(text: str) -> Any:
    import markupsafe

    return markupsafe.Markup(text)


def figure(svg: str, name: str, description: str) -> Any:
    """An `<svg>` element of `plots.style.as_svg` for a page that has several.

    Args:
        name: Goes before every id inside, so that no two figures share one.
        description: What a screen reader says in its place.
    """
    import markupsafe

    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'href="#', f'href="#{name}-', svg)
    return _markup(svg.replace("<svg", f'<svg role="img" aria-label="{markupsafe.escape(description)}"', 1))


@dataclass(frozen=True)
class Picture:
    """An image inside the page.

    Attributes:
        source: A `data:` URL.
        pixelated: Whether its pixels are to be seen when it is shown larger.
    """

    source: str
    width: int
    height: int
    pixelated: bool


def picture(image: Any) -> Picture:
    """An image as it is, or, where it is large, smaller and as a JPEG.

    Args:
        image: uint8 [height, width, channels], one channel or three.
    """
    shown = picture_of(image[..., :3])
    lossless = max(shown.size) <= _LOSSLESS_SIDE
    shown.thumbnail((_LARGEST_SIDE, _LARGEST_SIDE))
    return _shown(shown, lossless, pixelated=lossless)


def drawing(image: Any, pixelated: bool = False) -> Picture:
    """A picture with sharp edges, uint8 [height, width, 3], or 4 with an opacity, as it is."""
    return _shown(picture_of(image), lossless=True, pixelated=pixelated)


def _shown(image: Any, lossless: bool, pixelated: bool) -> Picture:
    source = data_url(image, "PNG", optimize=True) if lossless else data_url(image, "JPEG", quality=88)
    return Picture(source, image.width, image.height, pixelated)


def yaml_text(value: Any, length: int = 100) -> str:
    """A plain value as one line of YAML, its end left out where it is long."""
    from cnnkit.format.base import shorten
    from cnnkit.format.document import flow

    # A named object reads as in a config: without the outermost braces.
    named = isinstance(value, Mapping) and len(value) == 1
    return shorten(flow(value)[1:-1] if named else flow(value), length)


def flattened(value: Mapping[str, Any], outer: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat: dict[str, Any] = {}
    for key, inner in value.items():
        flat |= flattened(inner, f"{outer}{key}.") if isinstance(inner, Mapping) else {f"{outer}{key}": inner}
    return flat
