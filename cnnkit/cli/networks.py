"""`cnnkit inspect`, `diff` and `eject`: what configs describe."""

from __future__ import annotations

import shlex
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from cnnkit.cli.options import CONFIG, JSON, SET, common, complete_configs, line_width, write_new_file
from cnnkit.terminal.console import echo
from cnnkit.terminal.printable import printable_json


@click.command()
@CONFIG
@SET
@click.option(
    "--depth",
    type=click.IntRange(1),
    metavar="N",
    help="How deep to unfold layers made of layers; by default as far as the table fits a screen.",
)
@click.option("--lint", "linted", is_flag=True, help="Say what a teacher would: habits that cost, each with the fix.")
@JSON
@common
def inspect(config: str, overrides: tuple[str, ...], depth: int | None, linted: bool, as_json: bool) -> None:
    """Show the layers of CONFIG: shapes, parameters, MACs, memory, receptive field."""
    from cnnkit.network.summary import summarize, summarize_others, together
    from cnnkit.runs.config import load_named

    loaded = load_named(config, overrides)
    notes = [f"it cannot be trained as it is: {note}" for note in loaded.notes]
    notes += [loaded.info.note] if loaded.info.note else []
    summary, others = summarize(loaded), summarize_others(loaded)
    advice = []
    if linted:
        from cnnkit.network.lint import lint

        advice = lint(loaded)
    if as_json:
        listed = {"lint": [asdict(one) for one in advice]} if linted else {}
        beside: dict[str, dict[str, Any]] = {}
        if others:
            parameters, training = together([summary, *others.values()])
            beside["networks"] = {name: one.as_json() for name, one in others.items()}
            beside["together"] = {"parameters": parameters, "training_bytes": training.total}
        echo(printable_json(summary.as_json() | beside | {"notes": notes} | listed))
        return
    # What the table warns of, the advice says with the fix.
    if others:
        echo(summary.network)
    echo(summary.as_table(depth, warnings=not linted, width=line_width()))
    for name, one in others.items():
        echo(f"\n{name}")
        echo(one.as_table(depth, warnings=not linted, width=line_width()))
    if others:
        parameters, training = together([summary, *others.values()])
        echo(f"\ntogether\nparameters       {parameters:,}\ntraining memory  at least {training.as_text()}")
    if notes:
        echo("\n" + "\n".join(f"note: {note}" for note in notes))
    if linted:
        echo("\n" + ("\n".join(map(str, advice)) if advice else "lint: nothing to say"))


@click.command()
@click.argument("first", metavar="A", shell_complete=complete_configs)
@click.argument("second", metavar="B", shell_complete=complete_configs)
@JSON
@common
def diff(first: str, second: str, as_json: bool) -> None:
    """Compare two configs or runs layer by layer: what changed, and what that costs."""
    from cnnkit.comparing.difference import as_text, compare, open_side

    sides = open_side(first), open_side(second)
    echo(printable_json(compare(*sides)) if as_json else as_text(*sides))


@click.command()
@CONFIG
@SET
@click.option("--output", "-o", metavar="FILE", help="Where to write it, - for the terminal; by default NAME.py here.")
@common
def eject(config: str, overrides: tuple[str, ...], output: str | None) -> None:
    """Write CONFIG as one plain Keras script: data, augmentation, network, training."""
    from cnnkit.config.load import load_config
    from cnnkit.eject import eject as script_of
    from cnnkit.runs.finding import config_file

    loaded = load_config(config_file(config), overrides)
    script = script_of(loaded)
    if output == "-":
        echo(script, nl=False)
        return
    target = Path(output or f"{loaded.name}.py")
    write_new_file(target, script)
    echo(f"wrote {target}; run it: python {shlex.quote(str(target))}")
