"""Measures what each augmentation costs: CPU milliseconds per batch, as a Markdown table."""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

#: One usual setting of every augmentation; probabilities of 1, so that the cost is that of doing the work.
EXAMPLES: dict[str, Any] = {
    "RandomFlip": "horizontal",
    "RandomCrop": {"padding": 4},
    "RandomRotation": 0.05,
    "RandomTranslation": {"height_factor": 0.125, "width_factor": 0.125},
    "RandomZoom": 0.1,
    "RandomShear": 0.1,
    "RandomPerspective": {"factor": [1, 1], "scale": 0.2},
    "RandomElasticTransform": {"factor": [1, 1], "scale": 0.5},
    "RandomContrast": [0.2, 0.2],
    "RandomBrightness": 0.1,
    "RandomHue": 0.1,
    "RandomSaturation": [0.4, 0.6],
    "RandomColorJitter": {
        "brightness_factor": 0.1,
        "contrast_factor": [0.2, 0.2],
        "saturation_factor": [0.4, 0.6],
        "hue_factor": 0.1,
    },
    "RandomColorDegeneration": 0.5,
    "RandomSharpness": [0.3, 0.7],
    "RandomPosterization": [4, 8],
    "RandomGrayscale": 0.5,
    "RandomInvert": [0.5, 0.5],
    "RandomGaussianBlur": [1, 1],
    "Solarization": {"threshold_factor": [0.5, 1]},
    "AutoContrast": None,
    "Equalization": None,
    "ContrastLimitedAdaptiveHistogramEqualization": None,
    "RandomErasing": [1, 1],
    "MixUp": 0.2,
    "CutMix": [1, 1],
    "RandAugment": {"factor": 0.3},
    "AugMix": None,
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-size", type=int, default=128, help="images per batch (default: 128)")
    parser.add_argument("--size", type=int, default=32, help="height and width in pixels (default: 32)")
    parser.add_argument("--repeats", type=int, default=7, help="interleaved repeats, of which the median counts")
    parser.add_argument("--only", nargs="*", metavar="NAME", help="measure these augmentations only")
    parser.add_argument("--output", type=Path, help="also write the table to this file")
    return parser.parse_args()


def compiled(augmentations: list[Any], batch_size: int, size: int) -> Callable[[int], None]:
    """A function of the step that changes one batch in a graph, as a data pipeline does."""
    import numpy as np
    import tensorflow as tf

    from cnnkit.augmentation.pipeline import Pipeline

    pipeline = Pipeline(augmentations, seed=0)
    images = tf.constant(np.random.default_rng(0).integers(0, 256, (batch_size, size, size, 3)), tf.uint8)
    labels = tf.one_hot(tf.range(batch_size) % 10, 10)
    number = tf.TensorSpec((), tf.int64)
    signature = [
        {"images": tf.TensorSpec((None, *images.shape[1:]), tf.uint8), "labels": tf.TensorSpec((None, 10))},
        number,
        number,
        tf.TensorSpec((None,), tf.int64),
    ]
    function = tf.function(pipeline, input_signature=signature, jit_compile=False)

    places = tf.range(batch_size, dtype=tf.int64)

    def call(step: int) -> None:
        batch = {"images": images, "labels": labels}
        function(batch, tf.constant(0, tf.int64), tf.constant(step, tf.int64), places)["images"].numpy()

    call(0)
    call(1)
    return call


def cpu_milliseconds(call: Callable[[int], None], step: int) -> float:
    """CPU time of one batch over all threads, from calls that together take at least 50 ms."""
    calls = 0
    start = time.process_time()
    while time.process_time() - start < 0.05:
        call(step + calls)
        calls += 1
    return 1000 * (time.process_time() - start) / calls


def machine() -> str:
    """Cores, instruction set and versions."""
    import keras
    import tensorflow as tf

    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text().split() if cpu.exists() else []
    vectors = next((name for flag, name in (("avx512f", "AVX-512 "), ("avx2", "AVX2 ")) if flag in flags), "")
    minor = ".".join(tf.__version__.split(".")[:2]), ".".join(keras.__version__.split(".")[:2])
    return (
        f"{os.cpu_count()} cores, {vectors}{platform.machine().replace('_', '-')}, no GPU; "
        f"TensorFlow {minor[0]}, Keras {minor[1]}, one TensorFlow thread"
    )


def written(name: str, arguments: Any) -> str:
    """An augmentation as YAML writes it in one line."""
    if arguments is None:
        return name
    if isinstance(arguments, dict):
        return f"{name}: {{{', '.join(f'{key}: {value}' for key, value in arguments.items())}}}"
    return f"{name}: {arguments}"


def measure(arguments: argparse.Namespace) -> dict[str, float]:
    """The median CPU milliseconds per batch of every augmentation, what a pipeline without any takes taken off."""
    from cnnkit.augmentation import AUGMENTATIONS
    from cnnkit.format.base import Choice

    choice = Choice(AUGMENTATIONS)
    names = arguments.only or AUGMENTATIONS.names()
    calls = {"": compiled([], arguments.batch_size, arguments.size)}
    for name in names:
        augmentation = choice.validate({name: EXAMPLES[name]})
        calls[name] = compiled([augmentation], arguments.batch_size, arguments.size)
    times: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(arguments.repeats):
        for name, call in calls.items():
            times[name].append(cpu_milliseconds(call, 1000 * (repeat + 1)))
    nothing = statistics.median(times.pop(""))
    return {name: max(statistics.median(values) - nothing, 0.0) for name, values in times.items()}


def table(milliseconds: dict[str, float], arguments: argparse.Namespace) -> str:
    size = f"{arguments.size}x{arguments.size}x3"
    lines = [
        f"CPU milliseconds per batch of {arguments.batch_size} images of {size}, beyond a pipeline without "
        f"any; median of {arguments.repeats} interleaved repeats.",
        f"Measured by `scripts/measure_augmentation.py` on {machine()}.",
        "",
        "| augmentation | CPU ms per batch |",
        "|---|---|",
    ]
    lines += [f"| `{written(name, EXAMPLES[name])}` | {value:.1f} |" for name, value in milliseconds.items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    arguments = parse_arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    import tensorflow as tf

    # One thread, so that waiting and splitting of work do not count as work.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    text = table(measure(arguments), arguments)
    sys.stdout.write(text)
    if arguments.output is not None:
        arguments.output.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
