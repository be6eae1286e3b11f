"""Damaged configs: bytes of good ones turned, cut and mixed; and their values, keys and layers replaced.

What comes out depends only on the seed and the number of the input.
"""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator
from itertools import islice
from typing import Any

import yaml

from cnnkit.augmentation import AUGMENTATIONS
from cnnkit.config import shipped
from cnnkit.config.objectives.losses import LOSSES
from cnnkit.config.objectives.metrics import METRICS
from cnnkit.config.optimization.optimizers import OPTIMIZERS
from cnnkit.config.optimization.schedules import SCHEDULES
from cnnkit.format.base import Table
from cnnkit.layers import LAYERS
from cnnkit.layers.weights import CONSTRAINTS, INITIALIZERS, REGULARIZERS

TABLES: tuple[Table, ...] = (
    LAYERS,
    AUGMENTATIONS,
    OPTIMIZERS,
    SCHEDULES,
    LOSSES,
    METRICS,
    INITIALIZERS,
    REGULARIZERS,
    CONSTRAINTS,
)
NAMES = tuple(name for table in TABLES for name in table.names())

#: Small, with something of everything.
RICH = """\
seed: 3
data: {name: cifar10, validation: 0.1, batch_size: 64, normalization: standardize, splits: {train: 'train[:50%]'}}
augmentation:
  - RandomFlip: {mode: horizontal, alternate: true}
  - RandomCrop: {padding: 2, fill_mode: reflect}
  - CutMix: 1.0
model:
  blocks:
    unit:
      parameters: {filters: required, strides: 1, rate: 0.1}
      layers:
        - Residual:
            activation: relu
            layers:
              - Conv2D: {filters: $filters, kernel_size: 3, strides: $strides, padding: same}
              - BatchNormalization
              - Dropout: $rate
  layers:
    - Conv2D: {filters: 16, kernel_size: [3, 3], padding: same, kernel_initializer: {HeNormal: {}}, kernel_regularizer: {L2: 1e-4}}
    - unit: {filters: $channels * 2, strides: 2}
    - Repeat: {times: 2, layers: [unit: 32]}
    - Branches: {merge: concatenate, paths: [[AveragePooling2D: 2], [MaxPooling2D: 2, LocalResponseNormalization]]}
    - SeparableConv2D: {filters: 8, kernel_size: 3, depth_multiplier: 2}
    - Conv2DTranspose: {filters: 4, kernel_size: 3, strides: 2}
    - UpSampling2D: 2
    - ZeroPadding2D: 1
    - Permute: [3, 1, 2]
    - Cropping2D: 1
    - Permute: [2, 3, 1]
    - GlobalAveragePooling2D
    - Dense: {units: classes, activation: softmax}
training:
  epochs: 20
  optimizer: {AdamW: {learning_rate: 1e-3, weight_decay: 1e-4, use_ema: true}}
  schedule: {CosineDecay: {alpha: 0.1}}
  warmup_epochs: 2
  early_stopping: {patience: 3}
  class_weights: balanced
  metrics: [AUC, F1Score]
  loss: CategoricalCrossentropy
"""  # noqa: E501 (a long line is one of the things to be tried)

TEXTS = (RICH, *(shipped.find(name).read_text("utf-8") for name in shipped.names()))
DOCUMENTS = tuple(yaml.safe_load(text) for text in TEXTS)

#: Signs that mean something in YAML, and what is often wrong with a text.
SIGNS = (
    *(" ", "\t", "\n", ":", ": ", "-", "- ", "[", "]", "{", "}", ",", "&a ", "*a", "<<: ", "<<: *a\n", "!!binary "),
    *("!!python/object:os.system ", "!x ", "|\n", ">\n", "%YAML 1.1\n", "@", "`", "'", '"', "#", "? ", "$", "~", "\0"),
    *("\r", "\r\n", "\x85", "\u2028", "\ufeff", "---\n", "...\n", "0", "9" * 30, "9" * 5000, "e9", "-", ".", "_", "é"),
    *("한", "\U0001f600", "\x1b[31m", "&a [*a]", "{a: &a {b: *a}}"),
)
RAW = (b"\xff", b"\xfe\xff", b"\xef\xbb\xbf", b"\xc3", b"\xed\xa0\x80", b"\x80", b"\xf4\x90\x80\x80", b"\x00")

