"""The config of a run, value by value, and where each came from."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from cnnkit.format.explain import Path, format_path
from cnnkit.report.facts import Facts
from cnnkit.report.page import Missing, yaml_text
from cnnkit.training.settings import SETTINGS

#: Values that come from one file, or share another origin, stand in one row up to this length.
_ROW_LENGTH = 140

#: What cnnkit chooses where the config says `auto`.
_CHOSEN = {"data.memory", *(f"training.{name}" for name in SETTINGS)}


@dataclass(frozen=True)
class Origin:
    """Where a value came from.

    Attributes:
        kind: `file`, `extends`, `command line`, `chosen`, `default` or `unknown`.
        name: The file, or what else is to be said; empty where the kind says all.
        lines: Those of the file.
    """

    kind: str
    name: str = ""
    lines: tuple[int, ...] = ()

    @property
    def where(self) -> str:
        """The file without its folder, and its lines: `digits.yaml:3, 7-9`."""
        if not self.lines:
            return self.name
        runs: list[list[int]] = []
        for line in self.lines:
            if runs and line == runs[-1][-1] + 1:
                runs[-1].append(line)
            else:
                runs.append([line])
        texts = [f"{run[0]}-{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs]
        return f"{os.path.basename(self.name)}:{', '.join(texts)}"


@dataclass(frozen=True)
class ConfigRow:
    """One value, or a few that came from one place.

    Attributes:
        path: Inside its section.
    """

    path: str
    value: str
    origin: Origin


@dataclass(frozen=True)
class ConfigTable:
    """The rows by section of the config, and the files that took part.

    Attributes:
        file: The config that was trained; None for a run that has not noted it.
        bases: What it extends.
    """

    sections: dict[str, list[ConfigRow]]
    file: str | None
    bases: list[str]


def config_table(facts: Facts) -> ConfigTable | Missing:
    """All values of the config as it ran."""
    if isinstance(facts.loaded, Missing):
        return facts.loaded
    environment = {} if isinstance(facts.environment, Missing) else facts.environment
    origins = _Origins(environment)
    rows: dict[str, list[ConfigRow]] = {}
    for section, value in facts.loaded.config.to_plain().items():
        rows[section] = [
            ConfigRow(format_path(path[1:] or path), yaml_text(plain, 400), origin)
            for path, plain, origin in _rows(value, (section,), origins)
        ]
    return ConfigTable(rows, origins.file, origins.bases)


class _Origins:
    """Looks origins up in what the run has noted."""

    def __init__(self, environment: Mapping[str, Any]) -> None:
        self.places: dict[str, str] | None = environment.get("written")
        self.file: str | None = environment.get("config_file")
        self.tuned = "tuning" in environment
        files = [place.rpartition(":")[0] for place in (self.places or {}).values() if not place.startswith("--set ")]
        self.bases = [name for name in dict.fromkeys(files) if name != self.file]

    def of(self, path: Path, value: Any) -> Origin:
        if self.places is None:
            return Origin("unknown")
        place = self._place(path)
        if place is not None:
            if place.startswith("--set "):
                return Origin("command line", place)
            file, _, line = place.rpartition(":")
            return Origin("file" if file == self.file else "extends", file, (int(line),))
        if format_path(path) in _CHOSEN and value != "auto":
            measured = self.tuned and path[0] == "training"
            return Origin("chosen", "measured by --tune" if measured else "for the machine")
        return Origin("default")

    def _place(self, path: Path) -> str | None:
        """Where the value was written, or what it is a part of, or its first part: a scalar may stand for arguments."""
        assert self.places is not None
        for length in range(len(path), 0, -1):
            written = self.places.get(format_path(path[:length]))
            if written is not None:
                return written
        begin = re.compile(re.escape(format_path(path)) + r"[.\[]")
        return next((place for name, place in self.places.items() if begin.match(name)), None)


def _rows(value: Any, path: Path, origins: _Origins) -> Iterator[tuple[Path, Any, Origin]]:
    parts = _parts(value)
    if not parts:
        yield path, value, origins.of(path, value)
        return
    rows = [row for key, inner in parts for row in _rows(inner, (*path, key), origins)]
    origins_here = [origin for _, _, origin in rows]
    # The layers of a network and the augmentations stand one by one.
    part = len(path) > 2 or (len(path) == 2 and isinstance(value, Mapping))
    together = part and len({(origin.kind, origin.name) for origin in origins_here}) == 1
    if together and len(yaml_text(value, _ROW_LENGTH + 1)) <= _ROW_LENGTH:
        lines = sorted({line for origin in origins_here for line in origin.lines})
        yield path, value, replace(origins_here[0], lines=tuple(lines))
    else:
        yield from rows


def _parts(value: Any) -> list[tuple[str | int, Any]]:
    if isinstance(value, Mapping):
        return list(value.items())
    if isinstance(value, list) and any(isinstance(one, Mapping | list) for one in value):
        return list(enumerate(value))
    return []
