"""The run directory: its names, reads and writes. No other module knows a file name in it."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import logging
import math
import os
import shlex
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from cnnkit.errors import CnnkitError
from cnnkit.files import TEMPORARY, check_folder, check_regular, open_stream, to_csv, write_atomically
from cnnkit.format.run_folders import CONFIG_FILE, ENVIRONMENT_FILE
from cnnkit.runs.json_forms import ANY, REQUIRED, Form, mismatch

#: Letters of an image's name that a picture's name has; a file system takes 255 bytes.
_STEM_LENGTH = 40

#: Bytes of a layer's name that it has, at most.
_LAYER_BYTES = 120

log = logging.getLogger("cnnkit")

#: More bytes than cnnkit writes into such a file: an evaluation of some thousand classes, a million epochs, ...
LARGEST_JSON = 1 << 28
LARGEST_METRICS = 1 << 27
LARGEST_SHEET = 1 << 27
LARGEST_WORDS = 1 << 28
LARGEST_PREDICTIONS = 1 << 32
LARGEST_ARCHIVE = 1 << 40

#: What environment.json may say, as far as it is read again.
ENVIRONMENT: Form = {
    "started": str,
    "config_file": str,
    "git_commit": str,
    "processor": str,
    "usable_cores": int,
    "command": [str],
    "written": ANY,
    "resumed": [{"after_epoch": int, "command": [str], "changed": {}}],
    "settings": {"device": str, "jit_compile": bool, "dtype_policy": str, "threads": int, "onednn": bool},
    "tuning": {},
    "data": {"source": str, "fingerprint": str, "image_shape": [int], "class_names": [str], "resize": str}
    | {"max_megapixels": float, "padding": [int], "images": {}, "words": [str], "vocabulary_size": int}
    | {"latent": int, "conditions": int},
    "model": {"head": str, "parameters": int},
    "concluded": {},
    "initial_weights": {"run": str, "sha256": str, "taken": [str], "left": {}, "new": {}},
}


@dataclass(frozen=True)
class Run:
    """One run directory."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def config(self) -> Path:
        return self.path / CONFIG_FILE

    @property
    def config_source(self) -> Path:
        return self.path / "config.source.yaml"

    @property
    def environment(self) -> Path:
        return self.path / ENVIRONMENT_FILE

    @property
    def metrics(self) -> Path:
        return self.path / "metrics.csv"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoints" / "last.npz"

    @property
    def previous_checkpoint(self) -> Path:
        """The one before, in case the last is damaged."""
        return self.path / "checkpoints" / "previous.npz"

    @property
    def has_checkpoint(self) -> bool:
        """Whether training can go on from one; a process may have ended while the last took the place of another.

        Where a run begins with the weights of another, its first checkpoint is there before its config.
        """
        return self.config.exists() and (self.checkpoint.exists() or self.previous_checkpoint.exists())

    @property
    def model(self) -> Path:
        return self.path / "model.keras"

    @property
    def words(self) -> Path:
        """The vocabulary of a network that takes texts, one word in a line."""
        return self.path / "words.txt"

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
    def damaged(self) -> Path:
        """The picture that a network restores, as it is learned from."""
        return self.path / "damaged.png"

    @property
    def restored(self) -> Path:
        """What the network makes of it."""
        return self.path / "restored.png"

    @property
    def iterations(self) -> Path:
        """A row of figures for each step."""
        return self.path / "iterations.csv"

    @property
    def samples(self) -> Path:
        """The folder of what a network has made of the same noise after each epoch."""
        return self.path / "samples"

    def sheet(self, epoch: int) -> Path:
        """The images that it made after an epoch, on one sheet."""
        return self.samples / f"{epoch:05}.png"

    def sheet_epochs(self) -> list[int]:
        """The epochs of which there are such sheets, in order.

        Raises:
            CnnkitError: if the folder cannot be read.
        """
        try:
            names = [Path(name).stem for name in os.listdir(self.samples)]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CnnkitError(f"cannot read `{self.samples}`: {error.strerror}", _hint_for(error)) from None
        epochs = sorted({int(name) for name in names if name.isdecimal() and name.isascii()})
        return [epoch for epoch in epochs if os.path.lexists(self.sheet(epoch))]

    @property
    def film(self) -> Path:
        """These sheets one after the other."""
        return self.curves.with_name("samples.webp")

    @property
    def curves(self) -> Path:
        return self.plot("curves")

    @property
    def predicted_against_true(self) -> Path:
        return self.plot("predicted_against_true")

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

    def plot_of(self, kind: str, image: str, choices: Sequence[str] = ()) -> Path:
        """The picture of an image, another one for each file and each choice of what is drawn of it.

        Args:
            kind: What is drawn.
            image: A file, or the number of a test image.
            choices: Such as names of classes.
        """
        known_by = [*choices] if image.isdecimal() and not os.path.isfile(image) else [os.path.abspath(image), *choices]
        name = f"{kind}-{Path(image).stem[:_STEM_LENGTH]}"
        if known_by:
            # Many photos are called 1.jpg, in folders of classes.
            name += f"-{_digest(known_by)}"
        return self.plot(name)

    def plot_at(self, kind: str, layer: str) -> Path:
        """The picture of a layer, another one for each; of one deep inside others, it is named by its last part."""
        name = layer.replace("/", "-")
        if len(name.encode()) > _LAYER_BYTES:
            name = f"{_digest([layer])}-{name[-_STEM_LENGTH:]}"
        return self.plot(f"{kind}-{name}")

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
        from cnnkit.runs.lock import Held, exclusive

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

    def remove_temporaries(self) -> None:
        """Removes what processes that were killed have left half written. Nobody else may train the run meanwhile."""
        for folder in (self.path, self.checkpoint.parent, self.curves.parent, self.live):
            for path in folder.glob(f"{TEMPORARY}*"):
                with contextlib.suppress(OSError):
                    path.unlink()

    def is_training(self) -> bool | None:
        """Whether a process trains the run at this moment; None where that cannot be known."""
        from cnnkit.runs.lock import holder

        try:
            return holder(self.lock) is not None
        except OSError:
            return None

    @property
    def stop_request(self) -> Path:
        """There while somebody asks the training process to stop."""
        return self.live / "stop"

    def check(self) -> None:
        """Whether what a run is made of is its own: a run may come from anybody, and nothing leads out of it.

        Its config, its log and its folders may be no links, pipes or devices. Other files are looked at when they are
        read.

        Raises:
            CnnkitError: naming what is not.
        """
        try:
            self.check_own()
        except OSError as error:
            raise CnnkitError(
                f"`{error.filename}` cannot be used: {error.strerror}",
                f"`{self.path}` may only hold files and folders of its own; put there what it should be.",
            ) from None

    def check_own(self) -> None:
        """As `check`, with an OSError that names what is not."""
        check_regular(self.config)
        for folder in (self.checkpoint.parent, self.curves.parent, self.live, self.tensorboard):
            if os.path.lexists(folder):
                check_folder(folder)
        for name in os.listdir(self.tensorboard) if self.tensorboard.is_dir() else []:
            check_folder(self.tensorboard / name)
        if os.path.lexists(self.log):
            check_regular(self.log)

    def open(self, path: Path, most_bytes: int) -> BinaryIO:
        """One of the run's files, to be read: a regular file in folders of the run's own.

        Raises:
            FileNotFoundError: if it is not there.
            CnnkitError: if it may not be read, is something else, or larger than any file of its kind.
        """
        try:
            for folder in reversed(path.relative_to(self.path).parents):
                if folder.name:
                    check_folder(self.path / folder)
            return open_stream(path, most_bytes)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise CnnkitError(f"cannot read `{path}`: {error.strerror}", _hint_for(error)) from None

    def read(self, path: Path, most_bytes: int) -> str:
        """The text of one of the run's files.

        Raises:
            FileNotFoundError: if it is not there.
            CnnkitError: if it cannot be read, see `open`, or is not UTF-8.
        """
        with self.open(path, most_bytes) as stream:
            try:
                return stream.read().decode("utf-8")
            except UnicodeDecodeError as error:
                raise damaged(path, f"the byte {error.start} is not UTF-8 text") from None

    def write_json(self, path: Path, value: Any) -> None:
        write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")

    def read_json(self, path: Path, form: Form = ANY, hint: str | None = None) -> dict[str, Any]:
        """A JSON file of the run.

        Args:
            form: What it should hold, see `json_forms.mismatch`.
            hint: What to do where it does not.

        Raises:
            CnnkitError: if it is missing or damaged, or may not be read.
        """
        try:
            value = json.loads(self.read(path, LARGEST_JSON))
        except FileNotFoundError:
            raise CnnkitError(f"the run `{self.path}` has no {path.name}") from None
        except (ValueError, RecursionError) as error:
            reason = error if isinstance(error, ValueError) else "it is nested too deeply"
            raise CnnkitError(f"`{path}` is not valid JSON: {reason}") from None
        if not isinstance(value, dict):
            raise CnnkitError(f"`{path}` should hold a JSON object")
        wrong = mismatch(value, form)
        if wrong is not None:
            raise damaged(path, wrong, hint)
        return value

    @property
    def evaluate_again(self) -> str:
        """What to do about an evaluation.json that is damaged."""
        return f"Write it again: cnnkit eval {shlex.quote(str(self.path))}"

    def read_evaluation(self, form: Form) -> dict[str, Any]:
        """evaluation.json.

        Args:
            form: What it should hold.

        Raises:
            CnnkitError: if it is missing or damaged, or may not be read.
        """
        return self.read_json(self.evaluation, form, self.evaluate_again)

    def read_figures(self, names: Sequence[str]) -> dict[str, Any]:
        """evaluation.json with the number of images and some numbers, all of which it has; see `read_evaluation`."""
        return self.read_evaluation({"images": int, **dict.fromkeys(names, float), REQUIRED: ("images", *names)})

    def read_environment(self) -> dict[str, Any]:
        """environment.json; what it does not say is missing, what it says has the right type.

        Raises:
            CnnkitError: if it is missing or damaged, or may not be read.
        """
        return self.read_json(self.environment, ENVIRONMENT)

    def check_archive(self, path: Path, most_bytes: int) -> None:
        """Whether a file is a zip archive that unpacks to at most so many bytes.

        Raises:
            CnnkitError: if it is not, or may not be read.
        """
        import zipfile

        try:
            with self.open(path, most_bytes) as stream, zipfile.ZipFile(stream) as archive:
                unpacked = sum(one.file_size for one in archive.infolist())
        except FileNotFoundError:
            raise CnnkitError(f"the run `{self.path}` has no {path.name}") from None
        except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError) as error:
            raise CnnkitError(
                f"`{path}` cannot be opened: {error}", "The file is damaged; train the run again."
            ) from None
        if unpacked > most_bytes:
            raise damaged(path, f"it would unpack to {unpacked:,} bytes, more than its network can need")

    def digest_archive(self, path: Path) -> str:
        """The SHA-256 of a zip archive whose parts all agree with their checksums.

        Raises:
            CnnkitError: if one does not, or the file may not be read.
        """
        import zipfile

        digest = hashlib.sha256()
        try:
            with self.open(path, LARGEST_ARCHIVE) as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
                with zipfile.ZipFile(stream) as archive:
                    broken = archive.testzip()
        except FileNotFoundError:
            raise CnnkitError(f"the run `{self.path}` has no {path.name}") from None
        except (
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            ValueError,
            NotImplementedError,
            OSError,
            RuntimeError,
        ) as error:
            raise damaged(path, str(error)) from None
        if broken is not None:
            raise damaged(path, f"its part `{broken}` does not agree with its checksum")
        return digest.hexdigest()

    def write_metrics(self, rows: Sequence[dict[str, Any]]) -> None:
        """One row per epoch; the columns are those of the first row.

        Later ones have more where another version of cnnkit, which measures more, goes on with a run.
        """
        names = list(rows[0])
        write_atomically(self.metrics, to_csv(names, [[row[name] for name in names] for row in rows]))

    def read_words(self) -> list[str] | None:
        """The vocabulary in the order of the words' numbers; None where there is none, as of images.

        Raises:
            CnnkitError: if the file may not be read.
        """
        try:
            return self.read(self.words, LARGEST_WORDS).removesuffix("\n").split("\n")
        except FileNotFoundError:
            return None

    def read_metrics(self) -> list[dict[str, float]]:
        """The rows of metrics.csv as numbers; none if no epoch has ended.

        Raises:
            CnnkitError: if the file is broken, lacks epochs at its end, or may not be read.
        """
        # Read first, because a process that trains writes the rows first.
        stated = self._stated_epochs()
        hint = f"`cnnkit train --resume {shlex.quote(str(self.path))}` writes it again, if the run has a checkpoint."
        try:
            text = self.read(self.metrics, LARGEST_METRICS)
            rows = list(csv.DictReader(io.StringIO(text)))
            found = [{key: float(value) for key, value in row.items()} for row in rows]
        except FileNotFoundError:
            return []
        except (TypeError, ValueError, csv.Error):
            found = []
        # It is written when an epoch has ended, and whole lines of it.
        whole = bool(found) and text.endswith("\n")
        if not whole or not all("loss" in row and row.get("epoch", math.nan).is_integer() for row in found):
            raise CnnkitError(f"`{self.metrics}` should hold one row of numbers per epoch", hint)
        if len(found) < stated:
            raise CnnkitError(
                f"`{self.metrics}` is cut off: it holds {len(found)} of the {stated} epochs that the run has trained",
                hint,
            )
        return found

    def _stated_epochs(self) -> int:
        """How many epochs the training says that it has kept; 0 where it does not say it any more."""
        try:
            stated = self.read_json(self.live_state).get("epochs_done")
        except CnnkitError:
            return 0
        return stated if isinstance(stated, int) else 0


def _digest(known_by: Sequence[str]) -> str:
    """Eight letters that tell things apart, for names of files."""
    return hashlib.blake2b("\0".join(known_by).encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()


def damaged(path: Path, reason: str, hint: str | None = None) -> CnnkitError:
    """The error for a file of a run that does not hold what it should.

    Args:
        hint: What to do; by default to bring back a copy, or to train again.
    """
    hint = hint or "Bring back a copy of it, or train the run's config again with `cnnkit train`."
    return CnnkitError(f"`{path}` is damaged: {reason}", hint)


def _hint_for(error: OSError) -> str | None:
    return "Ask its owner to let you read it." if error.errno in (errno.EACCES, errno.EPERM) else None
