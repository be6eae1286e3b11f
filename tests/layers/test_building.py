"""The Keras layers that cnnkit builds: seeds, names, types, CPUs without XLA."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from cnnkit.format.shapes import Shape
from cnnkit.layers import LAYERS
from cnnkit.layers.base import Layer, Scope, Seeds
from cnnkit.machine import tensorflow as runtime

from .truth import make, random_images, resolved

CONV: dict[str, Any] = {"filters": 4, "kernel_size": 3, "padding": "same"}
STACK: list[tuple[str, Any]] = [
    ("Conv2D", CONV),
    ("BatchNormalization", {"gamma_initializer": "RandomNormal"}),
    ("Conv2D", CONV),
    ("Conv2D", CONV | {"padding": 1}),
    ("Flatten", None),
    ("Dense", 5),
    ("Dense", 5),
]


def build(specs: list[tuple[str, Any]], shape: Shape = (8, 8, 4), seed: int = 0, dtype: str | None = None) -> Any:
    seeds = Seeds(seed)
    model = [keras.Input(shape)]
    for index, (name, arguments) in enumerate(specs):
        layer: Layer = resolved(name, arguments, shape)
        model.append(layer.build(Scope(f"{index}.{name}", shape, seeds, dtype)))
        shape = layer.output_shape(shape)
    return keras.Sequential(model)


def weights(model: Any) -> list[np.ndarray]:
    return [np.asarray(weight) for weight in model.weights]


def same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


# --- Seeds --------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_weights_and_another_seed_others() -> None:
    assert same(weights(build(STACK)), weights(build(STACK)))
    assert not same(weights(build(STACK)), weights(build(STACK, seed=1)))


def test_layers_alike_start_differently() -> None:
    kernels = [w for w in weights(build(STACK)) if w.shape == (3, 3, 4, 4)]
    assert len(kernels) == 3
    assert not np.array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[1], kernels[2])


@pytest.mark.parametrize(
    "inserted",
    [
        ("Dropout", 0.5),
        ("ReLU", None),
        ("LayerNormalization", {"gamma_initializer": "RandomNormal"}),
        ("Conv2D", CONV | {"kernel_size": 1}),
    ],
)
def test_inserting_a_layer_leaves_the_others_weights_alone(inserted: tuple[str, Any]) -> None:
    before = build(STACK)
    after = build([*STACK[:1], inserted, *STACK[1:]])
    kept = [layer for index, layer in enumerate(after.layers) if index != 1]
    assert same(weights(before), [w for layer in kept for w in weights(layer)])


def test_a_named_layer_keeps_its_weights_wherever_it_stands() -> None:
    first = build([("Conv2D", CONV | {"name": "mine"}), ("Conv2D", CONV)])
    last = build([("Conv2D", CONV), ("Conv2D", CONV | {"name": "mine"})])
    assert np.array_equal(weights(first.get_layer("mine"))[0], weights(last.get_layer("mine"))[0])


def test_dropout_layers_draw_apart() -> None:
    model = build([("Dropout", 0.5), ("Dropout", 0.5)])
    images = np.ones((1, 8, 8, 4), "float32")
    first, second = (np.asarray(layer(images, training=True)) for layer in model.layers)
    assert not np.array_equal(first, second)


# --- Names and types ----------------------------------------------------------------------------------

#: Every layer that is a sub-model, and some that are not.
OWN: list[tuple[str, Any]] = [
    ("Conv2D", {"filters": 6, "kernel_size": 3, "padding": 2, "groups": 2, "activation": "relu"}),
    ("LocalResponseNormalization", None),
    ("MaxPooling2D", {"pool_size": 3, "strides": 2, "padding": [[1, 0], [0, 1]]}),
    ("SeparableConv2D", {"filters": 8, "kernel_size": 3, "padding": "full"}),
    ("Maxout", 4),
    ("AveragePooling2D", {"pool_size": 2, "padding": 1}),
    ("DepthwiseConv2D", {"kernel_size": 2, "padding": [1, 0]}),
    ("Conv2DTranspose", {"filters": 3, "kernel_size": 3, "strides": 2, "padding": 1}),
    ("ChannelShuffle", 3),
    ("SqueezeExcite", {"ratio": 2, "gate_activation": "hard_sigmoid"}),
    ("LayerScale", 0.1),
    ("StochasticDepth", 0.1),
    ("PReLU", {"shared_axes": [1, 2], "alpha_initializer": {"Constant": 0.1}}),
    ("GroupNormalization", {"groups": 3}),
    ("Flatten", None),
    ("Dense", {"units": 6, "kernel_regularizer": {"L1": 1e-3}, "kernel_constraint": {"MaxNorm": 2}}),
    ("Maxout", 3),
    ("ChannelSplit", {"part": 2, "parts": 3}),
]


def run_python(code: str, *arguments: str, **environment: str) -> str:
    """The standard output of a fresh Python process."""
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    env |= {"KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1", **environment}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_sub_models_carry_the_layers_name_and_parameters() -> None:
    model = build(OWN, (12, 11, 4))
    assert [layer.name for layer in model.layers] == [f"{i}.{name}" for i, (name, _) in enumerate(OWN)]
    shape: Shape = (12, 11, 4)
    for built, (name, arguments) in zip(model.layers, OWN, strict=True):
        layer = resolved(name, arguments, shape)
        assert sum(layer.parameters(shape)) == built.count_params()
        shape = layer.output_shape(shape)
    assert tuple(model.output_shape[1:]) == shape


@pytest.mark.parametrize(
    "dtype",
    [
        "mixed_float16",
        pytest.param("mixed_bfloat16", marks=pytest.mark.long),
        pytest.param("float64", marks=pytest.mark.long),
    ],
)
def test_sub_models_follow_the_dtype_policy(dtype: str) -> None:
    model = build(OWN, (12, 11, 4), dtype=dtype)
    policies = {weight.dtype for layer in model.layers for weight in layer.weights if weight.name in ("kernel", "bias")}
    assert policies == {"float64" if dtype == "float64" else "float32"}
    output = model(random_images(2, 12, 11, 4))
    assert output.dtype.name == dtype.removeprefix("mixed_")
    assert np.isfinite(np.asarray(output).astype("float64")).all()


def test_a_padded_layers_penalty_reaches_the_model() -> None:
    model = build([("Conv2D", CONV | {"padding": 1, "kernel_regularizer": {"L2": 0.5}})])
    model(random_images(1, 8, 8, 4))
    kernel = weights(model)[0]
    np.testing.assert_allclose(float(sum(model.losses)), 0.5 * (kernel**2).sum(), rtol=1e-5)


# --- CPUs ---------------------------------------------------------------------------------------------

#: Layers that may not train on a CPU without XLA. The first axis is the channels where channels come first.
FIRST = {"data_format": "channels_first"}
CPU_CASES: list[tuple[str, Any]] = [
    ("Conv2D", {"filters": 2, "kernel_size": 3} | FIRST),
    ("Conv2D", {"filters": 2, "kernel_size": 3, "padding": 1} | FIRST),
    ("Conv2D", {"filters": 2, "kernel_size": 3, "groups": 2} | FIRST),
    ("Conv2D", {"filters": 2, "kernel_size": 3, "strides": [1, 2]}),
    ("Conv2D", {"filters": 2, "kernel_size": 3, "dilation_rate": 2}),
    ("DepthwiseConv2D", {"kernel_size": 3} | FIRST),
    ("DepthwiseConv2D", {"kernel_size": 3, "strides": [1, 2]}),
    ("DepthwiseConv2D", {"kernel_size": 3, "strides": [1, 2], "dilation_rate": 2}),
    ("SeparableConv2D", {"filters": 2, "kernel_size": 3} | FIRST),
    ("SeparableConv2D", {"filters": 2, "kernel_size": 3, "strides": [2, 1]}),
    ("Conv2DTranspose", {"filters": 2, "kernel_size": 3, "strides": [1, 2]}),
    ("Conv2DTranspose", {"filters": 2, "kernel_size": 3, "dilation_rate": [1, 2]}),
    ("Conv2DTranspose", {"filters": 2, "kernel_size": 3} | FIRST),
    ("MaxPooling2D", {"pool_size": 2} | FIRST),
    ("AveragePooling2D", {"pool_size": 2, "padding": 1} | FIRST),
    ("UpSampling2D", {"interpolation": "bilinear"} | FIRST),
    ("Conv1D", {"filters": 2, "kernel_size": 3} | FIRST),
    ("Conv1D", {"filters": 2, "kernel_size": 3, "groups": 2} | FIRST),
    ("DepthwiseConv1D", {"kernel_size": 3, "strides": 2} | FIRST),
    ("SeparableConv1D", {"filters": 2, "kernel_size": 3, "strides": 2}),
    ("Conv1DTranspose", {"filters": 2, "kernel_size": 3, "strides": 2}),
    ("Conv1DTranspose", {"filters": 2, "kernel_size": 3, "dilation_rate": 2}),
    ("Conv1DTranspose", {"filters": 2, "kernel_size": 3} | FIRST),
    ("Conv3D", {"filters": 2, "kernel_size": 3, "strides": [1, 2, 1]} | FIRST),
    ("Conv3D", {"filters": 2, "kernel_size": 3, "dilation_rate": 2}),
    ("Conv3DTranspose", {"filters": 2, "kernel_size": 3, "dilation_rate": 2}),
    ("Conv3DTranspose", {"filters": 2, "kernel_size": 3} | FIRST),
    ("AveragePooling3D", {"pool_size": 2, "padding": 1} | FIRST),
]


def cpu_shape(name: str) -> Shape:
    """What arrives at a layer of these: positions and channels are as many."""
    return (8,) * (2 if "1D" in name else 4 if "3D" in name else 3)


def cpu_configs(cases: list[tuple[str, Any]]) -> str:
    """The Keras layers of some of these, each with its input's shape, as JSON."""
    built = []
    for name, arguments in cases:
        shape = cpu_shape(name)
        layer = make(name, arguments).build(Scope("layer", shape, Seeds(0)))
        built.append([keras.saving.serialize_keras_object(layer), shape])
    return json.dumps(built)


