"""`cnnkit export`: networks that leave."""

from __future__ import annotations

import logging

import click

from cnnkit.cli.options import JSON, RUN, common
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.export.formats import FORMATS, KINDS
from cnnkit.terminal.console import echo
from cnnkit.terminal.printable import printable_json

log = logging.getLogger("cnnkit")


@click.command()
@RUN
@click.option("--format", "format_name", type=click.Choice(list(FORMATS)), required=True, help="What to write.")
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    help="The network's file, or folder for saved_model; by default RUN-FORMAT/model here.",
)
@click.option("--overwrite", is_flag=True, help="Replace files that are there already.")
@click.option(
    "--images",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="How many test images to compare with Keras, at most.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    help="What outputs may differ by, as a share of those above 1; by default 1e-4. With --quantize: what the headline "
    "figure may lose; by default 0.01, one point of accuracy.",
)
@click.option("--quantize", type=click.Choice(list(KINDS)), help="Smaller numbers for the weights; for litert alone.")
@click.option(
    "--calibration",
    type=click.IntRange(min=1),
    help="Training images that int8 takes its ranges from, drawn by the run's seed; by default 500.",
)
@click.option("--no-parity", is_flag=True, help="Compare nothing: where the run's test images are not here.")
@JSON
@common
def export(
    run: str,
    format_name: str,
    output: str | None,
    overwrite: bool,
    images: int,
    tolerance: float | None,
    quantize: str | None,
    calibration: int | None,
    no_parity: bool,
    as_json: bool,
) -> None:
    """Write the network of a run as a file that other programs run, and compare that with Keras.

    Where they differ by more than the tolerance, the exit code is 1, and the file is kept as NAME.failed.ENDING.
    """
    from cnnkit.export.places import places_for
    from cnnkit.runs.finding import find_run
    from cnnkit.runs.trained import open_run

    format_ = FORMATS[format_name]
    format_.check_packages()
    if no_parity and tolerance is not None:
        raise UsageError("--tolerance is for the comparison that --no-parity leaves out")
    if quantize is not None and format_name != "litert":
        raise UsageError(f"--quantize is for --format litert, not for {format_name}")
    if calibration is not None and quantize != "int8":
        raise UsageError("--calibration is for --quantize int8")
    chosen = find_run(run)
    places = places_for(format_, output, chosen.path.resolve().name)
    if overwrite:
        places.check_replaceable()
    else:
        places.check_free()
    trained = open_run(chosen)
    trained.task.check_asked("export")
    if quantize is not None and trained.task.makes_images:
        raise UsageError(
            "--quantize: what smaller numbers cost is seen by the headline figure of test images, of which there is "
            f"none for what `{chosen.path}` makes",
            "Leave it out.",
        )
    trained.check_model()
    from cnnkit.export.exporting import ExportOptions, export_run
    from cnnkit.export.shown import as_text

    options = ExportOptions(0 if no_parity else images, tolerance, quantize, calibration or 500)
    outcome = export_run(trained, places, options)
    if outcome.parity is None:
        log.warning("the file was NOT compared with Keras (--no-parity): nobody knows whether it says the same")
    written = "\n".join(f"wrote {path}" for path in outcome.files)
    echo(printable_json(outcome.as_json()) if as_json else f"{as_text(outcome, trained.interface.sample)}\n\n{written}")
    if outcome.failure is not None:
        raise CnnkitError(
            f"the exported network may not be used: {outcome.failure}",
            f"It is kept as `{outcome.places.main}`. Where that is good enough, say so with --tolerance.",
        )
