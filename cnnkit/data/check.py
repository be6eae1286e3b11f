"""Behind `cnnkit data check`: what of a folder or table needs a decision before one trains on it, in one list."""

from __future__ import annotations

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cnnkit.config.boxes.listing import listing_of
from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.dataset import describe_data_set
from cnnkit.config.image_folder import list_image_folder
from cnnkit.config.mask_folder import MaskFolder, list_mask_folder
from cnnkit.config.split_folders import split_folders
from cnnkit.config.table import read_image_table
from cnnkit.data.catalog import undecoded
from cnnkit.data.images import CorruptFiles, read_image
from cnnkit.data.loading import load
from cnnkit.data.splits import Array
from cnnkit.data.survey import FileFacts, survey
from cnnkit.errors import CnnkitError
from cnnkit.images.boxes import BadBox, other_size
from cnnkit.images.files import SYSTEM_FOLDERS, folders_in, image_files, is_passed_over, left_out_text
from cnnkit.images.formats import IMAGE_SUFFIXES, CorruptImage
from cnnkit.images.masks import BadMask
from cnnkit.task import Task
from cnnkit.tasks import default_task
from cnnkit.terminal.printable import printable, printable_text

#: Endings of images that no one can train on before they are converted.
_FOREIGN_IMAGES = (
    *(".heic", ".heif", ".jxl", ".jp2", ".j2k", ".psd", ".svg", ".eps", ".ico", ".tga", ".ppm", ".pgm", ".pnm"),
    *(".raw", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".exr", ".hdr"),
)

#: With fewer images, a class is said to be small.
_FEW_IMAGES = 10

#: Of each finding, this many files are named as text; JSON has all.
_NAMED_FILES = 10

#: An iterable of files, as a bar that follows it.
Bar = Callable[[Iterable[FileFacts], int], AbstractContextManager[Iterable[FileFacts]]]


