"""The trainer's arithmetic against NumPy, Pillow and scikit-image, step by step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from scipy.linalg import null_space
from small_pictures import save, smooth_picture

from cnnkit.config.data import DataConfig
from cnnkit.tasks import task_named
from cnnkit.tasks.restoration.evaluation import ssim
from cnnkit.tasks.restoration.observation import observe, psnr, shrinking_matrix
from cnnkit.tasks.restoration.training import hold_out

HEIGHT, WIDTH = 16, 24


def restorer(settings: dict[str, Any], **data: Any) -> Any:
    """A trainer of a picture of 16x24, whose network is one convolution."""
    import keras

    from cnnkit.tasks.restoration.keras_objects import Restorer

    task = task_named("restoration")
    assert task is not None
    task = type(task).model_validate(settings)
    network = keras.Sequential([keras.Input((HEIGHT, WIDTH, 2)), keras.layers.Conv2D(3, 1, activation="sigmoid")])
    section = DataConfig.model_validate({"image": "any.png", **data})
    observation = observe(section, smooth_picture(HEIGHT, WIDTH))
    noise = np.random.default_rng(0).random((1, HEIGHT, WIDTH, 2)).astype(np.float32)
    held_out = None if task.held_out is None else hold_out(observation.known, task.held_out, 5)
    made = Restorer(task, network, noise, observation, (0, 0, 0, 0), 7, held_out)
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(network.trainable_variables)
    made.compile(optimizer=optimizer)
    return made


def test_the_picture_is_the_average_at_the_minimum_of_the_variance() -> None:
    """Algorithm 2 of Wang et al. 2023, in float64."""
    import tensorflow as tf

    model = restorer({"average": 0.9, "forgetting": 0.2})
    random = np.random.default_rng(1)
    # The outputs come to rest, and then move away again.
    spread = np.abs(np.arange(60) - 35) / 100 + 0.01
    outputs = [0.5 + s * random.standard_normal((HEIGHT, WIDTH, 3)) for s in spread]
    average, mean, variance, least, taken, best = outputs[0], np.zeros_like(outputs[0]), 0.0, np.inf, -1, outputs[0]
    for number, output in enumerate(outputs):
        model._average(tf.constant(output, tf.float32), tf.constant(number, tf.int64))
        model._take(model.variance.value, tf.constant(number, tf.int64))
        average = 0.9 * average + 0.1 * output
        variance = 0.8 * variance + 0.2 * 0.8 * np.mean((output - mean) ** 2)
        mean = 0.8 * mean + 0.2 * output
        if variance < least:
            least, taken, best = variance, number, average
    assert 30 < taken < 59
    assert int(model.least_at) == taken
    assert float(model.least) == pytest.approx(least, rel=1e-4)
    np.testing.assert_allclose(model.restored.numpy(), best, atol=1e-5)
    np.testing.assert_allclose(model.averaged.numpy(), average, atol=1e-5)


def test_pixels_held_out_judge_the_average_and_are_not_learned() -> None:
    """Gradients and errors are those of NumPy over the two kinds of pixels."""
    import tensorflow as tf

    model = restorer({"input_noise": 0, "average": 0.5, "held_out": 0.25}, damage={"noise": 25})
    observed = model.observed.numpy()
    held_out = hold_out(np.ones((HEIGHT, WIDTH), bool), 0.25, 5)
    assert held_out.sum() == HEIGHT * WIDTH / 4
    outputs, errors = [], []
    for number in range(6):
        outputs.append(model.network(model.noise).numpy()[0])
        logs = model.train_step(tf.constant(number, tf.int64))
        average = outputs[0]
        for output in outputs[1:]:
            average = (average + output) / 2
        errors.append(np.mean((average - observed)[held_out] ** 2))
        learned = np.mean((outputs[-1] - observed)[~held_out] ** 2)
        assert float(logs["fit"]) == pytest.approx(-10 * np.log10(learned), abs=1e-3)
        assert float(logs["held_out"]) == pytest.approx(-10 * np.log10(errors[-1]), abs=1e-3)
    assert int(model.least_at) == int(np.argmin(errors))
    assert float(model.least) == pytest.approx(min(errors), rel=1e-4)


@pytest.mark.parametrize("error", [0.0, 1e-30, 1e-10, 2e-10, 1e-4, 0.25, 4.0, np.inf, np.nan])
def test_decibels_are_finite_for_every_error_that_is(error: float) -> None:
    """Those of the definition up to 100 dB; a training that has gone wrong is still seen to have."""
    from cnnkit.tasks.restoration.keras_objects import decibels

    expected = min(100.0, -10 * np.log10(error)) if error > 0 else 100.0
    found = float(decibels(np.float32(error)))
    assert np.isnan(found) if np.isnan(error) else found == pytest.approx(expected, abs=1e-3)


def test_equal_pictures_have_a_psnr() -> None:
    picture = smooth_picture(HEIGHT, WIDTH)
    assert psnr(picture, picture) == 100.0
    other = picture.copy()
    other[0, 0, 0] ^= 1
    assert psnr(other, picture) == pytest.approx(10 * np.log10(255**2 * picture.size))


def test_only_known_pixels_are_held_out() -> None:
    known = np.random.default_rng(1).random((30, 40)) < 0.3
    held_out = hold_out(known, 0.1, 3)
    assert held_out.sum() == round(0.1 * known.sum())
    assert not (held_out & ~known).any()
    np.testing.assert_array_equal(held_out, hold_out(known, 0.1, 3))
    assert (held_out != hold_out(known, 0.1, 4)).any()
    assert hold_out(known, 1e-9, 3).sum() == 1


def test_a_step_learns_the_known_pixels_alone(tmp_path: Path) -> None:
    """Its loss is the mean squared error over them, before the step."""
    import tensorflow as tf

    mask = np.full((HEIGHT, WIDTH), 255, np.uint8)
    mask[4:9, 3:20] = 0
    model = restorer({"input_noise": 0}, damage={"mask": save(mask, tmp_path / "mask.png")})
    output = model.network(model.noise).numpy()[0]
    error = np.square(output - smooth_picture(HEIGHT, WIDTH) / 255)[mask > 0].mean()
    figures = model.train_step(tf.constant(0, tf.int64))
    assert float(figures["loss"]) == pytest.approx(error, rel=1e-4)
    assert float(figures["fit"]) == pytest.approx(-10 * np.log10(error), rel=1e-4)


def test_known_pixels_stay_as_they_are() -> None:
    """In what is written, and in what is measured: the error is that of the missing ones, over all."""
    import tensorflow as tf

    model = restorer({"input_noise": 0}, damage={"missing": 0.5})
    known = observe(
        DataConfig.model_validate({"image": "a.png", "damage": {"missing": 0.5}}), smooth_picture(16, 24)
    ).known
    output = model.network(model.noise).numpy()[0]
    truth = smooth_picture(HEIGHT, WIDTH) / 255
    finished = np.asarray(model.finished(tf.constant(output)))
    np.testing.assert_allclose(finished[known], truth[known], atol=1e-6)
    np.testing.assert_array_equal(finished[~known], output[~known])
    error = np.square(output - truth)[~known].sum() / truth.size
    figures = model.train_step(tf.constant(0, tf.int64))
    assert float(figures["psnr"]) == pytest.approx(-10 * np.log10(error), rel=1e-4)


def test_an_enlarged_picture_is_the_given_one_made_smaller() -> None:
    """By Pillow's own filter; and the change is smooth: nothing that the filter ignores would make it smoother."""
    import tensorflow as tf

    model = restorer({"input_noise": 0}, damage={"scale": 4})
    # Far from black and white, where nothing is cut off.
    output = 0.4 + 0.2 * model.network(model.noise).numpy()[0]
    model.observed = 0.35 + 0.3 * model.observed
    finished = np.asarray(model.finished(tf.constant(output)))
    observed = model.observed.numpy()
    for channel in range(3):
        smaller = Image.fromarray(finished[..., channel]).resize((WIDTH // 4, HEIGHT // 4), Image.Resampling.BICUBIC)
        np.testing.assert_allclose(np.asarray(smaller), observed[..., channel], atol=1e-4)
    random = np.random.default_rng(2)
    for axis, side in enumerate((HEIGHT, WIDTH)):
        ignored = null_space(shrinking_matrix(side, 4).astype(np.float64)) @ random.standard_normal(side - side // 4)
        change = np.moveaxis(finished - output, axis, 0).reshape(side, -1)
        bent, of_ignored = (
            np.diff(np.pad(values, ((1, 1), (0, 0)), mode="edge"), n=2, axis=0) for values in (change, ignored[:, None])
        )
        np.testing.assert_allclose(of_ignored.T @ bent, 0, atol=1e-4)


def test_a_smaller_picture_with_noise_is_not_to_be_found_again() -> None:
    import tensorflow as tf

    model = restorer({"input_noise": 0}, damage={"scale": 4, "noise": 25})
    output = model.network(model.noise)[0]
    np.testing.assert_array_equal(np.asarray(model.finished(tf.constant(output))), np.asarray(output))


def test_a_fall_of_the_fit_brings_the_weights_back() -> None:
    import tensorflow as tf

    model = restorer({"fall": 5.0})
    model._look_back(tf.constant(20.0))
    kept = [weight.numpy() for weight in model.network.weights]
    for fit, is_back in ((14.0, True), (15.5, False)):
        for weight in model.network.weights:
            weight.assign(weight + 1)
        model._look_back(tf.constant(fit))
        for weight, before in zip(model.network.weights, kept, strict=True):
            np.testing.assert_allclose(weight.numpy(), before if is_back else before + 1)
    # From then on, those count that did not fall so far.
    assert float(model.fit_before) == 15.5


@pytest.mark.parametrize("times", [2, 4])
def test_a_picture_is_made_smaller_as_by_pillow(times: int) -> None:
    values = np.random.default_rng(0).random((24, 32)).astype(np.float32)
    by_pillow = Image.fromarray(values).resize((32 // times, 24 // times), Image.Resampling.BICUBIC)
    ours = shrinking_matrix(24, times) @ values @ shrinking_matrix(32, times).T
    np.testing.assert_allclose(ours, np.asarray(by_pillow), atol=1e-5)


def test_a_step_of_super_resolution_sees_the_small_picture() -> None:
    import tensorflow as tf

    model = restorer({"input_noise": 0}, damage={"scale": 4})
    output = model.network(model.noise).numpy()[0]
    small = [
        np.asarray(Image.fromarray(output[..., channel]).resize((WIDTH // 4, HEIGHT // 4), Image.Resampling.BICUBIC))
        for channel in range(3)
    ]
    error = np.square(np.stack(small, axis=-1) - model.observed.numpy()).mean()
    assert float(model.train_step(tf.constant(0, tf.int64))["loss"]) == pytest.approx(error, rel=1e-3)


class TestObservation:
    picture = smooth_picture(64, 64)

    def seen(self, **data: Any) -> Any:
        return observe(DataConfig.model_validate({"image": "any.png", **data}), self.picture)

    def test_missing_pixels_are_black_and_half(self) -> None:
        seen = self.seen(damage={"missing": 0.5})
        assert abs(seen.known.mean() - 0.5) < 0.03
        assert not seen.pixels[~seen.known].any()
        np.testing.assert_array_equal(seen.pixels[seen.known], self.picture[seen.known])
        assert seen.simply_restored is None

    def test_pixels_stay_around_what_is_missing_alone(self) -> None:
        """Where they have noise, or are those of a smaller picture, or are all there, they are restored, too."""
        missing = self.seen(damage={"missing": 0.5})
        np.testing.assert_array_equal(missing.stays, missing.known)
        for damage in ({"missing": 0.5, "noise": 25}, {"missing": 0.5, "scale": 2}, {"noise": 25}, {"scale": 2}):
            seen = self.seen(damage=damage)
            assert not seen.stays.any()
            assert seen.stays.shape == (64, 64)

    def test_noise_has_its_deviation_and_another_seed_is_other_noise(self) -> None:
        grey = np.full((64, 64, 3), 128, np.uint8)
        section = [DataConfig.model_validate({"image": "a.png", "damage": {"noise": 25, "seed": n}}) for n in (0, 1)]
        first, second = (observe(one, grey).pixels for one in section)
        assert np.std(first.astype(float)) == pytest.approx(25, abs=0.6)
        assert (first != second).mean() > 0.9

    def test_a_picture_that_is_made_smaller_is_as_large_again(self) -> None:
        seen = self.seen(damage={"scale": 4})
        assert (seen.pixels.shape, seen.shown.shape, seen.simply_restored.shape) == (
            (16, 16, 3),
            (64, 64, 3),
            (64, 64, 3),
        )
        np.testing.assert_array_equal(seen.reference, self.picture)

    def test_a_picture_that_is_damaged_already_has_no_reference(self) -> None:
        seen = self.seen(enlarge=2)
        assert seen.reference is None
        assert seen.times == 2


def test_psnr_and_ssim_are_those_of_scikit_image() -> None:
    metrics = pytest.importorskip("skimage.metrics", reason="scikit-image is not installed")
    truth = smooth_picture(48, 40)
    other = np.random.default_rng(0).normal(truth, 20).clip(0, 255).astype(np.uint8)
    assert psnr(other, truth) == pytest.approx(metrics.peak_signal_noise_ratio(truth, other))
    expected = metrics.structural_similarity(
        truth,
        other,
        channel_axis=-1,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(other, truth) == pytest.approx(expected, abs=1e-4)
    assert ssim(other[:9], truth[:9]) is None
