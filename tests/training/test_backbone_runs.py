"""Runs whose network has a backbone: trained, saved for plain Keras, resumed without what they began with."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from image_folders import write_images
from trainings import rows, run_training

from cnnkit.config.load import load_config
from cnnkit.errors import CnnkitError, ConfigError
from cnnkit.layers.backbone_graph import NETWORKS, read_network
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import evaluate_run
from cnnkit.runs.trained import open_run
from cnnkit.terminal.console import Console
from cnnkit.training.initial_weights import match_weights, open_source
from cnnkit.training.model import weights_by_path
from cnnkit.training.train import resume, train

#: What is trained of a network: each layer more takes seconds, in graphs that are made anew by the test.
MOST_LAYERS = 20

UNTIL = "expanded_conv_project_bn"


def write_photos(folder: Path) -> None:
    """Few images: of some networks, the gradients of the first layers take minutes for those of a small data set."""
    write_images(folder / "photos", "ab", count=30, size=(32, 32), mode="RGB")


@pytest.fixture(autouse=True)
def _photos(tmp_path: Path) -> None:
    write_photos(tmp_path)


def config(name: str = "MobileNetV3Small", epochs: int = 1, **arguments: Any) -> dict[str, Any]:
    """Photos through a backbone."""
    return {
        "seed": 1,
        "data": {"folder": "photos", "batch_size": 16},
        "model": {
            "layers": [
                {"Backbone": {"name": name, **arguments}},
                "GlobalAveragePooling2D",
                {"Dense": {"units": "classes", "activation": "softmax"}},
            ]
        },
        "training": {"epochs": epochs, "tensorboard": False},
    }


#: Run without cnnkit: what saved models compute, in plain Keras. A line names the files of each; one answers it.
PLAIN = """
import json, sys
sys.modules["cnnkit"] = None
import keras, numpy as np
for line in sys.stdin:
    model, images, outputs = json.loads(line)
    np.save(outputs, keras.models.load_model(model)(np.load(images), training=False))
    assert not [name for name in sys.modules if name.startswith("cnnkit.")]
    print("done", flush=True)
"""


@pytest.fixture(scope="module")
def plain_keras() -> Iterator[Callable[[Path, Path, Path], None]]:
    """Has a process without cnnkit write what a model computes of images."""
    command = [sys.executable, "-c", PLAIN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        requests, answers = process.stdin, process.stdout
        assert requests is not None
        assert answers is not None

        def compute(model: Path, images: Path, outputs: Path) -> None:
            requests.write(json.dumps([str(model), str(images), str(outputs)]) + "\n")
            requests.flush()
            assert answers.readline() == "done\n"

        yield compute
        requests.close()
        assert process.wait() == 0


@pytest.mark.long
@pytest.mark.parametrize("name", ["MobileNetV2", "VGG16", "DenseNet121", "EfficientNetV2B0", "ConvNeXtTiny"])
def test_a_trained_backbone_opens_in_plain_keras(
    name: str, plain_keras: Callable[[Path, Path, Path], None], tmp_path: Path
) -> None:
    """The first layers of one of each preprocessing: they train, are saved, and compute in a process without cnnkit
    what Keras' own do.
    """
    shape = (32, 32, 3)
    network = getattr(keras.applications, name)(include_top=False, weights=None, input_shape=shape)
    operations = network.operations[1:]
    last = next(
        place
        for place in range(min(len(operations) // 3, MOST_LAYERS), 0, -1)
        if len(operations[place].output.shape) == 4
    )
    truth = keras.Model(network.inputs[0], operations[last].output)
    run = run_training(tmp_path, config(name, weights=None, until=read_network(name).nodes[last].name), "run")
    images = np.random.default_rng(0).integers(0, 256, (4, *shape)).astype("float32")
    np.save(tmp_path / "images.npy", images)
    plain_keras(run.model, tmp_path / "images.npy", tmp_path / "outputs.npy")
    outputs = np.load(tmp_path / "outputs.npy")

    model = keras.models.load_model(run.model)
    inner = model.get_layer(name)
    # Both have the layers in one order, and the preprocessing has no weights.
    truth.set_weights(inner.get_weights())
    preprocess = getattr(keras.applications, NETWORKS[name]).preprocess_input
    features = np.asarray(truth(preprocess(images.copy()), training=False)).mean((1, 2))
    kernel, bias = model.layers[-1].get_weights()
    logits = features @ kernel + bias
    wanted = np.exp(logits - logits.max(-1, keepdims=True))
    wanted /= wanted.sum(-1, keepdims=True)
    np.testing.assert_allclose(outputs, wanted, rtol=1e-3, atol=1e-5)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a whole network, as Keras saves them."""
    file = tmp_path_factory.mktemp("learned") / "own.weights.h5"
    network = keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(32, 32, 3))
    for weight in network.weights:
        weight.assign(np.abs(weight) + 0.01)
    network.save_weights(file)
    return file


