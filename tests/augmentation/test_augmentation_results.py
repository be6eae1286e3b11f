"""What the augmentations do to the pixels, against NumPy and Keras' own layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.stats

from cnnkit.augmentation.pipeline import Pipeline

from .examples import augmented, make, one_hot, random_images


def apply(name: str, arguments: Any, images: np.ndarray, seed: int = 0) -> np.ndarray:
    changed, _ = augmented(Pipeline([make(name, arguments)], seed), images, one_hot(len(images)))
    return changed


def each_alone(layer: Any, images: np.ndarray) -> np.ndarray:
    """A Keras layer on every image as a batch of one."""
    return np.concatenate([np.asarray(layer(image[None].astype(np.float32), training=True)) for image in images])


@pytest.mark.parametrize(
    ("mode", "axes"), [("horizontal", (1,)), ("vertical", (0,)), ("horizontal_and_vertical", (0, 1))]
)
def test_a_flip_gives_the_image_or_its_mirror_image(mode: str, axes: tuple[int, ...]) -> None:
    images = random_images(100)
    changed = apply("RandomFlip", mode, images)
    flipped = [np.array_equal(new, np.flip(old, axes)) for old, new in zip(images, changed, strict=True)]
    kept = [np.array_equal(new, old) for old, new in zip(images, changed, strict=True)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 30 < sum(flipped) < 70


def test_a_translation_by_whole_pixels_moves_them() -> None:
    images = random_images(4)
    down_4_left_2 = {"height_factor": [0.25, 0.25], "width_factor": [-0.125, -0.125]}
    wrapped = apply("RandomTranslation", {**down_4_left_2, "fill_mode": "wrap"}, images)
    np.testing.assert_allclose(wrapped, np.roll(images, (4, -2), axis=(1, 2)), atol=1e-3)
    filled = apply("RandomTranslation", {**down_4_left_2, "fill_mode": "constant", "fill_value": 7.0}, images)
    expected = np.full(images.shape, 7.0)
    expected[:, 4:, :-2] = images[:, :-4, 2:]
    np.testing.assert_allclose(filled, expected, atol=1e-3)


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    images = random_images(4)
    changed = apply("RandomRotation", {"factor": [0.25, 0.25], "interpolation": "nearest"}, images)
    np.testing.assert_array_equal(changed, np.rot90(images, 1, axes=(1, 2)))


def windows(padded: np.ndarray, size: int) -> list[np.ndarray]:
    positions = range(padded.shape[0] - size + 1)
    return [padded[y : y + size, x : x + size] for y in positions for x in range(padded.shape[1] - size + 1)]


@pytest.mark.parametrize(
    ("arguments", "numpy_arguments"),
    [
        ({}, {"mode": "constant", "constant_values": 0}),
        ({"fill_value": 9.0}, {"mode": "constant", "constant_values": 9}),
        ({"fill_mode": "reflect"}, {"mode": "symmetric"}),
        ({"fill_mode": "mirror"}, {"mode": "reflect"}),
    ],
)
def test_a_crop_cuts_a_window_of_the_padded_image(arguments: Any, numpy_arguments: Any) -> None:
    images = random_images(24)
    changed = apply("RandomCrop", {"padding": [3, 4], **arguments}, images)
    found = []
    for old, new in zip(images, changed, strict=True):
        padded = np.pad(old, ((3, 3), (4, 4), (0, 0)), **numpy_arguments)
        matches = [i for i, window in enumerate(windows(padded, 16)) if np.array_equal(window, new)]
        assert len(matches) == 1
        found += matches
    assert len(set(found)) > 12


def test_all_positions_of_a_crop_are_equally_likely() -> None:
    image = np.arange(1, 17, dtype=np.uint8).reshape(1, 4, 4, 1)
    count = 4500
    changed = apply("RandomCrop", {"padding": 1}, image.repeat(count, axis=0))
    expected = windows(np.pad(image[0], ((1, 1), (1, 1), (0, 0))), 4)
    seen = np.array([np.all(changed == window, axis=(1, 2, 3)).sum() for window in expected])
    assert seen.sum() == count
    chi_square = np.sum((seen - count / 9) ** 2) / (count / 9)
    assert chi_square < 26.1  # the 99.9 % quantile for 8 degrees of freedom


def test_brightness_adds_one_number_to_an_image() -> None:
    images = np.clip(random_images(32), 80, 170)
    change = apply("RandomBrightness", 0.25, images) - images
    added = change.mean(axis=(1, 2, 3))
    np.testing.assert_allclose(change, np.broadcast_to(added[:, None, None, None], change.shape), atol=1e-3)
    assert np.abs(added).max() <= 0.25 * 255
    assert added.min() < -30 < 30 < added.max()


def test_contrast_scales_the_distance_from_the_channel_means() -> None:
    images = np.clip(random_images(32), 100, 150).astype(np.float64)
    changed = apply("RandomContrast", [0.5, 0.6], images.astype(np.uint8))
    means = images.mean(axis=(1, 2), keepdims=True)
    factors = np.sum((changed - means) * (images - means), axis=(1, 2, 3)) / np.sum(
        (images - means) ** 2, axis=(1, 2, 3)
    )
    np.testing.assert_allclose(changed, (images - means) * factors[:, None, None, None] + means, atol=1e-2)
    assert 0.5 <= factors.min() < 0.75 < 1.35 < factors.max() <= 1.6


def test_saturation_keeps_the_value_range() -> None:
    changed = apply("RandomSaturation", [0.8, 0.95], random_images(8))
    assert changed.min() >= 0
    grey = apply("RandomSaturation", [0, 0], random_images(8))
    np.testing.assert_allclose(grey, random_images(8).max(axis=-1, keepdims=True).repeat(3, axis=-1), atol=1e-3)


def test_posterization_keeps_the_highest_bits() -> None:
    images = random_images(8)
    np.testing.assert_array_equal(apply("RandomPosterization", [3, 3], images), images & 0b11100000)


def test_solarization_inverts_from_the_threshold_on() -> None:
    images = random_images(8)
    np.testing.assert_array_equal(apply("Solarization", 0, images), 255 - images)
    inverted = apply("Solarization", {"threshold_factor": 0.6}, images) != images
    for old, new in zip(images.astype(int), inverted, strict=True):
        assert old[~new].max(initial=0) < old[new].min(initial=256)


def test_histograms_are_those_of_each_image_alone() -> None:
    import keras

    images = random_images(6)
    images[4] //= 3
    images[5] = 77
    for name in ("Equalization", "AutoContrast", "ContrastLimitedAdaptiveHistogramEqualization"):
        expected = each_alone(getattr(keras.layers, name)(), images)
        np.testing.assert_allclose(apply(name, None, images), expected, atol=1e-3)
    expected = each_alone(keras.layers.Equalization(bins=64), images)
    np.testing.assert_allclose(apply("Equalization", {"bins": 64}, images), expected, atol=1e-3)


@pytest.mark.parametrize("channels", [1, 3])
def test_blur_is_kerass_blur_with_each_images_own_widths(channels: int) -> None:
    import keras

    images = random_images(6, channels=channels).astype(np.float32)
    layer = make("RandomGaussianBlur", {"kernel_size": 5}).build()
    sigma = np.random.default_rng(0).uniform(0.3, 1, (6, 2)).astype(np.float32)
    apply_to = np.array([True, True, False, True, True, True])
    changed = layer.transform_images(images, {"should_apply_blur": apply_to, "blur_factor": sigma})
    for index in range(6):
        blurred = keras.ops.image.gaussian_blur(images[index : index + 1], (5, 5), sigma[index])[0]
        np.testing.assert_allclose(changed[index], blurred if apply_to[index] else images[index], atol=1e-3)


def test_elastic_transformation_is_kerass_on_each_image() -> None:
    import keras

    from cnnkit.augmentation.keras_layers import SeedStream, drive

    images = random_images(5).astype(np.float32)
    ours = make("RandomElasticTransform", {"factor": [1, 1], "scale": [0.5, 1]}).build()
    theirs = keras.layers.RandomElasticTransform(factor=(1, 1), scale=(0.5, 1))
    stream = SeedStream((3, 4))
    drive(ours, stream)
    drive(theirs, stream)
    stream.start(1, 2, np.arange(5))
    changed = np.asarray(ours(images))
    for index in range(5):
        stream.start(1, 2, np.arange(5))
        with stream.branch(index):
            np.testing.assert_allclose(changed[index], theirs(images[index : index + 1])[0], atol=1e-3)


def test_erasing_fills_one_rectangle() -> None:
    images = random_images(16)
    changed = apply("RandomErasing", {"factor": [1, 1], "scale": [0.1, 0.3], "fill_value": 0.0}, images)
    for old, new in zip(images, changed, strict=True):
        erased = np.all(new == 0, axis=-1)
        rows, columns = np.flatnonzero(erased.any(axis=1)), np.flatnonzero(erased.any(axis=0))
        assert erased[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        # Sides of sqrt(0.1) to sqrt(0.3) of 16 pixels.
        assert 5 <= len(rows) <= 9
        assert 5 <= len(columns) <= 9
        np.testing.assert_array_equal(new[~erased], old[~erased])


@pytest.mark.parametrize("name", ["RandomErasing", "CutMix"])
def test_a_rectangle_reaches_every_edge_as_often_as_the_one_across(name: str) -> None:
    arguments = {"factor": [1, 1]} | ({"fill_value": 0.0, "scale": [0.05, 0.2]} if name == "RandomErasing" else {})
    images = np.arange(1, 4001, dtype=np.float32)[:, None, None, None] * np.ones((1, 9, 7, 1), np.float32)
    changed, _ = augmented(Pipeline([make(name, arguments)], 0), images, one_hot(4000))
    often = (np.asarray(changed) != images)[..., 0].mean(axis=0)
    assert often.min() > 0.005
    # Of 4,000 images, shares of which the standard deviation is at most 0.008.
    np.testing.assert_allclose(often, often[::-1], atol=0.04)
    np.testing.assert_allclose(often, often[:, ::-1], atol=0.04)


@pytest.mark.parametrize("alpha", [0.01, 0.2, 1.0, 3.0])
def test_weights_follow_the_beta_distribution(alpha: float) -> None:
    """Against SciPy's; in float32, TensorFlow's gammas come to 0 for small values of alpha."""
    from cnnkit.augmentation.keras_layers import SeedStream

    stream = SeedStream((3, 4))
    stream.start(1, 2, np.arange(20_000))
    drawn = np.asarray(stream.beta((20_000,), alpha))
    of_two = np.asarray(stream.dirichlet((20_000, 2), alpha))
    np.testing.assert_allclose(of_two.sum(axis=1), 1, rtol=1e-6)
    for values in (drawn, of_two[:, 0]):
        for place in (1e-4, 0.01, 0.1, 0.45, 0.5, 0.55, 0.9, 0.99):
            assert (values <= place).mean() == pytest.approx(scipy.stats.beta(alpha, alpha).cdf(place), abs=0.02)


def test_mix_up_mixes_images_as_it_mixes_labels() -> None:
    images = random_images(16)
    changed, labels = augmented(Pipeline([make("MixUp", 0.5)], 0), images, one_hot(16))
    np.testing.assert_allclose(changed, np.tensordot(labels, images, axes=1), atol=1e-2)
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    assert ((labels > 0.05).sum(axis=1) == 2).sum() > 4


def test_cut_mix_pastes_a_rectangle_and_mixes_labels_by_its_area() -> None:
    images = random_images(16)
    changed, labels = augmented(Pipeline([make("CutMix", [1, 1])], 0), images, one_hot(16))
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)
    pasted_images = 0
    for index in range(16):
        others = np.flatnonzero((labels[index] > 0) & (np.arange(16) != index))
        if not len(others):
            np.testing.assert_array_equal(changed[index], images[index])
            continue
        pasted_images += 1
        pasted = np.all(changed[index] == images[others[0]], axis=-1)
        np.testing.assert_array_equal(changed[index][~pasted], images[index][~pasted])
        assert labels[index, others[0]] == pytest.approx(pasted.mean(), abs=1e-6)
    assert pasted_images > 10


def deterministic_operations(images: np.ndarray) -> dict[str, np.ndarray]:
    """What RandAugment's and AugMix's operations do at strength 0, by Keras' own layers."""
    import keras

    layers = {
        "sharpness": keras.layers.RandomSharpness((0, 0)),
        "posterization": keras.layers.RandomPosterization(1),
        "solarization": keras.layers.Solarization(0, 0),
        "auto contrast": keras.layers.AutoContrast(),
        "equalization": keras.layers.Equalization(),
    }
    return {
        "none": images.astype(np.float32),
        **{key: each_alone(layer, images) for key, layer in layers.items()},
    }


