"""Measures what `train --init-from` gains: networks that have learned something else, against the same from nothing.

`classes`: the network of configs/cifar10.yaml learns the first five classes of CIFAR-10, and then the other five from a
few images of each (20 by default), drawn by the seed; beside it, the same network from nothing with the same images.
Both train at several learning rates, all of which are shown, since what has learned before may want a smaller one.

`masks`: the encoder of configs/unet_camvid.yaml learns the ten classes of CIFAR-10, with a classifier on the means of
its levels; then U-Net begins with it, or with nothing, on a part of CamVid's images (every ninth by default).

A run that is finished is not trained again, so that the script can be ended and started anew with the same folder.
The table goes to standard output, progress to standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import yaml
from measure_new import CIFAR_CLASSES, save_image

CONFIGS = Path(__file__).resolve().parent.parent / "configs"

LEARNED_BEFORE, LEARNED_AFTER = CIFAR_CLASSES[:5], CIFAR_CLASSES[5:]

#: The levels of unet_camvid.yaml: the filters at their size, and one size below.
LEVELS = ((16, 32), (32, 64), (64, 128), (128, 128), (128, 256))


def train(config: dict, run: Path, arguments: Sequence[str] = ()) -> dict:
    """Trains a config, unless that has been done; the run's evaluation."""
    evaluation = run / "evaluation.json"
    if not evaluation.exists():
        sys.stderr.write(f"training {run.name}\n")
        file = run.with_name(f"{run.name}.yaml")
        file.write_text(yaml.safe_dump(config, sort_keys=False))
        how = ["--resume", str(run)] if run.exists() else [str(file), "--run-dir", str(run), "--no-report", *arguments]
        subprocess.run([sys.executable, "-m", "cnnkit", "train", *how], check=True, stdout=subprocess.DEVNULL)
    return json.loads(evaluation.read_text())


