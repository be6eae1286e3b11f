"""`cnnkit generate`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from cnnkit.cli.options import RUN, check_new, common, named_file, write_new_file
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.images.animation import ANIMATIONS, animated
from cnnkit.terminal.console import echo

#: Images, and images that are walked between, where `-n` says nothing.
_IMAGES, _WALKED = 64, 8

#: More of them would be hours of work, and no sheet that anybody looks at.
_MOST, _MOST_WALKED = 10_000, 100

#: Images from one to the next: of a row, and of an animation.
_STEPS, _FRAMES = 10, 16

#: Of an animation: milliseconds of each frame, and pixels of its shorter side, at least.
_DURATION, _SIDE = 60, 192


@click.command()
@RUN
@click.option(
    "-n",
    "count",
    type=click.IntRange(1, _MOST),
    metavar="N",
    help=f"How many images; with --interpolate, how many the walk goes through. By default {_IMAGES}, and {_WALKED}.",
)
@click.option(
    "--seed",
    type=click.IntRange(0, 2**31 - 1),
    default=0,
    show_default=True,
    help="Another one, other images. Image number 5 of a seed is the same however many are made.",
)
@click.option(
    "--class",
    "of_class",
    metavar="NAME",
    help="Only images of this class. Of a generator that knows no classes, its classifier chooses them.",
)
@click.option(
    "--interpolate",
    is_flag=True,
    help="Walk from image to image: rows of a sheet, or, where FILE ends in .gif or .webp, an animation.",
)
@click.option(
    "--output",
    "-o",
    metavar="FILE|FOLDER",
    required=True,
    help="Where to write them: one sheet (.png), or a folder, which gets a PNG file of each.",
)
@common
def generate(run: str, count: int | None, seed: int, of_class: str | None, interpolate: bool, output: str) -> None:
    """Make images with the trained generator RUN."""
    target = _target(output, interpolate)
    if interpolate and count is not None and count > _MOST_WALKED:
        raise UsageError(f"-n: with --interpolate, expected at most {_MOST_WALKED}, got {count}")
    if interpolate and count == 1:
        raise UsageError("-n: a walk goes through at least 2 images")
    from cnnkit.runs.finding import find_run
    from cnnkit.runs.trained import open_run

    trained = open_run(find_run(run))
    maker = trained.task.maker(trained)
    if not interpolate:
        images, note = maker.images(seed, count or _IMAGES, of_class)
        _tell(note)
        _write(images, target)
        return
    is_animation = target.suffix.lower() in ANIMATIONS
    images, note = maker.walk(seed, count or _WALKED, _FRAMES if is_animation else _STEPS, of_class)
    _tell(note)
    flat = images.reshape(-1, *images.shape[2:])
    if is_animation:
        write_new_file(target, _animation(flat, ANIMATIONS[target.suffix.lower()]))
        echo(f"wrote {target}: {len(flat)} images, one after the other")
    else:
        _write(flat, target, columns=images.shape[1])


def _tell(note: str) -> None:
    if note:
        echo(f"note: {note}", err=True)


def _target(output: str, interpolate: bool) -> Path:
    """Where to write; a name without an ending is a folder's.

    Raises:
        UsageError: if nothing can be written there.
    """
    path = Path(output)
    if path.is_dir() or not path.suffix or output.endswith(os.sep):
        if path.is_dir() and any(path.iterdir()):
            raise UsageError(f"the folder `{path}` is not empty", "Name another one with --output.")
        if not path.parent.is_dir():
            raise UsageError(f"--output: there is no folder `{path.parent}`")
        if os.path.lexists(path) and not path.is_dir():
            raise UsageError(f"`{path}` is a file", "Name a folder, or a file that ends in .png, with --output.")
        return path
    if path.suffix.lower() in ANIMATIONS and not interpolate:
        raise UsageError(
            f"--output: expected a name that ends in .png, got `{output}`", "An animation takes --interpolate."
        )
    named_file(output, (".png", *(ANIMATIONS if interpolate else ())), "--output")
    check_new(path)
    return path


def _write(images: Any, target: Path, columns: int | None = None) -> None:
    """Writes images as one sheet, or each by itself into a folder."""
    from cnnkit.images.pictures import encoded, picture_of
    from cnnkit.images.tiles import tiled

    if target.suffix and not target.is_dir():
        write_new_file(target, encoded(picture_of(tiled(images, columns))))
        echo(f"wrote {target}: {len(images)} images on one sheet")
        return
    try:
        target.mkdir(exist_ok=True)
    except OSError as error:
        raise CnnkitError(f"cannot make the folder `{target}`: {error.strerror}") from None
    digits = max(4, len(str(len(images) - 1)))
    for number, image in enumerate(images):
        write_new_file(target / f"{number:0{digits}}.png", encoded(picture_of(image)))
    echo(f"wrote {len(images)} images into {target}")


def _animation(images: Any, kind: str) -> bytes:
    """Images one after the other, over and over; small ones are enlarged by whole numbers."""
    from PIL import Image

    from cnnkit.images.pictures import picture_of

    times = max(1, -(-_SIDE // min(images.shape[1:3])))
    size = (images.shape[2] * times, images.shape[1] * times)
    frames = [picture_of(image).resize(size, Image.Resampling.NEAREST) for image in images]
    return animated(frames, kind, _DURATION)
