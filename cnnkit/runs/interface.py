"""What a run's network takes and outputs, as the run has noted it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cnnkit.config.sample import CONDITIONS, IMAGES, LATENT, VOCABULARY_SIZE, LatentSample, Sample, TextSample
from cnnkit.errors import CnnkitError
from cnnkit.images.formats import MOST_MEGAPIXELS, RESIZINGS
from cnnkit.images.padding import NO_PADDING, Padding
from cnnkit.terminal.printable import printable
from cnnkit.texts.words import FIRST, Vocabulary

if TYPE_CHECKING:
    from cnnkit.task import Task

#: What a network may end in.
HEADS = ("softmax", "logits", "sigmoid")

#: Under which name environment.json has `Interface.concluded`.
CONCLUDED = "concluded"

#: Under which name environment.json has the weights of another run that the network began with.
INITIAL_WEIGHTS = "initial_weights"

#: Under which name environment.json has what each stage of the training trains.
STAGES = "stages"

#: Under which name environment.json has the files of the weights that backbones began with.
LEARNED_WEIGHTS = "learned_weights"

#: Under which name the data of an exported file have the vocabulary of texts; a run keeps it in a file of its own.
WORDS = "words"

#: More values than an image has that a network takes.
LARGEST_IMAGE = 1 << 28


@dataclass(frozen=True)
class Interface:
    """What a run's model takes and outputs.

    Attributes:
        image_shape: Of what the network takes: (height, width, channels) of an image, (length,) of a text.
        class_names: In the order of the outputs.
        head: `softmax`, `logits` or `sigmoid`.
        resize: How images reach that shape: `stretch`, `pad` or `crop`.
        max_megapixels: Image files with more are refused.
        padding: The border around an image that is a part of the shape, see `images.padding`.
        concluded: What the task has chosen for the trained network, see `Task.conclude`.
        sample: What kind of samples it takes; of texts, with the vocabulary.
    """

    image_shape: tuple[int, ...]
    class_names: tuple[str, ...]
    head: str
    resize: str = "stretch"
    max_megapixels: float = MOST_MEGAPIXELS
    padding: Padding = NO_PADDING
    concluded: Mapping[str, Any] = field(default_factory=dict)
    sample: Sample = IMAGES

    @property
    def data_shape(self) -> tuple[int, ...]:
        """Of the samples of the data set, where the network takes something else than these."""
        return self.sample.made_shape or self.image_shape

    def output_shape(self, task: Task) -> tuple[int, ...]:
        """What the network outputs for one input."""
        return self.sample.made_shape or task.output_shape(self.image_shape, len(self.class_names))


def noted_interface(environment: Mapping[str, Any], place: str, hint: str) -> Interface:
    """What an environment.json says of a network's images and outputs.

    Args:
        place: Where it stands, for messages.
        hint: What to do where it does not say that.

    Raises:
        CnnkitError: if it does not say that.
    """
    try:
        data, head = environment["data"], environment["model"]["head"]
        names = tuple(printable(name) for name in data["class_names"])
        concluded = dict(environment.get(CONCLUDED) or {})
        if WORDS in data:
            return _of_texts(data, names, head, concluded)
        height, width, channels = data["image_shape"]
        # Runs of earlier versions say nothing of these two.
        resize = data.get("resize") or "stretch"
        max_megapixels = float(data.get("max_megapixels") or MOST_MEGAPIXELS)
        if min(height, width, channels) < 1 or height * width * channels > LARGEST_IMAGE or not names:
            raise ValueError("no image is like that")
        top, bottom, left, right = (int(rows) for rows in data.get("padding") or NO_PADDING)
        if min(top, bottom, left, right) < 0 or top + bottom >= height or left + right >= width:
            raise ValueError("no border is like that")
        if head not in HEADS or resize not in RESIZINGS:
            raise ValueError("there is no such head, or no such way to resize")
        padding = (top, bottom, left, right)
        shape: tuple[int, int, int] = (height, width, channels)
        if LATENT in data:
            sample = _latent_sample(data, shape)
            return Interface(sample.shape, names, head, resize, max_megapixels, concluded=concluded, sample=sample)
        return Interface(shape, names, head, resize, max_megapixels, padding, concluded)
    except (KeyError, TypeError, ValueError):
        raise CnnkitError(
            f"{place} does not say what the images, the classes and the head of the model are", hint
        ) from None


def _of_texts(data: Mapping[str, Any], names: tuple[str, ...], head: str, concluded: Mapping[str, Any]) -> Interface:
    (length,) = data["image_shape"]
    words, size = data[WORDS], data[VOCABULARY_SIZE]
    known = isinstance(words, list) and all(isinstance(word, str) for word in words) and len(words) + FIRST <= size
    if not known or length < 1 or not names or head not in HEADS:
        raise ValueError("no text is like that")
    return Interface((length,), names, head, concluded=concluded, sample=TextSample(size, Vocabulary(tuple(words))))


def _latent_sample(data: Mapping[str, Any], made_shape: tuple[int, int, int]) -> LatentSample:
    sample = LatentSample(int(data[LATENT]), int(data.get(CONDITIONS) or 0), made_shape)
    if sample.size < 1 or sample.conditions < 0 or sum(sample.shape) > LARGEST_IMAGE:
        raise ValueError("no latent vector is like that")
    return sample


def initial_weights(environment: Mapping[str, Any]) -> str | None:
    """Whose weights a run began with, as its environment.json says; None where it began with new ones."""
    noted = environment.get(INITIAL_WEIGHTS) or {}
    run, sha256 = noted.get("run"), noted.get("sha256")
    return f"{printable(run)} (model.keras {printable(sha256)[:12]})" if run and sha256 else None