@dataclass(frozen=True)
class Finding:
    """Something about a folder that one may want to know before one trains on it.

    Attributes:
        kind: What it is about, one word of `check_folder`.
        decide: Whether it needs a decision; otherwise it is only mentioned.
        message: It in a line.
        files: What is said of each file or folder; for copies, the files that are the same.
    """

    kind: str
    decide: bool
    message: str
    files: Mapping[str, str | list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What `data check` found.

    Attributes:
        folder: The folder.
        images: Its image files.
        findings: Those that need a decision first.
    """

    folder: str
    images: int
    findings: tuple[Finding, ...]

    @property
    def needs_decision(self) -> bool:
        return any(finding.decide for finding in self.findings)

    def as_json(self) -> dict[str, Any]:
        """As plain values, whole."""
        findings = [
            {"kind": one.kind, "decide": one.decide, "message": one.message, "files": dict(one.files)}
            for one in self.findings
        ]
        return {"folder": self.folder, "images": self.images, "findings": findings}

    def as_text(self) -> str:
        """As lines for a terminal; of many files, the first."""
        lines = [f"{self.folder}: {_count(self.images, 'image')}"]
        for finding in self.findings:
            lines.append(f"{'decide' if finding.decide else 'note  '}  {finding.message}")
            for file, remark in list(finding.files.items())[:_NAMED_FILES]:
                shown = " = ".join([file, *remark]) if isinstance(remark, list) else f"{file}  {remark}".rstrip()
                lines.append(f"          {shown}")
            if len(finding.files) > _NAMED_FILES:
                lines.append(f"          ... and {len(finding.files) - _NAMED_FILES:,} more (--json has all)")
        decisions = sum(finding.decide for finding in self.findings)
        lines.append(f"{_count(decisions, 'decision')} to make" if decisions else "nothing needs a decision")
        return "\n".join(lines)


@dataclass(frozen=True)
class _Listed:
    """The files of a folder or table.

    Attributes:
        places: The split and the class of each file, or what else is true of it.
        splits: The splits that have folders or rows.
        left_out: Files that do not count.
        problem: What stops `train`.
        kind: What messages call what is true of a file.
        unreadable: Folders that cannot be read, with the reason.
        stated_sizes: (height, width) of each file as its annotations state it, where there are such.
    """

    root: Path
    places: dict[str, tuple[str, str]]
    splits: frozenset[str]
    left_out: tuple[str, ...]
    problem: str | None = None
    kind: str = "class"
    unreadable: Mapping[str, str] = field(default_factory=dict)
    stated_sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict)


def check_folder(
    config: DataConfig, seed: int, bar: Bar, refused: str | None = None, task: Task | None = None
) -> Report:
    """Looks at every file of a folder or table, whatever is wrong with it.

    The findings are `layout` (what `train` would stop at), `taken_as` (what it says), `pairs` (images and masks that do
    not fit), `boxes` (what is wrong with annotations), `unreadable_masks`, `unreadable_folders`, `empty_folders`,
    `unreadable`, `left_out`, `system_folders`, `copies_across_classes`, `copies_across_splits`, `copies`, `sizes`,
    `modes`, `orientation`, `no_images`, `few_images` and `spelling`. Copies are files with the same pixels as
    the network gets them, or, without `data.image_size`, in their own size and in colour.

    Args:
        config: A `data` section with `folder` or `table`.
        bar: Shows how far the decoding is.
        refused: Why `train` does not take the config, where it does not.
        task: What is to be learned of the images; by default what a config means that does not say it.
    """
    task = task or default_task()
    if task.target.boxed:
        listed = _list_boxes(config)
    else:
        listed = _list(config, task) if config.table is None else _list_table(config, task)
    read = _reader(config, task)
    with bar(survey(listed.root, list(listed.places), read, config.max_megapixels), len(listed.places)) as facts:
        found = list(facts)
    findings = [
        *_layout(config, seed, listed, refused, task, found),
        *_unreadable(config, found),
        *(_left_out(listed) if config.table is None else ()),
        *_copies(found, listed),
        *_sizes_and_modes(config, found),
        *(_few_images(found, listed) if listed.kind == "class" else ()),
        *_spellings(listed),
    ]
    findings.sort(key=lambda finding: not finding.decide)
    return Report(printable(config.source), len(listed.places), tuple(findings))


def _list(config: DataConfig, task: Task) -> _Listed:
    """The folder's files as `train` takes them; where it takes none of them, all that are there, by their folders.

    Raises:
        CnnkitError: if there is no such folder.
    """
    assert config.folder is not None
    try:
        if task.target.per_pixel:
            return _list_pairs(list_mask_folder(config.folder, config.class_names))
        listing = list_image_folder(config.folder)
    except DataProblem as problem:
        root = Path(config.folder).expanduser()
        if not root.is_dir():
            raise CnnkitError(problem.message) from None
        return _list_all(root, problem.message)
    places = {
        file: (split, name)
        for split, classes in listing.splits.items()
        for name, files in zip(listing.class_names, classes, strict=True)
        for file in files
    }
    return _Listed(listing.root, places, frozenset(listing.splits), listing.left_out)


def _list_pairs(pairs: MaskFolder) -> _Listed:
    """The images of pairs; what is wrong with their masks is told by loading them."""
    places = {image: (split, "") for split, files in pairs.splits.items() for image, _ in files}
    return _Listed(pairs.root, places, frozenset(pairs.splits), pairs.left_out, kind="mask")


def _list_boxes(config: DataConfig) -> _Listed:
    """Annotated images; what is wrong with their boxes is told by loading them."""
    root = Path(config.source).expanduser()
    try:
        listing = listing_of(config)
    except DataProblem as problem:
        if not root.exists():
            raise CnnkitError(problem.message) from None
        return _Listed(root if root.is_dir() else root.parent, {}, frozenset(), (), problem.message, kind="boxes")
    places = {image.file: (split, "") for split, images in listing.splits.items() for image in images}
    splits, sizes = frozenset(listing.splits), listing.stated_sizes()
    return _Listed(listing.root, places, splits, (), kind="boxes", stated_sizes=sizes)


def _list_table(config: DataConfig, task: Task) -> _Listed:
    """The files of a table; none where `train` takes none of them."""
    assert config.table is not None
    root = Path(config.table).expanduser().parent
    try:
        table = read_image_table(config, task.target)
    except DataProblem as problem:
        if not os.path.isfile(config.table):
            raise CnnkitError(problem.message) from None
        return _Listed(root, {}, frozenset(), (), problem.message)
    places = {image.file: (split, table.text(image)) for split, images in table.splits.items() for image in images}
    return _Listed(root, places, frozenset(table.splits), (), kind=task.target.singular)


def _list_all(root: Path, problem: str) -> _Listed:
    images: list[str] = []
    left_out: list[str] = []
    unreadable: dict[str, str] = {}

    def walk(folder: Path) -> None:
        try:
            found, others = image_files(folder)
        except OSError:
            # What of it can be read is looked at all the same.
            try:
                folders, files = folders_in(folder)
            except OSError as error:
                unreadable[os.path.relpath(error.filename, root)] = error.strerror or ""
                return
            for inner in folders:
                walk(inner)
            names = list(map(str, files))
            found = [name for name in names if name.lower().endswith(IMAGE_SUFFIXES)]
            others = [name for name in names if not name.lower().endswith(IMAGE_SUFFIXES)]
        images.extend(found)
        left_out.extend(others)

    walk(root)
    try:
        splits = {path.name: split for split, path in split_folders(root).items()}
    except (DataProblem, OSError):
        splits = {}
    places = {}
    for file in (os.path.relpath(image, root) for image in images):
        first, *below = Path(file).parts
        split = splits.get(first, "train")
        folders = below if first in splits else [first, *below]
        places[file] = (split, printable(folders[0]) if len(folders) > 1 else "")
    return _Listed(root, places, frozenset(splits.values()), tuple(left_out), problem, unreadable=unreadable)


def _reader(config: DataConfig, task: Task) -> Callable[[str], Array]:
    """Decodes a file as the network gets it; where nothing says how, in its own size and in colour."""
    channels = 3
    if config.image_size is not None:
        try:
            channels = describe_data_set(config, task).shape[2]
        except DataProblem:
            channels = config.channels or 3
    return lambda path: read_image(
        path, config.image_size, channels, most_megapixels=config.max_megapixels, resize=config.resize
    )


# --- What may be found -----------------------------------------------------------------------------------


def _layout(
    config: DataConfig, seed: int, listed: _Listed, refused: str | None, task: Task, found: Sequence[FileFacts]
) -> Iterator[Finding]:
    """What `train` would stop at, or what it would say."""
    problem = listed.problem or refused
    # Nothing is decoded here, which is when loading finds that sizes differ.
    errors: list[CorruptImage] = list(_other_sizes(listed, found))
    if listed.problem is None:
        try:
            data = load(undecoded(config), seed, task)
            for split in (data.validation, data.test):
                if split is not None:
                    split.targets.check_measurable(split.name)
        except CorruptFiles as error:
            errors += error.errors
        except CnnkitError as error:
            problem = problem or error.message
        else:
            told = left_out_text(listed.left_out)
            yield from (Finding("taken_as", False, note) for note in data.notes if note != told and problem is None)
        yield from _pairs(config, errors, listed, {facts.file for facts in found if facts.error is not None})
    if problem is not None:
        yield Finding("layout", True, printable_text(problem))
    if listed.unreadable:
        files = {printable(folder): printable(reason) for folder, reason in listed.unreadable.items()}
        yield Finding("unreadable_folders", True, f"{_count(len(files), 'folder')} that cannot be read", files)
    if listed.problem is not None and config.table is None:
        known = {part for file in (*listed.places, *listed.unreadable) for part in (Path(file), *Path(file).parents)}
        empty = [folder for folder in _folders(listed.root) if Path(os.path.relpath(folder, listed.root)) not in known]
        if empty:
            files = {printable(os.path.relpath(folder, listed.root)): "" for folder in empty}
            yield Finding("empty_folders", True, f"{_count(len(files), 'folder')} without images", files)


def _other_sizes(listed: _Listed, found: Sequence[FileFacts]) -> Iterator[BadBox]:
    """Image files of another size than their annotations state."""
    for facts in found:
        stated = listed.stated_sizes.get(facts.file)
        if stated is not None and facts.size is not None and facts.size != stated:
            yield other_size(os.path.join(listed.root, facts.file), facts.size, stated)


def _pairs(
    config: DataConfig, errors: Sequence[CorruptImage], listed: _Listed, unreadable: Collection[str]
) -> Iterator[Finding]:
    """Images and masks that are no pairs to learn from, and wrong boxes.

    Args:
        unreadable: Image files that cannot be read, of which is told elsewhere.
    """
    unfit, damaged = {}, {}
    boxes: dict[str, list[str]] = defaultdict(list)
    for error in errors:
        file = os.path.relpath(error.file or "", listed.root)
        if isinstance(error, BadBox):
            boxes[printable(file)].append(printable(error.reason))
        elif isinstance(error, BadMask):
            unfit[printable(file)] = printable(error.reason)
        elif file not in unreadable:
            damaged[printable(file)] = printable(error.reason)
    if unfit:
        yield Finding("pairs", True, f"{_count(len(unfit), 'pair')} that cannot be learned from", unfit)
    if boxes:
        count = sum(map(len, boxes.values()))
        reasons = {file: "; ".join(of_file) for file, of_file in boxes.items()}
        yield Finding("boxes", True, f"{_count(count, 'mistake')} in boxes or annotations", reasons)
    if damaged:
        message = f"{_count(len(damaged), 'mask')} that cannot be read{_skipped(config)}"
        yield Finding("unreadable_masks", not config.skip_corrupt, message, damaged)


def _folders(root: Path) -> Iterator[str]:
    """The folders below one, without those that are passed over."""
    for parent, names, _ in os.walk(root):
        names[:] = sorted(name for name in names if not is_passed_over(name))
        yield from (os.path.join(parent, name) for name in names)


def _unreadable(config: DataConfig, found: Sequence[FileFacts]) -> Iterator[Finding]:
    files = {printable(facts.file): printable(facts.error) for facts in found if facts.error is not None}
    if files:
        message = f"{_count(len(files), 'image file')} that cannot be read{_skipped(config)}"
        yield Finding("unreadable", not config.skip_corrupt, message, files)


def _skipped(config: DataConfig) -> str:
    return " (data.skip_corrupt leaves them out)" if config.skip_corrupt else ""


def _left_out(listed: _Listed) -> Iterator[Finding]:
    if listed.left_out:
        images = (*IMAGE_SUFFIXES, *_FOREIGN_IMAGES)
        is_image = any(file.lower().endswith(images) for file in listed.left_out)
        files = {printable(os.path.relpath(file, listed.root)): "" for file in listed.left_out}
        yield Finding("left_out", is_image, left_out_text(listed.left_out), files)
    passed_over = [
        os.path.join(parent, name)
        for parent, names, _ in os.walk(listed.root)
        for name in names
        if name.lower() in SYSTEM_FOLDERS
    ]
    if passed_over:
        files = {printable(os.path.relpath(folder, listed.root)): "" for folder in passed_over}
        message = f"{_count(len(files), 'folder')} that a system made, passed over"
        yield Finding("system_folders", False, message, files)


def _copies(found: Sequence[FileFacts], listed: _Listed) -> Iterator[Finding]:
    groups: dict[bytes, list[str]] = defaultdict(list)
    for facts in found:
        if facts.digest is not None:
            groups[facts.digest].append(facts.file)
    across_classes, across_splits, others = {}, {}, {}
    for first, *rest in groups.values():
        if not rest:
            continue
        splits, classes = ({listed.places[file][part] for file in (first, *rest)} for part in (0, 1))
        copies = {printable(first): [printable(file) for file in rest]}
        across_classes.update(copies if len(classes) > 1 else {})
        across_splits.update(copies if len(splits) > 1 else {})
        others.update(copies if len(classes) == len(splits) == 1 else {})
    if across_classes:
        where = "in several classes" if listed.kind == "class" else f"with several {listed.kind}s"
        message = f"{_count(len(across_classes), 'image')} {where}: only one can be right"
        yield Finding("copies_across_classes", True, message, across_classes)
    if across_splits:
        message = f"{_count(len(across_splits), 'image')} in several splits: a network is judged by what it learned"
        yield Finding("copies_across_splits", True, message, across_splits)
    if others:
        drawn = not {"train", "validation", "test"} <= listed.splits
        where = "in a class" if listed.kind == "class" else "there"
        message = f"{_count(len(others), 'image')} {where} more than once"
        message += "; where splits are drawn, two of them may get the same" if drawn else ""
        yield Finding("copies", drawn, message, others)


def _sizes_and_modes(config: DataConfig, found: Sequence[FileFacts]) -> Iterator[Finding]:
    sizes = Counter(facts.size for facts in found if facts.size is not None)
    if len(sizes) > 1:
        (common, count), *_ = sizes.most_common(1)
        others = {
            printable(facts.file): f"{facts.size[0]}x{facts.size[1]}"
            for facts in found
            if facts.size is not None and facts.size != common
        }
        what = "are resized" if config.image_size is not None else "need `data.image_size`"
        message = f"images of {len(sizes):,} sizes {what}; the commonest is {common[0]}x{common[1]} ({count:,})"
        yield Finding("sizes", False, message, others)
    modes = Counter(facts.mode for facts in found if facts.mode is not None)
    if len(modes) > 1:
        (usual, count), *_ = modes.most_common(1)
        others = {
            printable(facts.file): facts.mode for facts in found if facts.mode is not None and facts.mode != usual
        }
        counts = ", ".join(f"{mode} ({number:,})" for mode, number in modes.most_common())
        yield Finding("modes", False, f"images of several modes: {counts}", others)
    odd = {
        printable(facts.file): printable(facts.odd_orientation) for facts in found if facts.odd_orientation is not None
    }
    if odd:
        message = f"{_count(len(odd), 'file')} whose EXIF orientation is no number from 1 to 8, taken as upright"
        yield Finding("orientation", False, message, odd)


def _few_images(found: Sequence[FileFacts], listed: _Listed) -> Iterator[Finding]:
    counts = Counter(listed.places.values())
    readable = Counter(listed.places[facts.file] for facts in found if facts.error is None)
    few = {
        f"{split}: {name}" if len(listed.splits) > 1 else name: f"{readable[split, name]:,}"
        for split, name in counts
        if name and readable[split, name] < _FEW_IMAGES
    }
    empty = {name: count for name, count in few.items() if count == "0"}
    if empty:
        yield Finding(
            "no_images", True, f"{_count(len(empty), 'class', 'es')} without an image that can be read", empty
        )
    few = {name: count for name, count in few.items() if name not in empty}
    if few:
        message = f"{_count(len(few), 'class', 'es')} with fewer than {_FEW_IMAGES} images that can be read"
        yield Finding("few_images", False, message, few)


def _spellings(listed: _Listed) -> Iterator[Finding]:
    """Names that look the same: one letter with an accent may be written as one character, or as two."""
    groups: dict[str, list[str]] = defaultdict(list)
    names = {path for file in listed.places for path in (file, *map(str, Path(file).parents[:-1]))}
    for name in sorted(names):
        groups[unicodedata.normalize("NFC", name)].append(name)
    same = {printable(first): [printable(name) for name in rest] for first, *rest in groups.values() if rest}
    if same:
        message = f"{_count(len(same), 'name')} with two spellings of the same letters (Unicode NFC and NFD)"
        yield Finding("spelling", True, message, same)


def _count(number: int, noun: str, plural: str = "s") -> str:
    return f"{number:,} {noun}{'' if number == 1 else plural}"
