"""Random layers of a replica, which has a part of the batch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkit.layers import LAYERS, shared_draws
from cnnkit.layers.base import Scope, Seeds, Sharing
from cnnkit.layers.dropout import RandomLayer
from cnnkit.machine.shares import Share, working_on

WHOLE = (11, 5, 4, 3)


@settings(max_examples=30, deadline=None)
@given(
    st.integers(1, 40),
    st.data(),
    st.lists(st.integers(1, 5), max_size=3),
    st.sampled_from(["float32", "bfloat16", "float16"]),
    st.sampled_from(["uniform", "normal"]),
    st.integers(0, 2**31 - 1),
)
def test_a_share_draws_its_rows_of_the_whole(
    whole: int, data: Any, shape: list[int], dtype: str, kind: str, seed: int
) -> None:
    first = data.draw(st.integers(0, whole - 1))
    end = data.draw(st.integers(first, whole))
    public, kernel = {
        "uniform": (tf.random.stateless_uniform, tf.raw_ops.StatelessRandomUniformV2),
        "normal": (tf.random.stateless_normal, tf.raw_ops.StatelessRandomNormalV2),
    }[kind]
    key = tf.constant([seed, 3])
    with working_on(Share(first, end - first, whole, 2, whole)):
        drawn = shared_draws.draw(kernel, [end - first, *shape], dtype, key)
    expected = public([whole, *shape], key, dtype=dtype)[first:end]
    np.testing.assert_array_equal(tf.cast(drawn, tf.float32), tf.cast(expected, tf.float32))


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("Dropout", {"rate": 0.4}),
        ("Dropout", {"rate": 0.0}),
        ("Dropout", {"rate": 1.0}),
        ("Dropout", {"rate": 0.4, "noise_shape": [None, 1, 1, None]}),
        ("Dropout", {"rate": 0.4, "noise_shape": [1, None, None, None]}),
        ("SpatialDropout2D", {"rate": 0.4}),
        ("SpatialDropout2D", {"rate": 0.4, "data_format": "channels_first"}),
        ("SpatialDropout1D", {"rate": 0.4}),
        ("SpatialDropout3D", {"rate": 0.4}),
        ("GaussianNoise", {"stddev": 0.3}),
        ("GaussianDropout", {"rate": 0.4}),
        ("AlphaDropout", {"rate": 0.4}),
        ("AlphaDropout", {"rate": 0.4, "noise_shape": [None, 1, 1, None]}),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "mixed_bfloat16"])
def test_layers_do_to_a_share_what_keras_does_to_the_whole(kind: str, arguments: dict[str, Any], dtype: str) -> None:
    shape = {"1": (11, 20, 3), "3": (11, 5, 2, 2, 3)}.get(kind[-2], WHOLE)
    images = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    theirs = getattr(keras.layers, kind)(**arguments, seed=5, dtype=dtype)
    # Several calls: each has draws of its own.
    whole = [np.asarray(tf.cast(theirs(images, training=True), tf.float32)) for _ in range(2)]
    ours = getattr(shared_draws, kind)(**arguments, seed=5, dtype=dtype)
    for expected in whole:
        with working_on(Share(4, 5, len(images), 2, len(images))):
            shared = ours(images[4:9], training=True)
        np.testing.assert_allclose(tf.cast(shared, tf.float32), expected[4:9], rtol=1e-6, atol=1e-7)
    np.testing.assert_array_equal(ours(images[:2], training=False), theirs(images[:2], training=False))


RANDOM = [layer for name in LAYERS.names() if issubclass(layer := LAYERS.get(name) or object, RandomLayer)]


@pytest.mark.parametrize("layer", RANDOM, ids=lambda layer: layer.__name__)
def test_every_random_layer_has_a_shared_form(layer: type[RandomLayer]) -> None:
    value = 0.3
    scope = Scope("layer", WHOLE[1:], Seeds(0), sharing=Sharing(draws=True))
    built = layer.model_validate({layer.leading: value}).build(scope)
    assert type(built).__module__ == shared_draws.__name__
    assert isinstance(built, getattr(keras.layers, layer.__name__))
