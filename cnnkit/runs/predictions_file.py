"""predictions.csv of a run, and the images that it tells of."""

from __future__ import annotations

import csv
import io
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnkit.errors import CnnkitError
from cnnkit.runs.directory import LARGEST_PREDICTIONS
from cnnkit.runs.trained import TrainedRun

if TYPE_CHECKING:
    from cnnkit.data.splits import Split


def read_columns(trained: TrainedRun, header: Sequence[str]) -> list[tuple[str, ...]]:
    """The columns of a run's predictions.csv, as text, one cell for each test image.

    Args:
        header: The names that they should have.

    Raises:
        CnnkitError: if the run was not evaluated, or the file has other columns, or is cut short.
    """
    run = trained.run
    try:
        with io.TextIOWrapper(run.open(run.predictions, LARGEST_PREDICTIONS), "utf-8", newline="") as stream:
            first, *rows = csv.reader(stream, strict=True)
    except FileNotFoundError:
        raise missing(trained) from None
    except (ValueError, csv.Error):
        raise broken(trained) from None
    if first != list(header) or not rows or any(len(row) != len(header) for row in rows):
        raise broken(trained)
    return list(zip(*rows, strict=True))


def missing(trained: TrainedRun) -> CnnkitError:
    """The error of a run without predictions.csv."""
    return CnnkitError(f"the run `{trained.run.path}` has no {trained.run.predictions.name}", _hint(trained))


def broken(trained: TrainedRun) -> CnnkitError:
    """The error of a predictions.csv that does not hold what it should."""
    return CnnkitError(f"`{trained.run.predictions}` should hold one row per test image", _hint(trained))


def _hint(trained: TrainedRun) -> str:
    return f"Evaluate it: cnnkit eval {shlex.quote(str(trained.run.path))}"


def test_images(trained: TrainedRun) -> Split:
    """The test images of a run.

    Raises:
        CnnkitError: if they are not here.
    """
    from cnnkit.runs.evaluation import labelled_images

    # Loading the images may load TensorFlow.
    trained.request_settings()
    split: Split = labelled_images(trained)
    return split
