"""`cnnkit eval`, `predict` and `runs`: what runs are worth."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cnnkit.cli.options import JSON, MAX_MEGAPIXELS, PRECISION, PREDICTOR, TTA, common, complete_runs, named_file
from cnnkit.cli.replacing import COCO, check_replaceable, data_of, predictions_form
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.terminal.console import echo
from cnnkit.terminal.printable import printable_json

if TYPE_CHECKING:
    from cnnkit.runs.directory import Run
    from cnnkit.runs.precision import Precision
    from cnnkit.runs.predictor import Predictor
    from cnnkit.task import Answers, Figure, Task, TaskPredictions

log = logging.getLogger("cnnkit")


@click.command("eval")
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete_runs)
@click.option(
    "--split",
    type=click.Choice(["test", "validation", "train"]),
    default="test",
    show_default=True,
    help="Which split of the run's data set.",
)
@click.option(
    "--data",
    "folder",
    metavar="FOLDER|TABLE",
    help="Score other images: a folder or table like that of the run's config.",
)
@click.option(
    "--skip-corrupt", is_flag=True, help="Leave out files of --data that cannot be read, as `data.skip_corrupt` does."
)
@MAX_MEGAPIXELS
@click.option(
    "--csv", "csv_file", metavar="FILE", help="Write what became of each image as CSV, as in predictions.csv."
)
@click.option("--mistakes", metavar="FILE", help="Draw the worst mistakes, as `show mistakes` does.")
@TTA
@PRECISION
@click.option(
    "--classifier",
    metavar="RUN",
    shell_complete=complete_runs,
    help="Of a generator: the classifier's run that measures its images, in place of the config's.",
)
@JSON
@common
def evaluate(
    runs: tuple[str, ...],
    split: str,
    folder: str | None,
    skip_corrupt: bool,
    max_megapixels: float | None,
    csv_file: str | None,
    mistakes: str | None,
    tta: str | None,
    precision: Precision | None,
    classifier: str | None,
    as_json: bool,
) -> None:
    """Measure a run on its test split (the latest run by default).

    Several runs are measured as an ensemble: the average of their outputs.
    """
    if max_megapixels is not None and folder is None:
        raise UsageError("--max-megapixels is for the images of --data", "Those of a run have `data.max_megapixels`.")
    from cnnkit.runs.finding import find_run
    from cnnkit.runs.inference import parse_tta

    if skip_corrupt and folder is None:
        raise UsageError(
            "--skip-corrupt is for images that --data names; for the run's own images, `data.skip_corrupt` of its "
            "config decides"
        )
    views = parse_tta(tta)
    chosen = [find_run(run) for run in runs] or [find_run(None)]
    title = str(chosen[0].path) if len(chosen) == 1 else f"the average of {len(chosen)} runs"
    table = named_file(csv_file, (".csv",), "--csv") if csv_file is not None else None
    sheet = named_file(mistakes, (".png",), "--mistakes") if mistakes is not None else None
    if sheet is not None:
        check_replaceable(sheet, "--mistakes", data_of(chosen, folder))
    written: list[Path] = []

    def keep(predictions: TaskPredictions) -> None:
        task = opened[0].task
        written.extend(_write_predictions(task, predictions, f"Mistakes of {title}, {folder or split}", table, sheet))

    from cnnkit.runs.evaluation import EvaluationOptions, evaluate_ensemble, evaluate_run
    from cnnkit.runs.trained import open_run

    opened = [open_run(run, precision=precision) for run in chosen]
    if table is not None:
        check_replaceable(table, "--csv", data_of(chosen, folder), predictions_form(opened[0].task))
    options = EvaluationOptions(split, folder, views, keep, skip_corrupt, max_megapixels, classifier)
    metrics = evaluate_run(opened[0], options) if len(opened) == 1 else evaluate_ensemble(opened, options)
    if as_json:
        echo(printable_json(metrics))
        return
    augmented = f", test-time augmentation: {', '.join(views)}" if views else ""
    table_text = opened[0].task.table(metrics, opened[0].interface.sample)
    multiplied = f", in {precision}" if precision is not None else ""
    echo(f"{title}, {folder or split + ' split'}{augmented}{multiplied}\n\n{table_text}")
    if len(chosen) > 1:
        echo(_members_text(opened[0].task.headline, metrics))
    for path in written:
        echo(f"wrote {path}")


def _members_text(headline: Figure, metrics: dict[str, Any]) -> str:
    """The members of an ensemble, each with its headline, and what the ensemble gains over the best of them."""
    from cnnkit.terminal.tables import aligned

    members, name = metrics["members"], headline.name
    best = headline.best(members, lambda member: member[name])[name]
    lines = [[member["run"], headline.text(member[name])] for member in members]
    gain = headline.difference(metrics[name] - best)
    return f"\nmembers\n{aligned(lines, '<<')}\nthe ensemble is {gain} from its best member"


def _write_predictions(
    task: Task, predictions: TaskPredictions, title: str, table: Path | None, sheet: Path | None
) -> list[Path]:
    """Writes what was said of each image as CSV, and the mistakes as a picture; returns the files that were written."""
    written = []
    if table is not None:
        from cnnkit.files import write_atomically

        write_atomically(table, predictions.as_csv())
        written.append(table)
    if sheet is not None:
        from cnnkit.task import WORST

        if task.draw_predictions(predictions, title, WORST, sheet):
            written.append(sheet)
        else:
            log.warning("there is no mistake to show; `%s` is not written", sheet)
    return written


@click.command()
@PREDICTOR
@click.argument("paths", nargs=-1, metavar="[PATH|TEXT]...")
@click.option(
    "--file", "file", metavar="FILE", help="Of texts: read one from each line of FILE; `-` is standard input."
)
@click.option(
    "--top",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="The likeliest classes or labels per image in the table; CSV and JSON have all.",
)
@click.option(
    "--output",
    metavar="FOLDER",
    help="Write the answers that are pictures, such as masks, into this folder; no file in it is replaced.",
)
@click.option("--explain", is_flag=True, help="Of texts: name the words that speak for each answer.")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Of objects, say those with at least this score; by default one chosen on the validation images.",
)
@click.option("--coco", metavar="FILE", help="Write the objects with their boxes into this file, in COCO's format.")
@click.option("--csv", "as_csv", is_flag=True, help="Print only CSV.")
@MAX_MEGAPIXELS
@TTA
@PRECISION
@JSON
@common
def predict(
    run: str,
    paths: tuple[str, ...],
    file: str | None,
    top: int,
    output: str | None,
    explain: bool,
    threshold: float | None,
    coco: str | None,
    as_csv: bool,
    max_megapixels: float | None,
    tta: str | None,
    precision: Precision | None,
    as_json: bool,
) -> None:
    """Show what a run's model says of image files and folders of them, or of texts.

    RUN may be a file that `export` has written, such as model.onnx, which needs no TensorFlow.
    """
    if as_csv and as_json:
        raise UsageError("--csv and --json exclude each other")
    if as_csv and explain:
        raise UsageError("--csv has no columns for --explain", "Take --json, which has every word.")
    from cnnkit.runs.inference import check_views, parse_tta
    from cnnkit.runs.opening import open_predictor

    views = parse_tta(tta)
    predictor = open_predictor(run, "predict", precision)
    from cnnkit.runs import predicting
    from cnnkit.runs.inputs import inputs_of

    interface, task = predictor.interface, predictor.task
    inputs = inputs_of(interface)
    files = inputs.collect(paths, file)
    answers = task.answers(interface)
    if threshold is not None:
        answers = answers.above(threshold)
    coco_file = named_file(coco, (".json",), "--coco") if coco is not None else None
    if coco_file is not None:
        # What has no boxes is refused before the network computes.
        answers.as_coco([])
        check_replaceable(coco_file, "--coco", (), COCO)
    check_views(views, interface, per_pixel=task.target.per_pixel, boxed=task.target.boxed)
    pictures = _picture_files(files, output, task, answers)
    network, batch_size = predictor.network(views)
    predictions = predicting.predict_images(
        network,
        files,
        interface=interface,
        answers=answers,
        batch_size=batch_size,
        most_megapixels=max_megapixels,
        pictures=pictures,
        explain=_explainer(predictor, answers) if explain else None,
    )
    if answers.note:
        echo(f"note: {answers.note}", err=True)
    if coco_file is not None:
        from cnnkit.files import write_atomically

        write_atomically(coco_file, predicting.as_coco(predictions, answers))
        echo(f"wrote {coco_file}", err=True)
    if as_json:
        echo(predicting.as_json(predictions, inputs.column))
    elif as_csv:
        echo(predicting.as_csv(predictions, answers, inputs.column).rstrip("\n"))
    else:
        echo(predicting.as_table(predictions, answers, top, inputs.column))
        written = sum(len(prediction.pictures) for prediction in predictions)
        if written:
            echo(f"\nwrote {written} pictures into {output}")
    failed = sum(one.error is not None for one in predictions)
    if failed:
        raise CnnkitError(f"{failed} of {len(predictions)} {inputs.column}s could not be read")


def _explainer(predictor: Predictor, answers: Answers) -> Callable[[Any, Any], Any]:
    from cnnkit.inside.explaining import explainer

    return explainer(predictor, answers)


def _picture_files(files: list[Path], output: str | None, task: Task, answers: Answers) -> list[list[Path]] | None:
    """Where the pictures of each answer are to be written; None where they are not."""
    if output is None:
        if answers.pictures:
            names = " and ".join(answers.pictures)
            echo(f"note: --output FOLDER writes pictures of each answer: {names}", err=True)
        return None
    if not answers.pictures:
        raise UsageError(
            f"--output is for answers that are pictures; those of a network that learns {task.to_plain()} are not",
            "For a file of what it says, redirect --csv or --json.",
        )
    from cnnkit.runs.predicting import picture_files

    return picture_files(files, Path(output), answers.pictures)


def _runs_with_epochs() -> list[Run]:
    """The runs that have curves: at least one epoch has ended."""
    from cnnkit.runs.finding import list_runs

    with_epochs = []
    for run in list_runs():
        if not run.metrics.exists():
            continue
        try:
            if run.read_metrics():
                with_epochs.append(run)
        except CnnkitError as error:
            log.warning("left out: %s", error.message)
    return with_epochs


@click.command()
@click.option("--compare", is_flag=True, help="Group runs by config; mean, spread, and whether groups differ.")
@click.option("--plot", metavar="FILE", help="Draw the learning curves of all of them on one plot, PNG or SVG.")
@JSON
@common
def runs(compare: bool, plot: str | None, as_json: bool) -> None:
    """List the runs under runs/."""
    if plot is not None:
        if compare or as_json:
            raise UsageError("--plot draws; leave out --compare and --json")
        from cnnkit.cli.showing import draw_curves

        draw_curves(_runs_with_epochs(), plot, "--plot")
        return
    if compare:
        from cnnkit.comparing.seeds import as_text, comparison, read_results

        results = read_results()
        echo(printable_json(comparison(results)) if as_json else as_text(results))
        return
    from cnnkit.runs import listing

    rows = listing.run_rows()
    echo(printable_json(rows) if as_json else listing.as_text(rows))
