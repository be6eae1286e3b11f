"""Where a run was made, and how to make it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cnnkit.format.base import some_of
from cnnkit.format.files import MAXIMUM_BYTES
from cnnkit.format.shapes import format_shape
from cnnkit.report.facts import Facts
from cnnkit.report.page import Missing, flattened
from cnnkit.runs.interface import CONCLUDED, INITIAL_WEIGHTS, STAGES

_VERSIONS = ("cnnkit", "tensorflow", "keras", "numpy")

#: What has its own place in the report, or is too long for a table.
_ELSEWHERE = (
    "started",
    "command",
    "written",
    "config_file",
    "resumed",
    "tuning",
    "model",
    "data",
    "settings",
    "variables",
    CONCLUDED,
    INITIAL_WEIGHTS,
    STAGES,
)


def environment_tables(facts: Facts) -> dict[str, dict[str, str]] | Missing:
    """Tables of keys and values, by title."""
    environment = facts.environment
    if isinstance(environment, Missing):
        return environment
    data = dict(environment.get("data", {}))
    names, shape = data.pop("class_names", []), data.pop("image_shape", [])
    tables = {
        "Software and machine": {key: value for key, value in environment.items() if key not in _ELSEWHERE},
        "Initial weights": _weights(environment.get(INITIAL_WEIGHTS) or {}),
        "Stages": _stages(environment.get(STAGES) or []),
        "Settings": environment.get("settings", {}),
        "Environment variables": {
            key: value for key, value in environment.get("variables", {}).items() if value is not None
        },
        "Data": {**data, "image_shape": format_shape(shape), facts.trained.task.target.plural: len(names)},
        f"Chosen on the validation {facts.sample.plural}": environment.get(CONCLUDED) or {},
        "Input normalization": environment.get("model", {}).get("normalization") or {},
        **{
            f"Resumed after epoch {resumed.get('after_epoch')}": _changed(environment, resumed)
            for resumed in environment.get("resumed", [])
        },
    }
    return {
        title: {_title(key): _text(value) for key, value in flattened(table).items()}
        for title, table in tables.items()
        if table
    }


def _title(key: str) -> str:
    """A key as a row's title; a variable keeps its name."""
    return key if key.isupper() else key.replace("_", " ").replace(".", ", ")


def _changed(before: Mapping[str, Any], resumed: Mapping[str, Any]) -> dict[str, Any]:
    own = ("after_epoch", "command", "changed")
    changed = {key: value for key, value in resumed.items() if key not in own and before.get(key) != value}
    settings = {path: " -> ".join(map(_text, pair)) for path, pair in (resumed.get("changed") or {}).items()}
    return {"command": shlex.join(_command(resumed)), **settings, **changed}


def _weights(noted: Mapping[str, Any]) -> dict[str, Any]:
    """What the network began with of another run."""
    counted = {"taken": f"{len(noted['taken'])} weights"} if noted.get("taken") else {}
    shapes = {word: [f"{path} {shape}" for path, shape in (noted.get(word) or {}).items()] for word in ("new", "left")}
    return {**noted, **counted, **shapes}


def _stages(noted: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What each stage of the training was to do."""
    counts = [[_text(stage.get(key)) for key in ("epochs", "trainable_parameters")] for stage in noted]
    frozen = [some_of(stage.get("frozen") or ["none"], 8) for stage in noted]
    return {
        f"stage {number}": f"{epochs} epochs, trains {parameters} parameters; frozen: {names}"
        for number, ((epochs, parameters), names) in enumerate(zip(counts, frozen, strict=True), 1)
    }


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return ", ".join(map(_text, value)) or "none"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _command(environment: Mapping[str, Any]) -> list[str]:
    """The command line without the place where cnnkit was installed."""
    return ["cnnkit", *(str(argument) for argument in environment.get("command", ["", ""])[1:])]


@dataclass(frozen=True)
class Reproduction:
    """How to make the run again.

    Attributes:
        packages: The names and versions that decide most.
        command: What was typed; None for a run that has not noted it.
        commit: Of the folder in which it was typed.
        config: The config as it ran; source: as it was written.
    """

    packages: list[str]
    command: str | None
    commit: str | None
    config: str
    source: str
    processor: str | None


def reproduction(facts: Facts) -> Reproduction:
    """Commands and configs."""
    environment = {} if isinstance(facts.environment, Missing) else facts.environment
    return Reproduction(
        [f"{name} {environment[name]}" for name in _VERSIONS if name in environment],
        shlex.join(_command(environment)) if "command" in environment else None,
        environment.get("git_commit"),
        facts.run.read(facts.run.config, MAXIMUM_BYTES),
        facts.run.read(facts.run.config_source, MAXIMUM_BYTES) if facts.run.config_source.exists() else "",
        environment.get("processor"),
    )
