"""Shows that memory stays bounded where images do not fit in it: `streaming` generates a folder of many small images,
streams epochs of training batches from it (and with --train trains a small network), and prints the resident memory
along the way. Linux only: it reads /proc."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

CLASSES = 10

#: Where in an epoch the memory is reported.
SHARES = (0.1, 0.5, 1.0)

CONFIG = """\
seed: 0
data: {{folder: {folder}, memory: stream, validation: 0.05, batch_size: {batch_size}}}
augmentation:
  - RandomFlip: horizontal
model:
  layers:
    - Conv2D: {{filters: 8, kernel_size: 3, strides: 2, activation: relu}}
    - Conv2D: {{filters: 16, kernel_size: 3, strides: 2, activation: relu}}
    - GlobalAveragePooling2D
    - Dense: {{units: classes, activation: softmax}}
training: {{epochs: {epochs}, optimizer: {{Adam: {{learning_rate: 0.001}}}}}}
"""


@dataclass
class Sample:
    """Resident memory at one moment.

    Args:
        phase: `start`, or `epoch <n>`.
        share: How much of the phase was done, 0..1.
        megabytes: Resident memory.
    """

    phase: str
    share: float
    megabytes: float


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    streaming = commands.add_parser("streaming", help="resident memory while images stream from files")
    streaming.add_argument("--images", type=int, default=100_000, help="images to generate (default: 100000)")
    streaming.add_argument("--size", type=int, default=64, help="height and width in pixels (default: 64)")
    streaming.add_argument("--format", choices=["jpg", "png"], default="jpg", help="file format (default: jpg)")
    streaming.add_argument("--epochs", type=int, default=2, help="epochs to stream (default: 2)")
    streaming.add_argument("--batch-size", type=int, default=128, help="images per batch (default: 128)")
    streaming.add_argument("--train", action="store_true", help="also `cnnkit train` a small network on the folder")
    streaming.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    return parser.parse_args()


# --- The images -----------------------------------------------------------------------------------------


def _write_images(folder: Path, size: int, suffix: str, numbers: range) -> None:
    import numpy as np
    from PIL import Image

    random = np.random.default_rng(numbers.start)
    for number in numbers:
        # Smooth colours, so that a JPEG has a photo's size and not that of noise.
        coarse = Image.fromarray(random.integers(0, 256, (8, 8, 3), np.uint8))
        coarse.resize((size, size), Image.Resampling.BICUBIC).save(
            folder / f"class{number % CLASSES}" / f"{number:07d}.{suffix}"
        )


def make_folder(parent: Path, images: int, size: int, suffix: str) -> Path:
    """`train` and `test` folders of class folders with so many images to train on, and a fiftieth to test on."""
    for split, count in (("train", images), ("test", max(CLASSES, images // 50))):
        for number in range(CLASSES):
            (parent / split / f"class{number}").mkdir(parents=True)
        with ProcessPoolExecutor() as pool:
            parts = [range(start, min(start + 1000, count)) for start in range(0, count, 1000)]
            jobs = [pool.submit(_write_images, parent / split, size, suffix, part) for part in parts]
            for job in jobs:
                job.result()
    return parent


# --- Streaming ------------------------------------------------------------------------------------------


def resident_megabytes(process: int | str = "self", field: str = "VmRSS") -> float:
    """A memory figure of a process; 0 if it has ended."""
    try:
        for line in Path(f"/proc/{process}/status").read_text("ascii").splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def stream(folder: Path, epochs: int, batch_size: int) -> dict[str, Any]:
    """Epochs of augmented training batches, as `fit` gets them, in this process."""
    from cnnkit.machine.tensorflow import load_tensorflow

    tf = load_tensorflow()
    from cnnkit import data
    from cnnkit.augmentation import AUGMENTATIONS
    from cnnkit.augmentation.pipeline import Pipeline
    from cnnkit.config.data import DataConfig
    from cnnkit.format.base import Choice

    samples = [Sample("start", 0.0, resident_megabytes())]
    config = DataConfig.model_validate({"folder": str(folder), "memory": "stream", "validation": 0})
    start = time.monotonic()
    sets = data.load(config, 0, splits=("train",))
    assert sets.train is not None
    data.channel_statistics(sets.train)
    ready = time.monotonic() - start
    samples.append(Sample("start", 1.0, resident_megabytes()))
    epoch = tf.Variable(0, dtype=tf.int64)
    flip: Any = Choice(AUGMENTATIONS).validate({"RandomFlip": "horizontal"})
    batches = data.training_batches(
        sets.train,
        batch_size=batch_size,
        seed=0,
        epoch=epoch,
        transform=Pipeline([flip], seed=0),
    )
    steps = data.steps_per_epoch(sets.train.size, batch_size)
    seconds = []
    for number in range(epochs):
        epoch.assign(number)
        start = time.monotonic()
        for step, _ in enumerate(batches, 1):
            if step % max(1, steps // 100) == 0 or step == steps:
                samples.append(Sample(f"epoch {number + 1}", step / steps, resident_megabytes()))
        seconds.append(time.monotonic() - start)
    return {
        "images": sets.train.size,
        "seconds_to_ready": ready,
        "images_per_second": sets.train.size / statistics.median(seconds),
        "cpu_seconds": time.process_time(),
        "peak_megabytes": resident_megabytes(field="VmHWM"),
        "samples": [vars(sample) for sample in samples],
    }


def train(folder: Path, epochs: int, batch_size: int) -> dict[str, Any]:
    """`cnnkit train` in a process of its own, watched from here."""
    config = folder.parent / "streaming.yaml"
    config.write_text(CONFIG.format(folder=json.dumps(str(folder)), batch_size=batch_size, epochs=epochs))
    run = folder.parent / "run"
    command = [sys.executable, "-m", "cnnkit", "train", str(config), "--run-dir", str(run)]
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    seen: list[tuple[float, float, int]] = []
    metrics = run / "metrics.csv"
    peak = 0.0
    while child.poll() is None:
        done = max(0, len(metrics.read_text("ascii").splitlines()) - 1) if metrics.exists() else 0
        seen.append((time.monotonic(), resident_megabytes(child.pid), done))
        peak = max(peak, resident_megabytes(child.pid, "VmHWM"))
        time.sleep(0.25)
    if child.returncode != 0:
        raise SystemExit(f"cnnkit train failed with exit code {child.returncode}")
    samples = []
    for number, duration in enumerate(_epoch_seconds(metrics)):
        end = next(moment for moment, _, done in seen if done > number)
        for moment, megabytes, _ in seen:
            if end - duration <= moment <= end:
                samples.append(vars(Sample(f"epoch {number + 1}", 1 - (end - moment) / duration, megabytes)))
    last = seen[-1][1] or seen[-2][1]
    samples.append(vars(Sample("test split evaluated", 1.0, last)))
    return {"peak_megabytes": peak, "samples": samples}


def _epoch_seconds(metrics: Path) -> list[float]:
    header, *rows = (line.split(",") for line in metrics.read_text("ascii").splitlines())
    return [float(row[header.index("seconds")]) for row in rows]


# --- The table --------------------------------------------------------------------------------------------


def table(title: str, result: dict[str, Any]) -> str:
    """Resident memory at 10, 50 and 100 % of every epoch."""
    lines = [f"| {title} | " + " | ".join(f"{share:.0%}" for share in SHARES) + " |", "|---|" + "---|" * len(SHARES)]
    phases = list(dict.fromkeys(sample["phase"] for sample in result["samples"]))
    for phase in phases:
        samples = [sample for sample in result["samples"] if sample["phase"] == phase]
        cells = []
        for share in SHARES:
            reached = [sample for sample in samples if sample["share"] >= share - 1e-9] or samples[-1:]
            cells.append(f"{reached[0]['megabytes']:,.0f} MB")
        lines.append(f"| {phase} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", f"Peak: {result['peak_megabytes']:,.0f} MB."])


def machine() -> str:
    return (
        f"{os.cpu_count()} cores, {platform.machine().replace('_', '-')}, no GPU; Python {platform.python_version()}, "
        f"TensorFlow {version('tensorflow')}, Keras {version('keras')}, Pillow {version('pillow')}"
    )


def main() -> None:
    arguments = parse_arguments()
    with tempfile.TemporaryDirectory(prefix="cnnkit-streaming-") as temporary:
        os.environ["CNNKIT_CACHE_DIR"] = str(Path(temporary, "cache"))
        folder = make_folder(Path(temporary, "images"), arguments.images, arguments.size, arguments.format)
        result: dict[str, Any] = {"machine": machine(), "command": " ".join(sys.argv[1:])}
        result["stream"] = stream(folder, arguments.epochs, arguments.batch_size)
        figures = result["stream"]
        decoded = arguments.images * arguments.size**2 * 3 / 1e6
        lines = [
            f"{arguments.images:,} {arguments.format} images {arguments.size}x{arguments.size}x3 "
            f"({decoded:,.0f} MB decoded), batches of {arguments.batch_size}; {machine()}",
            "",
            table("resident memory, batches only", figures),
            f"{figures['images_per_second']:,.0f} images/s; {figures['seconds_to_ready']:.1f} s until ready.",
        ]
        if arguments.train:
            result["train"] = train(folder, arguments.epochs, arguments.batch_size)
            lines += ["", table("resident memory, `cnnkit train`", result["train"])]
        sys.stdout.write("\n".join(lines) + "\n")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
