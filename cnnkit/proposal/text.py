"""Lines of a config with the reasons for them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Any

import yaml

#: Characters of a line.
WIDTH = 118

#: Where the comments beside values begin, if the value ends before.
COLUMN = 40


def with_reason(line: str, reason: str = "") -> str:
    """A line, with its reason beside it; above it where there is no room."""
    if not reason:
        return line
    beside = f"{line:{COLUMN}} # {reason}" if len(line) < COLUMN else f"{line}  # {reason}"
    if len(beside) <= WIDTH:
        return beside
    indent = line[: len(line) - len(line.lstrip())]
    return f"{comment(reason, indent)}\n{line}"


def comment(text: str, indent: str = "") -> str:
    """A text as lines of comments."""
    start = f"{indent}# "
    return textwrap.fill(text, WIDTH, initial_indent=start, subsequent_indent=start, break_on_hyphens=False)


def value(plain: object) -> str:
    """A plain value as YAML writes it, on one line."""
    text = _dumped(plain, allow_unicode=True)
    # In double quotes, line breaks and what only looks like a space are escaped.
    return text if text.isprintable() else _dumped(plain, default_style='"')


def _dumped(plain: object, **style: Any) -> str:
    text: str = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10**6, **style)
    return text.removesuffix("\n").removesuffix("\n...")


def count(number: int, noun: str) -> str:
    """Such as `1,437 images`, or `1 image`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def block(lines: Iterable[str]) -> str:
    """Lines, each of which may be several, as a text."""
    return "\n".join(line for line in lines if line) + "\n"
