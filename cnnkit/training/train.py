"""Training: one `fit`, what it leaves in the run directory; and resuming that."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.config.provenance import as_texts, written
from cnnkit.errors import CnnkitError, Interrupted, NonFiniteLoss
from cnnkit.files import replacing, write_atomically
from cnnkit.format.document import dump
from cnnkit.machine.environment import describe_environment
from cnnkit.network.summary import summarize
from cnnkit.runs.best import Monitor
from cnnkit.runs.directory import Run
from cnnkit.runs.finding import create_run, find_run
from cnnkit.runs.interface import CONCLUDED, INITIAL_WEIGHTS, initial_weights
from cnnkit.runs.progress import Reporter, StopRequested
from cnnkit.runs.trained import TrainedRun, open_run
from cnnkit.terminal.console import Console, format_duration
from cnnkit.training.ending import after_stop, count_epochs, failed_write, interruption, non_finite, resume_hint
from cnnkit.training.model import first_kernel
from cnnkit.training.preparation import Preparation, make_loop, prepare
from cnnkit.training.resuming import (
    Change,
    changes,
    check_own_beginning,
    check_same_config,
    last_epoch,
    where,
    with_settings_of,
)

if TYPE_CHECKING:
    from cnnkit.config.load import LoadedConfig
    from cnnkit.config.run import RunConfig
    from cnnkit.training.checkpoint import Checkpoint
    from cnnkit.training.initial_weights import InitialWeights
    from cnnkit.training.loop import Loop, Position
    from cnnkit.training.tune import Tuning


_HEADER = """\
# The config as it ran: sections with their defaults, every `auto` replaced, `extends` and `--set` merged in. Layers and
# other named objects have Keras' defaults where nothing is written. Train it again as it is.
"""


def _config_text(config: RunConfig, environment: Mapping[str, Any]) -> str:
    """config.yaml."""
    source = initial_weights(environment)
    begun = f"# The network began with weights of the run {source}: `--init-from`.\n" if source else ""
    return _HEADER + begun + dump(config.to_plain())


def train(
    loaded: LoadedConfig,
    console: Console,
    run_dir: str | None = None,
    tuning: Tuning | None = None,
    opened: Callable[[Run], None] | None = None,
    initial: InitialWeights | None = None,
) -> TrainedRun:
    """Trains the config's network and returns the run that holds what came of it.

    The run gets config.yaml, environment.json, metrics.csv, model.keras (the best epoch's weights), the checkpoint and
    the pictures. It is made only after the data are there and the model is built.

    Example:
        >>> trained = train(load_config("configs/digits.yaml"), Console(), "runs/first")
        >>> evaluate_run(trained)["accuracy"]

    Args:
        run_dir: The run's directory; by default the next free one under runs/.
        tuning: What was measured to find the config's settings, for the record.
        opened: Called with the run when its directory is there, before the first epoch.
        initial: The weights of another run to begin with, see `initial_weights.match_weights`.

    Raises:
        CnnkitError: if the data are missing or the loss becomes non-finite.
        Interrupted: on Ctrl-C.
    """
    # TensorFlow takes seconds to load; say at once that the config is all right.
    console.line(f"config    {loaded.file}")
    prepared = prepare(loaded, initial=initial)
    if tuning is not None and "jit" in tuning.tried:
        prepared.runtime = replace(prepared.runtime, reason="measured")
    run = create_run(loaded.name, run_dir)
    console.log = run.log
    reporter = Reporter(run, prepared.config.training.epochs, prepared.steps_per_epoch)
    with run.training(), _logged(console, run, reporter):
        console.record(f"config    {loaded.file}")
        if tuning is not None:
            console.record(tuning.as_text())
        _write_start(loaded, prepared, run, tuning, initial)
        reporter.begin()
        _describe(prepared, run, console, initial)
        if opened is not None:
            opened(run)
        return _train(prepared, run, console, reporter, loaded)


def resume(
    path: str,
    config: str | None,
    overrides: Sequence[str],
    console: Console,
    opened: Callable[[Run], None] | None = None,
) -> TrainedRun:
    """Continues a run from its last checkpoint, with the config that it was made with.

    Args:
        path: The run.
        config: A config file that must agree with the run's, or None.
        overrides: `--set` texts; those of `MAY_CHANGE` are taken.
        opened: As for `train`.

    Raises:
        UsageError: if anything else differs, or nothing is left to do.
        CnnkitError: if another process trains the run.
    """
    run = find_run(path)
    with run.training():
        run.remove_temporaries()
        return _resume(run, config, overrides, console, opened)


def _opened(run: Run, loaded: LoadedConfig, prepared: Preparation) -> TrainedRun:
    """The run with the config that it has been trained with, and the files that were listed for it."""
    config, info = prepared.config, prepared.data.info
    return open_run(run, replace(loaded, config=config, info=info, file=str(run.config), piped=False, notes=()))


def _concluded(trained: TrainedRun, prepared: Preparation) -> TrainedRun:
    """The run, in which is noted what its task has chosen for the trained network."""
    concluded = prepared.config.task.conclude(trained, prepared.data.validation)
    if concluded is not None:
        trained.note(CONCLUDED, concluded)
    return trained


def _resume(
    run: Run,
    config: str | None,
    overrides: Sequence[str],
    console: Console,
    opened: Callable[[Run], None] | None,
) -> TrainedRun:
    from cnnkit.config.dataset import DescribedImages
    from cnnkit.config.load import load_config
    from cnnkit.runs.config import config_to_train
    from cnnkit.training.checkpoint import read_checkpoint

    before = loaded = config_to_train(run)
    if config or overrides:
        described = DescribedImages(before.config.data, before.config.task, before.info)
        loaded = load_config(config or str(run.config), overrides, described=described)
    loaded = with_settings_of(before, loaded)
    check_same_config(before.config, loaded.config, run)
    checkpoint = read_checkpoint(run, summarize(loaded).parameters)
    if checkpoint is None:
        check_own_beginning(run)
    until = last_epoch(checkpoint, loaded.config, run)
    prepared = prepare(loaded)
    open_run(run).check_data(prepared.data.fingerprint)
    done = checkpoint.epochs if checkpoint else 0
    changed = changes(before.config, prepared.config)
    environment = _record_resume(run, done, loaded, changed)
    if changed:
        write_atomically(run.config, _config_text(prepared.config, environment))
    console.log = run.log
    epochs = prepared.config.training.epochs
    reporter = Reporter(run, epochs, prepared.steps_per_epoch)
    with _logged(console, run, reporter):
        reporter.begin(done)
        if until is None:
            console.line(f"resuming {run.path} {where(checkpoint, epochs, prepared.steps_per_epoch)}")
        else:
            console.line(f"resuming {run.path}, which has trained to its end, with what follows")
        for change in changed:
            console.line(f"changed   {change}")
        if epochs != before.config.training.epochs and prepared.config.training.schedule is not None:
            console.line(f"note: the schedule is now that of a run of {epochs} epochs")
        if opened is not None:
            opened(run)
        return _train(prepared, run, console, reporter, loaded, checkpoint, until)


def _record_resume(run: Run, epoch: int, loaded: LoadedConfig, changed: Sequence[Change]) -> dict[str, Any]:
    """Notes in environment.json that the run is gone on with; returns what that holds."""
    environment = run.read_environment()
    # It was chosen for a network that is about to learn more.
    environment.pop(CONCLUDED, None)
    resumed = {"after_epoch": epoch, **describe_environment()}
    if changed:
        resumed["changed"] = {change.path: [change.before, change.now] for change in changed}
    environment.setdefault("resumed", []).append(resumed)
    if "written" in environment:
        given = {path: place for path, place in written(loaded.tree).items() if place.override is not None}
        environment["written"] |= as_texts(given)
    run.write_json(run.environment, environment)
    return environment


@contextlib.contextmanager
def _logged(console: Console, run: Run, reporter: Reporter) -> Iterator[None]:
    """Leaves the reason in log.txt and in the run's state when it ends early."""
    try:
        yield
    except Exception as error:
        told = failed_write(error, run, reporter.epochs) if isinstance(error, OSError) else error
        # The log may lie on the disk that is full.
        with contextlib.suppress(OSError):
            console.record(str(told))
        reporter.end("interrupted" if isinstance(told, Interrupted) else "failed", str(told))
        if told is error:
            raise
        raise told from error
    except KeyboardInterrupt:
        # Outside `fit`: before the first epoch, or while the pictures are drawn.
        if run.has_checkpoint:
            interrupted = Interrupted(f"interrupted; what was learned is kept in {run.path}", resume_hint(run))
        else:
            interrupted = Interrupted("interrupted before the first epoch", "Start again with: cnnkit train")
        console.record(str(interrupted))
        reporter.end("interrupted", str(interrupted))
        raise interrupted from None
    finally:
        console.end_epoch()


def _train(
    prepared: Preparation,
    run: Run,
    console: Console,
    reporter: Reporter,
    loaded: LoadedConfig,
    checkpoint: Checkpoint | None = None,
    until: int | None = None,
) -> TrainedRun:
    """Trains, and writes what needs the trained network.

    Args:
        checkpoint: To go on from.
        until: The epoch to end with; by default the config's last.
    """
    # However training ends, the curves show what it did.
    try:
        keeper = _fit(prepared, run, console, reporter, checkpoint, until or prepared.config.training.epochs)
        reporter.end_training()
    except BaseException:
        # The reason why it ended is the one to be told.
        with contextlib.suppress(CnnkitError, OSError):
            _write_curves(run, prepared.config)
        raise
    _write_curves(run, prepared.config)
    seconds = sum(row["seconds"] for row in keeper.rows)
    by = f" by {keeper.monitor.metric}" if prepared.config.training.monitor is not None else ""
    best = f"; best epoch {keeper.best_epoch}{by}" if keeper.best_epoch is not None else ""
    trained = f"trained {count_epochs(len(keeper.rows))} in {format_duration(seconds)}{best}"
    if reporter.stopped:
        stopped = after_stop(keeper, run)
        console.line(stopped)
    console.line(trained)
    try:
        _write_filters(run, keeper.saved_model)
    except CnnkitError as error:
        # An earlier process wrote what it is drawn from, and that is damaged; the training is not.
        console.line(f"note: the filters are not drawn: {error.message}")
    concluded = _concluded(_opened(run, loaded, prepared), prepared)
    reporter.end("stopped" if reporter.stopped else "finished", stopped if reporter.stopped else trained)
    return concluded


def _write_start(
    loaded: LoadedConfig, prepared: Preparation, run: Run, tuning: Tuning | None, initial: InitialWeights | None
) -> None:
    write_atomically(run.config_source, loaded.text)
    data, model = prepared.data, prepared.model
    assert data.train is not None
    sizes = {"train": data.train.size, "validation": data.validation.size if data.validation else 0}
    environment = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        **describe_environment(),
        "config_file": loaded.file,
        "written": as_texts(written(loaded.tree)),
        "monitor": Monitor.of_config(prepared.config.training, prepared.config.task).as_json(),
        "settings": prepared.runtime.as_json(),
        **({"tuning": tuning.as_json()} if tuning is not None else {}),
        **({INITIAL_WEIGHTS: initial.as_json()} if initial is not None else {}),
        "data": {
            "source": data.info.source,
            "fingerprint": data.fingerprint,
            "image_shape": list(data.info.shape),
            "resize": loaded.config.data.resize,
            "max_megapixels": loaded.config.data.max_megapixels,
            **({"padding": list(data.info.padding)} if any(data.info.padding) else {}),
            "class_names": list(prepared.class_names),
            "images": sizes,
        },
        "model": {
            "head": prepared.head,
            "parameters": int(model.count_params()),
            "normalization": _constants(model),
        },
    }
    run.write_json(run.environment, environment)
    kernel = first_kernel(model)
    if kernel is not None:
        with replacing(run.initial_filters) as temporary:
            np.save(temporary, kernel)
    if initial is not None:
        # A resumed run needs nothing of the other one.
        from cnnkit.training.checkpoint import save_beginning

        save_beginning(run, model)
    # The last one: a folder with a config is a run that can be gone on with, whenever its process was killed.
    write_atomically(run.config, _config_text(prepared.config, environment))


