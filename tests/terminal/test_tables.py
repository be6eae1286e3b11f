"""Tables for a terminal."""

from __future__ import annotations

from cnnkit.terminal.tables import aligned, as_lines, as_table, display_width, shortened


def test_shortened() -> None:
    assert shortened("abc", 3) == "abc"
    assert shortened("abcd", 3) == "ab…"
    assert display_width(shortened("猫猫猫", 4)) <= 4


def test_columns_are_aligned_by_what_a_terminal_shows() -> None:
    assert aligned([["猫", "1", "x"], ["dog", "10", ""]], "<><") == "猫    1  x\ndog  10"


def test_a_table_of_values() -> None:
    rows = [
        {"run": "猫", "best_epoch": 3, "seconds": 61.0, "shape": (8, None), "done": True},
        {"run": "b", "best_epoch": None, "seconds": 5.0, "shape": (16, 3), "done": False},
    ]
    assert as_table(rows).splitlines() == [
        "run  best epoch     seconds  shape  done",
        "猫            3  1 min 01 s  8x?     yes",
        "b             -       5.0 s  16x3     no",
    ]


def test_a_mapping_as_lines() -> None:
    values = {"images": 60000, "mean": [0.5, 0.25], "classes": {"a": 1, "bcd": None}}
    assert as_lines(values).splitlines() == [
        "images   60,000",
        "mean     0.5000, 0.2500",
        "classes",
        "  a    1",
        "  bcd  -",
    ]
