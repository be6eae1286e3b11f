"""The report of one run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cnnkit.files import write_atomically
from cnnkit.report import network, origins, setting
from cnnkit.report.facts import Facts, read_facts
from cnnkit.report.page import Missing, attempt, render
from cnnkit.runs.trained import TrainedRun
from cnnkit.tasks.classification import report, report_examples
from cnnkit.tasks.classification.metrics import differs_from_cross_entropy


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
    evaluation = facts.evaluation

    def of_evaluation(make: Any) -> Any:
        return evaluation if isinstance(evaluation, Missing) else attempt(make, evaluation)

    return {
        "facts": facts,
        "result": of_evaluation(report.result),
        "loss_apart": of_evaluation(differs_from_cross_entropy),
        "curves": attempt(report.curve_drawings, facts.epochs, facts.trained.task.columns, facts.best_epoch)
        if facts.epochs
        else Missing(facts.training),
        "classes": of_evaluation(report.class_table),
        "matrix": of_evaluation(report.confusion),
        "calibration": attempt(report.calibration, facts.predictions),
        "pairs": attempt(report_examples.pairs, facts),
        "mistakes": attempt(report_examples.mistakes, facts),
        "architecture": attempt(network.architecture, facts),
        "layers": attempt(network.layer_table, facts),
        "filters": attempt(network.filters, facts),
        "config": attempt(origins.config_table, facts),
        "environment": attempt(setting.environment_tables, facts),
        "reproduction": attempt(setting.reproduction, facts),
    }
