"""The configs that come with cnnkit."""

from __future__ import annotations

from pathlib import Path

from cnnkit.config.base import suggestion
from cnnkit.errors import UsageError


def folder() -> Path:
    """Where they are: inside an installed package, or beside the package in a source tree."""
    package = Path(__file__).parent
    inside = package / "shipped_configs"
    return inside if inside.is_dir() else package.parent / "configs"


def names() -> list[str]:
    """Their names, without `.yaml`."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def find(name: str) -> Path:
    """The file of a shipped config.

    Raises:
        UsageError: if there is none of that name.
    """
    stem = name.removesuffix(".yaml")
    if stem not in names():
        raise UsageError(f"cnnkit ships no config `{name}`{suggestion(stem, names())}")
    return folder() / f"{stem}.yaml"


def purpose(name: str) -> str:
    """The first comment line of a shipped config."""
    with find(name).open(encoding="utf-8") as stream:
        return stream.readline().lstrip("# ").strip()
