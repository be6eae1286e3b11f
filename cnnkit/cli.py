"""The command line: parse, import lazily, call one function each.

TensorFlow is imported only by commands that compute, so that `--help` and config errors answer at once.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO

import click

from cnnkit import __version__, garbage, plugins
from cnnkit.errors import EXIT_FAILED, EXIT_INTERRUPTED, CnnkitError, ConfigError, UsageError

if TYPE_CHECKING:
    from cnnkit.config.data import DataConfig
    from cnnkit.rundir import Run


class _State:
    debug = False
    interrupted = False


def _common(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that every command has."""

    def remember(context: click.Context, parameter: click.Parameter, value: bool) -> None:
        _State.debug = _State.debug or value

    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=remember, help="Show tracebacks of errors."
    )(command)


_SET = click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="PATH=VALUE",
    help="Change one value of the config, such as training.epochs=5. Repeatable.",
)
_TTA = click.option(
    "--tta",
    metavar="flip,shift",
    help="Average over views of each image: mirrored (flip), moved a pixel up-left and down-right (shift), or both.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print only JSON.")


@contextlib.contextmanager
def _new_file(target: Path) -> Iterator[TextIO]:
    """A file to write into that was not there before."""
    try:
        with target.open("x", encoding="utf-8") as stream:
            yield stream
    except FileExistsError:
        raise UsageError(f"`{target}` is there already", "Name another file with --output.") from None
    except OSError as error:
        raise CnnkitError(f"cannot write `{target}`: {error.strerror}") from None


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="cnnkit")
@_common
def cli() -> None:
    """Train convolutional networks from YAML files, with TensorFlow and Keras.

    Start with: cnnkit new digits, then cnnkit train digits.yaml
    """


@cli.command()
@click.argument("config", required=False, metavar="CONFIG")
@_SET
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
@_common
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
        from cnnkit.train import Interrupted

        raise Interrupted(
            f"interrupted in the evaluation; the trained run is in {run.path}",
            f"Evaluate it: cnnkit eval {shlex.quote(str(run.path))}",
        ) from None
    return run


@cli.command("eval")
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    show_default=True,
    help="Which split of the run's data set.",
)
@click.option("--data", "folder", metavar="FOLDER", help="Score another folder of class folders instead.")
@_TTA
@_JSON
@_common
def evaluate(runs: tuple[str, ...], split: str, folder: str | None, tta: str | None, as_json: bool) -> None:
    """Measure a run on its test split (the latest run by default).

    Several runs are measured as an ensemble: the average of their probabilities.
    """
    from cnnkit.inference import parse_tta
    from cnnkit.rundir import find_run

    views = parse_tta(tta)
    found = [find_run(run) for run in runs] or [find_run(None)]
    from cnnkit.score import evaluate_ensemble, evaluate_run

    if len(found) == 1:
        metrics = evaluate_run(found[0], split, folder, views)
    else:
        metrics = evaluate_ensemble(found, split, folder, views)
    if as_json:
        click.echo(json.dumps(metrics, indent=2, ensure_ascii=False))
        return
    from cnnkit.evaluate import evaluation_table

    augmented = f", test-time augmentation: {', '.join(views)}" if views else ""
    title = str(found[0].path) if len(found) == 1 else f"the average of {len(found)} runs"
    click.echo(f"{title}, {folder or split + ' split'}{augmented}\n\n{evaluation_table(metrics)}")
    if len(found) > 1:
        members = metrics["members"]
        best = max(member["accuracy"] for member in members)
        width = max(len(member["run"]) for member in members)
        lines = [f"{member['run'].ljust(width)}  {member['accuracy']:.2%}" for member in members]
        click.echo("\nmembers\n" + "\n".join(lines))
        click.echo(f"the ensemble is {100 * (metrics['accuracy'] - best):+.2f} points from its best member")


@cli.command()
@click.argument("run", metavar="RUN")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="Classes per image in the table; CSV and JSON have all.",
)
@click.option("--csv", "as_csv", is_flag=True, help="Print only CSV.")
@_TTA
@_JSON
@_common
def predict(run: str, paths: tuple[str, ...], top: int, as_csv: bool, tta: str | None, as_json: bool) -> None:
    """Classify image files, and folders of them, with a run's model."""
    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other")
    from cnnkit.inference import check_views, parse_tta
    from cnnkit.rundir import find_run

    views = parse_tta(tta)
    found = find_run(run)
    from cnnkit import predict as prediction
    from cnnkit.score import compile_run, load_model

    files = prediction.collect_images([Path(path) for path in paths])
    task = found.read_task()
    check_views(views, task.image_shape)
    network, batch_size = compile_run(found, load_model(found), views)
    predictions = prediction.predict_images(
        network,
        files,
        image_shape=task.image_shape,
        class_names=task.class_names,
        head=task.head,
        batch_size=batch_size,
        top=top,
    )
    if task.head != "softmax":
        done = "scaled to a sum of 1" if task.head == "sigmoid" else "put through a softmax"
        click.echo(f"note: the network ends in {task.head}; its outputs were {done}", err=True)
    show = prediction.as_json if as_json else prediction.as_csv if as_csv else prediction.as_table
    click.echo(show(predictions).rstrip("\n"))
    failed = sum(one.error is not None for one in predictions)
    if failed:
        raise CnnkitError(f"{failed} of {len(predictions)} files could not be read")


