"""The run directory: its names, reads and writes. No other module knows a file name in it."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import logging
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cnnkit.config.image_formats import MOST_MEGAPIXELS, RESIZINGS
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.files import to_csv, write_atomically
from cnnkit.printable import printable

RUNS = "runs"

#: Letters of an image's name that a picture's name has; a file system takes 255 bytes.
_STEM_LENGTH = 40

log = logging.getLogger("cnnkit")


@dataclass(frozen=True)
class Task:
    """What a run's model takes and puts out.

    Attributes:
        image_shape: (height, width, channels).
        class_names: In the order of the outputs.
        head: `softmax`, `logits` or `sigmoid`.
        resize: How images reach that shape: `stretch`, `pad` or `crop`.
        max_megapixels: Image files with more are refused.
    """

    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    head: str
    resize: str = "stretch"
    max_megapixels: float = MOST_MEGAPIXELS


@dataclass(frozen=True)
class Run:
    """One run directory."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        return self.path / "config.yaml"

    @property
    def config_source(self) -> Path:
        return self.path / "config.source.yaml"

    @property
    def environment(self) -> Path:
        return self.path / "environment.json"

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.npz"

    @property
    def model(self) -> Path:
        return self.path / "model.keras"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation.json"

    @property
    def augmented_evaluation(self) -> Path:
        """The test metrics with test-time augmentation."""
        return self.path / "evaluation.tta.json"

    @property
    def predictions(self) -> Path:
        return self.path / "predictions.csv"

    @property
    def curves(self) -> Path:
        return self.plot("curves")

    @property
    def confusion_matrix(self) -> Path:
        return self.plot("confusion_matrix")

    @property
    def filters(self) -> Path:
        return self.plot("filters")

    @property
    def mistakes(self) -> Path:
        return self.plot("mistakes")

    def plot(self, name: str) -> Path:
        """The picture of a name."""
        return self.path / "plots" / f"{name}.png"

    def plot_of(self, kind: str, image: str, classes: Sequence[str] = ()) -> Path:
        """The picture of an image, another one for each file and each choice of classes.

        Args:
            kind: What is drawn.
            image: A file, or the number of a test image.
        """
        known_by = [*classes] if image.isdecimal() and not os.path.isfile(image) else [os.path.abspath(image), *classes]
        name = f"{kind}-{Path(image).stem[:_STEM_LENGTH]}"
        if known_by:
            # Many photos are called 1.jpg, in folders of classes.
            digest = hashlib.blake2b("\0".join(known_by).encode("utf-8", "surrogateescape"), digest_size=4)
            name += f"-{digest.hexdigest()}"
        return self.plot(name)

    @property
    def report(self) -> Path:
        return self.path / "report.html"

    @property
    def initial_filters(self) -> Path:
        return self.path / "checkpoints" / "initial_filters.npy"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def log(self) -> Path:
        return self.path / "log.txt"

    @property
    def live(self) -> Path:
        """The folder of what the live page shows."""
        return self.path / "live"

    @property
    def live_state(self) -> Path:
        return self.live / "state.json"

    @property
    def live_samples(self) -> Path:
        """The test images of the live page, with their labels."""
        return self.live / "samples.npz"

    @property
    def live_snapshot(self) -> Path:
        """What the network makes of them after an epoch, and its first kernels then."""
        return self.live / "snapshot.npz"

    @property
    def lock(self) -> Path:
        """There while a process trains the run; see `training`."""
        return self.path / "lock"

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """No other process trains the run inside the block.

        Where the file system has no locks, a warning says so.

        Raises:
            CnnkitError: if another process does, or if the run cannot be written.
        """
        from cnnkit.lock import Held, exclusive

        with contextlib.ExitStack() as stack:
            try:
                is_locked = stack.enter_context(exclusive(self.lock))
            except Held as error:
                raise CnnkitError(
                    f"the run `{self.path}` is being trained by {error.holder}",
                    "Two processes would destroy each other's work. Wait until it has ended, or stop it; "
                    f"see how far it is: cnnkit watch {shlex.quote(str(self.path))}",
                ) from None
            except OSError as error:
                raise CnnkitError(
                    f"the run `{self.path}` cannot be written: `{self.lock}`: {error.strerror}",
                    "Training goes on in a folder that you may write to: copy the run there.",
                ) from None
            if not is_locked:
                log.warning("the file system of `%s` has no locks; take care that nobody else trains it", self.path)
            yield

    def is_training(self) -> bool | None:
        """Whether a process trains the run at this moment; None where that cannot be known."""
        from cnnkit.lock import holder

        try:
            return holder(self.lock) is not None
        except OSError:
            return None

    @property
    def stop_request(self) -> Path:
        """There while somebody asks the training process to stop."""
        return self.live / "stop"

    def write_json(self, path: Path, value: Any) -> None:
        write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def read_json(self, path: Path) -> dict[str, Any]:
        """A JSON file of the run.

        Raises:
            CnnkitError: if it is missing or broken, or may not be read.
        """
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise CnnkitError(f"the run `{self.path}` has no {path.name}") from None
        except OSError as error:
            raise CnnkitError(f"cannot read `{path}`: {error.strerror}") from None
        except ValueError as error:
            raise CnnkitError(f"`{path}` is not valid JSON: {error}") from None
        if not isinstance(value, dict):
            raise CnnkitError(f"`{path}` should hold a JSON object")
        return value

    def check_data(self, fingerprint: str) -> None:
        """Compares a data set with the one that the run was made with.

        Raises:
            CnnkitError: if they differ: the run's splits, and so its test images, would be others.
        """
        before = self.read_json(self.environment).get("data", {}).get("fingerprint")
        if before != fingerprint:
            raise CnnkitError(
                f"the data set has changed since the run `{self.path}` was made: it was {before}, "
                f"now it is {fingerprint}",
                "Images that the run trained on could be among its test images now. Bring the old data back, train "
                "anew, or measure a folder of other images with `cnnkit eval --data FOLDER`.",
            )

    def read_task(self) -> Task:
        """What environment.json says of the run's images and outputs.

        Raises:
            CnnkitError: if the file is missing or broken.
        """
        environment = self.read_json(self.environment)
        try:
            height, width, channels = (int(size) for size in environment["data"]["image_shape"])
            names = tuple(printable(str(name)) for name in environment["data"]["class_names"])
            # Runs of earlier versions say nothing of these two.
            resize = str(environment["data"].get("resize", "stretch"))
            max_megapixels = float(environment["data"].get("max_megapixels", MOST_MEGAPIXELS))
            head = str(environment["model"]["head"])
            if resize not in RESIZINGS:
                raise ValueError
            return Task((height, width, channels), names, head, resize, max_megapixels)
        except (KeyError, TypeError, ValueError):
            raise CnnkitError(
                f"`{self.environment}` does not say what the images, the classes and the head of the model are",
                "The run was damaged, or stopped while it was made; train it again.",
            ) from None

    def write_metrics(self, rows: Sequence[dict[str, Any]]) -> None:
        """One row per epoch; the columns are those of the first row."""
        write_atomically(self.metrics, to_csv(list(rows[0]), [list(row.values()) for row in rows]))

    def read_metrics(self) -> list[dict[str, float]]:
        """The rows of metrics.csv as numbers; none if no epoch has ended.

        Raises:
            CnnkitError: if the file is broken, or may not be read.
        """
        try:
            with self.metrics.open(newline="", encoding="utf-8") as stream:
                return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CnnkitError(f"cannot read `{self.metrics}`: {error.strerror}") from None
        except (TypeError, ValueError):
            raise CnnkitError(f"`{self.metrics}` should hold one row of numbers per epoch") from None


