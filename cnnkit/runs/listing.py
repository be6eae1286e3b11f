"""What runs there are: how far each came, and how good it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.errors import CnnkitError
from cnnkit.format.fields import is_number, is_whole
from cnnkit.runs.best import Monitor
from cnnkit.runs.directory import LARGEST_ARCHIVE, Run
from cnnkit.runs.finding import list_runs
from cnnkit.runs.interface import initial_weights
from cnnkit.terminal.tables import as_table

if TYPE_CHECKING:
    from cnnkit.task import Figure, Task


def run_rows() -> list[dict[str, Any]]:
    """One row per run under runs/, the oldest first: what it is, how far it came, how good it is."""
    return [_run_row(run) for run in list_runs()]


def _run_row(run: Run) -> dict[str, Any]:
    try:
        metrics = run.read_metrics()
    except CnnkitError:
        metrics = []  # one broken run must not hide the others
    best = Monitor.of_run(run).best_epoch(metrics)
    headline = task_of(run).headline.name
    best_row: Mapping[str, Any] = next((row for row in metrics if row.get("epoch", 0) == best), {})
    validation, test = best_row.get(f"val_{headline}"), number_in(run, run.evaluation, headline)
    return {
        "run": run.name,
        **run_state(run),
        "epochs": len(metrics),
        "planned_epochs": planned_epochs(plain_config(run)),
        "best_epoch": best,
        "headline": headline,
        "best_validation": validation,
        "test": test,
        # The same by their own names, which say what they are where that is all that is read.
        f"best_val_{headline}": validation,
        f"test_{headline}": test,
        "parameters": number_in(run, run.environment, "model", "parameters"),
        "seconds": round(sum((row.get("seconds", 0.0) for row in metrics), 0.0), 1),
    }


def as_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows of runs as a terminal shows them."""
    if not rows:
        return "there are no runs yet; make one: cnnkit train CONFIG"
    several = len({row["headline"] for row in rows}) > 1
    return as_table([_shown(row, with_headline=several) for row in rows])


def _shown(row: Mapping[str, Any], with_headline: bool) -> dict[str, Any]:
    """A row for a table, in which the figures have their own names, or stand beside theirs."""
    state = ": ".join([row["state"], ", ".join(row["damaged"])]) if row["state"] == "damaged" else row["state"]
    general = {"headline", "best_validation", "test"}
    named = {f"best_val_{row['headline']}", f"test_{row['headline']}"}
    left_out = {"damaged", *(named if with_headline else general)}
    return {key: value for key, value in row.items() if key not in left_out} | {"state": state}


def run_state(run: Run) -> dict[str, Any]:
    """What a run is at this moment.

    Returns:
        `damaged`: the names of the files that cannot be read, of those that are quickly looked at. `state`: `training`
        while a process trains it; `damaged` if there are such files; `started` before its first checkpoint;
        `interrupted` after that, with fewer epochs than planned; `trained`; `evaluated`, where the test split was
        measured, too.
    """
    damaged = [path.name for path in _damaged_files(run)]
    if run.is_training():
        state = "training"
    elif damaged:
        state = "damaged"
    else:
        state = _progress(run)
    return {"state": state, "damaged": damaged}


def _progress(run: Run) -> str:
    done, planned = len(run.read_metrics()), planned_epochs(plain_config(run))
    # Early stopping, which ends a training before its last epoch, is not an interruption.
    ended = value_in(run, run.live_state, "status") == "finished"
    if not done or (planned is not None and done < planned and not ended):
        return "interrupted" if run.has_checkpoint else "started"
    return "evaluated" if run.evaluation.exists() else "trained"


def _damaged_files(run: Run) -> Iterator[Path]:
    checks: list[tuple[Path, Callable[[], Any]]] = [
        (run.environment, run.read_environment),
        (run.metrics, run.read_metrics),
        (run.evaluation, lambda: run.read_json(run.evaluation)),
        (run.checkpoint, lambda: run.check_archive(run.checkpoint, LARGEST_ARCHIVE)),
        (run.model, lambda: run.check_archive(run.model, LARGEST_ARCHIVE)),
    ]
    try:
        run.check_own()
    except OSError as error:
        yield Path(error.filename)
        return
    if plain_config(run) is None:
        yield run.config
    for path, check in checks:
        if os.path.lexists(path):
            try:
                check()
            except CnnkitError:
                yield path


def number_in(run: Run, path: Path, *keys: str) -> Any:
    """A finite number in a JSON file of the run; None where the file is missing, half made, broken or closed to us."""
    value = value_in(run, path, *keys)
    return value if is_number(value) else None


def value_in(run: Run, path: Path, *keys: str) -> Any:
    """A value in a JSON file of the run; None where the file is missing, half made, broken or closed to us."""
    try:
        return within(run.read_json(path), *keys)
    except CnnkitError:
        return None


def weights_begun_with(run: Run) -> str | None:
    """Whose weights the run's network began with; None where with new ones, or where that cannot be read."""
    try:
        return initial_weights(run.read_environment())
    except CnnkitError:
        return None


def within(value: Any, *keys: str) -> Any:
    """What lies in a mapping, and in the mappings in it, under keys; None if nothing does."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def task_of(run: Run) -> Task:
    """What a run learns; where its config does not say it, or cannot be read, what a config means by default."""
    from cnnkit.tasks import default_task

    return task_in(plain_config(run)) or default_task()


def task_in(config: dict[str, Any] | None) -> Task | None:
    """What a plain config says is learned, or means where it does not say it; None where that is no task."""
    from pydantic_core import PydanticCustomError

    from cnnkit.format.base import Choice
    from cnnkit.task import Task as AnyTask
    from cnnkit.tasks import TASKS, default_task

    written = within(config, "task")
    try:
        task = default_task() if written is None else Choice(TASKS).validate(written)
    except PydanticCustomError:
        return None
    assert isinstance(task, AnyTask)
    return task


def columns_of(runs: Iterable[Run]) -> list[Figure]:
    """The figures of each epoch that at least one of the runs has, see `Task.columns`."""
    return list(dict.fromkeys(figure for run in runs for figure in task_of(run).columns))


def plain_config(run: Run) -> dict[str, Any] | None:
    """A run's config as plain values, not validated; None where it cannot be read."""
    from cnnkit.format.files import read_file

    try:
        run.check()
        return plain_text(read_file(str(run.config)), str(run.config))
    except CnnkitError:
        return None


def plain_text(text: str, file: str) -> dict[str, Any] | None:
    """A config's text as plain values, not validated; None where it holds no mapping.

    Raises:
        ConfigError: if it is no YAML.
    """
    from cnnkit.format.document import parse

    plain = parse(text, file).plain()
    return plain if isinstance(plain, dict) else None


def planned_epochs(config: dict[str, Any] | None) -> int | None:
    """How many epochs a plain config asks for; None if it does not say."""
    epochs = within(config, "training", "epochs")
    return epochs if is_whole(epochs) else None
