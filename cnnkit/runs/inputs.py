"""What `predict` is asked about, by what the network takes: image files, or texts."""

from __future__ import annotations

import logging
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from cnnkit.config.sample import ImageSample, Sample, TextSample
from cnnkit.data.images import read_for
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.format.base import describe
from cnnkit.format.run_folders import outside_runs
from cnnkit.images.files import image_files, left_out_text
from cnnkit.images.formats import IMAGE_SUFFIXES, CorruptImage
from cnnkit.runs.interface import Interface
from cnnkit.terminal.printable import printable
from cnnkit.texts.words import words_in

log = logging.getLogger("cnnkit")

#: What one thing is named by.
Name = TypeVar("Name")


class Inputs(ABC, Generic[Name]):
    """How samples are found and read.

    Args:
        interface: What the network takes.
    """

    #: What the name of one is called, in the head of a table and in JSON.
    column: ClassVar[str]

    #: What messages expect, and where there is none, what to do.
    expected: ClassVar[str]
    hint: ClassVar[str]

    def __init__(self, interface: Interface) -> None:
        self.interface = interface

    @abstractmethod
    def collect(self, arguments: Sequence[str], file: str | None) -> list[Name]:
        """What a command line names, in order.

        Args:
            file: A file of texts, one in a line; `-` for the standard input.

        Raises:
            UsageError: if nothing is named, or what is named cannot be.
            CnnkitError: if it cannot be read.
        """

    @abstractmethod
    def find(self, argument: str) -> Name | None:
        """What one argument of a command line names; None where it names nothing of this kind."""

    @abstractmethod
    def title(self, name: Name) -> str:
        """What is said of one under its picture."""

    def marks(self, name: Name, strengths: Any) -> list[tuple[str, float]]:
        """The parts of one, each with its strength [n]; none of what has no parts to name."""
        return []

    @abstractmethod
    def read(self, name: Name, most_megapixels: float | None) -> Any:
        """A sample as the network takes it; or, as text, why there is none.

        Args:
            most_megapixels: Images with more are not read; by default as the interface says.
        """


class ImageInputs(Inputs[Path]):
    """Image files."""

    column = "file"
    expected = "an image file"
    hint = "Check the path; a relative one starts at the current folder."

    def collect(self, arguments: Sequence[str], file: str | None) -> list[Path]:
        if file is not None:
            raise UsageError("--file is for texts, and the network takes images", "Name image files, or a folder.")
        if not arguments:
            raise UsageError("which images? expected image files, or a folder of them")
        if "" in arguments:
            # As a path, it would be the current folder.
            raise UsageError(f"expected {self.expected}, or a folder of them, got {describe('')}")
        return collect_images([Path(argument) for argument in arguments])

    def find(self, argument: str) -> Path | None:
        return Path(argument) if Path(argument).is_file() else None

    def title(self, name: Path) -> str:
        return printable(name.name)

    def read(self, name: Path, most_megapixels: float | None) -> Any:
        try:
            return read_for(self.interface, name, most_megapixels)
        except CorruptImage as error:
            return f"{error.message}. {error.hint}" if error.hint else error.message


class TextInputs(Inputs[str]):
    """Texts themselves, or the lines of a file."""

    column = "text"
    expected = "a text with a word in it"
    hint = "Put it in quotes."

    def collect(self, arguments: Sequence[str], file: str | None) -> list[str]:
        texts = [*arguments, *(_lines(file) if file is not None else ())]
        if not texts:
            raise UsageError(
                'which texts? expected some, such as "a wonderful film"', "--file FILE reads one from each line."
            )
        return texts

    def find(self, argument: str) -> str | None:
        # A number is the place of a test text.
        return None if argument.isdecimal() or not words_in(argument) else argument

    def title(self, name: str) -> str:
        return ""

    def marks(self, name: str, strengths: Any) -> list[tuple[str, float]]:
        return list(zip(words_in(name), strengths.tolist(), strict=False))

    def read(self, name: str, most_megapixels: float | None) -> Any:
        if not words_in(name):
            return f"`{name}` has no word"
        return read_text(self.interface, name)


def read_text(interface: Interface, text: str) -> Any:
    """A text as the network takes it, int32 [length]."""
    vocabulary = interface.sample.vocabulary
    assert vocabulary is not None
    return np.array(vocabulary.numbers(text, interface.image_shape[0]), np.int32)


_KINDS: Mapping[type[Sample], type[Inputs[Any]]] = {ImageSample: ImageInputs, TextSample: TextInputs}


def inputs_of(interface: Interface) -> Inputs[Any]:
    """How the samples of a network are found and read."""
    return _KINDS[type(interface.sample)](interface)


def collect_images(paths: Sequence[Path]) -> list[Path]:
    """The image files that the paths stand for: files as they are, folders searched to any depth.

    In a folder, files count by their endings, as they do in training: see `image_files`. Arguments keep their order,
    each folder's files are sorted, and a file that is named twice comes once. A line says what was left out.

    Raises:
        UsageError: if a path does not exist.
        CnnkitError: if a folder holds no images or cannot be read.
    """
    found: dict[Path, None] = {}
    left_out: list[str] = []
    for path in paths:
        if path.is_dir():
            try:
                images, others = (outside_runs(files, path) for files in image_files(path))
            except OSError as error:
                raise CnnkitError(f"cannot read the folder {error.filename}: {error.strerror}") from None
            if not images:
                raise CnnkitError(
                    f"expected images in the folder {path}, found none"
                    + (f" ({left_out_text(others)})" if others else ""),
                    f"Files count that end in {', '.join(IMAGE_SUFFIXES)}, in sub-folders too; hidden ones do not.",
                )
            found.update(dict.fromkeys(sorted(map(Path, images))))
            left_out += others
        elif path.exists():
            found[path] = None
        else:
            raise UsageError(
                f"expected an image file or a folder, but {path} does not exist",
                "Check the path; a relative one starts at the current folder.",
            )
    if left_out:
        log.warning("%s", left_out_text(left_out))
    return list(found)


def _lines(file: str) -> list[str]:
    """The lines of a file that are not blank."""
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except FileNotFoundError:
        raise UsageError(f"--file: there is no file `{file}`") from None
    except OSError as error:
        raise CnnkitError(f"cannot read `{file}`: {error.strerror}") from None
    try:
        lines = raw.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise CnnkitError(f"`{file}` is not UTF-8 (line {line}); save it as UTF-8") from None
    texts = [line.strip() for line in lines if line.strip()]
    if not texts:
        raise CnnkitError(f"`{file}` has no text in it; expected one in each line")
    return texts
