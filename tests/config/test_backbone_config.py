"""What a config says of a backbone: checked, completed and found without TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.errors import ConfigError
from cnnkit.network.summary import summarize

#: Digits in three equal channels, as large as the network needs them.
COLOURED = """
    - Branches: {paths: [[], [], []]}
    - UpSampling2D: 4
"""
BACKBONE = "Backbone: {name: MobileNetV3Small, weights: imagenet, trainable: false, until: expanded_conv_2_add}"
HEAD = """
    - GlobalAveragePooling2D
    - Dense: {units: classes, activation: softmax}
"""


def loaded(folder: Path, layers: str, data: str = "name: digits", *overrides: str) -> LoadedConfig:
    file = folder / "net.yaml"
    file.write_text(f"data: {{{data}}}\nmodel:\n  layers:\n{layers}")
    return load_config(str(file), overrides)


def with_backbone(text: str = BACKBONE) -> str:
    return f"{COLOURED}    - {text}\n{HEAD}"


def problems(folder: Path, layers: str, data: str = "name: digits", *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, layers, data, *overrides)
    return str(caught.value)


def test_raw_images_are_the_default_before_a_backbone(tmp_path: Path) -> None:
    assert loaded(tmp_path, with_backbone()).config.data.normalization == "none"
    # Other networks have what they had.
    assert loaded(tmp_path, COLOURED + HEAD).config.data.normalization == "standardize"
    inside = f"{COLOURED}    - Repeat: {{times: 1, layers: [{{{BACKBONE}}}]}}\n{HEAD}"
    assert loaded(tmp_path, inside).config.data.normalization == "none"


def test_images_that_are_normalised_twice_are_refused(tmp_path: Path) -> None:
    text = problems(tmp_path, with_backbone(), "name: digits, normalization: scale")
    assert "net.yaml:1:22  data.normalization" in text
    assert "MobileNetV3Small takes raw images, 0..255" in text
    assert "write `normalization: none`" in text


def test_images_that_do_not_fit_are_refused_where_the_layer_stands(tmp_path: Path) -> None:
    grey = problems(tmp_path, f"    - {BACKBONE}\n{HEAD}")
    assert "net.yaml:4:7  model.layers[0].Backbone" in grey
    assert "receives 8x8x1" in grey
    small = problems(tmp_path, with_backbone(), "name: digits", "model.layers[1].UpSampling2D=3")
    assert "at least 32x32, but receives 24x24x3" in small


def test_paths_of_weights_belong_to_the_file_or_to_the_shell(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    text = BACKBONE.replace("imagenet", "own/my.weights.h5")
    config = loaded(tmp_path / "sub", with_backbone(text)).config
    assert config.model.layers[2].arguments()["weights"] == str(tmp_path / "sub" / "own" / "my.weights.h5")
    of_shell = "model.layers[2].Backbone.weights=runs/first"
    config = loaded(tmp_path / "sub", with_backbone(), "name: digits", of_shell).config
    assert config.model.layers[2].arguments()["weights"] == os.path.join(os.getcwd(), "runs", "first")
    assert loaded(tmp_path, with_backbone()).config.model.layers[2].arguments()["weights"] == "imagenet"


def test_a_block_has_its_path_too_but_not_for_its_parameter(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text(
        "data: {name: digits, normalization: none}\n"
        "model:\n"
        "  blocks:\n"
        "    features:\n"
        "      parameters: {from: imagenet}\n"
        "      layers: [{Backbone: {name: MobileNetV3Small, weights: $from, until: conv_bn}}]\n"
        "    others:\n"
        "      layers: [{Backbone: {name: MobileNetV2, weights: other.h5, until: bn_Conv1}}]\n"
        f"  layers:\n{COLOURED}    - Branches: {{paths: [[features], [others]]}}\n{HEAD}"
    )
    config = load_config(str(file))
    branches = config.steps[2].layer
    inner = [part.steps[0].layer.parts[0].steps[0].layer for part in branches.parts]  # type: ignore[attr-defined]
    assert [layer.weights for layer in inner] == ["imagenet", str(tmp_path / "other.h5")]


def test_inspect_says_what_is_frozen(tmp_path: Path) -> None:
    summary = summarize(loaded(tmp_path, with_backbone()))
    table = summary.as_table()
    row = summary.rows[2]
    assert row.trainable_parameters == 0
    assert f"MobileNetV3Small: {row.parameters:,} parameters are not trained" in table
    assert f"({row.parameters:,} not trainable)" in table
    assert [inner.name for inner in row.rows][:3] == ["rescaling", "conv", "conv_bn"]
    assert sum(inner.parameters for inner in row.rows) == row.parameters
    assert sum(inner.macs for inner in row.rows) == row.macs
    trained = summarize(loaded(tmp_path, with_backbone(BACKBONE.replace("false", "true"))))
    assert trained.rows[2].trainable_parameters > 0
    assert "are not trained" not in trained.as_table()


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("[a]", "expected `imagenet`, a file of weights"),
        ('""', "expected `imagenet`, a file of weights"),
        ("3", "expected `imagenet`, a file of weights"),
    ],
)
def test_weights_are_a_word_a_path_or_null(tmp_path: Path, weights: str, message: str) -> None:
    text = problems(tmp_path, with_backbone(BACKBONE.replace("imagenet", weights)))
    assert "model.layers[2].Backbone.weights" in text
    assert message in text
