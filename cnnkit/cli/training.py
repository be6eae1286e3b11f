"""`cnnkit train`."""

from __future__ import annotations

import contextlib
import itertools
import os
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from cnnkit.cli.options import (
    ALLOW_HOST,
    HOST,
    SET,
    common,
    complete_configs,
    complete_runs,
    default_file,
    write_new_file,
)
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.terminal.console import echo

if TYPE_CHECKING:
    from cnnkit.runs.directory import Run
    from cnnkit.runs.trained import TrainedRun
    from cnnkit.terminal.console import Console
    from cnnkit.training.initial_weights import Source


@dataclass(frozen=True)
class Options:
    """What the command line says besides the config; see the options of `train`."""

    run_dir: str | None = None
    resume: str | None = None
    init_from: str | None = None
    allow_other_workers: bool = False
    no_eval: bool = False
    no_report: bool = False
    tune: bool = False
    live: bool = False
    host: str = "127.0.0.1"
    allowed_hosts: tuple[str, ...] = ()
    port: int | None = None


@click.command()
@click.argument("config", required=False, metavar="CONFIG|FOLDER|TABLE", shell_complete=complete_configs)
@SET
@click.option("--run-dir", metavar="DIR", help="The run's directory; by default runs/<config name>-<n>.")
@click.option(
    "--resume", metavar="RUN", shell_complete=complete_runs, help="Continue an interrupted run from its checkpoint."
)
@click.option(
    "--init-from",
    metavar="RUN",
    shell_complete=complete_runs,
    help="Begin with the weights of a run, where layers have the same name, type and shapes.",
)
@click.option(
    "--allow-other-workers",
    is_flag=True,
    help="With --resume: go on with another number of workers or devices; the figures' last digits change.",
)
@click.option("--no-eval", is_flag=True, help="Leave out the evaluation of the test split at the end.")
@click.option("--no-report", is_flag=True, help="Leave out the report and the picture of the mistakes at the end.")
@click.option(
    "--tune",
    is_flag=True,
    help="First time the settings that are `auto` (XLA, oneDNN, threads, ...), and take the best.",
)
@click.option(
    "--seeds",
    type=click.IntRange(2),
    metavar="N",
    help="Make N runs, with the config's seed and those after it, and show mean and spread.",
)
@click.option("--live", is_flag=True, help="Show the training on a page in the browser, with a button that stops it.")
@HOST
@ALLOW_HOST
@click.option("--port", type=click.IntRange(0, 65535), help="The page's port; by default the first free one from 8017.")
@common
def train(config: str | None, overrides: tuple[str, ...], seeds: int | None, **options: Any) -> None:
    """Train the network of CONFIG and write a run; for one's own FOLDER or TABLE, write a config for it first."""
    from cnnkit.training import heartbeat

    heartbeat.beat()
    chosen = Options(**options)
    of_page = (chosen.host, chosen.allowed_hosts, chosen.port)
    if not chosen.live and of_page != (Options.host, Options.allowed_hosts, Options.port):
        raise UsageError("--host, --allow-host and --port are for the page of --live; add it, or leave them out")
    if config is not None and chosen.resume is None and _holds_images(config):
        config = _write_config(config, chosen.run_dir)
    if seeds is None:
        train_one(config, overrides, chosen)
        return
    alone = {
        "--resume": chosen.resume,
        "--run-dir": chosen.run_dir,
        "--no-eval": chosen.no_eval,
        "--tune": chosen.tune,
        "--live": chosen.live,
    }
    for name, given in alone.items():
        if given:
            raise UsageError(f"--seeds makes several runs with equal settings and evaluates them; leave out {name}")
    _train_seeds(config, overrides, chosen, seeds)


def _holds_images(path: str) -> bool:
    """Whether a path is taken for one's own images rather than for a config: a folder, or a table by its ending."""
    from cnnkit.config.cells import is_table

    return os.path.isdir(path) or is_table(path)


