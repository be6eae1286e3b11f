"""`inspect --lint`: each rule on a network that breaks it, and on one that does not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cnnkit import shipped
from cnnkit.cli import cli
from cnnkit.config.document import dump
from cnnkit.config.load import load_config
from cnnkit.lint import Advice, lint

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
            ["4 values have to tell 10 classes apart"],
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
        # The normalization has no mean to subtract with, or the convolution no bias, or an activation stands between.
        [conv(), {"BatchNormalization": {"center": False}}, *SOUND, *HEAD],
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
        # A network without convolutions has nothing but Dense layers.
        ["Flatten", {"Dense": {"units": "classes", "activation": "softmax"}}],
    ],
)
def test_what_only_looks_like_a_fault_is_left_alone(tmp_path: Path, layers: list[Any]) -> None:
    assert advice(tmp_path, layers) == []


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
    assert {one["rule"] for one in data["lint"]} == {"dense-holds-most", "small-receptive-field"}
    assert "lint" not in json.loads(CliRunner().invoke(cli, ["inspect", file, "--json"]).output)
