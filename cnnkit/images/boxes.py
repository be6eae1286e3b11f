"""Boxes around objects in images: one form, whatever they were stored in, and what no box may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cnnkit.images.formats import CorruptImage
from cnnkit.terminal.printable import printable

#: Coordinates are rounded in files: what a box has outside its image is cut off up to so many pixels.
TOLERANCE = 1.0


class BadBox(CorruptImage):
    """A box, or an image's annotations, that no network can learn from.

    Args:
        file: The file that is to blame, an image or one of annotations; the name of a record where there are no files.
        reason: What is wrong, as the rest of a sentence that begins with the file.
        hint: As of every error.
        is_file: Whether it is a file.
    """

    def __init__(self, file: str, reason: str, hint: str | None = None, *, is_file: bool = True) -> None:
        file, reason = printable(file), printable(reason)
        super().__init__(f"`{file}`: {reason}", hint, file=file if is_file else None, reason=reason)


@dataclass(frozen=True)
class Box:
    """One object.

    Attributes:
        left, top, right, bottom: Edges in pixels of the image, from its upper left corner: the whole image is
            (0, 0, width, height).
        name: Of its class.
        label: What messages call it, such as `annotation 17`.
        crowd: Whether it stands for several objects, or one that is hard to see: neither found nor missed it counts.
    """

    left: float
    top: float
    right: float
    bottom: float
    name: str
    label: str
    crowd: bool = False

    @property
    def edges(self) -> tuple[float, float, float, float]:
        return self.left, self.top, self.right, self.bottom


@dataclass(frozen=True)
class AnnotatedImage:
    """An image file and the objects in it.

    Attributes:
        file: Relative to the folder of the data set.
        size: (height, width) in pixels, as the annotations or the file's header say.
        boxes: None for an image without objects.
    """

    file: str
    size: tuple[int, int]
    boxes: tuple[Box, ...]


def other_size(path: str, size: tuple[int, int], stated: tuple[int, int]) -> BadBox:
    """That an image file has another size than its annotations state, both (height, width)."""
    reason = f"is {size[0]}x{size[1]}, but its annotations say {stated[0]}x{stated[1]} (height x width)"
    return BadBox(path, reason, "Boxes of an image in another size are wrong: correct the annotations.")


def problem_of(edges: Sequence[float], size: tuple[int, int]) -> str | None:
    """Why edges (left, top, right, bottom) are not those of a box in an image of a size (height, width); else None."""
    left, top, right, bottom = edges
    height, width = size
    if not all(abs(edge) < 1e9 for edge in edges):
        return "has edges that are no numbers"
    shown = ", ".join(f"{edge:g}" for edge in edges)
    if right <= left or bottom <= top:
        return f"has no area: left, top, right, bottom are {shown}"
    if min(left, top) < -TOLERANCE or right > width + TOLERANCE or bottom > height + TOLERANCE:
        return (
            f"lies outside of the image, which is {width} wide and {height} high: left, top, right, bottom are {shown}"
        )
    inside = within(edges, size)
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        return (
            f"lies outside of the image, which is {width} wide and {height} high: left, top, right, bottom are {shown}"
        )
    return None


def within(edges: Sequence[float], size: tuple[int, int]) -> tuple[float, float, float, float]:
    """Edges (left, top, right, bottom), cut off at those of an image of a size (height, width)."""
    height, width = size
    left, top, right, bottom = edges
    return max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height))


def frame_of(size: tuple[int, int], shape: Sequence[int], resize: str) -> tuple[int, int, int, int]:
    """The frame in an image's plane that becomes the new image, of whole pixels: left, top, width and height."""
    height, width = size
    new_height, new_width = shape[:2]
    left, top, across, down = 0, 0, width, height
    if resize == "pad":
        across = width + 2 * ((max(width, height * new_width // new_height) - width) // 2)
        down = height + 2 * ((max(height, width * new_height // new_width) - height) // 2)
        left, top = (width - across) // 2, (height - down) // 2
    if resize == "crop":
        across = max(1, min(width, height * new_width // new_height))
        down = max(1, min(height, width * new_height // new_width))
        left, top = (width - across) // 2, (height - down) // 2
    return left, top, across, down
