"""Broken configs: each is reported with its place, exit code 2, no traceback, no TensorFlow and no run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from broken import BASE, Case, edit, edited, override
from commands import run

from cnnkit import cli
from cnnkit.config.load import load_config
from cnnkit.errors import ConfigError

SCHEDULE = "{ReduceLROnPlateau: {factor: 0.5}}"

_CONVOLUTION = "{filters: 8, kernel_size: 3, padding: same}"
_WHITENING = "{filters: 9, kernel_size: 3, kernel_initializer: PatchWhitening}"
_EXPLICIT = "{filters: 8, kernel_size: 3, kernel_initializer: PatchWhitening, padding: 1}"
_DEPTHWISE = "DepthwiseConv2D: {kernel_size: 3, depthwise_initializer: Dirac}"
_GROUPS = "Conv2D: {filters: 8, kernel_size: 3, groups: 2, kernel_initializer: Dirac}"

KERNELS = [
    edit("whitening of an odd number", _CONVOLUTION, _WHITENING, "9:44", "pairs of filters, at most 54", "got 9"),
    edit("whitening with padding", _CONVOLUTION, _EXPLICIT, "9:44", "`PatchWhitening` needs", "`padding: valid`"),
    edit("whitening behind the images", "BatchNormalization", f"Conv2D: {_WHITENING}", "10:44", "only the first layer"),
    edit("identity of a depthwise kernel", f"Conv2D: {_CONVOLUTION}", _DEPTHWISE, "9:41", "not of a DepthwiseConv2D"),
    edit("identity in groups", "BatchNormalization", _GROUPS, "10:55", "without groups, got `groups: 2`"),
    edit("identity of a matrix", "softmax}", "softmax, kernel_initializer: Dirac}", "15:7", "exactly 4 axes", "has 2"),
    edit(
        "norm of no kernels",
        "SGD: {learning_rate: 0.1, momentum: 0.9}",
        "Muon: {normalize_kernels: true}",
        "18:15",
        "no effect without `convolutions: true`",
    ),
]

MISSPELT = [
    edit("top key", "seed: 0", "sed: 0", "1:1", "unknown key `sed`", "did you mean `seed`"),
    edit("data section", "data:", "dta:", "2:1", "unknown key `dta`", "did you mean `data`"),
    edit("model section", "model:", "models:", "7:1", "unknown key `models`", "did you mean `model`"),
    edit("layers key", "  layers:", "  layer:", "8:3", "unknown key `layer`", "did you mean `layers`"),
    edit("training section", "training:", "trainin:", "16:1", "did you mean `training`"),
    edit("data key", "batch_size", "batchsize", "4:3", "unknown key `batchsize`", "did you mean `batch_size`"),
    edit("splits key", "cifar10", "cifar10\n  splits: {trian: train}", "4:12", "`trian`", "did you mean `train`"),
    edit(
        "normalization key",
        "cifar10",
        "cifar10\n  normalization: {mean: [1, 1, 1], varance: [2, 2, 2]}",
        "4:36",
        "unknown key `varance`",
        "did you mean `variance`",
    ),
    edit("augmentation", "RandomFlip", "RandomFlop", "6:5", "unknown augmentation `RandomFlop`", "mean `RandomFlip`"),
    edit("augmentation argument", "horizontal", "{mod: horizontal}", "6:18", "unknown argument `mod`", "mean `mode`"),
    edit("augmentation choice", "horizontal", "horizontl", "6:17", '"horizontl" (a string)', "mean `horizontal`"),
    edit("layer", "BatchNormalization", "BatchNormalisation", "10:7", "unknown layer", "mean `BatchNormalization`"),
    edit("layer argument", "kernel_size", "kernal_size", "9:28", "unknown argument `kernal_size`", "`kernel_size`"),
    edit("optimizer", "SGD", "SDG", "18:3", "unknown optimizer `SDG`", "did you mean `SGD`"),
    edit("optimizer argument", "momentum", "momentm", "18:41", "unknown argument `momentm`", "mean `momentum`"),
    edit("schedule", "ReduceLROnPlateau", "ReduceLR", "19:3", "unknown schedule", "mean `ReduceLROnPlateau`"),
    edit("schedule argument", "factor", "facter", "19:34", "unknown argument `facter`", "did you mean `factor`"),
    edit("loss", "metrics: [AUC]", "loss: CategoricalCrossEntrpy", "21:9", "unknown loss", "`CategoricalCrossentropy`"),
    edit("metric", "[AUC]", "[AUCC]", "21:13", "unknown metric `AUCC`", "did you mean `AUC`"),
    edit("metric argument", "[AUC]", "[{AUC: {curv: PR}}]", "21:20", "unknown argument `curv`", "mean `curve`"),
    edit("initializer", "same}", "same, kernel_initializer: he_norml}", "9:79", "unknown initializer", "`HeNormal`"),
    edit("regularizer", "same}", "same, kernel_regularizer: L3}", "9:79", "unknown regularizer `L3`", "`L2`"),
    edit("regularizer argument", "same}", "same, kernel_regularizer: {L2: {l3: 1}}}", "9:85", "`l3`", "expected `l2`"),
    edit("constraint", "same}", "same, kernel_constraint: MaxNrm}", "9:78", "unknown constraint", "mean `MaxNorm`"),
    edit("activation", "softmax", "softmx", "15:43", "unknown activation `softmx`", "did you mean `softmax`"),
    edit("padding", "same}", "sme}", "9:53", "unknown padding `sme`", "did you mean `same`"),
    edit("early stopping key", "patience", "patiense", "20:20", "unknown key `patiense`", "did you mean `patience`"),
    edit("schedule mode", "factor: 0.5", "mode: maximum", "19:40", "'auto', 'min' or 'max'", "did you mean `max`"),
    edit("data set", "cifar10", "cifr10", "3:9", "unknown data set `cifr10`", "did you mean `cifar10`"),
    edit("class", "epochs: 3", "epochs: 3\n  class_weights: {cat: 1, dgo: 2}", "18:27", "class `dgo`", "mean `dog`"),
    edit("monitor", "patience: 2", "monitor: val_acuracy", "20:29", "unknown metric", "mean `val_accuracy`"),
    edit("normalization", "cifar10", "cifar10\n  normalization: scal", "4:18", "`standardize`", "did you mean `scale`"),
]

TYPES = [
    edit("quoted number", "epochs: 3", 'epochs: "3"', "17:11", "a whole number", '"3" (a string)', "remove the quotes"),
    edit("underscores", "epochs: 3", "epochs: 1_000", "17:11", '"1_000" (a string)', "write 1000"),
    edit("float for int", "epochs: 3", "epochs: 3.5", "17:11", "a whole number", "3.5 (a number)"),
    edit("exponent for int", "epochs: 3", "epochs: 1e3", "17:11", "a whole number", "1000.0 (a number)"),
    edit("bool for int", "epochs: 3", "epochs: true", "17:11", "a whole number", "true (a boolean)"),
    edit("list for int", "epochs: 3", "epochs: [3]", "17:3", "a whole number", "[3] (a list of 1)"),
    edit("null for int", "epochs: 3", "epochs:", "17:3", "a whole number", "nothing (null)"),
    edit("mapping for int", "epochs: 3", "epochs: {a: 1}", "17:3", "a whole number", "a mapping (a)"),
    edit("yes", "same}", "same, use_bias: yes}", "9:69", "true or false", '"yes" (a string)', "write true"),
    edit("off", "same}", "same, use_bias: off}", "9:69", "true or false", '"off" (a string)', "write false"),
    edit("on", "same}", "same, use_bias: on}", "9:69", "true or false", '"on" (a string)', "write true"),
    edit("no", "same}", "same, use_bias: no}", "9:69", "true or false", '"no" (a string)', "write false"),
    edit("int for bool", "same}", "same, use_bias: 1}", "9:69", "true or false", "1 (a whole number)"),
    edit(
        "union once", "filters: 8", "filters: eight", "9:25", "from 1 to 1,000,000, or `classes`", '"eight" (a string)'
    ),
    edit(
        "quoted in union", "filters: 8", 'filters: "8"', "9:25", "or `classes`", '"8" (a string)', "remove the quotes"
    ),
    edit("bool in union", "filters: 8", "filters: true", "9:25", "or `classes`", "true (a boolean)"),
    edit("list in union", "filters: 8", "filters: [8]", "9:16", "or `classes`", "[8] (a list of 1)"),
    edit("pair of three", "size: 3", "size: [3, 3, 3]", "9:28", "[height, width]", "[3, 3, 3] (a list of 3)"),
    edit("pair of floats", "size: 3", "size: 3.0", "9:41", "[height, width]", "3.0 (a number)"),
    edit("quoted float", "0.5", '"0.5"', "14:16", "expected a number", '"0.5" (a string)', "remove the quotes"),
    edit("bool for float", "0.5", "true", "14:16", "expected a number", "true (a boolean)"),
    edit("null for float", "learning_rate: 0.1", "learning_rate: null", "18:21", "a number", "nothing (null)"),
    edit("int for name", "cifar10", "10", "3:9", "expected a string", "10 (a whole number)", "quote it"),
    edit("scalar for list", "[AUC]", "AUC", "21:12", "expected a list", '"AUC" (a string)', "- "),
    edit("scalar for section", "{patience: 2}", "2", "20:19", "a mapping", "`patience`", "2 (a whole number)"),
    edit("list for section", "{patience: 2}", "[patience]", "20:3", "a mapping", '["patience"] (a list of 1)'),
    edit("number for layer", "ReLU", "3", "11:7", "expected the name of a layer", "3 (a whole number)"),
    edit("null for layer", "ReLU", "null", "11:7", "expected the name of a layer", "nothing (null)"),
    edit("list for layer", "ReLU", "[ReLU]", "11:7", "expected the name of a layer", '["ReLU"] (a list of 1)'),
    edit("empty mapping for layer", "- ReLU", "- {}", "11:7", "one layer name", "an empty mapping"),
    edit("bool in jit", "epochs: 3", "epochs: 3\n  jit: true", "18:8", "'auto', 'on' or 'off'", "true (a boolean)"),
    edit(
        "leading for named", SCHEDULE, "{ReduceLROnPlateau: 3}", "19:33", "by name", "`patience`", "3 (a whole number)"
    ),
    edit("number in weights", "epochs: 3", "epochs: 3\n  class_weights: {cat: -1}", "18:24", "at least 0", "got -1"),
    Case(
        "sections of wrong types",
        "data: mnist\nmodel: [Flatten]\ntraining: 3\n",
        {"1:7": ("a mapping", '"mnist"'), "2:1": ("a mapping", '["Flatten"]'), "3:11": ("a mapping", "got 3")},
    ),
    Case("sections without a value", "data:\nmodel:\n", {"1:1": ("a mapping", "null"), "2:1": ("a mapping", "null")}),
]

#: What is wrong with a result is told where a number would be wrong: at the value.
ARITHMETIC = [
    edit(f"result of {written}", "filters: 8", f"filters: {written}", "9:25", *words)
    for written, *words in (
        ("7/2", "got 3.5 (a number) (from `7/2`", "`//` rounds down"),
        ("1/0", "`1/0` divides by zero"),
        ("3 *", "got its end"),
        ("$channels - 3", "got 0 (a whole number) (from `$channels - 3`)"),
    )
]
ARITHMETIC += [
    edit("result in a line of its own", "Dropout: 0.5", "Dropout:\n        rate: 3/2", "15:15", "got 1.5 (a number)"),
    edit("result that does not fit", "MaxPooling2D: 2", "MaxPooling2D: {pool_size: 3 * 11}", "12:22", "a 33x33 window"),
    Case(
        "result that a block is given",
        edited(
            ("  layers:", "  blocks: {conv: {parameters: {n: 8}, layers: [Residual: [Dense: $n]]}}\n  layers:"),
            ("- Flatten", "- conv: {n: 7/2}\n    - Flatten"),
        ),
        {"14:17": ("got 3.5 (a number)", "c.yaml:8:66")},
    ),
]

_EMPTY = ('expected a name, got "" (a string)',)

#: Names and paths of nothing, as a variable of a script may be.
EMPTY = [
    Case(f"empty {name}", edited(("name: cifar10\n  batch_size: 64", data)), {place: _EMPTY})
    for name, data, place in (
        ("data set", "name: ''", "3:9"),
        ("folder", "folder: ''", "3:11"),
        ("table", "table: ''\n  target: c", "3:10"),
        ("target", "table: t.csv\n  target: ''", "4:11"),
        ("picture", "image: ''", "3:10"),
        ("mask", "image: china\n  damage: {mask: ''}", "4:18"),
        ("slice", "name: cifar10\n  splits: {train: ''}", "4:19"),
        ("column of a box", "table: t.csv\n  target: c\n  boxes: {left: a, top: '', right: b, bottom: d}", "5:25"),
    )
]
EMPTY += [
    Case(
        "empty classifier",
        edited(("seed: 0", "task: {generation: {classifier: ''}}")),
        {"1:33": _EMPTY, **dict.fromkeys(("8:3", "19:3", "20:3", "21:3"), ())},
    )
]

RANGES = [
    edit("epochs", "epochs: 3", "epochs: 0", "17:11", "a number of at least 1", "got 0 (a whole number)"),
    edit("filters", "filters: 8", "filters: -8", "9:25", "a whole number from 1 to 1,000,000", "got -8"),
    edit("rate", "Dropout: 0.5", "Dropout: 1.5", "14:16", "of at most 1", "got 1.5 (a number)"),
    edit("learning rate", "0.1", "-0.1", "18:36", "above 0", "got -0.1"),
    edit("infinity", "0.1", ".inf", "18:36", "a finite number", "got .inf"),
    edit("not a number", "factor: 0.5", "factor: .nan", "19:42", "a finite number", "got .nan"),
    edit("factor", "factor: 0.5", "factor: 2", "19:42", "below 1", "got 2 (a whole number)"),
    edit("negative seed", "seed: 0", "seed: -1", "1:7", "of at least 0", "got -1"),
    edit("large seed", "seed: 0", "seed: 99999999999", "1:7", "below 2,147,483,648", "got 99999999999"),
    edit("huge number", "seed: 0", f"seed: 1{'0' * 500}", "1:7", "too large", "2^63 - 1"),
    edit("validation share", "cifar10", "cifar10\n  validation: 1", "4:15", "below 1", "got 1"),
    edit("steps", "epochs: 3", "epochs: 3\n  steps_per_execution: 0", "18:24", "from 1 to 1,000,000", "got 0"),
    Case("no layers", "data: {name: mnist}\nmodel: {layers: []}\n", {"2:9": ("at least 1 entry", "a list of 0")}),
]

SHAPES = [
    edit("window", "MaxPooling2D: 2", "MaxPooling2D: 40", "12:21", "40x40 window", "32x32 input", "32x32x8"),
    edit("window by name", "MaxPooling2D: 2", "MaxPooling2D: {pool_size: [2, 40]}", "12:22", "2x40 window", "32x32"),
    edit("kernel", "3, padding: same", "33", "9:28", "33x33 window", "32x32 input", "here: 32x32x3"),
    edit("cropping", "MaxPooling2D: 2", "Cropping2D: 16", "12:19", "[[16, 16], [16, 16]]", "32x32 input"),
    edit("negative crop", "MaxPooling2D: 2", "Cropping2D: -1", "12:19", "all from 0 to 65,536", "got -1"),
    edit("no image", "Flatten", "Flatten\n    - MaxPooling2D: 2", "14:7", "needs an image", "receives 2048"),
    edit("groups", "filters: 8", "filters: 8, groups: 2", "9:28", "2 groups", "3 input channels"),
    edit("reshape", "MaxPooling2D: 2", "Reshape: [3, 3]", "12:7", "3x3 does not hold", "8192", "32x32x8"),
    edit("permute", "MaxPooling2D: 2", "Permute: [1, 2]", "12:7", "2 axes", "has 3", "32x32x8"),
    edit("units", "units: classes", "units: 11", "15:7", "outputs 11", "10 classes", "`units: classes`"),
    edit("image at the end", "    - Flatten\n", "", "14:7", "outputs 16x16x10", "10 classes", "`Flatten`"),
    edit("layer name twice", "ReLU", "ReLU: {name: a}\n    - Softmax: {name: a}", "12:17", "`a`", "must differ"),
]

SEVERAL = [
    Case(
        "a misspelt argument and an impossible shape",
        edited(("kernel_size", "kernal_size"), ("MaxPooling2D: 2", "MaxPooling2D: 40")),
        {"9:28": ("unknown argument `kernal_size`", "did you mean `kernel_size`"), "12:21": ("40x40", "32x32 input")},
    ),
    Case(
        "one mistake in each section",
        edited(
            ("seed: 0", "sead: 0"),
            ("batch_size: 64", 'batch_size: "64"'),
            ("horizontal", "diagonal"),
            ("BatchNormalization", "BatchNorm"),
            ("0.5", "5.0"),
            ("learning_rate", "lr"),
            ("patience: 2", "patience: -2"),
        ),
        {
            "1:1": ("`sead`", "`seed`"),
            "4:15": ("remove the quotes",),
            "6:17": ("diagonal",),
            "10:7": ("unknown layer `BatchNorm`", "`BatchNormalization`"),
            "14:16": ("at most 1", "5.0"),
            "18:21": ("unknown argument `lr`",),
            "20:30": ("at least 0", "-2"),
        },
    ),
    Case(
        "valid types that do not fit together",
        edited(
            ("MaxPooling2D: 2", "MaxPooling2D: 40"),
            ("[AUC]", "[AUC, AUC]"),
            ("patience: 2", "monitor: val_f1"),
            ("epochs: 3", "epochs: 3\n  class_weights: [1, 2]"),
        ),
        {
            "12:21": ("40x40",),
            "18:3": ("expected 10 weights", "got 2"),
            "21:29": ("unknown metric `val_f1`",),
            "22:18": ("`auc`", "measured already"),
        },
    ),
    Case(
        "a misspelt key hides nothing behind it",
        edited(("seed: 0", "sead: 0"), ("[AUC]", "[AUC, AUC]"), ("units: classes", "units: 11")),
        {"1:1": ("`sead`",), "15:7": ("11", "10 classes"), "21:18": ("`auc`", "measured already")},
    ),
    Case(
        "an unknown size is no reason to guess at later layers",
        edited(("kernel_size: 3, padding: same", "kernel_size: large"), ("MaxPooling2D: 2", "MaxPooling2D: 40")),
        {"9:41": ("[height, width]", '"large"')},
    ),
    Case(
        "an override and the file",
        edited(("momentum", "momentm")),
        {"18:41": ("`momentm`",), "--set training.epochs=x": ("a whole number", '"x" (a string)')},
        overrides=("training.epochs=x",),
    ),
]

HINTS = [
    edit("comma without brackets", "size: 3", "size: 3,3", "9:43", "a name as the key", "`kernel_size: [3, 3]`"),
    edit("no space after a layer's colon", "Dropout: 0.5", "Dropout:0.5", "14:7", "one word", "`Dropout: 0.5`"),
    edit("no space after a key's colon", "kernel_size: 3", "kernel_size:3", "9:28", "one word", "`kernel_size: 3`"),
    edit(
        "arguments at the layer's indent",
        "Dropout: 0.5",
        "Dropout:\n      rate: 0.5",
        "14:7",
        "`Dropout`, `rate`",
        "indent them deeper",
    ),
    edit(
        "two layers in one entry",
        "ReLU",
        "ReLU: 1\n      Softmax: 2",
        "11:7",
        "`ReLU`, `Softmax`",
        "one `- ` per layer",
    ),
    edit("two optimizers", "0.9}}", "0.9}, Adam: {}}", "18:3", "`SGD`, `Adam`", "keep one"),
    edit("seed in a layer", "Dropout: 0.5", "Dropout: {rate: 0.5, seed: 1}", "14:28", "`seed` comes from the run"),
    edit("seed in an initializer", "same}", "same, kernel_initializer: {HeNormal: {seed: 1}}}", "9:91", "from the run"),
    edit("required argument", "Dropout: 0.5", "Dropout", "14:7", "required argument `rate` is missing"),
    edit(
        "sparse loss", "metrics: [AUC]", "loss: SparseCategoricalCrossentropy", "21:9", "one-hot", "leave `Sparse` out"
    ),
    edit("sparse metric", "[AUC]", "[SparseCategoricalAccuracy]", "21:13", "one-hot", "leave `Sparse` out"),
    edit("schedule in Python", SCHEDULE, "LearningRateScheduler", "19:13", "Python code", "PiecewiseConstantDecay"),
    edit("binary metric on a softmax", "[AUC]", "[BinaryCrossentropy]", "21:13", "does not go with the softmax"),
    edit("layer name that is no scope", "filters: 8", "name: _stem, filters: 8", "9:22", "begins with none of `_`"),
    edit("block's layer name", "BatchNormalization", "Residual: [{ReLU: {name: -in}}]", "10:32", 'got "-in"'),
    edit("long layer name", "filters: 8", f"name: {'x' * 101}, filters: 8", "9:22", "at most 100 characters"),
    edit("taken layer name", "filters: 8", "name: image, filters: 8", "9:16", "`image`", "another part"),
    edit("misspelt monitor", "epochs: 3", "epochs: 3\n  monitor: val_acuracy", "18:12", "did you mean `val_accuracy`?"),
    Case(
        "monitor without validation",
        edited(
            ("batch_size: 64", "validation: 0"),
            ("epochs: 3", "epochs: 3\n  monitor: val_auc"),
            ("factor: 0.5", "monitor: loss"),
            ("patience: 2", "monitor: loss"),
        ),
        {"18:12": ("needs validation data", "watch `auc` instead")},
    ),
    Case(
        "probabilities from logits",
        edited((", activation: softmax", ""), ("[AUC]", "[Precision]")),
        {"21:13": ("`Precision` needs probabilities",)},
    ),
    edit("class id", "[AUC]", "[{Precision: {class_id: 10}}]", "21:36", "no class 10", "the data have 10"),
    Case(
        "labels smoothed twice",
        edited(("metrics: [AUC]", "label_smoothing: 0.1\n  loss: {CategoricalCrossentropy: {label_smoothing: 0.1}}")),
        {"21:3": ("keep one of the two",)},
    ),
    Case(
        "logits from a softmax",
        edited(("metrics: [AUC]", "loss: {CategoricalCrossentropy: {from_logits: true}}")),
        {"21:49": ("its outputs are no logits", "leave `from_logits` out")},
    ),
    edit("as many as there are", "[AUC]", "[{TopKCategoricalAccuracy: 50}]", "21:39", "fewer than the 10 classes"),
    edit(
        "as many most probable", "[AUC]", "[{Precision: {top_k: 10}}]", "21:33", "fewer than the 10 classes", "got 10"
    ),
    edit("other classes", "[AUC]", "[{AUC: {multi_label: true, num_labels: 3}}]", "21:51", "10 classes, got 3"),
    edit("weights of other classes", "[AUC]", "[{AUC: {label_weights: [1, 2]}}]", "21:20", "10 weights", "got 2"),
    edit("axis of a metric", "[AUC]", "[{CosineSimilarity: {axis: 3}}]", "21:39", "-1 or 1", "got 3"),
    edit("regressors", "[AUC]", "[{R2Score: {num_regressors: 2}}]", "21:40", "compiled training step", "got 2"),
    edit("threshold of all", "[AUC]", "[{Recall: {thresholds: 1}}]", "21:35", "below 1", "got 1"),
    edit(
        "axis of the batch", "metrics: [AUC]", "loss: {CategoricalCrossentropy: {axis: 0}}", "21:42", "-1 or 1", "got 0"
    ),
    edit("axes of Dice", "metrics: [AUC]", "loss: {Dice: {axis: [5]}}", "21:17", "[batch, classes]", "[5]"),
    edit("nothing weighed", "metrics: [AUC]", "loss: {Tversky: {alpha: 0, beta: 0}}", "21:10", "both 0"),
    edit(
        "weights of no images",
        "metrics: [AUC]",
        "loss: Dice\n  class_weights: balanced",
        "22:3",
        "`Dice` is not one number per image",
        "`axis: [1]`",
    ),
    edit("smoothed hinge", "metrics: [AUC]", "loss: Hinge\n  label_smoothing: 0.1", "22:3", "only labels of 0 and 1"),
    Case(
        "mixed hinge",
        edited(("RandomFlip: horizontal", "MixUp"), ("metrics: [AUC]", "loss: SquaredHinge")),
        {"6:5": ("`SquaredHinge` knows only labels of 0 and 1",)},
    ),
    edit("metric twice", "[AUC]", "[AUC, AUC]", "21:18", "`auc` is measured already", "`name`"),
    edit("metric with a column's name", "[AUC]", "[{AUC: {name: epoch}}]", "21:20", "`epoch`", "another `name`"),
    edit("unknown monitor", "patience: 2", "monitor: f1", "20:29", "unknown metric `f1`", "`val_auc`"),
    edit("weights of a wrong length", "epochs: 3", "epochs: 3\n  class_weights: [1, 2]", "18:3", "10 weights", "got 2"),
    edit("warm-up of the whole run", "epochs: 3", "epochs: 3\n  warmup_epochs: 3", "18:18", "3 epochs", "run of 3"),
    edit(
        "pieces and boundaries",
        SCHEDULE,
        "{PiecewiseConstantDecay: {boundaries: [1, 2], values: [1, 2]}}",
        "19:14",
        "2 boundaries need 3 values, got 2",
    ),
    edit(
        "falling boundaries",
        SCHEDULE,
        "{PiecewiseConstantDecay: {boundaries: [2, 1], values: [3, 2, 1]}}",
        "19:14",
        "must grow",
        "[2, 1]",
    ),
    edit(
        "steps and epochs",
        SCHEDULE,
        "{CosineDecay: {decay_steps: 5, decay_epochs: 1}}",
        "19:14",
        "`decay_steps`",
        "`decay_epochs`",
        "keep one",
    ),
    edit("half a warm-up", SCHEDULE, "{CosineDecay: {warmup_steps: 5}}", "19:14", "`warmup_target`", "together"),
    edit("two clips", "momentum: 0.9", "clipnorm: 1, clipvalue: 1", "18:15", "`clipnorm` and `clipvalue`"),
    edit(
        "decay to exclude from",
        "epochs: 3",
        "epochs: 3\n  exclude_from_weight_decay: [bias]",
        "16:1",
        "no `weight_decay`",
    ),
    edit(
        "decay of an unknown weight",
        "momentum: 0.9}}",
        "weight_decay: 1}}\n  exclude_from_weight_decay: [kernel, bais]",
        "19:39",
        "`bais`",
        "did you mean `bias`?",
    ),
    edit(
        "layers of Muon",
        "{SGD: {learning_rate: 0.1, momentum: 0.9}}",
        "{Muon: {exclude_layers: [Dens, Densy]}}",
        "18:45",
        "`Densy` is found in no name",
        "6.Dense",
    ),
    edit(
        "no expression",
        "{SGD: {learning_rate: 0.1, momentum: 0.9}}",
        "{Muon: {exclude_layers: ['(']}}",
        "18:39",
        "a regular expression",
    ),
    edit("no source", "  name: cifar10\n", "", "2:1", "`name:`", "`folder:`"),
    edit("two sources", "cifar10", "cifar10\n  folder: x", "2:1", "both `name` and `folder`", "keep one"),
    edit("unknown data set", "cifar10", "nonsense_set", "3:9", "unknown data set `nonsense_set`", "`folder:`"),
    edit("missing folder", "name: cifar10", "folder: nowhere", "3:11", "nowhere` does not exist", "class folders"),
    edit("contradicted classes", "cifar10", "cifar10\n  classes: 11", "4:12", "is 11", "10 classes"),
    edit(
        "channels of the statistics",
        "cifar10",
        "cifar10\n  normalization: {mean: [1, 2], variance: [2, 1]}",
        "4:3",
        "2 channels are given",
        "have 3",
    ),
    Case("missing section", "seed: 3\ndata: {name: mnist}\n", {"1:1": ("required section `model:` is missing",)}),
]

YAML = [
    edit("unclosed brace", "seed: 0", "{seed: 0", "2:5", "YAML syntax", "',' or '}'"),
    edit("unclosed bracket", "[AUC]", "[AUC", "22:1", "YAML syntax", "',' or ']'"),
    edit("unclosed quote", "seed: 0", 'seed: "0', "22:1", "YAML syntax", "end of stream", "line 1"),
    edit("bad indentation", "  batch_size", "   batch_size", "4:14", "mapping values are not allowed", "indentation"),
    edit("less indentation", "    - ReLU", "   - ReLU", "11:4", "YAML syntax", "indentation"),
    edit("colon in a value", "seed: 0", "seed: 0: 1", "1:8", "mapping values are not allowed", "quote"),
    edit("sign at the start", "seed: 0", "seed: @3", "1:7", "character '@'", "quote"),
    edit("tab", "  name", "\tname", "3:1", "tabs", "use spaces"),
    edit("tab at the start", "seed: 0", "\tseed: 0", "1:1", "tabs", "use spaces"),
    edit("tab after a colon", "seed: 0", "seed:\t0", "1:6", "a tab stands here; write a space"),
    edit("tab at a line's end", "seed: 0", "seed: 0\t", "1:8", "a tab stands here; write a space"),
    edit("tab before a comment", "seed: 0", "seed: 0\t# x", "1:8", "a tab stands here; write a space"),
    edit("no-break space", "  name", "\u00a0 name", "3:1", "U+00A0 (no-break space)", "write a space"),
    edit("no-break space after a colon", "seed: 0", "seed:\u00a00", "1:6", "U+00A0", "write a space"),
    edit("line separator", "seed: 0", "# a\u2028b\nseed: 0", "1:4", "U+2028 (line separator)", "write a new line"),
    edit("next line", "seed: 0", "seed: 0\u0085", "1:8", "U+0085 (next line)", "write a new line"),
    edit("duplicate key", "seed: 0", "seed: 0\nseed: 1", "2:1", "`seed` stands here twice", "line 1"),
    edit("duplicate argument", "filters: 8", "filters: 8, filters: 9", "9:28", "`filters` stands here twice", "line 9"),
    edit("two documents", "seed: 0", "seed: 0\n---\na: b", "2:1", "a single document", "another document"),
    edit(
        "Python object", "seed: 0", "seed: !!python/object/apply:os.getcwd []", "1:7", "tag", "python/object", "remove"
    ),
    edit("Python name", "seed: 0", "seed: !!python/name:os.getcwd ", "1:7", "tag", "python/name", "remove"),
    edit("unknown tag", "seed: 0", "seed: !foo 3", "1:7", "the tag `!foo`", "remove"),
    edit("tag of another type", "seed: 0", "seed: !!int abc", "1:7", "`abc`", "int"),
    edit("set", "seed: 0", "seed: !!set {a}", "1:7", "tag", "set` is not supported"),
    edit("unknown alias", "seed: 0", "seed: *nothing", "1:7", "undefined alias 'nothing'"),
    edit("two anchors", "seed: 0", "seed: &a &b 3", "1:10", "YAML syntax", "anchor"),
    edit("recursive alias", "seed: 0", "seed: &a [*a]", "1:7", "alias", "holds it"),
    edit(
        "alias of a key",
        "- Dropout: 0.5",
        "- &d Dropout: 0.5\n    - *d",
        "15:7",
        "`rate` is missing (`*d` is `Dropout` alone; for what follows that key too, write `&d {Dropout: ...}`)",
    ),
    Case(
        "alias of a value that fits elsewhere",
        edited(("seed: 0", "seed: &none 0"), ("epochs: 3", "epochs: *none")),
        {"17:11": ("expected a number of at least 1, got 0",)},
    ),
    edit(
        "alias of a layer that fits elsewhere",
        "- Flatten",
        "- &p {MaxPooling2D: 16}\n    - *p\n    - Flatten",
        "14:7",
        "a 16x16 window does not fit the 1x1 input",
    ),
    edit("recursive merge", "seed: 0", "seed: &a {<<: *a}", "1:7", "alias", "holds it"),
    edit("merge of a number", "seed: 0", "<<: 3", "1:5", "`<<` merges mappings", "got 3"),
    edit("number as a key", "seed: 0", "1: 0", "1:1", "a name as the key", "got 1", '"1"'),
    edit("list as a key", "seed: 0", "? [a]\n: 0", "1:3", "a name as the key", '["a"] (a list of 1)'),
    edit("deep nesting", "seed: 0", f"seed: {'[' * 100}{']' * 100}", "1:66", "more than 60 levels"),
    edit("very deep nesting", "seed: 0", f"seed: {'[' * 5000}{']' * 5000}", "1:1", "nested too deeply"),
    Case(
        "alias bomb",
        "a: &a [1, 2, 3, 4, 5, 6, 7, 8, 9]\n"
        + "".join(
            f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        {"5:4": ("more than 10,000 values", "aliases")},
    ),
    Case("empty file", "", {"1:1": ("empty",)}),
    Case("comments only", "# nothing\n# here\n", {"1:1": ("empty",)}),
    Case("scalar document", "hello\n", {"1:1": ("`data:`", '"hello" (a string)')}),
    Case("list document", "- data\n- model\n", {"1:1": ("`data:`", "a list of 2")}),
    Case("null document", "~\n", {"1:1": ("`data:`", "nothing (null)")}),
    Case("binary file", b"\x89PNG\r\n\x1a\n\x00\x00", {"1:1": ("UTF-8", "0x89")}),
    Case("invalid UTF-8", b"seed: 0\nname: \xc3\xa9 \xff\n", {"2:9": ("UTF-8", "0xff")}),
    Case("UTF-16", BASE.encode("utf-16"), {"1:1": ("UTF-16", "save the file as UTF-8")}),
    Case("UTF-16 without a mark", BASE.encode("utf-16-le"), {"1:2": ("control character", "U+0000")}),
    Case("NUL", b"seed: 0\nda\x00ta: 3\n", {"2:3": ("control character", "U+0000")}),
    Case("many values", "seed: [" + "\n1," * 10_000 + "]\n", {"9999:1": ("more than 10,000 values",)}),
    Case("huge file", b"a: 1\n" * 200_001, {"1:1": ("larger than 1,000,000 bytes",)}),
]

EXTENDS = [
    Case(
        "missing base",
        "extends: bse.yaml\n",
        {"1:10": ("there is no file `bse.yaml`", "did you mean `base.yaml`")},
        files={"base.yaml": BASE},
    ),
    Case("folder as a base", "extends: sub\n", {"1:10": ("`sub` is a folder",)}, files={"sub/x.yaml": BASE}),
    Case("itself", "seed: 1\nextends: c.yaml\n", {"2:10": ("circle", "c.yaml -> c.yaml")}),
    Case(
        "circle",
        "extends: b.yaml\n",
        {"b.yaml:1:10": ("circle", "c.yaml -> b.yaml -> c.yaml")},
        files={"b.yaml": "extends: c.yaml\n"},
    ),
    Case("address", "extends: https://x.org/a.yaml\n", {"1:10": ("a file", "`https://x.org/a.yaml`", "download it")}),
    Case("list with a number", "extends: [c.yaml, 3]\n", {"1:19": ("the path of another config", "got 3")}),
    Case("number", "extends: 3\n", {"1:10": ("the path of another config", "got 3")}),
    Case("null", "extends:\n", {"1:9": ("the path of another config", "nothing (null)")}),
    Case("NUL in the name", 'extends: "a\\0b"\n', {"1:10": ("there is no file", "\\x00")}),
    Case(
        "base with a mistake",
        "extends: base.yaml\n",
        {"base.yaml:17:11": ("at least 1", "got 0")},
        files={"base.yaml": edited(("epochs: 3", "epochs: 0"))},
    ),
    Case(
        "base with bad YAML",
        "extends: sub/base.yaml\n",
        {"sub/base.yaml:2:5": ("YAML syntax",)},
        files={"sub/base.yaml": edited(("seed: 0", "{seed: 0"))},
    ),
    Case(
        "a mistake in both",
        "extends: base.yaml\nseed: x\n",
        {"base.yaml:17:11": ("at least 1",), "2:7": ("a whole number", '"x"')},
        files={"base.yaml": edited(("epochs: 3", "epochs: 0"))},
    ),
    Case(
        "not in the base's place",
        "extends: base.yaml\nmodel: {blocs: {}}\n",
        {"2:9": ("unknown key `blocs`", "did you mean `blocks`")},
        files={"base.yaml": BASE},
    ),
]

OVERRIDES = [
    override("unknown path", "training.epoch=5", "unknown key `epoch`", "did you mean `epochs`"),
    override("unknown section", "foo=3", "unknown key `foo`", "`training`"),
    override("unknown argument", "model.layers[5].Dropout.rte=1", "unknown argument `rte`", "did you mean `rate`"),
    override("wrong type", "training.epochs=x", "a whole number", '"x" (a string)'),
    override("out of range", "model.layers[5].Dropout.rate=2", "at most 1", "got 2"),
    override("index out of range", "model.layers[99]=ReLU", "no entry 99", "the list has 7"),
    override("name for an index", "model.layers.x=3", "expected a number", "`x`"),
    override("superscript for an index", "model.layers.\N{SUPERSCRIPT TWO}=3", "expected a number"),
    override("another layer's name", "model.layers[4].Dropout.rate=1", "entry 4 is `Flatten`, not `Dropout`"),
    override("argument without its layer", "model.layers[5].rate=1", "entry 5 is `Dropout`", "write `Dropout.rate`"),
    override("argument without its optimizer", "training.optimizer.momentum=1", "write `SGD.momentum`"),
    override("unknown optimizer", "training.optimizer.Adm.epsilon=1", "did you mean `Adam`", "here is `SGD`"),
    override("unknown name as a value", "training.optimizer=SDG", "unknown optimizer `SDG`", "did you mean `SGD`"),
    override("no equals sign", "training.epochs", "`path=value`"),
    override("no path", "=3", "`path=value`"),
    override("empty value", "training.epochs=", "a value after `=`"),
    override("empty value that may be null", "training.loss=", "a value after `=`; `null` clears it"),
    override("empty string", "data.name=", "a value after `=`"),
    override("broken YAML", "training.epochs=[1", "YAML syntax", "',' or ']'"),
    override("tag", "seed=!!python/object:x 3", "tag", "remove"),
    override("through a scalar", "training.epochs.x=3", "`x` does not exist", "3 (a whole number)"),
    override("no path at all", "a..b=3", "`a..b` is no path", "`model.layers[6].Dropout.rate`"),
    override("negative index", "model.layers[-8]=ReLU", "no entry -8", "or from -1 at its end"),
    override("impossible shape", "model.layers[3].MaxPooling2D=40", "40x40", "32x32 input"),
    override("monitor", "training.early_stopping.monitor=foo", "unknown metric `foo`", "`val_auc`"),
]

CASES = [
    *MISSPELT,
    *TYPES,
    *ARITHMETIC,
    *EMPTY,
    *RANGES,
    *SHAPES,
    *KERNELS,
    *SEVERAL,
    *HINTS,
    *YAML,
    *EXTENDS,
    *OVERRIDES,
]

#: These run through another process, one of each kind.
IN_A_PROCESS = [
    "layer argument",
    "quoted number",
    "rate",
    "window",
    "a misspelt argument and an impossible shape",
    "comma without brackets",
    "unclosed brace",
    "tab",
    "alias bomb",
    "empty file",
    "binary file",
    "circle",
    "wrong type",
    "unknown data set",
    "weights of a wrong length",
]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(case: Case) -> list[str]:
    """Writes a case's files into the working folder, and returns the arguments that train it."""
    for name, content in {"c.yaml": case.text, **case.files}.items():
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return ["train", "c.yaml", *(argument for text in case.overrides for argument in ("--set", text))]


