"""`cnnkit new --from FOLDER` for photographs: a network that has learned ImageNet, where there is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from commands import run
from image_folders import write_images

from cnnkit.config.load import load_config
from cnnkit.layers.backbone_graph import read_network


@pytest.fixture(autouse=True)
def keras_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of Keras' without weights."""
    home = tmp_path / "keras"
    home.mkdir()
    monkeypatch.setenv("KERAS_HOME", str(home))
    monkeypatch.chdir(tmp_path)
    return home


def first_layer(file: str) -> str:
    return load_config(file).steps[0].layer.kind


def test_without_its_weights_photographs_get_a_small_network_and_the_command_for_a_better_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_images(Path("photos"), ["cat", "dog"], size=(130, 130), mode="RGB")
    assert run(["new", "--from", "photos"], monkeypatch) == 0
    text = " ".join(Path("photos.yaml").read_text().replace("#", "").split())
    assert "cnnkit new --from photos --backbone MobileNetV3Small" in text
    assert first_layer("photos.yaml") == "Conv2D"


def test_what_is_cached_is_begun_with(keras_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(Path("photos"), ["cat", "dog"], size=(130, 130), mode="RGB")
    weights = read_network("MobileNetV3Small").file_for((128, 128, 3))
    (keras_home / "models").mkdir()
    (keras_home / "models" / weights.file).touch()
    assert run(["new", "--from", "photos"], monkeypatch) == 0
    assert first_layer("photos.yaml") == "Backbone"
    # Small, grey or written images are not what it knows.
    write_images(Path("small"), ["cat", "dog"], size=(32, 32), mode="RGB")
    write_images(Path("grey"), ["cat", "dog"], size=(130, 130))
    write_images(Path("digits"), ["0", "1"], size=(130, 130), mode="RGB")
    for folder in ("small", "grey", "digits"):
        assert run(["new", "--from", folder], monkeypatch) == 0
        assert first_layer(f"{folder}.yaml") == "Conv2D"


@pytest.mark.parametrize("mode", ["RGB", "L", "grey in colour"])
def test_a_backbone_that_is_asked_for_gets_images_in_colour_and_stages(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(Path("photos"), ["cat", "dog"], size=(30, 30), mode=mode)
    assert run(["new", "--from", "photos", "--backbone", "MobileNetV2"], monkeypatch) == 0
    loaded = load_config("photos.yaml")
    assert loaded.info.shape == (96, 96, 3)
    assert loaded.steps[0].layer.name == "MobileNetV2"
    first, second = loaded.config.training.stages
    assert (first.freeze, second.unfreeze) == (["MobileNetV2"], ["MobileNetV2"])


def test_images_that_are_no_squares_keep_their_proportions(monkeypatch: pytest.MonkeyPatch) -> None:
    write_images(Path("photos"), ["cat", "dog"], size=(100, 150), mode="RGB")
    assert run(["new", "--from", "photos", "--backbone", "MobileNetV2"], monkeypatch) == 0
    data = load_config("photos.yaml").config.data
    assert (data.image_size, data.resize) == ((96, 96), "pad")


def test_a_backbone_that_does_not_exist_or_fit_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_images(Path("photos"), ["cat", "dog"])
    assert run(["new", "--from", "photos", "--backbone", "MobilNetV2"], monkeypatch) == 2
    assert "there is no network `MobilNetV2`; did you mean `MobileNetV2`?" in capsys.readouterr().err
    write_images(Path("roads"), ["images", "masks"])
    Path("roads/classes.txt").write_text("\n".join(f"class {number}" for number in range(256)))
    assert run(["new", "--from", "roads", "--backbone", "MobileNetV2"], monkeypatch) == 2
    assert "leave it out for masks" in capsys.readouterr().err
