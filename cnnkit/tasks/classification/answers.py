"""The classes of image files: finding the files, predicting them in batches, and writing the results."""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.data.images import read_for
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.format.run_folders import outside_runs
from cnnkit.images.files import image_files, left_out_text
from cnnkit.images.formats import IMAGE_SUFFIXES, CorruptImage
from cnnkit.machine.processor import usable_cores
from cnnkit.runs.heads import probabilities_from_outputs
from cnnkit.runs.interface import Interface
from cnnkit.runs.ranking import ranked
from cnnkit.terminal.printable import printable, printable_json
from cnnkit.terminal.tables import aligned

log = logging.getLogger("cnnkit")


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network says about one file: probabilities, or why there are none.

    Args:
        file: The image file.
        class_names: One name per class.
        probabilities: One probability per class, float64; None where the file could not be read.
        top: How many of the likeliest classes the table shows.
        error: Why the file could not be read, naming it; None where it could.
    """

    file: Path
    class_names: Sequence[str]
    probabilities: NDArray[np.float64] | None = None
    top: int = 5
    error: str | None = None

    def ranked(self) -> list[tuple[str, float]]:
        """The `top` likeliest classes with their probabilities, the likeliest first; empty after an error."""
        if self.probabilities is None:
            return []
        order = ranked(self.probabilities, self.top)
        return [(self.class_names[index], float(self.probabilities[index])) for index in order]


def collect_images(paths: Sequence[Path]) -> list[Path]:
    """The image files that the paths stand for: files as they are, folders searched to any depth.

    In a folder, files count by their endings, as they do in training: see `image_files`. Arguments keep their order,
    each folder's files are sorted, and a file that is named twice comes once. A line says what was left out.

    Raises:
        UsageError: if a path does not exist.
        CnnkitError: if a folder holds no images or cannot be read.
    """
    found: dict[Path, None] = {}
    left_out: list[str] = []
    for path in paths:
        if path.is_dir():
            try:
                images, others = (outside_runs(files, path) for files in image_files(path))
            except OSError as error:
                raise CnnkitError(f"cannot read the folder {error.filename}: {error.strerror}") from None
            if not images:
                raise CnnkitError(
                    f"expected images in the folder {path}, found none"
                    + (f" ({left_out_text(others)})" if others else ""),
                    f"Files count that end in {', '.join(IMAGE_SUFFIXES)}, in sub-folders too; hidden ones do not.",
                )
            found.update(dict.fromkeys(sorted(map(Path, images))))
            left_out += others
        elif path.exists():
            found[path] = None
        else:
            raise UsageError(
                f"expected an image file or a folder, but {path} does not exist",
                "Check the path; a relative one starts at the current folder.",
            )
    if left_out:
        log.warning("%s", left_out_text(left_out))
    return list(found)


def predict_images(
    network: Callable[[Any], Any],
    files: Sequence[Path],
    *,
    task: Interface,
    batch_size: int,
    top: int = 5,
    most_megapixels: float | None = None,
) -> list[Prediction]:
    """Predicts image files of any size and mode; at most `batch_size` images are in memory at a time.

    Args:
        network: From raw images, uint8 [images, height, width, channels], to outputs [images, classes]:
            `inference.compile_network`, or a Keras model.
        files: The image files.
        task: What the network takes and outputs.
        batch_size: Images per call of the network.
        top: How many of the likeliest classes `as_table` shows.
        most_megapixels: Images with more are not read; by default as the task says.

    Returns:
        One prediction per file, in the order of `files`. A file that is not an image, or a damaged one, has
        its `error` set; the others are predicted all the same.

    Raises:
        CnnkitError: if the model's outputs do not fit the class names, or are not finite.
    """
    predictions: list[Prediction] = []
    workers = min(8, usable_cores(), batch_size)
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(files), batch_size):
            chunk = files[start : start + batch_size]
            images = list(pool.map(lambda file: _read(file, task, most_megapixels), chunk))
            readable = [image for image in images if not isinstance(image, str)]
            rows = iter(_probabilities(network, readable, task))
            for file, image in zip(chunk, images, strict=True):
                if isinstance(image, str):
                    predictions.append(Prediction(file, task.class_names, top=top, error=image))
                else:
                    predictions.append(Prediction(file, task.class_names, next(rows), top))
    return predictions


def _read(file: Path, task: Interface, most_megapixels: float | None) -> NDArray[np.uint8] | str:
    """The image, or one line that says why there is none."""
    try:
        return read_for(task, file, most_megapixels)
    except CorruptImage as error:
        return f"{error.message}. {error.hint}" if error.hint else error.message


def _probabilities(
    network: Callable[[Any], Any], images: Sequence[NDArray[np.uint8]], task: Interface
) -> NDArray[np.float64]:
    if not images:
        return np.empty((0, len(task.class_names)))
    return check_usable(probabilities_from_outputs(network(np.stack(images)), task.head), task.class_names)


def check_usable(probabilities: NDArray[np.float64], class_names: Sequence[str]) -> NDArray[np.float64]:
    """The probabilities, [images, classes], where they are fit for use.

    Raises:
        CnnkitError: if the model's outputs do not fit the class names, or are not finite.
    """
    if probabilities.shape[1] != len(class_names):
        raise CnnkitError(
            f"expected a model with {len(class_names)} classes, got one with {probabilities.shape[1]} outputs"
        )
    if not np.isfinite(probabilities).all():
        raise CnnkitError(
            "expected finite probabilities, the model outputs NaN or infinity",
            "Its weights are not usable; train again with a lower learning rate.",
        )
    return probabilities


# --- Output formats -----------------------------------------------------------------------------------


def as_table(predictions: Sequence[Prediction]) -> str:
    """One line per file for a terminal: file, class, probability, and the next likeliest classes."""
    read = [prediction for prediction in predictions if prediction.error is None]
    failed = [prediction for prediction in predictions if prediction.error is not None]
    parts = []
    if read:
        lines = [["file", "class", "probability", "next"]]
        for prediction in read:
            (name, probability), *others = prediction.ranked()
            following = ", ".join(f"{other} {value:.4f}" for other, value in others)
            lines.append([printable(str(prediction.file)), name, f"{probability:.4f}", following])
        parts.append(aligned(lines, "<<><"))
    if failed:
        heading = f"{len(failed)} of {len(predictions)} files could not be read:"
        parts.append("\n".join([heading, *(f"  {printable(item.error or '')}" for item in failed)]))
    return "\n\n".join(parts)


def as_json(predictions: Sequence[Prediction]) -> str:
    """A JSON list: {file, class, probability, probabilities: {class: p}} or {file, error} for each file.

    Probabilities have six significant digits.
    """
    entries: list[dict[str, Any]] = []
    for prediction in predictions:
        entry: dict[str, Any] = {"file": str(prediction.file)}
        if prediction.probabilities is None:
            entry["error"] = prediction.error
        else:
            entry |= as_entry(prediction.probabilities, prediction.class_names)
        entries.append(entry)
    return printable_json(entries)


def as_entry(probabilities: NDArray[np.float64], class_names: Sequence[str]) -> dict[str, Any]:
    """One image's `class`, `probability` and `probabilities` ({class: p}), with six significant digits.

    Args:
        probabilities: [classes].
        class_names: One name per class.
    """
    numbers = [float(f"{value:.6g}") for value in probabilities.tolist()]
    likeliest = int(probabilities.argmax())
    return {
        "class": class_names[likeliest],
        "probability": numbers[likeliest],
        "probabilities": dict(zip(class_names, numbers, strict=True)),
    }


def as_csv(predictions: Sequence[Prediction]) -> str:
    """CSV with a header: file, class, probability, one `probability_<class>` per class, error.

    Probabilities have six significant digits; after an error, all but `file` and `error` are empty.
    """
    names = list(predictions[0].class_names) if predictions else []
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["file", "class", "probability", *(f"probability_{name}" for name in names), "error"])
    for prediction in predictions:
        if prediction.probabilities is None:
            writer.writerow([str(prediction.file), "", "", *("" for _ in names), prediction.error])
        else:
            numbers = [f"{value:.6g}" for value in prediction.probabilities.tolist()]
            likeliest = int(prediction.probabilities.argmax())
            name = prediction.class_names[likeliest]
            writer.writerow([str(prediction.file), name, numbers[likeliest], *numbers, ""])
    return text.getvalue()