def reported(message: str) -> dict[str, str]:
    """The places that a report names, each with its message."""
    found: dict[str, str] = {}
    place = ""
    for line in message.splitlines():
        match = re.match(r"(\S+:\d+:\d+|--set .*?)(?:  (\S.*))?$", line)
        if match and not line.startswith(" "):
            place = match[1].removeprefix("c.yaml:")
            assert place not in found, f"{place} is reported twice:\n{message}"
            found[place] = ""
        else:
            assert place, f"a line without a place:\n{message}"
            found[place] += line.strip()
    return found


def check_report(case: Case, message: str) -> None:
    assert "Traceback" not in message
    found = reported(message)
    assert list(found) == list(case.problems), message
    for place, words in case.problems.items():
        for word in words:
            assert word in found[place], message


def test_there_are_a_hundred_cases_with_names_of_their_own() -> None:
    names = [case.name for case in CASES]
    assert len(names) >= 100
    assert len({(case.text, case.overrides) for case in CASES}) == len(CASES)


def test_the_config_that_the_cases_break_is_valid(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("c.yaml").write_text(BASE)
    assert run(["inspect", "c.yaml"], monkeypatch) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_broken_config(
    case: Case, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], in_a_folder: Path
) -> None:
    arguments = write(case)
    files = sorted(in_a_folder.rglob("*"))
    assert run(arguments, monkeypatch) == 2
    output = capsys.readouterr()
    assert output.out == ""
    check_report(case, output.err)
    assert sorted(in_a_folder.rglob("*")) == files


