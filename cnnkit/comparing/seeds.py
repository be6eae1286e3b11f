"""Runs of one config with several seeds: their mean, their spread, and whether two groups differ by more than noise."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from cnnkit.comparing.difference import Pair, align, as_json, differences, pair_lines, shown
from cnnkit.errors import CnnkitError
from cnnkit.format.fields import is_whole
from cnnkit.network.summary import Summary, summarize
from cnnkit.runs.directory import Run
from cnnkit.runs.finding import list_runs
from cnnkit.runs.interface import INITIAL_WEIGHTS
from cnnkit.runs.listing import (
    number_in,
    plain_config,
    planned_epochs,
    task_of,
    value_in,
    weights_begun_with,
    within,
)
from cnnkit.runs.trained import open_run
from cnnkit.task import Figure
from cnnkit.terminal.tables import aligned

#: A difference as large as this or larger would come from seeds alone less often than so.
SIGNIFICANCE = 0.05


@dataclass(frozen=True)
class Result:
    """An evaluated run.

    Attributes:
        config: As plain values without the seed; with the weights of another run that it began with.
        test_images: What decides them: the data set's fingerprint, the slice, and how many they are.
        figure: The headline of its task.
        value: Its value on the test split.
        epochs: How many have ended.
        planned: How many the config asks for; None if it does not say.
    """

    run: Run
    config: dict[str, Any]
    seed: int
    test_images: tuple[Any, ...]
    figure: Figure
    value: float
    epochs: int
    planned: int | None

    @property
    def finished(self) -> bool:
        """Whether the training came to its end, including by early stopping."""
        return self.planned is None or self.epochs >= self.planned or self._stopped_early()

    def _stopped_early(self) -> bool:
        from cnnkit.training.checkpoint import ended_early

        try:
            return ended_early(self.run)
        except CnnkitError:
            return False


@dataclass(frozen=True)
class Group:
    """Evaluated runs whose configs differ only in the seed.

    Attributes:
        config: What they share, as plain values without the seed.
        runs: In the order in which they were made.
        seeds: One per run.
        figure: The headline of their task.
        values: Of the figure on the test split, one per run.
        test_images: What decides them, see `Result`.
    """

    config: dict[str, Any]
    runs: tuple[Run, ...]
    seeds: tuple[int, ...]
    figure: Figure
    values: tuple[float, ...]
    test_images: tuple[Any, ...] = ()

    @property
    def name(self) -> str:
        """The first and the last run."""
        names = [run.name for run in self.runs]
        return names[0] if len(names) == 1 else f"{names[0]} ... {names[-1]}"

    @cached_property
    def samples(self) -> tuple[float, ...]:
        """The mean of each seed: a run that is repeated with its seed gives the same network again."""
        by_seed: dict[int, list[float]] = {}
        for seed, value in zip(self.seeds, self.values, strict=True):
            by_seed.setdefault(seed, []).append(value)
        return tuple(statistics.fmean(values) for values in by_seed.values())

    @property
    def mean(self) -> float:
        return statistics.fmean(self.samples)

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation over seeds; None for a single seed."""
        return statistics.stdev(self.samples) if len(self.samples) > 1 else None

    @property
    def data(self) -> str:
        """The data set, as the config names it."""
        return str(within(self.config, "data", "name") or within(self.config, "data", "folder"))

    @property
    def size(self) -> str:
        """How many runs it has, and of how many seeds, where some have the same one."""
        seeds = "" if len(self.samples) == len(self.runs) else f" of {_counted(len(self.samples), 'seed')}"
        return _counted(len(self.runs), "run") + seeds

    @cached_property
    def summary(self) -> Summary | None:
        """The network's layers; None where the config can no longer be read."""
        try:
            return summarize(open_run(self.runs[0]).loaded)
        except CnnkitError:
            return None

    def is_comparable(self, other: Group) -> bool:
        """Whether the same figure was measured on the same test images."""
        return (self.figure, self.test_images) == (other.figure, other.test_images)

    def as_json(self) -> dict[str, Any]:
        """The group as plain JSON values."""
        values = list(self.values)
        return {
            "runs": [run.name for run in self.runs],
            "seeds": list(self.seeds),
            "headline": self.figure.name,
            "values": values,
            # Their name from before there were other figures.
            **({"accuracies": values} if self.figure.name == "accuracy" else {}),
            "data": self.data,
            "mean": self.mean,
            "standard_deviation": self.deviation,
        }

    def __str__(self) -> str:
        return self.figure.spread(self.mean, self.deviation)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def read_results(runs: Sequence[Run] | None = None) -> list[Result]:
    """The evaluated runs (by default those under runs/) in the order in which they were made; broken ones are left out.

    Unfinished ones, too, are among them.
    """
    results = (_read_result(run) for run in (list_runs() if runs is None else runs))
    return [result for result in results if result is not None]


def _read_result(run: Run) -> Result | None:
    config, figure = plain_config(run), task_of(run).headline
    value = number_in(run, run.evaluation, figure.name)
    seed = 0 if config is None else config.get("seed", 0)
    if config is None or value is None or not is_whole(seed):
        return None
    try:
        epochs = len(run.read_metrics())
    except CnnkitError:
        return None
    data = value_in(run, run.environment, "data", "fingerprint")
    if not isinstance(data, str):
        data = json.dumps([within(config, "data", "name"), within(config, "data", "folder")])
    test_images = (data, within(config, "data", "splits", "test"), number_in(run, run.evaluation, "images"))
    shared = {key: value for key, value in config.items() if key != "seed"}
    source = weights_begun_with(run)
    if source is not None:
        # A network that has learned already is not one that differs in the seed alone.
        shared[INITIAL_WEIGHTS] = source
    return Result(run, shared, seed, test_images, figure, float(value), epochs, planned_epochs(config))