@pytest.mark.long
def test_a_run_that_began_with_learned_weights_needs_them_no_more(learned: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.weights.h5"
    file.write_bytes(learned.read_bytes())
    run = run_training(tmp_path, config(weights=str(file), until=UNTIL, trainable=False), "run")
    noted = run.read_environment()["learned_weights"]
    assert [entry["file"] for entry in noted] == [str(file)]
    assert len(noted[0]["sha256"]) == 64
    before = weights_by_path(keras.models.load_model(run.model))
    file.unlink()
    resumed = resume(str(run.path), None, ("training.epochs=2",), Console(stream=io.StringIO())).run
    assert len(rows(resumed)) == 2
    assert 0 <= evaluate_run(open_run(resumed))["accuracy"] <= 1
    after = weights_by_path(keras.models.load_model(run.model))
    frozen = [path for path in after if path.startswith("MobileNetV3Small/")]
    assert len(frozen) > 10
    for path in frozen:
        np.testing.assert_array_equal(before[path], after[path], err_msg=path)
    kernel = np.asarray(after["MobileNetV3Small/conv/kernel"])
    assert (kernel > 0).all(), "the weights are those of the file"


@pytest.mark.long
def test_statistics_that_were_learned_stay_in_training(learned: Path, tmp_path: Path) -> None:
    run = run_training(tmp_path, config(weights=str(learned), until=UNTIL), "run")
    model = keras.models.load_model(run.model)
    truth = keras.applications.MobileNetV3Small(include_top=False, weights=None, input_shape=(32, 32, 3))
    truth.load_weights(learned)
    ours, theirs = (one.get_layer("conv_bn").get_weights() for one in (model.get_layer("MobileNetV3Small"), truth))
    for place, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        # Scale and offset are trained; mean and variance are not.
        assert np.array_equal(one, other) == (place >= 2)


@pytest.fixture(scope="module")
def first(learned: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that began with the learned weights; tests only read it."""
    folder = tmp_path_factory.mktemp("first")
    write_photos(folder)
    return run_training(folder, config(weights=str(learned), until=UNTIL, trainable=False), "first")


@pytest.mark.long
def test_a_backbone_begins_with_that_of_a_run(first: Run, tmp_path: Path) -> None:
    second = run_training(tmp_path, config(weights=str(first.path), until=UNTIL, trainable=False), "second")
    one, other = (weights_by_path(keras.models.load_model(run.model)) for run in (first, second))
    for path in one:
        if path.startswith("MobileNetV3Small/"):
            np.testing.assert_array_equal(one[path], other[path])
    with pytest.raises(ConfigError, match=f"only until {UNTIL}, and not"):
        run_training(tmp_path, config(weights=str(first.path), until="expanded_conv_2_add"), "third")
    with pytest.raises(ConfigError, match="has no VGG16; it has only MobileNetV3Small"):
        run_training(tmp_path, config("VGG16", weights=str(first.path)), "fourth")


@pytest.mark.long
def test_what_comes_from_a_run_needs_no_file(first: Run, learned: Path, tmp_path: Path) -> None:
    """`--init-from` a run that has all of the backbone: its own weights are not asked for."""
    file = tmp_path / "net.yaml"
    file.write_text((first.path / "config.yaml").read_text().replace(str(learned), str(tmp_path / "gone.h5")))
    loaded = load_config(str(file))
    initial = match_weights(open_source(str(first.path)), loaded)
    run = train(loaded, Console(stream=io.StringIO()), str(tmp_path / "again"), initial=initial).run
    assert "learned_weights" not in run.read_environment()


def test_a_file_that_is_not_there_is_refused_before_the_data_are_read(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"net\.yaml:\d+:\d+  model\.layers\[0\]\.Backbone\.weights\n  there is no file"
    ):
        run_training(tmp_path, config(weights="gone.weights.h5"), "run")
    (tmp_path / "photo.jpg").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"`photo\.jpg` is neither a file of weights"):
        run_training(tmp_path, config(weights=str(tmp_path / "photo.jpg")), "run")
    with pytest.raises(ConfigError, match="is no run"):
        run_training(tmp_path, config(weights=str(tmp_path)), "run")
    assert not Run(tmp_path / "run").path.exists()


def test_a_file_that_does_not_fit_is_refused_with_what_does_not(tmp_path: Path) -> None:
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(tmp_path / "other.keras")
    with pytest.raises(CnnkitError, match=r"does not hold MobileNetV3Small until .*: "):
        run_training(tmp_path, config(weights=str(tmp_path / "other.keras"), until=UNTIL), "run")
    assert not Run(tmp_path / "run").path.exists()
