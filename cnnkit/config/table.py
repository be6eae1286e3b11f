"""Tables of samples: files that name an image, or hold a text, in each row, and what is to be learned of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnkit.config.cells import SPLITS, image_of, places_of, read_cells, refusal, split_of
from cnnkit.config.columns import READERS, Cells, TargetReader, Value
from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.target import Target
from cnnkit.terminal.printable import printable
from cnnkit.texts.words import has_words

#: The column of the images' paths where a config names none.
IMAGE_COLUMN = "image"


@dataclass(frozen=True)
class ListedImage:
    """A row of a table.

    Attributes:
        file: The image file, relative to the table's folder; of a text, the name of the table's file and the line.
        value: What is to be learned of it: the number of its class, or one number for each label or column.
        line: The first line of the row in the table's file, from 1.
        group: What the column of the groups says; None where there is no such column.
        text: The text, where rows hold texts.
    """

    file: str
    value: Value
    line: int
    group: str | None = None
    text: str = ""


@dataclass(frozen=True)
class ImageTable:
    """The images of a table.

    Attributes:
        root: The folder of the table's file.
        name: The name of the table's file.
        names: The classes or labels, sorted as text or in the order that was asked for; or the columns of numbers.
        splits: The images of each split, sorted by class, where they have one each, and by file: the order of the
            table's rows makes no difference. `train` alone where no column divides them.
        notes: What the user should know of what was read, a line each.
        delimiter: What stands between the cells of a row.
    """

    root: Path
    name: str
    names: tuple[str, ...]
    splits: Mapping[str, tuple[ListedImage, ...]]
    notes: tuple[str, ...] = ()
    delimiter: str = ","

    def text(self, image: ListedImage) -> str:
        """What is to be learned of an image: its class, its labels, or its numbers."""
        if isinstance(image.value, int):
            return self.names[image.value]
        return ", ".join(f"{name} {value:g}" for name, value in zip(self.names, image.value, strict=True) if value)

    def files(self) -> Iterator[str]:
        for images in self.splits.values():
            for image in images:
                yield image.file


@dataclass(frozen=True)
class _Row:
    """The cells that a config asks for, of one row.

    Attributes:
        line: The first line of the row, from 1.
        sample: The path of the image as it is written, or the text.
        target: The cells of the target's columns.
        split: The cell of the splits' column; None where none is asked for, as for `group`.
    """

    line: int
    sample: str
    target: Cells
    split: str | None
    group: str | None


def read_image_table(config: DataConfig, target: type[Target], names: Sequence[str] | None = None) -> ImageTable:
    """Reads the table of a config and checks all of it.

    Args:
        config: A `data` section with `table`.
        target: What is to be learned of the images.
        names: The classes or labels that there are; by default those of `data.class_names`, else those that occur.

    Raises:
        DataProblem: if the file or columns are not there; or rows cannot be used, which are named by their lines.
    """
    assert config.table is not None
    file = Path(config.table).expanduser()
    reader = _target_reader(config, target)
    problems: dict[int, str] = {}
    header, cells, delimiter = read_cells(file, problems)
    rows = _columns(config, file, header, cells)
    if not rows:
        message = refusal(file, problems, 0) if problems else f"`{file}` has no rows below its header"
        raise DataProblem(message, "table")
    found_names = reader.names([row.target for row in rows], names or config.class_names)
    read = _image if config.text is None else _text
    images, splits = _read_rows(rows, file, reader, found_names, read, problems)
    _refuse_torn_groups(images, splits, problems)
    if problems:
        raise DataProblem(refusal(file, problems, len(rows)), "table")
    notes = _repeated(len(rows) - len(images))
    unused = reader.unused([image.value for image in images.values()], found_names) if names is None else []
    if unused:
        notes.append(f"no {config.sample.singular} has " + ", ".join(f"`{name}`" for name in unused))
    divided: dict[str, list[ListedImage]] = {}
    for image in sorted(images.values(), key=lambda image: (reader.rank(image.value), image.text, image.file)):
        divided.setdefault(splits[image.file], []).append(image)
    ordered = {split: tuple(divided[split]) for split in SPLITS if split in divided}
    return ImageTable(file.parent, printable(file.name), found_names, ordered, tuple(notes), delimiter)


def check_table(table: ImageTable) -> None:
    """Checks that one can train on a table.

    Raises:
        DataProblem: if its splits leave no images to train on, or none of a class.
    """
    train = table.splits.get("train", ())
    if not train:
        others = " and ".join(f"`{split}`" for split in table.splits)
        raise DataProblem(
            f"`{table.root / table.name}` has only images of the split {others}, and none of `train`", "split"
        )
    values = {image.value for image in train}
    lacking = [
        f"`{table.names[image.value]}` (line {image.line})"
        for images in table.splits.values()
        for image in images
        if isinstance(image.value, int) and image.value not in values
    ]
    if lacking:
        more = f" and {len(lacking) - 1:,} more" if len(lacking) > 1 else ""
        raise DataProblem(
            f"in `{table.root / table.name}`, no training image has the class {lacking[0]}{more}; a network cannot "
            "learn it. Put some of its images in the split `train`, or leave it out",
            "split",
        )


def _target_reader(config: DataConfig, target: type[Target]) -> TargetReader:
    assert config.target is not None
    make = next((READERS[kind] for kind in target.__mro__ if kind in READERS), None)
    if make is None:
        raise DataProblem(
            "a table has classes, labels or numbers in its cells; the task is to learn something else of each image. "
            "Name a `folder:` that holds it, or choose another `task:`",
            "table",
        )
    return make(config.target, config.class_names is not None)


def _columns(config: DataConfig, file: Path, header: list[str], rows: list[tuple[int, list[str]]]) -> list[_Row]:
    """The cells of the columns that a config names.

    Raises:
        DataProblem: as `places_of`.
    """
    assert config.target is not None
    targets = [config.target] if isinstance(config.target, str) else list(config.target)
    sample = "image" if config.text is None else "text"
    wanted = {sample: [config.text or config.image or IMAGE_COLUMN], "target": targets}
    wanted |= {"split": [config.split]} if config.split is not None else {}
    wanted |= {"group": [config.group]} if config.group is not None else {}
    places = places_of(file, header, wanted)

    def cell(cells: list[str], field: str) -> str | None:
        return cells[places[field][0]] if field in places else None

    return [
        _Row(
            line,
            cells[places[sample][0]],
            tuple(cells[place] for place in places["target"]),
            cell(cells, "split"),
            cell(cells, "group"),
        )
        for line, cells in rows
    ]


# --- Its rows -------------------------------------------------------------------------------------------


def _read_rows(
    rows: Sequence[_Row],
    file: Path,
    reader: TargetReader,
    names: Sequence[str],
    read: Callable[[Path, _Row, list[str]], tuple[str, str]],
    problems: dict[int, str],
) -> tuple[dict[str, ListedImage], dict[str, str]]:
    """The image of each file, or each text, and its split; what is wrong with rows goes to `problems`, by their lines.

    Args:
        read: What a row is known by, and its text; empty where something is wrong with it, which it adds to a list.
    """
    images: dict[str, ListedImage] = {}
    splits: dict[str, str] = {}
    for row in rows:
        wrong: list[str] = []
        name, text = read(file, row, wrong)
        split = split_of(row.split, wrong)
        if row.group == "":
            wrong.append("has no group: the cell is empty")
        try:
            image = ListedImage(name, reader.value(row.target, names), row.line, row.group, text)
        except ValueError as problem:
            wrong.append(str(problem))
            name = ""
        if name:
            other = images.setdefault(name, image)
            if (other.value, other.group, splits.setdefault(name, split)) != (image.value, row.group, split):
                wrong.append(f"names `{name}` again, which line {other.line} gives another target, split or group")
        if wrong:
            problems[row.line] = "; ".join(wrong)
    return images, splits


def _text(file: Path, row: _Row, wrong: list[str]) -> tuple[str, str]:
    """The text of a row, which is known by its line: two texts may be alike."""
    if not has_words(row.sample):
        wrong.append(f"has no text: the cell {'has no word' if row.sample else 'is empty'}")
    return f"{printable(file.name)}:{row.line}" if row.sample else "", row.sample


def _image(file: Path, row: _Row, wrong: list[str]) -> tuple[str, str]:
    """The path of a row's image."""
    return image_of(file, row.sample, wrong), ""


def _refuse_torn_groups(images: Mapping[str, ListedImage], splits: Mapping[str, str], problems: dict[int, str]) -> None:
    """Finds groups whose images a column of splits divides."""
    firsts: dict[str, ListedImage] = {}
    told: set[str] = set()
    for name, image in images.items():
        if image.group is None or image.group in told:
            continue
        first = firsts.setdefault(image.group, image)
        if splits[first.file] != splits[name]:
            told.add(image.group)
            problems.setdefault(
                image.line,
                f"puts the group `{image.group}` in the {splits[name]} split; line {first.line} puts it in the "
                f"{splits[first.file]} split",
            )


def _repeated(extra: int) -> list[str]:
    """A note on rows that name an image again."""
    return [f"{extra:,} row{' repeats' if extra == 1 else 's repeat'} an image; each counts once"] if extra else []
