"""Several runs side by side."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.comparing.difference import Side, align, pair_lines
from cnnkit.config.class_names import same_for, same_names
from cnnkit.errors import UsageError
from cnnkit.files import write_atomically
from cnnkit.format.base import to_plain
from cnnkit.plots import style
from cnnkit.report.facts import Facts, read_facts
from cnnkit.report.page import Missing, attempt, figure, render, yaml_text
from cnnkit.runs.finding import distinct_names
from cnnkit.runs.listing import columns_of
from cnnkit.runs.trained import TrainedRun
from cnnkit.tasks.classification import report
from cnnkit.tasks.classification.predictions import Predictions

#: A difference that chance makes more rarely is called one.
SIGNIFICANCE = 0.05

_SECTIONS = ("seed", "data", "augmentation", "training")


def compare_report(runs: Sequence[TrainedRun], path: Path) -> Path:
    """Writes one HTML file that compares runs, made as `write_report` makes one of a run.

    Args:
        runs: Two or more.
        path: The file to write.

    Returns:
        The file.

    Raises:
        UsageError: for fewer than two runs.
    """
    if len(runs) < 2:
        raise UsageError(f"a comparison needs two runs or more, got {len(runs)}")
    facts = [read_facts(run) for run in runs]
    names = distinct_names([one.run for one in facts])
    columns = [_column(name, one) for name, one in zip(names, facts, strict=True)]
    context = {
        "columns": columns,
        "best": _best(columns),
        "curves": attempt(_curves, names, facts),
        "pairs": attempt(_paired, names, facts),
        "classes": attempt(_classes, facts),
        "settings": attempt(_settings, facts),
        "networks": [attempt(_network, names[0], name, facts[0], one) for name, one in zip(names, facts, strict=True)],
        "names": names,
        "significance": SIGNIFICANCE,
    }
    write_atomically(path, render("comparison.html", **context))
    return path


@dataclass(frozen=True)
class Column:
    """A run in the table of results."""

    name: str
    facts: Facts
    result: report.Result | Missing


def _column(name: str, facts: Facts) -> Column:
    evaluation = facts.evaluation
    made = evaluation if isinstance(evaluation, Missing) else attempt(report.result, evaluation)
    return Column(name, facts, made)


def _best(columns: Sequence[Column]) -> dict[str, float]:
    """The best value of each figure; none where the runs were tested on different classes or numbers of images."""
    evaluations = [column.facts.evaluation for column in columns if not isinstance(column.facts.evaluation, Missing)]
    if len({(one["images"], *(row["class"] for row in one["per_class"])) for one in evaluations}) != 1:
        return {}
    better = {"accuracy": max, "cross_entropy": min, "calibration_error": min, "macro_f1": max}
    return {key: choose(one[key] for one in evaluations) for key, choose in better.items()}


def _curves(names: Sequence[str], facts: Sequence[Facts]) -> Any:
    from cnnkit.plots.several_runs import curves_of_runs_figure

    rows = {name: one.epochs for name, one in zip(names, facts, strict=True) if one.epochs}
    if not rows:
        return Missing("No epoch of these runs has ended.")
    ends = [f"{name} ends at {one[-1]['val_accuracy']:.4f}" for name, one in rows.items() if "val_accuracy" in one[-1]]
    described = "Loss, accuracy and learning rate over the epochs. Validation accuracy: " + (", ".join(ends) or "none")
    best = [one.best_epoch for one in facts if one.epochs]
    return figure(
        style.as_svg(curves_of_runs_figure(rows, columns_of([one.run for one in facts]), best)), "curves", described
    )


@dataclass(frozen=True)
class Paired:
    """Two runs on the same test images.

    Attributes:
        first_alone: Images that only the first got right; second_alone: likewise.
        probability: How often chance alone would divide these images at least this unevenly, 0..1.
        adjusted: The same, multiplied by the number of pairs (Bonferroni).
    """

    first: str
    second: str
    difference: float
    first_alone: int
    second_alone: int
    probability: float
    adjusted: float

    @property
    def more_than_noise(self) -> bool:
        return self.adjusted < SIGNIFICANCE


def _paired(names: Sequence[str], facts: Sequence[Facts]) -> list[Paired] | Missing:
    """All pairs of runs that were tested on the same images.

    The test is McNemar's, in its exact form: of the images that only one of the two got right, each is as likely to be
    the one's as the other's (McNemar 1947; advised for classifiers by Dietterich 1998).
    """
    from scipy.stats import binomtest

    pairs = []
    known = [(name, one.predictions) for name, one in zip(names, facts, strict=True)]
    for (first, one), (second, other) in itertools.combinations(known, 2):
        if isinstance(one, Missing) or isinstance(other, Missing) or not _same_images(one, other):
            continue
        right, right_too = one.predicted == one.labels, other.predicted == other.labels
        alone, alone_too = int((right & ~right_too).sum()), int((right_too & ~right).sum())
        probability = float(binomtest(alone, alone + alone_too).pvalue) if alone + alone_too else 1.0
        pairs.append((first, second, float(right_too.mean() - right.mean()), alone, alone_too, probability))
    if not pairs:
        return Missing("No two of these runs were tested on the same images.")
    return [Paired(*entry, adjusted=min(1.0, entry[-1] * len(pairs))) for entry in pairs]


def _same_images(one: Predictions, other: Predictions) -> bool:
    return (
        same_names(one.class_names, other.class_names)
        and same_names(one.identities, other.identities)
        and bool(np.array_equal(one.labels, other.labels))
    )


@dataclass(frozen=True)
class ClassRow:
    """A class with the F1 of each run; None where a run does not have it.

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


