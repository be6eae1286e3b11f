"""`cnnkit train`."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from cnnkit.cli.options import SET, common
from cnnkit.errors import UsageError

if TYPE_CHECKING:
    from cnnkit.rundir import Run


@click.command()
@click.argument("config", required=False, metavar="CONFIG")
@SET
@click.option("--run-dir", metavar="DIR", help="The run's directory; by default runs/<config name>-<n>.")
@click.option("--resume", metavar="RUN", help="Continue an interrupted run from its checkpoint.")
@click.option("--no-eval", is_flag=True, help="Leave out the evaluation of the test split at the end.")
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
@common
def train(
    config: str | None,
    overrides: tuple[str, ...],
    run_dir: str | None,
    resume: str | None,
    no_eval: bool,
    tune: bool,
    seeds: int | None,
) -> None:
    """Train the network of CONFIG and write a run."""
    if seeds is not None:
        alone = {"--resume": resume, "--run-dir": run_dir, "--no-eval": no_eval, "--tune": tune}
        for name, given in alone.items():
            if given:
                raise UsageError(f"--seeds makes several runs with equal settings and evaluates them; leave out {name}")
        _train_seeds(config, overrides, seeds)
        return
    _train_one(config, overrides, run_dir, resume, no_eval, tune)


def _train_seeds(config: str | None, overrides: tuple[str, ...], count: int) -> None:
    """Runs that differ in the seed alone, and what they say together."""
    from cnnkit.config.load import load_config
    from cnnkit.config.run import LARGEST_SEED
    from cnnkit.groups import group_runs, read_results, verdict

    if config is None:
        raise UsageError("which config? expected: cnnkit train CONFIG", "`cnnkit new --list` names some.")
    first = load_config(config, overrides).config.seed
    last = first + count - 1
    if last > LARGEST_SEED:
        raise UsageError(
            f"--seeds {count} counts up from the config's seed, {first}, to {last}, but seeds reach {LARGEST_SEED}",
            "Start with a smaller one: --set seed=0",
        )
    made = []
    for seed in range(first, first + count):
        click.echo(f"seed {seed} ({seed - first + 1} of {count})")
        made.append(_train_one(config, (*overrides, f"seed={seed}"), None, None, False, False))
    (group,) = group_runs(read_results(made))
    click.echo(f"\n{group.name}: test accuracy {group} over {count} seeds")
    for other in group_runs(read_results()):
        if other.task == group.task and other.config != group.config:
            click.echo(verdict(other, group))


def _train_one(
    config: str | None, overrides: tuple[str, ...], run_dir: str | None, resume: str | None, no_eval: bool, tune: bool
) -> Run:
    from cnnkit.config.load import load_config
    from cnnkit.console import Console
    from cnnkit.rundir import check_free

    console = Console()
    try:
        if resume is not None:
            if run_dir is not None:
                raise UsageError("--resume continues in the run's own directory; leave out --run-dir")
            if tune:
                raise UsageError(
                    "--resume goes on with the settings that the run began with, for others would change its figures; "
                    "leave out --tune"
                )
            from cnnkit.train import resume as resume_run

            run = resume_run(resume, config, overrides, console)
        else:
            if config is None:
                raise UsageError("which config? expected: cnnkit train CONFIG", "`cnnkit new --list` names some.")
            loaded = load_config(config, overrides)
            if run_dir is not None:
                check_free(run_dir)
            tuning = None
            if tune:
                from cnnkit.tune import tune as time_settings

                loaded, tuning = time_settings(loaded, overrides, console)
            from cnnkit.train import train as train_config

            run = train_config(loaded, console, run_dir, tuning)
    finally:
        # Whatever ended the training, the terminal gets its cursor back.
        console.end_epoch()
    if no_eval:
        return run
    from cnnkit.score import evaluate_run, one_line

    try:
        console.line(f"test      {one_line(evaluate_run(run))}")
    except KeyboardInterrupt:
        from cnnkit.ending import Interrupted

        raise Interrupted(
            f"interrupted in the evaluation; the trained run is in {run.path}",
            f"Evaluate it: cnnkit eval {shlex.quote(str(run.path))}",
        ) from None
    return run