@pytest.mark.long
def test_rand_augment_applies_one_of_its_operations_to_each_image() -> None:
    images = random_images(60)
    changed = apply("RandAugment", {"num_ops": 1, "factor": [0, 0]}, images)
    results = deterministic_operations(images)
    chosen = []
    for index in range(60):
        fits = [key for key, expected in results.items() if np.allclose(changed[index], expected[index], atol=1e-2)]
        assert len(fits) == 1
        chosen += fits
    assert set(chosen) == set(results)
    # Shear, translation, rotation, brightness, colour and contrast of strength 0: six of eleven.
    assert 20 < chosen.count("none") < 45


@pytest.mark.long
def test_aug_mix_mixes_the_image_with_one_operation_on_it() -> None:
    images = random_images(40)
    arguments = {"num_chains": 1, "chain_depth": 1, "factor": [0, 0], "alpha": 1.0}
    changed = apply("AugMix", arguments, images)
    results = deterministic_operations(images)
    original = results.pop("none")
    shares = []
    for index in range(40):
        if np.allclose(changed[index], original[index], atol=1e-2):
            continue
        change = changed[index] - original[index]
        fits = []
        for expected in results.values():
            direction = expected[index] - original[index]
            share = np.sum(change * direction) / np.sum(direction**2)
            if np.allclose(change, share * direction, atol=0.05):
                fits.append(share)
        assert len(fits) == 1
        shares += fits
    assert 0 <= min(shares) < 0.4 < 0.6 < max(shares) <= 1.001
    assert len(shares) > 8