#: Runs commands, each in a folder of its own; writes the exit code and what was printed into it.
_NO_TENSORFLOW = """
import contextlib, json, os, sys
from cnnkit.cli import main
for folder, arguments in json.loads(sys.argv[1]):
    os.chdir(folder)
    sys.argv = ["cnnkit", *arguments]
    with (
        open("../stdout-" + os.path.basename(folder), "w") as out,
        open("../stderr-" + os.path.basename(folder), "w") as err,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as end:
            assert end.code == 2, (arguments, end.code)
    heavy = [name for name in ("tensorflow", "keras", "sklearn", "PIL", "matplotlib", "rich") if name in sys.modules]
    assert not heavy, (arguments, heavy)
"""


def test_broken_configs_in_another_process(in_a_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorFlow has not been imported when a command ends; one process answers all, since only it must be new."""
    commands = []
    for number, case in enumerate(cases := [case for case in CASES if case.name in IN_A_PROCESS]):
        folder = in_a_folder / str(number)
        folder.mkdir()
        with monkeypatch.context() as patch:
            patch.chdir(folder)
            commands.append((str(folder), write(case)))
    assert len(cases) == len(IN_A_PROCESS)
    root = Path(cli.__file__).parents[1]
    ended = subprocess.run(
        [sys.executable, "-c", _NO_TENSORFLOW, json.dumps(commands)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(root)},
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    for number, case in enumerate(cases):
        assert (in_a_folder / f"stdout-{number}").read_text() == ""
        check_report(case, (in_a_folder / f"stderr-{number}").read_text())
        assert not (in_a_folder / str(number) / "runs").exists()


def test_as_a_module_the_same_happens(in_a_folder: Path) -> None:
    """`python -m cnnkit` is the installed command's own entry."""
    case = next(case for case in CASES if case.name == "layer argument")
    ended = subprocess.run(
        [sys.executable, "-m", "cnnkit", *write(case)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(Path(cli.__file__).parents[2])},
        check=False,
    )
    assert ended.returncode == 2
    check_report(case, ended.stderr)


def test_the_path_is_part_of_the_report(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text(edited(("kernel_size", "kernal_size"), ("MaxPooling2D: 2", "MaxPooling2D: 40")))
    assert run(["inspect", "c.yaml"], monkeypatch) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "c.yaml:9:28  model.layers[0].Conv2D.kernal_size"
    assert lines[1] == "  unknown argument `kernal_size`; did you mean `kernel_size`?"
    assert lines[2] == "c.yaml:12:21  model.layers[3].MaxPooling2D.pool_size"
    assert len(lines) == 4


# --- Files that cannot be read ------------------------------------------------------------------------


def test_missing_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("digits.yaml").write_text(BASE)
    assert run(["train", "digit.yaml"], monkeypatch) == 2
    assert capsys.readouterr().err == "digit.yaml:1:1\n  there is no such file; did you mean `digits.yaml`?\n"


def test_missing_folder_of_the_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "nowhere/digits.yaml"], monkeypatch) == 2
    assert "nor the folder `nowhere`" in capsys.readouterr().err


