"""What cnnkit says to names of layers that it does not have: Keras', PyTorch's, and those of papers."""

from __future__ import annotations

import inspect
import re
from typing import Any

import keras
import pytest
from pydantic_core import PydanticCustomError

from cnnkit.augmentation import AUGMENTATIONS
from cnnkit.format.base import split_named
from cnnkit.format.document import parse
from cnnkit.format.similar import fold
from cnnkit.layers import LAYERS
from cnnkit.layers.base import Names
from cnnkit.layers.stack import trace
from cnnkit.layers.unresolved import LAYER_CHOICE
from cnnkit.layers.weights import OTHER_ACTIVATIONS

OF_KERAS = sorted(name for name in dir(keras.layers) if inspect.isclass(getattr(keras.layers, name)))
#: What `torch.nn`, torchvision, timm and Keras 2 call their layers.
OF_OTHERS = re.findall(
    r"\w+",
    """
Conv1d Conv2d Conv3d ConvTranspose2d Linear Bilinear MaxPool1d MaxPool2d MaxPool3d AvgPool2d AdaptiveAvgPool2d
AdaptiveMaxPool2d LPPool2d BatchNorm1d BatchNorm2d BatchNorm3d SyncBatchNorm GroupNorm InstanceNorm2d LayerNorm
LocalResponseNorm RMSNorm Dropout2d Upsample UpsamplingNearest2d UpsamplingBilinear2d PixelShuffle ChannelShuffle
ZeroPad2d ReflectionPad2d MaxUnpool2d Hardswish Hardsigmoid Hardtanh SiLU GELU CELU SELU Mish ReLU6 Tanh Sigmoid
Softplus Softsign LogSoftmax Unflatten Identity Sequential ModuleList Embedding LSTM GRU RNN Transformer
TransformerEncoderLayer StochasticDepth DropPath SqueezeExcitation SqueezeExcite LayerScale Convolution2D
LocallyConnected2D ThresholdedReLU Input Skip Shortcut Relu relu Swish h_swish BN FC GAP MeanPooling2D MLP
""",
)


def answer(name: str) -> str:
    """What a config that has the layer is told; empty where there is one."""
    try:
        split_named(name, LAYERS)
    except PydanticCustomError as error:
        return error.message()
    return ""


def examples(reason: str) -> list[Any]:
    """The layers that an answer says to write."""
    return [parse(text, "answer").plain() for text in re.findall(r"write `([^`]+)`", reason)]


@pytest.mark.parametrize("name", OF_KERAS + OF_OTHERS)
def test_every_name_is_a_layer_or_is_answered(name: str) -> None:
    text = answer(name)
    if name in LAYERS.names():
        assert text == ""
    elif fold(name) in map(fold, LAYERS.names()):
        assert re.search(rf"did you mean `{name}`", text, re.IGNORECASE)
    else:
        assert re.search(r"write `|cnnkit has no |leave it out|in `augmentation:`", text), text
        assert "did you mean" not in text
        assert "meant?" not in text


@pytest.mark.parametrize("reason", sorted(set(LAYERS.all_unavailable().values())))
def test_what_an_answer_says_to_write_is_valid(reason: str) -> None:
    assert re.search(r"write `|cnnkit has no |leave it out|in `augmentation:`", reason)
    for example in examples(reason):
        trace([LAYER_CHOICE.validate(example)], (8, 8, 16), Names({"classes": 5}))


def test_names_of_what_is_there_lead_to_it() -> None:
    for other, name in LAYERS.named_otherwise().items():
        assert answer(other) == f"unknown layer `{other}`; write `{name}`"
        assert LAYERS.get(name) is not None
        exported = getattr(keras.layers, other, None)
        assert exported is None or exported.__name__ == name
    assert not {*LAYERS.all_unavailable(), *LAYERS.named_otherwise()} & set(LAYERS.names())


def test_an_answer_means_what_keras_means() -> None:
    """A merge computes what Keras' layer of the name does, an activation as a layer what Keras' function does."""
    for name in ("Add", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Subtract", "Dot"):
        (example,) = examples(LAYERS.all_unavailable()[name])
        assert example["Branches"]["merge"] == name.lower()
    for name, reason in LAYERS.all_unavailable().items():
        for example in examples(reason):
            if isinstance(example, dict) and "Activation" in example:
                activation = example["Activation"]
                function = activation if isinstance(activation, str) else next(iter(activation))
                written = OTHER_ACTIVATIONS.get(name, name)
                of_layer = getattr(keras.activations, written.lower(), None)
                assert keras.activations.get(function) is (of_layer or keras.activations.get(written))
    for name in AUGMENTATIONS.names():
        assert "in `augmentation:`" in LAYERS.all_unavailable()[name]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Conv4D", "unknown layer `Conv4D`"),
        ("Conv2DLSTM", "(is `ConvLSTM2D` meant?): cnnkit has no recurrent layers"),
        ("DenseUnit", "unknown layer `DenseUnit`"),
        ("QuickReLU", "unknown layer `QuickReLU`"),
        ("BatchNormalisation", "did you mean `BatchNormalization`?"),
        ("MultiHeadAtention", "did you mean `MultiHeadAttention`?"),
        ("MaxPoling2D", "did you mean `MaxPooling2D`?"),
        ("BatchNom2d", "write `BatchNormalization`"),
    ],
)
def test_a_misspelt_name_leads_to_what_is_meant_and_to_nothing_else(name: str, words: str) -> None:
    text = answer(name)
    assert words in text
    assert ("mean" in text) == ("mean" in words)