def create_run(name: str, directory: str | None = None) -> Run:
    """A new run directory: `directory` itself, or `runs/<name>-<n>` with the next free number.

    Raises:
        UsageError: if `directory` is there already and not empty, or cannot be made.
        CnnkitError: if the current folder cannot be written.
    """
    if directory is not None:
        check_free(directory)
        path = Path(directory)
        try:
            path.mkdir(parents=True, exist_ok=True)
            return _prepared(Run(path))
        except FileExistsError:
            # Another process was faster.
            raise _not_empty(path) from None
        except OSError as error:
            raise UsageError(f"cannot make the run directory `{path}`: {error.strerror}") from None
    parent = Path(RUNS)
    # TensorFlow writes to UTF-8 paths only; the name of a config file may be anything.
    name = name.encode("utf-8", "replace").decode("utf-8")
    pattern = re.compile(re.escape(name) + r"-(\d+)")
    try:
        parent.mkdir(exist_ok=True)
        taken = [int(match[1]) for entry in os.listdir(parent) if (match := pattern.fullmatch(entry))]
        number = max(taken, default=0) + 1
        while True:
            path = parent / f"{name}-{number}"
            try:
                path.mkdir()
            except FileExistsError:
                # Another process took it, or the file system does not tell upper from lower case.
                number += 1
                continue
            return _prepared(Run(path))
    except OSError as error:
        raise CnnkitError(
            f"cannot make a run directory in `{parent.resolve()}`: {error.strerror}",
            "Run cnnkit in a folder that you may write to, or name one with `--run-dir`.",
        ) from None


def check_free(directory: str) -> None:
    """Whether a new run may be made in `directory`: it is not there yet, or empty.

    Raises:
        UsageError: if it is not.
    """
    path = Path(directory)
    try:
        directory.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(
            f"the name of the run directory `{path}` is not UTF-8", "TensorFlow cannot write there; name another one."
        ) from None
    try:
        occupied = path.is_dir() and any(path.iterdir())
    except OSError as error:
        raise UsageError(f"cannot read the run directory `{path}`: {error.strerror}") from None
    if occupied:
        raise _not_empty(path)
    if path.exists() and not path.is_dir():
        raise UsageError(f"the run directory `{path}` is a file", "Name another one.")


