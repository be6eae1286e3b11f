"""`cnnkit launch`: a training by several processes."""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from cnnkit.cli.options import common
from cnnkit.cli.training import train
from cnnkit.errors import UsageError

#: Options of `train` that say how a run begins, which its config.yaml then has; all others hold for `--resume`, too.
OF_THE_START = ("config", "overrides", "run_dir", "resume", "init_from")


class _OnlyTrain(click.Group):
    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args[0] not in self.commands:
            raise UsageError(f"only `train` can be launched, got `{args[0]}`", "cnnkit launch --workers 2 train CONFIG")
        return super().resolve_command(ctx, args)


@click.group(cls=_OnlyTrain, subcommand_metavar="train CONFIG|--resume RUN ...")
@click.option("--workers", type=click.IntRange(1, 1000), metavar="N", help="Start N workers on this machine.")
@click.option(
    "--hosts",
    metavar="HOST:PORT,...",
    help="Start one worker of several machines: the addresses of all, in the same order on each machine.",
)
@click.option("--rank", type=click.IntRange(0), metavar="K", help="Which of the --hosts this one is, from 0.")
@click.option(
    "--restart",
    "restarts",
    type=click.IntRange(0),
    default=0,
    metavar="R",
    help="Start again from the last checkpoint when a worker fails, at most R times.",
)
@common
@click.pass_context
def launch(context: click.Context, **options: Any) -> None:
    """Train with several processes (workers), here or on several machines.

    All train one network together. If a worker dies, or hangs for 15 seconds, all are ended: none could go on alone.
    Worker 0 writes to the terminal; Ctrl-C is passed on to all.
    """
    context.obj = options


def _launch(**options: Any) -> None:
    """What `train` does when it is launched."""
    from cnnkit.launch.cluster import make_cluster
    from cnnkit.launch.launching import Command, launch

    context = click.get_current_context()
    group = dict(context.obj)
    restarts = group.pop("restarts")
    cluster = make_cluster(**group)
    for name, what in (("seeds", "makes several runs"), ("tune", "times one process")):
        if options[name]:
            raise UsageError(f"`train --{name}` {what}, and cannot be launched; leave out --{name}")
    config, source = _config(options["config"])

    def arguments(run: str | None) -> list[str]:
        if run is not None:
            return ["train", *_written(context, OF_THE_START), "--resume", run]
        return ["train", *_written(context, ("config",)), *config]

    context.exit(launch(cluster, Command(arguments, source), restarts))


launch.add_command(
    click.Command(
        "train", params=train.params, callback=_launch, help=train.help, short_help="Train; see cnnkit train."
    )
)


def _config(config: str | None) -> tuple[list[str], bytes | None]:
    """The config as an argument of each worker; what comes through a pipe is read here, and all of them get it."""
    from cnnkit.format.files import STDIN, is_stream, read_file

    if config is None:
        return [], None
    if is_stream(config):
        return [STDIN], read_file(config).encode()
    return ["--", config] if config.startswith("-") else [config], None


def _written(context: click.Context, without: tuple[str, ...]) -> list[str]:
    """The options of a command line as it was written, without some."""
    words: list[str] = []
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in without or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        option, value = parameter.opts[0], context.params.get(name, True)
        if getattr(parameter, "is_flag", False):
            words.append(option)
        else:
            for each in value if parameter.multiple else (value,):
                words.append(f"{option}={each}")
    return words
