"""Measures what it costs that several workers train together, on this machine: workers on loopback, without a GPU.

First, seconds for adding up so many float32 numbers over the workers, which every step does with its gradients. Then,
for a network, images per second of one process with all its threads, and of workers that share them: interleaved,
several repeats, medians with the range. Nothing else should run meanwhile.

The tables go to standard output, progress to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

RANK = "MEASURE_WORKERS_PART"


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, `sys.argv` by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[2, 4], help="how many (default: 2 4)")
    parser.add_argument(
        "--numbers",
        type=int,
        nargs="+",
        default=[10**4, 10**5, 10**6, 10**7, 2 * 10**7],
        help="float32 numbers that are added up",
    )
    parser.add_argument("--config", default="configs/cifar10_resnet20.yaml", help="the network that is trained")
    parser.add_argument("--steps", type=int, default=24, help="steps of a repeat (default: 24)")
    parser.add_argument("--repeats", type=int, default=5, help="repeats (default: 5)")
    return parser.parse_args(arguments)


# --- A worker -----------------------------------------------------------------------------------------------


def sums(numbers: Sequence[int], repeats: int) -> list[list[float]]:
    """Seconds for adding up so many numbers over all workers, several times each."""
    from cnnkit.machine.devices import open_devices
    from cnnkit.machine.tensorflow import load_tensorflow

    tf = load_tensorflow()
    devices = open_devices("auto")
    found = []
    for count in numbers:

        @tf.function(autograph=False)
        def add_up(values: Any) -> Any:
            def of_replica() -> Any:
                # TensorFlow adds up what a replica has computed.
                return tf.distribute.get_replica_context().all_reduce("SUM", tf.identity(values))

            return devices.strategy.experimental_local_results(devices.strategy.run(of_replica))[0]

        values = tf.ones([count])
        times = []
        for _ in range(repeats + 2):
            devices.wait()
            begin = time.perf_counter()
            add_up(values).numpy()
            times.append(time.perf_counter() - begin)
        found.append(times[2:])
    return found


def training(config: str, steps: int, repeats: int) -> list[float]:
    """Images per second of a network's training, of the whole batch, several times."""
    from cnnkit.config.load import load_config
    from cnnkit.training.loop import Position
    from cnnkit.training.preparation import make_loop, prepare

    prepared = prepare(load_config(config))
    loop = make_loop(prepared)
    loop.begin(Position())
    loop.take(steps)
    found = []
    for _ in range(repeats):
        prepared.runtime.devices.wait()
        begin = time.perf_counter()
        float(loop.take(steps)["loss"])
        found.append(steps * prepared.config.data.batch_size / (time.perf_counter() - begin))
    return found


def work(part: dict[str, Any], answer: Path) -> None:
    """What one process does, by its part."""
    if "numbers" in part:
        found: Any = sums(part["numbers"], part["repeats"])
    else:
        found = training(part["config"], part["steps"], part["repeats"])
    answer.write_text(json.dumps(found))


# --- All of them --------------------------------------------------------------------------------------------


def run(workers: int, part: dict[str, Any]) -> Any:
    """Starts so many processes that do a part together; returns what the first one found."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(workers)]
    addresses = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]
    for listener in listeners:
        listener.close()
    threads = max(1, (os.cpu_count() or 1) // workers)
    with tempfile.TemporaryDirectory() as folder:
        processes = []
        for rank in range(workers):
            task = {"type": "worker", "index": rank}
            variables = {RANK: json.dumps(part), "TF_NUM_INTRAOP_THREADS": str(threads)}
            if workers > 1:
                variables["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
            command = [sys.executable, __file__, str(Path(folder) / str(rank))]
            processes.append(subprocess.Popen(command, env={**os.environ, **variables}))
        codes = [process.wait() for process in processes]
        if any(codes):
            raise SystemExit("a worker failed")
        return json.loads((Path(folder) / "0").read_text())


def row(*cells: str) -> None:
    sys.stdout.write("| " + " | ".join(cells) + " |\n")


def spread(values: Sequence[float], form: Callable[[float], str]) -> str:
    """The median, with the range."""
    return f"{form(statistics.median(values))} ({form(min(values))} to {form(max(values))})"


def main() -> None:
    if RANK in os.environ:
        work(json.loads(os.environ[RANK]), Path(sys.argv[1]))
        return
    options = parse_arguments()
    row("workers", "numbers", "bytes", "seconds")
    row("---:", "---:", "---:", "---:")
    for workers in options.workers:
        found = run(workers, {"numbers": options.numbers, "repeats": options.repeats})
        for count, seconds in zip(options.numbers, found, strict=True):
            row(str(workers), f"{count:,}", f"{4 * count:,}", spread(seconds, "{:.4f}".format))
    sys.stdout.write("\n")
    part = {"config": options.config, "steps": options.steps, "repeats": options.repeats}
    rates: dict[int, list[float]] = {workers: [] for workers in (1, *options.workers)}
    for repeat in range(3):
        for workers, found in rates.items():
            sys.stderr.write(f"{repeat + 1} of 3: {workers} workers\n")
            found += run(workers, part)
    row("workers", f"images per second, {options.config}")
    row("---:", "---:")
    for workers, found in rates.items():
        row(str(workers), spread(found, "{:,.0f}".format))


if __name__ == "__main__":
    main()
