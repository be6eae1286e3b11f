"""Several runs side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnkit.comparing.difference import Side, align, pair_lines
from cnnkit.errors import UsageError
from cnnkit.files import write_atomically
from cnnkit.format.base import to_plain
from cnnkit.plots import style
from cnnkit.report.facts import Facts, read_facts
from cnnkit.report.page import Missing, attempt, figure, render, yaml_text
from cnnkit.report.side_by_side import side_by_side
from cnnkit.runs.finding import distinct_names
from cnnkit.runs.trained import TrainedRun
from cnnkit.task import Task

_SECTIONS = ("seed", "data", "augmentation", "training")


def compare_report(runs: Sequence[TrainedRun], path: Path) -> Path:
    """Writes one HTML file that compares runs, made as `write_report` makes one of a run.

    Args:
        runs: Two or more.
        path: The file to write.

    Returns:
        The file.

    Raises:
        UsageError: for fewer than two runs, or runs of different tasks.
    """
    if len(runs) < 2:
        raise UsageError(f"a comparison needs two runs or more, got {len(runs)}")
    _check_tasks(runs)
    facts = [read_facts(run) for run in runs]
    names = distinct_names([one.run.path for one in facts])
    task = runs[0].task
    context = {
        "names": names,
        "facts": facts,
        "compared": side_by_side(names, facts, task),
        "curves": attempt(_curves, names, facts, task),
        "settings": attempt(_settings, facts),
        "networks": [attempt(_network, names[0], name, facts[0], one) for name, one in zip(names, facts, strict=True)],
    }
    write_atomically(path, render("comparison.html", **context))
    return path


def _check_tasks(runs: Sequence[TrainedRun]) -> None:
    first = runs[0]
    for run in runs[1:]:
        if run.task.name != first.task.name:
            raise UsageError(
                f"a comparison needs runs that have learned the same task: `{first.run.path}` has learned "
                f"{first.task.name}, `{run.run.path}` {run.task.name}",
                "Compare the runs of each task by themselves.",
            )


def _curves(names: Sequence[str], facts: Sequence[Facts], task: Task) -> Any:
    from cnnkit.plots.several_runs import curves_of_runs_figure

    rows = {name: one.epochs for name, one in zip(names, facts, strict=True) if one.epochs}
    if not rows:
        return Missing("No epoch of these runs has ended.")
    headline = f"val_{task.headline.name}"
    ends = [f"{name} ends at {one[-1][headline]:.4f}" for name, one in rows.items() if headline in one[-1]]
    figures = ", ".join(column.label for column in task.columns)
    described = (
        f"{figures[:1].upper()}{figures[1:]} and learning rate over the epochs. "
        f"Validation {task.headline.label}: {', '.join(ends) or 'none'}"
    )
    best = [one.best_epoch for one in facts if one.epochs]
    return figure(style.as_svg(curves_of_runs_figure(rows, task.columns, best)), "curves", described)


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
