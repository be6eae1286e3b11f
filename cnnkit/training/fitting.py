"""One training, to its last epoch or a request to stop: the loop with the callbacks of the chief, or of a follower."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
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
    until: int | None,
) -> Any:
    """Trains and writes what comes of it to the run.

    Args:
        checkpoint: To go on from.
        until: The epoch to end with, where the run has come to its end already.

    Returns:
        The callback that kept the rows, see `callbacks.Keeper`.

    Raises:
        Interrupted: if Ctrl-C or a signal has ended it.
        CnnkitError: if the loss became non-finite, there is not enough memory, or another worker is gone.
    """
    from cnnkit.training import callbacks
    from cnnkit.training.live_files import LiveFiles, snapshots_of

    config, data, course = prepared.config, prepared.data, prepared.course
    clock = callbacks.EpochClock()
    minutes = config.training.checkpoint_minutes
    keeper = callbacks.Keeper(
        run,
        console,
        clock,
        columns=config.task.columns,
        course=course,
        images=prepared.images_per_epoch,
        samples=config.data.sample.plural,
        monitor=Monitor.of_config(config.training, config.task),
        checkpoint=checkpoint,
        checkpoint_seconds=None if minutes is None else 60.0 * minutes,
        image_shape=data.info.shape,
        network=config.task.kept,
    )
    progress = callbacks.Progress(
        console,
        reporter,
        config.task.columns,
        course=course,
        steps=prepared.steps_per_epoch,
        batch_size=config.data.batch_size,
        samples=config.data.sample.plural,
    )
    live = LiveFiles(reporter, keeper, snapshots_of(prepared, run, reporter, keeper, is_resumed=checkpoint is not None))
    tensorboard = _tensorboard(config, run)

    def in_order(averaged: Any, stateful: dict[str, Any], restoring: Any) -> list[Any]:
        """The callbacks of a stage."""
        if config.training.stages:
            plan = prepared.plan
            if course.ended_early:
                console.line(f"note: early stopping ended stage {course.stage} after {course.ended_early}")
            stage = f"{course.stage + 1} of {len(course.lengths)}, {plan.epochs_text(course.end)}"
            console.line(f"stage     {stage}: {plan.as_text()}")
        reporter.plan(course.total)
        keeper.begin_stage(averaged, stateful)
        own = config.task.callbacks(prepared, run)
        return [clock, progress, averaged, *stateful.values(), restoring, *own, tensorboard, keeper, live]

    if until is not None and keeper.rows:
        # It may be what is missing or broken, and no epoch follows that would write it.
        run.write_metrics(keeper.rows)
    with _told(prepared, run, keeper):
        _run(prepared, in_order, clock, checkpoint, until)
    return keeper


def follow(prepared: Preparation, run: Run, checkpoint: Checkpoint | None, until: int | None) -> None:
    """Trains along with the chief, and writes nothing.

    Args:
        run: The chief's.
        checkpoint, until: As for `fit`.

    Raises:
        Interrupted, CnnkitError: as for `fit`.
    """
    from cnnkit.training import callbacks

    clock = callbacks.EpochClock()

    def in_order(averaged: Any, stateful: dict[str, Any], restoring: Any) -> list[Any]:
        return [clock, averaged, *stateful.values(), restoring, callbacks.FiniteLoss()]

    with _told(prepared, run, None):
        _run(prepared, in_order, clock, checkpoint, until)


def _changing(prepared: Preparation) -> tuple[Any, dict[str, Any]]:
    """The callbacks that a stage depends on: the averaged weights, and those with a state, by name."""
    import keras

    from cnnkit.training.callbacks import AveragedWeights
    from cnnkit.training.schedules import EpochRate

    training = prepared.plan.training
    stateful: dict[str, Any] = {}
    if prepared.plateau is not None:
        stateful["plateau"] = prepared.plateau
    if training.early_stopping is not None:
        arguments = training.early_stopping.to_plain()
        # Keras counts the epochs of the run, and the config those of the stage.
        first = training.early_stopping.start_from_epoch + prepared.course.begins[-1]
        stateful["early_stopping"] = keras.callbacks.EarlyStopping(**{**arguments, "start_from_epoch": first})
    stateful["rate"] = EpochRate()
    return AveragedWeights() if training.optimizer.use_ema else None, stateful


def _restoring(prepared: Preparation, checkpoint: Checkpoint | None, clock: Any, stateful: dict[str, Any]) -> Any:
    if checkpoint is None:
        return None
    from cnnkit.training.callbacks import Restoring

    return Restoring(checkpoint, clock, stateful, prepared.runtime.devices)


def _run(
    prepared: Preparation,
    in_order: Callable[[Any, dict[str, Any], Any], Sequence[Any]],
    clock: Any,
    checkpoint: Checkpoint | None,
    until: int | None,
) -> None:
    """Runs a loop for each stage that is left.

    Args:
        in_order: The callbacks of a stage, of those that it depends on and of what restores it; None among them counts
            for nothing.
    """
    import keras

    from cnnkit.data import naming_corrupt_files
    from cnnkit.training import signals
    from cnnkit.training.loop import Position

    course = prepared.course
    start = Position(checkpoint.epochs, checkpoint.step) if checkpoint else Position()
    if checkpoint is not None and until is None and course.has_ended(checkpoint, prepared.config.training):
        # It was written at the stage's end.
        checkpoint.restore(prepared.model)
        checkpoint = None
        prepared.begin_next_stage(start.epoch)
    with (
        signals.waiting() as begin_waiting,
        naming_corrupt_files(prepared.data.train, prepared.data.validation),
    ):
        # The first execution is traced, and nothing is lost with it.
        stepped = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_: begin_waiting())
        while True:
            averaged, stateful = _changing(prepared)
            of_stage = in_order(averaged, stateful, _restoring(prepared, checkpoint, clock, stateful))
            heard = [callback for callback in (*of_stage, stepped) if callback is not None]
            epochs = until or course.end
            loop = make_loop(prepared, heard, epochs, signals.requested)
            loop.run(epochs, start)
            if until is not None or course.is_last:
                return
            start, checkpoint = loop.position, None
            prepared.begin_next_stage(start.epoch)


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
