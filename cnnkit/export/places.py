"""Where an export's files lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cnnkit.errors import UsageError
from cnnkit.export.formats import Format

#: What a SavedModel's folder has its graph in.
SAVED_MODEL = "saved_model.pb"


@dataclass(frozen=True)
class Places:
    """The files of one export, all in one folder.

    Attributes:
        format_: Of the network.
        main: The network's file or folder.
    """

    format_: Format
    main: Path

    @property
    def network(self) -> tuple[Path, ...]:
        """The network's file or folder, and the files that belong to it."""
        return (self.main, *(self.main.with_suffix(ending) for ending in self.format_.beside))

    @property
    def description(self) -> Path:
        """The JSON that says what the network is."""
        return self.main.with_name(f"{self.main.name}.json")

    @property
    def script(self) -> Path:
        """The script that runs it."""
        return self.main.with_name(f"{self.main.name}.py")

    @property
    def card(self) -> Path:
        """The model card. Not README.md: a folder has one of its own, or the card of another network."""
        return self.main.with_name(f"{self.main.name}.md")

    @property
    def described(self) -> tuple[Path, ...]:
        """What there is of a network that may not be used, too."""
        return (*self.network, self.description)

    @property
    def all(self) -> tuple[Path, ...]:
        """Every file and folder that an export writes."""
        return (*self.described, self.script, self.card)

    def moved_to(self, folder: Path) -> Places:
        """The same files in another folder."""
        return Places(self.format_, folder / self.main.name)

    def failed(self) -> Places:
        """The names of a network that may not be used: `model.failed.onnx`."""
        return Places(self.format_, self.main.with_name(f"{self.main.stem}.failed{self.main.suffix}"))

    def check_free(self) -> None:
        """Whether none of them is there yet.

        Raises:
            UsageError: naming one that is.
        """
        for path in self.all:
            if os.path.lexists(path):
                raise UsageError(
                    f"`{path}` is there already",
                    f"Export into another folder, such as --output exported/{self.main.name}, or replace it with "
                    "--overwrite.",
                )

    def check_replaceable(self) -> None:
        """Whether those that are there may be replaced: files, and a folder that is empty or holds an exported network.

        Raises:
            UsageError: naming a folder with anything else in it.
        """
        for path in self.all:
            is_exported = path == self.main and (path / SAVED_MODEL).is_file()
            if path.is_dir() and not is_exported and any(path.iterdir()):
                raise UsageError(
                    f"`{path}` is a folder that holds something other than an exported network",
                    "--overwrite does not remove it; name another one with --output.",
                )


def places_for(format_: Format, output: str | None, run_name: str) -> Places:
    """Where to write.

    Args:
        output: The network's file, or its folder for a format that is one; by default `model` in a new folder here.

    Raises:
        UsageError: if the name does not end as the format's files do, or its folder is a file.
    """
    path = Path(output) if output is not None else Path(f"{run_name}-{format_.name}", f"model{format_.ending}")
    if not path.name or (format_.ending and path.suffix != format_.ending):
        ending = format_.ending or "the name of a folder"
        raise UsageError(f"--output: expected a name that ends in {ending}, got `{path}`")
    for folder in path.parents:
        if os.path.lexists(folder):
            if not folder.is_dir():
                raise UsageError(f"--output: `{folder}` is no folder")
            break
    return Places(format_, path)
