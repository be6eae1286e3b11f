"""The weights that backbones begin with: read as Keras wrote them, refused where they do not fit, fetched or missed."""

from __future__ import annotations

import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import keras
import numpy as np
import pytest

from cnnkit.errors import CnnkitError
from cnnkit.layers.backbone import Backbone
from cnnkit.layers.backbone_graph import NETWORKS, WeightFile, read_network
from cnnkit.layers.base import Scope, Seeds
from cnnkit.training.backbone_files import read_arrays
from cnnkit.training.imagenet import cache_folder, fetch_imagenet
from cnnkit.training.model import weights_by_path

NAME = "MobileNetV3Small"
SHAPE = (40, 32, 3)
UNTIL = "expanded_conv_2_add"


def backbone(name: str = NAME, **arguments: Any) -> Backbone:
    return Backbone.model_validate({"name": name, "weights": None, **arguments})


def randomized(model: Any) -> Any:
    generator = np.random.default_rng(5)
    for weight in model.weights:
        if weight.dtype == "float32":
            weight.assign(generator.uniform(0.5, 1.5, weight.shape))
    return model


@pytest.fixture(scope="module")
def network() -> Any:
    """Keras' own network with weights that nothing else has."""
    return randomized(keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=SHAPE))


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    return tmp_path / "keras" / "models"


def check_equal(arrays: dict[str, np.ndarray], model: Any) -> None:
    """All of a backbone's weights, and those of the layers of Keras' network."""
    layers = {layer.name: layer for layer in model.layers}
    for path, array in arrays.items():
        layer, weight = path.split("/")
        (wanted,) = (w for w in layers[layer].weights if w.name == weight)
        np.testing.assert_array_equal(array, wanted, err_msg=path)


@pytest.mark.long
def test_weights_of_keras_are_read_from_both_of_its_formats(network: Any, tmp_path: Path) -> None:
    network.save_weights(tmp_path / "own.weights.h5")
    # As the files that keras.applications downloads are.
    with h5py.File(tmp_path / "old.h5", "w") as file:
        keras.src.legacy.saving.legacy_h5_format.save_weights_to_hdf5_group(file, network)
    for name in ("own.weights.h5", "old.h5"):
        layer = backbone(until=UNTIL)
        arrays = read_arrays(tmp_path / name, layer, SHAPE)
        assert set(arrays) == {weight.name for weight in layer.variables(SHAPE)}
        check_equal(arrays, network)


@pytest.mark.parametrize("nested", [pytest.param(False, marks=pytest.mark.long), True])
def test_a_model_that_has_the_network_gives_its_weights(network: Any, tmp_path: Path, nested: bool) -> None:
    inputs = keras.Input(SHAPE)
    features = network(inputs) if nested else network.output
    outputs = keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(features))
    keras.Model(inputs if nested else network.inputs, outputs).save(tmp_path / "model.keras")
    layer = backbone()
    arrays = read_arrays(tmp_path / "model.keras", layer, SHAPE)
    assert set(arrays) == {weight.name for weight in layer.variables(SHAPE)}
    check_equal(arrays, network)


@pytest.mark.long
def test_layers_that_keras_has_numbered_are_found_by_their_order(network: Any, tmp_path: Path) -> None:
    renamed = keras.models.clone_model(
        network, clone_function=lambda layer: type(layer).from_config(layer.get_config() | {"name": f"x_{layer.name}"})
    )
    renamed.set_weights(network.get_weights())
    renamed.save(tmp_path / "model.keras")
    check_equal(read_arrays(tmp_path / "model.keras", backbone(), SHAPE), network)


def test_what_does_not_fit_is_refused_with_what_does_not(network: Any, tmp_path: Path) -> None:
    network.save_weights(tmp_path / "own.weights.h5")
    with pytest.raises(CnnkitError, match="does not hold the weights of VGG16 without its classifier"):
        read_arrays(tmp_path / "own.weights.h5", backbone("VGG16"), SHAPE)
    keras.Sequential([keras.Input(SHAPE), keras.layers.Conv2D(16, 5, name="conv")]).save(tmp_path / "other.keras")
    with pytest.raises(
        CnnkitError, match=r"does not hold MobileNetV3Small: the layer conv has the weights kernel"
    ) as bad:
        read_arrays(tmp_path / "other.keras", backbone(), SHAPE)
    assert "conv needs kernel [3, 3, 3, 16]" in str(bad.value)
    (tmp_path / "broken.keras").write_text("no model")
    with pytest.raises(CnnkitError, match="Keras cannot read the model"):
        read_arrays(tmp_path / "broken.keras", backbone(), SHAPE)


