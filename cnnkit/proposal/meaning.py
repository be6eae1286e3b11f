"""Whether images may be mirrored without meaning something else, as far as the names of classes and folders tell."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cnnkit.terminal.printable import printable

#: Words for numerals.
_NUMERALS = frozenset(("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"))

#: Words beside which a numeral or a letter stands, as in `digit_3` and `upper a`.
_BESIDE = frozenset(("digit", "number", "num", "letter", "char", "upper", "lower", "capital", "caps", "small", "class"))

#: Words for what is written; mirrored, it is nothing that one meets.
_WRITTEN = frozenset(
    (
        *(
            "digit",
            "digits",
            "number",
            "numbers",
            "numeral",
            "numerals",
            "letter",
            "letters",
            "character",
            "characters",
        ),
        *("alphabet", "text", "texts", "word", "words", "handwriting", "handwritten", "script", "glyph", "glyphs"),
        *("font", "fonts", "symbol", "symbols", "sign", "signs", "plate", "plates", "document", "documents", "invoice"),
        *("invoices", "receipt", "receipts", "page", "pages", "note", "notes", "mnist", "emnist", "kmnist", "svhn"),
    )
)

#: Words for what a mirror turns into its opposite.
_DIRECTIONS = frozenset(
    ("left", "right", "leftward", "rightward", "clockwise", "counterclockwise", "anticlockwise", "arrow", "arrows")
)


@dataclass(frozen=True)
class Mirroring:
    """Whether training images may be mirrored left to right.

    Attributes:
        allowed: Whether the names speak for it, or say nothing against it.
        reason: What was found, for a comment.
    """

    allowed: bool
    reason: str


def mirroring(names: Sequence[str], source: str) -> Mirroring:
    """What the names of classes, and that of their folder, say of mirror images.

    Args:
        names: Of the classes; none where what is learned has no names that mean something.
        source: The folder or table of the images.
    """
    if not names:
        return Mirroring(False, "what is learned may change in the mirror, as positions do")
    characters = [name for name in names if _is_character(name)]
    if 2 * len(characters) >= len(names):
        return Mirroring(
            False, f"the classes are called {_examples(characters)}, which mirrored are other ones or none"
        )
    turned = next((name for name in names if _DIRECTIONS & set(_words(name))), None)
    if turned is not None:
        return Mirroring(False, f"a mirror makes another class of `{turned}`")
    written = [name for name in names if _WRITTEN & set(_words(name))]
    if 2 * len(written) >= len(names):
        return Mirroring(False, f"{_examples(written)} are written, or have writing on them")
    stem = os.path.basename(os.path.normpath(os.path.abspath(source)))
    found = next((word for word in _words(stem) if word in _WRITTEN), None)
    if found is not None:
        return Mirroring(False, f"`{printable(stem)}` has `{found}` in its name, and nobody meets writing mirrored")
    return Mirroring(True, f"{_examples(names)} are the same in the mirror")


def _is_character(name: str) -> bool:
    """Whether a class is called as a numeral or a letter."""
    words = [word for word in _words(name) if word not in _BESIDE]
    return len(words) == 1 and (words[0].isdigit() or len(words[0]) == 1 or words[0] in _NUMERALS)


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word.lower() for word in re.findall(r"[^\W\d_]+|\d+", spaced)]


def _examples(names: Sequence[str]) -> str:
    shown = [f"`{name}`" for name in names[:2]]
    return f"{', '.join(shown)}{' and so on' if len(names) > 2 else ''}"
