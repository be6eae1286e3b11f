"""`inspect --lint`: each rule on a network that breaks it, and on one that does not."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from cnnkit.cli import cli
from cnnkit.config import shipped
from cnnkit.config.load import load_config
from cnnkit.format.document import dump
from cnnkit.layers.base import Scope, Seeds
from cnnkit.network.lint import RULES, Advice, Rule, lint
from cnnkit.network.lint import advice as advice_module
from cnnkit.network.summary import summarize

ROOT = Path(__file__).parents[2]

HEAD: list[Any] = ["GlobalAveragePooling2D", {"Dense": {"units": "classes", "activation": "softmax"}}]


def conv(filters: Any = 16, **arguments: Any) -> dict[str, Any]:
    return {"Conv2D": {"filters": filters, "kernel_size": 3, "padding": "same", **arguments}}


def advice(tmp_path: Path, layers: list[Any], size: int = 16) -> list[Advice]:
    data = {"name": "made_up", "shape": [size, size, 3], "classes": 10}
    file = tmp_path / "net.yaml"
    file.write_text(dump({"data": data, "model": {"layers": layers}}))
    return lint(load_config(str(file), []))


def rules(tmp_path: Path, layers: list[Any], size: int = 16) -> dict[str, Advice]:
    return {one.rule: one for one in advice(tmp_path, layers, size)}


#: Layers whose positions see most of a 16x16 image, and nothing wrong with them.
SOUND: list[Any] = [conv(use_bias=False), "BatchNormalization", "ReLU", {"MaxPooling2D": 2}, conv(32), conv(32)]


#: Few enough values for the classes' scores.
SCORES: list[Any] = [{"Conv2D": {"filters": "classes", "kernel_size": 1}}, "Flatten", "Softmax"]

SQUEEZE: list[Any] = [
    {"GlobalAveragePooling2D": {"keepdims": True}},
    {"Dense": {"units": 4, "activation": "relu"}},
    {"Dense": {"units": 16, "activation": "sigmoid"}},
]


def test_a_sound_network_gets_no_advice(tmp_path: Path) -> None:
    assert advice(tmp_path, [*SOUND, {"Dropout": 0.5}, *HEAD]) == []


@pytest.mark.parametrize(
    ("rule", "layers", "place", "words"),
    [
        (
            "bias-before-normalization",
            [conv(), "BatchNormalization", *SOUND, *HEAD],
            "model.layers[0].Conv2D",
            ["subtracts the mean", "use_bias: false"],
        ),
        (
            "dropout-before-normalization",
            [{"Dropout": 0.2}, *SOUND, *HEAD],
            "model.layers[0].Dropout",
            ["variance", "arXiv:1801.05134"],
        ),
        (
            "dense-holds-most",
            [*SOUND, "Flatten", {"Dense": 100}, {"Dense": {"units": "classes", "activation": "softmax"}}],
            "model.layers[7].Dense",
            # 8 * 8 * 32 inputs and a bias for each of 100 units; of those, 30 thousand elsewhere.
            ["204,900", "GlobalAveragePooling2D"],
        ),
        (
            "small-receptive-field",
            [conv(), conv(), *HEAD],
            "model.layers[1].Conv2D",
            ["sees 5x5 of the 16x16 image"],
        ),
        (
            "large-receptive-field",
            [*[conv()] * 17, *HEAD],
            "model.layers[16].Conv2D",
            ["sees 35x35", "16x16"],
        ),
        (
            "dropped-rows",
            [{"Conv2D": {"filters": 16, "kernel_size": 3, "strides": 2}}, conv(), conv(), conv(), *HEAD],
            "model.layers[0].Conv2D",
            ["remainder 1", "padding: same"],
        ),
        (
            "bottleneck",
            [conv(64), conv(2), conv(64), conv(64), conv(64), *HEAD],
            "model.layers[1].Conv2D",
            ["16x16x64 values it leaves 16x16x2, 3%", "arXiv:1512.00567"],
        ),
        (
            "collapsed-too-early",
            [*SOUND, {"GlobalAveragePooling2D": {"keepdims": True}}, conv(32), *HEAD],
            "model.layers[7].Conv2D",
            ["1x1 image", "kernel_size: 1"],
        ),
        (
            "narrow-dense",
            [*SOUND, "GlobalAveragePooling2D", {"Dense": 4}, {"Dense": {"units": "classes", "activation": "softmax"}}],
            "model.layers[7].Dense",
            ["10 classes hang on its 4 values"],
        ),
        ("softmax-twice", [*SOUND, *HEAD, "Softmax"], "model.layers[8].Softmax", ["nearly uniform"]),
    ],
)
def test_a_rule_finds_its_fault_and_nothing_else(
    tmp_path: Path, rule: str, layers: list[Any], place: str, words: list[str]
) -> None:
    found = rules(tmp_path, layers)
    assert set(found) == {rule}
    assert found[rule].places == (place,)
    for word in words:
        assert word in str(found[rule])


@pytest.mark.parametrize(
    "layers",
    [
        # The normalization is frozen, or an activation, or padding with zeros, stands between.
        [conv(), {"BatchNormalization": {"trainable": False}}, *SOUND, *HEAD],
        [
            conv(),
            {"AveragePooling2D": {"pool_size": 3, "strides": 1, "padding": 1}},
            "BatchNormalization",
            *SOUND,
            *HEAD,
        ],
        [conv(), conv(use_bias=False), "BatchNormalization", *SOUND, *HEAD],
        # The bias also goes a way on which nothing subtracts it.
        [conv(), {"Residual": ["BatchNormalization", "ReLU", conv(use_bias=False)]}, *SOUND[2:], *HEAD],
        [conv(), {"Branches": {"merge": "maximum", "paths": [[], []]}}, "BatchNormalization", *SOUND[2:], *HEAD],
        [conv(activation="relu"), "BatchNormalization", *SOUND, *HEAD],
        # The class scores are few by their nature.
        [*SOUND, conv(96), conv("classes"), "GlobalAveragePooling2D", "Softmax"],
        # A normalization over the whole image does not end it; a dropout of nothing changes no variance.
        [conv(use_bias=False), {"GroupNormalization": 4}, {"Dropout": 0}, *SOUND, *HEAD],
        # Another axis is normalized; a transposed convolution enlarges a pixel.
        [conv(), {"BatchNormalization": {"axis": 1}}, *SOUND, *HEAD],
        [
            *SOUND,
            {"GlobalAveragePooling2D": {"keepdims": True}},
            {"Conv2DTranspose": {"filters": 8, "kernel_size": 4}},
            *HEAD,
        ],
        # What covers the rest of the image sees all of it: a convolution, or Flatten and Dense.
        [conv(), conv(), conv(), {"MaxPooling2D": 2}, {"Conv2D": {"filters": 32, "kernel_size": 8}}, *SCORES],
        [conv(16), conv(16), {"MaxPooling2D": 2}, {"MaxPooling2D": 2}, conv(64), "Flatten", *HEAD[1:]],
        # Only padding is left over.
        [conv(), conv(), {"MaxPooling2D": {"pool_size": 3, "strides": 2, "padding": 1}}, conv(32), conv(32), *HEAD],
        # The shortcut of a residual connection: the main path reads what its stride passes over.
        [
            conv(use_bias=False),
            {
                "Residual": {
                    "layers": [conv(32, strides=2), conv(32)],
                    "shortcut": [{"Conv2D": {"filters": 32, "kernel_size": 1, "strides": 2}}],
                }
            },
            conv(32),
            *HEAD,
        ],
        # Poolings are meant to leave few values, and shortcuts carry what a narrow main path loses.
        [conv(), conv(), {"MaxPooling2D": 4}, conv(64), *HEAD],
        [conv(), conv(), {"MaxPooling2D": {"pool_size": 3, "padding": "same"}}, conv(64), *HEAD],
        [*SOUND, {"Residual": [conv(2), conv(32)]}, *HEAD],
        # Dropouts beside a normalization, or behind the last one.
        [*SOUND, {"Branches": [[{"Dropout": 0.2}, conv(32)], ["BatchNormalization"]]}, *HEAD],
        # Squeeze and excitation pools what the network goes on to look at.
        [
            conv(),
            {"Branches": {"merge": "multiply", "paths": [[], [*SQUEEZE]]}},
            *SOUND,
            *HEAD,
        ],
        # Deep, but with short ways to each layer.
        [*[{"Residual": [conv(3), conv(3)]}] * 12, *SOUND, *HEAD],
        # A network without convolutions has nothing but Dense layers.
        ["Flatten", {"Dense": {"units": "classes", "activation": "softmax"}}],
    ],
)
def test_what_only_looks_like_a_fault_is_left_alone(tmp_path: Path, layers: list[Any]) -> None:
    assert advice(tmp_path, layers) == []


def only(tmp_path: Path, layers: list[Any], size: int = 16) -> Advice:
    (found,) = advice(tmp_path, layers, size)
    return found


def test_a_network_that_collapses_at_once_is_told_all_that_is_wrong(tmp_path: Path) -> None:
    first = {"Conv2D": {"filters": 64, "kernel_size": 3, "strides": 40, "padding": "same", "activation": "relu"}}
    found = rules(tmp_path, [first, {"Conv2D": {"filters": 64, "kernel_size": 1}}, "Flatten", *HEAD[1:]], 32)
    assert set(found) == {"skipped-rows", "small-receptive-field", "bottleneck"}
    assert {one.places for one in found.values()} == {("model.layers[0].Conv2D",)}
    assert "sees 3x3 of the 32x32 image" in found["small-receptive-field"].message
    assert "of 32 rows and columns, 3 are read" in found["skipped-rows"].message


def test_towers_whose_scores_are_averaged_are_looked_at_as_networks(tmp_path: Path) -> None:
    tower = [conv(), {"MaxPooling2D": 2}, "GlobalAveragePooling2D", {"Dense": 4}, *HEAD[1:]]
    found = rules(tmp_path, [{"Branches": {"merge": "average", "paths": [tower, tower]}}])
    assert set(found) == {"small-receptive-field", "narrow-dense"}
    assert found["narrow-dense"].places == (
        "model.layers[0].Branches, paths.0.3.Dense",
        "model.layers[0].Branches, paths.1.3.Dense",
    )
    # One path that sees enough is enough.
    seeing = [*SOUND, *HEAD]
    blind = [conv(), *HEAD]
    assert advice(tmp_path, [{"Branches": {"merge": "average", "paths": [seeing, blind]}}]) == []


def test_statistics_of_the_image_do_not_make_a_feature_see_it(tmp_path: Path) -> None:
    squeezed = {"Branches": {"merge": "multiply", "paths": [[], SQUEEZE]}}
    found = only(tmp_path, [conv(), {"GroupNormalization": 4}, squeezed, conv(), *HEAD])
    assert (found.rule, found.places) == ("small-receptive-field", ("model.layers[3].Conv2D",))
    assert "sees 5x5 of" in found.message


@pytest.mark.parametrize(
    ("layer", "message", "fix"),
    [
        # 3 of 4 columns: 0, 1, 2, 4, 5, 6, ...
        (conv(32, strides=4), "of 16 rows and columns, 12 are", "`kernel_size` of at least the stride"),
        (conv(32, kernel_size=1, strides=[1, 2]), "of 16 columns, 8 are", "AveragePooling2D"),
        ({"MaxPooling2D": {"pool_size": 2, "strides": 3}}, "of 16 rows and columns, 10 are", "`pool_size` of at least"),
        # Every window reads even rows: 0, 2, 4; 2, 4, 6; ...
        (
            {"DepthwiseConv2D": {"kernel_size": 3, "strides": 2, "dilation_rate": 2}},
            "of 16 rows and columns, 8 are",
            "`strides: 1`",
        ),
    ],
)
def test_rows_that_a_stride_passes_over_are_counted(
    tmp_path: Path, layer: dict[str, Any], message: str, fix: str
) -> None:
    found = rules(tmp_path, [conv(), conv(), layer, conv(64), conv(64), conv(64), conv(64), *HEAD])
    assert "dropped-rows" not in found
    assert message in found["skipped-rows"].message
    assert fix in found["skipped-rows"].fix


def test_both_paths_of_a_residual_connection_may_pass_over_the_same_pixels(tmp_path: Path) -> None:
    strided = {"Conv2D": {"filters": 32, "kernel_size": 1, "strides": 2}}
    residual = {"Residual": {"layers": [strided, conv(32)], "shortcut": [strided]}}
    found = only(tmp_path, [conv(), residual, conv(32), conv(32), *HEAD])
    assert found.rule == "skipped-rows"
    assert found.places == (
        "model.layers[1].Residual, layers.0.Conv2D",
        "model.layers[1].Residual, shortcut.0.Conv2D",
    )


STOCHASTIC_DEPTH = {"Dropout": {"rate": 0.2, "noise_shape": [None, 1, 1, 1]}}
WIDE: list[Any] = ["BatchNormalization", "ReLU", conv(use_bias=False)]


@pytest.mark.parametrize(
    ("layers", "place"),
    [
        ([conv(), {"Dropout": 0.2}, {"Residual": [conv(use_bias=False), *WIDE]}], "model.layers[1].Dropout"),
        ([conv(), {"Dropout": 0.2}, {"Residual": WIDE}], "model.layers[1].Dropout"),
        (
            [conv(), {"Residual": [conv(), {"SpatialDropout2D": 0.2}]}, conv(use_bias=False), *WIDE],
            "model.layers[1].Residual, layers.1.SpatialDropout2D",
        ),
        # A whole path is dropped where nothing goes beside it, and values of a path that has another one.
        ([conv(), STOCHASTIC_DEPTH, conv(use_bias=False), *WIDE], "model.layers[1].Dropout"),
        (
            [conv(), {"Residual": [conv(), {"Dropout": {"rate": 0.2, "noise_shape": [None, 1, 1, None]}}, *WIDE]}],
            "model.layers[1].Residual, layers.1.Dropout",
        ),
        (
            [{"Branches": [[{"Dropout": 0.2}], []]}, conv(use_bias=False), *WIDE],
            "model.layers[0].Branches, paths.0.0.Dropout",
        ),
    ],
)
def test_dropout_before_normalization_is_found_across_composites(tmp_path: Path, layers: list[Any], place: str) -> None:
    found = only(tmp_path, [*layers, {"MaxPooling2D": 2}, conv(32), conv(32), *HEAD])
    assert (found.rule, found.places) == ("dropout-before-normalization", (place,))


def test_a_path_may_be_dropped_before_the_normalizations_of_later_ones(tmp_path: Path) -> None:
    """Stochastic depth (Huang et al. 2016) has a batch normalization in every later residual function."""
    unit = {"Residual": [conv(use_bias=False), "BatchNormalization", STOCHASTIC_DEPTH]}
    assert advice(tmp_path, [conv(), unit, unit, {"MaxPooling2D": 2}, conv(32), conv(32), *HEAD]) == []


@pytest.mark.parametrize(
    "between",
    [
        [{"AveragePooling2D": {"pool_size": 2, "padding": "same"}}],
        [{"MaxPooling2D": {"pool_size": 3, "strides": 2, "padding": 1}}],
        [{"Dropout": 0}],
        [{"Activation": "linear"}],
        [{"UpSampling2D": 2}, {"Cropping2D": 4}],
        [{"Conv2D": {"filters": 16, "kernel_size": 3, "use_bias": False}}],
        [{"Residual": {"layers": ["ReLU", conv(use_bias=False)]}}],
        [{"Branches": [[], [conv(kernel_size=1, use_bias=False)]]}],
        [{"Permute": [3, 1, 2]}, {"BatchNormalization": {"axis": 1}}, {"Permute": [2, 3, 1]}, "ReLU"],
    ],
)
def test_biases_reach_the_normalization_through_what_keeps_constants(tmp_path: Path, between: list[Any]) -> None:
    # The ReLU of a residual connection takes the biases along a way on which they matter.
    expected = not isinstance(between[0], dict) or "Residual" not in between[0]
    found = advice(tmp_path, [conv(16, kernel_size=5), *between, "BatchNormalization", *SOUND[2:], *HEAD])
    assert [one.rule for one in found] == ["bias-before-normalization"] * expected
    if expected:
        assert found[0].places == ("model.layers[0].Conv2D",)


@pytest.mark.parametrize(
    ("layer", "kept"),
    [
        ({"AveragePooling2D": {"pool_size": 3, "padding": "same"}}, True),
        ({"AveragePooling2D": {"pool_size": 3, "padding": 1}}, False),
        ({"MaxPooling2D": {"pool_size": 3, "padding": 1}}, True),
        ({"ZeroPadding2D": 1}, False),
        ({"UpSampling2D": {"size": 2, "interpolation": "bicubic"}}, True),
        ({"Resizing": {"height": 7, "width": 5}}, True),
        ({"Resizing": {"height": 20, "width": 9, "pad_to_aspect_ratio": True}}, False),
        ({"Rescaling": {"scale": 2, "offset": 1}}, True),
        ({"SeparableConv2D": {"filters": 8, "kernel_size": 3, "use_bias": False}}, True),
        (conv(8, use_bias=False), False),
        ({"LeakyReLU": 0.5}, False),
        ({"GaussianNoise": 0.5}, True),
        ("Flatten", True),
        ("GlobalMaxPooling2D", True),
        ("LayerNormalization", False),
    ],
)
def test_a_constant_per_channel_stays_one_where_the_rule_says_so(tmp_path: Path, layer: Any, kept: bool) -> None:
    """Keras' layer on images with and without a constant per channel: the difference is one, or it is not."""
    layers = [conv(8), layer, "BatchNormalization", "Flatten", *HEAD[1:]]
    assert ("bias-before-normalization" in rules(tmp_path, layers)) == kept
    loaded = load_config(str(tmp_path / "net.yaml"), [])
    step = loaded.config.model.trace(loaded.info.shape, loaded.info.target.values)[1]
    built = step.layer.build(Scope("layer", step.input_shape, Seeds(0)))
    random = np.random.default_rng(0)
    images, constants = (random.normal(size=shape).astype("float32") for shape in ((3, *step.input_shape), (8,)))
    change = np.asarray(built(images + constants)) - np.asarray(built(images))
    varies = change.reshape(-1, change.shape[-1]).std(axis=0).max()
    assert (varies < 1e-4) == kept


