"""Folders that stand for the splits of a data set: how they are told from class folders, by name and by content."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from cnnkit.config.class_names import same_for
from cnnkit.config.data import DataProblem
from cnnkit.config.image_files import folders_in
from cnnkit.rundir import holds_runs

#: Words in the name of a folder that stands for a split, and the split.
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainset", "trainval"), "train"),
    **dict.fromkeys(("validation", "validate", "val", "valid", "valset", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "testset", "eval", "evaluation"), "test"),
}

#: Words beside them that say nothing.
_FILLERS = frozenset({"set", "data", "dataset", "split", "image", "images", "img", "imgs", "samples"})


def test_split(available: Collection[str]) -> str | None:
    """Which of a data set's own splits is the one to test on; None where it has none.

    The one rule for training, `eval --data` and ejected scripts.
    """
    return next((name for name in ("test", "validation") if name in available), None)


def split_folders(root: Path) -> dict[str, Path]:
    """The folder of each split; none where the folders in `root` are those of classes.

    Folders stand for splits if all their names do, as `Training` and `seg_test` do, and they hold folders. `train` may
    also be a class, of pictures of trains: then it holds images, or has other classes beside it.

    Raises:
        DataProblem: if they look like splits, but cannot be used as such.
        OSError: if a folder cannot be read.
    """
    folders = class_folders(root)
    read = {path: _read(path.name) for path in folders}
    named = {path: found for path, found in read.items() if found is not None}
    kinds = {split for split, _ in named.values()}
    inside = {path: tuple(same_for(inner.name) for inner in class_folders(path)) for path in named}
    alike = len(named) > 1 and "train" in kinds and len(set(inside.values())) == 1 and any(inside.values())
    strangers = [path for path in folders if path not in named]
    if strangers:
        if alike or any(path.name.lower() == "train" and inside[path] for path in named):
            raise _problem(
                root,
                named,
                f"are folders of splits, but `{strangers[0].name}` is beside them; expected only folders such as "
                "`train`, `validation` (or `val`) and `test`. Move it elsewhere",
            )
        return {}
    if not alike and len({rest for _, rest in named.values()}) > 1:
        return {}
    if not any(inside.values()):
        if len(kinds) > 1:
            raise _problem(
                root,
                named,
                "look like splits, but hold no class folders; expected `train/CLASS/...` and `test/CLASS/...`. "
                "If they are classes, give one another name",
            )
        return {}
    splits: dict[str, Path] = {}
    for path, (split, _) in named.items():
        if split in splits:
            raise DataProblem(
                f"`{root}` has two folders for the {split} split, `{splits[split].name}` and `{path.name}`; keep one, "
                "or give one another name",
                "folder",
            )
        splits[split] = path
    return splits


def class_folders(folder: Path) -> list[Path]:
    """The folders in a folder that can be those of classes or splits, sorted: not those of runs.

    Raises:
        OSError: if it cannot be read.
    """
    return [path for path in folders_in(folder)[0] if not holds_runs(path)]


def _problem(root: Path, named: Collection[Path], what: str) -> DataProblem:
    names = ", ".join(f"`{path.name}`" for path in named)
    return DataProblem(f"in `{root}`, {names} {what}", "folder")


def _read(name: str) -> tuple[str, frozenset[str]] | None:
    """The split that a folder's name stands for, and what else the name says; None for another name."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    words = [word.lower() for word in re.findall(r"[^\W\d_]+|\d+", spaced)]
    splits = [word for word in words if word in SPLIT_WORDS]
    if len(splits) != 1:
        return None
    return SPLIT_WORDS[splits[0]], frozenset(words) - {splits[0]} - _FILLERS
