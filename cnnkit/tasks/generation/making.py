"""Images that somebody asks a trained generator for, as `generate` does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError, UsageError
from cnnkit.format.seeds import derive_seed
from cnnkit.format.similar import suggestion
from cnnkit.task import Maker
from cnnkit.tasks.generation.classifier import ACCEPTED, Classifier, open_classifier
from cnnkit.tasks.generation.evaluation import classifier_of, settings_of
from cnnkit.tasks.generation.sampling import as_bytes, latents, samples, with_classes

if TYPE_CHECKING:
    from cnnkit.runs.trained import TrainedRun

#: Images that are made, at most, for each that is wanted of a class, where a classifier chooses.
_TRIES = 200

#: Images that are looked at together.
_BATCH = 500


class ImageMaker(Maker):
    """Makes images of latent vectors that follow from a seed.

    Args:
        trained: The run.
    """

    def __init__(self, trained: TrainedRun) -> None:
        self.trained = trained
        self.latent = settings_of(trained).latent
        #: How many classes the generator can be asked for; 0 where it cannot.
        self.conditions: int = getattr(trained.interface.sample, "conditions", 0)
        self.class_names = trained.interface.class_names if self.conditions else ()

    def images(self, seed: int, count: int, of_class: str | None) -> tuple[NDArray[np.uint8], str]:
        vectors, number, note = self._begin(seed, count, of_class)
        return samples(self.trained, vectors, None if number is None else [number] * count), note

    def walk(self, seed: int, count: int, steps: int, of_class: str | None) -> tuple[NDArray[np.uint8], str]:
        vectors, number, note = self._begin(seed, count, of_class)
        way = np.concatenate([between(one, other, steps) for one, other in _neighbours(vectors)])
        if number is None and self.conditions:
            # What changes on the way is the latent vector alone.
            number = 0
        made = samples(self.trained, way, None if number is None else [number] * len(way))
        return made.reshape(count, steps, *made.shape[1:]), note

    def directions(self, count: int) -> NDArray[np.float32]:
        from cnnkit.tasks.generation.directions import first_layer, principal_directions

        seed = derive_seed(self.trained.loaded.config.seed, "latents", "directions")
        return principal_directions(first_layer(self.trained), self.latent, self.conditions, seed)[:count]

    def vector(self, seed: int, of_class: str | None, shift: Any) -> NDArray[np.float32]:
        vectors = latents(seed, 1, self.latent) + np.asarray(shift, np.float32)
        if self.conditions:
            number = 0 if of_class is None else self._number(of_class)
            vectors = with_classes(vectors, [number], self.conditions)
        return vectors[0]

    def read(self, outputs: Any) -> NDArray[np.uint8]:
        return as_bytes(outputs)

    def _begin(self, seed: int, count: int, of_class: str | None) -> tuple[NDArray[np.float32], int | None, str]:
        """Latent vectors, the number of the class that the generator is asked for, and what is to be said of them."""
        self.trained.check_model()
        if of_class is None:
            return latents(seed, count, self.latent), None, ""
        number = self._number(of_class)
        if self.conditions:
            return latents(seed, count, self.latent), number, ""
        path = classifier_of(self.trained)
        if path is None:
            raise UsageError(
                f"the run `{self.trained.run.path}` cannot be asked for a class: its generator was trained without, "
                "and no classifier is named that could choose among its images",
                "Train one with `task: {generation: {conditional: true}}`; or name the run of a classifier once, with "
                "`cnnkit eval RUN --classifier NAME`.",
            )
        return self._chosen(open_classifier(path), seed, count, number)

    def _number(self, name: str) -> int:
        names = self.trained.interface.class_names
        if name not in names:
            hint = suggestion(name, names).lstrip("; ") or f"The classes are {', '.join(names[:20])}."
            raise UsageError(f"--class: there is no class `{name}`", hint[:1].upper() + hint[1:])
        return names.index(name)

    def _chosen(
        self, classifier: Classifier, seed: int, count: int, number: int
    ) -> tuple[NDArray[np.float32], int | None, str]:
        """The first latent vectors whose images a classifier accepts as a class."""
        found: list[Any] = []
        made, wanted = 0, count
        while wanted > 0 and made < max(_BATCH, _TRIES * count):
            vectors = latents(seed, made + _BATCH, self.latent)[made:]
            seen = classifier.see(samples(self.trained, vectors))
            places = np.flatnonzero((seen.classes == number) & (seen.largest >= ACCEPTED))[:wanted]
            found.append(vectors[places])
            wanted -= len(places)
            made += _BATCH if wanted else int(places[-1]) + 1
        name = classifier.names[number]
        if wanted:
            raise CnnkitError(
                f"of {made:,} images that were made, the classifier accepts {count - wanted:,} as `{name}`; "
                f"{count:,} are wanted",
                "Ask for fewer. `cnnkit eval` has the share of each class.",
            )
        note = f"the generator knows no classes; the classifier chose {count:,} of {made:,} images as `{name}`"
        return np.concatenate(found), None, note


def between(first: NDArray[np.float32], second: NDArray[np.float32], steps: int) -> NDArray[np.float32]:
    """Latent vectors on the way from one to another, the first with it and the last before the other.

    On an arc (White 2016, arXiv:1609.04468): on a straight line those in the middle would be shorter than normal
    vectors ever are, and a generator has seen none so short.

    Args:
        first, second: [latent].
        steps: How many, at least one.

    Returns:
        float32 [steps, latent].
    """
    cosine = np.dot(first, second) / max(float(np.linalg.norm(first) * np.linalg.norm(second)), 1e-12)
    angle = np.arccos(np.clip(cosine, -1, 1))
    shares = (np.arange(steps) / steps)[:, None]
    if np.sin(angle) < 1e-6:
        return ((1 - shares) * first + shares * second).astype(np.float32)
    way = (np.sin((1 - shares) * angle) * first + np.sin(shares * angle) * second) / np.sin(angle)
    return np.asarray(way, np.float32)


def _neighbours(vectors: NDArray[np.float32]) -> Sequence[tuple[Any, Any]]:
    """Each with the next, the last with the first."""
    return list(zip(vectors, np.roll(vectors, -1, axis=0), strict=True))