def _constants(model: Any) -> dict[str, list[float]] | None:
    for layer in model.layers:
        if layer.name == "normalization":
            return {
                "mean": np.asarray(layer.input_mean, np.float64).ravel().tolist(),
                "variance": np.asarray(layer.input_variance, np.float64).ravel().tolist(),
            }
    return None


def _describe(prepared: Preparation, run: Run, console: Console, initial: InitialWeights | None) -> None:
    data, config = prepared.data, prepared.config
    assert data.train is not None
    validation = f", {data.validation.size:,} to validate" if data.validation is not None else ""
    shape = "x".join(str(size) for size in data.info.shape)
    streamed = "; images are decoded as they are read" if data.memory == "stream" else ""
    console.line(f"run       {run.path}")
    console.line(
        f"data      {config.data.source}: {data.train.size:,} images {shape} to train{validation}, "
        f"{data.info.classes} {data.info.target.plural}{streamed}"
    )
    for note in data.notes:
        console.line(f"note: {note}")
    console.line(
        f"model     {prepared.model.count_params():,} parameters, {len(config.model.layers)} layers, "
        f"{prepared.steps_per_epoch:,} steps of {config.data.batch_size} per epoch"
    )
    if initial is not None:
        console.line(f"weights   {initial.as_text()}")
        for line in initial.as_lines():
            console.record(line)
        for note in initial.notes:
            console.line(f"note: {note}")
    console.line(f"settings  {prepared.runtime.as_text()}")


