"""The config that a run was trained with, read for anything but training: what is refused today is left out of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cnnkit.config.dataset import RecordedImages
from cnnkit.config.load import LoadedConfig, keeps_shape, validate
from cnnkit.config.run import RunConfig
from cnnkit.errors import ConfigError, Problem
from cnnkit.format.document import Node
from cnnkit.format.explain import Path
from cnnkit.format.files import read_file
from cnnkit.format.override import read_tree
from cnnkit.format.schema import Schema
from cnnkit.layers.base import any_name

#: What is left out as a whole, by how many parts of the path: with another argument it would be another quantity.
_WHOLES: dict[Path, int] = {("augmentation",): 2, ("training", "loss"): 2, ("training", "metrics"): 3}


def load_recorded(file: str, recorded: RecordedImages | None = None) -> LoadedConfig:
    """Reads a run's own config. A rule that came after the training does not make the run useless.

    Where a value is refused, its default takes its place, until the rest is valid. The network is described as it is:
    of `model`, only what no shape depends on is left out, and names of layers are taken as they are.

    Args:
        file: Its config.yaml.
        recorded: What the run has noted of its images; without it, the data set is looked at.

    Raises:
        ConfigError: as `load_config`, where what is refused cannot be left out.
    """
    text = read_file(file)
    root = read_tree(file, Schema("model", model=RunConfig), text)
    left_out: list[Problem] = []
    first: ConfigError | None = None
    token = any_name.set(True)
    try:
        while True:
            try:
                valid = validate(root, known=recorded, to_train=False)
            except ConfigError as error:
                first = first or error
                refused = list(_leave_out(root, error.problems))
                if not refused:
                    raise first from None
                left_out += refused
            else:
                notes = (*valid.notes, *(problem.message for problem in left_out))
                left = tuple(left_out)
                config, known, steps, _, others = valid
                return LoadedConfig(config, known, steps, file, root, text, False, notes, left, others)
    finally:
        any_name.reset(token)


def _leave_out(root: Node, problems: Sequence[Problem]) -> Iterator[Problem]:
    """Takes out of a tree what problems are about; those with which that could be done."""
    # All are found before the first is taken out, which would move its neighbours in a list.
    left_out = [(problem, _written_at(root, problem.keys)) for problem in problems if _can_do_without(problem.keys)]
    for problem, written in left_out:
        if written is None:
            continue
        parent, node = written
        if isinstance(parent.value, list):
            parent.value = [one for one in parent.value if one is not node]
        else:
            parent.value = {key: one for key, one in parent.value.items() if one is not node}
        yield problem


def _can_do_without(keys: Path) -> bool:
    return keys[:1] != ("model",) or (keys[1:2] != ("blocks",) and "layers" in keys[:3] and keeps_shape(keys))


def _written_at(root: Node, keys: Path) -> tuple[Node, Node] | None:
    """The deepest written value on a path and what it stands in; None where nothing of it is written."""
    for whole, parts in _WHOLES.items():
        if keys[: len(whole)] == whole:
            keys = keys[:parts]
    parent, node = None, root
    for key in keys:
        if isinstance(node.value, list) and isinstance(key, str):
            # The list stands for a leading argument, whose name is not written.
            continue
        inside = _inside(node.value, key)
        if inside is None:
            break
        parent, node = node, inside
    return (parent, node) if parent is not None else None


def _inside(value: Any, key: str | int) -> Node | None:
    if isinstance(value, dict):
        return value.get(key)
    return value[key] if isinstance(value, list) and isinstance(key, int) and key < len(value) else None
