"""Padding behind a text changes no answer, held against windows over the words alone, counted out in NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray
from review_texts import text_config, write_reviews

from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.training.model import build_model, without_training_state


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_reviews(tmp_path_factory.mktemp("texts"), 24)


def loaded(table: Path, length: int) -> LoadedConfig:
    config = text_config(table)
    config["data"]["length"] = length
    file = table.parent / f"length-{length}.yaml"
    file.write_text(yaml.safe_dump(config))
    return load_config(str(file))


def build(table: Path, length: int) -> Any:
    config = loaded(table, length)
    return without_training_state(build_model(config.config, config.steps, config.info.target, None))


def probabilities(model: Any, ids: list[int]) -> NDArray[np.float64]:
    """What the network says of words alone: zeros around them without end, and the largest over all windows."""
    weights = {weight.path: weight.numpy().astype(np.float64) for weight in model.weights}
    (vectors,) = (value for path, value in weights.items() if "embedding" in path)
    kernels = [value for value in weights.values() if value.ndim == 3]
    biases = [value for path, value in weights.items() if "Conv1D" in path and value.ndim == 1]
    features = []
    for kernel, bias in zip(kernels, biases, strict=True):
        around = np.zeros((len(kernel), vectors.shape[1]))
        rows = np.concatenate([around, vectors[ids], around])
        windows = [rows[start : start + len(kernel)] for start in range(len(rows) - len(kernel) + 1)]
        outputs = [np.tensordot(window, kernel, axes=2) + bias for window in windows]
        features.append(np.maximum(outputs, 0).max(axis=0))
    kernel, bias = (value for path, value in weights.items() if "Dense" in path)
    scores = np.exp(np.concatenate(features) @ kernel + bias)
    return scores / scores.sum()


LONG = [pytest.param(words, marks=pytest.mark.long) for words in (0, 1, 12)]


@pytest.mark.parametrize("words", [7, *LONG])
def test_padding_changes_no_answer(table: Path, words: int) -> None:
    random = np.random.default_rng(words)
    ids = random.integers(1, 40, words).tolist()
    short, long = build(table, 12), build(table, 50)
    for weight in short.weights:
        if weight.shape[-1] < 30:
            # Biases begin as zeros, with which a window of zeros would be the smallest possible.
            weight.assign_add(random.normal(0, 0.3, weight.shape))
    vectors = short.weights[0].numpy()
    vectors[0] = 0
    short.weights[0].assign(vectors)
    long.set_weights(short.get_weights())
    expected = probabilities(short, ids)
    for model, length in ((short, 12), (long, 50)):
        said = model(np.array([ids + [0] * (length - words)], np.int32)).numpy()[0]
        np.testing.assert_allclose(said, expected, rtol=1e-5)


def test_the_vector_of_padding_stays_zeros_and_what_is_saved_is_keras_own(table: Path, tmp_path: Path) -> None:
    import keras

    config = loaded(table, 12)
    model = build_model(config.config, config.steps, config.info.target, None)
    model.compile(keras.optimizers.AdamW(0.1, weight_decay=0.1), "categorical_crossentropy")
    random = np.random.default_rng(0)
    texts = random.integers(0, 40, (64, 12)).astype(np.int32)
    model.fit(texts, np.eye(2)[random.integers(0, 2, 64)], epochs=2, verbose=0)
    plain = without_training_state(model)
    vectors = plain.weights[0].numpy()
    assert not vectors[0].any()
    assert (np.abs(vectors[1:]).max(axis=1) > 0).all()
    assert type(plain.layers[0]) is keras.layers.Embedding
    plain.save(tmp_path / "model.keras")
    opened = keras.models.load_model(tmp_path / "model.keras")
    assert (opened.inputs[0].dtype, opened.inputs[0].name) == ("int32", "text")
    np.testing.assert_allclose(opened(texts), model(texts), rtol=1e-5)
