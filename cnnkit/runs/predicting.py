"""What a network says of image files or texts: asking in batches, and writing the answers down."""

from __future__ import annotations

import csv
import io
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.data.images import read_image, size_of
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.files import replacing
from cnnkit.images.padding import Padding
from cnnkit.machine.processor import usable_cores
from cnnkit.runs.inputs import inputs_of
from cnnkit.runs.interface import Interface
from cnnkit.task import Answer, AnswerPicture, Answers
from cnnkit.terminal.printable import printable, printable_json
from cnnkit.terminal.tables import aligned

log = logging.getLogger("cnnkit")

#: Words that a line names as those that speak for an answer, and how strong they are at least.
MOST_REASONS = 4
LEAST = 0.1


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the network says of one file or text, or why it says nothing.

    Attributes:
        file: The file, or the text.
        answer: None where it could not be read.
        error: Why it could not be read, naming it; None where it could.
        pictures: The files that the answer was written to.
        marks: Of a text that is explained, each word and how strongly it speaks for the answer, 0..1.
    """

    file: Path | str
    answer: Answer | None = None
    error: str | None = None
    pictures: tuple[Path, ...] = ()
    marks: tuple[tuple[str, float], ...] | None = None

    @property
    def reasons(self) -> str:
        """The words that speak for the answer, the strongest first; each once."""
        strongest: dict[str, float] = {}
        for word, strength in sorted(self.marks or (), key=lambda mark: -mark[1]):
            strongest.setdefault(word, strength)
        told = [f"{word} {strength:.2f}" for word, strength in strongest.items() if strength >= LEAST]
        return ", ".join(told[:MOST_REASONS])


def predict_images(
    network: Callable[[Any], Any],
    files: Sequence[Any],
    *,
    interface: Interface,
    answers: Answers,
    batch_size: int,
    most_megapixels: float | None = None,
    pictures: Sequence[Sequence[Path]] | None = None,
    explain: Callable[[Any, Any], Any] | None = None,
) -> list[Prediction]:
    """Predicts image files of any size and mode, or texts; at most `batch_size` are in memory at a time.

    Args:
        network: From samples as the interface says, such as images, uint8 [images, height, width, channels], to
            outputs [images, ...]: `inference.compile_network`, or a Keras model.
        files: The image files, or the texts.
        interface: What the network takes and outputs.
        answers: What its outputs say.
        batch_size: Images per call of the network.
        most_megapixels: Images with more are not read; by default as the interface says.
        pictures: Where to write the pictures of each file's answer, see `picture_files`; None to write none.
        explain: From texts and outputs to what each word has to do with the answers, see `inside.explaining`.

    Returns:
        One prediction per file, in the order of `files`. A file that is not an image, or a damaged one, has
        its `error` set; the others are predicted all the same.

    Raises:
        CnnkitError: if the network's outputs are not usable.
    """
    inputs = inputs_of(interface)
    predictions: list[Prediction] = []
    workers = min(8, usable_cores(), batch_size)
    with ThreadPoolExecutor(workers) as pool:
        for start in range(0, len(files), batch_size):
            chunk = files[start : start + batch_size]
            images = list(pool.map(lambda file: inputs.read(file, most_megapixels), chunk))
            targets = [()] * len(chunk) if pictures is None else pictures[start : start + batch_size]
            answered = iter(_ask(network, answers, interface.padding, images, targets, explain))
            for file, image, paths in zip(chunk, images, targets, strict=True):
                if isinstance(image, str):
                    predictions.append(Prediction(file, error=image))
                else:
                    answer, strengths = next(answered)
                    if answers.has_places:
                        _draw_in_file(answers, answer, file, paths)
                        answer = answers.in_file(answer, size_of(file))
                    marks = None if strengths is None else tuple(inputs.marks(file, strengths))
                    predictions.append(Prediction(file, answer, pictures=tuple(paths), marks=marks))
    return predictions


def _draw_in_file(answers: Answers, answer: Answer, file: Path, paths: Sequence[Path]) -> None:
    """Writes the pictures of an answer that has places: on the file as it is, whatever the network takes."""
    if not paths:
        return
    image = read_image(file, None, 3, most_megapixels=math.inf)
    for path, picture in zip(paths, answers.draw_in_file(answer, image), strict=True):
        _write(picture, path)


def as_coco(predictions: Sequence[Prediction], answers: Answers) -> str:
    """A JSON file in COCO's format; files that could not be read are left out."""
    return answers.as_coco([(str(one.file), one.answer) for one in predictions if one.answer is not None])


