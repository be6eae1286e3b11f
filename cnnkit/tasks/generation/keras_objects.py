"""The Keras model that is trained: a generator and a discriminator. Imported where one is trained."""

# Keras ships no types: its classes are Any to mypy.
# mypy: disallow-subclassing-any=False

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from cnnkit.tasks.generation.settings import DISCRIMINATOR

if TYPE_CHECKING:
    from cnnkit.tasks.generation.settings import Settings

#: Half of the range of images, 0..255, which R1 takes as -1..1.
HALF_RANGE = 127.5

#: Decay of the averages over steps by which a training is watched.
_DECAY = 0.99


class Adversaries(keras.Model):
    """Trains a generator and a discriminator, both at each step, with an optimizer each.

    Real and made images go through the discriminator in one call, so that spectral normalization makes one power
    iteration a step, and batch normalization has the statistics of both. Both losses are of this one pass. R1 is of a
    second pass of the real images alone, every few steps, in which nothing is updated and nothing dropped out.

    All that a step depends on is a variable: the number of the step, by which latent vectors are drawn, and the average
    of the generator's weights.

    Args:
        task: Its arguments.
        generator: From latent vectors to images, 0..255.
        discriminator: From images, 0..255, to a logit: above 0 for real.
        average: A generator like the first, which gets the average of its weights.
        classes: How many classes images are told apart by; 0 for none.
        seed: Draws the latent vectors.
    """

    def __init__(
        self, task: Settings, generator: Any, discriminator: Any, average: Any, classes: int, seed: int
    ) -> None:
        super().__init__(name="adversaries")
        self.task = task
        self.generator = generator
        self.discriminator = discriminator
        self.average = average
        self.average.trainable = False
        self.classes = classes
        self.latent_seed = seed
        self.step = self._kept("step", 0.0, "int64")
        #: Averages over the last steps: the share that the discriminator gets right, and the spread of the images.
        self.right_lately = self._kept("right_lately", 0.5)
        self.spread_lately = self._kept("spread_lately", 1.0)
        names = ("loss", "generator_loss", "real_right", "generated_right", "r1", "spread")
        self.means = {name: keras.metrics.Mean(name=name) for name in names}

    def _kept(self, name: str, value: float, dtype: str = "float32") -> Any:
        """A variable that no gradient changes."""
        initializer = keras.initializers.Constant(value)
        return self.add_weight(shape=(), initializer=initializer, dtype=dtype, trainable=False, name=name)

    @property
    def metrics(self) -> list[Any]:
        return list(self.means.values())

    def call(self, latents: Any, training: bool = False) -> Any:
        return self.generator(latents, training=training)

    def train_step(self, batch: Any) -> dict[str, Any]:
        """One step.

        Args:
            batch: Real images, 0..255 [batch, height, width, channels], and their classes as one-hot.
        """
        images, classes = batch[0], tf.cast(batch[1], tf.float32)
        images = tf.cast(images, tf.float32)
        latents = self._latents(tf.shape(images)[0], classes)
        generator, discriminator = self.generator, self.discriminator
        opponent = self.other_optimizers[DISCRIMINATOR]
        with tf.GradientTape(persistent=True) as tape:
            made = tf.cast(generator(latents, training=True), tf.float32)
            shown = tf.concat([self._shown(images, classes), self._shown(made, classes)], axis=0)
            logits = tf.cast(discriminator(shown, training=True), tf.float32)
            real, false = tf.split(logits, 2)
            told, fooled = self._two_losses(real, false)
            discriminator_loss = told + sum(discriminator.losses)
            generator_loss = fooled + sum(generator.losses)
            scaled_loss = opponent.scale_loss(discriminator_loss)
            scaled_generator_loss = self.optimizer.scale_loss(generator_loss)
        variables = discriminator.trainable_variables
        gradients = tape.gradient(scaled_loss, variables)
        generator_gradients = tape.gradient(scaled_generator_loss, generator.trainable_variables)
        del tape
        if self.task.r1:
            gradients = self._with_penalty(images, classes, gradients, variables)
        opponent.apply(gradients, variables)
        self.optimizer.apply(generator_gradients, generator.trainable_variables)
        self._average_weights()
        self._count(real, false, images, made, told, fooled)
        self.step.assign_add(1)
        return {metric.name: metric.result() for metric in self.metrics}

    def _latents(self, count: Any, classes: Any) -> Any:
        """What images are made of in this step."""
        seed = tf.stack([tf.constant(self.latent_seed, tf.int64), tf.convert_to_tensor(self.step)])
        latents = tf.random.stateless_normal([count, self.task.latent], seed)
        return tf.concat([latents, classes], axis=1) if self.classes else latents

    def _shown(self, images: Any, classes: Any) -> Any:
        """What the discriminator sees of images: behind their channels, a plane for each class, 255 for its own."""
        if not self.classes:
            return images
        planes = tf.ones_like(images[..., :1]) * 255 * classes[:, None, None, :]
        return tf.concat([images, planes], axis=-1)

    def _two_losses(self, real: Any, false: Any) -> tuple[Any, Any]:
        """That of the discriminator and that of the generator, from logits [batch, 1]."""
        if self.task.loss == "hinge":
            return tf.reduce_mean(tf.nn.relu(1 - real)) + tf.reduce_mean(tf.nn.relu(1 + false)), -tf.reduce_mean(false)
        told = tf.reduce_mean(tf.nn.softplus(-real)) + tf.reduce_mean(tf.nn.softplus(false))
        return told, tf.reduce_mean(tf.nn.softplus(-false))

    def _with_penalty(self, images: Any, classes: Any, gradients: Any, variables: Any) -> Any:
        """The discriminator's gradients, with those of R1 where it is its turn."""

        def penalty_gradients() -> Any:
            with tf.GradientTape() as outer:
                with tf.GradientTape() as inner:
                    inner.watch(images)
                    logits = tf.cast(self.discriminator(self._shown(images, classes), training=False), tf.float32)
                    total = tf.reduce_sum(logits)
                slope = HALF_RANGE * inner.gradient(total, images)
                penalty = self.task.r1 / 2 * tf.reduce_mean(tf.reduce_sum(tf.square(slope), axis=[1, 2, 3]))
                scaled = self.other_optimizers[DISCRIMINATOR].scale_loss(self.task.r1_every * penalty)
            self.means["r1"].update_state(penalty)
            # A last bias has none.
            pairs = zip(gradients, outer.gradient(scaled, variables), strict=True)
            return [tf.identity(one) if further is None else one + further for one, further in pairs]

        is_due = tf.equal(self.step % self.task.r1_every, 0)
        return tf.cond(is_due, penalty_gradients, lambda: [tf.identity(one) for one in gradients])

    def _average_weights(self) -> None:
        step = tf.cast(self.step, tf.float32)
        decay = tf.minimum(self.task.average, (1 + step) / (10 + step))
        for mean, weight in zip(self.average.weights, self.generator.weights, strict=True):
            now = tf.cast(weight, mean.dtype)
            share = tf.cast(decay, mean.dtype) if mean.dtype.startswith(("float", "bfloat")) else None
            mean.assign(now if share is None else share * mean + (1 - share) * now)

    def _count(self, real: Any, false: Any, images: Any, made: Any, told: Any, fooled: Any) -> None:
        real_right = tf.reduce_mean(tf.cast(real > 0, tf.float32))
        generated_right = tf.reduce_mean(tf.cast(false < 0, tf.float32))
        spread = spread_of(made) / tf.maximum(spread_of(images), 1e-6)
        figures = {
            "loss": told,
            "generator_loss": fooled,
            "real_right": real_right,
            "generated_right": generated_right,
            "spread": spread,
        }
        for name, value in figures.items():
            self.means[name].update_state(value)
        right = (real_right + generated_right) / 2
        self.right_lately.assign(_DECAY * self.right_lately + (1 - _DECAY) * right)
        self.spread_lately.assign(_DECAY * self.spread_lately + (1 - _DECAY) * spread)


def spread_of(images: Any) -> Any:
    """How unlike images [batch, height, width, channels] are: the root of the mean variance of a value over them."""
    return tf.sqrt(tf.reduce_mean(tf.math.reduce_variance(images, axis=0)))
