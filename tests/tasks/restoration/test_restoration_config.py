"""What a config says of a picture, and what is wrong with it, without a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_pictures import config, save, smooth_picture
from trainings import write

from cnnkit.config import shipped
from cnnkit.config.load import load_config
from cnnkit.errors import ConfigError


def loaded(folder: Path, **data: Any) -> Any:
    content = config(save(smooth_picture(), folder / "photo.png"))
    content["data"] |= data
    return load_config(write(folder, content))


def problem(folder: Path, **data: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(folder, **data)
    return str(caught.value)


def test_the_network_takes_noise_and_makes_the_picture(tmp_path: Path) -> None:
    made = loaded(tmp_path)
    assert made.info.shape == (32, 40, 4)
    assert made.steps[-1].output_shape == (32, 40, 3)
    grey = loaded(tmp_path, channels=1)
    assert grey.steps[-1].output_shape == (32, 40, 1)
    larger = loaded(tmp_path, damage=None, enlarge=3)
    assert larger.steps[-1].output_shape == (96, 120, 3)


def test_a_border_makes_up_for_what_does_not_divide(tmp_path: Path) -> None:
    made = loaded(tmp_path, pad_to=32)
    assert (made.info.shape, made.info.padding) == ((32, 64, 4), (0, 0, 12, 12))


def test_relative_paths_belong_to_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded(tmp_path, damage={"mask": "photo.png"}, image="photo.png")
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    made = load_config("../net.yaml")
    assert made.config.data.image == str(tmp_path / "photo.png")
    assert made.config.data.damage.mask == str(tmp_path / "photo.png")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"image": "nowhere.png"}, "nowhere.png"),
        ({"damage": {}}, "names no damage"),
        ({"damage": {"missing": 0.5, "mask": "photo.png"}}, "keep one of them"),
        ({"damage": {"scale": 3}}, "which `scale: 3` does not divide"),
        ({"damage": {"scale": 2}, "enlarge": 2}, "keep one of them"),
        ({"reference": "photo.png"}, "leave out `reference`"),
        ({"damage": None, "reference": "small.png"}, "is 8x8 (height x width), but should be 32x40"),
        ({"damage": {"mask": "small.png"}}, "the mask"),
        ({"normalization": "scale"}, "takes no images"),
        ({"batch_size": 4}, "trains on no batches"),
        ({"target": "x"}, "`target` says how a `table` is read"),
    ],
)
def test_what_is_wrong_with_a_picture(data: dict[str, Any], said: str, tmp_path: Path) -> None:
    save(np.zeros((8, 8), np.uint8), tmp_path / "small.png")
    assert said in problem(tmp_path, **data)


def test_many_images_are_not_restored(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="learns from one picture"):
        load_config(str(shipped.find("digits")), ["task=restoration"])
    with pytest.raises(ConfigError, match="not for the images of `name: digits`"):
        load_config(str(shipped.find("digits")), ["data.damage.noise=25"])


@pytest.mark.parametrize("name", ["dip_denoise", "dip_inpaint", "dip_superres", "deep_decoder"])
def test_a_shipped_config_takes_a_picture_of_any_size(name: str, tmp_path: Path) -> None:
    """`restore` hands it one of a user's; its own is a photograph that an installed package has."""
    image = save(smooth_picture(61, 45), tmp_path / "photo.png")
    own = [f"data.image={image}", "data.image_size=null", "data.resize=stretch", "data.damage=null"]
    made = load_config(str(shipped.find(name)), own)
    assert made.steps[-1].output_shape == (64, 64, 3)
    assert load_config(str(shipped.find(name))).steps[-1].output_shape == (256, 256, 3)