@pytest.mark.parametrize("name", ["RandomFlip", "RandomErasing"])
@pytest.mark.parametrize("fill_value", [0, 77, [10, 20, 30]])
def test_a_layer_of_our_own_makes_keras_pixels_of_keras_transformation(
    name: str, fill_value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keras

    from cnnkit.augmentation import keras_layers

    arguments: dict[str, Any] = {"RandomFlip": {"mode": "horizontal"}, "RandomErasing": {"fill_value": fill_value}}[
        name
    ]
    images = random_images(40)
    theirs = getattr(keras.layers, name)(**arguments, seed=3)
    ours = getattr(keras_layers, name)(**arguments, **({"alternate": False} if name == "RandomFlip" else {}))
    seeds = [keras.random.SeedGenerator(9), keras.random.SeedGenerator(9)]
    if name == "RandomErasing":
        # Of a pixel, Keras takes the upper left corner for the whole, and so misses the first row and column.
        monkeypatch.setattr(
            theirs,
            "_generate_batch_mask",
            lambda shape, corners, mask=theirs._generate_batch_mask: mask(shape, [corner - 0.5 for corner in corners]),
        )
    drawn = theirs.get_random_transformation(images.astype(np.float32), seed=seeds[0])
    drawn_by_ours = ours.get_random_transformation(images, seed=seeds[1])
    expected = np.asarray(theirs.transform_images(images.astype(np.float32), drawn))
    changed = np.asarray(ours.transform_images(images, drawn_by_ours))
    assert not np.array_equal(expected, images)
    assert changed.dtype == np.uint8
    np.testing.assert_array_equal(changed, expected)
