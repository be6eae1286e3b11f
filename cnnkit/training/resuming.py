"""What a resumed run may change, and where it goes on."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from cnnkit.errors import CnnkitError, UsageError
from cnnkit.format.base import NamedObject, StrictModel, describe, shorten, to_plain
from cnnkit.format.document import flow
from cnnkit.format.explain import Path, format_path
from cnnkit.layers.block_calls import BlockCall
from cnnkit.layers.unresolved import Unresolved
from cnnkit.runs.directory import Run
from cnnkit.runs.interface import LEARNED_WEIGHTS, initial_weights
from cnnkit.runs.progress import is_complete
from cnnkit.training.course import Course, was_stopped
from cnnkit.training.ending import count_epochs
from cnnkit.training.settings import SETTINGS

if TYPE_CHECKING:
    from cnnkit.config.load import LoadedConfig
    from cnnkit.config.run import RunConfig
    from cnnkit.config.training import TrainingConfig
    from cnnkit.training.checkpoint import Checkpoint

#: What a resumed run may change: how long it trains, where images are kept, what is recorded. No step depends on it.
MAY_CHANGE = (
    "training.epochs",
    "training.early_stopping.patience",
    "training.checkpoint_minutes",
    "training.tensorboard",
    "data.memory",
    "data.download",
)

#: Differences that a message lists.
_MOST_SHOWN = 20


def where(checkpoint: Checkpoint | None, epochs: int, steps: int) -> str:
    """Where a run is gone on with, in words."""
    if checkpoint is None:
        return "from its beginning; it was killed before its first checkpoint"
    if not checkpoint.epochs and not checkpoint.step:
        return "from its beginning, with the weights that it began with"
    within = f", step {checkpoint.step:,} of {steps:,}" if checkpoint.step else ""
    return f"after epoch {checkpoint.epochs} of {epochs}{within}"


def with_settings_of(before: LoadedConfig, loaded: LoadedConfig, but: Sequence[str] = ()) -> LoadedConfig:
    """The config with what ran before in place of its `auto`, so that the figures go on as they would have.

    Args:
        but: Settings that stay `auto`.
    """
    training = loaded.config.training
    kept = {
        name: getattr(before.config.training, name)
        for name in SETTINGS
        if getattr(training, name) == "auto" and name not in but
    }
    config = loaded.config.model_copy(update={"training": training.model_copy(update=kept)})
    return replace(loaded, config=config)


def check_own_beginning(run: Run) -> None:
    """Whether a run without a checkpoint can begin again: its config says all of its initial weights.

    Raises:
        CnnkitError: if they were those of another run.
    """
    environment = run.read_environment()
    if environment.get(LEARNED_WEIGHTS):
        raise CnnkitError(
            f"the run `{run.path}` began with learned weights, and the checkpoint that held them is gone",
            f"Start again: cnnkit train {shlex.quote(str(run.config))}",
        )
    source = initial_weights(environment)
    if source is not None:
        raise CnnkitError(
            f"the run `{run.path}` began with weights of the run {source}, and the checkpoint that held them is gone",
            f"Start again: cnnkit train {shlex.quote(str(run.config))} --init-from RUN",
        )


def without_strategy(loaded: LoadedConfig, overrides: Sequence[str]) -> LoadedConfig:
    """The config with the strategy for whatever devices there are, unless an override names one."""
    if any(text.startswith("training.strategy=") for text in overrides):
        return loaded
    training = loaded.config.training.model_copy(update={"strategy": "auto"})
    return replace(loaded, config=loaded.config.model_copy(update={"training": training}))


def _count(number: int, name: str) -> str:
    return f"{number} {name}{'s' * (number != 1)}"


def check_same_workers(run: Run, here: int, what: Literal["workers", "replicas"] = "workers") -> None:
    """A run goes on with as many workers as it was trained with: others change the last digits of its figures.

    Args:
        here: How many would go on.
        what: Processes, or the devices of all of them.

    Raises:
        UsageError: if they are more or fewer here.
    """
    recorded = (run.read_environment().get("settings") or {}).get(what, 1)
    if recorded != here:
        name = "worker" if what == "workers" else "device"
        launch = f"launch --workers {recorded} " if what == "workers" and recorded > 1 else ""
        raise UsageError(
            f"the run `{run.path}` was trained by {_count(recorded, name)}, and here {_count(here, name)} would go on",
            f"Start as many: cnnkit {launch}train --resume {shlex.quote(str(run.path))}. Or add --allow-other-workers: "
            "it goes on with other last digits than it would have had, and environment.json says so.",
        )


def last_epoch(checkpoint: Checkpoint | None, course: Course, config: RunConfig, run: Run) -> int | None:
    """The epoch at which a resumed run ends, where it has ended already and lacks only what follows; else None.

    Args:
        course: Where the checkpoint was among the stages.

    Raises:
        UsageError: if nothing at all is left to do.
    """
    if checkpoint is None:
        return None
    done = checkpoint.epochs
    longer = _longer(config.training, course, done)
    if course.total < done:
        raise UsageError(
            f"the run `{run.path}` has trained {count_epochs(done)}; `training.epochs` is now {course.total}",
            f"What is trained stays. Leave it as it is, or train longer: {longer}",
        )
    ended_early = course.is_last and was_stopped(checkpoint, config.training)
    if not ended_early and done < course.total:
        return None
    if not is_complete(run):
        return done
    if ended_early:
        stopping = config.training.early_stopping
        assert stopping is not None
        waited = checkpoint.state["callbacks"]["early_stopping"]["wait"]
        raise UsageError(
            f"the run `{run.path}` ended by early stopping after epoch {done}: {stopping.monitor} had not improved for "
            f"{count_epochs(waited)}",
            f"To go on with more patience: --set training.early_stopping.patience={2 * waited + 1}",
        )
    raise UsageError(
        f"the run `{run.path}` has trained all its {course.total} epochs",
        f"To train longer: {longer}",
    )


def _longer(training: TrainingConfig, course: Course, done: int) -> str:
    """The option with which a run trains twice as long as it has."""
    if not training.stages:
        return f"--set training.epochs={2 * done}"
    before = course.total - training.stages[-1].epochs
    return f"--set {_last_stage(training)}.epochs={2 * done - before}"


def _last_stage(training: TrainingConfig) -> str:
    return f"training.stages[{len(training.stages) - 1}]"


@dataclass(frozen=True)
class Change:
    """A setting that a run was made with, and another value for it.

    Attributes:
        path: As `--set` takes it.
        before, now: The values, plain.
    """

    path: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.path} {_text(self.before)} -> {_text(self.now)}"

    @property
    def refusal(self) -> str:
        """Both values, for whoever asks for a change that is not taken."""
        return f"{self.path}: the run has {_text(self.before)}, here it is {_text(self.now)}"


def _text(value: Any) -> str:
    # Long lists differ in their length, if not in what a line shows of them.
    return describe(value) if isinstance(value, list) and len(value) > 3 else shorten(flow(value))


def check_same_config(before: RunConfig, now: RunConfig, run: Run) -> None:
    """A resumed run keeps its config but for `MAY_CHANGE`.

    Args:
        before: What the run was made with.
        now: What it is to go on with, see `with_settings_of`.

    Raises:
        UsageError: naming all that differs, with both values.
    """
    # The epochs of all stages together change with it.
    may_change = (*MAY_CHANGE, f"{_last_stage(before.training)}.epochs")
    refused = [change.refusal for change in changes(before, now) if change.path not in may_change]
    if refused:
        shown = refused if len(refused) <= _MOST_SHOWN else [*refused[: _MOST_SHOWN - 1], "..."]
        listed = "\n".join(f"  {text}" for text in shown)
        raise UsageError(
            f"the run `{run.path}` was made with another config:\n{listed}",
            f"A resumed run goes on as it began; only {', '.join(MAY_CHANGE[:-1])} and {MAY_CHANGE[-1]} may change"
            f"{', and the epochs of the last stage' if before.training.stages else ''}. "
            "For anything else, start a new run; with the weights of this one: cnnkit train CONFIG --init-from "
            f"{shlex.quote(str(run.path))}",
        )


def changes(before: RunConfig, now: RunConfig) -> list[Change]:
    """All in which two configs mean something else, however they are written."""
    return list(_changes(before, now, ()))


def _changes(before: Any, now: Any, path: Path) -> Iterator[Change]:
    if isinstance(before, StrictModel) and type(before) is type(now) and _name(before) == _name(now):
        inside = (*path, _name(before)) if isinstance(before, NamedObject) else path
        yield from _changes(_arguments(before), _arguments(now), inside)
    elif isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in dict.fromkeys([*before, *now]):
            yield from _changes(before.get(key), now.get(key), (*path, key))
    elif isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        for index, (one, other) in enumerate(zip(before, now, strict=True)):
            yield from _changes(one, other, (*path, index))
    elif before != now:
        yield Change(format_path(path), to_plain(before), to_plain(now))


def _name(value: StrictModel) -> str:
    """What the config calls an object; layers that stand for blocks go by the names of these."""
    return str(getattr(value, "kind", type(value).__name__))


def _arguments(value: StrictModel) -> Mapping[str, Any]:
    """All of them, so that a default means the same written or not; of what stands for a block, those that are written.

    The defaults of the block are compared where it is defined.
    """
    if isinstance(value, BlockCall | Unresolved):
        return value.arguments()
    return {name: getattr(value, name) for name in type(value).model_fields}
