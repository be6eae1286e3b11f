"""Grad-CAM against its own definition, and against class activation maps where the two agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import built, written

from cnnkit.config.load import LoadedConfig
from cnnkit.inside.gradcam import compile_gradcam
from cnnkit.inside.outputs import gradcam_layer, layer_outputs

CLASSES = [3, 1, 7, 7]


def config(folder: Path, tail: str, head: str = "softmax") -> LoadedConfig:
    return written(
        folder,
        f"""
data: {{name: digits}}
model:
  layers:
    - Conv2D: {{filters: 5, kernel_size: 3, padding: same, activation: relu}}
    - Residual: {{layers: [{{Conv2D: {{filters: 5, kernel_size: 3, padding: same}}}}, BatchNormalization]}}
    - {tail}
    - Dense: {{units: classes, activation: {head}}}
""",
    )


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (4, 8, 8, 1)).astype(np.float32)


def scaled(maps: np.ndarray) -> np.ndarray:
    """Each map divided by its largest value; one of zeros stays so."""
    largest = maps.max(axis=(1, 2), keepdims=True)
    return maps / np.where(largest > 0, largest, 1)


def maps_of(loaded: LoadedConfig, model: Any, images: np.ndarray, head: str) -> tuple[np.ndarray, np.ndarray]:
    place = gradcam_layer(layer_outputs(loaded))
    assert place is not None
    assert place.name == "1.Residual"
    return compile_gradcam(model, place, head, jit_compile=False)(images, CLASSES)


def residual_maps(model: Any, images: np.ndarray) -> Any:
    """What the residual block outputs, a tensor."""
    features: Any = images
    for layer in model.layers[:3]:
        features = layer(features)
    return features


@pytest.mark.parametrize("head", ["softmax", "sigmoid", "linear"])
def test_maps_are_those_of_the_paper(head: str, images: np.ndarray, tmp_path: Path) -> None:
    """Written out with TensorFlow's tape; the score is what enters the last activation, whatever the head."""
    import tensorflow as tf

    loaded = config(tmp_path, "Flatten", head)
    model = built(loaded)
    probabilities, maps = maps_of(loaded, model, images, "logits" if head == "linear" else head)
    features = residual_maps(model, images)
    kernel, bias = model.layers[-1].get_weights()
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = tf.reshape(features, [4, -1]) @ kernel + bias
        scores = tf.gather(logits, CLASSES, axis=1, batch_dims=1)
    weights = tape.gradient(scores, features).numpy().mean(axis=(1, 2), keepdims=True)
    expected = np.maximum((weights * features.numpy()).sum(axis=-1), 0)
    np.testing.assert_allclose(maps, scaled(expected), rtol=1e-4, atol=1e-5)
    outputs = np.asarray(model(images, training=False), np.float64)
    if head == "sigmoid":
        outputs /= outputs.sum(axis=1, keepdims=True)
    if head == "linear":
        outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        outputs /= outputs.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, outputs, rtol=1e-4, atol=1e-7)
    # A class has a map of its own.
    assert (
        np.abs(maps[2] - maps_of(loaded, model, images[2:3].repeat(4, 0), head.replace("linear", "logits"))[1][0]).max()
        > 0.01
    )


def test_with_global_pooling_they_are_class_activation_maps(images: np.ndarray, tmp_path: Path) -> None:
    """Zhou et al. 2015 (arXiv:1512.04150): the channels weighted by the last layer's own weights."""
    loaded = config(tmp_path, "GlobalAveragePooling2D")
    model = built(loaded)
    _, maps = maps_of(loaded, model, images, "softmax")
    features = residual_maps(model, images)
    kernel, _ = model.layers[-1].get_weights()
    expected = np.maximum(np.einsum("nhwc,cn->nhw", features.numpy(), kernel[:, CLASSES]), 0)
    np.testing.assert_allclose(maps, scaled(expected), rtol=1e-4, atol=1e-5)


def test_the_network_is_as_it_was_afterwards(images: np.ndarray, tmp_path: Path) -> None:
    loaded = config(tmp_path, "GlobalAveragePooling2D")
    model = built(loaded)
    before = np.asarray(model(images, training=False))
    maps_of(loaded, model, images, "softmax")
    np.testing.assert_array_equal(before, np.asarray(model(images, training=False)))


def test_a_separate_softmax_layer_hides_the_scores_up_to_what_all_classes_share(
    images: np.ndarray, tmp_path: Path
) -> None:
    """A shift of all logits is no evidence for a class; without it, the map is that of logits around their mean."""
    import tensorflow as tf

    loaded = config(tmp_path, "Flatten", "linear")
    text = Path(loaded.file).read_text() + "    - Softmax\n"
    loaded = written(tmp_path, text)
    model = built(loaded)
    _, maps = maps_of(loaded, model, images, "softmax")
    features = residual_maps(model, images)
    kernel, bias = model.layers[-2].get_weights()
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = tf.reshape(features, [4, -1]) @ kernel + bias
        centred = logits - tf.reduce_mean(logits, axis=1, keepdims=True)
        scores = tf.gather(centred, CLASSES, axis=1, batch_dims=1)
    weights = tape.gradient(scores, features).numpy().mean(axis=(1, 2), keepdims=True)
    expected = np.maximum((weights * features.numpy()).sum(axis=-1), 0)
    np.testing.assert_allclose(maps, scaled(expected), rtol=1e-3, atol=1e-4)
