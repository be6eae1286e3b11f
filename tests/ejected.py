"""Ejected scripts as modules and as runs, and what `cnnkit train` measures beside them."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from trainings import TIMING

from cnnkit.augmentation import AUGMENTATIONS
from cnnkit.config.load import LoadedConfig
from cnnkit.config.target import Target
from cnnkit.data.splits import DataSets, Split
from cnnkit.eject.augmentation import write_augmentation
from cnnkit.eject.text import import_lines
from cnnkit.format.base import Choice
from cnnkit.format.seeds import derive_seed
from cnnkit.terminal.console import Console
from cnnkit.training.train import train


def as_module(script: str) -> ModuleType:
    """The script as it is when imported: nothing runs."""
    module = ModuleType("ejected")
    exec(compile(script, "ejected.py", "exec"), module.__dict__)
    return module


def run_script(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, list[float]], str]:
    """Runs a script without cnnkit: each figure's value in each epoch, and what it printed."""
    import keras

    histories = []
    fit = keras.Model.fit

    def recording(self: Any, *arguments: Any, **options: Any) -> Any:
        histories.append(fit(self, *arguments, **options))
        return histories[-1]

    with monkeypatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as shown:
        patch.chdir(folder)
        patch.setattr(keras.Model, "fit", recording)
        for name in [name for name in sys.modules if name.split(".")[0] == "cnnkit"]:
            patch.setitem(sys.modules, name, None)
        as_module(script).main()
    joined = {
        name: [value for one in histories for value in one.history.get(name, [])] for name in histories[0].history
    }
    return joined, shown.getvalue()


def figures(loaded: LoadedConfig, folder: Path) -> dict[str, list[float]]:
    """What `cnnkit train` measures: each figure's value in each epoch, those of time left out."""
    rows = train(loaded, Console(), str(folder / "run")).run.read_metrics()
    return {name: [float(row[name]) for row in rows] for name in rows[0] if name not in ("epoch", *TIMING)}


class _Divided(Exception):
    """A script has its images."""


def splits_of(script: str) -> dict[str, Any]:
    """`train`, `validation` and `test` of a script's `main`, each (images, targets), as they are before the network."""
    module = as_module(script)

    def stop(*arguments: Any) -> None:
        raise _Divided

    module.build_model = stop  # type: ignore[attr-defined]
    with pytest.raises(_Divided) as stopped, contextlib.redirect_stdout(io.StringIO()):
        module.main()
    (here,) = (entry for entry in stopped.traceback if entry.name == "main")
    return here.frame.f_locals


def each_split(found: dict[str, Any], expected: DataSets) -> Iterator[tuple[str, Any, Split]]:
    """Of each split: its name, what a script has of it (`splits_of`), and what cnnkit has; neither may have others."""
    for name in ("train", "validation", "test"):
        split = getattr(expected, name)
        assert (split is None) == (name not in found), name
        if split is not None:
            yield name, found[name], split


def augmentation_of(written: Sequence[Any], target: Target, seed: int) -> tuple[list[Any], ModuleType]:
    """An `augmentation` section as cnnkit has it, and as a script of a run with a seed does."""
    augmentation = [Choice(AUGMENTATIONS).validate(one) for one in written]
    body = "\n\n".join(write_augmentation(augmentation, target))
    standard, others = import_lines(body)
    module = ModuleType("ejected")
    module.__dict__["seed_of"] = lambda *path: derive_seed(seed, *path)
    text = "\n".join(["from __future__ import annotations", *standard, *others, body])
    exec(compile(text, "ejected.py", "exec"), module.__dict__)
    return augmentation, module
