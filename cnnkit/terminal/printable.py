"""Names that others gave: text that a terminal, a picture and every file format can hold."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

#: Control characters, halves of surrogate pairs, and characters that end a line or a paragraph.
_CATEGORIES = ("Cc", "Cs", "Zl", "Zp")

#: What turns the direction of the text after it.
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


def printable_text(text: str) -> str:
    """Text of several lines, each of them `printable`; tabs stay."""
    return "".join(part if part in ("\n", "\t") else printable(part) for part in re.split(r"([\n\t])", text))


def printable_json(value: Any) -> str:
    r"""Plain values as indented JSON in which control characters of any kind are JSON's own escapes, `\u009b`."""
    import json

    lines = json.dumps(value, indent=2, ensure_ascii=False, default=str).split("\n")
    return "\n".join(line if line.isprintable() else _in_json(line) for line in lines)


def _in_json(line: str) -> str:
    # What is no character in the text of JSON stands in a string, and all of it has four digits.
    return "".join(f"\\u{ord(one):04x}" if _is_control(one) else one for one in line)


def _is_control(character: str) -> bool:
    return unicodedata.category(character) in _CATEGORIES or character in _DIRECTIONS
