"""Measures what checkpoints cost, beside the training that they keep.

For each config: how long a checkpoint takes (the weights are finite, and the file is on the disk), how long an epoch
takes without one, and what share of the time goes to one for each epoch, and to one every five minutes.
Times of all cores together are in brackets. The table goes to standard output. Measure on a machine that does nothing
else.
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
class Seconds:
    """What something took: on the clock, and of all cores together, which depends less on what else they do."""

    wall: float
    processor: float

    def times(self, factor: float) -> Seconds:
        return Seconds(factor * self.wall, factor * self.processor)


@dataclass(frozen=True)
class Cost:
    """What checkpoints of a network cost.

    Attributes:
        size: Bytes of one.
        checkpoint: What one takes.
        epoch: What an epoch takes without one.
    """

    name: str
    parameters: int
    size: int
    checkpoint: Seconds
    epoch: Seconds

    @property
    def row(self) -> str:
        checkpoint, epoch = self.checkpoint, self.epoch
        each_epoch = checkpoint.wall / (epoch.wall + checkpoint.wall)
        of_processor = checkpoint.processor / (epoch.processor + checkpoint.processor)
        every_minutes = checkpoint.wall / (SECONDS_BETWEEN + checkpoint.wall)
        cells = (
            f"`{self.name}.yaml`",
            f"{self.parameters:,}",
            f"{self.size / 1e6:,.1f} MB",
            f"{checkpoint.wall:.3f} s ({checkpoint.processor:.3f} s)",
            f"{epoch.wall:,.0f} s ({epoch.processor:,.0f} s)",
            f"{each_epoch:.3%} ({of_processor:.3%})",
            f"{every_minutes:.3%}",
        )
        return f"| {' | '.join(cells)} |"


def seconds_of(work: Callable[[], Any]) -> Seconds:
    """What a call takes."""
    wall, processor = time.perf_counter(), time.process_time()
    work()
    return Seconds(time.perf_counter() - wall, time.process_time() - processor)


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
    taken = 0

    def take_steps() -> None:
        nonlocal taken
        begin, count = time.perf_counter(), 1
        while time.perf_counter() - begin < SECONDS_OF_STEPS:
            # To read the loss is to wait for the device.
            float(loop.take(count)["loss"])
            taken, count = taken + count, min(2 * count, 16)

    steps = seconds_of(take_steps)
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
        Seconds(
            statistics.median(one.wall for one in times),
            statistics.median(one.processor for one in times),
        ),
        steps.times(prepared.steps_per_epoch / taken),
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
        "| config | parameters | checkpoint | it takes | an epoch takes | one each epoch | one every 5 min |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        lines += [measure(name, Path(folder)).row for name in options.configs]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