def _fit(
    prepared: Preparation,
    run: Run,
    console: Console,
    reporter: Reporter,
    checkpoint: Checkpoint | None,
    epochs: int,
) -> Any:
    """The training loop, up to a request to stop if one comes; returns the callback that kept the rows."""
    import keras

    from cnnkit.training import callbacks, signals
    from cnnkit.training.live_files import LiveFiles, snapshots_of
    from cnnkit.training.loop import Position
    from cnnkit.training.schedules import EpochRate

    config, data = prepared.config, prepared.data
    clock = callbacks.EpochClock()
    averaged = callbacks.AveragedWeights() if config.training.optimizer.use_ema else None
    stateful: dict[str, Any] = {}
    if prepared.plateau is not None:
        stateful["plateau"] = prepared.plateau
    if config.training.early_stopping is not None:
        stateful["early_stopping"] = keras.callbacks.EarlyStopping(**config.training.early_stopping.to_plain())
    stateful["rate"] = EpochRate()
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
    live = LiveFiles(
        reporter, keeper, snapshots_of(prepared, run, reporter, averaged, is_resumed=checkpoint is not None)
    )
    in_order = [clock, progress, averaged, *stateful.values(), _tensorboard(config, run), keeper, live]
    start = Position(checkpoint.epochs, checkpoint.step) if checkpoint else Position()
    with signals.waiting() as begin_waiting:
        # The first execution is traced, and nothing is lost with it.
        stepped = keras.callbacks.LambdaCallback(on_train_batch_end=lambda *_: begin_waiting())
        heard = [callback for callback in (*in_order, stepped) if callback is not None]
        loop = make_loop(prepared, heard, epochs, signals.requested)
        _run(loop, prepared, run, keeper, start, epochs)
    return keeper