def test_biases_of_a_sum_that_is_always_normalized_are_found(tmp_path: Path) -> None:
    """Pre-activation ResNets: the sum's biases are subtracted before each block, and at the end."""
    block = {"Residual": ["BatchNormalization", "ReLU", conv()]}
    found = only(tmp_path, [conv(), block, block, "BatchNormalization", "ReLU", {"MaxPooling2D": 2}, conv(32), *HEAD])
    assert found.rule == "bias-before-normalization"
    assert len(found.places) == 3
    # Without an offset there, one may still want none of the convolution's.
    layers = [conv(), {"BatchNormalization": {"center": False}}, *SOUND, *HEAD]
    assert "they have no effect" in only(tmp_path, layers).message


def test_images_with_their_channels_first(tmp_path: Path) -> None:
    def first(filters: int, **arguments: Any) -> dict[str, Any]:
        return conv(filters, data_format="channels_first", **arguments)

    turn, pool = {"Permute": [3, 1, 2]}, {"GlobalAveragePooling2D": {"data_format": "channels_first"}}
    found = rules(tmp_path, [turn, first(16), {"BatchNormalization": {"axis": 1}}, "ReLU", pool, *HEAD[1:]])
    assert set(found) == {"bias-before-normalization", "small-receptive-field"}
    assert "sees 3x3 of the 16x16 image" in found["small-receptive-field"].message
    sound = [first(16, use_bias=False), {"BatchNormalization": {"axis": 1}}, "ReLU", first(32), first(32), first(32)]
    assert advice(tmp_path, [turn, *sound, pool, *HEAD[1:]]) == []
    # The last axis is the width: each column has a mean of its own.
    columns = [first(16), "BatchNormalization", *sound[2:], pool, *HEAD[1:]]
    assert advice(tmp_path, [turn, *columns]) == []
    narrow = [*sound, first(2), first(32), pool, *HEAD[1:]]
    assert only(tmp_path, [turn, *narrow]).rule == "bottleneck"