TRAIN = """
import json
import sys
import numpy as np
import keras
trained = []
for config, shape in json.load(open(sys.argv[1])):
    layer = keras.saving.deserialize_keras_object(config)
    model = keras.Sequential([keras.Input(shape), keras.layers.PReLU(), layer, keras.layers.Flatten()])
    model.compile("sgd", "mse", jit_compile=False)
    try:
        targets = np.zeros((2, *model.output_shape[1:]), "float32")
        model.train_on_batch(np.ones((2, *shape), "float32"), targets)
        trained.append(True)
    except Exception:
        trained.append(False)
print(json.dumps(trained))
"""


@pytest.mark.long
def test_needing_xla_on_a_cpu_is_said_exactly_where_training_fails_without_it(tmp_path: Path) -> None:
    """TensorFlow's own kernels decide: oneDNN, where a CPU has it switched on, runs some of these."""
    layers = [make(name, arguments) for name, arguments in CPU_CASES]
    configs = tmp_path / "layers.json"
    configs.write_text(cpu_configs(CPU_CASES))
    out = run_python(TRAIN, str(configs), TF_ENABLE_ONEDNN_OPTS="0", TF_CPP_MIN_LOG_LEVEL="3")
    trained = json.loads(out.strip().splitlines()[-1])
    assert [not layer.needs_xla_on_cpu() for layer in layers] == trained