def row(cells: Sequence[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def mean_and_spread(values: Sequence[float]) -> str:
    """In percent: the mean, and the standard deviation over the seeds."""
    percent = [100 * value for value in values]
    spread = f" ± {statistics.stdev(percent):.1f}" if len(percent) > 1 else ""
    return f"{statistics.mean(percent):.1f}{spread}"


def cifar10(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Images [count, 32, 32, 3] and the numbers of their classes, in the data set's order."""
    import tensorflow_datasets as tfds

    values = tfds.as_numpy(tfds.load("cifar10", split=split, batch_size=-1, download=False))
    return values["image"], values["label"]


def store(folder: Path, images: np.ndarray, labels: np.ndarray, chosen: dict[str, np.ndarray]) -> None:
    """Class folders of PNG files; `chosen` has the places of each class's images."""
    for name, places in chosen.items():
        for place in places:
            assert CIFAR_CLASSES[labels[place]] == name
            save_image(folder / name, place, images[place])


def folders(out: Path, images_per_class: int, seeds: int) -> Iterator[Path]:
    """Folders `first_five` and `seed-N`, made where they are missing."""
    names = ["first_five", *(f"images-{seed}" for seed in range(seeds))]
    if not all((out / name).exists() for name in names):
        splits = {split: cifar10(split) for split in ("train", "test")}
    for index, name in enumerate(names):
        if not (out / name).exists():
            unfinished = out / f"{name}.unfinished"
            shutil.rmtree(unfinished, ignore_errors=True)
            for split, (images, labels) in splits.items():
                classes = LEARNED_BEFORE if index == 0 else LEARNED_AFTER
                chosen = {each: np.flatnonzero(labels == CIFAR_CLASSES.index(each)) for each in classes}
                if index > 0 and split == "train":
                    random = np.random.default_rng(index - 1)
                    chosen = {each: random.permutation(places)[:images_per_class] for each, places in chosen.items()}
                store(unfinished / split, images, labels, chosen)
            unfinished.rename(out / name)
        yield out / name


def measure_classes(out: Path, seeds: int, images_per_class: int, epochs: int, rates: Sequence[float]) -> Iterator[str]:
    """Lines of the table: accuracy on the 5,000 test images of the last five classes."""
    shipped = {"extends": str(CONFIGS / "cifar10.yaml")}
    first, *few = folders(out, images_per_class, seeds)
    learned = out / "learned_first_five"
    data = {"name": None, "folder": str(first), "shape": [32, 32, 3]}
    accuracy = train({**shipped, "data": data}, learned)["accuracy"]
    yield f"The first five classes: {100 * accuracy:.1f} %."
    yield ""
    yield row(["learning rate", "from nothing", "from the first five classes"])
    yield row(["---:"] * 3)
    for rate in rates:
        results: dict[str, list[float]] = {"nothing": [], "learned": []}
        for seed, folder in enumerate(few):
            config = {
                **shipped,
                "seed": seed,
                "data": {**data, "folder": str(folder), "batch_size": 20, "validation": 0},
                "training": {"epochs": epochs, "optimizer": {"Adam": {"learning_rate": rate}}},
            }
            for name, arguments in (("nothing", ()), ("learned", ("--init-from", str(learned)))):
                run = out / f"{name}-{rate}-{seed}"
                results[name].append(train(config, run, arguments)["accuracy"])
        yield row([rate, *map(mean_and_spread, results.values())])


def encoder() -> dict:
    """The encoder of unet_camvid.yaml as a classifier of CIFAR-10; its layers have the same places as in U-Net."""
    unet = yaml.safe_load((CONFIGS / "unet_camvid.yaml").read_text())
    # As in U-Net, the last level has a list below it and the others a call of the block: layers are named after that.
    below: object = [{"conv": LEVELS[-1][1]}, {"SpatialDropout2D": 0.2}]
    size = 2
    for filters, wider in reversed(LEVELS):
        below = {"level": {"filters": filters, "wider": wider, "size": size, "below": below}}
        size *= 2
    blocks = {
        "conv": unet["model"]["blocks"]["conv"],
        "level": {
            "parameters": dict.fromkeys(("filters", "wider", "size", "below"), "required"),
            "layers": [
                {"conv": "$filters"},
                {
                    "Branches": [
                        [{"AveragePooling2D": "$size"}],
                        [{"MaxPooling2D": 2}, {"conv": "$wider"}, "$below"],
                    ]
                },
            ],
        },
    }
    return {
        "data": {"name": "cifar10", "batch_size": 128, "validation": 0.02},
        "augmentation": [{"RandomFlip": "horizontal"}, {"RandomCrop": {"padding": 2, "fill_mode": "mirror"}}],
        "model": {"blocks": blocks, "layers": [below, "Flatten", {"Dense": "classes"}]},
        "training": {**{key: unet["training"][key] for key in ("optimizer", "schedule", "warmup_epochs")}, "epochs": 4},
    }


def part_of(camvid: Path, folder: Path, every: int) -> Path:
    """CamVid with one of `every` training images."""
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(camvid, unfinished)
        images = sorted((unfinished / "train" / "images").iterdir())
        for place, image in enumerate(images):
            if place % every:
                image.unlink()
                (unfinished / "train" / "masks" / image.with_suffix(".png").name).unlink()
        unfinished.rename(folder)
    return folder


def measure_masks(out: Path, seeds: int, camvid: Path, every: int, epochs: int) -> Iterator[str]:
    """Lines of the table: mean IoU of the 233 test images."""
    learned = out / "learned_cifar10"
    accuracy = train(encoder(), learned)["accuracy"]
    yield f"The encoder on CIFAR-10: {100 * accuracy:.1f} %."
    yield ""
    yield row(["seed", "from nothing", "encoder from CIFAR-10"])
    yield row(["---:"] * 3)
    folder = part_of(camvid, out / f"camvid-{every}", every)
    for seed in range(seeds):
        config = {
            "extends": str(CONFIGS / "unet_camvid.yaml"),
            "seed": seed,
            "data": {"folder": str(folder)},
            "training": {"epochs": epochs},
        }
        runs = (("nothing", ()), ("encoder", ("--init-from", str(learned))))
        results = [train(config, out / f"{name}-{every}-{seed}", arguments) for name, arguments in runs]
        yield row([seed, *(f"{100 * result['mean_iou']:.1f}" for result in results)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("classes", "masks"))
    parser.add_argument("--out", type=Path, required=True, help="folder for data and runs")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=20, help="`classes`: training images of each class")
    parser.add_argument("--epochs", type=int, default=60, help="of the second training")
    parser.add_argument("--rates", type=float, nargs="+", default=[3e-3, 1e-3, 3e-4], help="`classes`: learning rates")
    parser.add_argument(
        "--camvid", type=Path, default=os.environ.get("CAMVID_DIR"), help="`masks`: the folder of CamVid"
    )
    parser.add_argument("--every", type=int, default=9, help="`masks`: one of so many training images")
    options = parser.parse_args()
    if options.what == "masks" and options.camvid is None:
        parser.error("`masks` needs --camvid FOLDER, or the variable CAMVID_DIR")
    options.out = options.out.resolve()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.what == "classes":
        lines = measure_classes(options.out, options.seeds, options.images, options.epochs, options.rates)
    else:
        lines = measure_masks(options.out, options.seeds, Path(options.camvid).resolve(), options.every, options.epochs)
    for line in lines:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
