"""Names that others gave: text that a terminal, a picture and every file format can hold."""

from __future__ import annotations

import unicodedata

#: Control characters, halves of surrogate pairs, and characters that end a line or a paragraph.
_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")

#: What turns the direction of the text behind it.
_DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def printable(text: str) -> str:
    r"""A name as it is shown and written: what is no character, or controls how others are shown, is escaped.

    A byte of a file name that is not UTF-8 reaches Python as a lone surrogate, `\udce9`; no encoding has it, and
    fonts refuse it. Control characters would reach the terminal.

    Returns:
        Text that can be encoded, in one line: `caf\udce9`, `a\nb`, `\x1b[2J`.
    """
    if text.isprintable():
        return text
    return "".join(repr(one)[1:-1] if _is_control(one) else one for one in text)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in _CATEGORIES or character in _DIRECTIONS