def group_runs(results: Sequence[Result]) -> list[Group]:
    """The finished runs by config and test images, in the order in which they were made."""
    groups: dict[str, list[Result]] = {}
    for result in results:
        if result.finished:
            groups.setdefault(json.dumps([result.config, result.test_images], sort_keys=True), []).append(result)
    return [
        Group(
            entries[0].config,
            tuple(entry.run for entry in entries),
            tuple(entry.seed for entry in entries),
            entries[0].figure,
            tuple(entry.value for entry in entries),
            entries[0].test_images,
        )
        for entries in groups.values()
    ]


def probability_of_noise(first: Group, second: Group) -> float | None:
    """How often seeds alone would make a difference of means at least this large, 0..1.

    Welch's t-test, which does not take the two spreads to be equal. None where nothing tells how much seeds differ: a
    group has a single one, or those of neither differ at all.
    """
    if first.deviation is None or second.deviation is None:
        return None
    if not first.deviation and not second.deviation:
        return 1.0 if first.mean == second.mean else None
    from scipy.stats import ttest_ind_from_stats

    measured = [(one.mean, one.deviation, len(one.samples)) for one in (first, second)]
    return float(ttest_ind_from_stats(*measured[0], *measured[1], equal_var=False).pvalue)


def verdict(first: Group, second: Group) -> str:
    """One line: by how much the second is better or worse than the first, and whether that is more than noise."""
    difference = first.figure.difference(second.mean - first.mean)
    text = f"{second.name} ({second}) against {first.name} ({first}): {difference}, "
    noise = probability_of_noise(first, second)
    if noise is None:
        alone = min(len(first.samples), len(second.samples)) < 2
        reason = "one seed cannot tell from noise" if alone else "seeds that differ in nothing cannot tell from noise"
        return f"{text}which {reason}; train it with --seeds 3 or more"
    odds = "below 0.001" if noise < 0.001 else f"{noise:.3f}"
    larger = "larger than noise" if noise < SIGNIFICANCE else "within noise"
    return text + f"{larger} (Welch's t-test, p {odds})"


def comparison(results: Sequence[Result]) -> dict[str, Any]:
    """All groups, all pairs of groups with the same test images, and the runs left out, as plain JSON values."""
    groups = group_runs(results)
    return {
        "groups": [group.as_json() for group in groups],
        "pairs": [
            _pair_as_json(first, second)
            for first, second in itertools.combinations(groups, 2)
            if first.is_comparable(second)
        ],
        "unfinished": [
            {"run": one.run.name, "epochs": one.epochs, "planned_epochs": one.planned}
            for one in results
            if not one.finished
        ],
    }


def _pair_as_json(first: Group, second: Group) -> dict[str, Any]:
    sections, layers = _changes(first, second)
    return {
        "first": first.name,
        "second": second.name,
        "difference": second.mean - first.mean,
        "probability_of_noise": probability_of_noise(first, second),
        "config": {key: list(pair) for key, pair in sections.items()},
        "layers": [as_json(pair) for pair in layers],
    }


def _changes(first: Group, second: Group) -> tuple[dict[str, tuple[Any, Any]], list[Pair]]:
    """What differs: by key outside the network, and its layers; all by key where the layers are not known."""
    changes = differences(first.config, second.config)
    if first.summary is None or second.summary is None:
        return changes, []
    pairs = align(first.summary.rows, second.summary.rows)
    outside = {key: pair for key, pair in changes.items() if key.split(".")[0] != "model"}
    return outside, [pair for pair in pairs if pair.sign != "="]


def as_text(results: Sequence[Result]) -> str:
    """The groups, each against the best one before it that has the same test images, and the runs left out."""
    groups = group_runs(results)
    lines = list(_group_lines(groups)) or ["there are no evaluated runs yet; make some: cnnkit train CONFIG"]
    for place, group in enumerate(groups):
        others = [other for other in groups[:place] if other.is_comparable(group)]
        if others:
            best = group.figure.best(others, key=lambda other: other.mean)
            lines += ["", verdict(best, group), *_change_lines(best, group)]
    unfinished = [f"{one.run.name} ({one.epochs} of {one.planned} epochs)" for one in results if not one.finished]
    if unfinished:
        lines += ["", f"left out, because their training has not ended: {', '.join(unfinished)}"]
    return "\n".join(lines)


def _group_lines(groups: Sequence[Group]) -> Iterator[str]:
    several = len({(group.figure, group.test_images) for group in groups}) > 1
    rows = [[group.name, group.size, f"{group}{f'  {group.data}' if several else ''}"] for group in groups]
    yield from aligned(rows, "<<<").splitlines() if rows else ()


def _change_lines(first: Group, second: Group) -> Iterator[str]:
    sections, layers = _changes(first, second)
    for pair in layers:
        yield from (f"  {line}" for line in pair_lines(pair, changes_only=True))
    for key, (one, other) in sections.items():
        yield f"  {key}: {shown(one)} -> {shown(other)}"
