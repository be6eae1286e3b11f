"""`cnnkit show` and `report`: what a network is and does, as pictures and as one page."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cnnkit.cli.options import CONFIG, MAX_MEGAPIXELS, RUN, SET, common, complete_runs, named_file
from cnnkit.cli.replacing import REPORT, check_replaceable, data_in, data_of
from cnnkit.errors import UsageError
from cnnkit.terminal.console import echo

if TYPE_CHECKING:
    from cnnkit.runs.directory import Run

_OUTPUT = click.option(
    "--output", "-o", metavar="FILE", help="Where to write the picture; by default in the run's plots/."
)
_OUTPUT_HERE = click.option("--output", "-o", metavar="FILE", help="Where to write the picture; by default here.")


@click.group()
@common
def show() -> None:
    """Draw filters, feature maps, Grad-CAM, mistakes, samples, augmentation, architecture, curves."""


def _write(draw: Callable[[Path], Any], path: Path) -> None:
    draw(path)
    echo(f"wrote {path}")


def _picture(
    output: str | None,
    default: Path,
    inputs: Iterable[str],
    endings: tuple[str, ...] = (".png",),
    option: str = "--output",
) -> Path:
    """Where a picture is to be written: see `named_file`, and for `inputs` `check_replaceable`."""
    if output is not None:
        target = named_file(output, endings, option)
    else:
        default.parent.mkdir(exist_ok=True)
        target = default
    check_replaceable(target, option, inputs)
    return target


@show.command()
@RUN
@click.option(
    "--layer",
    metavar="NAME",
    help="Show what excites the filters of this layer most. NAME is its number and kind, as in `inspect`, with a dot "
    "between: 3.Conv2D. Inside other layers it follows theirs: 2.stage/layers.0.basic/layers.0.Residual.",
)
@_OUTPUT
@common
def filters(run: str, layer: str | None, output: str | None) -> None:
    """Draw the first layer's filters before and after training; of a text network, list the words that excite them."""
    from cnnkit.inside import show as pictures
    from cnnkit.runs.finding import find_run
    from cnnkit.runs.trained import open_run

    chosen = find_run(run)
    trained = open_run(chosen)
    if trained.interface.sample.vocabulary is not None:
        from cnnkit.inside.windows import windows_of

        if output is not None:
            raise UsageError("--output is for pictures; what excites filters of texts is a table of words")
        echo(windows_of(trained, layer).as_text())
    elif layer is None:
        _write(lambda path: pictures.filters(trained, path), _picture(output, chosen.filters, data_of([chosen])))
    else:
        target = _picture(output, chosen.plot_at("filters", layer), data_of([chosen]))
        _write(lambda path: pictures.patches(trained, layer, path), target)


@show.command()
@RUN
@click.argument("image", metavar="IMAGE")
@MAX_MEGAPIXELS
@_OUTPUT
@common
def features(run: str, image: str, max_megapixels: float | None, output: str | None) -> None:
    """Draw the feature maps of each stage for IMAGE: a file, or the number of a test image, from 0."""
    from cnnkit.inside import show as pictures
    from cnnkit.runs.finding import find_run
    from cnnkit.runs.trained import open_run

    chosen = find_run(run)
    target = _picture(output, chosen.plot_of("features", image), data_of([chosen], image))
    _write(lambda path: pictures.features(open_run(chosen), image, path, max_megapixels), target)


@show.command()
@RUN
@click.argument("image", metavar="[IMAGE]", required=False)
@click.option("--mistakes", is_flag=True, help="Show the most confident mistakes instead of IMAGE.")
@click.option("--class", "classes", multiple=True, metavar="NAME", help="Another class to look for. Repeatable.")
@click.option("--count", type=click.IntRange(1, 100), default=12, show_default=True, help="How many mistakes.")
@click.option(
    "--layer",
    metavar="NAME",
    help="Look at what this layer outputs, named as for `show filters`; by default the last convolution, or where each "
    "pixel has a class the last one at the smallest size.",
)
@MAX_MEGAPIXELS
@_OUTPUT
@common
def gradcam(
    run: str,
    image: str | None,
    mistakes: bool,
    classes: tuple[str, ...],
    count: int,
    layer: str | None,
    max_megapixels: float | None,
    output: str | None,
) -> None:
    """Draw what in IMAGE (a file, or the number of a test image) speaks for a class."""
    from cnnkit.runs.finding import find_run
    from cnnkit.runs.trained import open_run

    if (image is None) != mistakes:
        raise UsageError("expected an image, or --mistakes", "Such as: cnnkit show gradcam RUN photo.jpg")
    if mistakes and classes:
        raise UsageError("--mistakes shows the predicted and the true class; leave out --class")
    chosen = find_run(run)
    trained = open_run(chosen)
    if image is None:
        name = "gradcam-mistakes"
        target = _picture(
            output, chosen.plot(name) if layer is None else chosen.plot_at(name, layer), data_of([chosen])
        )
        _write(lambda path: trained.task.draw_gradcam_mistakes(trained, count, path, layer), target)
    else:
        # No class has an empty name.
        choices = classes if layer is None else (*classes, "", layer)
        target = _picture(output, chosen.plot_of("gradcam", image, choices), data_of([chosen], image))
        _write(lambda path: trained.task.draw_gradcam(trained, image, classes, path, max_megapixels, layer), target)