@cli.command()
@click.argument("config", metavar="CONFIG")
@_SET
@click.option(
    "--depth",
    type=click.IntRange(1),
    metavar="N",
    help="How deep to unfold layers made of layers; by default as far as the table fits a screen.",
)
@click.option("--lint", "linted", is_flag=True, help="Say what a teacher would: habits that cost, each with the fix.")
@_JSON
@_common
def inspect(config: str, overrides: tuple[str, ...], depth: int | None, linted: bool, as_json: bool) -> None:
    """Show the layers of CONFIG: shapes, parameters, MACs, memory, receptive field."""
    from cnnkit.config.load import load_config
    from cnnkit.rundir import config_file
    from cnnkit.summary import summarize

    loaded = load_config(config_file(config), overrides)
    summary = summarize(loaded)
    advice = []
    if linted:
        from cnnkit.lint import lint

        advice = lint(loaded)
    if as_json:
        listed = {"lint": [asdict(one) for one in advice]} if linted else {}
        click.echo(json.dumps(summary.as_json() | listed, indent=2))
        return
    # What the table warns of, the advice says with the fix.
    click.echo(summary.as_table(depth, warnings=not linted))
    if linted:
        click.echo("\n" + ("\n".join(map(str, advice)) if advice else "lint: nothing to say"))


@cli.command()
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@_JSON
@_common
def diff(first: str, second: str, as_json: bool) -> None:
    """Compare two configs or runs layer by layer: what changed, and what that costs."""
    from cnnkit.compare import as_text, compare, open_side

    sides = open_side(first), open_side(second)
    click.echo(json.dumps(compare(*sides), indent=2, ensure_ascii=False) if as_json else as_text(*sides))


@cli.command()
@click.argument("config", metavar="CONFIG")
@_SET
@click.option("--output", "-o", metavar="FILE", help="Where to write it, - for the terminal; by default NAME.py here.")
@_common
def eject(config: str, overrides: tuple[str, ...], output: str | None) -> None:
    """Write CONFIG as one plain Keras script: data, augmentation, network, training."""
    from cnnkit.config.load import load_config
    from cnnkit.eject import eject as script_of
    from cnnkit.rundir import config_file

    loaded = load_config(config_file(config), overrides)
    script = script_of(loaded)
    if output == "-":
        click.echo(script, nl=False)
        return
    target = Path(output or f"{loaded.name}.py")
    with _new_file(target) as stream:
        stream.write(script)
    click.echo(f"wrote {target}; run it: python {shlex.quote(str(target))}")


@cli.command()
@click.option("--compare", is_flag=True, help="Group runs by config; mean, spread, and whether groups differ.")
@_JSON
@_common
def runs(compare: bool, as_json: bool) -> None:
    """List the runs under runs/."""
    if compare:
        from cnnkit.groups import as_text, comparison, read_results

        found = read_results()
        click.echo(json.dumps(comparison(found), indent=2, ensure_ascii=False) if as_json else as_text(found))
        return
    from cnnkit.listing import as_table, run_rows

    rows = run_rows()
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        click.echo(as_table(rows) if rows else "there are no runs yet; make one: cnnkit train CONFIG")


@cli.command()
@click.argument("name", required=False)
@click.option("--list", "list_names", is_flag=True, help="List the configs that cnnkit ships.")
@click.option("--output", "-o", metavar="FILE", help="Where to copy it; by default NAME.yaml here.")
@_common
def new(name: str | None, list_names: bool, output: str | None) -> None:
    """Copy the shipped config NAME here, to edit."""
    from cnnkit import shipped

    if list_names or name is None:
        if not list_names:
            raise UsageError("which config? expected: cnnkit new NAME", "`cnnkit new --list` names them.")
        width = max(len(known) for known in shipped.names())
        for known in shipped.names():
            click.echo(f"{known.ljust(width)}  {shipped.purpose(known)}")
        return
    source = shipped.find(name)
    target = Path(output or source.name)
    bases = shipped.bases(name)
    copies = [(base, target.parent / base.name) for base in bases]
    for base, copy in copies:
        if copy == target:
            raise UsageError(
                f"`{source.name}` extends `{base.name}`, which is copied beside it, so that it cannot be `{target}`",
                "Name another file with --output.",
            )
        # One that is there already may have been copied with another config.
        if copy.exists() and copy.read_bytes() != base.read_bytes():
            raise UsageError(
                f"`{target.name}` extends `{copy.name}`, and a different `{copy}` is there already",
                "Copy it into another folder with --output.",
            )
    with _new_file(target) as stream:
        stream.write(source.read_text(encoding="utf-8"))
        for base, copy in copies:
            copy.write_bytes(base.read_bytes())
    extended = f", and {', '.join(str(copy) for _, copy in copies)}, which it extends" if copies else ""
    click.echo(f"wrote {target}{extended}; train it: cnnkit train {shlex.quote(str(target))}")


