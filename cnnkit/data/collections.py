"""Where splits come from: the bundled digits, prepared TFDS sets, folders, tables; each with its own splits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo, known_name
from cnnkit.config.image_folder import ImageFolder, list_image_folder
from cnnkit.config.known_data_sets import KNOWN_BOXES, KNOWN_MASKS
from cnnkit.config.mask_folder import MaskFolder, list_mask_folder
from cnnkit.config.table import ImageTable, read_image_table
from cnnkit.config.texts import read_texts
from cnnkit.data.digits import read_digits
from cnnkit.data.images import FolderSource, file_facts, listing_digest
from cnnkit.data.prepared import Prepared
from cnnkit.data.splits import Array, ImageCollection, Source
from cnnkit.data.targets import ClassNumbers, Targets, group_numbers, make_targets, numbered
from cnnkit.images.formats import CorruptImage


class Collection(Protocol):
    """A data set before it is divided."""

    @property
    def splits(self) -> Sequence[str]:
        """The splits that the data set brings itself."""

    @property
    def problems(self) -> Sequence[CorruptImage]:
        """What is wrong with its files, as far as their names show it."""

    @property
    def fingerprint(self) -> str: ...

    @property
    def notes(self) -> Sequence[str]:
        """What the user should know of how its images were found."""

    def open(self, spec: str) -> Source: ...

    def begin(self, training: Callable[[], tuple[Source, Array]]) -> DataSetInfo | None:
        """Learns what samples cannot be read without, such as a vocabulary; called once all slices are open.

        Args:
            training: Opens the training samples: a source, and positions in it. A set may have none.

        Returns:
            What is known of the data set then; None where nothing had to be learned.
        """


class Digits(ImageCollection):
    """The bundled digits as one collection without a test split of its own."""

    splits = ("train",)
    fingerprint = "digits (scikit-learn, 1797 images)"

    def open(self, spec: str) -> Source:
        return read_digits()


class Folder(ImageCollection):
    """A folder of class folders, or of splits that hold such."""

    def __init__(self, listing: ImageFolder, config: DataConfig, info: DataSetInfo) -> None:
        self.listing = listing
        self.config = config
        self.info = info
        self.splits = tuple(listing.splits)
        self.notes = listing.notes
        self._opened: dict[str, FolderSource] = {}

    @property
    def fingerprint(self) -> str:
        count, digest = listing_digest(self.listing.root, self.listing.files())
        return f"folder {self.listing.root.name} ({count} images, listing {digest})"

    def open(self, spec: str) -> Source:
        if spec not in self._opened:
            files = self.listing.splits[spec]
            targets = ClassNumbers(numbered(files), self.listing.class_names)
            paths = [file for names in files for file in names]
            self._opened[spec] = _open_files(self.listing.root, paths, targets, self.config, self.info)
        return self._opened[spec]


class Table(ImageCollection):
    """A table of images."""

    def __init__(self, table: ImageTable, config: DataConfig, info: DataSetInfo) -> None:
        self.table = table
        self.config = config
        self.info = info
        self.splits = tuple(table.splits)
        self.notes = table.notes
        self._opened: dict[str, FolderSource] = {}

    @property
    def fingerprint(self) -> str:
        digest = hashlib.blake2b(digest_size=8)
        digest.update(repr(self.table.names).encode())
        count = 0
        for split, images in self.table.splits.items():
            for image in images:
                size = file_facts(self.table.root / image.file).st_size
                facts = (split, Path(image.file).as_posix(), size, image.value, image.group)
                digest.update(repr(facts).encode())
                count += 1
        return f"table {self.table.name} ({count} images, content {digest.hexdigest()})"

    def open(self, spec: str) -> Source:
        if spec not in self._opened:
            images = self.table.splits[spec]
            targets = make_targets(self.info.target, [image.value for image in images])
            files = [image.file for image in images]
            groups = group_numbers([image.group for image in images])
            self._opened[spec] = _open_files(self.table.root, files, targets, self.config, self.info, groups)
        return self._opened[spec]


def _open_files(
    root: Path,
    files: Sequence[str],
    targets: Targets,
    config: DataConfig,
    info: DataSetInfo,
    groups: Array | None = None,
) -> FolderSource:
    return FolderSource(
        root,
        files,
        targets,
        info.data_shape,
        resize=None if config.image_size is None else config.resize,
        skip_corrupt=config.skip_corrupt,
        most_megapixels=config.max_megapixels,
        groups=groups,
    )


def _prepared_images(folder: Path, config: DataConfig, info: DataSetInfo) -> Prepared:
    from cnnkit.data.mask_records import PreparedMasks
    from cnnkit.data.tfds import PreparedSet

    assert config.name is not None
    if info.target.per_pixel:
        known = KNOWN_MASKS.get(known_name(config.name))
        return Prepared(PreparedMasks(folder, info, config.resize, known, config.ignore))
    if info.target.boxed:
        from cnnkit.data.box_records import PreparedBoxes

        known_boxes = KNOWN_BOXES.get(known_name(config.name))
        return Prepared(PreparedBoxes(folder, info, config.resize, 0 if known_boxes is None else known_boxes.first))
    return Prepared(PreparedSet(folder, info.data_shape, info.target.all_names, config.resize))


def _open_texts(config: DataConfig, info: DataSetInfo) -> Collection:
    if config.name is not None:
        from cnnkit.data.download import fetch
        from cnnkit.data.text_records import NamedTexts

        return NamedTexts(fetch(config.name, download=config.download), config, info)
    from cnnkit.data.texts import TextTable

    return TextTable(info.table or read_texts(config, type(info.target)), config, info)


def open_collection(config: DataConfig, info: DataSetInfo) -> Collection:
    """The configured data set; one that is missing is downloaded if it may be.

    Raises:
        DataProblem: if a folder or table does not hold what it should.
        CnnkitError: if the data are not there, or are damaged.
    """
    if config.text is not None:
        return _open_texts(config, info)
    if info.target.boxed and config.has_files:
        from cnnkit.data.boxes import AnnotatedImages

        return AnnotatedImages.of(config, info)
    if config.folder is not None:
        if info.target.per_pixel:
            from cnnkit.data.masks import Pairs

            pairs = info.listing if isinstance(info.listing, MaskFolder) else None
            return Pairs(pairs or list_mask_folder(config.folder, config.class_names), config, info)
        listing = info.listing if isinstance(info.listing, ImageFolder) else None
        return Folder(listing or list_image_folder(config.folder), config, info)
    if config.table is not None:
        return Table(info.table or read_image_table(config, type(info.target)), config, info)
    assert config.name is not None
    if config.name == "digits":
        return Digits()
    from cnnkit.data.download import fetch

    return _prepared_images(fetch(config.name, download=config.download), config, info)
