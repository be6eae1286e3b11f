"""A config file to a validated `RunConfig`; every mistake in it reported at once, with its place."""

from __future__ import annotations

import copy
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from cnnkit.config.check import check_config
from cnnkit.config.base import nearest
from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.document import Node
from cnnkit.config.explain import Mistake, explain, mistakes
from cnnkit.config.override import apply_override, read_tree
from cnnkit.config.run import ModelConfig, RunConfig
from cnnkit.config.schema import Schema
from cnnkit.errors import ConfigError, Problem


@dataclass(frozen=True)
class LoadedConfig:
    """A valid config, what is known of its data set without loading it, and the file it came from."""

    config: RunConfig
    info: DataSetInfo
    file: str

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return os.path.splitext(os.path.basename(self.file))[0]


def load_config(file: str, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Reads, merges and validates a config.

    Args:
        file: Path of the YAML file.
        overrides: `path=value` texts, applied in order after `extends`.

    Raises:
        ConfigError: with every problem that was found.
    """
    schema = Schema("model", model=RunConfig)
    root = read_tree(file, schema)
    failed: list[Problem] = []
    for override in overrides:
        try:
            apply_override(root, override, schema)
        except ConfigError as error:
            failed.extend(error.problems)
    plain = root.plain()
    try:
        config = RunConfig.model_validate(plain)
    except ValidationError as error:
        found = list(mistakes(error.errors(include_url=False), RunConfig))
        problems = [*failed, *(explain(mistake, root) for mistake in _merged(found))]
        raise ConfigError([*problems, *_shape_problems(plain, found, root)]) from None
    info, problems = check_config(config.data, config, root)
    if failed or problems or info is None:
        raise ConfigError([*failed, *problems])
    return LoadedConfig(config, info, file)


def _merged(found: list[Mistake]) -> list[Mistake]:
    """Leaves out `missing` errors that a misspelt key beside them explains."""
    meant = {
        (mistake.path[:-1], _nearest(mistake))
        for mistake in found
        if mistake.kind == "extra_forbidden" and _nearest(mistake) is not None
    }
    return [
        mistake
        for mistake in found
        if not (mistake.kind == "missing" and (mistake.path[:-1], mistake.path[-1]) in meant)
    ]


def _nearest(mistake: Mistake) -> str | None:
    return nearest(mistake.path[-1], mistake.owner.model_fields) if mistake.owner is not None else None


def _shape_problems(plain: dict[str, Any], found: list[Mistake], root: Node) -> list[Problem]:
    """Impossible shapes in a config that has other mistakes too: those are mended as they were likely meant.

    What cannot be mended ends the search at its layer.
    """
    mended = copy.deepcopy(plain)
    for mistake in found:
        _mend(mended, mistake)
    try:
        data = DataConfig.model_validate(mended.get("data"))
    except ValidationError:
        return []
    layers = mended["model"].get("layers") if isinstance(mended.get("model"), dict) else None
    model = None
    if isinstance(layers, list):
        for count in range(len(layers), 0, -1):
            try:
                model = ModelConfig.model_validate({"layers": layers[:count]})
                break
            except ValidationError:
                continue
    _, problems = check_config(data, model, root, whole=False)
    places = {mistake.path for mistake in found}
    return [problem for problem in problems if problem.path not in places]


def _mend(plain: Any, mistake: Mistake) -> None:
    """Renames a misspelt key or name to what it was likely meant to be; drops what nobody needs."""
    value = plain
    try:
        for part in mistake.path[:-1]:
            value = value[part]
        last = mistake.path[-1]
        if mistake.kind == "extra_forbidden":
            received = value.pop(last)
            meant = _nearest(mistake)
            if meant is not None and meant not in value:
                value[meant] = received
        elif mistake.kind == "unknown_name" and mistake.context.get("nearest"):
            received = value[last]
            meant = mistake.context["nearest"]
            value[last] = {meant: next(iter(received.values()))} if isinstance(received, dict) else meant
        elif isinstance(value, dict):
            value.pop(last, None)
    except (KeyError, IndexError, TypeError, AttributeError):
        # The path leads through a scalar that stands for a leading argument: nothing to mend there.
        return
