"""Measures how well the shipped deep image priors restore photographs: three pictures of scikit-image at 256x256, three
damages, several seeds, each beside a method without learning. One training at a time; what the JSON file has is not
made again, so that the script can be ended and started at any moment.

Needs scikit-image (`pip install scikit-image`)."""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

PICTURES = ("astronaut", "chelsea", "coffee")
SIDE = 256

#: The config for each damage, and what is done to the picture.
TASKS: dict[str, tuple[str, dict[str, Any]]] = {
    "noise": ("dip_denoise", {"noise": 25}),
    "missing": ("fill_in", {"missing": 0.5}),
    "scale": ("enlarge", {"scale": 4}),
    "prior": ("dip_inpaint", {"missing": 0.5}),
    "scale_prior": ("dip_superres", {"scale": 4}),
    "decoder": ("deep_decoder", {"noise": 25}),
}

#: Weights of total variation that are tried; the best one by the undamaged picture counts.
TV_WEIGHTS = tuple(0.03 + 0.01 * number for number in range(18))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, required=True, help="the file of rows, which is gone on with")
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS)[:3])
    parser.add_argument("--pictures", nargs="+", choices=PICTURES, default=list(PICTURES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--set", dest="overrides", nargs="*", default=[], help="as `cnnkit train --set`")
    parser.add_argument("--name", default="shipped", help="what the rows are called, for another `--set`")
    return parser.parse_args()


def write_picture(name: str, folder: Path) -> Path:
    """The middle of a picture of scikit-image, 256x256, as a PNG file."""
    import skimage

    with Image.open(Path(skimage.__file__).parent / "data" / f"{name}.png") as image:
        picture = image.convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    square = picture.crop((left, top, left + side, top + side)).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    path = folder / f"{name}.png"
    square.save(path)
    return path


def psnr(picture: Any, truth: Any) -> float:
    """In dB, of values 0..1, over all channels and without a border."""
    from skimage.metrics import peak_signal_noise_ratio

    return float(peak_signal_noise_ratio(truth, np.clip(picture, 0, 1), data_range=1))


def baseline(task: str, observation: Any) -> float:
    """What a method without learning reaches: total variation, biharmonic inpainting, or bicubic enlargement."""
    from skimage.restoration import denoise_tv_chambolle, inpaint_biharmonic

    truth, pixels = observation.reference / 255.0, observation.pixels / 255.0
    if "missing" in TASKS[task][1]:
        return psnr(inpaint_biharmonic(pixels, ~observation.known, channel_axis=-1), truth)
    if "scale" in TASKS[task][1]:
        return psnr(observation.simply_restored / 255.0, truth)
    return max(psnr(denoise_tv_chambolle(pixels, weight=weight, channel_axis=-1), truth) for weight in TV_WEIGHTS)


def measure(task: str, picture: Path, seed: int, overrides: list[str]) -> dict[str, Any]:
    """Trains one run, in a process of its own as a user does, and reads what came of it."""
    from cnnkit.config.data import DataConfig
    from cnnkit.config.shipped import find
    from cnnkit.runs.directory import Run
    from cnnkit.tasks.restoration.evaluation import read_evaluation, read_iterations
    from cnnkit.tasks.restoration.observation import observe

    config, damage = TASKS[task]
    section = {"image": str(picture), "damage": damage}
    observation = observe(DataConfig.model_validate(section), np.asarray(Image.open(picture)))
    with tempfile.TemporaryDirectory() as folder:
        run = Run(Path(folder) / "run")
        changes = (
            *(f"data.image={picture}", "data.image_size=null", "data.resize=stretch", "training.tensorboard=false"),
            *(f"data.damage={json.dumps(damage)}", f"seed={seed}", *overrides),
        )
        command = [sys.executable, "-m", "cnnkit", "train", str(find(config)), "--run-dir", str(run.path)]
        begin, before = time.perf_counter(), os.times()
        subprocess.run(
            [*command, "--no-report", *itertools.chain(*(("--set", change) for change in changes))], check=True
        )
        after = os.times()
        evaluation, columns = read_evaluation(run), read_iterations(run)
    of_averages = columns["psnr"]
    return {
        **{name: evaluation[name] for name in ("psnr", "ssim", "iteration", "iterations")},
        "best_psnr": max(of_averages),
        "best_iteration": 1 + of_averages.index(max(of_averages)),
        "psnr_before": evaluation.get("psnr_before"),
        "baseline": baseline(task, observation),
        "seconds": round(time.perf_counter() - begin, 1),
        "cpu_seconds": round(
            after.children_user + after.children_system - before.children_user - before.children_system, 1
        ),
    }


def main() -> None:
    arguments = parse_arguments()
    rows: list[dict[str, Any]] = json.loads(arguments.json.read_text()) if arguments.json.exists() else []
    names = ("name", "task", "picture", "seed")
    with tempfile.TemporaryDirectory() as folder:
        pictures = {name: write_picture(name, Path(folder)) for name in arguments.pictures}
        # Every task and picture once before any is made with a second seed.
        for seed, task, picture in itertools.product(arguments.seeds, arguments.tasks, arguments.pictures):
            key = (arguments.name, task, picture, seed)
            if any(tuple(row[name] for name in names) == key for row in rows):
                continue
            row = dict(zip(names, key, strict=True)) | measure(task, pictures[picture], seed, arguments.overrides)
            row["versions"] = {name: version(name) for name in ("tensorflow", "keras", "scikit-image")}
            rows.append(row)
            temporary = arguments.json.with_suffix(".part")
            temporary.write_text(json.dumps(rows, indent=1) + "\n")
            temporary.replace(arguments.json)
            sys.stdout.write(
                f"{task} {picture} seed {seed}: {row['psnr']:.2f} dB at {row['iteration']} of {row['iterations']} "
                f"(best {row['best_psnr']:.2f} at {row['best_iteration']}), baseline {row['baseline']:.2f}, "
                f"{row['cpu_seconds']:.0f} CPU s\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