def _not_empty(path: Path) -> UsageError:
    return UsageError(
        f"the run directory `{path}` is not empty",
        "Runs are never overwritten: name another one, or continue it with `--resume`.",
    )


def _prepared(run: Run) -> Run:
    # Of two processes that found the directory empty, one can make these.
    run.checkpoint.parent.mkdir()
    run.curves.parent.mkdir()
    return run


def holds_runs(folder: Path) -> bool:
    """Whether a folder is a run, or the one of all runs."""
    if _is_run(folder):
        return True
    return folder.name == RUNS and any(_is_run(path) for path in folder.iterdir())


def _is_run(folder: Path) -> bool:
    run = Run(folder)
    # Unlike those of `Path`, these raise nothing.
    return os.path.isfile(run.config) and os.path.isfile(run.environment)


def check_outside(directory: str | None, folder: str | None) -> None:
    """Whether a new run would lie outside the folder of its images, where its pictures would become images, too.

    Args:
        directory: The run's directory, as for `create_run`.
        folder: The folder of images; None where there is none.

    Raises:
        UsageError: if it would lie inside.
    """
    if folder is None:
        return
    images = os.path.realpath(os.path.expanduser(folder))
    place = os.path.realpath(directory if directory is not None else RUNS)
    if os.path.normcase(os.path.join(place, "")).startswith(os.path.normcase(os.path.join(images, ""))):
        run = f"the run directory `{directory}`" if directory is not None else f"`{RUNS}` in the current folder"
        raise UsageError(
            f"{run} would lie inside the folder of the images, `{folder}`",
            "Name a directory outside it with `--run-dir`, or run cnnkit in another folder.",
        )


def list_runs(parent: str = RUNS) -> list[Run]:
    """All runs under a folder, the oldest first.

    Raises:
        CnnkitError: if the folder cannot be read.
    """
    folder = Path(parent)
    if not folder.is_dir():
        return []
    try:
        runs = [Run(path) for path in folder.iterdir()]
    except OSError as error:
        raise CnnkitError(f"cannot read the folder `{folder.resolve()}`: {error.strerror}") from None
    aged = []
    for run in runs:
        # A folder without a config is no run, or one that is being made or removed at this moment.
        with contextlib.suppress(OSError):
            aged.append((run.config.stat().st_mtime_ns, run.name, run))
    return [run for _, _, run in sorted(aged, key=lambda one: one[:2])]


def find_run(path: str | None) -> Run:
    """The run at a path (or of a name under runs/); without one, the latest.

    Raises:
        UsageError: if there is none.
    """
    if path is None:
        runs = list_runs()
        if not runs:
            raise UsageError(f"there are no runs in `{Path(RUNS).resolve()}`", "Make one: cnnkit train CONFIG")
        return runs[-1]
    found = run_of(path)
    if found is None:
        raise UsageError(f"`{path}` is no run: it has no config.yaml", _latest() or "Make one: cnnkit train CONFIG")
    return found


def distinct_names(runs: Sequence[Run]) -> list[str]:
    """The runs' names; where two have the same, their paths.

    Raises:
        UsageError: if a run comes twice.
    """
    paths = [run.path.resolve() for run in runs]
    for run, path in zip(runs, paths, strict=True):
        if paths.count(path) > 1:
            raise UsageError(f"the run `{run.path}` comes twice")
    names = [path.name for path in paths]
    return [name if names.count(name) == 1 else str(run.path) for name, run in zip(names, runs, strict=True)]


def run_of(path: str) -> Run | None:
    """The run at a path, or of a name under runs/; None if there is none."""
    candidates = (Run(Path(path)), Run(Path(RUNS) / path))
    return next((run for run in candidates if run.config.is_file()), None)


def _latest() -> str:
    """A hint that names the latest runs; empty without any."""
    known = ", ".join(run.name for run in list_runs()[-5:])
    return f"The latest in `{RUNS}`: {known}" if known else ""


def config_file(path: str) -> str:
    """A config file as it is; of a run (its path, or its name under runs/), the file that holds its config.

    Raises:
        UsageError: if it is a folder without a run, or if neither a file nor a run has the name.
    """
    if os.path.isfile(path):
        return path
    run = run_of(path)
    if run is not None:
        return str(run.config)
    if os.path.isdir(path):
        raise UsageError(f"`{path}` is no run: it has no config.yaml", _latest() or "Name a config file, or a run.")
    if path.endswith((".yaml", ".yml")):
        # Whoever reads it says where the name goes wrong.
        return path
    from cnnkit.config.document import neighbours

    raise UsageError(f"there is neither a config file nor a run `{path}`{neighbours(path)}", _latest() or None)
