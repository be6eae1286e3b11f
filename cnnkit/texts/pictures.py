"""Texts as pictures, for sheets and pages that show samples as pictures; what speaks for an answer is marked."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

#: The picture in pixels: large enough for a sentence of some thirty words.
WIDTH, HEIGHT = 240, 150
_MARGIN = 6
#: Sizes of letters, the largest that has room counts.
_SIZES = (14, 12, 10, 9, 8, 7)

_INK = (20, 20, 20)
#: What is behind a word that speaks for an answer with all its might; less of it behind others.
_MARK = (255, 170, 60)


def picture_of_words(words: Sequence[str], heat: Any = None) -> Any:
    """Words in lines on white, as many as fit, uint8 [HEIGHT, WIDTH, 3].

    Args:
        heat: How strongly each word is marked, 0..1, [words or more].
    """
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(picture)
    font, size, places = _laid_out(draw, words)
    for index, (word, (x, y, width)) in enumerate(zip(words, places, strict=False)):
        strength = 0.0 if heat is None else float(heat[index])
        if strength > 0:
            colour = tuple(round(255 + strength * (one - 255)) for one in _MARK)
            draw.rectangle((x - 1, y, x + width, y + size + 2), fill=colour)
        draw.text((x, y), word, font=font, fill=_INK)
    return np.asarray(picture, np.uint8)


def _laid_out(draw: Any, words: Sequence[str]) -> tuple[Any, int, list[tuple[int, int, int]]]:
    """The font, its size, and where each word begins and how wide it is; words that have no room are left out."""
    for size in _SIZES:
        font = _font(size)
        places, fits = _places(draw, words, font, size)
        if fits:
            break
    return font, size, places


def _places(draw: Any, words: Sequence[str], font: Any, size: int) -> tuple[list[tuple[int, int, int]], bool]:
    places: list[tuple[int, int, int]] = []
    space = max(2, size // 3)
    x, y = _MARGIN, _MARGIN
    for word in words:
        width = int(draw.textlength(word, font=font)) + 1
        if x > _MARGIN and x + width > WIDTH - _MARGIN:
            x, y = _MARGIN, y + size + 5
        if y + size + 2 > HEIGHT - _MARGIN:
            return places, False
        places.append((x, y, width))
        x += width + space
    return places, True


def _font(size: int) -> Any:
    """matplotlib's own font, which has letters of many scripts; Pillow's where that is not installed."""
    from PIL import ImageFont

    found = find_spec("matplotlib")
    if found is not None and found.origin is not None:
        file = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"
        if file.is_file():
            return ImageFont.truetype(str(file), size)
    return ImageFont.load_default(size)
