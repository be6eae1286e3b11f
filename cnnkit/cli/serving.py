"""`cnnkit serve` and `watch`: pages in the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cnnkit.cli.options import ALLOW_HOST, HOST, PRECISION, common, complete_predictors, complete_runs

if TYPE_CHECKING:
    from cnnkit.runs.precision import Precision


@click.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_predictors)
@HOST
@ALLOW_HOST
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 takes any free one.")
@click.option(
    "--max-megapixels",
    type=click.FloatRange(0.001, 100_000),
    metavar="N",
    help="Refuse images of more megapixels; by default 64.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Of objects, say those with at least this score; by default one chosen on the validation images.",
)
@PRECISION
@common
def serve(
    runs: tuple[str, ...],
    host: str,
    allowed_hosts: tuple[str, ...],
    port: int,
    max_megapixels: float | None,
    threshold: float | None,
    precision: Precision | None,
) -> None:
    """Serve a page and a JSON endpoint that ask the networks of runs about images, or for images that they make.

    RUN may be a file that `export` has written, such as model.onnx, which needs no TensorFlow.

    POST /predict takes image files or JSON, and /make JSON; /openapi.json describes them. Ctrl-C ends the server.
    """
    from cnnkit.runs.opening import open_predictor
    from cnnkit.serve import serve as serve_networks

    predictors = [open_predictor(run, "serve", precision) for run in runs]
    serve_networks(predictors, host, port, allowed_hosts, max_megapixels, threshold)


@click.command()
@click.argument("run", metavar="[RUN]", required=False, shell_complete=complete_runs)
@HOST
@ALLOW_HOST
@click.option("--port", type=click.IntRange(0, 65535), help="By default the first free one from 8017; 0 takes any.")
@common
def watch(run: str | None, host: str, allowed_hosts: tuple[str, ...], port: int | None) -> None:
    """Show a run on a page while it trains (the latest by default)."""
    from cnnkit.live.serving import watch as watch_run
    from cnnkit.runs.finding import find_run

    watch_run(find_run(run), host, port, allowed_hosts=allowed_hosts)