def _write_config(source: str, run_dir: str | None) -> str:
    """Writes the config that `cnnkit new --from` would write, under a name that is free, and says what it says."""
    from cnnkit.format.run_folders import check_outside
    from cnnkit.proposal.config import proposer

    # Nothing is written where nothing could be trained.
    check_outside(run_dir, source if os.path.isdir(source) else None)
    propose = proposer(source)
    first = default_file(source)
    for number in itertools.count(1):
        file = first if number == 1 else first.with_stem(f"{first.stem}-{number}")
        proposal = propose(file)
        # Another worker may have written it, or the same command before.
        known = file.is_file() and file.read_bytes() == proposal.text.encode()
        if known or not os.path.lexists(file):
            break
    if not known:
        write_new_file(file, proposal.text)
    for line in proposal.lines:
        echo(line)
    how = "as it was written before" if known else "written"
    echo(f"config    {file}, {how}; edit it, and train that: cnnkit train {shlex.quote(str(file))}")
    return str(file)


def _train_seeds(config: str | None, overrides: tuple[str, ...], options: Options, count: int) -> None:
    """Runs that differ only in the seed, and what they say together."""
    from cnnkit.comparing.seeds import group_runs, read_results, verdict
    from cnnkit.config.load import load_config
    from cnnkit.config.run import LARGEST_SEED

    if config is None:
        raise UsageError("which config? expected: cnnkit train CONFIG", "`cnnkit new --list` names some.")
    first = load_config(config, overrides).config.seed
    last = first + count - 1
    if last > LARGEST_SEED:
        raise UsageError(
            f"--seeds {count} counts up from the config's seed, {first}, to {last}, but seeds reach {LARGEST_SEED}",
            "Start with a smaller one: --set seed=0",
        )
    source = None if options.init_from is None else _open_source(options.init_from)
    made = []
    for seed in range(first, first + count):
        echo(f"seed {seed} ({seed - first + 1} of {count})")
        made.append(train_one(config, (*overrides, f"seed={seed}"), options, source))
    groups = group_runs(read_results(made))
    if not groups:
        echo("\nthere is no figure to compare the runs by: none of them has been measured against what is true")
        return
    (group,) = groups
    echo(f"\n{group.name}: test {group.figure.label} {group} over {count} seeds")
    for other in group_runs(read_results()):
        if other.is_comparable(group) and other.config != group.config:
            echo(verdict(other, group))


def _open_source(path: str) -> Source:
    from cnnkit.training.initial_weights import open_source

    return open_source(path)


def train_one(config: str | None, overrides: tuple[str, ...], options: Options, source: Source | None = None) -> Run:
    """One run.

    Args:
        source: The run that `--init-from` names, where it is open already.
    """
    from cnnkit.machine.devices import is_follower
    from cnnkit.terminal.console import Console
    from cnnkit.training import heartbeat
    from cnnkit.training.signals import ending_in_order

    console = Console()
    with contextlib.ExitStack() as stack:
        stack.enter_context(ending_in_order())
        opened = None
        # The page is the chief's.
        if options.live and not is_follower("multi_worker"):
            from cnnkit.live.serving import live_page

            opened = stack.enter_context(live_page(console, options.host, options.port, options.allowed_hosts))
        try:
            trained = _fit(config, overrides, options, console, heartbeat.announcing(opened), source)
        finally:
            # Whatever ended the training, the terminal gets its cursor back.
            console.end_epoch()
        from cnnkit.machine.devices import joined
        from cnnkit.runs.progress import evaluating

        devices = joined()
        if not devices.is_chief:
            _take_part(trained, options)
        else:
            with evaluating(trained.run):
                if not options.no_eval:
                    _evaluate(trained, console)
                if not options.no_report:
                    _report(trained, console)
        # All workers leave together: TensorFlow takes one that has gone for one that is lost.
        devices.wait()
    return trained.run


