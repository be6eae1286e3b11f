"""Training: one `fit`, what it leaves in the run directory; and resuming that."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit.config.provenance import as_texts, written
from cnnkit.errors import CnnkitError, Interrupted
from cnnkit.files import replacing, write_atomically
from cnnkit.format.document import dump
from cnnkit.machine.devices import is_follower, together, workers_here
from cnnkit.machine.environment import describe_environment
from cnnkit.network.summary import summarize
from cnnkit.runs.best import Monitor
from cnnkit.runs.directory import Run
from cnnkit.runs.finding import create_run, find_run
from cnnkit.runs.interface import CONCLUDED, INITIAL_WEIGHTS, LEARNED_WEIGHTS, STAGES, initial_weights
from cnnkit.runs.progress import Reporter
from cnnkit.runs.trained import TrainedRun, open_run
from cnnkit.terminal.console import Console, format_duration
from cnnkit.texts.words import as_lines
from cnnkit.training.course import Course
from cnnkit.training.ending import after_stop, count_epochs, failed_write, resume_hint
from cnnkit.training.fitting import fit, follow
from cnnkit.training.learned_weights import open_learned
from cnnkit.training.model import first_kernel
from cnnkit.training.preparation import Preparation, prepare
from cnnkit.training.resuming import (
    Change,
    changes,
    check_own_beginning,
    check_same_config,
    check_same_workers,
    last_epoch,
    where,
    with_settings_of,
    without_strategy,
)

if TYPE_CHECKING:
    from cnnkit.config.load import LoadedConfig
    from cnnkit.config.run import RunConfig
    from cnnkit.training.checkpoint import Checkpoint
    from cnnkit.training.initial_weights import InitialWeights
    from cnnkit.training.learned_weights import LearnedWeights
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
    learned = open_learned(loaded, () if initial is None else initial.taken)
    prepared = prepare(loaded, initial=initial, learned=learned)
    devices = prepared.runtime.devices
    if not devices.is_chief:
        # The chief makes the run.
        return _follow(prepared, Run(Path(devices.broadcast(""))), loaded, opened)
    if tuning is not None and "jit" in tuning.tried:
        prepared.runtime = replace(prepared.runtime, reason="measured")
    run = create_run(loaded.name, run_dir)
    console.log = run.log
    reporter = Reporter(run, prepared.config.training.epochs, prepared.steps_per_epoch)
    with run.training(), _logged(console, run, reporter):
        console.record(f"config    {loaded.file}")
        if tuning is not None:
            console.record(tuning.as_text())
        _write_start(loaded, prepared, run, tuning, initial, learned)
        reporter.begin()
        _describe(prepared, run, console, initial, learned)
        if opened is not None:
            opened(run)
        devices.broadcast(str(run.path.absolute()))
        return _train(prepared, run, console, reporter, loaded)


def resume(
    path: str,
    config: str | None,
    overrides: Sequence[str],
    console: Console,
    opened: Callable[[Run], None] | None = None,
    *,
    allow_other_workers: bool = False,
) -> TrainedRun:
    """Continues a run from its last checkpoint, with the config that it was made with.

    Args:
        path: The run.
        config: A config file that must agree with the run's, or None.
        overrides: `--set` texts; those of `MAY_CHANGE` are taken.
        opened: As for `train`.
        allow_other_workers: Whether the run may go on with another number of devices than it was trained with, which
            changes the last digits of its figures.

    Raises:
        UsageError: if anything else differs, or nothing is left to do.
        CnnkitError: if another process trains the run.
    """
    from cnnkit.runs.config import config_to_train

    run = find_run(path)
    before = config_to_train(run)
    if is_follower(before.config.training.strategy):
        return _resume(run, before, config, overrides, console, opened, allow_other_workers)
    with run.training():
        run.remove_temporaries()
        return _resume(run, before, config, overrides, console, opened, allow_other_workers)


def _opened(run: Run, loaded: LoadedConfig, prepared: Preparation) -> TrainedRun:
    """The run with the config that it has been trained with, and the files that were listed for it."""
    config, info = prepared.config, prepared.data.info
    return open_run(run, replace(loaded, config=config, info=info, file=str(run.config), piped=False, notes=()))


def _concluded(trained: TrainedRun, prepared: Preparation) -> TrainedRun:
    """The run, in which is noted what its task has chosen for the trained network."""
    devices = prepared.runtime.devices
    with together(devices):
        concluded = prepared.config.task.conclude(trained, prepared.data.validation)
    if concluded is not None and devices.is_chief:
        trained.note(CONCLUDED, concluded)
    # From here on, all workers read the same.
    devices.wait()
    return trained


def _follow(
    prepared: Preparation,
    run: Run,
    loaded: LoadedConfig,
    opened: Callable[[Run], None] | None,
    checkpoint: Checkpoint | None = None,
    until: int | None = None,
) -> TrainedRun:
    """Trains along with the chief, whose run it is."""
    if opened is not None:
        opened(run)
    follow(prepared, run, checkpoint, until)
    # What the chief writes is there: the training has ended for all.
    prepared.runtime.devices.wait()
    return _concluded(_opened(run, loaded, prepared), prepared)


def _resume(
    run: Run,
    before: LoadedConfig,
    config: str | None,
    overrides: Sequence[str],
    console: Console,
    opened: Callable[[Run], None] | None,
    allow_other_workers: bool,
) -> TrainedRun:
    from cnnkit.config.dataset import DescribedImages
    from cnnkit.config.load import load_config
    from cnnkit.training.checkpoint import read_checkpoint

    loaded = before
    if config or overrides:
        described = DescribedImages(before.config.data, before.config.task, before.info)
        loaded = load_config(config or str(run.config), overrides, described=described)
    if allow_other_workers:
        loaded = without_strategy(loaded, overrides)
        check_same_config(without_strategy(before, ()).config, without_strategy(loaded, ()).config, run)
    else:
        check_same_workers(run, workers_here(loaded.config.training.strategy))
    loaded = with_settings_of(before, loaded, but=("strategy",) if allow_other_workers else ())
    if not allow_other_workers:
        check_same_config(before.config, loaded.config, run)
    checkpoint = read_checkpoint(run, summarize(loaded).parameters)
    if checkpoint is None:
        check_own_beginning(run)
    course = Course.of(loaded.config.training, checkpoint)
    until = last_epoch(checkpoint, course, loaded.config, run)
    prepared = prepare(loaded, course=course)
    open_run(run).check_data(prepared.data.fingerprint)
    done = checkpoint.epochs if checkpoint else 0
    devices = prepared.runtime.devices
    if not allow_other_workers:
        check_same_workers(run, devices.replicas, what="replicas")
    if not devices.is_chief:
        devices.broadcast("")
        return _follow(prepared, run, loaded, opened, checkpoint, until)
    changed = changes(before.config, prepared.config)
    environment = _record_resume(run, done, loaded, changed, prepared)
    if changed:
        write_atomically(run.config, _config_text(prepared.config, environment))
    console.log = run.log
    epochs = course.total
    reporter = Reporter(run, epochs, prepared.steps_per_epoch)
    with _logged(console, run, reporter):
        reporter.begin(done)
        if until is None:
            console.line(f"resuming {run.path} {where(checkpoint, epochs, prepared.steps_per_epoch)}")
        else:
            console.line(f"resuming {run.path}, which has trained to its end, with what follows")
        for change in changed:
            console.line(f"changed   {change}")
        last = prepared.plans[-1].training
        if prepared.config.training.epochs != before.config.training.epochs and last.schedule is not None:
            what = "stage" if prepared.config.training.stages else "run"
            console.line(f"note: the schedule is now that of a {what} of {last.epochs} epochs")
        if opened is not None:
            opened(run)
        devices.broadcast(str(run.path.absolute()))
        return _train(prepared, run, console, reporter, loaded, checkpoint, until)


def _record_resume(
    run: Run, epoch: int, loaded: LoadedConfig, changed: Sequence[Change], prepared: Preparation
) -> dict[str, Any]:
    """Notes in environment.json that the run is gone on with; returns what that holds."""
    runtime = prepared.runtime
    environment = run.read_environment() | _noted_stages(prepared)
    # It was chosen for a network that is about to learn more.
    environment.pop(CONCLUDED, None)
    resumed = {"after_epoch": epoch, **describe_environment()}
    if changed:
        resumed["changed"] = {change.path: [change.before, change.now] for change in changed}
    settings = environment.get("settings") or {}
    if settings.get("replicas", 1) != runtime.devices.replicas:
        resumed["replicas"] = [settings.get("replicas", 1), runtime.devices.replicas]
        environment["settings"] = {**settings, **runtime.as_json()}
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
        until: The epoch to end with, where the run has come to its end already.
    """
    # However training ends, the curves show what it did.
    try:
        keeper = fit(prepared, run, console, reporter, checkpoint, until)
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
    prepared.runtime.devices.wait()
    concluded = _concluded(_opened(run, loaded, prepared), prepared)
    reporter.end("stopped" if reporter.stopped else "finished", stopped if reporter.stopped else trained)
    return concluded


