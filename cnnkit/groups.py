"""Runs of one config with several seeds: their mean, their spread, and whether two groups differ by more than noise."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cnnkit.compare import differences
from cnnkit.config.document import parse, read_file
from cnnkit.errors import CnnkitError
from cnnkit.rundir import Run, list_runs

#: A difference as large as this or larger would come from seeds alone less often than so.
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Group:
    """Evaluated runs whose configs differ in the seed alone.

    Attributes:
        config: What they share, as plain values without the seed.
        runs: In the order in which they were made.
        accuracies: On the test split, 0..1, one per run.
    """

    config: dict[str, Any]
    runs: tuple[Run, ...]
    accuracies: tuple[float, ...]

    @property
    def name(self) -> str:
        """The first and the last run."""
        names = [run.name for run in self.runs]
        return names[0] if len(names) == 1 else f"{names[0]} ... {names[-1]}"

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracies)

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation; None for a single run."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def as_json(self) -> dict[str, Any]:
        return {
            "runs": [run.name for run in self.runs],
            "accuracies": list(self.accuracies),
            "mean": self.mean,
            "standard_deviation": self.deviation,
        }

    def __str__(self) -> str:
        spread = "" if self.deviation is None else f" ± {100 * self.deviation:.2f}"
        return f"{100 * self.mean:.2f}{spread} %"


def group_runs(runs: Sequence[Run] | None = None) -> list[Group]:
    """The evaluated runs (by default those under runs/) by config, in the order in which they were made."""
    found: dict[str, list[tuple[Run, dict[str, Any], float]]] = {}
    for run in list_runs() if runs is None else runs:
        try:
            plain = parse(read_file(str(run.config)), str(run.config)).plain()
            accuracy = float(run.read_json(run.evaluation)["accuracy"])
        except (CnnkitError, KeyError, TypeError, ValueError):
            continue  # not evaluated yet, or broken
        shared = {key: value for key, value in plain.items() if key != "seed"}
        found.setdefault(json.dumps(shared, sort_keys=True), []).append((run, shared, accuracy))
    return [
        Group(entries[0][1], tuple(run for run, _, _ in entries), tuple(accuracy for _, _, accuracy in entries))
        for entries in found.values()
    ]


def probability_of_noise(first: Group, second: Group) -> float | None:
    """How often seeds alone would make a difference of means at least this large, 0..1.

    Welch's t-test, which does not take the two spreads to be equal; None where a group has a single run.
    """
    if min(len(first.accuracies), len(second.accuracies)) < 2:
        return None
    if not first.deviation and not second.deviation:
        return 1.0 if first.mean == second.mean else 0.0
    from scipy.stats import ttest_ind

    return float(ttest_ind(first.accuracies, second.accuracies, equal_var=False).pvalue)


def verdict(first: Group, second: Group) -> str:
    """One line: by how much the second is better or worse than the first, and whether that is more than noise."""
    points = 100 * (second.mean - first.mean)
    text = f"{second.name} ({second}) against {first.name} ({first}): {points:+.2f} points, "
    noise = probability_of_noise(first, second)
    if noise is None:
        return text + "which one run cannot tell from noise; train it with --seeds 3 or more"
    odds = "below 0.001" if noise < 0.001 else f"{noise:.3f}"
    larger = "larger than noise" if noise < SIGNIFICANCE else "within noise"
    return text + f"{larger} (Welch's t-test, p {odds})"


def comparison(groups: Sequence[Group]) -> dict[str, Any]:
    """All groups and all pairs, as plain JSON values."""
    return {
        "groups": [group.as_json() for group in groups],
        "pairs": [
            {
                "first": first.name,
                "second": second.name,
                "difference": second.mean - first.mean,
                "probability_of_noise": probability_of_noise(first, second),
                "config": {key: list(pair) for key, pair in differences(first.config, second.config).items()},
            }
            for first, second in itertools.combinations(groups, 2)
        ],
    }


def as_text(groups: Sequence[Group]) -> str:
    """The groups, and each against the best one before it."""
    width = max(len(group.name) for group in groups)
    lines = [
        f"{group.name.ljust(width)}  {len(group.runs)} run{'s' * (len(group.runs) > 1)}  {group}" for group in groups
    ]
    for place, group in enumerate(groups[1:], start=1):
        best = max(groups[:place], key=lambda one: one.mean)
        lines += ["", verdict(best, group)]
        lines += [f"  {key}: {one} -> {other}" for key, (one, other) in differences(best.config, group.config).items()]
    return "\n".join(lines)
