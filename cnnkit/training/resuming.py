"""What a resumed run may change, and where it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from cnnkit.errors import UsageError
from cnnkit.format.base import StrictModel
from cnnkit.runs.directory import Run
from cnnkit.runs.progress import is_complete
from cnnkit.training.ending import count_epochs
from cnnkit.training.settings import SETTINGS

if TYPE_CHECKING:
    from cnnkit.config.load import LoadedConfig
    from cnnkit.config.run import RunConfig
    from cnnkit.training.checkpoint import Checkpoint


def where(checkpoint: Checkpoint | None, epochs: int, steps: int) -> str:
    """Where a run is gone on with, in words."""
    if checkpoint is None:
        return "from its beginning; it was killed before its first checkpoint"
    within = f", step {checkpoint.step:,} of {steps:,}" if checkpoint.step else ""
    return f"after epoch {checkpoint.epochs} of {epochs}{within}"


def with_settings_of(before: LoadedConfig, loaded: LoadedConfig) -> LoadedConfig:
    """The config with what ran before in place of its `auto`, so that the figures go on as they would have."""
    training = loaded.config.training
    kept = {name: getattr(before.config.training, name) for name in SETTINGS if getattr(training, name) == "auto"}
    config = loaded.config.model_copy(update={"training": training.model_copy(update=kept)})
    return replace(loaded, config=config)


def last_epoch(checkpoint: Checkpoint | None, config: RunConfig, run: Run) -> int | None:
    """The epoch at which a resumed run ends, where it has ended already and lacks only what follows; else None.

    Raises:
        UsageError: if nothing at all is left to do.
    """
    if checkpoint is None:
        return None
    state, done = checkpoint.state, checkpoint.epochs
    stopping = config.training.early_stopping
    waited = state["callbacks"].get("early_stopping", {}).get("wait", 0)
    # With more patience than it has waited, the run would not have stopped.
    ended_early = state["stopped"] and stopping is not None and waited >= stopping.patience
    if not ended_early and done < config.training.epochs:
        return None
    if not is_complete(run):
        return done
    if ended_early:
        assert stopping is not None
        raise UsageError(
            f"the run `{run.path}` ended by early stopping after epoch {done}: {stopping.monitor} had not improved for "
            f"{count_epochs(waited)}",
            f"To go on with more patience: --set training.early_stopping.patience={2 * waited + 1}",
        )
    raise UsageError(
        f"the run `{run.path}` has trained all its {config.training.epochs} epochs",
        f"To train longer: --set training.epochs={2 * config.training.epochs}",
    )


def check_same_config(before: RunConfig, now: RunConfig) -> None:
    """A resumed run keeps its config; how long it may train, and where the images are, may change.

    Raises:
        UsageError: naming what differs.
    """
    runtime_fields = {f"training.{name}" for name in SETTINGS if getattr(now.training, name) == "auto"}
    # The batches are the same whether images are kept in memory or decoded as they are read.
    free = {
        "training.epochs",
        "training.early_stopping.patience",
        "training.checkpoint_minutes",
        "data.memory",
        *runtime_fields,
    }
    differences = [path for path in _differences(before, now, "") if path not in free]
    if differences:
        raise UsageError(
            f"the run was made with another config: {', '.join(differences[:5])} differ",
            "A resumed run goes on as it began; only training.epochs, training.early_stopping.patience, "
            "training.checkpoint_minutes and data.memory may change. Start a new run for the rest.",
        )


def _differences(before: Any, now: Any, path: str) -> Sequence[str]:
    """The paths at which two configs mean something else, however they are written."""
    if isinstance(before, StrictModel) and type(before) is type(now):
        return [
            found
            for name in type(before).model_fields
            for found in _differences(getattr(before, name), getattr(now, name), f"{path}.{name}" if path else name)
        ]
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        pairs = enumerate(zip(before, now, strict=True))
        return [found for index, (a, b) in pairs for found in _differences(a, b, f"{path}[{index}]")]
    return [] if before == now else [path]
