"""A trained network that is asked about images, whatever computes it: what `predict` and `serve` are handed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cnnkit.runs.interface import Interface
    from cnnkit.task import Answers, Figure, Task


class Predictor(ABC):
    """A trained network: a run's, computed by Keras (`trained.TrainedRun`), or an exported file's (`exported`).

    Nothing is read before it is asked for, and what is damaged or missing raises a CnnkitError whenever it is.
    """

    @property
    @abstractmethod
    def path(self) -> Path:
        """The run's directory, or the file."""

    @property
    @abstractmethod
    def interface(self) -> Interface:
        """The images that the network takes, its classes and its head."""

    @property
    @abstractmethod
    def task(self) -> Task:
        """What the network has learned."""

    @abstractmethod
    def check_model(self) -> None:
        """Whether there is a network, as far as that can be told at once.

        Raises:
            CnnkitError: if there is none.
        """

    @abstractmethod
    def network(self, tta: Sequence[str] = ()) -> tuple[Callable[[Any], Any], int]:
        """The network, and how many images to give it at a time, so that what it computes fits in memory.

        Args:
            tta: Test-time augmentations, see `inference.compile_network`.

        Returns:
            A function from images, uint8 [batch, height, width, channels], batch at least 1, to outputs [batch, ...],
            an array or a tensor; and the largest batch.
        """

    # --- What pages tell of it ------------------------------------------------------------------------

    @abstractmethod
    def parameters(self) -> int | None:
        """How many numbers its layers have; None where that is not known."""

    @abstractmethod
    def measured(self, figure: Figure) -> float | None:
        """A figure of the test split; None where it is not known."""

    @abstractmethod
    def test_images(self, answers: Answers) -> tuple[Any, Any]:
        """Some images of the test split, of classes equally many of each, as far as their number allows.

        Returns:
            uint8 [n, height, width, channels], with the border of the network's images, and what is true of each, see
            `data.samples.Samples.targets`.

        Raises:
            CnnkitError: if there are none here.
        """

    def noted_frame(self) -> Mapping[str, Any]:
        """How the data set's images fill their frame, see `serve.examples.Frame`, where there are no test images."""
        return {}
