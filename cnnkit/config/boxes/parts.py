"""What a reader of annotations gives, whatever their format."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnnkit.config.data import DataProblem
from cnnkit.config.image_folder import image_header
from cnnkit.images.boxes import AnnotatedImage, BadBox, Box, problem_of, within
from cnnkit.images.formats import CorruptImage


@dataclass(frozen=True)
class Place:
    """Where the images of a split and their annotations are.

    Attributes:
        root: The folder of the data set, which the files of images are relative to.
        images: The folder of the split's images.
        annotations: The file of annotations, or the folder of such.
        names: A list of the split's images, where one says which they are; None for all in the folder.
        most_megapixels: Image files with more are refused.
    """

    root: Path
    images: Path
    annotations: Path
    most_megapixels: float
    names: Path | None = None


@dataclass
class Annotations:
    """The images of a split with their boxes.

    Attributes:
        class_names: In the order of the format; sorted where it has none.
        images: Those that can be learned from, in the order of their files.
        problems: What is wrong with others: a `BadBox`, or that an image file cannot be read.
        repeated: How many boxes are those of another one of their image, with its class.
    """

    class_names: tuple[str, ...] = ()
    images: list[AnnotatedImage] = field(default_factory=list)
    problems: list[CorruptImage] = field(default_factory=list)
    repeated: int = 0

    def add(self, file: str, size: tuple[int, int], boxes: Sequence[Box], source: str) -> None:
        """Adds an image; boxes that cannot be used become problems of the file of annotations.

        Of boxes that are there more than once, one is kept: a network cannot find two objects in one place.
        """
        kept: dict[tuple[object, ...], Box] = {}
        for box in boxes:
            problem = problem_of(box.edges, size)
            if problem is not None:
                self.problems.append(BadBox(source, f"{box.label} of the image `{file}` {problem}"))
                continue
            inside = Box(*within(box.edges, size), box.name, box.label, box.crowd)
            self.repeated += kept.setdefault((box.edges, box.name, box.crowd), inside) is not inside
        self.images.append(AnnotatedImage(file, size, tuple(kept.values())))

    def tell_doubles(self, doubles: Mapping[Path, Path]) -> None:
        """Makes problems of image files that share the name of their annotations with another one, see `images_in`."""
        for file, other in doubles.items():
            reason = f"has the same annotations as `{other.name}`, whose name differs only in its ending; keep one"
            self.problems.append(BadBox(str(file), reason))

    def size_of(self, place: Place, file: str) -> tuple[int, int] | None:
        """(height, width) of an image file; None, and a problem, where it cannot be read."""
        try:
            return image_header(place.root / file, place.most_megapixels)[:2]
        except CorruptImage as error:
            self.problems.append(error)
            return None


def read_text(file: Path) -> str:
    """A text file.

    Raises:
        DataProblem: if it cannot be read, or is not UTF-8.
    """
    try:
        return file.read_text("utf-8-sig")
    except OSError as error:
        raise DataProblem(f"cannot read `{file}`: {error.strerror}", "folder") from None
    except UnicodeDecodeError:
        raise DataProblem(f"`{file}` is not UTF-8 text", "folder") from None


def as_number(value: Any) -> float | None:
    """A number of JSON or text; None where it is none, or none that a box may have."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) < 1e9 else None
