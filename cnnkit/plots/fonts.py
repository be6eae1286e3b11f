"""Fonts for names in any script: matplotlib's own font, and after it installed ones that have what it lacks."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

log = logging.getLogger("cnnkit")

#: Weights of upright text, from light to medium.
_WEIGHTS = range(300, 501)

#: Beginnings of names of fonts whose letters are no letters: placeholders, and pictures that matplotlib leaves empty.
_USELESS = ("last resort", "noto color emoji", "apple color emoji")

#: Characters that were said to be in no font.
_told: set[str] = set()


def families(text: str) -> list[str]:
    """Font families for a text, the default first, then installed ones until no character is missing."""
    return list(_default_family() if text.isascii() else _families(frozenset(text)))


def suit(figure: Any, drawn: bool) -> None:
    """Gives every text of a figure the fonts that its characters need.

    Args:
        drawn: Whether the picture will hold letters as shapes; then one line in the log says which no font has.
    """
    from matplotlib.text import Text

    texts = figure.findobj(Text)
    characters = frozenset("".join(text.get_text() for text in texts))
    if all(map(str.isascii, characters)):
        return
    chosen = _families(characters)
    if chosen != _default_family():
        for text in texts:
            text.set_fontfamily(chosen)
    if drawn:
        _tell(_missing(characters, chosen) - _told)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps what matplotlib says of each missing character, and of weights that a font lacks, from the terminal."""
    logger = logging.getLogger("matplotlib.font_manager")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            yield
    finally:
        logger.setLevel(level)


def _tell(missing: set[str]) -> None:
    if missing:
        _told.update(missing)
        log.warning(
            "no installed font has these characters of the names in a picture, which are drawn as boxes: %s%s (install "
            "one that has them, such as those of Noto)",
            " ".join(sorted(missing)[:10]),
            " ..." if len(missing) > 10 else "",
        )


@lru_cache(maxsize=4096)
def _families(characters: frozenset[str]) -> tuple[str, ...]:
    names = _default_family()
    missing = _missing(characters, names)
    while missing:
        family, cover = max(_installed(), key=lambda font: len(missing & font[1]), default=("", frozenset()))
        if not missing & cover:
            break
        names += (family,)
        missing -= cover
    return names


def _missing(characters: frozenset[str], families: tuple[str, ...]) -> set[str]:
    covers = [_default_cover(), *(cover for family, cover in _installed_by_need(families))]
    return {one for one in characters if one.isprintable() and not any(one in cover for cover in covers)}


def _installed_by_need(families: tuple[str, ...]) -> list[tuple[str, frozenset[str]]]:
    """Those of the installed fonts; their coverage is read only where the default is not enough."""
    return [font for font in _installed() if font[0] in families] if families != _default_family() else []


@lru_cache(maxsize=1)
def _default_family() -> tuple[str, ...]:
    from matplotlib.font_manager import FontProperties

    return tuple(FontProperties().get_family())


@lru_cache(maxsize=1)
def _default_cover() -> frozenset[str]:
    from matplotlib.font_manager import FontProperties, findfont

    return _cover(findfont(FontProperties()))


@lru_cache(maxsize=1)
def _installed() -> list[tuple[str, frozenset[str]]]:
    """Each installed family with an upright font, and the characters that it has; in the order of their names."""
    from matplotlib.font_manager import fontManager

    fonts: dict[str, frozenset[str]] = {}
    for font in sorted(fontManager.ttflist, key=lambda font: (font.name, str(font.fname))):
        upright = font.style == "normal" and font.weight in _WEIGHTS
        if upright and font.name not in fonts and not font.name.lower().startswith(_USELESS):
            fonts[font.name] = _cover(font.fname)
    return list(fonts.items())


def _cover(file: str) -> frozenset[str]:
    """The characters that a font file has; none where it cannot be read."""
    from matplotlib.ft2font import FT2Font

    try:
        return frozenset(map(chr, FT2Font(file).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()
