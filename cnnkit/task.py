"""What a network learns: the one object that the rest of cnnkit asks, whichever task it is.

A task is a named object of a config, as a layer is: `task: NAME`, or `task: {NAME: {argument: value}}`. Each is a class
in a folder of its own in `cnnkit/tasks`; the table of all is in `cnnkit/tasks/__init__.py`. What needs TensorFlow, or
is long, is in other modules of the folder, imported by the methods that need it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from cnnkit.config.target import Target
from cnnkit.format.base import NamedObject

if TYPE_CHECKING:
    # Only for types: whoever calls a task's methods has these already.
    from cnnkit.config.check import Parts
    from cnnkit.config.data import DataConfig
    from cnnkit.config.dataset import DataSetInfo
    from cnnkit.config.reports import Report
    from cnnkit.config.training import TrainingConfig
    from cnnkit.data.splits import Split
    from cnnkit.layers.stack import Step


@dataclass(frozen=True)
class Figure:
    """A figure that every run of a task has: a column of metrics.csv and a line of evaluation.json.

    Attributes:
        name: Of the column; that of the validation images has `val_` before it.
        label: What tables, plots and pages call it.
        larger_is_better: Whether the best epoch has the largest value.
        is_share: Whether it lies between 0 and 1, and is shown in percent.
    """

    name: str
    label: str
    larger_is_better: bool = True
    is_share: bool = False

    @property
    def mode(self) -> Literal["max", "min"]:
        """Which of its values is the best."""
        return "max" if self.larger_is_better else "min"

    def text(self, value: float) -> str:
        """A value for tables: `97.25%`, or `0.0312`."""
        return f"{value:.2%}" if self.is_share else f"{value:.4f}"


#: What every network is trained to lower.
LOSS = Figure("loss", "loss", larger_is_better=False)


class Task(NamedObject):
    """What a network learns."""

    #: The task's own figures. The first is the headline and, of the validation images, chooses the best epoch; ties go
    #: to the smaller loss.
    figures: ClassVar[tuple[Figure, ...]]

    #: What the images have to come with.
    target: ClassVar[type[Target]]

    @property
    def headline(self) -> Figure:
        """The figure that counts."""
        return self.figures[0]

    @property
    def columns(self) -> tuple[Figure, ...]:
        """The figures of each epoch in metrics.csv, the loss first."""
        return (LOSS, *self.figures)

    def to_plain(self) -> Any:
        """As YAML writes it: the name in lower case, with its arguments where there are any."""
        arguments, name = self.arguments(), type(self).__name__.lower()
        return {name: arguments} if arguments else name

    # --- The config, without TensorFlow ---------------------------------------------------------------

    def make_target(self, data: DataConfig, size: int, names: Sequence[str] | None) -> Target:
        """What is to be learned of a data set's images.

        Args:
            size: How many classes, labels or numbers.
            names: Theirs, where they are known.
        """
        return self.target(size, None if names is None else tuple(names))

    def check(self, parts: Parts, info: DataSetInfo, steps: Sequence[Step] | None, report: Report) -> None:
        """Holds network, losses, metrics, augmentation and the other settings against what is to be learned.

        Args:
            parts: The sections of the config, as far as they are valid.
            steps: The network; None where it is not known.
            report: Takes a path in the config, a message, and further what `check.check_parts` says.
        """
        raise NotImplementedError

    # --- Training -------------------------------------------------------------------------------------

    def make_model(self, layers: Sequence[Any], training: TrainingConfig, head: str, target: Target) -> Any:
        """The Keras model to train, not compiled.

        Args:
            layers: The input, the normalisation, and the layers of the config, built.
            head: What the network ends in: `softmax`, `sigmoid` or `logits`.
        """
        import keras

        return keras.Sequential(layers, name="model")

    def make_loss(self, training: TrainingConfig, head: str) -> Any:
        """The Keras loss of a config; for `head` see `make_model`."""
        raise NotImplementedError

    def make_metrics(self, training: TrainingConfig, head: str, mixed: bool) -> list[Any]:
        """The Keras metrics of each epoch: the task's figures in their order, then those that the config names.

        Args:
            mixed: Whether training images are mixed, and their labels with them.
        """
        raise NotImplementedError

    def finish_batches(
        self, training: TrainingConfig, split: Split, target: Target
    ) -> Callable[[dict[str, Any]], tuple[Any, ...]] | None:
        """What happens to a training batch after augmentation, such as that class weights become sample weights.

        Args:
            split: The training images.

        Returns:
            A function from a batch (see `training_batches`) to what Keras' `fit` takes: (images, targets), or those
            and weights. None where nothing happens.
        """
        return None