#: Values that code written for other ones stumbles over.
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 16, 255, 256, 1000, 5000, 65536, 1_000_000, 2**31 - 1, 2**31, 2**53),
    *(2**63 - 1, -(2**63), 2**64, 10**11, 10**400, 10**5000, 0.5, -0.0, 1.5, 1e30, 1e308, -1e308, 1e-320),
    *(float("inf"), float("nan"), "", " ", "a", "1", "0x7f", "1_000", "on", ".inf", "1e3", "2026-01-01"),
    *("classes", "$channels", "$filters", "$", "$$", "$channels * 99999999999", "$channels ** 9", "classes / 0"),
    *("1 // 0", "$channels * " * 40 + "1", "(" * 60, "(" * 500, "9" * 400, "9" * 5000, "-" * 300 + "1", "$a" * 99),
    *("\x00x", "\x07", "\x1b[2J", "é", "한국어", "\ud7ff", "\U0001f600", "a\u0301", "\u202e", "a" * 5000, "-" * 5000),
    *("../../etc/passwd", "/dev/null", "~root", "~nobody/x", "/proc/self/mem", ".", "//", "a\nb", "a: b", "{a", "- x"),
    *([], {}, [[]], [1], [1, 2], [1, 2, 3], [0, 0], [-1, 3], [[1, 1], [2, 2]], [[0, 99999], [0, 0]], [10**10] * 2),
    *({"a": 1}, {"Conv2D": None}, {"Conv2D": {}}, {"": None}, {"<<": 1}, [None], [1] * 300, ["a"] * 300, [[1]] * 50),
    *("same", "valid", "full", "relu", "softmax", "channels_first", "float16", "auto", "balanced", "concatenate"),
    *("train[:1]", "train[99999999999:]", "train[::]", "extends", "required", [2, 1, 3], [32, 32, 2, 4], [-1, 8]),
)
#: Keys that mean something in several places.
KEYS = (
    *("filters", "units", "layers", "kernel_size", "strides", "padding", "dilation_rate", "groups", "size", "times"),
    *("epochs", "batch_size", "rate", "image_size", "shape", "classes", "validation", "name", "folder", "extends"),
    *("seed", "blocks", "parameters", "paths", "shortcut", "axis", "dtype", "optimizer", "metrics", "", "a.b", "$x"),
)


def config(seed: int, number: int) -> bytes:
    """The damaged config of a number: bytes of a good one are broken, its structure, or it is one of random layers."""
    draw = random.Random(f"{seed}/{number}")
    return (_broken_bytes, _broken_structure, _network)[number % 3](draw)


