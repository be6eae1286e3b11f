"""The configs that come with cnnkit: `new` finds them in a source tree and in an installed package."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnnkit.config import shipped
from cnnkit.errors import UsageError

CONFIGS = Path(__file__).parents[2] / "configs"


def test_every_config_is_shipped_with_its_purpose() -> None:
    assert shipped.names() == sorted(file.stem for file in CONFIGS.glob("*.yaml"))
    assert set(shipped.names()) - set(shipped.with_known_data()) == {
        *("detect_digits", "detect_voc", "fcn_camvid", "unet_camvid", "text_cnn"),
        *("deep_decoder", "dip_denoise", "dip_inpaint", "dip_superres", "enlarge", "fill_in"),
    }
    for name in shipped.names():
        first = (CONFIGS / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0]
        assert f"# {shipped.purpose(name)}" == first
        assert len(shipped.purpose(name)) > 10


def test_a_name_may_have_its_ending() -> None:
    assert shipped.find("digits") == shipped.find("digits.yaml")
    assert shipped.find("digits").read_text(encoding="utf-8") == (CONFIGS / "digits.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "nearest"), [("digts", "digits"), ("cifar", "cifar10"), ("mnist-lecture", "mnist_lecture")]
)
def test_a_misspelt_name_gets_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(UsageError, match=f"`{name}`.*did you mean `{nearest}`"):
        shipped.find(name)


@pytest.mark.parametrize("name", ["", "../configs/digits", "/etc/passwd", ".yaml", "digits.yaml.yaml"])
def test_only_shipped_names_count(name: str) -> None:
    with pytest.raises(UsageError):
        shipped.find(name)


def test_an_installed_package_holds_them_inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = tmp_path / "cnnkit" / "shipped_configs"
    inside.mkdir(parents=True)
    (inside / "mine.yaml").write_text("# Mine.\n")
    monkeypatch.setattr(shipped, "__file__", str(tmp_path / "cnnkit" / "config" / "shipped.py"))
    assert shipped.names() == ["mine"]
    assert shipped.purpose("mine") == "Mine."


def test_the_wheel_takes_them_where_an_installed_package_looks() -> None:
    import tomllib

    project = tomllib.loads((CONFIGS.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"] == {
        "configs": "cnnkit/shipped_configs"
    }
