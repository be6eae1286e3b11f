"""Names of TFDS data sets, and where prepared ones are."""

from __future__ import annotations

import fnmatch
import os
import re
from pathlib import Path

from cnnkit.config.data import DataProblem
from cnnkit.config.known_data_sets import DEFAULT_CONFIGURATIONS, KNOWN, KNOWN_BOXES, KNOWN_TEXTS
from cnnkit.format.similar import nearest
from cnnkit.images.files import folders_in


def split_name(name: str) -> tuple[str, str | None, str | None]:
    """A TFDS name's parts: `emnist/letters:3.1.0` is (`emnist`, `letters`, `3.1.0`).

    The default configuration is filled in for the common sets that have several.

    Raises:
        DataProblem: if the name is not of this form.
    """
    match = re.fullmatch(r"([A-Za-z0-9_]+)(?:/([A-Za-z0-9_.\-]+))?(?::([0-9*]+(?:\.[0-9*]+)*))?", name)
    if match is None:
        raise DataProblem(
            f"`{name}` is no data set name; expected `name`, `name:version` or `name/configuration`, "
            "such as `mnist`, `mnist:3.0.1` or `emnist/letters`" + meant_name(name),
            "name",
        )
    base, configuration, version = match.groups()
    return base, configuration or DEFAULT_CONFIGURATIONS.get(base), version


def known_name(name: str) -> str:
    """A TFDS name without its version, the default configuration filled in: a key of `KNOWN` and `KNOWN_TEXTS`."""
    base, configuration, _ = split_name(name)
    return f"{base}/{configuration}" if configuration else base


def tfds_folder() -> Path:
    """Where prepared TFDS data sets are: `TFDS_DATA_DIR`, else `~/tensorflow_datasets`."""
    return Path(os.environ.get("TFDS_DATA_DIR") or "~/tensorflow_datasets").expanduser()


def prepared_folder(name: str) -> Path | None:
    """The folder of a prepared TFDS data set, in its newest version that fits; None if there is none."""
    base, configuration, version = split_name(name)
    parent = tfds_folder() / base / (configuration or "")
    folders = [path for path in prepared_versions(parent) if fnmatch.fnmatch(path.name, version or "*")]
    return max(folders, key=_version_key, default=None)


def prepared_data_sets() -> list[tuple[str, Path]]:
    """Every prepared TFDS data set as (`name` or `name/configuration`, folder of its newest version)."""
    data_sets = []
    for base in subfolders(tfds_folder()):
        for parent in (base, *subfolders(base)):
            versions = prepared_versions(parent)
            if versions:
                newest = max(versions, key=_version_key)
                data_sets.append((parent.relative_to(tfds_folder()).as_posix(), newest))
    return data_sets


def meant_name(name: str) -> str:
    """The known or prepared data set that a misspelt name may mean, as the end of a message; else nothing."""
    names = [
        *KNOWN,
        *KNOWN_BOXES,
        *KNOWN_TEXTS,
        *DEFAULT_CONFIGURATIONS,
        *(name_there for name_there, _ in prepared_data_sets()),
    ]
    close = nearest(name.partition(":")[0], names)
    return f"; did you mean `{close}`?" if close else ""


def prepared_versions(parent: Path) -> list[Path]:
    """The folders of the versions of a data set that are prepared in a folder."""
    return [
        path
        for path in subfolders(parent)
        if re.fullmatch(r"\d+\.\d+\.\d+", path.name)
        and (path / "dataset_info.json").is_file()
        and (path / "features.json").is_file()
    ]


def subfolders(parent: Path) -> list[Path]:
    """The folders in a folder, sorted; none where it cannot be read."""
    try:
        return folders_in(parent)[0]
    except OSError:
        return []


def _version_key(path: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in path.name.split("."))
