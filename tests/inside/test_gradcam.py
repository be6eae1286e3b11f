"""Grad-CAM against its own definition, and against class activation maps where the two agree."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import built, written

from cnnkit.config.load import LoadedConfig
from cnnkit.errors import UsageError
from cnnkit.inside.gradcam import compile_gradcam, without_border
from cnnkit.inside.outputs import LayerOutput, gradcam_layer
from cnnkit.layers.base import Layer

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
    place = gradcam_layer(loaded)
    assert place is not None
    assert place.name == "1.Residual"
    return compile_gradcam(model, place, head, jit_compile=False)(images, CLASSES)


def residual_maps(model: Any, images: np.ndarray) -> Any:
    """What the residual block outputs, a tensor."""
    features: Any = images
    for layer in model.layers[:3]:
        features = layer(features)
    return features


@pytest.mark.parametrize(
    "head", ["softmax", pytest.param("sigmoid", marks=pytest.mark.long), pytest.param("linear", marks=pytest.mark.long)]
)
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


@pytest.mark.long
def test_a_softmax_layer_of_its_own_changes_nothing(images: np.ndarray, tmp_path: Path) -> None:
    """Written apart, at the network's end or at that of a block: the scores are what enters it."""
    expected = maps_of(config(tmp_path, "Flatten"), built(config(tmp_path, "Flatten")), images, "softmax")
    text = Path(config(tmp_path, "Flatten", "linear").file).read_text()
    apart = written(tmp_path, text + "    - Softmax\n")
    head, _, _ = text.partition("    - Dense")
    block = "  blocks: {ending: {layers: [{Dense: classes}, Softmax]}}\n"
    inside = head.replace("model:\n", f"model:\n{block}") + "    - ending\n"
    for loaded in (apart, written(tmp_path, inside)):
        probabilities, maps = maps_of(loaded, built(loaded), images, "softmax")
        np.testing.assert_allclose(probabilities, expected[0], rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(maps, expected[1], rtol=1e-4, atol=1e-5)


@pytest.mark.long
def test_a_mean_of_softmaxes_hides_the_scores_up_to_what_all_classes_share(images: np.ndarray, tmp_path: Path) -> None:
    """A shift of all logits is no evidence for a class: the scores are the logarithms around their mean."""
    import tensorflow as tf

    path = "[{Dense: {units: classes, activation: softmax}}]"
    text = Path(config(tmp_path, "Flatten").file).read_text().partition("    - Dense")[0]
    loaded = written(tmp_path, f"{text}    - Branches: {{merge: average, paths: [{path}, {path}]}}\n")
    model = built(loaded)
    _, maps = maps_of(loaded, model, images, "softmax")
    features = residual_maps(model, images)
    ways = [layer for layer in model.layers[-1].layers if layer.weights]
    with tf.GradientTape() as tape:
        tape.watch(features)
        logits = [tf.reshape(features, [4, -1]) @ way.kernel + way.bias for way in ways]
        logarithms = tf.math.log((tf.nn.softmax(logits[0]) + tf.nn.softmax(logits[1])) / 2)
        centred = logarithms - tf.reduce_mean(logarithms, axis=1, keepdims=True)
        scores = tf.gather(centred, CLASSES, axis=1, batch_dims=1)
    weights = tape.gradient(scores, features).numpy().mean(axis=(1, 2), keepdims=True)
    expected = np.maximum((weights * features.numpy()).sum(axis=-1), 0)
    np.testing.assert_allclose(maps, scaled(expected), rtol=1e-3, atol=1e-4)


class TestPixels:
    """A class for each pixel of a 4x4 image; the gradient of this network can be written down.

    Two features of 2x2 positions, each seen by the 2x2 pixels above it through a ReLU, are weighed for three classes.
    """

    #: Of the two features in the pooled image, and of each in the scores of the classes.
    FEATURES = np.array([[1.0, -0.5]])
    SCORES = np.array([[1.0, -2.0, 0.2], [-1.5, 3.0, 0.5]])

    @pytest.fixture
    def model(self) -> Any:
        import keras

        model = keras.Sequential(
            [
                keras.Input((4, 4, 1)),
                keras.layers.AveragePooling2D(2),
                keras.layers.Conv2D(2, 1, name="features"),
                keras.layers.UpSampling2D(2),
                keras.layers.ReLU(),
                keras.layers.Conv2D(3, 1, name="scores"),
                keras.layers.Softmax(),
            ]
        )
        model.get_layer("features").set_weights([self.FEATURES.reshape(1, 1, 1, 2), np.array([-4.0, 6.0])])
        model.get_layer("scores").set_weights([self.SCORES.reshape(1, 1, 2, 3), np.array([0.0, 0.0, 0.5])])
        return model

    #: Pooled to [[12, 2], [4, 18]]: features [[8, -2], [0, 14]] and [[0, 5], [4, -3]].
    IMAGE = np.kron([[12.0, 2.0], [4.0, 18.0]], np.ones((2, 2)))[None, :, :, None]

    def computed(self, model: Any, number: int, pixels: Any = None, padding: Any = (0, 0, 0, 0)) -> np.ndarray:
        place = LayerOutput("features", Layer.model_construct(), (2, 2, 1), (2, 2, 2), (0, 1, 2), True)
        compute = compile_gradcam(model, place, "softmax", jit_compile=False, padding=padding)
        probabilities, (heat,) = compute(self.IMAGE, [number], pixels)
        np.testing.assert_allclose(probabilities, model(self.IMAGE), rtol=1e-6)
        return heat

    def by_hand(self, number: int, counts: Any) -> np.ndarray:
        """The map of a class, by how many of the explained pixels lie above each position."""
        features = self.IMAGE[0, ::2, ::2] @ self.FEATURES + [-4.0, 6.0]
        # A pixel's score has the weight as its gradient where the ReLU lets it through.
        alphas = [
            (np.asarray(counts) * (features[..., one] > 0)).sum() * self.SCORES[one, number] / 4 for one in (0, 1)
        ]
        heat = np.maximum(features @ alphas, 0)
        return heat / heat.max()

    def test_the_score_is_summed_over_the_pixels_that_are_taken_for_the_class(self, model: Any) -> None:
        # Class 0 where the first feature is positive, class 1 where the second is.
        guess = np.asarray(model(self.IMAGE))[0].argmax(axis=-1)
        np.testing.assert_array_equal(guess[::2, ::2], [[0, 1], [1, 0]])
        np.testing.assert_allclose(self.computed(model, 0), self.by_hand(0, [[4, 0], [0, 4]]), rtol=1e-5)
        np.testing.assert_allclose(self.computed(model, 1), self.by_hand(1, [[0, 4], [4, 0]]), rtol=1e-5)
        # Over all pixels, both features would count, and the maps would be others.
        assert np.abs(self.by_hand(1, np.full((2, 2), 4)) - self.computed(model, 1)).max() > 0.1

    def test_a_class_that_is_nowhere_is_explained_for_all_pixels(self, model: Any) -> None:
        np.testing.assert_allclose(self.computed(model, 2), self.by_hand(2, np.full((2, 2), 4)), rtol=1e-5)

    def test_pixels_can_be_chosen(self, model: Any) -> None:
        pixels = np.zeros((1, 4, 4), bool)
        pixels[0, 0, :] = pixels[0, 3, 3] = True
        np.testing.assert_allclose(self.computed(model, 2, pixels), self.by_hand(2, [[2, 2], [0, 1]]), rtol=1e-5)

    def test_the_border_is_not_explained(self, model: Any) -> None:
        # Without the first row and the last two columns: two pixels of class 0 at the upper left, two of 1 below.
        np.testing.assert_allclose(
            self.computed(model, 2, padding=(1, 0, 0, 2)), self.by_hand(2, [[2, 0], [4, 0]]), rtol=1e-5
        )

    def test_a_layer_after_the_scores_is_refused(self, model: Any) -> None:
        place = LayerOutput(model.layers[-1].name, Layer.model_construct(), (4, 4, 3), (4, 4, 3), (0, 1, 2), False)
        with pytest.raises(UsageError, match="do not depend on what the layer"):
            compile_gradcam(model, place, "softmax", jit_compile=False)(self.IMAGE, [0])


def test_a_map_is_cropped_as_its_image_is() -> None:
    """Each pixel keeps its value: the map of a padded image, stretched over it and cut."""
    heat = np.random.default_rng(0).uniform(0, 1, (3, 4)).astype(np.float32)
    np.testing.assert_array_equal(without_border(heat, (12, 16), (0, 0, 0, 0)), heat)
    found = without_border(heat, (12, 16), (3, 1, 2, 6))
    assert found.shape == (8, 8)
    # A map of equal blocks: their middles are the map's own values, two pixels in.
    blocks = without_border(np.array([[0, 1], [1, 0]], np.float32), (24, 24), (0, 12, 12, 0))
    assert (blocks[:6, 6:] == 1).all()
