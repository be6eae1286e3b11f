"""Kills trainings at random moments, resumes them, and compares what they come to with an uninterrupted one.

Each scenario trains one of several small configs (optimizers, averages, accumulation, mixing, dropout, loss scaling,
stages, a folder whose images are decoded as they are read, masks). Its process gets SIGKILL at a random moment: while
it starts, within an epoch, in the middle of a write, before or after a file is renamed, in the evaluation, while the
report is made. `cnnkit train --resume` goes on, and may be killed again, up to three times. In the end metrics.csv
(timing columns aside), evaluation.json, predictions.csv, and every array of model.keras and of the checkpoint have to
be equal, bit for bit, no picture may be missing, and no temporary file left.

The table goes to standard output, progress to standard error; the exit code is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]
import numpy as np
import yaml

TIMING = ("seconds", "images_per_second")
EPOCHS = 4

#: How a process is killed, and how often each way is drawn. `moment`: after some time; `write`: in the middle of the
#: nth file; `rename` and `renamed`: before and after the nth time that a file gets its name.
WAYS = {"moment": 4, "write": 3, "rename": 2, "renamed": 2}

#: What is said of a run in which nothing is left to do.
COMPLETE = ("has trained all its", "ended by early stopping")

#: Runs cnnkit so that it is killed in a way; all that it writes goes through `files.replacing`. A process that is not
#: killed says in the end how many files it has written, and how often one has got its name.
START = """
import atexit, os, signal, sys
from cnnkit import cli, files
from cnnkit.training import snapshots

# Whether a training that takes two seconds has a snapshot would be chance.
snapshots.FIRST_SECONDS = 0.0
way, number = sys.argv.pop(1), int(sys.argv.pop(1))
written = renamed = 0
replace, to_disk = os.replace, files._to_disk

def kill():
    os.kill(os.getpid(), signal.SIGKILL)

