"""The report of one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cnnkit.files import write_atomically
from cnnkit.report import network, origins, setting
from cnnkit.report.curves import curve_drawings
from cnnkit.report.facts import Facts, read_facts
from cnnkit.report.page import attempt, render
from cnnkit.report.parts import outcome_of
from cnnkit.runs.trained import TrainedRun


def write_report(trained: TrainedRun, path: Path | None = None) -> Path:
    """Writes the run's report: one HTML file that needs nothing else, neither network nor scripts.

    What the run lacks, such as an evaluation or its data set, is said in its place; the same run makes the same bytes.

    Args:
        path: The file to write; by default the run's own.

    Returns:
        The file.
    """
    facts = read_facts(trained)
    target = path or trained.run.report
    write_atomically(target, render("run.html", **_context(facts)))
    return target


def _context(facts: Facts) -> dict[str, Any]:
    return {
        "facts": facts,
        "outcome": attempt(outcome_of, facts),
        "curves": attempt(curve_drawings, facts),
        "parts": facts.trained.task.sections(facts),
        "architecture": attempt(network.architecture, facts),
        "layers": attempt(network.layer_table, facts),
        "windows": attempt(network.windows, facts),
        "filters": attempt(network.filters, facts),
        "config": attempt(origins.config_table, facts),
        "environment": attempt(setting.environment_tables, facts),
        "reproduction": attempt(setting.reproduction, facts),
    }
