"""Measures how long cnnkit takes to answer: --help, inspect, a config error, and the first training step.

python scripts/measure_startup.py                     # a Markdown table
python scripts/measure_startup.py --repeats 9 --json  # JSON
python scripts/measure_startup.py --no-training       # without what loads TensorFlow

Every command is a process of its own. All of them are run once unmeasured, so that files are cached and modules
compiled, and then in turn, `--repeats` times. CPU seconds (user and system, all threads) depend less than wall seconds
on what else the machine does; of those, the best repeat is the one that was disturbed least.

The time to the first training step ends when the first execution of `configs/digits.yaml` does, which holds several
steps (`training.steps_per_execution`). What cnnkit adds to `import tensorflow` is the difference of the two rows.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnkit.machine.tensorflow import ENVIRONMENT

ROOT = Path(__file__).parent.parent
CONFIGS = ROOT / "configs"

#: Trains until Keras has run the first execution of training steps, names what is loaded, and ends the process there.
FIRST_STEP = """
import os, sys
from cnnkit import cli
from cnnkit.machine import tensorflow as machine

load_tensorflow = machine.load_tensorflow
watched = False

def load_and_watch():
    global watched
    tensorflow = load_tensorflow()
    if watched:
        return tensorflow
    watched = True
    import keras

    class EndAfterFirstStep(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            print("loaded:", *sys.modules, flush=True)
            os._exit(0)

    from cnnkit.training.loop import Loop

    run = Loop.run

    def run_one_step(loop, *arguments):
        loop.callbacks = [*loop.callbacks, EndAfterFirstStep()]
        run(loop, *arguments)

    Loop.run = run_one_step
    return tensorflow

# What loads TensorFlow is itself loaded by the command.
machine.load_tensorflow = load_and_watch
cli.main()
"""


@dataclass(frozen=True)
class Case:
    """One command: a name for the table, Python's arguments, and the exit code that it ends with."""

    name: str
    arguments: tuple[str, ...]
    exit_code: int = 0


@dataclass(frozen=True)
class Measured:
    """Seconds of one process."""

    cpu: float
    wall: float


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="measured runs of each command (default: %(default)s)")
    parser.add_argument("--no-training", action="store_true", help="leave out what loads TensorFlow")
    parser.add_argument("--json", action="store_true", help="print only JSON")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("--repeats must be at least 1")
    with tempfile.TemporaryDirectory() as folder:
        cases = all_cases(Path(folder), training=not arguments.no_training)
        seconds: dict[str, list[Measured]] = {case.name: [] for case in cases}
        for repeat in range(-1, arguments.repeats):
            for case in cases:
                measured = measure(case, Path(folder), repeat)
                if repeat >= 0:
                    seconds[case.name].append(measured)
    rows = [row(name, values) for name, values in seconds.items()]
    result = {"python": sys.version.split()[0], "cores": os.cpu_count(), "repeats": arguments.repeats, "commands": rows}
    sys.stdout.write((json.dumps(result, indent=2) if arguments.json else table(rows)) + "\n")
    return 0


def all_cases(folder: Path, *, training: bool) -> list[Case]:
    """The commands to measure.

    Args:
        folder: Where the broken config is written.
        training: Whether to include what loads TensorFlow.
    """
    cli = ("-m", "cnnkit")
    digits = str(CONFIGS / "digits.yaml")
    broken = folder / "broken.yaml"
    broken.write_text(Path(digits).read_text(encoding="utf-8").replace("kernel_size", "kernal_size"), encoding="utf-8")
    cases = [Case("python -c pass", ("-c", "pass")), Case("cnnkit --help", (*cli, "--help"))]
    cases += [
        Case(f"cnnkit inspect {file.name}", (*cli, "inspect", str(file))) for file in sorted(CONFIGS.glob("*.yaml"))
    ]
    cases.append(Case("cnnkit train, misspelt key", (*cli, "train", str(broken)), exit_code=2))
    if training:
        cases.append(Case("import tensorflow", ("-c", "import tensorflow")))
        cases.append(Case("cnnkit train digits.yaml, first step", ("-c", FIRST_STEP, "train", digits)))
    return cases


def measure(case: Case, folder: Path, repeat: int) -> Measured:
    """Runs a command in a new process.

    Args:
        folder: Where runs are written.
        repeat: Numbers the working folders, so that each process finds its own empty.

    Raises:
        SystemExit: if the command ends otherwise than it should.
    """
    work = folder / f"{repeat}"
    work.mkdir(exist_ok=True)
    environment = {**ENVIRONMENT, **os.environ, "PYTHONPATH": str(ROOT)}
    # Users run compiled modules.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, *case.arguments], cwd=work, env=environment, capture_output=True, text=True, check=False
    )
    wall, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != case.exit_code:
        sys.exit(f"{case.name} ended with {done.returncode} instead of {case.exit_code}:\n{done.stdout}{done.stderr}")
    return Measured(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, wall)


def row(name: str, values: Sequence[Measured]) -> dict[str, Any]:
    """The figures of one command, in seconds."""
    cpu, wall = [value.cpu for value in values], [value.wall for value in values]
    return {
        "command": name,
        "cpu_median": round(statistics.median(cpu), 3),
        "cpu_least": round(min(cpu), 3),
        "cpu_most": round(max(cpu), 3),
        "wall_best": round(min(wall), 3),
        "wall_median": round(statistics.median(wall), 3),
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    """The figures as a Markdown table."""
    lines = ["| command | CPU s, median (least to most) | wall s, best (median) |", "|---|---|---|"]
    lines += [
        f"| `{line['command']}` | {line['cpu_median']:.3f} ({line['cpu_least']:.3f} to {line['cpu_most']:.3f}) "
        f"| {line['wall_best']:.3f} ({line['wall_median']:.3f}) |"
        for line in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