def counted_to_disk(path, flags):
    global written
    if flags == os.O_RDWR:
        written += 1
        if way == "write" and written == number:
            os.truncate(path, os.path.getsize(path) // 2)
            kill()
    to_disk(path, flags)

def counted_replace(source, target):
    global renamed
    renamed += 1
    if way == "rename" and renamed == number:
        kill()
    replace(source, target)
    if way == "renamed" and renamed == number:
        kill()

files._to_disk, os.replace = counted_to_disk, counted_replace
atexit.register(lambda: print(written, renamed))
cli.main()
"""


def configs(folder: Path) -> dict[str, dict[str, Any]]:
    """Small configs by name; the images and masks that some need are drawn into the folder."""

    def convolution(filters: int) -> list[Any]:
        arguments = {"filters": filters, "kernel_size": 3, "padding": "same", "use_bias": False}
        return [{"Conv2D": arguments}, {"BatchNormalization": {"momentum": 0.9}}, "ReLU"]

    layers = [*convolution(8), {"MaxPooling2D": 2}, *convolution(16), "Flatten", {"Dropout": 0.3}, {"Dense": "classes"}]
    moved = [{"RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1}}, {"RandomRotation": 0.03}]
    digits = {"name": "digits", "batch_size": 32}

    def config(optimizer: Any, *mixing: Any, **training: Any) -> dict[str, Any]:
        section = {"epochs": EPOCHS, "optimizer": optimizer, "checkpoint_minutes": 0.001, **training}
        return {
            "seed": 7,
            "data": digits,
            "augmentation": [*moved, *mixing],
            "model": {"layers": layers},
            "training": section,
        }

    plateau = {"ReduceLROnPlateau": {"monitor": "val_loss", "patience": 0, "factor": 0.5, "min_delta": 0.5}}
    found = {
        "SGD": config({"SGD": {"learning_rate": 0.05, "momentum": 0.9}}, schedule="CosineDecay", warmup_epochs=1),
        "Adam, EMA": config({"Adam": {"learning_rate": 0.003, "use_ema": True, "ema_momentum": 0.95}}),
        "AdamW, plateau": config({"AdamW": {"learning_rate": 0.003, "weight_decay": 0.004}}, schedule=plateau),
        "Muon, CutMix": config({"Muon": {"learning_rate": 0.01, "convolutions": True}}, {"CutMix": 1.0}),
        "accumulation, MixUp": config(
            {"SGD": {"learning_rate": 0.05, "momentum": 0.9, "gradient_accumulation_steps": 3}},
            {"MixUp": 0.2},
            early_stopping={"monitor": "val_loss", "patience": 1, "min_delta": 0.3},
        ),
        "float16": config({"Adam": {"learning_rate": 0.003}}, dtype_policy="mixed_float16"),
    }
    stages = [
        {"epochs": 2, "freeze": "all", "unfreeze": "9.Dense"},
        {"epochs": 2, "unfreeze": "all", "learning_rate": 0.001},
    ]
    averaged = {"Adam": {"learning_rate": 0.01, "use_ema": True, "ema_momentum": 0.95}}
    found["stages"] = config(averaged, stages=stages, layer_decay=0.7, schedule="CosineDecay")
    streamed = config({"Adam": {"learning_rate": 0.003}})
    streamed["data"] = {"folder": str(_draw_images(folder / "images")), "image_size": 12, "batch_size": 8}
    streamed["data"] |= {"channels": 1, "memory": "stream"}
    found["streamed folder"] = streamed
    masks = config({"Adam": {"learning_rate": 0.003}})
    masks["task"] = "segmentation"
    masks["data"] = {"folder": str(_draw_masks(folder / "masks")), "shape": [12, 16, 3], "batch_size": 8}
    masks["augmentation"] = [{"RandomFlip": "horizontal"}]
    masks["model"] = {"layers": [*convolution(8), {"Conv2D": {"filters": "classes", "kernel_size": 1}}, "Softmax"]}
    found["segmentation"] = masks
    return found


def _draw_images(folder: Path) -> Path:
    from PIL import Image

    values = np.random.default_rng(0)
    for name, brightness in (("dark", 60), ("light", 180)):
        (folder / name).mkdir(parents=True)
        for number in range(60):
            pixels = np.clip(values.normal(brightness, 40, (12, 12)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def _draw_masks(folder: Path) -> Path:
    from PIL import Image

    values = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True)
    (folder / "classes.txt").write_text("ground\nbox\n", "utf-8")
    for number in range(80):
        mask = np.zeros((12, 16), np.uint8)
        top, left = values.integers(0, 6), values.integers(0, 9)
        mask[top : top + 6, left : left + 7] = 1
        pixels = np.clip(80 + 90 * mask[..., None] + values.normal(0, 30, (12, 16, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number:02}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{number:02}.png")
    return folder


# --- What a run holds -------------------------------------------------------------------------------------


def _rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(encoding="utf-8") as stream:
        return [{key: value for key, value in row.items() if key not in TIMING} for row in csv.DictReader(stream)]


def _model(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def keep(name: str, one: Any) -> None:
        if isinstance(one, h5py.Dataset):
            found[name] = (one.dtype.str, one.shape, one[()].tobytes())

    with zipfile.ZipFile(run / "model.keras") as archive:
        found["config"] = archive.read("config.json")
        with h5py.File(io.BytesIO(archive.read("model.weights.h5"))) as weights:
            weights.visititems(keep)
    return found


def _checkpoint(run: Path) -> dict[str, Any]:
    with np.load(run / "checkpoints" / "last.npz", allow_pickle=False) as arrays:
        found: dict[str, Any] = {name: arrays[name].tobytes() for name in arrays.files if name != "state"}
        state = json.loads(str(arrays["state"]))
    rows = [{key: value for key, value in row.items() if key not in TIMING} for row in state.pop("rows")]
    return found | {"state": state, "rows": rows}


def _figures_of_tensorboard(run: Path) -> dict[Any, float]:
    """Those of all event files by folder, tag and epoch; an epoch that was trained again is there twice, and equal."""
    from tensorboard.backend.event_processing.event_file_loader import (  # type: ignore[import-untyped]
        EventFileLoader,
    )
    from tensorboard.util import tensor_util  # type: ignore[import-untyped]

    return {
        (file.parent.name, value.tag, event.step): float(tensor_util.make_ndarray(value.tensor))
        for file in sorted((run / "tensorboard").rglob("events.out.tfevents.*"))
        for event in EventFileLoader(str(file)).Load()
        for value in event.summary.value
    }


def _bytes_of(name: str) -> Callable[[Path], bytes]:
    return lambda run: (run / name).read_bytes()


#: What has to be equal, and how it is read.
COMPARED: dict[str, Callable[[Path], Any]] = {
    "config.yaml": _bytes_of("config.yaml"),
    "config.source.yaml": _bytes_of("config.source.yaml"),
    "metrics.csv": _rows,
    "model.keras": _model,
    "evaluation.json": _bytes_of("evaluation.json"),
    "predictions.csv": _bytes_of("predictions.csv"),
    "checkpoint": _checkpoint,
    "tensorboard": _figures_of_tensorboard,
}


def differences(run: Path, whole: Path) -> list[str]:
    """What in a run is not that of the uninterrupted one; a picture or report counts where it is missing."""
    found = []
    for name, read in COMPARED.items():
        try:
            if read(run) != read(whole):
                found.append(name)
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            found.append(f"{name} ({type(error).__name__}: {error})")
    names = {path.relative_to(whole) for path in whole.rglob("*") if path.is_file() and "tfevents" not in path.name}
    found += [f"{name} is missing" for name in sorted(names) if not (run / name).is_file()]
    found += [f"{path.name} is left over" for path in run.rglob(".*") if path.is_file()]
    return found


# --- Scenarios --------------------------------------------------------------------------------------------


@dataclass
class Scenario:
    """One run, killed and resumed until it ends.

    Attributes:
        kills: Where each came: what the run held, as `epoch 2 + 7 steps`.
        failures: What a resumed process said when it ended with another code than 0.
    """

    config: str
    kills: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    differences: list[str] = field(default_factory=list)


def _run(arguments: Sequence[str], way: str, number: int, seconds: float | None, log: Path) -> tuple[int, float]:
    """Runs cnnkit; returns its exit code and how long it took."""
    begin = time.monotonic()
    with log.open("w", encoding="utf-8") as stream:
        command = [sys.executable, "-c", START, way, str(number), "train", *arguments]
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, start_new_session=True)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    return process.returncode, time.monotonic() - begin


def _held(run: Path) -> str:
    path = run / "checkpoints" / "last.npz"
    if not (run / "config.yaml").exists():
        return "nothing"
    if not path.exists():
        return "no checkpoint"
    with np.load(path, allow_pickle=False) as arrays:
        state = json.loads(str(arrays["state"]))
    step = f" + {state['step']} steps" if state["step"] else ""
    return f"epoch {state['epochs_done']}{step}" + (", evaluated" if (run / "evaluation.json").exists() else "")


@dataclass(frozen=True)
class Whole:
    """An uninterrupted run of a config.

    Attributes:
        file: The config.
        seconds: What it took.
        counts: How many files it wrote, and how often one got its name.
    """

    file: Path
    seconds: float
    counts: tuple[int, int]

    @property
    def run(self) -> Path:
        return self.file.with_suffix(".whole")


def train_whole(name: str, config: dict[str, Any], file: Path) -> Whole:
    """Trains a config that nobody kills."""
    file.write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    whole, log = Whole(file, 0.0, (0, 0)), file.with_suffix(".log")
    code, seconds = _run([str(file), "--run-dir", str(whole.run)], "none", 0, None, log)
    said = log.read_text("utf-8", "replace")
    if code != 0:
        raise SystemExit(f"{name} cannot be trained:\n{said}")
    written, renamed = said.split()[-2:]
    return Whole(file, seconds, (int(written), int(renamed)))


def play(name: str, whole: Whole, run: Path, draw: random.Random, most: int) -> Scenario:
    """One scenario.

    Args:
        name: The config's.
        whole: What it has to come to.
        run: Where its run goes.
        draw: Draws the moments.
        most: Kills, at most.
    """
    scenario = Scenario(name)
    log = run.with_suffix(".log")
    arguments = [str(whole.file), "--run-dir", str(run)]
    while True:
        way, number, seconds = "none", 0, None
        if len(scenario.kills) < most:
            way = draw.choices(list(WAYS), list(WAYS.values()))[0]
            number = draw.randint(1, whole.counts[way != "write"])
            seconds = draw.uniform(0.1, 1.0) * whole.seconds if way == "moment" else None
        code, _ = _run(arguments, way, number, seconds, log)
        if code == -signal.SIGKILL:
            held = _held(run)
            scenario.kills.append(held)
            if held == "nothing":
                # It was killed before there was a run: the same command again.
                run = run.with_name(run.name + "x")
                arguments = [str(whole.file), "--run-dir", str(run)]
            else:
                arguments = ["--resume", str(run)]
            continue
        said = log.read_text("utf-8", "replace")
        # It may have been killed when nothing was left to do.
        if code != 0 and not any(text in said for text in COMPLETE):
            lines = said.splitlines()
            scenario.failures.append(next((line for line in lines if line.startswith("cnnkit: ")), lines[-1]))
        break
    scenario.differences = [*scenario.failures, *differences(run, whole.run)]
    return scenario


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line, `sys.argv` by default."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60, help="how many, at least (default: 60)")
    parser.add_argument("--most", type=int, default=3, help="kills of one run, at most (default: 3)")
    parser.add_argument("--seed", type=int, default=0, help="draws the moments (default: 0)")
    parser.add_argument("--configs", nargs="+", metavar="NAME", help="some of the configs (default: all)")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave all runs here")
    return parser.parse_args(arguments)


def kill_and_compare(options: argparse.Namespace, folder: Path) -> list[Scenario]:
    """All scenarios, one config after the other, until there were enough kills."""
    draw = random.Random(options.seed)
    known = configs(folder)
    whole: dict[str, Whole] = {}
    for place, name in enumerate(options.configs or known):
        whole[name] = train_whole(name, known[name], folder / f"{place}.yaml")
        sys.stderr.write(f"{name}: {whole[name].seconds:.1f} s, {whole[name].counts[0]} files\n")
    scenarios: list[Scenario] = []
    while sum(len(one.kills) for one in scenarios) < options.kills:
        name = list(whole)[len(scenarios) % len(whole)]
        run = folder / f"run-{len(scenarios)}"
        scenarios.append(play(name, whole[name], run, draw, options.most))
        sys.stderr.write(f"{len(scenarios)} {name}: {scenarios[-1].kills} {scenarios[-1].differences or 'same'}\n")
    return scenarios


def table(scenarios: Sequence[Scenario]) -> str:
    """One row for each config, as Markdown."""
    lines = ["| config | runs | kills | before the first checkpoint | within an epoch | differences |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name in dict.fromkeys(one.config for one in scenarios):
        own = [one for one in scenarios if one.config == name]
        kills = [kill for one in own for kill in one.kills]
        early = sum(kill in ("nothing", "no checkpoint") for kill in kills)
        within = sum("steps" in kill for kill in kills)
        lines.append(
            f"| {name} | {len(own)} | {len(kills)} | {early} | {within} | {sum(bool(one.differences) for one in own)} |"
        )
    return "\n".join(lines)


def main() -> None:
    options = parse_arguments()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        scenarios = kill_and_compare(options, folder)
    sys.stdout.write(table(scenarios) + "\n")
    different = [one for one in scenarios if one.differences]
    for one in different:
        sys.stdout.write(f"{one.config}: {'; '.join(one.differences)}\n")
    sys.exit(bool(different))


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