def _run(loop: Loop, prepared: Preparation, run: Run, keeper: Any, start: Position, epochs: int) -> None:
    """Runs the loop, and turns what ends it early into what the user is told."""
    import tensorflow as tf

    from cnnkit.data import naming_corrupt_files
    from cnnkit.training.loop import Ended

    config, data = prepared.config, prepared.data
    try:
        with naming_corrupt_files(data.train, data.validation):
            try:
                loop.run(epochs, start)
            except Ended:
                # Between two looks at the loss, a weight may have become infinite: the checkpoint before is better.
                keeper.check_variables()
                keeper.keep(loop.position.epoch, loop.position.step)
                raise interruption(keeper, run) from None
    except StopRequested:
        keeper.console.end_epoch()
    except KeyboardInterrupt:
        raise interruption(keeper, run) from None
    except NonFiniteLoss as error:
        raise non_finite(error, keeper, run) from None
    except (MemoryError, tf.errors.ResourceExhaustedError):
        raise CnnkitError(
            f"training in batches of {config.data.batch_size} does not fit in memory",
            f"Lower `data.batch_size`, or make the network smaller. Kept in {run.path}: {keeper.kept} epochs.",
        ) from None


def _tensorboard(config: RunConfig, run: Run) -> Any:
    if not config.training.tensorboard:
        return None
    from cnnkit.training.event_files import EventFiles

    return EventFiles(run.tensorboard)


def _write_curves(run: Run, config: RunConfig) -> None:
    rows = run.read_metrics()
    if rows:
        from cnnkit import plots

        best = Monitor.of_config(config.training, config.task).best_epoch(rows)
        plots.curves(rows, run.curves, config.task.columns, best)


def _write_filters(run: Run, best_model: Any) -> None:
    """The first layer's filters before and after training, the best epoch's.

    Args:
        best_model: What model.keras holds, or None where an earlier process wrote it.
    """
    if not run.initial_filters.exists():
        return
    from cnnkit import plots
    from cnnkit.runs.arrays import read_array

    after = first_kernel(open_run(run).model if best_model is None else best_model)
    if after is not None:
        plots.filters(read_array(run, run.initial_filters), after, run.filters)