@pytest.mark.long
def test_efficientnet_of_imagenet_computes_what_keras_does(tmp_path: Path) -> None:
    """Keras builds another network for these weights: with a Rescaling after the Normalization.

    They are read from their file, and from that of a model.
    """
    shape = (64, 48, 3)
    plain = randomized(keras.applications.EfficientNetB0(include_top=False, weights=None, input_shape=shape))
    normalization = next(one for one in plain.layers if isinstance(one, keras.layers.Normalization))
    constants = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225], 0)
    normalization.set_weights([np.array(values) for values in constants])
    file = tmp_path / "weights.h5"
    with h5py.File(file, "w") as stream:
        keras.src.legacy.saving.legacy_h5_format.save_weights_to_hdf5_group(stream, plain)
    with mock.patch("keras.src.utils.file_utils.get_file", return_value=str(file)):
        truth = keras.applications.EfficientNetB0(include_top=False, weights="imagenet", input_shape=shape)
    assert len(truth.layers) == len(plain.layers) + 1
    truth.save(tmp_path / "model.keras")
    layer = backbone("EfficientNetB0")
    built = layer.build(Scope("x", shape, Seeds(0)))
    variables = weights_by_path(built)
    images = np.random.default_rng(0).uniform(0, 255, (2, *shape)).astype("float32")
    wanted = truth(images, training=False)
    for source in (file, tmp_path / "model.keras"):
        for weight in built.weights:
            weight.assign(np.zeros(weight.shape))
        for path, array in read_arrays(source, layer, shape).items():
            variables[path].assign(array)
        np.testing.assert_allclose(built(images, training=False), wanted, rtol=1e-4)


# --- The download ---------------------------------------------------------------------------------------


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The address of a folder of files."""
    folder = tmp_path / "served"
    folder.mkdir()
    (folder / "weights.h5").write_bytes(b"learned")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_weights_are_downloaded_once_to_where_keras_looks(server: str, cache: Path) -> None:
    md5 = hashlib.md5(b"learned").hexdigest()
    file = fetch_imagenet(NAME, WeightFile("own.h5", f"{server}/weights.h5", md5))
    assert file == cache / "own.h5"
    # Keras finds it there, and asks nobody.
    options = {"cache_dir": str(cache.parent), "cache_subdir": "models", "file_hash": md5}
    assert keras.utils.get_file("own.h5", "http://127.0.0.1:9/", **options) == str(file)
    assert fetch_imagenet(NAME, WeightFile("own.h5", "http://127.0.0.1:9/", md5)) == file


def test_another_file_than_keras_knows_is_not_kept(server: str, cache: Path) -> None:
    with pytest.raises(CnnkitError, match="another MD5"):
        fetch_imagenet(NAME, WeightFile("own.h5", f"{server}/weights.h5", "0" * 32))
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize("silent", [False, pytest.param(True, marks=pytest.mark.long)])
def test_without_a_network_there_are_three_ways_out(cache: Path, silent: bool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/weights.h5"
        if not silent:
            listening.close()
        with pytest.raises(CnnkitError) as caught:
            fetch_imagenet(NAME, WeightFile("own.h5", url, None), stall_seconds=2)
    for way in ("connect to the network", f"download {url}", str(cache / "own.h5"), "`weights: null`"):
        assert way in str(caught.value)
    assert ("no byte has arrived" in str(caught.value)) == silent


def test_the_files_are_those_that_keras_chooses() -> None:
    network = read_network("MobileNet")
    assert network.file_for((128, 128, 3)).file == "mobilenet_1_0_128_tf_no_top.h5"
    assert (
        network.file_for((128, 160, 3)).file == network.file_for((300, 300, 3)).file == "mobilenet_1_0_224_tf_no_top.h5"
    )
    for name in NETWORKS:
        assert all(file.url.endswith(file.file) or "nasnet" in file.url for file in read_network(name).files), name


def test_the_cache_is_that_of_keras(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("KERAS_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".keras" / "models"