def test_a_bottleneck_in_several_steps_is_found(tmp_path: Path) -> None:
    layers = [conv(), {"Conv2D": {"filters": 4, "kernel_size": 1}}, {"MaxPooling2D": 2}, conv(64), conv(64), *HEAD]
    found = only(tmp_path, layers)
    assert (found.rule, found.places) == ("bottleneck", ("model.layers[2].MaxPooling2D",))
    assert "of 16x16x16 values before, 8x8x4 are left here, 6%, which layers after it make 8x8x64" in found.message
    assert "layers before it" in found.fix


def test_advice_and_the_warnings_of_the_table_agree(tmp_path: Path) -> None:
    data = {"name": "made_up", "shape": [33, 33, 3], "classes": 10}
    strided = {"Conv2D": {"filters": 16, "kernel_size": 1, "strides": 2}}
    layers = [
        {"MaxPooling2D": 2},
        {"Residual": {"layers": [conv(strides=2), "Normalization"], "shortcut": [strided]}},
        {"Branches": [[strided], [{"MaxPooling2D": {"pool_size": 3, "strides": 2, "padding": 1}}]]},
        {"Conv2D": {"filters": 16, "kernel_size": 2, "strides": 3, "padding": 1}},
        *HEAD,
    ]
    file = tmp_path / "net.yaml"
    file.write_text(dump({"data": data, "model": {"layers": layers}}))
    loaded = load_config(str(file), [])
    warned = {"dropped-rows", "skipped-rows", "layer-warning"}
    said = [f"{place}: {one.message}" for one in lint(loaded) if one.rule in warned for place in one.places]
    assert sorted(said) == sorted(summarize(loaded).warnings)
    assert [text.partition(": ")[0] for text in said] == [
        "model.layers[0].MaxPooling2D",
        "model.layers[1].Residual, layers.1.Normalization",
        "model.layers[3].Conv2D",
    ]


