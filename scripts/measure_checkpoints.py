"""Measures what checkpoints cost, beside the training that they keep.

For each config: how long a checkpoint takes (the weights are finite, and the file is on the disk), how long an epoch
takes without one, and what share of the time goes to one for each epoch, and to one every five minutes.
The table goes to standard output. Measure on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

#: Of these, the median counts.
REPEATS = 5

#: Steps are taken for at least so long.
SECONDS_OF_STEPS = 5.0

#: `training.checkpoint_minutes` by default.
SECONDS_BETWEEN = 300.0


@dataclass(frozen=True)
class Cost:
    """What checkpoints of a network cost; all times in seconds.

    Attributes:
        wall: What one takes.
        processor: The processor time that it takes.
        epoch: What an epoch takes without one.
    """

    name: str
    parameters: int
    size: int
    wall: float
    processor: float
    epoch: float

    @property
    def row(self) -> str:
        each_epoch = self.wall / (self.epoch + self.wall)
        every_minutes = self.wall / (SECONDS_BETWEEN + self.wall)
        return (
            f"| `{self.name}.yaml` | {self.parameters:,} | {self.size / 1e6:,.1f} MB | {self.wall:.3f} s "
            f"| {self.processor:.3f} s | {self.epoch:,.0f} s | {each_epoch:.2%} | {every_minutes:.3%} |"
        )


def seconds_of(work: Callable[[], Any]) -> tuple[float, float]:
    """The wall time and the processor time of a call."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - processor


def measure(name: str, folder: Path) -> Cost:
    """What checkpoints cost in the training of a shipped config, written to a folder."""
    from cnnkit.config.load import load_config
    from cnnkit.config.shipped import find
    from cnnkit.runs.directory import Run
    from cnnkit.training.callbacks import Keeper
    from cnnkit.training.checkpoint import save_checkpoint
    from cnnkit.training.loop import Position
    from cnnkit.training.preparation import make_loop, prepare

    prepared = prepare(load_config(str(find(name))))
    loop = make_loop(prepared)
    loop.begin(Position())
    loop.take(1)
    taken, count, seconds = 0, 1, 0.0
    while seconds < SECONDS_OF_STEPS:
        wall, _ = seconds_of(lambda: float(loop.take(count)["loss"]))  # noqa: B023
        taken, seconds, count = taken + count, seconds + wall, min(2 * count, 16)
    run = Run(folder / name)
    run.checkpoint.parent.mkdir(parents=True)
    # As within an epoch, with the variables of the metrics.
    state = {"epochs_done": 0, "step": taken, "stopped": False, "rows": [], "callbacks": {}}
    keeper: Any = SimpleNamespace(model=prepared.model)

    def keep() -> None:
        Keeper.check_variables(keeper)
        save_checkpoint(run, prepared.model, state)

    times = [seconds_of(keep) for _ in range(REPEATS)]
    return Cost(
        name,
        prepared.model.count_params(),
        run.checkpoint.stat().st_size,
        statistics.median(wall for wall, _ in times),
        statistics.median(processor for _, processor in times),
        seconds / taken * prepared.steps_per_epoch,
    )


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, `sys.argv` by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = ["cifar10_resnet20", "cifar10_alexnet", "cifar10_vgg"]
    parser.add_argument("configs", nargs="*", default=default, help=f"shipped ones (default: {' '.join(default)})")
    parser.add_argument("--folder", type=Path, help="where checkpoints are written (default: the temporary folder)")
    return parser.parse_args(arguments)


def main() -> None:
    options = parse_arguments()
    lines = [
        "| config | parameters | checkpoint | takes | of a core | an epoch takes | one each epoch | one every 5 min |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        lines += [measure(name, Path(folder)).row for name in options.configs]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
