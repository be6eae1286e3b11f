"""Names, stages and windows of layers, against Keras' own model of the same config."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from networks import UNET, built, written

from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.inside.outputs import LayerOutput, gradcam_layer, input_window, layer_outputs, stages, way_to

CONFIGS = Path(__file__).parents[2] / "configs"


def test_the_stages_of_a_network_made_of_layers_and_composites(tmp_path: Path) -> None:
    found = layer_outputs(written(tmp_path, UNET))
    assert [place.name for place in found] == [
        "0.Conv2D",
        "1.Branches",
        "2.Repeat/0.layers.0.Conv2D",
        "2.Repeat/0.layers.1.ReLU",
        "2.Repeat/1.layers.0.Conv2D",
        "2.Repeat/1.layers.1.ReLU",
        "3.MaxPooling2D",
        "4.Residual",
        "5.GlobalAveragePooling2D",
        "6.Dense",
    ]
    assert [place.name for place in stages(found)] == ["0.Conv2D", "2.Repeat/1.layers.1.ReLU", "4.Residual"]
    last = gradcam_layer(written(tmp_path, UNET))
    assert last is not None
    assert last.name == "4.Residual"


def test_gradcam_looks_before_the_image_is_pooled(tmp_path: Path) -> None:
    loaded = load_config(str(CONFIGS / "digits.yaml"))
    place = gradcam_layer(loaded)
    assert place is not None
    assert (place.name, place.size) == ("5.ReLU", (8, 8))


def test_a_network_without_images_has_no_stages(tmp_path: Path) -> None:
    loaded = written(tmp_path, "data: {name: digits}\nmodel: {layers: [Flatten, {Dense: classes}]}\n")
    assert stages(layer_outputs(loaded)) == []
    assert gradcam_layer(loaded) is None


def scoring_pixels(folder: Path, layers: str) -> LoadedConfig:
    """A network that gives each pixel of a 16x16 image one of three classes; there is no such data set."""
    path = folder / "net.yaml"
    data = "data: {folder: scenes, shape: [16, 16, 1], classes: 3, ignore: 9}"
    path.write_text(f"task: segmentation\n{data}\nmodel: {{layers: [{layers}]}}\n")
    return load_config(str(path), to_train=False)


CONV = "{Conv2D: {filters: 8, kernel_size: 3, padding: same}}"
SCORES = "{Conv2D: {filters: classes, kernel_size: 1}}"
UP = "{Conv2DTranspose: {filters: 4, kernel_size: 2, strides: 2}}"
DOWN = "{MaxPooling2D: 2}"


@pytest.mark.parametrize(
    ("layers", "name"),
    [
        # The bottom of a U, with its activation; of two at the same size, the last.
        (
            f"{CONV}, {{Branches: [[], [{DOWN}, {CONV}, {{Branches: [[], [{DOWN}, {CONV}, {CONV}, ReLU, "
            f"{{Dropout: 0.1}}, {UP}]]}}, {UP}]]}}, {CONV}, {SCORES}, Softmax",
            "1.Branches/paths.1.2.Branches/paths.1.4.Dropout",
        ),
        # Layers that only score are passed over, and so is what comes after the scores.
        (f"{CONV}, {DOWN}, {CONV}, ReLU, {SCORES}, {{UpSampling2D: 2}}, Softmax", "3.ReLU"),
        (f"{CONV}, ReLU, {SCORES}, Softmax", "1.ReLU"),
        (f"{CONV}, ReLU, {{Conv2D: {{filters: 6, kernel_size: 1}}}}, {{Maxout: classes}}, Softmax", "2.Conv2D"),
        (f"{SCORES}, Softmax", "0.Conv2D"),
        # Paths at one size count as one layer; a path that pools and comes back is entered.
        (
            f"{CONV}, {DOWN}, {{Residual: [{CONV}, ReLU, {CONV}]}}, ReLU, {{UpSampling2D: 2}}, {SCORES}, Softmax",
            "3.ReLU",
        ),
        (
            f"{{Residual: [{DOWN}, {CONV}, {{Conv2DTranspose: {{filters: 1, kernel_size: 2, strides: 2}}}}]}}, {CONV}, "
            f"{SCORES}, Softmax",
            "0.Residual/layers.1.Conv2D",
        ),
    ],
)
def test_gradcam_of_pixels_looks_at_the_bottom(layers: str, name: str, tmp_path: Path) -> None:
    place = gradcam_layer(scoring_pixels(tmp_path, layers))
    assert place is not None
    assert place.name == name


@pytest.mark.parametrize(
    "name",
    [
        "cifar10_resnet20",
        pytest.param("cifar10_densenet_small", marks=pytest.mark.long),
        pytest.param("cifar10_googlenet_small", marks=pytest.mark.long),
        "unet",
    ],
)
def test_taps_read_what_the_network_computes(name: str, tmp_path: Path) -> None:
    """The last image of the network, put through Keras' own rest of it, gives the network's output."""
    import keras

    from cnnkit.inside.taps import taps

    loaded = (
        written(tmp_path, UNET)
        if name == "unet"
        else load_config(str(CONFIGS / f"{name}.yaml"), ["training.dtype_policy=float32"])
    )
    model = built(loaded)
    found = [place for place in layer_outputs(loaded) if place.is_image]
    images = np.random.default_rng(1).uniform(0, 255, (2, *loaded.info.shape)).astype(np.float32)
    tapped = taps(model, [place.name for place in found])
    outputs, *read = [np.asarray(one) for one in tapped(images, training=False)]
    np.testing.assert_allclose(outputs, model(images, training=False), rtol=1e-5, atol=1e-6)
    for place, values in zip(found, read, strict=True):
        assert values.shape[1:] == place.output_shape
    # What comes after a layer of the outermost stack is a plain list of Keras' layers.
    outer = [layer.name for layer in model.layers]
    last = found[-1]
    rest = keras.Sequential(model.layers[outer.index(last.name.split("/")[0]) + 1 :])
    again = rest(read[found.index(last)], training=False)
    np.testing.assert_allclose(outputs, again, rtol=1e-5, atol=1e-6)


def test_taps_inside_composites_read_every_path(tmp_path: Path) -> None:
    """The paths of a branch, concatenated with NumPy, are what the branch outputs."""
    from cnnkit.inside.taps import taps

    loaded = written(tmp_path, UNET)
    model = built(loaded)
    images = np.random.default_rng(1).uniform(0, 255, (2, 8, 8, 1)).astype(np.float32)
    names = ["0.Conv2D", "1.Branches/paths.1.2.Conv2DTranspose", "1.Branches", "4.Residual/layers.1.BatchNormalization"]
    _, before, path, branches, main = [np.asarray(one) for one in taps(model, names)(images, training=False)]
    np.testing.assert_array_equal(np.concatenate([before, path], axis=-1), branches)
    _, pooled, residual = [
        np.asarray(one) for one in taps(model, ["3.MaxPooling2D", "4.Residual"])(images, training=False)
    ]
    np.testing.assert_allclose(np.maximum(main + pooled, 0), residual, rtol=1e-5)


def test_a_name_that_does_not_exist_gets_the_nearest_one(tmp_path: Path) -> None:
    from cnnkit.inside.taps import taps

    loaded = written(tmp_path, UNET)
    with pytest.raises(CnnkitError, match=r"no layer `4\.Residul`") as error:
        taps(built(loaded), ["4.Residul"])
    assert "4.Residual" in error.value.hint
    with pytest.raises(UsageError, match=r"no layer `2\.Repeat/0\.layers\.0\.Conv`") as unknown:
        way_to(loaded, "2.Repeat/0.layers.0.Conv")
    assert "2.Repeat/0.layers.0.Conv2D" in unknown.value.hint
    with pytest.raises(UsageError, match=r"`6\.Dense` outputs no image"):
        way_to(loaded, "6.Dense")


def test_the_first_stage_is_that_of_the_first_kernel(tmp_path: Path) -> None:
    """Neither the image in another order of axes nor after dropout is a feature map."""
    text = """