def _write_start(
    loaded: LoadedConfig,
    prepared: Preparation,
    run: Run,
    tuning: Tuning | None,
    initial: InitialWeights | None,
    learned: Sequence[LearnedWeights],
) -> None:
    write_atomically(run.config_source, loaded.text)
    data, model = prepared.data, prepared.network
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
        **({LEARNED_WEIGHTS: [weights.as_json() for weights in learned]} if learned else {}),
        "data": {
            "source": data.info.source,
            "fingerprint": data.fingerprint,
            "image_shape": list(data.info.data_shape),
            "resize": loaded.config.data.resize,
            "max_megapixels": loaded.config.data.max_megapixels,
            **({"padding": list(data.info.padding)} if any(data.info.padding) else {}),
            "class_names": list(prepared.class_names),
            **data.info.sample.noted,
            "images": sizes,
        },
        "model": {
            "head": prepared.head,
            "parameters": int(model.count_params()),
            "normalization": _constants(model),
        },
        **_noted_stages(prepared),
    }
    run.write_json(run.environment, environment)
    if data.info.sample.vocabulary is not None:
        write_atomically(run.words, as_lines(data.info.sample.vocabulary.words))
    kernel = first_kernel(model)
    if kernel is not None:
        with replacing(run.initial_filters) as temporary:
            np.save(temporary, kernel)
    if initial is not None or learned:
        # A resumed run needs nothing of what they came from.
        from cnnkit.training.checkpoint import save_beginning

        save_beginning(run, model)
    # The last one: a folder with a config is a run that can be gone on with, whenever its process was killed.
    write_atomically(run.config, _config_text(prepared.config, environment))


