"""A config file to a validated `RunConfig`; every mistake in it reported at once, with its place."""

from __future__ import annotations

import contextlib
import copy
import itertools
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from cnnkit.augmentation import AUGMENTATIONS
from cnnkit.config.check import Parts, Stack, check_config, check_parts
from cnnkit.config.check_networks import layers_of
from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo, DescribedImages, RecordedImages
from cnnkit.config.run import STACKS, RunConfig
from cnnkit.config.training import TrainingConfig
from cnnkit.errors import ConfigError, Problem
from cnnkit.format.base import Choice, Table
from cnnkit.format.document import Node
from cnnkit.format.explain import Mistake, Path, explain, mistakes
from cnnkit.format.files import is_stream, read_file, shown_name
from cnnkit.format.override import apply_override, read_tree
from cnnkit.format.schema import Schema, schema_of
from cnnkit.layers import LAYERS
from cnnkit.layers.blocks import BlockConfig, known_blocks
from cnnkit.layers.stack import Step
from cnnkit.layers.unresolved import LAYER_CHOICE
from cnnkit.task import Task
from cnnkit.tasks import TASKS, default_task


@dataclass(frozen=True)
class LoadedConfig:
    """A valid config, what is known of its data set without loading it, and the file it came from.

    Attributes:
        steps: The layers, every name in them replaced by what it stands for, with the shapes around them; of several
            networks, those of the one that is kept.
        others: The same of the others, by name.
        tree: The values as they were written, each with its place, `extends` and `--set` merged in.
        text: What the file holds.
        piped: Whether it came through a pipe and can be read no more.
        notes: What keeps the network from being trained, where one only looks at it.
        left_out: What the config of a run holds that is refused today, see `load_recorded`.
    """

    config: RunConfig
    info: DataSetInfo
    steps: Sequence[Step]
    file: str
    tree: Node
    text: str
    piped: bool = False
    notes: tuple[str, ...] = ()
    left_out: tuple[Problem, ...] = ()
    others: Mapping[str, Sequence[Step]] = field(default_factory=dict)

    @property
    def all_steps(self) -> Sequence[Step]:
        """The layers of all networks."""
        return [*self.steps, *itertools.chain.from_iterable(self.others.values())]

    @property
    def name(self) -> str:
        """What runs of it are called: the file's name without its ending.

        The config.yaml of the run `cifar10-3` is called `cifar10` again, that of a run named otherwise as the run.
        """
        if self.piped:
            return "stdin"
        stem = os.path.splitext(os.path.basename(self.file))[0]
        folder = os.path.dirname(os.path.abspath(self.file))
        run = re.fullmatch(r"(.+?)(-\d+)?", os.path.basename(folder))
        if stem != "config" or run is None:
            return stem
        return run[1] if run[2] or os.path.exists(os.path.join(folder, "environment.json")) else stem


def load_config(
    file: str, overrides: Sequence[str] = (), *, to_train: bool = True, described: DescribedImages | None = None
) -> LoadedConfig:
    """Reads, merges and validates a config.

    Example:
        >>> loaded = load_config("configs/digits.yaml", ["training.epochs=3"])
        >>> loaded.config.training.epochs
        3
        >>> loaded.info.shape
        (8, 8, 1)

    Args:
        file: Path of the YAML file, or `-` for the standard input.
        overrides: `path=value` texts, applied in order after `extends`.
        to_train: Whether it has to be one that can be trained. Else the images may be missing where the config says
            what they are, and the network may end otherwise than in one value per class.
        described: The data set as another config of it has found it; it is not looked at again.

    Raises:
        ConfigError: with every problem that was found.
    """
    schema = Schema("model", model=RunConfig)
    text = read_file(file)
    root = read_tree(file, schema, text)
    failed: list[Problem] = []
    for override in overrides:
        try:
            apply_override(root, override, schema)
        except ConfigError as error:
            failed.extend(error.problems)
    valid = validate(root, failed, described, to_train=to_train)
    return LoadedConfig(
        valid.config,
        valid.info,
        valid.steps,
        shown_name(file),
        root,
        text,
        is_stream(file),
        valid.notes,
        others=valid.others,
    )