@show.command()
@RUN
@click.option("--count", type=click.IntRange(1, 200), default=24, show_default=True, help="How many of the worst.")
@_OUTPUT
@common
def mistakes(run: str, count: int, output: str | None) -> None:
    """Draw the worst mistakes on the test images, such as the most confident ones or the largest errors."""
    from cnnkit.runs.finding import find_run
    from cnnkit.runs.trained import open_run

    chosen = find_run(run)
    trained = open_run(chosen)
    target = _picture(output, chosen.mistakes, data_of([chosen]))
    _write(lambda path: trained.task.draw_mistakes(trained, count, path), target)


@show.command()
@RUN
@click.option(
    "--output",
    "-o",
    metavar="FILE",
    help="Where to write it, a .gif or .webp file; by default plots/samples.webp in the run.",
)
@common
def samples(run: str, output: str | None) -> None:
    """Show what a generator made of the same noise after each epoch, as an animation."""
    from cnnkit.images.animation import ANIMATIONS
    from cnnkit.runs.finding import find_run
    from cnnkit.runs.trained import open_run

    chosen = find_run(run)
    trained = open_run(chosen)
    target = _picture(output, chosen.film, data_of([chosen]), tuple(ANIMATIONS))
    _write(lambda path: trained.task.draw_samples(trained, path), target)


@show.command()
@CONFIG
@SET
@click.option("--images", type=click.IntRange(1, 32), default=4, show_default=True, help="How many training images.")
@click.option("--draws", type=click.IntRange(1, 32), default=7, show_default=True, help="How often each is augmented.")
@_OUTPUT_HERE
@common
def augmentation(config: str, overrides: tuple[str, ...], images: int, draws: int, output: str | None) -> None:
    """Draw training images as the network of CONFIG receives them."""
    from cnnkit.inside import show as pictures
    from cnnkit.runs.config import load_named
    from cnnkit.runs.finding import run_of

    loaded = load_named(config, overrides, with_images=True)
    run = run_of(config)
    default = Path(f"{run.name if run else loaded.name}-augmentation.png")
    target = _picture(output, default, data_in(loaded.config.to_plain()))
    _write(lambda path: pictures.augmentation(loaded, images, draws, path), target)


@show.command()
@CONFIG
@SET
@_OUTPUT_HERE
@common
def architecture(config: str, overrides: tuple[str, ...], output: str | None) -> None:
    """Draw the network of CONFIG, as SVG and PNG."""
    from cnnkit.plots.architecture import architecture as draw
    from cnnkit.runs.config import load_named
    from cnnkit.runs.finding import run_of

    run = run_of(config)
    loaded = load_named(config, overrides)
    endings = (".svg", ".png")
    name = run.name if run is not None else loaded.name
    names = [output] if output is not None else [f"{name}-architecture{ending}" for ending in endings]
    inputs = data_in(loaded.config.to_plain())
    for target in [_picture(name, Path(name), inputs, endings) for name in names]:
        _write(lambda path: draw(loaded, path), target)


@show.command()
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=complete_runs)
@click.option(
    "--output", "-o", metavar="FILE", help="Where to write the picture; by default in the run's plots/, or here."
)
@common
def curves(runs: tuple[str, ...], output: str | None) -> None:
    """Draw loss, accuracy and learning rate of one run, or of several on one plot."""
    from cnnkit.runs.finding import find_run

    draw_curves([find_run(run) for run in runs], output)


def draw_curves(runs: Sequence[Run], output: str | None, option: str = "--output") -> None:
    """Draws learning curves, and says where they are.

    Args:
        output: The file to write, given by that option.

    Raises:
        UsageError: if there are no runs, or the file cannot be one.
    """
    from cnnkit.inside import show as pictures

    if not runs:
        raise UsageError("there are no runs to draw yet", "Make one: cnnkit train CONFIG")
    default = runs[0].curves if len(runs) == 1 else Path("curves.png")
    target = _picture(output, default, data_of(runs), (".png", ".svg"), option)
    _write(lambda path: pictures.curves(runs, path), target)


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=complete_runs)
@click.option("--output", "-o", metavar="FILE", help="Where to write it; by default in the run, or here.")
@common
def report(runs: tuple[str, ...], output: str | None) -> None:
    """Write a run, or a comparison of several, as one HTML file that needs nothing else."""
    from cnnkit.comparing.report import compare_report
    from cnnkit.report.single import write_report
    from cnnkit.runs.finding import find_run
    from cnnkit.runs.trained import open_run

    opened = [open_run(find_run(run)) for run in runs or (None,)]
    if output is not None:
        path = named_file(output, (".html", ".htm"), "--output")
    else:
        path = opened[0].run.report if len(opened) == 1 else Path("comparison.html")
    check_replaceable(path, "--output", (), REPORT)
    written = write_report(opened[0], path=path) if len(opened) == 1 else compare_report(opened, path)
    echo(f"wrote {written}")