data: {name: digits}
model:
  layers: [{Dropout: 0.1}, {Permute: [3, 1, 2]}, {Conv2D: {filters: 4, kernel_size: 3, data_format: channels_first}},
           {MaxPooling2D: {pool_size: 2, data_format: channels_first}}, Flatten, {Dense: classes}]
"""
    assert [place.name for place in stages(layer_outputs(written(tmp_path, text)))] == ["2.Conv2D", "3.MaxPooling2D"]


def convolution(kernel_size: str, options: str = "") -> str:
    return f"{{Conv2D: {{filters: 2, kernel_size: {kernel_size}{options}}}}}"


@pytest.mark.parametrize(
    "layers",
    [
        [convolution("3", ", strides: 2"), convolution("2")],
        [convolution("3", ", padding: same"), "{AveragePooling2D: 2}", convolution("[1, 3]")],
        [convolution("3", ", dilation_rate: 2"), "{Permute: [2, 1, 3]}", convolution("[1, 2]")],
        [
            f"{{Repeat: {{times: 2, layers: [{convolution('2')}]}}}}",
            f"{{Residual: {{layers: [{convolution('3', ', padding: same')}]}}}}",
        ],
    ],
)
def test_a_window_holds_exactly_the_pixels_that_an_output_depends_on(layers: list[str], tmp_path: Path) -> None:
    text = f"data: {{name: digits}}\nmodel:\n  layers: [{', '.join(layers)}, Flatten, {{Dense: classes}}]\n"
    loaded = written(tmp_path, text)
    check_windows(loaded, [place for place in layer_outputs(loaded) if place.is_image])


@pytest.mark.parametrize(
    "name",
    [
        "1.Branches/paths.1.1.Conv2D",
        "1.Branches/paths.1.2.Conv2DTranspose",
        "2.Repeat/1.layers.0.Conv2D",
        "4.Residual/layers.0.Conv2D",
        "4.Residual",
    ],
)
def test_the_way_to_a_layer_inside_others_ends_at_it(name: str, tmp_path: Path) -> None:
    loaded = written(tmp_path, UNET)
    way = way_to(loaded, name)
    assert way[-1].name == name
    check_windows(loaded, way)


def test_a_repetition_stands_for_the_last_layer_in_it(tmp_path: Path) -> None:
    assert way_to(written(tmp_path, UNET), "2.Repeat")[-1].name == "2.Repeat/1.layers.1.ReLU"


def test_a_block_inside_others_stands_for_the_last_layer_in_it(tmp_path: Path) -> None:
    text = UNET.replace("model:", "model:\n  blocks: {conv: {layers: [{Conv2D: {filters: 6, kernel_size: 3}}, ReLU]}}")
    inner = "{Repeat: {times: 1, layers: [conv, {ZeroPadding2D: 1}]}}"
    loaded = written(tmp_path, text.replace("{Conv2D: {filters: 6, kernel_size: 3, padding: same}}", inner))
    way = way_to(loaded, "1.Branches/paths.1.1.Repeat/0.layers.0.conv")
    assert [place.name for place in way[-2:]] == [
        "1.Branches/paths.1.1.Repeat/0.layers.0.conv/layers.0.Conv2D",
        "1.Branches/paths.1.1.Repeat/0.layers.0.conv/layers.1.ReLU",
    ]
    check_windows(loaded, way)


def check_windows(loaded: LoadedConfig, way: Sequence[LayerOutput]) -> None:
    """The windows of the last place against the gradient of its output with respect to the input, by TensorFlow."""
    import tensorflow as tf

    from cnnkit.inside.taps import taps

    place = way[-1]
    network = taps(built(loaded), [place.name])
    images = tf.constant(np.random.default_rng(1).uniform(0, 255, (1, 8, 8, 1)).astype(np.float32))
    for row, column in ((0, 0), (place.size[0] // 2, place.size[1] - 1)):
        with tf.GradientTape() as tape:
            tape.watch(images)
            maps = network(images, training=False)[1]
            output = tf.reduce_sum(
                tf.transpose(maps, [0, *(1 + place.order.index(axis) for axis in range(3))])[0, row, column]
            )
        seen = np.abs(tape.gradient(output, images).numpy()[0, ..., 0]) > 0
        rows, columns = input_window(way, place, row, column)
        within = np.zeros((8, 8), bool)
        within[max(rows.start, 0) : rows.stop, max(columns.start, 0) : columns.stop] = True
        used_rows, used_columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        assert not seen[~within].any()
        expected = np.flatnonzero(within.any(axis=1)), np.flatnonzero(within.any(axis=0))
        assert (used_rows[0], used_rows[-1]) == (expected[0][0], expected[0][-1])
        assert (used_columns[0], used_columns[-1]) == (expected[1][0], expected[1][-1])
