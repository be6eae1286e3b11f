"""What a generation has come to, prepared for reports."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.errors import CnnkitError
from cnnkit.images.tiles import tiled
from cnnkit.report.facts import Facts
from cnnkit.report.page import Missing, Picture, attempt, drawing, percent
from cnnkit.report.parts import Outcome, Section, Tile
from cnnkit.report.side_by_side import SideBySide, figure_rows
from cnnkit.task import Figure
from cnnkit.tasks.generation.classifier import ACCEPTED
from cnnkit.tasks.generation.evaluation import Made, dead_classes, training_images
from cnnkit.tasks.generation.film import film, read_sheet, shown_epochs
from cnnkit.tasks.generation.tables import measure_rows, measured_by, notes, times_floor, training_text

#: Pairs of a made image and its nearest training image.
PAIRS = 8

#: Pixels on the page, at most, to which small ones are enlarged.
_SHEET_WIDTH, _PAIRS_WIDTH = 480, 800

_SPREAD = Figure("spread", "spread of the samples")

#: More columns would be cut off on a phone.
_COMPARED = (
    Figure("frechet", "Fréchet distance", larger_is_better=False),
    Figure("coverage", "coverage", is_share=True),
    Figure("accepted", "accepted", is_share=True),
)


def outcome(evaluation: dict[str, Any], sample: Sample = IMAGES) -> Outcome:
    """The distance beside its floor, what the classifier accepts, and the classes.

    Args:
        evaluation: evaluation.json.
    """
    spread = Tile("Spread", f"{evaluation['spread']:.2f}", "of that of the real images")
    if "frechet" not in evaluation:
        sentence = f"Made images spread {evaluation['spread']:.2f} times as far as real ones"
        return Outcome(f"spread {evaluation['spread']:.2f}", sentence, [spread], "(no classifier was named)")
    floor, rows = evaluation["floor"], evaluation["per_class"]
    living = len(rows) - len(dead_classes(rows))
    tiles = [
        Tile("Fréchet distance", f"{evaluation['frechet']:.3g}", f"floor: {floor['frechet']:.3g}"),
        Tile("Coverage", percent(evaluation["coverage"], 1), f"floor: {percent(floor['coverage'], 1)}"),
        Tile("Density", f"{evaluation['density']:.2f}", f"floor: {floor['density']:.2f}"),
        Tile("Accepted", percent(evaluation["accepted"], 1), f"at {ACCEPTED:.0%} by the classifier"),
        Tile("Classes", f"{living} of {len(rows)}", "are made"),
        spread,
    ]
    short = f"Fréchet distance {evaluation['frechet']:.3g}"
    sentence = f"{short}, {times_floor(evaluation)} its floor, on {evaluation['samples']:,} made images"
    return Outcome(short, sentence, tiles)


def sections(facts: Facts) -> list[Section]:
    """The samples, the measures, the classes, and the training images nearest to samples."""
    evaluation = facts.evaluation
    known = not isinstance(evaluation, Missing)

    def measured(make: Any) -> Any:
        return attempt(make, evaluation) if known else evaluation

    samples = {"sheet": attempt(last_sheet, facts), "course": attempt(course, facts)}
    values = {"pairs": attempt(pairs, facts), "text": measured(_training_text)}
    return [
        Section("samples", "Samples", __package__, "samples.html", samples),
        Section("measures", "How like real images", __package__, "measures.html", {"measures": measured(measures)}),
        Section("classes", "Classes", __package__, "shares.html", {"classes": measured(shares)}),
        Section("training_images", "Nearest training images", __package__, "nearest.html", values),
    ]


@dataclass(frozen=True)
class Sheet:
    """The samples of the last epoch.

    Attributes:
        epoch: Its number, from 1.
    """

    epoch: int
    picture: Picture


def last_sheet(facts: Facts) -> Sheet | Missing:
    """The images that were made after the last epoch."""
    epoch, run, channels = len(facts.epochs), facts.run, facts.trained.interface.data_shape[-1]
    if not epoch:
        return Missing("No epoch has ended.")
    try:
        pixels = read_sheet(run, epoch, channels)
    except FileNotFoundError:
        return Missing(f"The run has no sheet of epoch {epoch}.")
    return Sheet(epoch, drawing(_enlarged(pixels, _SHEET_WIDTH), pixelated=True))


@dataclass(frozen=True)
class Course:
    """The samples of all epochs, or of some of them.

    Attributes:
        epochs: Which.
    """

    epochs: list[int]
    picture: Picture


def course(facts: Facts) -> Course | Missing:
    """The sheets of the epochs as an animation."""
    run = facts.run
    epochs = shown_epochs(run)
    if len(epochs) < 2:
        return Missing("Of one epoch, there is nothing to play.")
    content, (width, height) = film(run, facts.trained.interface.data_shape[-1], "WEBP")
    source = f"data:image/webp;base64,{base64.b64encode(content).decode()}"
    times = max(1, _SHEET_WIDTH // width)
    return Course(epochs, Picture(source, times * width, times * height, pixelated=True))


@dataclass(frozen=True)
class Measures:
    """The table of measures.

    Attributes:
        rows: The name, the value of made images, and that of real ones.
        text: How it was measured.
    """

    rows: list[tuple[str, str, str]]
    text: str


def measures(evaluation: dict[str, Any]) -> Measures | Missing:
    """What a classifier has measured, each beside the same of real images."""
    if "frechet" not in evaluation:
        return Missing(_sentence(notes(evaluation)[0]))
    return Measures(measure_rows(evaluation), measured_by(evaluation))


@dataclass(frozen=True)
class Shares:
    """The shares of the classes.

    Attributes:
        rows: As in evaluation.json, with the lengths of two bars, 0..1.
        notes: What a reader should not miss.
    """

    rows: list[dict[str, Any]]
    notes: list[str]


def shares(evaluation: dict[str, Any]) -> Shares | Missing:
    """How many of the made images are of each class, beside real ones."""
    if "per_class" not in evaluation:
        return Missing("Without a classifier, nobody knows of which classes they are.")
    rows = evaluation["per_class"]
    most = max(1e-9, *(max(row["share"], row["real_share"]) for row in rows))
    lengths = [{"made": row["share"] / most, "real": row["real_share"] / most} for row in rows]
    return Shares(
        [{"accepted": None, **row, **bars} for row, bars in zip(rows, lengths, strict=True)],
        [_sentence(note) for note in notes(evaluation)],
    )


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _training_text(evaluation: dict[str, Any]) -> str | Missing:
    if "training" not in evaluation:
        return Missing("The images measured are the training images themselves.")
    return training_text(evaluation["training"])


@dataclass(frozen=True)
class Pairs:
    """Made images above the training image that is nearest to each.

    Attributes:
        identities: The names of the training images.
        distances: How far they are.
    """

    picture: Picture
    identities: list[str]
    distances: list[float]


def pairs(facts: Facts) -> Pairs | Missing:
    """The made images that are nearest to a training image, with that one."""
    evaluation, trained = facts.evaluation, facts.trained
    if isinstance(evaluation, Missing):
        return evaluation
    named = evaluation.get("training", {}).get("nearest", [])[:PAIRS]
    if not named:
        return Missing("No training image was looked for.")
    training = training_images(trained)
    if any(not 0 <= one["place"] < training.size or not 0 <= one["sample"] < evaluation["samples"] for one in named):
        raise CnnkitError("evaluation.json names images that are not there.")
    images = Made(trained, evaluation["seed"], evaluation["samples"]).make([one["sample"] for one in named])
    others = training.read([one["place"] for one in named])
    sheet = tiled(np.concatenate([images, others]), len(named))
    return Pairs(
        drawing(_enlarged(sheet, _PAIRS_WIDTH), pixelated=True),
        [one["image"] for one in named],
        [one["distance"] for one in named],
    )


def _enlarged(image: Any, width: int) -> Any:
    """An image a whole number of times as large, as far as it is no wider than that."""
    times = max(1, width // image.shape[1])
    return image.repeat(times, axis=0).repeat(times, axis=1)


def compare(names: Sequence[str], facts: Sequence[Facts]) -> SideBySide:
    """See `Task.compare`; distances can be compared where one classifier has measured them."""
    known = [one.evaluation for one in facts if not isinstance(one.evaluation, Missing)]
    measured_with = {one["classifier"]["sha256"] if "classifier" in one else None for one in known}
    if None in measured_with:
        # What no classifier has measured has the spread alone.
        figures: Sequence[Figure] = [_SPREAD]
        note = "" if len(measured_with) == 1 else "Not all were measured by a classifier: what all have is compared."
    else:
        figures = _COMPARED
        note = "" if len(measured_with) <= 1 else "Several classifiers have measured them: the distances say nothing."
    return SideBySide([figure.label for figure in figures], figure_rows(facts, figures), note)