def _take_part(trained: TrainedRun, options: Options) -> None:
    """What follows the training, in a worker beside the chief."""
    from cnnkit.runs.evaluation import take_part

    if not options.no_eval:
        take_part(trained)


def _fit(
    config: str | None,
    overrides: tuple[str, ...],
    options: Options,
    console: Console,
    opened: Callable[[Run], None] | None,
    source: Source | None,
) -> TrainedRun:
    from cnnkit.config.load import load_config
    from cnnkit.format.run_folders import check_outside
    from cnnkit.machine.devices import is_follower, workers_here
    from cnnkit.runs.finding import check_free

    if options.resume is not None:
        if options.run_dir is not None:
            raise UsageError("--resume continues in the run's own directory; leave out --run-dir")
        if options.tune:
            raise UsageError(
                "--resume goes on with the settings that the run began with, for others would change its figures; "
                "leave out --tune"
            )
        if options.init_from is not None:
            raise UsageError(
                "--resume goes on with the weights that its run has; leave out --init-from",
                "Or start a new run with the weights of another: cnnkit train CONFIG --init-from RUN",
            )
        from cnnkit.training.train import resume

        return resume(
            options.resume, config, overrides, console, opened, allow_other_workers=options.allow_other_workers
        )
    if options.allow_other_workers:
        raise UsageError("--allow-other-workers is for a run that is resumed; add --resume RUN, or leave it out")
    if config is None:
        raise UsageError("which config? expected: cnnkit train CONFIG", "`cnnkit new --list` names some.")
    loaded = load_config(config, overrides)
    # Where several processes train, the chief may have made it already.
    if options.run_dir is not None and not is_follower(loaded.config.training.strategy):
        check_free(options.run_dir)
    check_outside(options.run_dir, loaded.config.data.folder)
    initial = None
    if options.init_from is not None:
        from cnnkit.training.initial_weights import match_weights

        initial = match_weights(source or _open_source(options.init_from), loaded)
    tuning = None
    if options.tune:
        if workers_here(loaded.config.training.strategy) > 1:
            raise UsageError(
                "--tune times a training in one process, and several train here",
                "Tune it in one process, and write what it finds into the config.",
            )
        from cnnkit.training.tune import tune as time_settings

        loaded, tuning = time_settings(loaded, overrides, console)
    from cnnkit.training.train import train as train_config

    return train_config(loaded, console, options.run_dir, tuning, opened, initial)


def _evaluate(trained: TrainedRun, console: Console) -> None:
    from cnnkit.runs.evaluation import evaluate_run

    try:
        console.line(f"test      {trained.task.summary(evaluate_run(trained), trained.interface.sample)}")
    except KeyboardInterrupt:
        from cnnkit.errors import Interrupted

        raise Interrupted(
            f"interrupted in the evaluation; the trained run is in {trained.run.path}",
            f"Evaluate it: cnnkit eval {shlex.quote(str(trained.run.path))}",
        ) from None
    except OSError as error:
        from cnnkit.training.ending import failed_write

        raise failed_write(error, trained.run, epochs=0) from error


def _report(trained: TrainedRun, console: Console) -> None:
    from cnnkit.report.single import write_report
    from cnnkit.task import WORST

    try:
        # Without an evaluation, or without a mistake, there is nothing to draw.
        with contextlib.suppress(CnnkitError):
            trained.task.draw_mistakes(trained, WORST, trained.run.mistakes)
        console.line(f"report    {write_report(trained)}")
    except OSError as error:
        # The run itself is complete.
        console.line(f"report    not written: {error.filename}: {error.strerror}")
    except KeyboardInterrupt:
        from cnnkit.errors import Interrupted

        raise Interrupted(
            f"interrupted while the report was made; the trained and evaluated run is in {trained.run.path}",
            f"Make it: cnnkit report {shlex.quote(str(trained.run.path))}",
        ) from None
