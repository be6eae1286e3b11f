"""Every shipped config loads, inspects, builds, trains a step, saves and opens again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cnnkit.config.load import load_config
from cnnkit.data import split_from_arrays
from cnnkit.layers.stack import trace
from cnnkit.model import measure_initial_weights, normalization_constants, without_training_state
from cnnkit.runtime import choose
from cnnkit.summary import summarize
from cnnkit.train import compile_model

CONFIGS = sorted((Path(__file__).parent.parent / "configs").glob("*.yaml"))


@pytest.mark.parametrize("file", CONFIGS, ids=lambda path: path.stem)
def test_shipped_config_trains_a_step(file: Path, tmp_path: Path) -> None:
    """On random images of the declared shape; layer by layer, Keras agrees with what `inspect` says."""
    import keras

    loaded = load_config(str(file))
    config, info = loaded.config, loaded.info
    summary = summarize(loaded)
    chosen = choose(config.training, [s.layer for s in trace(config.model.layers, info.shape, info.classes)], 10)
    statistics = ([120.0] * info.shape[-1], [3600.0] * info.shape[-1])
    model, _ = compile_model(config, info.shape, info.classes, normalization_constants(config, statistics), chosen, 10)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4, *info.shape), dtype=np.uint8)
    measure_initial_weights(model, split_from_arrays(images, np.arange(4)))

    assert model.count_params() == summary.parameters
    for row, layer in zip(summary.rows, model.layers[1:], strict=True):
        assert tuple(layer.output.shape[1:]) == row.output_shape
        assert layer.count_params() == row.parameters

    labels = np.eye(info.classes, dtype=np.float32)[random.integers(0, info.classes, 4)]
    before = [np.asarray(weight) for weight in model.trainable_variables]
    history = model.fit(images, labels, batch_size=2, verbose=0, shuffle=False)
    assert np.isfinite(history.history["loss"]).all()
    changed = [not np.array_equal(a, np.asarray(b)) for a, b in zip(before, model.trainable_variables, strict=True)]
    assert all(changed)

    path = tmp_path / "model.keras"
    without_training_state(model).save(path)
    again = keras.models.load_model(path)
    np.testing.assert_allclose(again.predict(images, verbose=0), model.predict(images, verbose=0), rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("file", CONFIGS, ids=lambda path: path.stem)
def test_shipped_config_says_what_it_is_for(file: Path) -> None:
    first = file.read_text().split("\n", 1)[0]
    assert first.startswith("# ")
    assert len(first) > 20


def test_alexnet_has_the_sizes_of_the_paper() -> None:
    """Krizhevsky 2012, with the 227x227 input that its arithmetic needs."""
    file = str(next(path for path in CONFIGS if path.stem == "imagenet_alexnet"))
    summary = summarize(load_config(file))
    shapes = [row.output_shape for row in summary.rows if row.type in ("Conv2D", "MaxPooling2D", "Dense")]
    assert shapes == [
        (55, 55, 96), (27, 27, 96), (27, 27, 256), (13, 13, 256), (13, 13, 384), (13, 13, 384), (13, 13, 256),
        (6, 6, 256), (4096,), (4096,), (1000,),
    ]  # fmt: skip
    assert summary.parameters == 62_378_344
    groups = [f"model.layers[{index}].Conv2D.groups=2" for index in (3, 7, 8)]
    two_towers = load_config(file, groups)
    # The paper's towers are connected in the third convolution alone.
    assert summarize(two_towers).parameters == 60_965_224
