"""Folders that stand for the splits of a data set: how they are told from class folders, by name and by content."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnkit.config.class_names import same_for
from cnnkit.config.data import DataProblem
from cnnkit.format.run_folders import holds_runs
from cnnkit.images.files import folders_in

#: Words in the name of a folder that stands for a split, and the split.
SPLIT_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainset", "trainval"), "train"),
    **dict.fromkeys(("validation", "validate", "val", "valid", "valset", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing", "tst", "testset", "eval", "evaluation"), "test"),
}

#: Other words in such names that say nothing.
_FILLERS = frozenset({"set", "data", "dataset", "split", "image", "images", "img", "imgs", "samples"})


#: The folders in a folder, and the files beside them, as `folders_in` gives them.
Scan = Callable[[Path], tuple[list[Path], list[Path]]]


def test_split(available: Collection[str]) -> str | None:
    """Which of a data set's own splits is the one to test on; None where it has none.

    The one rule for training, `eval --data` and ejected scripts.
    """
    return next((name for name in ("test", "validation") if name in available), None)


@dataclass(frozen=True)
class _Named:
    """A folder whose name stands for a split.

    Attributes:
        rest: What else the name says, such as `seg` of `seg_train`.
        inside: The names of the folders in it.
    """

    path: Path
    split: str
    rest: frozenset[str]
    inside: tuple[str, ...]


def split_folders(root: Path, scan: Scan = folders_in) -> dict[str, Path]:
    """The folder of each split; none where the folders in `root` are those of classes.

    Folders stand for splits if all their names do, as `Training` and `seg_test` do, and they hold folders. `train` may
    also be a class, of pictures of trains: then it holds images, or has other classes next to it.

    Args:
        scan: Lists a folder as `folders_in` does, so that whoever asks for more need not list it again.

    Raises:
        DataProblem: if they look like splits, but cannot be used as such.
        OSError: if a folder cannot be read.
    """
    folders = class_folders(root, scan)
    named = [read for path in folders if (read := _read(path, scan)) is not None]
    names = ", ".join(f"`{one.path.name}`" for one in named)
    certain = _are_splits(named)
    strangers = set(folders) - {one.path for one in named}
    if strangers and certain:
        raise DataProblem(
            f"in `{root}`, `{min(strangers).name}` is beside folders that stand for splits ({names}); expected only "
            "such as `train`, `validation` (or `val`) and `test`. Move it elsewhere, or rename what is a class",
            "folder",
        )
    if strangers or not (certain or len({one.rest for one in named}) == 1):
        return {}
    if not any(one.inside for one in named):
        if len({one.split for one in named}) > 1:
            raise DataProblem(
                f"in `{root}`, {names} look like splits, but hold no class folders; expected `train/CLASS/...` and "
                "`test/CLASS/...`. If they are classes, give one another name",
                "folder",
            )
        return {}
    splits: dict[str, Path] = {}
    for one in named:
        if one.split in splits:
            raise DataProblem(
                f"`{root}` has two folders for the {one.split} split, `{splits[one.split].name}` and "
                f"`{one.path.name}`; keep one, or give one another name",
                "folder",
            )
        # Archives often hold a folder of their own name.
        splits[one.split] = one.path / one.path.name if one.inside == (one.path.name,) else one.path
    return splits


def _are_splits(named: Sequence[_Named]) -> bool:
    """Whether folders with names of splits are nothing else, whatever lies next to them."""
    kinds = {one.split for one in named}
    if len(named) > 1 and "train" in kinds and any(named[0].inside) and len({one.inside for one in named}) == 1:
        return True
    partners = {one.rest for one in named if one.split != "train"}
    return any(
        one.split == "train" and one.inside and (one.path.name.lower() == "train" or one.rest in partners)
        for one in named
    )


def named_split(name: str) -> str | None:
    """The split that a folder of this name stands for where one of no class can be, as `Train` and `val2017`."""
    return SPLIT_WORDS.get(re.sub(r"[^a-z]", "", name.lower()))


def class_folders(folder: Path, scan: Scan = folders_in) -> list[Path]:
    """The folders in a folder that can be those of classes or splits, sorted: not those of runs.

    Raises:
        OSError: if it cannot be read.
    """
    return [path for path in scan(folder)[0] if not holds_runs(path)]


def classes_by_name(folder: Path, scan: Scan = folders_in) -> dict[str, Path]:
    """The class folders in a folder, sorted, by what the spellings of their names have in common.

    Raises:
        DataProblem: if the names of two are one text.
        OSError: as `class_folders`.
    """
    names: dict[str, Path] = {}
    for path in class_folders(folder, scan):
        other = names.setdefault(same_for(path.name), path)
        if other is not path:
            raise DataProblem(
                f"`{folder}` has two class folders `{path.name}`, whose names are the same text in two spellings "
                "(with accented letters as one character, and as two); put what they hold into one",
                "folder",
            )
    return names


def _read(path: Path, scan: Scan) -> _Named | None:
    """What a folder's name says of a split; None for another name."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", path.name)
    words = [word.lower() for word in re.findall(r"[^\W\d_]+|\d+", spaced)]
    splits = [word for word in words if word in SPLIT_WORDS]
    if len(splits) != 1:
        return None
    inside = tuple(same_for(inner.name) for inner in class_folders(path, scan))
    return _Named(path, SPLIT_WORDS[splits[0]], frozenset(words) - {splits[0]} - _FILLERS, inside)
