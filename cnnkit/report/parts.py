"""What a task adds to reports: what came out, in one sentence and in tiles, and sections of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cnnkit.report.facts import Facts
from cnnkit.report.page import Missing, percent
from cnnkit.task import LOSS, Figure


@dataclass(frozen=True)
class Tile:
    """A value that stands out.

    Attributes:
        note: Smaller, below the value.
        is_code: Whether the label is a name of the config.
    """

    label: str
    value: str
    note: str = ""
    is_code: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came out on the test split.

    Attributes:
        short: The headline, for the title of the page.
        sentence: What matters most, without a full stop.
        remark: What follows it, such as `(12 errors)`; empty for nothing.
    """

    short: str
    sentence: str
    tiles: Sequence[Tile]
    remark: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a report under a heading of its own.

    Attributes:
        key: Its place in the page, `page.html#key`: lower case, and no other section's.
        package: The Python package whose folder `templates` holds the template: `__package__` in a task's module.
        template: The file, a Jinja template that may import the macros of the reports' own, such as `macros.html`.
        values: What the template is given. Any of them may be `Missing`, for which it tests with `is missing`.
    """

    key: str
    title: str
    package: str
    template: str
    values: Mapping[str, Any] = field(default_factory=dict)


def outcome_of(facts: Facts) -> Outcome | Missing:
    """What came out, as the task says it, or by its figures where it says nothing of its own."""
    evaluation = facts.evaluation
    if isinstance(evaluation, Missing):
        return evaluation
    task, sample = facts.trained.task, facts.sample
    return task.outcome(evaluation, sample) or Outcome(
        shown(task.headline, evaluation),
        f"{task.headline.title} {shown(task.headline, evaluation)} on {evaluation['images']:,} test {sample.plural}",
        [Tile(f"Test {one.label}", shown(one, evaluation)) for one in (*task.figures, LOSS) if one.name in evaluation],
    )


def shown(figure: Figure, evaluation: Mapping[str, Any]) -> str:
    """A figure of an evaluation as pages show it."""
    value = evaluation[figure.name]
    return percent(value) if figure.is_share else f"{value:.4f}"


def metric_tiles(evaluation: Mapping[str, Any]) -> list[Tile]:
    """The metrics that the config names."""
    return [Tile(name, f"{value:.4f}", is_code=True) for name, value in evaluation["metrics"].items()]
