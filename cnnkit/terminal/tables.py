"""Plain tables for a terminal, in which wide letters count as two."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cnnkit.terminal.console import format_duration


def display_width(text: str) -> int:
    """The columns that a terminal needs for a text; East Asian wide characters take two."""
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def shortened(text: str, columns: int) -> str:
    """The text in at most so many columns, with an ellipsis where something is left out."""
    if display_width(text) <= columns:
        return text
    while text and display_width(text) > columns - 1:
        text = text[:-1]
    return text + "…"


def aligned(rows: Sequence[Sequence[str]], alignment: str) -> str:
    """Rows of cells as lines of text, two spaces between columns.

    Args:
        alignment: One `<` (left) or `>` (right) per column.
    """
    widths = [max(display_width(row[column]) for row in rows) for column in range(len(alignment))]
    lines = []
    for row in rows:
        cells = []
        for cell, width, side in zip(row, widths, alignment, strict=True):
            space = " " * (width - display_width(cell))
            cells.append(cell + space if side == "<" else space + cell)
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as aligned text."""
    header = [name.replace("_", " ") for name in rows[0]]
    lines = [header, *([_cell(name, value) for name, value in row.items()] for row in rows)]
    numeric = [all(isinstance(row[name], int | float | None) for row in rows) for name in rows[0]]
    return aligned(lines, "".join(">" if right else "<" for right in numeric))


def lowest(rows: Sequence[Mapping[str, Any]], figure: str, named: Callable[[Mapping[str, Any], str], str]) -> str:
    """The three rows in which a figure is lowest, in words.

    Args:
        figure: The key of a number that each row has.
        named: A row in words, with the number as text.
    """
    weakest = sorted(rows, key=lambda row: row[figure])[:3]
    return ", ".join(named(row, f"{row[figure]:.2f}") for row in weakest)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "seconds":
        return format_duration(value)
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_cell('', item)}" for key, item in value.items()) or "-"
    if isinstance(value, list | tuple):
        return "x".join("?" if item is None else str(item) for item in value)
    return f"{value:,}" if isinstance(value, int) else str(value)


def as_lines(summary: Mapping[str, Any], indent: str = "") -> str:
    """A mapping as one line per key, nested ones indented."""
    width = max((len(str(key)) for key in summary), default=0)
    lines: list[str] = []
    for key, value in summary.items():
        if isinstance(value, Mapping):
            lines.append(f"{indent}{key}")
            lines.append(as_lines(value, indent + "  "))
        else:
            several = isinstance(value, list | tuple)
            shown = (", ".join(_cell("", item) for item in value) or "-") if several else _cell("", value)
            lines.append(f"{indent}{str(key).ljust(width)}  {shown}")
    return "\n".join(lines)
