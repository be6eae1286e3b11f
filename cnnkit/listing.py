"""Plain tables for the terminal: the runs, the data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cnnkit.console import format_duration
from cnnkit.errors import CnnkitError
from cnnkit.rundir import Run, list_runs


def run_rows() -> list[dict[str, Any]]:
    """One row per run under runs/, the oldest first: what it is, how far it came, how good it is."""
    return [_run_row(run) for run in list_runs()]


def _run_row(run: Run) -> dict[str, Any]:
    metrics = run.read_metrics()
    best = max((row["val_accuracy"] for row in metrics if "val_accuracy" in row), default=None)
    test = parameters = epochs = None
    try:
        test = run.read_json(run.evaluation).get("accuracy")
    except CnnkitError:
        pass  # not evaluated yet
    try:
        parameters = run.read_json(run.environment)["model"]["parameters"]
        epochs = _planned_epochs(run)
    except (CnnkitError, KeyError):
        pass  # a run that was stopped while it was made
    return {
        "run": run.name,
        "epochs": f"{len(metrics)}/{epochs}" if epochs else str(len(metrics)),
        "best_val_accuracy": best,
        "test_accuracy": test,
        "parameters": parameters,
        "seconds": round(sum(row["seconds"] for row in metrics), 1),
    }


def _planned_epochs(run: Run) -> int | None:
    from cnnkit.config.document import parse

    root = parse(run.config.read_text(encoding="utf-8"), str(run.config))
    training = root.plain().get("training") or {}
    epochs = training.get("epochs")
    return epochs if isinstance(epochs, int) else None


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows with the same keys as aligned text."""
    header = [name.replace("_", " ") for name in rows[0]]
    lines = [header, *([_cell(name, value) for name, value in row.items()] for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    numeric = [all(not isinstance(row[name], str) for row in rows) for name in rows[0]]

    def text(line: Sequence[str]) -> str:
        cells = zip(line, widths, numeric, strict=True)
        return "  ".join(cell.rjust(width) if right else cell.ljust(width) for cell, width, right in cells).rstrip()

    return "\n".join(text(line) for line in lines)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name == "seconds":
        return format_duration(value)
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list | tuple):
        return "x".join(str(item) for item in value)
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
            shown = ", ".join(_cell("", item) for item in value) if isinstance(value, list | tuple) else _cell("", value)
            lines.append(f"{indent}{str(key).ljust(width)}  {shown}")
    return "\n".join(lines)
