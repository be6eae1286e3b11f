"""What a task adds to a comparison of its runs: columns of the table of results, and sections of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cnnkit.config.class_names import same_for
from cnnkit.report.facts import Facts
from cnnkit.report.page import Missing
from cnnkit.report.parts import Section, shown
from cnnkit.task import LOSS, Figure, Task

#: Of more classes, those on which runs differ least are folded.
MOST_ROWS_AT_ONCE = 20


@dataclass(frozen=True)
class Cell:
    """A cell of the table of results."""

    text: str
    is_best: bool = False


@dataclass(frozen=True)
class SideBySide:
    """What a task says of several of its runs.

    Attributes:
        titles: Columns of the table of results, each of a number.
        rows: A cell in each of them for each run, or why a run has none.
        note: What a reader should know of the columns, in whole sentences; empty for nothing.
        before_curves, after_curves: Sections of its own.
    """

    titles: Sequence[str]
    rows: Sequence[Sequence[Cell] | Missing]
    note: str = ""
    before_curves: Sequence[Section] = ()
    after_curves: Sequence[Section] = ()

    @property
    def has_best(self) -> bool:
        return any(cell.is_best for row in self.rows if not isinstance(row, Missing) for cell in row)


def side_by_side(names: Sequence[str], facts: Sequence[Facts], task: Task) -> SideBySide:
    """What the task says of runs, or their figures where it says nothing of its own.

    Args:
        names: The runs', none twice.
        facts: Theirs; all have learned this task.
    """
    compared = task.compare(names, facts)
    if compared is not None:
        return compared
    figures = (*task.figures, LOSS)
    return SideBySide([figure.label for figure in figures], figure_rows(facts, figures))


def figure_rows(facts: Sequence[Facts], figures: Sequence[Figure]) -> list[list[Cell] | Missing]:
    """A cell for each figure of each run's evaluation.json.

    The best are marked, unless the runs were tested on different classes or numbers of images.
    """
    evaluations = [one.evaluation for one in facts if not isinstance(one.evaluation, Missing)]
    best: dict[str, float] = {}
    if len({(one["images"], *(row["class"] for row in one.get("per_class", ()))) for one in evaluations}) == 1:
        best = {figure.name: figure.best((one[figure.name] for one in evaluations), float) for figure in figures}
    return [
        one.evaluation if isinstance(one.evaluation, Missing) else _cells(one.evaluation, figures, best)
        for one in facts
    ]


def _cells(evaluation: Mapping[str, float], figures: Sequence[Figure], best: Mapping[str, float]) -> list[Cell]:
    return [Cell(shown(one, evaluation), evaluation[one.name] == best.get(one.name)) for one in figures]


@dataclass(frozen=True)
class ClassRow:
    """A class with the score of each run; None where a run does not have it.

    Attributes:
        spread: Between the best run and the worst.
    """

    name: str
    scores: list[float | None]
    spread: float


@dataclass(frozen=True)
class ClassRows:
    """The classes on which the runs differ most, first.

    Attributes:
        rows: Those that are shown at once; rest: the others.
    """

    rows: list[ClassRow]
    rest: list[ClassRow]


def class_section(names: Sequence[str], facts: Sequence[Facts], score: str, label: str) -> Section:
    """The section that compares a score of each class.

    Args:
        score: Its name in `per_class` of evaluation.json; larger is better, 0..1.
        label: What the page calls it.
    """
    values = {"names": names, "label": label, "classes": _classes(facts, score)}
    return Section("classes", "Classes", "cnnkit.report", "classes_of_runs.html", values)


def _classes(facts: Sequence[Facts], score: str) -> ClassRows | Missing:
    scores: list[dict[str, float | None]] = [
        {}
        if isinstance(one.evaluation, Missing)
        else {same_for(row["class"]): row.get(score) for row in one.evaluation["per_class"]}
        for one in facts
    ]
    if sum(bool(one) for one in scores) < 2:
        return Missing("Fewer than two of these runs were evaluated.")
    rows = []
    for name in dict.fromkeys(name for one in scores for name in one):
        values = [one.get(name) for one in scores]
        known = [value for value in values if value is not None]
        rows.append(ClassRow(name, values, max(known) - min(known) if known else 0.0))
    rows.sort(key=lambda row: -row.spread)
    return ClassRows(rows[:MOST_ROWS_AT_ONCE], rows[MOST_ROWS_AT_ONCE:])
