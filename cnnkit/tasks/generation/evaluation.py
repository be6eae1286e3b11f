"""What a generator is worth, measured on the images that it makes, beside real ones that it has not learned from."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.data.splits import Split, chunk_size
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.files import to_csv
from cnnkit.format.seeds import derive_seed
from cnnkit.machine.tensorflow import load_tensorflow
from cnnkit.runs.directory import Run
from cnnkit.runs.json_forms import REQUIRED, Form
from cnnkit.runs.trained import TrainedRun
from cnnkit.task import Evaluation
from cnnkit.tasks.generation.classifier import (
    ACCEPTED,
    HOW_TO,
    Classifier,
    Seen,
    check_classifier,
    open_classifier,
)
from cnnkit.tasks.generation.measures import NEIGHBOURS, halves, likeness, nearest, share_nearer
from cnnkit.tasks.generation.sampling import latents, samples
from cnnkit.terminal.printable import printable

if TYPE_CHECKING:
    from cnnkit.tasks.generation.settings import Settings

#: Images that are made, and real ones that are read, for a measurement; fewer where the split has fewer.
MEASURED = 10_000

#: Of these, those whose nearest training image is looked for.
COMPARED = 1_000

#: Pairs of a made image and its nearest training image that an evaluation names, the nearest first.
NEAREST = 12

#: A class is dead that has less than this part of the share that it has among the real images.
DEAD = 0.1

#: Columns of predictions.csv; those of the classifier are empty without one.
COLUMNS = ("sample", "asked", "class", "probability")

_LIKENESS: Form = {
    "frechet": float,
    "kernel": float,
    "kernel_error": float,
    "density": float,
    "coverage": float,
}

#: evaluation.json; what the classifier measures is missing without one.
EVALUATION: Form = {
    "images": int,
    "samples": int,
    "seed": int,
    "spread": float,
    "classifier": {"run": str, "sha256": str, "layer": str, "features": int, "accuracy": float}
    | {REQUIRED: ("run", "sha256", "layer", "features", "accuracy")},
    "compared": int,
    **_LIKENESS,
    "floor": {**_LIKENESS, REQUIRED: ("frechet", "kernel", "density", "coverage")},
    "accepted": float,
    "real_accepted": float,
    "obeyed": float,
    "per_class": [
        {"class": str, "share": float, "real_share": float, "accepted": float}
        | {REQUIRED: ("class", "share", "real_share")}
    ],
    "training": {
        "images": int,
        "samples": int,
        "distance": float,
        "real_distance": float,
        "nearer": float,
        "nearest": [{"sample": int, "image": str, "place": int, "distance": float}],
        REQUIRED: ("images", "samples", "distance", "real_distance", "nearer", "nearest"),
    },
    REQUIRED: ("images", "samples", "seed", "spread"),
}

log = logging.getLogger("cnnkit")


@dataclass(frozen=True, eq=False)
class MadeImages:
    """The rows of predictions.csv, one for each image that was made.

    Attributes:
        asked: The class that each was asked for; None of a generator that cannot be asked.
        classes: What the classifier takes each for; None without one.
        probabilities: How likely that is.
    """

    count: int
    asked: Sequence[str] | None
    classes: Sequence[str] | None
    probabilities: NDArray[np.float32] | None

    def as_csv(self) -> str:
        nothing = [""] * self.count
        likely = None if self.probabilities is None else [f"{value:.4f}" for value in self.probabilities.tolist()]
        columns = [range(self.count), self.asked or nothing, self.classes or nothing, likely or nothing]
        return to_csv(list(COLUMNS), [list(row) for row in zip(*columns, strict=True)])


def settings_of(trained: TrainedRun) -> Settings:
    """The arguments of a run's task."""
    from cnnkit.tasks.generation.settings import Settings

    task = trained.loaded.config.task
    assert isinstance(task, Settings)
    return task


def classifier_of(trained: TrainedRun) -> str | None:
    """The run of the classifier that a run's config names, or else of that which last measured it; None without one."""
    named = settings_of(trained).classifier
    if named is not None:
        return named
    try:
        return (trained.evaluation.get("classifier") or {}).get("run")
    except CnnkitError:
        return None


