"""Whether an exported network says what Keras says, of real images, or makes the same images."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.data.splits import Split
from cnnkit.errors import CnnkitError
from cnnkit.export.runtimes import Network
from cnnkit.runs.evaluation import labelled_images
from cnnkit.runs.inference import inference_batch_size
from cnnkit.runs.trained import TrainedRun
from cnnkit.task import Figure

#: Images at a time: one, and a number that no converter would have chosen.
BATCHES = (1, 7)


@dataclass(frozen=True)
class Agreement:
    """How far two networks agree, with so many images at a time.

    Attributes:
        batch: How many at a time.
        difference: The largest between two outputs, see `difference`.
        equal: The share of answers that are the same, 0..1.
        answers: How many were compared: images or, where each pixel has an answer, pixels.
    """

    batch: int
    difference: float
    equal: float
    answers: int


@dataclass(frozen=True)
class Parity:
    """An exported network beside Keras, on the same test images or latent vectors.

    Attributes:
        images: How many.
        agreements: For each of BATCHES.
        headline: What becomes of the figure that counts; None of networks that make images.
    """

    images: int
    agreements: tuple[Agreement, ...]
    headline: Headline | None

    @property
    def difference(self) -> float:
        """The largest of all; NaN where one is."""
        return float(np.max([agreement.difference for agreement in self.agreements]))

    def as_json(self) -> dict[str, Any]:
        headline = {} if self.headline is None else self.headline.as_json()
        return {"images": self.images, "batches": [vars(agreement) for agreement in self.agreements], **headline}


@dataclass(frozen=True)
class Headline:
    """The figure that counts for a task, before and after.

    Attributes:
        figure: Which it is.
        before: Its value with Keras.
        after: Its value with the exported network.
    """

    figure: Figure
    before: float
    after: float

    @property
    def loss(self) -> float:
        """By how much it got worse; as a share of what it was, where it is no share itself."""
        worse = self.before - self.after if self.figure.larger_is_better else self.after - self.before
        return worse if self.figure.is_share or not self.before else worse / abs(self.before)

    def as_json(self) -> dict[str, Any]:
        return {"figure": self.figure.name, "keras": self.before, "exported": self.after}


def test_images(trained: TrainedRun, count: int) -> Split:
    """The run's test images, or as many of them as asked for, drawn at random and always the same.

    Raises:
        CnnkitError: if they are not here, or there are none.
    """
    try:
        return drawn(labelled_images(trained), count, 0)
    except CnnkitError as error:
        hint = "Without them the network can be written unseen, with --no-parity."
        raise CnnkitError(error.message, f"{error.hint} {hint}" if error.hint else hint) from None


def drawn(split: Split, count: int, seed: int) -> Split:
    """Some images of a split, in its order."""
    if count >= split.size:
        return split
    places = np.sort(np.random.default_rng(seed).permutation(split.size)[:count])
    stored = None if split.stored is None else split.stored[places]
    return Split(split.name, split.targets.take(places), split.shape, split.source, split.positions[places], stored)


def latent_vectors(trained: TrainedRun, count: int) -> NDArray[np.float32]:
    """What a network that makes images is asked about, always the same: those of `generate`, the classes in turn."""
    maker = trained.task.maker(trained)
    names = maker.class_names or (None,)
    still = np.zeros(maker.latent, np.float32)
    return np.stack([maker.vector(seed, names[seed % len(names)], still) for seed in range(count)])


def compare(trained: TrainedRun, images: Split, keras: Network, exported: Network) -> Parity:
    """Asks both networks about the same images.

    Args:
        trained: The run that the network is of.
        keras: Its network in Keras, in float32.
    """
    from cnnkit.data import naming_corrupt_files

    with naming_corrupt_files(images):
        agreements = _agreements(trained, images.read, images.size, keras, exported)
    before, after = (_measured(trained, images, network) for network in (keras, exported))
    return Parity(images.size, agreements, Headline(trained.task.headline, before, after))


def compare_made(trained: TrainedRun, vectors: NDArray[np.float32], keras: Network, exported: Network) -> Parity:
    """Lets both networks make images of the same latent vectors; for the arguments, see `compare`."""
    agreements = _agreements(trained, lambda places: vectors[places], len(vectors), keras, exported)
    return Parity(len(vectors), agreements, None)


def _agreements(
    trained: TrainedRun, read: Callable[[NDArray[np.int64]], Any], count: int, keras: Network, exported: Network
) -> tuple[Agreement, ...]:
    """How far both agree on `count` samples, of which `read` gives those of some numbers, for each of BATCHES."""
    return tuple(_agreement(trained, read, count, size, keras, exported) for size in BATCHES)


def _agreement(
    trained: TrainedRun,
    read: Callable[[NDArray[np.int64]], Any],
    count: int,
    size: int,
    keras: Network,
    exported: Network,
) -> Agreement:
    answers, span = trained.task.answers(trained.interface), trained.task.output_range
    kept: tuple[list[Any], list[Any]] = ([], [])
    largest, taken = 0.0, trained.interface.sample.input_dtype
    for start in range(0, count, size):
        batch = read(np.arange(start, min(start + size, count))).astype(taken)
        expected, got = keras(batch), exported(batch)
        # NumPy's maximum, unlike Python's, keeps a NaN.
        largest = float(np.maximum(largest, difference(expected, got, 1.0 if span is None else span[1] - span[0])))
        if math.isnan(largest):
            return Agreement(size, largest, 0.0, count)
        for outputs, list_ in zip((expected, got), kept, strict=True):
            list_.append(answers.keep(outputs))
    same = answers.same(*(np.concatenate(parts) for parts in kept))
    return Agreement(size, largest, float(same.mean()), same.size)


def difference(expected: NDArray[np.float32], got: NDArray[np.float32], unit: float = 1.0) -> float:
    """The largest difference between two outputs, as a share of the expected one where that is above the unit.

    It is NaN where one is not finite, or where the outputs have another shape.

    Args:
        unit: What it is a share of else: 1, or of pixels their range.
    """
    if expected.shape != got.shape:
        return math.nan
    with np.errstate(invalid="ignore"):
        gaps = np.abs(expected.astype(np.float64) - got) / np.maximum(unit, np.abs(expected))
    return float(gaps.max())


class _Standing(TrainedRun):
    """A run that is evaluated with another network than its own.

    Args:
        trained: The run.
        network: From images, uint8 or float32, to outputs.
    """

    def __init__(self, trained: TrainedRun, network: Network) -> None:
        super().__init__(trained.run, trained.loaded)
        self.model = trained.model
        self._network = network

    def network(self, tta: Sequence[str] = ()) -> tuple[Any, int]:
        taken = self.interface.sample.input_dtype
        return lambda images: self._network(np.asarray(images, taken)), inference_batch_size(self.model)


def _measured(trained: TrainedRun, images: Split, network: Network) -> float:
    metrics = trained.task.evaluate([_Standing(trained, network)], images, ()).metrics
    return float(metrics[trained.task.headline.name])
