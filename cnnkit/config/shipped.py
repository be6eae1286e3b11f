"""The configs that come with cnnkit."""

from __future__ import annotations

from pathlib import Path

from cnnkit.errors import UsageError
from cnnkit.format.similar import suggestion

#: Where data are that a user brings.
_OF_THE_USER = ("folder", "table", "image")


def folder() -> Path:
    """Where they are: inside an installed package, or beside the package in a source tree."""
    package = Path(__file__).parent.parent
    inside = package / "shipped_configs"
    return inside if inside.is_dir() else package.parent / "configs"


def names() -> list[str]:
    """Their names, without `.yaml`."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def with_known_data() -> list[str]:
    """The names of those whose data set cnnkit finds by itself, rather than in a user's folder, table or picture."""

    def has_known_data(name: str) -> bool:
        # The nearest file that says where the data are.
        texts = (file.read_text(encoding="utf-8") for file in (find(name), *bases(name)))
        places = ([place for place in ("name", *_OF_THE_USER) if f"\n  {place}:" in text] for text in texts)
        return next((said[0] for said in places if said), None) == "name"

    return [name for name in names() if has_known_data(name)]


def find(name: str) -> Path:
    """The file of a shipped config.

    Raises:
        UsageError: if there is none of that name.
    """
    stem = name.removesuffix(".yaml")
    if stem not in names():
        raise UsageError(f"cnnkit ships no config `{name}`{suggestion(stem, names())}")
    return folder() / f"{stem}.yaml"


def bases(name: str) -> list[Path]:
    """The shipped configs that one extends, the nearest first."""
    from cnnkit.format.document import parse
    from cnnkit.format.files import read_file

    files: list[Path] = []
    file = find(name)
    while True:
        plain = parse(read_file(str(file)), str(file)).plain()
        extends = plain.get("extends") if isinstance(plain, dict) else None
        if not isinstance(extends, str):
            return files
        file = file.parent / extends
        files.append(file)


def purpose(name: str) -> str:
    """The first comment line of a shipped config."""
    with find(name).open(encoding="utf-8") as stream:
        return stream.readline().lstrip("# ").strip()