def evaluate(task: Settings, members: Sequence[TrainedRun], images: Split, tta: Sequence[str]) -> Evaluation:
    """See `Task.evaluate`: the images of one generator against those of a split.

    Args:
        task: Whose classifier measures them; without one, that which did so last.

    Raises:
        UsageError: for several runs, with augmentations, or if the classifier tells other images or classes apart.
        CnnkitError: if the classifier is not there.
    """
    if tta:
        raise UsageError("--tta is for networks that look at images; a generator makes them of latent vectors")
    if len(members) > 1:
        raise UsageError("the images of several generators have no mean", "Measure each run by itself.")
    (trained,) = members
    # With its settings, before reading images would load it without.
    load_tensorflow()
    seed = trained.loaded.config.seed
    classifier = _classifier(task.classifier or classifier_of(trained), trained)
    if images.size <= 2 * NEIGHBOURS:
        raise CnnkitError(f"the split has {images.size} images; a generation is measured on more than {2 * NEIGHBOURS}")
    places = _places(images.size, derive_seed(seed, "measured", images.name))
    made = Made(trained, derive_seed(seed, "latents", "measured"), len(places))
    metrics: dict[str, Any] = {"images": len(places), "samples": made.count, "seed": made.seed}
    real = _look(classifier, _read(images, places), len(places))
    own = _look(classifier, made.parts(chunk_size(images.shape)), made.count)
    metrics["spread"] = float(np.sqrt(own.variance / max(real.variance, 1e-12)))
    says: Seen | None = None
    if classifier is None:
        log.warning(
            "no classifier is named: nobody knows how like real images the made ones are, nor of which classes. %s",
            HOW_TO,
        )
    else:
        assert real.seen is not None
        assert own.seen is not None
        says = own.seen
        labels = np.asarray(images.labels)[places]
        metrics |= by_classifier(classifier, real.seen, says, labels, seed, made.asked)
        tell_of_another(trained.run, metrics["classifier"])
    metrics |= _against_training(trained, images, places, made)
    names = trained.interface.class_names
    return Evaluation(
        metrics,
        MadeImages(
            made.count,
            None if made.asked is None else [names[number] for number in made.asked],
            None if says is None else [names[number] for number in says.classes.tolist()],
            None if says is None else says.largest,
        ),
    )


def _classifier(path: str | None, trained: TrainedRun) -> Classifier | None:
    """That of a run, once it is known to tell the generator's images apart."""
    if path is None:
        return None
    problem = check_classifier(path, trained.loaded.info)
    if problem is not None:
        raise UsageError(problem)
    return open_classifier(path)


class Made:
    """The images that a run is measured by: always the same, of which any can be made again.

    Args:
        trained: The run.
        seed: Of the latent vectors.
        count: How many.
    """

    def __init__(self, trained: TrainedRun, seed: int, count: int) -> None:
        self.trained = trained
        self.seed = seed
        self.count = count
        self.vectors = latents(seed, count, settings_of(trained).latent)
        #: The class that each is asked for, by number; None of a generator that cannot be asked.
        conditions = getattr(trained.interface.sample, "conditions", 0)
        self.asked = [number % conditions for number in range(count)] if conditions else None

    def make(self, places: Sequence[int] | NDArray[np.int64]) -> NDArray[np.uint8]:
        """Those of some numbers."""
        chosen = np.asarray(places, np.int64)
        asked = None if self.asked is None else [self.asked[place] for place in chosen.tolist()]
        return samples(self.trained, self.vectors[chosen], asked)

    def parts(self, size: int) -> Iterator[NDArray[np.uint8]]:
        """All of them, some at a time."""
        for start in range(0, self.count, size):
            yield self.make(np.arange(start, min(start + size, self.count)))


def _places(size: int, seed: int) -> NDArray[np.int64]:
    """Which images of a split are measured: all, or as many as `MEASURED`, drawn by the seed; in the split's order."""
    if size <= MEASURED:
        return np.arange(size)
    return np.sort(np.random.default_rng(seed).choice(size, MEASURED, replace=False))


