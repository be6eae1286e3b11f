"""`cnnkit export`: networks that leave."""

from __future__ import annotations

import click

from cnnkit.cli.options import RUN, common
from cnnkit.export.formats import FORMATS
from cnnkit.terminal.console import echo


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
@common
def export(run: str, format_name: str, output: str | None, overwrite: bool) -> None:
    """Write the network of a run as a file that other programs run."""
    from cnnkit.export.places import places_for
    from cnnkit.runs.finding import find_run
    from cnnkit.runs.trained import open_run

    format_ = FORMATS[format_name]
    format_.check_packages()
    chosen = find_run(run)
    places = places_for(format_, output, chosen.path.resolve().name)
    if not overwrite:
        places.check_free()
    trained = open_run(chosen)
    trained.check_model()
    from cnnkit.export.exporting import export_run

    export_run(trained, places)
    echo("\n".join(f"wrote {path}" for path in places.all))
