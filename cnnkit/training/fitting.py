"""One training, to its last epoch or a request to stop: the loop with the callbacks of the chief, or of a follower."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cnnkit.errors import CnnkitError, Interrupted, NonFiniteLoss
from cnnkit.runs.best import Monitor
from cnnkit.runs.directory import Run
from cnnkit.runs.progress import Reporter, StopRequested
from cnnkit.terminal.console import Console
from cnnkit.training.ending import interruption, lost_worker, non_finite
from cnnkit.training.preparation import Preparation, make_loop

if TYPE_CHECKING:
    from cnnkit.config.run import RunConfig
    from cnnkit.training.checkpoint import Checkpoint


def fit(
    prepared: Preparation,
    run: Run,
    console: Console,
    reporter: Reporter,
    checkpoint: Checkpoint | None,
    epochs: int,
) -> Any:
    """Trains and writes what comes of it to the run.

    Args:
        checkpoint: To go on from.
        epochs: To end with.

    Returns:
        The callback that kept the rows, see `callbacks.Keeper`.

    Raises:
        Interrupted: if Ctrl-C or a signal has ended it.
        CnnkitError: if the loss became non-finite, there is not enough memory, or another worker is gone.
    """
    from cnnkit.training import callbacks
    from cnnkit.training.live_files import LiveFiles, snapshots_of

    config, data = prepared.config, prepared.data
    clock = callbacks.EpochClock()
    averaged, stateful = _changing(prepared)
    assert data.train is not None
    batch_size, minutes = config.data.batch_size, config.training.checkpoint_minutes
    keeper = callbacks.Keeper(
        run,
        console,
        clock,
        averaged,
        stateful,
        columns=config.task.columns,
        epochs=config.training.epochs,
        images=min(data.train.size, prepared.steps_per_epoch * batch_size),
        monitor=Monitor.of_config(config.training, config.task),
        checkpoint=checkpoint,
        checkpoint_seconds=None if minutes is None else 60.0 * minutes,
        image_shape=data.info.shape,
    )
    progress = callbacks.Progress(
        console,
        reporter,
        config.task.columns,
        epochs=config.training.epochs,
        steps=prepared.steps_per_epoch,
        batch_size=batch_size,
    )
    restoring = _restoring(prepared, checkpoint, clock, stateful)
    live = LiveFiles(
        reporter, keeper, snapshots_of(prepared, run, reporter, averaged, is_resumed=checkpoint is not None)
    )
    in_order = [clock, progress, averaged, *stateful.values(), restoring, _tensorboard(config, run), keeper, live]
    with _told(prepared, run, keeper):
        _run(prepared, in_order, checkpoint, epochs)
    return keeper


def follow(prepared: Preparation, run: Run, checkpoint: Checkpoint | None, epochs: int) -> None:
    """Trains along with the chief, and writes nothing.

    Args:
        run: The chief's.
        checkpoint, epochs: As for `fit`.

    Raises:
        Interrupted, CnnkitError: as for `fit`.
    """
    from cnnkit.training import callbacks

    clock = callbacks.EpochClock()
    averaged, stateful = _changing(prepared)
    restoring = _restoring(prepared, checkpoint, clock, stateful)
    with _told(prepared, run, None):
        _run(prepared, [clock, averaged, *stateful.values(), restoring, callbacks.FiniteLoss()], checkpoint, epochs)


def _changing(prepared: Preparation) -> tuple[Any, dict[str, Any]]:
    """The callbacks that training depends on: the averaged weights, and those with a state, by name."""
    import keras

    from cnnkit.training.callbacks import AveragedWeights
    from cnnkit.training.schedules import EpochRate

    training = prepared.config.training
    stateful: dict[str, Any] = {}
    if prepared.plateau is not None:
        stateful["plateau"] = prepared.plateau
    if training.early_stopping is not None:
        stateful["early_stopping"] = keras.callbacks.EarlyStopping(**training.early_stopping.to_plain())
    stateful["rate"] = EpochRate()
    return AveragedWeights() if training.optimizer.use_ema else None, stateful


def _restoring(prepared: Preparation, checkpoint: Checkpoint | None, clock: Any, stateful: dict[str, Any]) -> Any:
    if checkpoint is None:
        return None
    from cnnkit.training.callbacks import Restoring

    return Restoring(checkpoint, clock, stateful, prepared.runtime.devices)


def _run(prepared: Preparation, in_order: Sequence[Any], checkpoint: Checkpoint | None, epochs: int) -> None:
    import keras

    from cnnkit.data import naming_corrupt_files
    from cnnkit.training import signals
    from cnnkit.training.loop import Position

    start = Position(checkpoint.epochs, checkpoint.step) if checkpoint else Position()
    with signals.waiting() as begin_waiting:
        # The first execution is traced, and nothing is lost with it.
        stepped = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_: begin_waiting())
        heard = [callback for callback in (*in_order, stepped) if callback is not None]
        loop = make_loop(prepared, heard, epochs, signals.requested)
        with naming_corrupt_files(prepared.data.train, prepared.data.validation):
            loop.run(epochs, start)


@contextlib.contextmanager
def _told(prepared: Preparation, run: Run, keeper: Any) -> Iterator[None]:
    """Turns what ends the loop early into what the user is told.

    Args:
        keeper: The chief's; None on another worker.
    """
    import tensorflow as tf

    from cnnkit.training.loop import Ended

    try:
        yield
    except Ended as ended:
        interrupted = Interrupted("interrupted") if keeper is None else interruption(keeper, run)
        # The signal may have come to another worker.
        interrupted.exit_code = 128 + ended.signal
        raise interrupted from None
    except StopRequested:
        if keeper is not None:
            keeper.console.end_epoch()
    except KeyboardInterrupt:
        raise (Interrupted("interrupted") if keeper is None else interruption(keeper, run)) from None
    except NonFiniteLoss as error:
        if keeper is None:
            raise
        raise non_finite(error, keeper, run) from None
    except (MemoryError, tf.errors.ResourceExhaustedError):
        kept = "" if keeper is None else f" Kept in {run.path}: {keeper.kept} epochs."
        raise CnnkitError(
            f"training in batches of {prepared.config.data.batch_size} does not fit in memory",
            f"Lower `data.batch_size`, or make the network smaller.{kept}",
        ) from None
    except tf.errors.OpError as error:
        # The kind of error depends on how the other one has gone.
        if prepared.runtime.devices.workers == 1 or "ollective" not in str(error.message):
            raise
        raise lost_worker(error, run) from None


def _tensorboard(config: RunConfig, run: Run) -> Any:
    if not config.training.tensorboard:
        return None
    from cnnkit.training.event_files import EventFiles

    return EventFiles(run.tensorboard)