def _broken_bytes(draw: random.Random) -> bytes:
    text = bytearray(draw.choice(TEXTS).encode())
    for _ in range(draw.choice([1, 1, 1, 2, 3, 8, 30])):
        place = draw.randrange(len(text) + 1)
        kind = draw.randrange(8)
        if kind == 0 and place < len(text):
            text[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            del text[place : place + draw.choice([1, 1, 2, 5, 40, 400])]
        elif kind == 2:
            text[place:place] = draw.choice(SIGNS).encode() if draw.random() < 0.9 else draw.choice(RAW)
        elif kind == 3:
            length, target = draw.choice([1, 5, 30, 200, 2000]), draw.randrange(len(text) + 1)
            text[target:target] = text[place : place + length]
        elif kind == 4:
            other, length = draw.choice(TEXTS).encode(), draw.choice([5, 50, 500])
            start = draw.randrange(len(other))
            text[place : place + draw.choice([0, 10, 100])] = other[start : start + length]
        elif kind == 5:
            lines = bytes(text).split(b"\n")
            first, second = draw.randrange(len(lines)), draw.randrange(len(lines))
            lines[first], lines[second] = lines[second], lines[first]
            text = bytearray(b"\n".join(lines))
        elif kind == 6:
            lines = bytes(text).split(b"\n")
            line = draw.randrange(len(lines))
            lines[line] = b" " * draw.choice([1, 2, 3, 4]) + lines[line] if draw.random() < 0.5 else lines[line].strip()
            text = bytearray(b"\n".join(lines))
        elif draw.random() < 0.3:
            del text[place:]
    return bytes(text)


def _paths(value: Any) -> list[tuple[Any, ...]]:
    """Where the values inside a value are; not all of them where they are many, as with aliases of aliases."""
    return list(islice(_all_paths(value, ()), 3000))


def _all_paths(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    yield path
    if len(path) == 100:
        return
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from _all_paths(item, (*path, key))


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


def _layer(draw: random.Random, depth: int = 0) -> Any:
    """A layer of any kind with arguments that are often, but not always, such as it takes."""
    name = draw.choice(LAYERS.names())
    cls = LAYERS.get(name)
    assert cls is not None
    usual: list[Any] = [1, 2, 3, 4, 8, 16, 0.5, "same", "relu", True, [3, 3], [1, 2], "classes", "$channels", "sum"]
    usual += [[[1, 0], [0, 2]], [2, 1, 3], [3, 1, 2], [2, 3, 1], "$channels * 2", "channels_first", -1, 5, 7]
    arguments: dict[str, Any] = {}
    for argument, info in cls.model_fields.items():
        if argument in ("layers", "paths", "shortcut"):
            lists = [[_layer(draw, depth + 1) for _ in range(draw.randrange(4))] for _ in range(2)]
            arguments[argument] = [] if depth > 3 else lists if argument == "paths" else lists[0]
        elif info.is_required() or draw.random() < 0.15:
            arguments[argument] = draw.choice(usual) if draw.random() < 0.95 else draw.choice(VALUES)
    if cls.leading in arguments and len(arguments) == 1 and draw.random() < 0.5:
        return {name: arguments[cls.leading]}
    return {name: arguments} if arguments else name


def _network(draw: random.Random) -> bytes:
    """A network of layers at random, most of which take what arrives; sizes may be large, and repetitions many."""
    size = draw.choice([4, 8, 31, 32, 224, 5000])
    layers = [_plausible(draw) for _ in range(draw.choice([1, 2, 3, 5, 8, 20]))]
    if draw.random() < 0.3:
        some = [_plausible(draw) for _ in range(draw.choice([1, 2, 3]))]
        layers.append({"Repeat": {"times": draw.choice([2, 7, 40, 300, 1500, 3900]), "layers": some}})
    document = {
        "data": {"name": "none", "shape": [size, draw.choice([size, 17]), draw.choice([1, 3])], "classes": 10},
        "model": {"layers": [*layers, draw.choice(["GlobalAveragePooling2D", "Flatten"]), {"Dense": "classes"}]},
    }
    return yaml.dump(document, Dumper=_PlainDumper, sort_keys=False, default_flow_style=None).encode()


def _plausible(draw: random.Random, depth: int = 0) -> Any:
    """A layer that takes an image, whose numbers are usual, or at the ends of their ranges."""
    few = draw.choice([1, 2, 3, 3, 5, 7] if draw.random() < 0.9 else [50, 999, 65_536])
    pair = [draw.choice([1, 2, 3]), draw.choice([1, 2, 3])]
    padding = draw.choice(["valid", "same", "same", "same", "full", 1, [[0, 2], [3, 0]], few])
    window = {"strides": draw.choice([1, 1, 2, few, pair]), "padding": padding}
    kernel = {"kernel_size": draw.choice([few, pair]), **window}
    if draw.random() < 0.2:
        kernel |= {"strides": 1, "dilation_rate": few}
    filters = draw.choice([4, 8, 16, "$channels", "$channels * 2"] if draw.random() < 0.95 else [100_000, 1_000_000])
    kinds: list[Any] = [
        {"Conv2D": {"filters": filters, **kernel}},
        {"SeparableConv2D": {"filters": filters, **kernel}},
        {"DepthwiseConv2D": {"depth_multiplier": draw.choice([1, 1, 2]), **kernel}},
        {"Conv2DTranspose": {"filters": filters, **kernel}},
        {draw.choice(["MaxPooling2D", "AveragePooling2D"]): {"pool_size": draw.choice([few, pair]), **window}},
        {"UpSampling2D": {"size": few, "interpolation": draw.choice(["nearest", "bilinear", "bicubic", "lanczos5"])}},
        {"Resizing": {"height": draw.randrange(1, 400), "width": few * 31, "antialias": draw.random() < 0.5}},
        {"ZeroPadding2D": few},
        {"Cropping2D": [[1, 0], [0, draw.choice([0, 1])]]},
        {"Permute": draw.choice([[2, 1, 3], [3, 1, 2], [2, 3, 1], [1, 3, 2]])},
        *(
            "BatchNormalization",
            "LayerNormalization",
            "ReLU",
            "PReLU",
            "Softmax",
            {"Dropout": 0.5},
            {"GroupNormalization": 1},
        ),
        {"LocalResponseNormalization": few},
    ]
    if depth < draw.choice([1, 2, 6]):
        inside = [_plausible(draw, depth + 1) for _ in range(draw.choice([1, 2, 4]))]
        gate = [{"GlobalAveragePooling2D": {"keepdims": True}}, {"Conv2D": {"filters": "$channels", "kernel_size": 1}}]
        kinds += [
            {"Residual": inside},
            {"Branches": [inside, []]},
            {"Branches": {"paths": [inside, inside, inside], "merge": draw.choice(["add", "concatenate", "maximum"])}},
            {"Branches": {"paths": [[], gate], "merge": "multiply"}},
            {"Repeat": {"times": draw.choice([0, 1, 3, 20]), "layers": inside}},
        ]
    return draw.choice(kinds)


#: Values of a document that is written; writing more takes longer than reading them.
_MOST_VALUES = 25_000


class _Dumper(yaml.SafeDumper):
    """Writes a value that stands in several places once, with an anchor."""


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _broken_structure(draw: random.Random) -> bytes:
    document = copy.deepcopy(draw.choice(DOCUMENTS))
    for _ in range(draw.choice([1, 1, 1, 2, 2, 3, 6, 15])):
        try:
            document = _changed(draw, document)
        except (KeyError, IndexError, TypeError, AttributeError, RecursionError):
            # An earlier change took away what this one looks for, or made a circle.
            continue
    if sum(1 for _ in islice(_all_paths(document, ()), _MOST_VALUES + 1)) > _MOST_VALUES:
        return b"a: " + b"[" * draw.choice([1, 100, 5000])
    dumper = _Dumper if draw.random() < 0.1 else _PlainDumper
    try:
        text: str = yaml.dump(
            document,
            Dumper=dumper,
            sort_keys=False,
            default_flow_style=draw.choice([None, True, False]),
            allow_unicode=draw.random() < 0.5,
        )
    except (ValueError, RecursionError, yaml.YAMLError):  # a number of more digits than Python writes
        return b"a: 1"
    return text.encode("utf-8", "surrogatepass")


def _changed(draw: random.Random, document: Any) -> Any:
    layers = document["model"]["layers"] if draw.random() < 0.4 else None
    if layers is not None:
        place = draw.randrange(len(layers) + 1)
        layers[place : place + draw.randrange(2)] = [_layer(draw) for _ in range(draw.choice([1, 1, 2, 5]))]
        return document
    paths = _paths(document)
    path = draw.choice(paths)
    if not path:
        return draw.choice(VALUES) if draw.random() < 0.05 else document
    parent, key = _at(document, path[:-1]), path[-1]
    kind = draw.randrange(8)
    if kind in (0, 1):
        parent[key] = copy.deepcopy(draw.choice(VALUES))
    elif kind == 2:
        del parent[key]
    elif kind == 3:
        # The same object twice: an anchor and an alias, or a circle.
        parent[key] = _at(document, draw.choice(paths))
    elif kind == 4:
        other = draw.choice(DOCUMENTS)
        parent[key] = copy.deepcopy(_at(other, draw.choice(_paths(other))))
    elif kind == 5 and isinstance(parent, dict):
        name = str(key)
        near = [name[:-1], f"{name}s", name.upper(), name[::-1], name.replace("e", "3")]
        parent[draw.choice([*near, draw.choice(NAMES), draw.choice(KEYS), None, 1.5, True])] = parent.pop(key)
    elif kind == 6:
        wrapped = parent[key]
        for _ in range(draw.choice([1, 2, 5, 30, 70, 500])):
            wrapped = {draw.choice(NAMES): wrapped} if draw.random() < 0.5 else [wrapped]
        parent[key] = wrapped
    elif isinstance(parent, list):
        parent[key:key] = [copy.deepcopy(parent[key])] * draw.choice([1, 3, 50, 1000])
    else:
        parent[draw.choice(KEYS)] = copy.deepcopy(draw.choice(VALUES))
    return document
