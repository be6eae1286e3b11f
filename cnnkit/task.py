"""What a network learns: the one object that the rest of cnnkit asks, whichever task it is.

A task is a named object of a config, as a layer is: `task: NAME`, or `task: {NAME: {argument: value}}`. Each is a class
in a folder of its own in `cnnkit/tasks`; the table of all is in `cnnkit/tasks/__init__.py`. What needs TensorFlow, or
is long, is in other modules of the folder, imported by the methods that need it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.config.target import Target
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.format.base import NamedObject
from cnnkit.images.padding import Padding, cropped

if TYPE_CHECKING:
    # Only for types: whoever calls a task's methods has these already.
    from PIL import Image

    from cnnkit.config.check import Parts
    from cnnkit.config.data import DataConfig
    from cnnkit.config.dataset import DataSetInfo
    from cnnkit.config.load import LoadedConfig
    from cnnkit.config.optimization.optimizers import Optimizer
    from cnnkit.config.reports import Report
    from cnnkit.config.run import RunConfig
    from cnnkit.config.script_parts import ScriptParts
    from cnnkit.config.training import TrainingConfig
    from cnnkit.data.splits import DataSets, Split
    from cnnkit.layers.stack import Step
    from cnnkit.report.facts import Facts
    from cnnkit.report.parts import Outcome, Section
    from cnnkit.report.side_by_side import SideBySide
    from cnnkit.runs.directory import Run
    from cnnkit.runs.interface import Interface
    from cnnkit.runs.trained import TrainedRun
    from cnnkit.training.loop import Position
    from cnnkit.training.preparation import Preparation

T = TypeVar("T")


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
    def title(self) -> str:
        """The label as a heading."""
        return self.label[:1].upper() + self.label[1:]

    @property
    def mode(self) -> Literal["max", "min"]:
        """Which of its values is the best."""
        return "max" if self.larger_is_better else "min"

    def best(self, things: Iterable[T], key: Callable[[T], float]) -> T:
        """That of some things which has the best value, which `key` tells; of equal ones, the first."""
        return (max if self.larger_is_better else min)(things, key=key)

    def text(self, value: float) -> str:
        """A value for tables: `97.25%`, or `0.0312`."""
        return f"{value:.2%}" if self.is_share else f"{value:.4f}"

    def spread(self, mean: float, deviation: float | None) -> str:
        """A mean and its standard deviation: `97.25 ± 0.31 %`, or `0.0312 ± 0.0009`; the mean alone without one."""
        scale, digits, unit = (100, 2, " %") if self.is_share else (1, 4, "")
        shown = "" if deviation is None else f" ± {scale * deviation:.{digits}f}"
        return f"{scale * mean:.{digits}f}{shown}{unit}"

    def difference(self, value: float) -> str:
        """A difference of two values: `+1.25 points`, or `-0.0031`."""
        return f"{100 * value:+.2f} points" if self.is_share else f"{value:+.4f}"


#: The column of metrics.csv that, as `training.monitor`, keeps the last epoch.
EPOCH = "epoch"

#: What every network is trained to lower.
LOSS = Figure("loss", "loss", larger_is_better=False)


#: Mistakes on one picture, where nothing else is said.
WORST = 24


class TaskPredictions(Protocol):
    """What a network says of each image of a split."""

    def as_csv(self) -> str:
        """The columns of predictions.csv, one row for each image."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What a network is worth on a whole split.

    Attributes:
        metrics: What evaluation.json says beside the split, as plain values: `images`, the task's figures, `loss`,
            `loss_function`, `metrics` (those of the config), and whatever else the task measures.
        predictions: What it says of each image.
    """

    metrics: dict[str, Any]
    predictions: TaskPredictions


class Answer(Protocol):
    """What a network says of one image."""

    def cells(self, top: int) -> Sequence[str]:
        """For the table of `predict`, see `Answers.header`; `top` as its option `--top`."""

    def fields(self) -> Sequence[str]:
        """For the CSV of `predict`, see `Answers.columns`."""

    def entry(self, top: int | None = None) -> dict[str, Any]:
        """As plain JSON values; of many likeliest ones only the `top` where a number is given, the likeliest first."""


@dataclass(frozen=True, eq=False)
class AnswerPicture:
    """An answer as pixels.

    Attributes:
        name: What it is, one of `Answers.pictures`; files are named by it.
        pixels: uint8 [height, width] with numbers of the palette, or [height, width, channels].
        palette: A colour, (red, green, blue) of 0..255, for each number of the pixels; None where they are colours.
    """

    name: str
    pixels: Any
    palette: Sequence[tuple[int, int, int]] | None = None

    def without(self, padding: Padding) -> AnswerPicture:
        """The picture without a border."""
        return replace(self, pixels=cropped(self.pixels, padding))

    def picture(self) -> Image.Image:
        """For Pillow, which writes it as a file."""
        from cnnkit.images.pictures import indexed_picture, picture_of

        return picture_of(self.pixels) if self.palette is None else indexed_picture(self.pixels, self.palette)


class Answers(ABC):
    """How the network of a run answers for images.

    Attributes:
        kind: What pages show answers by: the name of one of the modules of `serve`'s page and of the live page.
        header: Of the table for terminals.
        alignment: One `<` (left) or `>` (right) for each of its columns.
        columns: Of the CSV.
        pictures: The names of the pictures that each answer has; none where it is all text and numbers.
        note: What a user should know of all answers; empty where there is nothing.
        facts: What `serve`'s page needs to know of all answers, as JSON values.
    """

    kind: ClassVar[str]
    header: Sequence[str]
    alignment: str
    columns: Sequence[str]
    pictures: Sequence[str] = ()
    note: str = ""
    facts: Mapping[str, Any] = MappingProxyType({})

    @abstractmethod
    def read(self, outputs: Any) -> Sequence[Answer]:
        """What a network's outputs say, one answer for each image.

        Args:
            outputs: [images, ...], as an array or a tensor.

        Raises:
            CnnkitError: if they are not what the network should output, or not finite.
        """

    #: Whether answers are about places in the image, so that `in_file` and `counted` need the size of the image file.
    has_places: ClassVar[bool] = False

    def in_file(self, answer: Answer, size: tuple[int, int]) -> Answer:
        """An answer whose places are those of an image file, of which the network's image was made.

        Answers for many files are kept at a time, so it holds no pixels.

        Args:
            answer: As `read` gives it.
            size: (height, width) of the file.
        """
        return answer

    def counted(self, answer: Answer, size: tuple[int, int]) -> Answer:
        """An answer with the places of the network's image, in which the border that `resize: pad` adds does not count.

        Args:
            answer, size: As for `in_file`.
        """
        return answer

    def draw_in_file(self, answer: Answer, image: Any) -> Sequence[AnswerPicture]:
        """The pictures of an answer that has places, on the image file itself.

        Args:
            answer: As `read` gives it.
            image: The file's, uint8 [height, width, 3].
        """
        raise NotImplementedError

    def rows(self, answer: Answer) -> Sequence[Sequence[str]]:
        """The rows of an answer in CSV, at least one."""
        return [answer.fields()]

    def above(self, threshold: float) -> Answers:
        """These answers where only what has at least a score, 0..1, is said.

        Raises:
            UsageError: if what is said has no scores to choose by.
        """
        raise UsageError("a threshold is for objects, each of which is said with a score; this network says no objects")

    def as_coco(self, answered: Sequence[tuple[str, Answer]]) -> str:
        """Answers for image files, by the files' names, as a JSON file in COCO's format.

        Raises:
            UsageError: if the format has no place for them.
        """
        raise UsageError("--coco is for objects with boxes; this network says none", "Take --json or --csv.")

    #: Lines of a script that print what `outputs`, [images, ...], say; `classes` has the names, and NumPy is `np`.
    script_lines: Sequence[str] = ("print(outputs)",)

    #: The outputs that Grad-CAM can explain, by name; none where it can explain nothing.
    subjects: Sequence[str] = ()

    def subject(self, outputs: Any, size: tuple[int, int] | None = None) -> int:
        """Which of `subjects` is explained where nothing else is asked for: what the network says.

        Args:
            outputs: For the image, [...] without the batch axis.
            size: (height, width) of the image's file, as for `in_file`; None where there is none.
        """
        raise NotImplementedError

    def truth(self, target: Any) -> dict[str, Any]:
        """What should be said of an image, as JSON values for pages; nothing where they show none.

        Args:
            target: As `data.samples.Samples` has it.
        """
        return {}

    def shown_shape(self, interface: Interface) -> tuple[int, ...]:
        """The shape of the images that a run keeps for pages: by default what its network takes."""
        return interface.image_shape

    def are_targets(self, targets: Any) -> bool:
        """Whether an array of a file could be the targets of images."""
        return True

    #: The array in which a run keeps, while it is trained, what its network says of some test images.
    kept: ClassVar[str] = "outputs"

    def keep(self, outputs: Any) -> Any:
        """The outputs for some images as a run keeps them, [images, ...]."""
        return outputs

    def same(self, kept: Any, others: Any) -> Any:
        """Whether two networks say the same of images; by default, whether all that is kept agrees to a thousandth.

        Args:
            kept, others: For the same images, as `keep` made them.

        Returns:
            bool [images], or [images, ...] where each has several answers, such as one for each pixel.
        """
        import numpy as np

        return np.isclose(others, kept, rtol=1e-3, atol=1e-3).reshape(len(kept), -1).all(axis=-1)

    def guess(self, kept: Any, target: Any) -> dict[str, Any]:
        """What was said of an image, and what should be, as JSON values for the live page.

        Args:
            kept: For the image, as `keep` made it.
            target: As for `truth`.

        Raises:
            ValueError, IndexError: if they are not of that form.
        """
        return {}

    def draw(
        self, images: Any, outputs: Any, sizes: Sequence[tuple[int, int]] | None = None
    ) -> Sequence[Sequence[AnswerPicture]]:
        """The pictures of each answer, those of `pictures` in their order.

        They have the border of the network's images, if these have one: `predict` takes it off, or draws what has
        places on the file instead, and `serve` shows them above the image as the network sees it.

        Args:
            images: As the network takes them, uint8 [images, height, width, channels].
            outputs: As `read`.
            sizes: (height, width) of the file of each; None where that is unknown.
        """
        return [() for _ in images]


class Maker(ABC):
    """How a trained network that makes images is asked for some."""

    @abstractmethod
    def images(self, seed: int, count: int, of_class: str | None) -> tuple[Any, str]:
        """Images, each of which follows from the seed and its own number.

        Args:
            of_class: The name of a class that all are to be of; None for any.

        Returns:
            uint8 [count, height, width, channels], and what a user should know of how they were found; empty for
            nothing.

        Raises:
            UsageError: if there is no such class, or the network cannot be asked for one.
            CnnkitError: if there is no network, or too few of the class are found.
        """

    @abstractmethod
    def walk(self, seed: int, count: int, steps: int, of_class: str | None) -> tuple[Any, str]:
        """Images on the way from each of `images` to the next, and from the last back to the first.

        Args:
            count: How many are walked to.
            steps: Images from one of them, with it, to the next, without that.
            seed, of_class: As for `images`, which has the same errors.

        Returns:
            uint8 [count, steps, height, width, channels], and a note as that of `images`.
        """

    #: Numbers of a latent vector.
    latent: int

    #: The classes that the network itself can be asked for; none where it has learned without.
    class_names: Sequence[str] = ()

    @abstractmethod
    def directions(self, count: int) -> Any:
        """Ways in which latent vectors are moved, the one that changes what is made most first.

        Args:
            count: How many, at most.

        Returns:
            float32 [count, latent], orthonormal; as many as a latent vector has numbers where these are fewer.
        """

    @abstractmethod
    def vector(self, seed: int, of_class: str | None, shift: Any) -> Any:
        """What the network takes to make the first of `images`, of a moved latent vector.

        Args:
            seed: As for `images`.
            of_class: One of `class_names`; None for the first, where there are any.
            shift: What the latent vector is moved by, [latent].

        Returns:
            float32 [numbers]; `read` says what the network makes of several of them.
        """

    @abstractmethod
    def read(self, outputs: Any) -> Any:
        """Images, uint8 [count, height, width, channels], from what the network outputs."""


@dataclass(frozen=True)
class Watched:
    """What the live page shows of a training.

    Attributes:
        images: What stays the same, uint8 [n, height, width, channels].
        targets: What is to be learned of each, [n, ...].
        outputs: What there is now, [n, ...]; `Answers.keep` is given it.
    """

    images: Any
    targets: Any
    outputs: Callable[[], Any]


class Task(NamedObject):
    """What a network learns."""

    #: The task's own figures. The first is the headline and, of the validation images, chooses the best epoch; ties go
    #: to the smaller loss.
    figures: ClassVar[tuple[Figure, ...]]

    #: What the images have to come with.
    target: ClassVar[type[Target]]

    #: Whether its network takes images of the data set; else it makes what the network takes, such as noise.
    takes_images: ClassVar[bool] = True

    #: Whether its network makes images of latent vectors, for which `maker` is asked.
    makes_images: ClassVar[bool] = False

    #: The least and the largest value that its network outputs, where these are those of pixels; else None.
    output_range: ClassVar[tuple[int, int] | None] = None

    #: The networks of a config's `model`: one stack of layers, or several with a name each, of which the first is kept.
    networks: ClassVar[tuple[str, ...]] = ("",)

    #: How its predictions.csv begins, as a regular expression: what begins otherwise, it has not written.
    predictions_begin: ClassVar[str] = "file,"

    #: What holds for fields of `data` that a config does not write.
    implied_data: ClassVar[Mapping[str, Any]] = MappingProxyType({})

    @property
    def monitor(self) -> str | None:
        """The column of metrics.csv by which the best epoch is chosen where a config says nothing of it.

        None is for the headline of the validation images.
        """
        return None

    @property
    def name(self) -> str:
        """As configs write it."""
        return type(self).__name__.lower()

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
        arguments = self.arguments()
        return {self.name: arguments} if arguments else self.name

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
            steps: The network; None where it is not known. Of others, `parts.others` has them.
            report: Takes a path in the config, a message, and further what `check.check_parts` says.
        """
        raise NotImplementedError

    def input_shape(self, image_shape: tuple[int, int, int], times: int = 1) -> tuple[int, int, int]:
        """What a network takes, where the images are (height, width, channels); by default these images.

        Args:
            image_shape: Of what is restored, where the data are one picture.
            times: How many times higher and wider that is than the picture.
        """
        return image_shape

    def given(self, info: DataSetInfo) -> DataSetInfo:
        """What is known of a data set, with the kind and the shape of what the network takes; by default the samples.

        Args:
            info: What is known of its samples.
        """
        return info

    def other_input(self, network: str, info: DataSetInfo) -> tuple[int, ...]:
        """What a network takes that is not the first of `networks`.

        Args:
            info: As `given` has returned it.
        """
        raise NotImplementedError

    def shown_together(self, network: str) -> int:
        """How many batches a step shows one of `networks` at once, by default one; real and made images are two."""
        return 1

    def output_shape(self, input_shape: Sequence[int], size: int) -> tuple[int, ...]:
        """What a network outputs for one input.

        Args:
            input_shape: (height, width, channels), see `input_shape`.
            size: How many classes, labels or numbers.
        """
        return (size,)

    def check_asked(self, verb: str) -> None:
        """Whether a trained network answers for images, as `predict`, `serve`, `export` and some of `show` want.

        One that makes images is served and exported too, see `makes_images`.

        Args:
            verb: The name of the command.

        Raises:
            UsageError: if not, with what to do instead.
        """

    def maker(self, trained: TrainedRun) -> Maker:
        """What makes images with a run's network.

        Raises:
            UsageError: if the network makes none.
        """
        raise UsageError(
            f"the run `{trained.run.path}` makes no images: its task is {self.name}",
            "Name a run whose network makes images of latent vectors; `cnnkit runs` lists runs with their configs.",
        )

    # --- Training -------------------------------------------------------------------------------------

    def survey(self, split: Split, sized: bool) -> dict[str, Any]:
        """What `data info` says of a split beside what its targets say themselves, as plain values.

        Args:
            sized: Whether the images have the size that the network takes; else they are of 1x1.
        """
        return {}

    def measure_target(self, target: Target, split: Split) -> Target:
        """What is to be learned, with what training needs to know of the training images' targets.

        Args:
            split: The training images.
        """
        return target

    def make_model(self, layers: Sequence[Any], training: TrainingConfig, head: str, target: Target) -> Any:
        """The Keras model to train, not compiled.

        Args:
            layers: The input, the normalisation, and the layers of the config, built.
            head: What the network ends in: `softmax`, `sigmoid` or `logits`.
        """
        import keras

        return keras.Sequential(layers, name="model")

    def make_trainer(self, network: Any, config: RunConfig, data: DataSets, others: Mapping[str, Any]) -> Any:
        """The Keras model that is trained, around the network that is kept in model.keras; by default the network.

        `Loop` takes steps of its `train_step`, a checkpoint has all its variables, and an epoch's figures are those of
        its metrics. One with a `train_step` of its own makes its metrics itself.

        Args:
            network: What `make_model` made, with its initial weights.
            config: With the settings that run in place of every `auto`.
            others: The Keras layers of each further network of `networks`, built: its input, the normalisation of
                images before it, and its own.
        """
        return network

    def network(self, model: Any) -> Any:
        """The network that the optimizer trains, of the model that `make_trainer` has made: the first of `networks`."""
        return model

    def other_networks(self, model: Any) -> Mapping[str, Any]:
        """The others of `networks` by name; each has an optimizer of its own, which a `train_step` finds in
        `model.other_optimizers`."""
        return {}

    def optimizer_of(self, network: str, training: TrainingConfig) -> Optimizer:
        """What trains one of those; by default the optimizer of the config."""
        return training.optimizer

    def kept(self, model: Any) -> Any:
        """The network that model.keras gets, which is evaluated and used; by default the one that is trained."""
        return self.network(model)

    #: Whether an epoch ends with a look at the validation images, where there are any.
    validates: ClassVar[bool] = True

    def steps_per_epoch(self) -> int | None:
        """How many steps an epoch has, where it is no pass over the training images; None where it is one."""
        return None

    def training_batches(self, prepared: Preparation, position: Position, epochs: int | None) -> Any:
        """The batches of a task that makes them itself, as a `tf.data.Dataset` from a position on; else None.

        Args:
            position: The first batch's. Batches are a function of it.
            epochs: How many epochs, the one begun included; None for no end.
        """
        return None

    def warnings(self, loaded: LoadedConfig) -> Sequence[str]:
        """What a user should know before a training on a processor begins, such as that it takes days."""
        return ()

    def callbacks(self, prepared: Preparation, run: Run) -> Sequence[Any]:
        """Keras callbacks of its own, called after those that change the model and before what is kept of an epoch."""
        return ()

    def watched(self, prepared: Preparation) -> Watched | None:
        """What the live page shows, where that is not what the network says of test images."""
        return None

    def make_loss(self, training: TrainingConfig, head: str, target: Target) -> Any:
        """The Keras loss of a config; for `head` see `make_model`. None where the trainer has a loss of its own."""
        raise NotImplementedError

    def make_metrics(self, training: TrainingConfig, head: str, target: Target, mixed: bool) -> list[Any]:
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
            A function from a batch (see `training_batches`) to what the network is trained on: (images, targets), or
            those and weights. None where nothing happens.
        """
        return None

    def sample(self, batch: Mapping[str, Any], index: int, target: Target) -> tuple[Any, str]:
        """An image of a training batch for the eye, uint8 [height, width, channels], and what is to be learned of it.

        Args:
            batch: As arrays, see `training_batches`.
            index: The image's place in it.
        """
        import numpy as np

        return np.clip(np.rint(batch["images"][index]), 0, 255).astype(np.uint8), ""

    # --- After training -------------------------------------------------------------------------------

    def conclude(self, trained: TrainedRun, validation: Split | None) -> dict[str, Any] | None:
        """What is chosen for the trained network on its validation images, such as thresholds.

        Returns:
            Plain JSON values, which the run keeps as `Interface.concluded`; None where nothing is chosen.
        """
        return None

    def evaluate(self, members: Sequence[TrainedRun], images: Split, tta: Sequence[str]) -> Evaluation:
        """What a run is worth on a whole split, or what the average of several runs' outputs is.

        Nothing is a mean of batches: counts and sums run over all images.

        Args:
            members: One run, or several that fit together.
            images: The split, with its targets.
            tta: Test-time augmentations, see `inference.compile_network`.
        """
        raise NotImplementedError

    def measured_with(self, classifier: str) -> Task:
        """This task with another classifier to measure what a network makes, as `eval --classifier` names it.

        Args:
            classifier: The directory of its run.

        Raises:
            UsageError: for a task that is measured without one.
        """
        raise UsageError(
            f"--classifier is for generators, whose images it measures; this network learns {self.to_plain()}"
        )

    def draw_evaluation(self, run: Run, evaluation: Evaluation) -> None:
        """Writes the pictures that a run keeps of the evaluation on its test split; by default none."""

    def read_evaluation(self, run: Run) -> dict[str, Any]:
        """evaluation.json of a run, checked and complete; by default it says no more than the figures.

        Raises:
            CnnkitError: if it is missing or damaged.
        """
        return run.read_figures([figure.name for figure in self.columns])

    def summary(self, metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
        """The metrics that matter most, in one line for the end of a training; by default the figures.

        Args:
            sample: What the network is given of each, for what they are called; as in what follows.
        """
        said = [f"{figure.label} {figure.text(metrics[figure.name])}" for figure in (*self.figures, LOSS)]
        return "  ".join([*said, f"({metrics['images']:,} {sample.plural})"])

    def table(self, metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
        """The metrics as `eval` prints them, in at most 100 columns; by default the figures."""
        from cnnkit.terminal.tables import aligned

        shown = [figure for figure in (*self.figures, LOSS) if figure.name in metrics]
        rows = [[figure.label, figure.text(metrics[figure.name])] for figure in shown]
        return aligned([[sample.plural, f"{metrics['images']:,}"], *rows], "<<")

    def draw_mistakes(self, trained: TrainedRun, count: int, path: Path) -> None:
        """Draws the worst of what an evaluated run got wrong on its test images, at most `count`.

        Raises:
            CnnkitError: if there is nothing to draw, or the images are not there as they were.
            UsageError: if the task has no such picture.
        """
        raise self._no_mistakes()

    def draw_predictions(self, predictions: TaskPredictions, title: str, count: int, path: Path) -> bool:
        """The same of what was said of any split; False where nothing was wrong, so that nothing is drawn."""
        raise self._no_mistakes()

    def _no_mistakes(self) -> UsageError:
        return UsageError(f"there is no picture of the mistakes of a network that learns {self.to_plain()}")

    def draw_samples(self, trained: TrainedRun, path: Path) -> None:
        """Writes what the network made after each epoch, one after the other, as an animation.

        Args:
            path: The file; its ending is one of `images.animation.ANIMATIONS`.

        Raises:
            UsageError: if the network makes nothing.
            CnnkitError: if no epoch has ended.
        """
        raise UsageError(
            f"the run `{trained.run.path}` has no samples of each epoch: its task is {self.name}",
            "Name a run whose network makes images, or see how it has learned: cnnkit show curves RUN",
        )

    def read_predictions(self, trained: TrainedRun) -> TaskPredictions:
        """What predictions.csv says of a run's test images.

        Raises:
            CnnkitError: if the run was not evaluated, or the file is broken; or if the task does not read it.
        """
        raise CnnkitError(f"predictions.csv is not read again for {self.to_plain()}")

    def outcome(self, evaluation: dict[str, Any], sample: Sample = IMAGES) -> Outcome | None:
        """What a run's report says first of its evaluation.json; None for no more than the task's figures."""
        return None

    def limits(self, evaluation: dict[str, Any], sample: Sample = IMAGES) -> Sequence[str]:
        """What somebody who uses the network should know of its weak sides, a sentence each, by its evaluation.json."""
        return ()

    def sections(self, facts: Facts) -> Sequence[Section]:
        """Its own sections in a run's report, after the learning curves; each is there whatever the run lacks."""
        return ()

    def compare(self, names: Sequence[str], facts: Sequence[Facts]) -> SideBySide | None:
        """What a comparison of runs that have learned this says of them; None for no more than the task's figures.

        Args:
            names: The runs', none twice.
            facts: Theirs.
        """
        return None

    def script(self, training: TrainingConfig, head: str, target: Target, mixed: bool) -> ScriptParts:
        """The task's parts of the script that `eject` writes.

        Args:
            head: As for `make_model`.
            mixed: As for `make_metrics`.

        Raises:
            UsageError: if no script can hold what the config asks for.
        """
        raise UsageError(
            f"no script can be written of a config of the task {self.name}: `eject` does not know its losses",
            "Train it with cnnkit: cnnkit train CONFIG",
        )

    def answers(self, interface: Interface) -> Answers:
        """How a network of this interface answers for images, in `predict` and `serve`."""
        raise NotImplementedError

    def guess(self, interface: Interface, outputs: Any) -> str:
        """What the network says of one image, for the text under its picture; empty where it is no text.

        Args:
            outputs: For the image, [...] without the batch axis.
        """
        return ""

    def draw_gradcam(
        self,
        trained: TrainedRun,
        image: str,
        classes: Sequence[str],
        path: Path,
        max_megapixels: float | None = None,
        layer: str | None = None,
    ) -> None:
        """Draws what in an image speaks for what the network says of it, and for any other classes.

        Args:
            image: An image file, or the place of a test image.
            classes: Names of further classes.
            path: The PNG file to write.
            max_megapixels: As for `show.read_input`.
            layer: Where to look, as for `gradcam.gradcam_of`.

        Raises:
            UsageError: if there is no such class or layer, or if nothing speaks for what this task says.
        """
        raise self._no_gradcam(trained)

    def _no_gradcam(self, trained: TrainedRun) -> UsageError:
        has_maps = trained.interface.sample.unchangeable is None
        hint = "`show features` looks inside it." if has_maps else None
        return UsageError(f"a network that learns {self.to_plain()} has no Grad-CAM", hint)

    def draw_gradcam_mistakes(self, trained: TrainedRun, count: int, path: Path, layer: str | None = None) -> None:
        """The same for the worst mistakes on the test images, at most `count`."""
        raise self._no_gradcam(trained)