def _ask(
    network: Callable[[Any], Any],
    answers: Answers,
    padding: Padding,
    images: Sequence[NDArray[Any] | str],
    targets: Sequence[Sequence[Path]],
    explain: Callable[[Any, Any], Any] | None,
) -> Sequence[tuple[Answer, Any]]:
    """The answers for the images that could be read, their pictures written, without the border of the images; those
    of answers with places are not.

    With each comes what `explain` says of it; None without it.
    """
    readable = [(image, paths) for image, paths in zip(images, targets, strict=True) if not isinstance(image, str)]
    if not readable:
        return []
    stacked = np.stack([image for image, _ in readable])
    outputs = network(stacked)
    answered = answers.read(outputs)
    if not answers.has_places and any(paths for _, paths in readable):
        for (_, paths), drawn in zip(readable, answers.draw(stacked, outputs), strict=True):
            for path, picture in zip(paths, drawn, strict=True):
                _write(picture.without(padding), path)
    strengths = [None] * len(answered) if explain is None else explain(stacked, outputs)
    return list(zip(answered, strengths, strict=True))


# --- Pictures -----------------------------------------------------------------------------------------


def picture_files(files: Sequence[Path], folder: Path, names: Sequence[str]) -> list[list[Path]]:
    """Where the pictures of answers are written: `FOLDER/cat.mask.png` for `cat.jpg`.

    Below the folder they lie as the image files do below the folder that holds all of these. Where two image files of
    one folder have the same name but for the ending, it stays: `cat.jpg.mask.png`.

    Args:
        files: The image files, each once.
        folder: Need not be there.
        names: Of each answer's pictures.

    Raises:
        UsageError: if one of the files is there already, or the folder is none.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"`{folder}` is a file; expected a folder, or a name for a new one")
    absolute = [Path(os.path.abspath(file)) for file in files]
    common = Path(os.path.commonpath([file.parent for file in absolute]))
    stems = Counter(file.with_suffix("") for file in absolute)
    places = [stem if stems[stem := file.with_suffix("")] == 1 else file for file in absolute]
    if len(set(places)) < len(places):
        # `cat.jpg` beside `cat.png` and `cat.jpg.png`.
        places = absolute
    inside = [folder / place.relative_to(common) for place in places]
    targets = [[place.with_name(f"{place.name}.{name}.png") for name in names] for place in inside]
    for path in (path for paths in targets for path in paths):
        if os.path.lexists(path):
            raise UsageError(f"`{path}` is there already", "Name another folder with --output.")
    return targets


def _write(picture: AnswerPicture, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            picture.picture().save(temporary)
    except OSError as error:
        raise CnnkitError(f"cannot write `{path}`: {error.strerror or error}") from None


# --- Output formats -----------------------------------------------------------------------------------


def as_table(predictions: Sequence[Prediction], answers: Answers, top: int = 5, column: str = "file") -> str:
    """One line per file or text for a terminal, then those that could not be read.

    Args:
        column: What the name of one is called, as for `as_json` and `as_csv`.
    """
    lines = [
        [printable(str(prediction.file)), *prediction.answer.cells(top), *_reasons(prediction)]
        for prediction in predictions
        if prediction.answer is not None
    ]
    failed = [prediction for prediction in predictions if prediction.answer is None]
    parts = []
    if lines:
        explained = any(prediction.marks is not None for prediction in predictions)
        header = [column, *answers.header, *(["because of"] if explained else [])]
        parts.append(aligned([header, *lines], f"<{answers.alignment}{'<' if explained else ''}"))
    if failed:
        heading = f"{len(failed)} of {len(predictions)} {column}s could not be read:"
        parts.append("\n".join([heading, *(f"  {printable(item.error or '')}" for item in failed)]))
    return "\n\n".join(parts)


def _reasons(prediction: Prediction) -> list[str]:
    return [] if prediction.marks is None else [printable(prediction.reasons)]


def as_json(predictions: Sequence[Prediction], column: str = "file") -> str:
    """A JSON list: for each file {file, what the answer says, pictures where some were written} or {file, error}."""
    entries: list[dict[str, Any]] = []
    for prediction in predictions:
        entry: dict[str, Any] = {column: str(prediction.file)}
        if prediction.answer is None:
            entry["error"] = prediction.error
        else:
            entry |= prediction.answer.entry()
        if prediction.marks is not None:
            entry["words"] = [[word, float(f"{strength:.4f}")] for word, strength in prediction.marks]
        if prediction.pictures:
            entry["pictures"] = [str(path) for path in prediction.pictures]
        entries.append(entry)
    return printable_json(entries)


def as_csv(predictions: Sequence[Prediction], answers: Answers, column: str = "file") -> str:
    """CSV with a header: file, the columns of the answers, error; after an error, only that is said of a file.

    There are as many rows for a file as its answer has, see `Answers.rows`.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([column, *answers.columns, "error"])
    for prediction in predictions:
        answer = prediction.answer
        for fields in [[""] * len(answers.columns)] if answer is None else answers.rows(answer):
            writer.writerow([str(prediction.file), *fields, prediction.error or ""])
    return text.getvalue()
