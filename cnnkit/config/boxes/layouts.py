"""How folders of annotated images are laid out: which of the usual formats one is in, and where each split lies."""

from __future__ import annotations

import re
from pathlib import Path

from cnnkit.config.boxes.parts import Place
from cnnkit.config.data import DataProblem
from cnnkit.config.split_folders import SPLIT_WORDS, named_split
from cnnkit.images.files import folders_in, image_files

LAYOUTS = (
    "expected `train`, `val` and `test` folders (or one folder) that hold images with a COCO file "
    "(`annotations.json`), with Pascal VOC files (`Annotations/*.xml`) or with YOLO files (`labels/*.txt`); or one of "
    "the layouts in which COCO, VOC and YOLO sets are handed out"
)

#: A split's places, by its name.
Places = dict[str, Place]


def find_places(root: Path, most_megapixels: float) -> tuple[str, Places]:
    """The format of a folder, `COCO`, `VOC` or `YOLO`, and where its splits are.

    Raises:
        DataProblem: if it is none that is known, or more than one.
        OSError: if a folder cannot be read.
    """
    finder = _Finder(root, most_megapixels)
    for find in (finder.devkit, finder.coco_release, finder.yolo_release, finder.split_folders, finder.alone):
        found = find()
        if found:
            kinds = {kind for kind, _ in found.values()}
            if len(kinds) > 1:
                raise DataProblem(
                    f"the splits of `{root}` are in several formats: {', '.join(sorted(kinds))}", "folder"
                )
            return kinds.pop(), {split: place for split, (_, place) in found.items()}
    raise DataProblem(f"`{root}` holds no annotated images; {LAYOUTS}", "folder")


class _Finder:
    """Looks for the layouts in a folder; each gives a format and a place for each split that it finds."""

    def __init__(self, root: Path, most_megapixels: float) -> None:
        self.root = root
        self.most_megapixels = most_megapixels

    def devkit(self) -> dict[str, tuple[str, Place]]:
        """Pascal VOC as it is handed out: `JPEGImages`, `Annotations`, `ImageSets/Main/train.txt`."""
        images, annotations = self.root / "JPEGImages", self.root / "Annotations"
        lists = self.root / "ImageSets" / "Main"
        if not (images.is_dir() and annotations.is_dir() and lists.is_dir()):
            return {}
        found = {}
        for word, split in (("train", "train"), ("val", "validation"), ("test", "test")):
            names = lists / f"{word}.txt"
            if names.is_file():
                found[split] = ("VOC", self._place(images, annotations, names))
        if not found and (lists / "trainval.txt").is_file():
            found["train"] = ("VOC", self._place(images, annotations, lists / "trainval.txt"))
        return found

    def coco_release(self) -> dict[str, tuple[str, Place]]:
        """COCO as it is handed out: `annotations/instances_train2017.json` beside `train2017`."""
        folder = self.root / "annotations"
        if not folder.is_dir():
            return {}
        found: dict[str, tuple[str, Place]] = {}
        files = [file for file in folders_in(folder)[1] if file.suffix.lower() == ".json"]
        instances = [file for file in files if file.name.startswith("instances")] or files
        for file in instances:
            words = [word for word in re.split(r"[^a-z]+", file.stem.lower()) if word in SPLIT_WORDS]
            if len(words) != 1:
                continue
            split = SPLIT_WORDS[words[0]]
            if split in found:
                names = f"`{found[split][1].annotations.name}` and `{file.name}`"
                raise DataProblem(f"in `{folder}`, {names} both stand for the {split} split; keep one", "folder")
            found[split] = ("COCO", self._place(self._images_of(split), file))
        return found

    def _images_of(self, split: str) -> Path:
        """The folder of a split's images, such as `train2017` or `images/val`; where there is none, that of all."""
        for parent in (self.root, self.root / "images"):
            if parent.is_dir():
                for folder in folders_in(parent)[0]:
                    if named_split(folder.name) == split:
                        return folder
        return self.root / "images" if (self.root / "images").is_dir() else self.root

    def yolo_release(self) -> dict[str, tuple[str, Place]]:
        """YOLO with splits inside: `images/train` beside `labels/train`."""
        images, labels = self.root / "images", self.root / "labels"
        if not (images.is_dir() and labels.is_dir()):
            return {}
        found: dict[str, tuple[str, Place]] = {}
        for folder in folders_in(labels)[0]:
            split = named_split(folder.name)
            if split is not None and (images / folder.name).is_dir():
                self._add(found, split, ("YOLO", self._place(images / folder.name, folder)))
        return found

    def split_folders(self) -> dict[str, tuple[str, Place]]:
        """A folder for each split."""
        found: dict[str, tuple[str, Place]] = {}
        for folder in folders_in(self.root)[0]:
            split = named_split(folder.name)
            place = self._inside(folder) if split is not None else None
            if split is not None and place is not None:
                self._add(found, split, place)
        return found

    def _add(self, found: dict[str, tuple[str, Place]], split: str, place: tuple[str, Place]) -> None:
        """Adds a folder for a split, and refuses a second one."""
        if split in found:
            raise DataProblem(f"`{self.root}` has two folders for the {split} split; keep one", "folder")
        found[split] = place

    def alone(self) -> dict[str, tuple[str, Place]]:
        """One folder without splits."""
        place = self._inside(self.root)
        return {} if place is None else {"train": place}

    def _inside(self, folder: Path) -> tuple[str, Place] | None:
        """The format and the place of a folder of images with annotations; None where it holds none."""
        folders, files = folders_in(folder)
        by_name = {path.name.lower(): path for path in folders}
        images = next((by_name[name] for name in ("images", "jpegimages") if name in by_name), folder)
        if "labels" in by_name and images is not folder:
            return "YOLO", self._place(images, by_name["labels"])
        documents = [file for file in files if file.suffix.lower() == ".json"]
        if len(documents) > 1:
            documents = [file for file in documents if "annotations" in file.name.lower()]
        if len(documents) == 1:
            return "COCO", self._place(images, documents[0])
        for found in (by_name.get("annotations"), folder):
            if found is not None and any(path.suffix.lower() == ".xml" for path in folders_in(found)[1]):
                return "VOC", self._place(images, found)
        return None

    def _place(self, images: Path, annotations: Path, names: Path | None = None) -> Place:
        return Place(self.root, images, annotations, self.most_megapixels, names)


def images_in(place: Place) -> tuple[dict[str, Path], dict[Path, Path]]:
    """The image files of a place, by their names without endings below its folder, sorted.

    Returns:
        The files; and those of a name that another file has with another ending, each with that one. Annotations have
        no endings of images, so that nothing tells whose they are.
    """
    by_name: dict[str, Path] = {}
    doubles: dict[Path, Path] = {}
    for file in map(Path, image_files(place.images)[0]):
        other = by_name.setdefault(file.relative_to(place.images).with_suffix("").as_posix(), file)
        if other != file:
            doubles[file] = other
    return by_name, doubles
