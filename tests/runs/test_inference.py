from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cnnkit.errors import UsageError
from cnnkit.runs.array_views import averaged
from cnnkit.runs.inference import check_views, compile_network, parse_tta
from cnnkit.runs.interface import Interface

SHAPE = (6, 5, 3)
CLASSES = 4


def network(activation: str | None, *, seed: int = 0) -> Any:
    """A small network whose batch normalizations have statistics far from their initial ones."""
    import keras

    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            layers.Normalization(mean=[120.0] * 3, variance=[4000.0] * 3),
            layers.Conv2D(8, 3, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.Conv2D(8, 2, activation="relu"),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(CLASSES, activation=activation),
        ]
    )
    draws = np.random.default_rng(seed)
    for layer in model.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.set_weights([draws.uniform(0.5, 2, weight.shape) for weight in layer.get_weights()])
    return model


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (11, *SHAPE)).astype(np.uint8)


def softmax(scores: np.ndarray) -> np.ndarray:
    exponentials = np.exp(scores - scores.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def averaged_logits(logits_of: Any, images: np.ndarray, tta: str) -> np.ndarray:
    """The average as airbench defines it, from one call per view."""

    def mirrored(views: np.ndarray) -> np.ndarray:
        if "flip" not in tta:
            return logits_of(views)
        return 0.5 * logits_of(views) + 0.5 * logits_of(views[:, :, ::-1])

    if "shift" not in tta:
        return mirrored(images)
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    height, width = images.shape[1:3]
    moved = [mirrored(padded[:, :height, :width]), mirrored(padded[:, 2 : height + 2, 2 : width + 2])]
    return 0.5 * mirrored(images) + 0.5 * np.mean(moved, axis=0)


@pytest.mark.parametrize(
    ("jit_compile", "activation"),
    [
        (False, None),
        (True, "softmax"),
        *(pytest.param(*case, marks=pytest.mark.long) for case in ((False, "softmax"), (False, "sigmoid"))),
        *(pytest.param(*case, marks=pytest.mark.long) for case in ((True, None), (True, "sigmoid"))),
    ],
)
def test_agrees_with_keras_predict(images: np.ndarray, activation: str | None, jit_compile: bool) -> None:
    model = network(activation)
    compiled = compile_network(model, head=activation or "logits", jit_compile=jit_compile)
    for part in (images, images[:3], images[:1]):
        np.testing.assert_allclose(compiled(part).numpy(), model.predict(part, verbose=0), rtol=1e-4, atol=1e-5)


@pytest.mark.long
@pytest.mark.parametrize("tta", ["flip", "shift", "flip,shift"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_views_are_averaged_as_airbench_averages_them(images: np.ndarray, tta: str, jit_compile: bool) -> None:
    # One set of weights under three heads: the logits are known, whatever the last activation hides.
    logits, probabilities, scores = (network(activation) for activation in (None, "softmax", "sigmoid"))
    for model in (probabilities, scores):
        model.set_weights(logits.get_weights())
    expected = averaged_logits(lambda views: logits.predict(views, verbose=0).astype(np.float64), images, tta)
    plain = logits.predict(images, verbose=0)
    assert np.abs(expected - plain).max() > 0.01  # the views matter

    def ours(model: Any, head: str) -> np.ndarray:
        names = parse_tta(tta)
        return np.asarray(compile_network(model, head=head, jit_compile=jit_compile, tta=names)(images))

    np.testing.assert_allclose(ours(logits, "logits"), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(ours(probabilities, "softmax"), softmax(expected), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours(scores, "sigmoid"), 1 / (1 + np.exp(-expected)), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("tta", ["flip", "shift", "flip,shift"])
def test_views_of_arrays_are_averaged_in_the_same_way(images: np.ndarray, tta: str) -> None:
    kernel = np.random.default_rng(2).normal(0, 1e-3, (np.prod(SHAPE), CLASSES)).astype(np.float32)

    def logits_of(views: np.ndarray) -> np.ndarray:
        return views.reshape(len(views), -1).astype(np.float32) @ kernel

    expected = averaged_logits(lambda views: logits_of(views).astype(np.float64), images, tta)
    assert np.abs(expected - logits_of(images)).max() > 0.01
    heads = {"logits": lambda scores: scores, "softmax": softmax, "sigmoid": lambda scores: 1 / (1 + np.exp(-scores))}
    for head, activate in heads.items():
        ours = averaged(lambda views, activate=activate: activate(logits_of(views)), parse_tta(tta), head)(images)
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, activate(expected), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_certain_arrays_stay_finite(images: np.ndarray, head: str) -> None:
    certain = np.eye(CLASSES, dtype=np.float32)[np.arange(4 * len(images)) % CLASSES]
    outputs = averaged(lambda views: certain[: len(views)], ("flip",), head)(images)
    assert np.isfinite(outputs).all()
    assert ((outputs >= 0) & (outputs <= 1)).all()


@pytest.mark.parametrize("head", ["softmax", "sigmoid"])
def test_certain_networks_stay_finite(images: np.ndarray, head: str) -> None:
    model = network(head)
    kernel, bias = model.layers[-1].get_weights()
    model.layers[-1].set_weights([1000 * kernel, bias])
    outputs = compile_network(model, head=head, tta=("flip", "shift"))(images).numpy()
    assert np.isfinite(outputs).all()
    assert ((outputs >= 0) & (outputs <= 1)).all()


def test_mixed_precision_and_seeded_layers(images: np.ndarray) -> None:
    import keras

    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Conv2D(8, 3, dtype="mixed_bfloat16"),
            keras.layers.GaussianNoise(1.0, seed=3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(CLASSES, dtype="float32"),
        ]
    )
    outputs = compile_network(model, head="logits")(images).numpy()
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, model.predict(images, verbose=0), rtol=0.02, atol=0.5)


def test_weights_too_large_for_a_graph_stay_variables(images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    model = network("softmax")
    monkeypatch.setattr("cnnkit.runs.inference.MOST_CONSTANT_BYTES", 100)
    compiled = compile_network(model, head="softmax", tta=("flip",))
    before = compiled(images).numpy()
    model.set_weights([weight * 1.5 for weight in model.get_weights()])
    assert np.abs(compiled(images).numpy() - before).max() > 1e-3


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (None, ()),
        ("flip", ("flip",)),
        ("shift", ("shift",)),
        ("shift,flip", ("flip", "shift")),
        (" flip , shift,flip", ("flip", "shift")),
    ],
)
def test_parse_tta(text: str | None, names: tuple[str, ...]) -> None:
    assert parse_tta(text) == names


@pytest.mark.parametrize("text", ["foo", "", "flip,", "flip shift", "Flip"])
def test_what_is_no_augmentation_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--tta: there is no test-time augmentation") as error:
        parse_tta(text)
    assert "flip or shift" in str(error.value)


def images_of(shape: tuple[int, ...]) -> Interface:
    return Interface(shape, ("a", "b"), "softmax")


def test_images_of_one_row_cannot_be_shifted() -> None:
    with pytest.raises(UsageError, match="1x8"):
        check_views(("shift",), images_of((1, 8, 3)))
    check_views(("flip",), images_of((1, 8, 3)))
    check_views(("flip", "shift"), images_of((2, 2, 3)))


def test_a_mirror_image_says_of_each_pixel_what_lies_there() -> None:
    """Averaged before the softmax, each pixel with itself."""
    import keras

    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input(SHAPE),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(CLASSES, 3, padding="same", activation="softmax"),
        ]
    )
    images = np.random.default_rng(0).integers(0, 256, (2, *SHAPE)).astype(np.uint8)
    averaged = np.asarray(compile_network(model, head="softmax", tta=("flip",))(images))
    plain, mirrored = model.predict(images, verbose=0), model.predict(images[:, :, ::-1], verbose=0)[:, :, ::-1]
    product = np.sqrt(plain * mirrored)
    np.testing.assert_allclose(averaged, product / product.sum(axis=-1, keepdims=True), rtol=1e-4)
    with pytest.raises(UsageError, match="--tta shift moves the pixels"):
        check_views(("shift",), images_of(SHAPE), per_pixel=True)
