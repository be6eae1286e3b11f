"""`cnnkit restore`."""

from __future__ import annotations

import os

import click

from cnnkit.cli.options import SET, check_new, common, complete_configs, named_file
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.terminal.console import echo


@click.command()
@click.argument("config", metavar="CONFIG", shell_complete=complete_configs)
@click.argument("image", metavar="IMAGE")
@click.option(
    "--mask", metavar="FILE", help="An image of the same size, black where pixels of IMAGE are missing: `data.damage`."
)
@click.option(
    "--scale", type=click.IntRange(2, 16), metavar="N", help="Make it N times higher and wider: `data.enlarge`."
)
@click.option(
    "--reference", metavar="FILE", help="The undamaged picture, to measure PSNR and SSIM against: `data.reference`."
)
@click.option("--output", "-o", metavar="FILE", required=True, help="Where to write the restored picture, a PNG file.")
@click.option("--run-dir", metavar="DIR", help="The run's directory; by default runs/<config name>-<n>.")
@SET
@common
def restore(
    config: str,
    image: str,
    mask: str | None,
    scale: int | None,
    reference: str | None,
    output: str,
    run_dir: str | None,
    overrides: tuple[str, ...],
) -> None:
    """Restore the picture IMAGE, damaged as it is, with the network and the training of CONFIG.

    CONFIG is a file, or the name of a config that comes with cnnkit, such as dip_denoise. A run is made as by `train`:
    it has the curves and a report, and can be gone on with.
    """
    from cnnkit.cli.training import Options, train_one

    target = named_file(output, (".png",), "--output")
    check_new(target)
    for option, file in (("IMAGE", image), ("--mask", mask), ("--reference", reference)):
        if file is not None and not os.path.isfile(file):
            raise UsageError(f"{option}: there is no file `{file}`")
    file = _config_file(config)
    _check_restores(config, file, overrides)
    section = {
        "damage": "null",
        "damage.mask": None if mask is None else os.path.abspath(mask),
        "image": os.path.abspath(image),
        "enlarge": "null" if scale is None else str(scale),
        "reference": "null" if reference is None else os.path.abspath(reference),
        "image_size": "null",
        "resize": "stretch",
        "shape": "null",
        "channels": "null",
    }
    given = (*(f"data.{name}={value}" for name, value in section.items() if value is not None), *overrides)
    run = train_one(file, given, Options(run_dir=run_dir))
    try:
        with run.open(run.restored, os.path.getsize(run.restored)) as stream:
            target.write_bytes(stream.read())
    except OSError as error:
        raise CnnkitError(
            f"cannot write `{target}`: {error.strerror}", f"The picture is in `{run.restored}`."
        ) from None
    echo(f"wrote {target}")


def _check_restores(name: str, file: str, overrides: tuple[str, ...]) -> None:
    """Raises UsageError where a config has another task; what else it has wrong is told when it is loaded."""
    from cnnkit.config.run import RunConfig
    from cnnkit.config.target import Picture
    from cnnkit.format.override import apply_override, read_tree
    from cnnkit.format.schema import Schema
    from cnnkit.runs.listing import task_in

    schema = Schema("model", model=RunConfig)
    tree = read_tree(file, schema)
    for override in overrides:
        apply_override(tree, override, schema)
    task = task_in(tree.plain())
    if task is not None and not issubclass(task.target, Picture):
        raise UsageError(
            f"`{name}` is a config of the task {task.name}, which restores no picture",
            "`cnnkit new --list` names configs that do: dip_denoise and others.",
        )


def _config_file(name: str) -> str:
    """A config file as it is, or the one that comes with cnnkit under a name."""
    from cnnkit.config import shipped
    from cnnkit.runs.finding import is_config

    if is_config(name):
        return name
    return str(shipped.find(name))
