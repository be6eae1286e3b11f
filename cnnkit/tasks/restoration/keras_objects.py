"""The Keras model that is trained, and what writes the picture that it makes. Imported where one is trained."""

# Keras ships no types: its classes are Any to mypy.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from cnnkit.errors import CnnkitError
from cnnkit.files import replacing, to_csv, write_atomically
from cnnkit.images.pictures import picture_of
from cnnkit.tasks.restoration.observation import MOST_DECIBELS, shrinking_matrix
from cnnkit.tasks.restoration.smooth import enlarging_matrix

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from cnnkit.images.padding import Padding
    from cnnkit.runs.directory import Run
    from cnnkit.tasks.restoration.lessons import Lessons
    from cnnkit.tasks.restoration.observation import Observation
    from cnnkit.tasks.restoration.settings import Settings

#: Beyond any value: what is not finite counts as a training that has gone wrong.
LARGEST = float(np.finfo(np.float32).max)

#: The mean squared error that counts as none.
LEAST_ERROR = 10 ** (-MOST_DECIBELS / 10)

log = logging.getLogger("cnnkit")


class Latest(keras.metrics.Metric):
    """The last value that it was given."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.value = self.add_weight(shape=(), initializer="zeros", name="value")

    def update_state(self, value: Any) -> None:
        self.value.assign(value)

    def result(self) -> Any:
        return self.value


class Restorer(keras.Model):
    """Teaches a network to make the known part of one picture of noise that stays the same.

    The restored picture is the exponential average of its outputs where their exponential variance is smallest (Wang et
    al. 2023, algorithm 2), or, with pixels held out, where it is nearest to these. Where
    the fit has fallen by `fall` dB since the last epoch's end, the weights of then are brought back, as by Ulyanov et
    al. 2018. All of this is in variables of the model, and so in a checkpoint.

    Args:
        task: Its arguments.
        network: From noise [1, height, width, channels] to the picture, 0..1.
        noise: What it makes the picture of, float32 [1, height, width, channels].
        observation: What is known of the picture.
        padding: The border of the network's outputs.
        seed: Draws what a step draws, such as what is added to the noise.
        held_out: Which known pixels judge the picture, [height, width]; None where none are held out.
    """

    def __init__(
        self,
        task: Settings,
        network: Any,
        noise: Any,
        observation: Observation,
        padding: Padding,
        seed: int,
        held_out: NDArray[np.bool_] | None = None,
    ) -> None:
        super().__init__(name="restorer")
        self.task = task
        self.network = network
        self.noise = tf.constant(noise)
        self.observed = tf.constant(observation.pixels, tf.float32) / 255
        learned = observation.known if held_out is None else observation.known & ~held_out
        self.weights_of_learned = self._even_weights(learned)
        self.weights_of_held_out = None if held_out is None else self._even_weights(held_out)
        height, width, channels = observation.shown.shape
        reference = observation.reference
        self.stays = tf.constant(observation.stays[..., None]) if observation.stays.any() else None
        self.reference = None if reference is None else tf.constant(reference, tf.float32) / 255
        sides, times = (height, width), observation.times
        #: What the enlargement is undone by along rows and columns.
        self.shrinking = [shrinking_matrix(side, times) for side in sides] if times > 1 else None
        self.enlarging = None
        if times > 1 and observation.is_exact:
            # From differences of the smaller picture to the smoothest changes of the larger one that make up for them.
            self.enlarging = [tf.constant(enlarging_matrix(side, times), tf.float32) for side in sides]
            self.known = tf.constant(observation.known[..., None], tf.float32)
        self.padding = padding
        self.step_seed = seed
        self.averaged = self._kept((height, width, channels), "averaged")
        self.restored = self._kept((height, width, channels), "restored")
        self.moving_mean = self._kept((height, width, channels), "moving_mean")
        self.variance = self._kept((), "variance")
        #: Of what decides which picture is taken.
        self.least = self._kept((), "least", LARGEST)
        self.least_at = self._kept((), "least_at", dtype="int64")
        self.before = [self._kept(one.shape, f"before_{n}") for n, one in enumerate(network.weights)]
        self.fit_before = self._kept((), "fit_before", -LARGEST)
        #: What iterations.csv has of each step beside its number.
        self.columns = ["fit", "variance"]
        self.columns += [] if held_out is None else ["held_out"]
        self.columns += [] if reference is None else ["psnr"]
        self.history = self._kept((task.iterations, len(self.columns)), "history")
        self.loss_tracker = keras.metrics.Mean(name="loss")
        self.figures = {name: Latest(name) for name in self.columns}

    def _even_weights(self, pixels: NDArray[np.bool_]) -> Any:
        """Weights of the values of a mean over some pixels [height, width], float32 [height, width, channels]."""
        chosen = np.broadcast_to(pixels[..., None], self.observed.shape)
        return tf.constant(chosen / chosen.sum(), tf.float32)

    def _kept(self, shape: tuple[int, ...], name: str, value: float = 0.0, dtype: str = "float32") -> Any:
        """A variable that no gradient changes."""
        initializer = keras.initializers.Constant(value)
        return self.add_weight(shape=shape, initializer=initializer, dtype=dtype, trainable=False, name=name)

    @property
    def metrics(self) -> list[Any]:
        return [self.loss_tracker, *self.figures.values()]

    def call(self, noise: Any, training: bool = False) -> Any:
        return self.network(noise, training=training)

    def finished(self, picture: Any) -> Any:
        """A picture with what is known of it exactly: the pixels around what was missing, or how it looks smaller."""
        if self.stays is not None:
            return tf.where(self.stays, self.observed, picture)
        if self.enlarging is None:
            return picture
        rows, columns = self.enlarging
        missed = self.known * (self.observed - self._seen(picture))
        return tf.clip_by_value(picture + tf.einsum("hi,ijc,wj->hwc", rows, missed, columns), 0.0, 1.0)

    def inside(self, outputs: Any) -> Any:
        """What is inside the border of outputs [pictures, height, width, channels]."""
        top, bottom, left, right = self.padding
        _, height, width, _ = outputs.shape
        return tf.cast(outputs[:, top : height - bottom, left : width - right], tf.float32)

    def judged(self, number: Any) -> tuple[Any, Any]:
        """The picture that the network makes in a step, and the mean squared error that it learns of.

        Args:
            number: Of the step.

        Returns:
            float32 [height, width, channels] of 0..1, and a number.
        """
        noise = self.noise
        if self.task.input_noise:
            seed = tf.stack([tf.constant(self.step_seed, tf.int64), number])
            noise += self.task.input_noise * tf.random.stateless_normal(noise.shape, seed)
        picture = self.inside(self.network(noise, training=True))[0]
        return picture, self._error(picture, self.weights_of_learned)

    def _error(self, picture: Any, weights: Any) -> Any:
        """How far what is seen of a picture is from what was observed, as a weighted mean of squares."""
        return tf.reduce_sum(weights * tf.square(self._seen(picture) - self.observed))

    def train_step(self, number: Any) -> dict[str, Any]:
        """One step.

        Args:
            number: How many were taken before, int64.
        """
        with tf.GradientTape() as tape:
            picture, error = self.judged(number)
            loss = error + sum(self.network.losses)
            scaled = self.optimizer.scale_loss(loss)
        variables = self.network.trainable_variables
        self.optimizer.apply(tape.gradient(scaled, variables), variables)
        fit = decibels(error)
        self._average(picture, number)
        values = {"fit": fit, "variance": tf.convert_to_tensor(self.variance)}
        decides = values["variance"]
        if self.weights_of_held_out is not None:
            # Of those that are as good as perfect, the first is taken, as iterations.csv has it.
            decides = tf.maximum(self._error(self.averaged, self.weights_of_held_out), LEAST_ERROR)
            values["held_out"] = decibels(decides)
        if self.reference is not None:
            values["psnr"] = decibels(tf.reduce_mean(tf.square(self.finished(self.averaged) - self.reference)))
        self._take(decides, number)
        for name, value in values.items():
            self.figures[name].update_state(value)
        row = tf.stack([values[name] for name in self.columns])
        place = number % self.task.iterations
        self.history.assign(tf.tensor_scatter_nd_update(self.history.value, [[place]], [row]))
        if self.task.fall is not None:
            tf.cond(place == self.task.iterations - 1, lambda: self._look_back(fit), lambda: False)
        self.loss_tracker.update_state(loss)
        return {metric.name: metric.result() for metric in self.metrics}

    def _seen(self, picture: Any) -> Any:
        """What the damaged picture would be of a picture."""
        if self.shrinking is None:
            return picture
        rows, columns = self.shrinking
        return tf.einsum("ih,hwc,jw->ijc", rows, picture, columns)

    def _average(self, picture: Any, number: Any) -> None:
        """Takes an output into the average of all and into their variance."""
        decay, share = self.task.average, self.task.forgetting
        self.averaged.assign(tf.where(number == 0, picture, decay * self.averaged + (1 - decay) * picture))
        difference = picture - self.moving_mean
        self.variance.assign((1 - share) * (self.variance + share * tf.reduce_mean(tf.square(difference))))
        self.moving_mean.assign_add(share * difference)

    def _take(self, decides: Any, number: Any) -> None:
        """Keeps the average as the restored picture where what decides is the least so far."""
        is_least = tf.constant(True) if self.task.takes_last else decides < self.least
        self.least.assign(tf.where(is_least, decides, self.least))
        self.least_at.assign(tf.where(is_least, number, self.least_at))
        self.restored.assign(tf.where(is_least, self.averaged, self.restored))

    def _look_back(self, fit: Any) -> Any:
        """Brings the weights of an epoch ago back where the fit has fallen; else those of now take their place."""
        assert self.task.fall is not None
        has_fallen = fit < self.fit_before - self.task.fall
        self.fit_before.assign(tf.where(has_fallen, self.fit_before, fit))
        for weight, before in zip(self.network.weights, self.before, strict=True):
            now = tf.cast(weight, before.dtype)
            weight.assign(tf.cast(tf.where(has_fallen, before, now), weight.dtype))
            before.assign(tf.where(has_fallen, before, now))
        return has_fallen


class Corrector(Restorer):
    """Teaches a network to correct a smooth picture, by lessons of which the truth is known.

    A step gives it the picture as it is, and one choice of lessons, both turned or mirrored in one of the ways that
    leave a rectangle, or a square, in its place. It learns of the lessons alone. The restored picture is the average of
    what it makes of the picture as it is, and so one over all ways of turning; where the network enlarges less than is
    wanted, the rest is done smoothly.

    Args:
        lessons: What it is given and learns.
        others: As for `Restorer`.
    """

    def __init__(
        self,
        task: Settings,
        network: Any,
        lessons: Lessons,
        observation: Observation,
        padding: Padding,
        seed: int,
    ) -> None:
        super().__init__(task, network, lessons.given[:1], observation, padding, seed)
        self.given = tf.constant(lessons.given)
        self.smooth = tf.constant(lessons.smooth)
        self.truth = tf.constant(lessons.truth)
        self.counts = tf.constant(lessons.counts[..., None], tf.float32)
        self.spread = lessons.spread
        self.choices = len(lessons.counts) - 1
        _, height, width, _ = lessons.smooth.shape
        self.is_square = height == width
        #: The share of the corrections that counts in the restored picture.
        self.share = 1.0 if task.from_copies is None else task.from_copies
        # What is left of the enlargement, after the one that is learned.
        sides = observation.shown.shape[:2]
        left = sides[0] // height
        self.further = None
        if left > 1:
            self.further = [tf.constant(enlarging_matrix(side, left), tf.float32) for side in sides]

    def judged(self, number: Any) -> tuple[Any, Any]:
        """See `Restorer.judged`; the error is that of the lessons."""
        seed = tf.stack([tf.constant(self.step_seed, tf.int64), number])
        drawn = tf.random.stateless_uniform((4,), seed)
        ways = drawn[:3] < 0.5
        choice = 1 + tf.cast(drawn[3] * self.choices, tf.int32)
        both = tf.stack([0, choice])
        top, bottom, left, right = self.padding
        given = tf.pad(self._turned(tf.gather(self.given, both), ways), ((0, 0), (top, bottom), (left, right), (0, 0)))
        outputs = self._turned_back(self.inside(self.network(given, training=True)), ways)
        smooth, corrections = tf.gather(self.smooth, both), self.spread * outputs
        counts = self.counts[choice]
        squares = counts * tf.square(smooth[1] + corrections[1] - self.truth)
        picture = smooth[0] + self.share * corrections[0]
        if self.further is not None:
            rows, columns = self.further
            picture = tf.einsum("hi,ijc,wj->hwc", rows, picture, columns)
        return picture, tf.reduce_sum(squares) / (tf.reduce_sum(counts) * squares.shape[-1])

    def _turned(self, batch: Any, ways: Any) -> Any:
        batch = tf.where(ways[0], tf.reverse(batch, [1]), batch)
        batch = tf.where(ways[1], tf.reverse(batch, [2]), batch)
        return tf.where(ways[2], tf.transpose(batch, (0, 2, 1, 3)), batch) if self.is_square else batch

    def _turned_back(self, batch: Any, ways: Any) -> Any:
        if self.is_square:
            batch = tf.where(ways[2], tf.transpose(batch, (0, 2, 1, 3)), batch)
        batch = tf.where(ways[1], tf.reverse(batch, [2]), batch)
        return tf.where(ways[0], tf.reverse(batch, [1]), batch)


def decibels(error: Any) -> Any:
    """A mean squared error of values between 0 and 1 as a peak signal-to-noise ratio, MOST_DECIBELS at most.

    The fit to a picture of one colour may be perfect, and what is not finite would count as a training gone wrong.
    """
    return -10 / np.log(10) * tf.math.log(tf.maximum(error, LEAST_ERROR))


class PictureKeeper(keras.callbacks.Callback):
    """Writes what is restored so far after each epoch, and ends the training once what decides has had its minimum.

    Args:
        task: Its arguments.
        run: Gets damaged.png, restored.png and iterations.csv.
    """

    def __init__(self, task: Settings, run: Run) -> None:
        super().__init__()
        self.task = task
        self.run = run

    def on_train_begin(self, logs: Any = None) -> None:
        write_picture(self.run.damaged, self.model.observed.numpy())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        model, task = self.model, self.task
        write_picture(self.run.restored, np.asarray(model.finished(model.restored)))
        done = (epoch + 1) * task.iterations
        self._write_iterations(epoch * task.iterations, model.history.numpy())
        since = done - 1 - int(model.least_at.numpy())
        if task.patience is not None and since >= task.patience:
            model.stop_training = True

    def _write_iterations(self, before: int, history: np.ndarray) -> None:
        from cnnkit.tasks.restoration.evaluation import ITERATION, read_iterations

        columns = (ITERATION, *self.model.columns)
        try:
            # In the first epoch there are none.
            known = read_iterations(self.run) or {name: [] for name in columns}
            rows = [row for row in zip(*(known[name] for name in columns), strict=True) if row[0] <= before]
        except (CnnkitError, KeyError) as error:
            why = error.message if isinstance(error, CnnkitError) else f"`{self.run.iterations}` has no column {error}"
            log.warning("%s; the curves begin anew", why)
            rows = []
        for number, values in enumerate(history.tolist(), before + 1):
            rows.append((number, *(float(f"{value:.6g}") for value in values)))
        write_atomically(self.run.iterations, to_csv(columns, [[int(row[0]), *row[1:]] for row in rows]))


def write_picture(path: Path, picture: Any) -> None:
    """Writes a picture of values 0..1 as a PNG file."""
    with replacing(path) as temporary:
        picture_of(as_bytes(picture)).save(temporary, "PNG")


def as_bytes(picture: Any) -> Any:
    """A picture of values 0..1 as uint8."""
    return np.rint(np.clip(picture, 0, 1) * 255).astype(np.uint8)