class Valid(NamedTuple):
    """What a valid tree holds: the attributes of a `LoadedConfig` that follow from it."""

    config: RunConfig
    info: DataSetInfo
    steps: Sequence[Step]
    notes: tuple[str, ...]
    others: Mapping[str, Sequence[Step]]


def validate(
    root: Node,
    failed: Sequence[Problem] = (),
    known: RecordedImages | DescribedImages | None = None,
    *,
    to_train: bool = True,
) -> Valid:
    """What a tree holds.

    Args:
        root: With `extends` and `--set` merged in.
        failed: What went wrong with that.
        known: What is known of the images, where the data set is not to be looked at.
        to_train: As for `load_config`.

    Raises:
        ConfigError: with every problem that was found.
    """
    plain = root.plain()
    try:
        config = RunConfig.model_validate(plain)
    except ValidationError as error:
        problems_found = _merged(list(mistakes(error.errors(include_url=False), RunConfig)))
        problems = [*failed, *(explain(mistake, root) for mistake in problems_found)]
        raise ConfigError([*problems, *_further_problems(plain, problems_found, root)]) from None
    checked = check_config(config, root, known)
    problems = checked.problems
    notes = () if to_train else tuple(problem.message for problem in problems if problem.of_training)
    problems = [problem for problem in problems if to_train or not problem.of_training]
    if failed or problems or checked.info is None or checked.steps is None:
        raise ConfigError([*failed, *problems])
    return Valid(config, checked.info, checked.steps, notes, checked.others)


def _merged(mistakes_made: list[Mistake]) -> list[Mistake]:
    """Leaves out `missing` errors that a misspelt key beside them explains."""
    meant = {
        (mistake.path[:-1], _nearest(mistake))
        for mistake in mistakes_made
        if mistake.kind == "extra_forbidden" and _nearest(mistake) is not None
    }
    return [
        mistake
        for mistake in mistakes_made
        if not (mistake.kind == "missing" and (mistake.path[:-1], mistake.path[-1]) in meant)
    ]


def _nearest(mistake: Mistake) -> str | None:
    from cnnkit.format.hints import meant_key

    if mistake.owner is None:
        return None
    return meant_key(str(mistake.path[-1]), mistake.owner, mistake.document)


#: Fields of `data` without which the images' shape, or the number of classes, is a guess.
_DECIDES_SHAPE = ("name", "folder", "image_size", "channels", "shape", "classes", "splits", "boxes")
#: Arguments of layers that do not change what leaves the layer, beside those with named objects or numbers that
#: are not whole.
_KEEPS_SHAPE = ("name", "trainable", "dtype", "activation", "use_bias", "seed", "center", "scale")


def _further_problems(plain: dict[str, Any], mistakes_made: list[Mistake], root: Node) -> list[Problem]:
    """What is wrong beyond the mistakes that were found in a config, such as impossible shapes.

    Misspelt names are read as they were likely meant, so that a mistake hides no other one. What cannot be
    mended ends the search at its layer: a guess would give false errors.
    """
    mended = copy.deepcopy(plain)
    broken = [mistake for mistake in mistakes_made if not _mend(mended, mistake)]
    if any(mistake.path[:1] == ("data",) and _decides_shape(mistake) for mistake in broken):
        return []
    try:
        task = Choice(TASKS).validate(mended["task"]) if "task" in mended else default_task()
    except PydanticCustomError:
        # Nobody knows what the network should give.
        return []
    assert isinstance(task, Task)
    try:
        data = DataConfig.model_validate(mended.get("data"))
    except ValidationError:
        return []
    model = mended.get("model")
    written = model.get("blocks") if isinstance(model, dict) else None
    with known_blocks(written):
        blocks = _valid_blocks(written)
        # A broken block may be any shape.
        stacks = _valid_stacks(plain, mended, broken, is_known=blocks is not None)
    training = None
    if not any(mistake.path[:1] == ("training",) for mistake in broken):
        with contextlib.suppress(ValidationError):
            training = TrainingConfig.model_validate(mended.get("training", {}))
    augmentation = _valid_entries(mended.get("augmentation"), AUGMENTATIONS)
    parts = Parts.of(task, data, blocks or {}, stacks, augmentation, training)
    return check_parts(parts, root).problems