def test_address_instead_of_a_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "https://example.org/digits.yaml"], monkeypatch) == 2
    assert "no such file; download what is at the address first" in capsys.readouterr().err


def test_folder_instead_of_a_file() -> None:
    # `train` takes it for one of images; a run that is resumed with it does not.
    Path("folder").mkdir()
    with pytest.raises(ConfigError) as refused:
        load_config("folder")
    assert str(refused.value) == "folder:1:1\n  this is a folder; expected a YAML file"


def test_unreadable_file(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("c.yaml").write_text(BASE)
    Path("c.yaml").chmod(0)
    if os.access("c.yaml", os.R_OK):
        pytest.skip("this user may read every file")
    assert run(["train", "c.yaml"], monkeypatch) == 2
    assert "Permission denied" in capsys.readouterr().err


def test_every_other_problem_of_reading_is_reported_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that no file system takes."""
    name = "x" * 300 + ".yaml"
    assert run(["train", name], monkeypatch) == 2
    assert "cannot read the file: File name too long" in capsys.readouterr().err


def test_a_problem_under_an_alias_is_reported_where_it_was_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("c.yaml").write_text(
        edited(
            ("same}", "same, <<: &extra {use_bias: 3}}"),
            ("BatchNormalization", "Conv2D: {filters: 8, kernel_size: 3, <<: *extra}"),
        )
    )
    assert run(["train", "c.yaml"], monkeypatch) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "c.yaml:9:81  model.layers[0].Conv2D.use_bias"
    assert lines[2] == "c.yaml:9:81  model.layers[1].Conv2D.use_bias"
