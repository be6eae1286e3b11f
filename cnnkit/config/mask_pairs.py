"""Pairs of an image and its mask, by name."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from cnnkit.images.files import image_files
from cnnkit.images.masks import BadMask
from cnnkit.terminal.printable import printable

#: What the names of masks may end in beyond those of their images.
MASK_SUFFIXES = ("_mask", "-mask", "_masks", "_label", "-label", "_labels", "_gt", "_seg", "_L")

#: Halves of pairs are compared with each other up to this many: comparing takes the square of their number.
_MOST_COMPARED = 200


@dataclass(frozen=True)
class Pairs:
    """The pairs of a folder of images and one of masks.

    Attributes:
        files: Paths of an image and of its mask, sorted.
        problems: What has no partner or several.
        left_out: Files that are no images.
    """

    files: tuple[tuple[str, str], ...]
    problems: tuple[BadMask, ...]
    left_out: tuple[str, ...]


def pair_files(images: Path, masks: Path) -> Pairs:
    """Pairs images and masks by their paths in the two folders; endings may differ, see also `MASK_SUFFIXES`.

    Raises:
        OSError: if a folder cannot be read.
    """
    image_list, left_out = image_files(images)
    mask_list, others = image_files(masks)
    image_of, problems = _by_name(images, image_list, "image", frozenset())
    mask_of, more = _by_name(masks, mask_list, "mask", image_of.keys())
    problems += more
    lone_images = [name for name in image_of if name not in mask_of]
    lone_masks = [name for name in mask_of if name not in image_of]
    for name in lone_images:
        close = _nearest(name, lone_masks) if len(lone_images) + len(lone_masks) <= _MOST_COMPARED else None
        if close is None:
            problems.append(_unpaired("image", image_of[name], f"has no mask in `{masks}`"))
        else:
            lone_masks.remove(close)
            reason = f"has no mask, and the mask `{mask_of[close]}` no image; if they belong together, rename one"
            problems.append(_unpaired("image", image_of[name], reason))
    problems += [_unpaired("mask", mask_of[name], f"has no image in `{images}`") for name in lone_masks]
    files = tuple((path, mask_of[name]) for name, path in sorted(image_of.items()) if name in mask_of)
    return Pairs(files, tuple(problems), (*left_out, *others))


def _unpaired(kind: str, file: str, reason: str) -> BadMask:
    return BadMask(printable(file), printable(reason), kind=kind)


def _by_name(folder: Path, files: list[str], kind: str, names: Collection[str]) -> tuple[dict[str, str], list[BadMask]]:
    """Files by their paths in the folder without endings, or without a suffix where that is one of `names`."""
    by_name: dict[str, str] = {}
    problems = []
    for file in files:
        name = os.path.splitext(os.path.relpath(file, folder))[0]
        if name not in names:
            shorter = (name.removesuffix(suffix) for suffix in MASK_SUFFIXES if name.endswith(suffix))
            name = next((short for short in shorter if short in names), name)
        other = by_name.setdefault(name, file)
        if other != file:
            problems.append(_unpaired(kind, file, f"is of the same pair as `{other}`; keep one"))
    return by_name, problems


def _nearest(name: str, names: list[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, names, n=1, cutoff=0.6)), None)