def _decides_shape(mistake: Mistake) -> bool:
    return len(mistake.path) == 1 or mistake.path[1] in _DECIDES_SHAPE


def _valid_blocks(written: Any) -> dict[str, BlockConfig] | None:
    """The blocks of a config; None if one of them is broken."""
    if written is not None and not isinstance(written, dict):
        return None
    try:
        return {name: BlockConfig.model_validate(block) for name, block in (written or {}).items()}
    except ValidationError:
        return None


def _valid_stacks(
    plain: dict[str, Any], mended: dict[str, Any], broken: list[Mistake], *, is_known: bool
) -> dict[str, Stack] | None:
    """The networks that a config writes, as far as they are valid; None if nobody knows which.

    Args:
        plain: As it is written.
        is_known: Whether what stands for their layers is; a broken block may be any shape.
    """
    written_model, model = plain.get("model"), mended.get("model")
    if not isinstance(model, dict) or not isinstance(written_model, dict):
        return None
    ending_known = not any("activation" in mistake.path for mistake in broken)
    stacks = {}
    for name in ("", *STACKS):
        if (name or "layers") in {**written_model, **model}:
            place = layers_of(name)
            section = model.get(name) if name else model
            written = section.get("layers") if isinstance(section, dict) else None
            layers, whole = _valid_layers(written, place, broken) if is_known else ([], False)
            stacks[name] = Stack(layers, whole, ending_known)
    return stacks


def _valid_layers(written: Any, place: Path, broken: list[Mistake]) -> tuple[list[Any], bool]:
    """The layers up to the first one whose output is unknown, and whether these are all."""
    if not isinstance(written, list) or not written:
        return [], False
    end, depth = len(written), len(place)
    for mistake in broken:
        if mistake.path[:depth] == place and len(mistake.path) > depth and not keeps_shape(mistake.path):
            end = min(end, int(mistake.path[depth]))
    layers = []
    for value in written[:end]:
        try:
            layers.append(LAYER_CHOICE.validate(value))
        except PydanticCustomError:
            return layers, False
    return layers, end == len(written)


def _valid_entries(written: Any, table: Table) -> list[tuple[int, Any]]:
    """The entries of a list of named objects that are valid, with their places."""
    choice = Choice(table)
    entries = []
    for index, value in enumerate(written if isinstance(written, list) else []):
        with contextlib.suppress(PydanticCustomError):
            entries.append((index, choice.validate(value)))
    return entries


def keeps_shape(path: tuple[str | int, ...]) -> bool:
    """Whether the output of the layer that a path leads into is known although the argument there is not."""
    inside = path[path.index("layers") + 1 :]
    if len(inside) < 3:
        return False
    kind, argument = str(inside[1]), str(inside[2])
    cls = LAYERS.get(kind)
    if cls is None or argument not in cls.model_fields:
        return False
    info = cls.model_fields[argument]
    is_number = info.annotation is float
    return argument in _KEEPS_SHAPE or is_number or schema_of(info.annotation, info.metadata).kind == "choice"


def _mend(plain: Any, mistake: Mistake) -> bool:
    """Reads a mistake as it was likely meant; what cannot be read is dropped.

    Returns:
        Whether the result is what was meant.
    """
    value = plain
    try:
        for part in mistake.path[:-1]:
            if isinstance(value, list) and isinstance(part, str):
                # A list that stands for a leading argument.
                continue
            value = value[part]
        last = mistake.path[-1]
        if mistake.kind == "extra_forbidden":
            received = value.pop(last)
            meant = _nearest(mistake)
            if meant is not None and meant not in value:
                value[meant] = received
            return meant is not None
        if mistake.kind == "unknown_name" and mistake.context.get("nearest"):
            received = value[last]
            meant = mistake.context["nearest"]
            value[last] = {meant: next(iter(received.values()))} if isinstance(received, dict) else meant
            return True
        if isinstance(value, dict):
            value.pop(last, None)
    except (KeyError, IndexError, TypeError, AttributeError):
        # The path leads through a scalar that stands for a leading argument: nothing to mend there.
        pass
    return False