def test_the_reference_lists_the_rules_that_there_are() -> None:
    """Rules are made in one module; what the tests above find is among them, and all are in docs/reference.md."""
    made = {value.name for value in vars(advice_module).values() if isinstance(value, Rule)}
    section = (ROOT / "docs" / "reference.md").read_text().partition("\n## Advice")[2].partition("\n## ")[0]
    assert re.findall(r"^### `(.*)`$", section, re.MULTILINE) == [rule.name for rule in RULES]
    assert made == {rule.name for rule in RULES}
    for rule in RULES:
        for text in (rule.finds, rule.why, rule.fix, rule.source):
            assert text in section


def test_faults_inside_composites_are_found_once_for_all_places(tmp_path: Path) -> None:
    layers = [conv(use_bias=False), {"Repeat": {"times": 5, "layers": [{"Residual": [conv(), "BatchNormalization"]}]}}]
    found = advice(tmp_path, [*layers, *HEAD])
    assert [one.rule for one in found] == ["bias-before-normalization"]
    assert len(found[0].places) == 5
    assert found[0].places[0] == "model.layers[1].Repeat, 0.layers.0.Residual, layers.0.Conv2D"
    assert "and 2 more places" in str(found[0])


def test_a_fault_across_the_end_of_a_block_is_found(tmp_path: Path) -> None:
    data = {"name": "made_up", "shape": [16, 16, 3], "classes": 10}
    model = {"blocks": {"one": {"layers": [conv()]}}, "layers": ["one", "BatchNormalization", *SOUND, *HEAD]}
    file = tmp_path / "net.yaml"
    file.write_text(dump({"data": data, "model": model}))
    (found,) = lint(load_config(str(file), []))
    assert found.places == ("model.layers[0].one, layers.0.Conv2D",)


def test_the_command_shows_it_below_the_table_and_in_json(tmp_path: Path) -> None:
    file = str(shipped.find("mnist"))
    text = CliRunner().invoke(cli, ["inspect", file, "--lint"]).output
    assert "it holds 432,100 of 433,890 parameters" in text
    data = json.loads(CliRunner().invoke(cli, ["inspect", file, "--lint", "--json"]).output)
    assert {one["rule"] for one in data["lint"]} == {"dense-holds-most"}
    assert set(data["lint"][0]) == {"rule", "places", "message", "fix"}
    assert "lint" not in json.loads(CliRunner().invoke(cli, ["inspect", file, "--json"]).output)


@pytest.mark.parametrize("layer", [{"Residual": {"layers": ["ReLU"], "shortcut": []}}, {"Branches": [["ReLU"], []]}])
def test_paths_behind_a_global_pooling_see_no_window(tmp_path: Path, layer: Any) -> None:
    layers = [conv(), "BatchNormalization", "ReLU", "GlobalAveragePooling2D", layer, {"Dense": "classes"}, "Softmax"]
    assert "receptive field" not in " ".join(one.message for one in advice(tmp_path, layers))