def _classes(facts: Sequence[Facts]) -> ClassRows | Missing:
    scores: list[dict[str, float]] = [
        {}
        if isinstance(one.evaluation, Missing)
        else {same_for(row["class"]): row["f1"] for row in one.evaluation["per_class"]}
        for one in facts
    ]
    if sum(bool(one) for one in scores) < 2:
        return Missing("Fewer than two of these runs were evaluated.")
    rows = []
    for name in dict.fromkeys(name for one in scores for name in one):
        values = [one.get(name) for one in scores]
        known = [value for value in values if value is not None]
        rows.append(ClassRow(name, values, max(known) - min(known)))
    rows.sort(key=lambda row: -row.spread)
    return ClassRows(rows[: report.MOST_CLASSES_AT_ONCE], rows[report.MOST_CLASSES_AT_ONCE :])


@dataclass(frozen=True)
class Setting:
    """A value of the config that is not the same in all runs."""

    path: str
    values: list[str]


def _settings(facts: Sequence[Facts]) -> list[Setting]:
    """What differs outside the network, a value for each run; empty where a run's config cannot be read."""
    plain = [
        None
        if isinstance(one.loaded, Missing)
        else {name: to_plain(getattr(one.loaded.config, name)) for name in _SECTIONS}
        for one in facts
    ]
    rows = []
    for path, values in _differing([one for one in plain if one is not None], ""):
        texts = iter([yaml_text(value, 300) for value in values])
        rows.append(Setting(path, ["" if one is None else next(texts) for one in plain]))
    return rows


def _differing(values: Sequence[Any], path: str) -> Iterator[tuple[str, Sequence[Any]]]:
    """The paths at which values differ; mappings with the same keys are looked into."""
    if all(isinstance(value, Mapping) for value in values) and len({frozenset(value) for value in values}) == 1:
        for key in values[0]:
            yield from _differing([value[key] for value in values], f"{path}.{key}" if path else key)
    elif any(value != values[0] for value in values):
        yield path, values


@dataclass(frozen=True)
class NetworkChanges:
    """A run's network against the first run's.

    Attributes:
        lines: The changed layers, each with its sign `+`, `-`, `~` or `=`; none where the networks are the same.
    """

    name: str
    lines: list[tuple[str, str]]


def _network(first_name: str, name: str, first: Facts, other: Facts) -> NetworkChanges | Missing:
    sides = []
    for side_name, one in ((first_name, first), (name, other)):
        if isinstance(one.loaded, Missing) or isinstance(one.summary, Missing):
            return Missing(f"{name}: the config of {side_name} cannot be read.")
        sides.append(Side(side_name, one.loaded, one.summary, one.trained.task.headline, None))
    pairs = align(sides[0].summary.rows, sides[1].summary.rows)
    if all(pair.sign == "=" for pair in pairs):
        return NetworkChanges(name, [])
    lines = [line for pair in pairs for line in pair_lines(pair)]
    return NetworkChanges(name, [(line[0], line) for line in lines])
