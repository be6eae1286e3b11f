"""What a network is given of each thing that it learns from: an image, or a text."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from cnnkit.texts.words import Vocabulary

#: Under which name environment.json has how many numbers of words there are.
VOCABULARY_SIZE = "vocabulary_size"


#: All names under which a kind of sample notes something there.
NOTED = (VOCABULARY_SIZE, "latent", "conditions")


class Sample(ABC):
    """A kind of sample; there is an object for what one network takes."""

    #: What messages call one, and several.
    singular: ClassVar[str]
    plural: ClassVar[str]
    #: What may differ in those that come from elsewhere.
    elsewhere: ClassVar[str]
    #: The name of the network's input, and of what Keras makes its tensor.
    input_name: ClassVar[str]
    input_dtype: ClassVar[str]
    #: What samples are stored as.
    dtype: ClassVar[str]

    @property
    @abstractmethod
    def largest(self) -> int:
        """The largest of their values, which begin with 0."""

    @property
    def value_range(self) -> tuple[int, int] | None:
        """The least and the largest of their values; None where they are any numbers."""
        return 0, self.largest

    #: How many axes the outputs of layers have in which a sample can still be seen, with that of the channels.
    axes: ClassVar[int] = 3
    #: Why what changes or draws pixels does not apply; None where it does.
    unchangeable: ClassVar[str | None] = None

    #: What numbers of words mean; None of what is no text, and before it has been learned.
    vocabulary: Vocabulary | None = None

    #: Of what a network makes images of, the shape of these, (height, width, channels); None of all else.
    made_shape: tuple[int, int, int] | None = None

    @property
    def values(self) -> Mapping[str, int]:
        """What names in layers stand for, beside those of the target."""
        return {}

    @property
    def noted(self) -> Mapping[str, Any]:
        """What environment.json says of the samples, beside their shape."""
        return {}

    def parts(self, sample: Any) -> list[str]:
        """What a sample is made of that has names: the words of a text, a box for those that are not known."""
        return []

    @abstractmethod
    def pictures(self, samples: Any) -> Sequence[Any]:
        """How samples are shown where pictures are, uint8 [height, width, channels] each.

        Args:
            samples: As the network takes them, [n, ...].
        """

    @abstractmethod
    def marked(self, samples: Any, heats: Any) -> Sequence[tuple[Any, Any]]:
        """The same with what speaks for an answer: a picture, and a map to lay over it; None where the picture has it.

        Args:
            heats: Of each sample [rows, columns], 0..1; the parts of what has one axis are rows.
        """


class ImageSample(Sample):
    """An image, uint8 [height, width, channels]."""

    singular = "image"
    plural = "images"
    elsewhere = "another camera, another place, another time"
    input_name = "image"
    input_dtype = "float32"
    dtype = "uint8"

    @property
    def largest(self) -> int:
        return 255

    def pictures(self, samples: Any) -> Sequence[Any]:
        return list(samples)

    def marked(self, samples: Any, heats: Any) -> Sequence[tuple[Any, Any]]:
        return list(zip(samples, heats, strict=True))


#: Under which names environment.json has how many numbers a latent vector has, and how many of these name a class.
LATENT = "latent"
CONDITIONS = "conditions"


@dataclass(frozen=True)
class LatentSample(Sample):
    """What a network makes an image of: standard normal numbers, float32 [size], and the class as one-hot after them.

    Attributes:
        size: How many numbers are drawn.
        conditions: How many classes an image can be asked for; 0 where it cannot.
        made_shape: Of the images.
    """

    singular = "latent vector"
    plural = "latent vectors"
    input_name = LATENT
    input_dtype = "float32"
    dtype = "float32"
    unchangeable = "the network takes none, but latent vectors"

    size: int
    conditions: int
    made_shape: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int]:
        """Of what the network takes."""
        return (self.size + self.conditions,)

    @property
    def values(self) -> Mapping[str, int]:
        return {LATENT: self.size}

    @property
    def largest(self) -> int:
        raise ValueError("a normal number can be any")

    @property
    def value_range(self) -> None:
        return None

    @property
    def noted(self) -> Mapping[str, Any]:
        return {LATENT: self.size, CONDITIONS: self.conditions}

    def pictures(self, samples: Any) -> Sequence[Any]:
        """Cells that are the darker the smaller a number is: black at -3, white at 3."""
        import numpy as np

        side = math.isqrt(self.shape[0] - 1) + 1
        cells = np.pad(samples, [(0, 0), (0, side * side - self.shape[0])]).reshape(-1, side, side, 1)
        return list(np.rint(np.clip(cells / 6 + 0.5, 0, 1) * 255).astype(np.uint8))

    def marked(self, samples: Any, heats: Any) -> Sequence[tuple[Any, Any]]:
        raise ValueError("nothing in a latent vector has a place")


#: Images, of which nothing more is to be known here.
IMAGES = ImageSample()


@dataclass(frozen=True)
class TextSample(Sample):
    """A text as numbers of words, int32 [length]; 0 is padding and 1 a word that the vocabulary lacks.

    Attributes:
        size: How many numbers there are.
        vocabulary: What they mean; None before it has been learned.
    """

    singular = "text"
    plural = "texts"
    elsewhere = "other writers, another subject, another time"
    input_name = "text"
    input_dtype = "int32"
    dtype = "int32"
    axes = 2
    unchangeable = "texts have no pixels"

    size: int
    vocabulary: Vocabulary | None = None

    @property
    def values(self) -> Mapping[str, int]:
        return {"words": self.size}

    @property
    def largest(self) -> int:
        return self.size - 1

    @property
    def noted(self) -> Mapping[str, Any]:
        return {VOCABULARY_SIZE: self.size}

    def pictures(self, samples: Any) -> Sequence[Any]:
        from cnnkit.texts.pictures import picture_of_words

        return [picture_of_words(self.parts(one)) for one in samples]

    def marked(self, samples: Any, heats: Any) -> Sequence[tuple[Any, Any]]:
        from cnnkit.texts.pictures import picture_of_words

        pairs = zip(samples, heats, strict=True)
        return [(picture_of_words(self.parts(one), heat.reshape(-1)), None) for one, heat in pairs]

    def parts(self, sample: Any) -> list[str]:
        assert self.vocabulary is not None
        return self.vocabulary.shown(sample.tolist())