#: Trains each layer for two steps without XLA and with it, and prints the largest relative difference of a weight.
TRAIN_WITH_ONEDNN = """
import json
import sys
import numpy as np
import keras
from tensorflow.python.util import _pywrap_util_port
assert _pywrap_util_port.IsMklEnabled()
random = np.random.default_rng(0)
differences = []
for config, shape in json.load(open(sys.argv[1])):
    images = random.normal(size=(2, *shape)).astype("float32")
    trained = []
    for jit in (False, True):
        keras.utils.set_random_seed(0)
        layer = keras.saving.deserialize_keras_object(config)
        model = keras.Sequential([keras.Input(shape), keras.layers.PReLU(), layer, keras.layers.Flatten()])
        model.compile(keras.optimizers.SGD(0.5), "mse", jit_compile=jit)
        for step in range(2):
            model.train_on_batch(images, np.ones((2, *model.output_shape[1:]), "float32"))
        trained.append([np.asarray(weight) for weight in model.trainable_weights])
    before = keras.saving.deserialize_keras_object(config)
    before.build((None, *shape))
    kernel = 1 if len(trained[0]) > 1 else 0
    assert not np.allclose(trained[0][kernel], np.asarray(before.trainable_weights[0]), rtol=1e-3)
    differences.append(max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in zip(*trained)))
print(json.dumps(differences))
"""


@pytest.mark.long
@pytest.mark.skipif(not runtime.onednn_helps(), reason="needs an x86 processor with AVX2")
def test_with_onednn_the_layers_that_need_xla_elsewhere_train_without_it(tmp_path: Path) -> None:
    """They learn what they learn with XLA, to rounding: that they run is not enough."""
    needing = [(name, arguments) for name, arguments in CPU_CASES if make(name, arguments).needs_xla_on_cpu()]
    assert len(needing) == 11
    configs = tmp_path / "layers.json"
    configs.write_text(cpu_configs(needing))
    out = run_python(TRAIN_WITH_ONEDNN, str(configs), TF_ENABLE_ONEDNN_OPTS="1", TF_CPP_MIN_LOG_LEVEL="3")
    differences = json.loads(out.strip().splitlines()[-1])
    assert len(differences) == len(needing)
    assert max(differences) < 1e-4, differences


def test_no_other_layer_needs_xla() -> None:
    convolutions = {name for name in LAYERS.names() if "Conv" in name}
    for name in set(LAYERS.names()) - convolutions - {"SpectralNormalization"}:
        cls = LAYERS.get(name)
        assert cls is not None
        assert cls.needs_xla_on_cpu is Layer.needs_xla_on_cpu  # type: ignore[attr-defined]


# --- Imports ------------------------------------------------------------------------------------------


def test_shapes_need_neither_tensorflow_nor_keras() -> None:
    code = (
        "import sys; from cnnkit.layers import LAYERS; "
        "[LAYERS.get(name) for name in LAYERS.names()]; "
        "shape = LAYERS.get('Conv2D')(filters=96, kernel_size=11, strides=4).output_shape((227, 227, 3)); "
        "print(shape, sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    root = Path(__file__).parents[2]
    assert run_python(code, PYTHONPATH=str(root)).strip() == "(55, 55, 96) []"