def _read(images: Split, places: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    from cnnkit.data import naming_corrupt_files

    size = chunk_size(images.shape)
    with naming_corrupt_files(images):
        for start in range(0, len(places), size):
            yield images.read(places[start : start + size])


@dataclass(frozen=True, eq=False)
class _Looked:
    """What is known of images that have been looked at once.

    Attributes:
        variance: The mean over pixels of their variance over images.
        seen: What the classifier says; None without one.
    """

    variance: float
    seen: Seen | None


def _look(classifier: Classifier | None, parts: Iterator[NDArray[np.uint8]], count: int) -> _Looked:
    """Looks at images, some at a time, that need not be in memory together."""
    total: Any = 0.0
    squares: Any = 0.0
    seen: list[Seen] = []
    for part in parts:
        values = part.astype(np.float64)
        total, squares = total + values.sum(axis=0), squares + np.square(values).sum(axis=0)
        if classifier is not None:
            seen.append(classifier.see(part))
    variance = float((squares / count - np.square(total / count)).mean())
    return _Looked(max(variance, 0.0), Seen.joined(seen) if classifier is not None else None)


def by_classifier(
    classifier: Classifier,
    real: Seen,
    made: Seen,
    labels: NDArray[np.int64],
    seed: int,
    asked: Sequence[int] | None = None,
) -> dict[str, Any]:
    """What a classifier measures of made images beside real ones.

    The distances are between sets as large as half of the images: of each half of the real ones to as many made ones,
    and, as the floor, of the two halves to each other.

    Args:
        real, made: What it says of them.
        labels: What the real ones show, [images].
        seed: Divides the real ones.
        asked: What the made ones should show, where that was said.
    """
    first, second = halves(len(real.features), derive_seed(seed, "measured", "halves"))
    size = len(first)
    pairs = [(real.features[first], made.features[:size]), (real.features[second], made.features[size : 2 * size])]
    both = (real.features[first], real.features[second])
    accuracy = float((real.classes == labels).mean())
    rows = class_rows(classifier.names, real.classes, made)
    return {
        "classifier": {**classifier.as_json(), "accuracy": accuracy},
        "compared": size,
        **asdict(likeness(pairs)),
        "floor": asdict(likeness([both, both[::-1]])),
        "accepted": float((made.largest >= ACCEPTED).mean()),
        "real_accepted": float((real.largest >= ACCEPTED).mean()),
        **({} if asked is None else {"obeyed": float((made.classes == np.asarray(asked)).mean())}),
        "per_class": rows,
    }


def class_rows(names: Sequence[str], real: NDArray[np.int64], made: Seen) -> list[dict[str, Any]]:
    """The share of each class among made and real images, by the classifier, and how many of the made it accepts.

    Args:
        real: The classes of the real ones.
    """
    rows = []
    for number, name in enumerate(names):
        own = made.classes == number
        accepted = float((made.largest[own] >= ACCEPTED).mean()) if own.any() else None
        rows.append(
            {"class": name, "share": float(own.mean()), "real_share": float((real == number).mean())}
            | {"accepted": accepted}
        )
    return rows


def tell_of_another(run: Run, measured_by: dict[str, Any]) -> None:
    """Warns where the run's evaluation so far is by a classifier with other weights.

    Args:
        measured_by: What an evaluation says of the classifier that measures now.
    """
    try:
        before = read_evaluation(run).get("classifier")
    except CnnkitError:
        return
    if before is None or before["sha256"] == measured_by["sha256"]:
        return
    same = os.path.realpath(before["run"]) == os.path.realpath(measured_by["run"])
    what = "was trained again since" if same else f"is another one than `{printable(before['run'])}`, which measured it"
    log.warning(
        "the classifier `%s` %s (model.keras %s then, %s now): distances, density and coverage of the two evaluations "
        "cannot be compared, nor what it accepts. Measure anew, with `cnnkit eval`, whatever is compared with this run",
        measured_by["run"],
        what,
        printable(before["sha256"])[:8],
        measured_by["sha256"][:8],
    )


def dead_classes(rows: Sequence[dict[str, Any]]) -> list[str]:
    """The classes that are hardly made, see `DEAD`."""
    return [row["class"] for row in rows if row["share"] < DEAD * row["real_share"]]


def _against_training(trained: TrainedRun, images: Split, places: NDArray[np.int64], made: Made) -> dict[str, Any]:
    """How near made images, and other real ones, are to the training image nearest to each."""
    if images.name == "train":
        # Each of these would be the nearest to itself.
        return {}
    training = training_images(trained)
    count = min(COMPARED, len(places))
    chosen = places[np.arange(count) * len(places) // count]
    both = np.concatenate([made.make(np.arange(count)), images.read(chosen)])
    found = nearest(both, _read(training, np.arange(training.size)))
    own, others = found.distances[:count], found.distances[count:]
    order = np.argsort(own, kind="stable")[:NEAREST].tolist()
    ids = training.ids
    return {
        "training": {
            "images": training.size,
            "samples": count,
            "distance": float(np.median(own)),
            "real_distance": float(np.median(others)),
            "nearer": share_nearer(own, others),
            "nearest": [
                {"sample": number, "image": ids[found.places[number]], "place": int(found.places[number])}
                | {"distance": float(own[number])}
                for number in order
            ],
        }
    }


def training_images(trained: TrainedRun) -> Split:
    """The images that a run has learned from."""
    from cnnkit import data as data_module

    config = trained.loaded.config
    data = data_module.load(trained.data, config.seed, config.task, splits=("train",), info=trained.data_set)
    trained.check_data(data.fingerprint)
    assert data.train is not None
    return data.train


def read_evaluation(run: Run) -> dict[str, Any]:
    """evaluation.json, with all that an evaluation says.

    Raises:
        CnnkitError: if it is missing or damaged, or may not be read.
    """
    return run.read_evaluation(EVALUATION)