def _noted_stages(prepared: Preparation) -> dict[str, Any]:
    """What environment.json says of the stages, where there are any."""
    return {STAGES: [plan.as_json() for plan in prepared.plans]} if prepared.config.training.stages else {}


def _constants(model: Any) -> dict[str, list[float]] | None:
    for layer in model.layers:
        if layer.name == "normalization":
            return {
                "mean": np.asarray(layer.input_mean, np.float64).ravel().tolist(),
                "variance": np.asarray(layer.input_variance, np.float64).ravel().tolist(),
            }
    return None


def _describe(
    prepared: Preparation,
    run: Run,
    console: Console,
    initial: InitialWeights | None,
    learned: Sequence[LearnedWeights],
) -> None:
    data, config = prepared.data, prepared.config
    assert data.train is not None
    validation = f", {data.validation.size:,} to validate" if data.validation is not None else ""
    shape = "x".join(str(size) for size in data.info.data_shape)
    streamed = f"; {config.data.sample.plural} are read as they are needed" if data.memory == "stream" else ""
    console.line(f"run       {run.path}")
    console.line(
        f"data      {config.data.source}: {data.train.size:,} {config.data.sample.plural} {shape} to "
        f"train{validation}, "
        f"{data.info.classes} {data.info.target.plural}{streamed}"
    )
    for note in data.notes:
        console.line(f"note: {note}")
    console.line(
        f"model     {prepared.network.count_params():,} parameters, {len(config.layers)} layers, "
        f"{prepared.steps_per_epoch:,} steps of {config.data.batch_size} per epoch"
    )
    if prepared.plan.rates_text and not config.training.stages:
        console.line(f"layers    learn{prepared.plan.rates_text.removeprefix(',')}")
    for weights in learned:
        console.line(f"weights   {weights.as_text()}")
    if initial is not None:
        console.line(f"weights   {initial.as_text()}")
        for line in initial.as_lines():
            console.record(line)
        for note in initial.notes:
            console.line(f"note: {note}")
    console.line(f"settings  {prepared.runtime.as_text()}")


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

    before = read_array(run, run.initial_filters)
    after = first_kernel(open_run(run).model if best_model is None else best_model, before.ndim)
    if after is not None:
        plots.filters(before, after, run.filters)
