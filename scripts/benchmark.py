"""Measures how fast cnnkit is, in ratios: against plain Keras, PyTorch and the machine's own matrix product.

Every contestant is a process of its own; repeats are interleaved and the idle ones sleep. CPU seconds are the stable
figure on a machine that others use too. Nothing is downloaded: where the data set is not prepared in TFDS_DATA_DIR,
random images of its shape stand in for it, and the tables say so. Tables go to standard output, progress to standard
error. GPUs are hidden.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import augmentation, configs, evaluation, figures, networks, recipe, scaling, throughput, unet
from benchmarks.pool import CONTESTANT, BenchmarkError, Measured

from cnnkit.config import shipped
from cnnkit.errors import CnnkitError
from cnnkit.machine import processor

SERIES = ("images", "size", "batch")


def positive(text: str) -> int:
    """A whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return value


def parse_arguments(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line, `sys.argv` by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, text: str, images: int, repeats: int = 5) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text)
        added.add_argument(
            "--repeats", type=positive, default=repeats, help=f"interleaved repeats (default: {repeats})"
        )
        added.add_argument("--images", type=positive, default=images, help=f"images in a repeat (default: {images:,})")
        added.add_argument("--json", type=Path, metavar="FILE", help="write all raw figures to this file")
        added.add_argument("--output", type=Path, metavar="FILE", help="write the Markdown tables to this file too")
        added.add_argument(
            "--document",
            type=Path,
            metavar="FILE",
            help="replace the tables in this page, such as docs/performance.md",
        )
        return added

    one = command("throughput", "Four networks in cnnkit, plain Keras and PyTorch (where it is installed).", 6400)
    one.add_argument("--networks", nargs="+", choices=list(networks.TITLES), default=list(networks.TITLES))
    one.add_argument(
        "--augmentation",
        choices=list(networks.AUGMENTATIONS),
        help="for all networks (default: none for the tutorial CNN, which has none, and flip-shift for the others)",
    )
    one.add_argument("--against", nargs="*", choices=list(throughput.OTHERS), default=list(throughput.OTHERS))
    one.add_argument(
        "--as-avx2",
        action="store_true",
        help="as on a processor without AVX-512: oneDNN, PyTorch and OpenBLAS use AVX2, and plain Keras has no oneDNN, "
        "as TensorFlow decides there",
    )
    one.add_argument(
        "--precision",
        choices=list(throughput.POLICIES),
        default="float32",
        help="what all compute in (default: float32); beside bfloat16, cnnkit in float32 runs, too",
    )
    one = command("recipe", "cifar10_best's training steps in cnnkit and in PyTorch (where it is installed).", 4000)
    one.add_argument(
        "--precisions",
        nargs="+",
        choices=list(throughput.POLICIES),
        default=list(throughput.POLICIES) if processor.multiplies_bfloat16() else ["float32"],
        help="what both sides compute in (default: float32, and bfloat16 where the processor can); where it cannot, "
        "bfloat16 takes minutes for what float32 does in seconds",
    )
    one = command("configs", "Every shipped config in cnnkit and in plain Keras.", 3200)
    known = shipped.with_known_data()
    one.add_argument("--configs", nargs="+", choices=known, default=known, metavar="NAME")
    command("unet", "The U-Net of unet_camvid in cnnkit and in plain Keras.", 128)
    one = command("scaling", "Time and memory against data-set size, image size and batch size.", 2000, repeats=3)
    one.add_argument("--series", nargs="+", choices=SERIES, default=list(SERIES))
    command("evaluation", "The pass of `cnnkit eval` over its images against `model.predict`.", 10_000)
    command("augmentation", "Flip, shift and cutout against a training step of the tutorial CNN.", 6400)
    return parser.parse_args(arguments)


def run(arguments: argparse.Namespace) -> str:
    """Runs the command and writes its files; returns the tables."""
    machine = figures.environment()
    images, repeats = arguments.images, arguments.repeats
    if arguments.command == "throughput":
        chosen = arguments.augmentation
        found = throughput.measure(
            *(arguments.networks, chosen, images, repeats, arguments.against),
            as_avx2=arguments.as_avx2,
            precision=arguments.precision,
        )
        text = throughput.markdown(found)
    elif arguments.command == "recipe":
        found = recipe.measure(arguments.precisions, images, repeats)
        text = recipe.markdown(found)
    elif arguments.command == "configs":
        found = configs.measure(arguments.configs, images, repeats)
        text = configs.markdown(found)
    elif arguments.command == "unet":
        found = unet.measure(images, repeats)
        text = unet.markdown(found)
    elif arguments.command == "scaling":
        found = scaling.measure(arguments.series, images, repeats)
        text = scaling.markdown(found)
    elif arguments.command == "evaluation":
        found = evaluation.measure(images, repeats)
        text = evaluation.markdown(found)
    else:
        found = augmentation.measure(images, repeats)
        text = augmentation.markdown(found)
    text = f"Measured on {figures.described(machine)}.\n\n{text}"
    if arguments.output is not None:
        arguments.output.write_text(text, encoding="utf-8")
    if arguments.document is not None:
        page = arguments.document.read_text(encoding="utf-8")
        arguments.document.write_text(figures.inserted(page, arguments.command, text), encoding="utf-8")
    if arguments.json is not None:
        raw = {"command": arguments.command, "environment": machine, **found}
        arguments.json.write_text(json.dumps(raw, indent=1, default=plain) + "\n", encoding="utf-8")
    return text


def plain(value: Any) -> Any:
    """What `json` does not know: a contestant's figures."""
    if isinstance(value, Measured):
        return dataclasses.asdict(value)
    raise TypeError(f"cannot write {type(value).__name__} as JSON")


def main() -> None:
    if sys.argv[1:] == [CONTESTANT]:
        from benchmarks.contestants import main as contestant

        contestant()
        return
    arguments = parse_arguments()
    try:
        if arguments.document is not None:
            # Before an hour of measuring.
            figures.inserted(arguments.document.read_text(encoding="utf-8"), arguments.command, "")
        sys.stdout.write(run(arguments))
    except (BenchmarkError, CnnkitError, OSError) as error:
        sys.exit(f"benchmark: {error}")
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
