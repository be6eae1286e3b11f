"""cnnkit as its commands run it: training, the data pipeline alone, and evaluation."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.gate import Gate, epoch_gate
from benchmarks.images import RANDOM, load_with_whole_images, random_images, read_aligned, save_images

#: The training does not end by itself; the parent ends the process.
EPOCHS = 1_000_000


def images(
    gate: Gate, config: str, overrides: list[str], count: int, output: str, split: str = "train", real: bool = True
) -> None:
    """Writes images of a config's data set, or random ones where it is not here."""
    import numpy as np

    from cnnkit import data as data_module
    from cnnkit.config.load import load_config
    from cnnkit.errors import CnnkitError

    loaded = load_config(config, [*overrides, "data.download=false"])
    source = loaded.config.data.name or str(loaded.config.data.folder)
    found = None
    if real:
        try:
            found = getattr(data_module.load(loaded.config.data, loaded.config.seed, splits=(split,)), split)
        except CnnkitError:
            source = RANDOM
    if found is None:
        pixels, labels = random_images(count, loaded.info.shape, loaded.info.classes)
    else:
        pixels, labels = found.read(np.arange(min(count, found.size))), found.labels[:count]
    save_images(pixels, labels, output)
    gate.answer({"source": source if found is not None else RANDOM, "count": len(labels)})


def training(gate: Gate, config: str, overrides: list[str], arrays: str | None = None) -> None:
    """`cnnkit train` itself, each epoch a repeat.

    Everything that it does within an epoch counts; what it writes after one does not.

    Args:
        arrays: Random images that stand in for the config's data set.
    """
    from cnnkit.terminal.console import Console
    from cnnkit.training import train as train_module

    loaded = load_with_whole_images(config, [*overrides, f"training.epochs={EPOCHS}"])
    if arrays is not None:
        stand_in(arrays)
    _wait_in_loop(gate)
    with tempfile.TemporaryDirectory() as folder:
        train_module.train(loaded, Console(), str(Path(folder) / "run"))


def pipeline(gate: Gate, config: str, overrides: list[str], arrays: str | None = None) -> None:
    """The training batches alone, nothing learned from them; each epoch is a repeat."""
    from cnnkit import data as data_module
    from cnnkit.augmentation.pipeline import Pipeline
    from cnnkit.machine.tensorflow import load_tensorflow

    load_tensorflow()
    loaded = load_with_whole_images(config, overrides).config
    if arrays is not None:
        stand_in(arrays)
    data = data_module.load(loaded.data, loaded.seed, splits=("train",))
    assert data.train is not None
    target = data.info.target
    batches = data_module.training_batches(
        data.train,
        batch_size=loaded.data.batch_size,
        seed=loaded.seed,
        transform=Pipeline(loaded.augmentation, loaded.seed, masks=target.per_pixel, ignore=target.ignore)
        if loaded.augmentation
        else None,
    )
    while True:
        gate.enter()
        for _ in batches:
            pass
        gate.leave()


def trained(gate: Gate, config: str, overrides: list[str], output: str, arrays: str | None = None) -> None:
    """Trains a config and leaves the run's folder at `output`."""
    from cnnkit.config.load import load_config
    from cnnkit.terminal.console import Console
    from cnnkit.training import train as train_module

    if arrays is not None:
        stand_in(arrays)
    run = train_module.train(load_config(config, overrides), Console(), output).run
    gate.answer({"model": str(run.model)})


def evaluation(gate: Gate, run: str, arrays: str | None = None) -> None:
    """`cnnkit eval` of the test split; what counts is the pass over its batches, `predict_batches`."""
    from cnnkit.runs import evaluation, inference, outputs
    from cnnkit.runs.directory import Run
    from cnnkit.runs.trained import open_run

    if arrays is not None:
        stand_in(arrays)
    predict_batches = inference.predict_batches

    def measured(*arguments: Any, **options: Any) -> Any:
        gate.enter()
        found = predict_batches(*arguments, **options)
        gate.leave()
        return found

    outputs.predict_batches = measured  # type: ignore[attr-defined]
    while True:
        evaluation.evaluate_run(open_run(Run(Path(run))))


def _wait_in_loop(gate: Gate) -> None:
    """Puts the gate in front of the callbacks of this process' training."""
    from cnnkit.machine.tensorflow import load_tensorflow

    load_tensorflow()
    from cnnkit.training.loop import Loop

    run = Loop.run

    def gated(loop: Loop, *arguments: Any) -> None:
        loop.callbacks = [epoch_gate(gate), *loop.callbacks]
        run(loop, *arguments)

    Loop.run = gated  # type: ignore[assignment,method-assign]


def stand_in(arrays: str) -> None:
    """Lets `cnnkit.data.load` yield the images of a file, whichever split is asked for."""
    from cnnkit import data as data_module
    from cnnkit.config.dataset import describe_data_set

    found, labels = read_aligned(arrays)

    def load(config: Any, seed: int, task: Any = None, *, splits: Any = ("train", "test"), **options: Any) -> Any:
        held: dict[str, Any] = dict.fromkeys(("train", "validation", "test"))
        for name in splits:
            if name != "validation":
                source = data_module.split_from_arrays(found, labels, name)
                held[name] = source
        return data_module.DataSets(**held, info=describe_data_set(config), fingerprint=RANDOM, memory="cache")

    data_module.load = load