@cli.group()
@_common
def data() -> None:
    """List, fetch and look at data sets, and clear the cache."""


@data.command("list")
@_JSON
@_common
def data_list(as_json: bool) -> None:
    """List the data sets that are here, and those that cnnkit knows."""
    from cnnkit.data.catalog import list_data_sets
    from cnnkit.listing import as_table

    rows = [asdict(row) for row in list_data_sets()]
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False, default=str))
    else:
        click.echo(as_table(rows))


@data.command("prepare")
@click.argument("name")
@_common
def data_prepare(name: str) -> None:
    """Download the TFDS data set NAME and prepare it."""
    from cnnkit.data.catalog import prepare

    # A child process downloads; this one needs no TensorFlow.
    folder = prepare(name)
    click.echo(f"`{name}` is ready in {folder}" if folder else f"`{name}` is bundled; it needs no download")


@data.command("info")
@click.argument("source", metavar="NAME|FOLDER|CONFIG")
@_JSON
@_common
def data_info(source: str, as_json: bool) -> None:
    """Show the splits, classes and pixel statistics of a data set."""
    from cnnkit.data.catalog import data_set_summary
    from cnnkit.listing import as_lines

    config, seed = _data_source(source)
    summary = data_set_summary(config, seed)
    click.echo(json.dumps(summary, indent=2, ensure_ascii=False) if as_json else as_lines(summary))


@data.command("clear-cache")
@_common
def data_clear_cache() -> None:
    """Remove the decoded images that are kept for the next start."""
    from cnnkit.data.cache import cache_folder, clear_cache

    click.echo(f"freed {clear_cache() / 1e6:,.1f} MB in {cache_folder()}")


def _data_source(source: str) -> tuple[DataConfig, int]:
    """The `data` section that a config, a run, a folder or a name stands for, and the seed."""
    from cnnkit.config.data import DataConfig
    from cnnkit.config.dataset import DataProblem, describe_data_set
    from cnnkit.config.load import load_config
    from cnnkit.rundir import config_file, run_of

    if os.path.isfile(source) or source.endswith((".yaml", ".yml")) or run_of(source) is not None:
        loaded = load_config(config_file(source)).config
        return loaded.data, loaded.seed
    config = DataConfig.model_validate({"folder" if Path(source).is_dir() else "name": source})
    try:
        describe_data_set(config)
    except DataProblem as problem:
        raise UsageError(problem.message) from None
    return config, 0


@cli.command()
@_common
def schema() -> None:
    """Print the JSON Schema of the config format, for editors."""
    from cnnkit.config.run import RunConfig
    from cnnkit.config.schema import json_schema

    click.echo(json.dumps(json_schema(RunConfig), indent=2))


@cli.command()
@_JSON
@_common
def doctor(as_json: bool) -> None:
    """Show versions, devices, settings and data folders, and what is wrong with them."""
    from cnnkit.doctor import as_text, examine

    report = examine()
    click.echo(json.dumps(report, indent=2) if as_json else as_text(report))
    if report["problems"]:
        sys.exit(EXIT_FAILED)


def main() -> None:
    """Runs the command line and turns what goes wrong into one message and an exit code."""
    _prepare_process()
    try:
        result = cli.main(standalone_mode=False, prog_name="cnnkit")
        sys.stdout.flush()
        sys.exit(result if isinstance(result, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except ConfigError as error:
        # Its lines begin with a place, `file:line:column`, which editors find at a line's start.
        _fail(str(error), error.exit_code, prefix="")
    except CnnkitError as error:
        _fail(str(error), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted", EXIT_INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`).
        sys.exit(EXIT_FAILED)
    except OSError as error:
        _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error), EXIT_FAILED)
    except Exception as error:
        if _State.interrupted:
            # Compiled modules turn an interrupt into errors of their own, numpy's import into an ImportError.
            _fail("interrupted", EXIT_INTERRUPTED)
        _fail(
            f"unexpected {type(error).__name__}: {error}\n"
            "This is a mistake in cnnkit; run the command again with --debug to see where.",
            EXIT_FAILED,
        )


def _prepare_process() -> None:
    """Makes any text printable whatever the encoding, a closed standard output harmless, and notes Ctrl-C."""
    _State.debug = _State.interrupted = False
    garbage.look_rarely()
    plugins.search_for_none()
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (it stays open to the end)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Where the shell has Ctrl-C ignored, it stays so.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def _interrupt(number: int, frame: Any) -> None:
    _State.interrupted = True
    raise KeyboardInterrupt


def _fail(message: str, code: int, prefix: str = "cnnkit: ") -> NoReturn:
    if _State.debug:
        import traceback

        traceback.print_exc()
    click.echo(prefix + message, err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
