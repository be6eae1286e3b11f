"""Annotations in a table: a row for each box, or for an image without objects."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cnnkit.config.box_columns import BoxColumns
from cnnkit.config.boxes.parts import Annotations, Place, as_number
from cnnkit.config.cells import RETINANET_COLUMNS, SPLITS, image_of, places_of, read_cells, refusal, split_of
from cnnkit.config.class_names import place_of, same_for
from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.table import IMAGE_COLUMN
from cnnkit.format.similar import suggestion
from cnnkit.images.boxes import Box, problem_of
from cnnkit.terminal.printable import printable

#: What the four columns of a box are called where nobody says it: edges, then two edges and sides.
_EDGES = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
    ("x0", "y0", "x1", "y1"),
    ("minx", "miny", "maxx", "maxy"),
)
_CORNERS = (("left", "top"), ("xmin", "ymin"), ("x", "y"))
_SIDES = (("width", "height"), ("w", "h"))

#: What a column is called that marks crowds, or what is hard to see.
_CROWDS = ("iscrowd", "crowd", "difficult", "isdifficult", "isgroupof")

#: How cells say whether a box is one of a crowd, in small letters.
_MARKS = {"": False, "0": False, "false": False, "1": True, "true": True}


@dataclass(frozen=True)
class BoxTable:
    """The annotated images of a table.

    Attributes:
        splits: Those of each split.
        groups: The group of each image file; empty where no column has them.
        notes: What the user should know of what was read, a line each.
    """

    splits: Mapping[str, Annotations]
    groups: Mapping[str, str]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Row:
    """What a row says, as far as it could be read.

    Attributes:
        box: None in the row of an image without objects.
    """

    line: int
    image: str
    split: str
    group: str | None
    box: Box | None


def likely_columns(columns: Sequence[str]) -> BoxColumns | None:
    """The columns that are called like those of a box; None where none are."""
    by_name = {re.sub(r"[^a-z0-9]|^b?box", "", name.lower()): name for name in reversed(columns)}
    crowd = next((by_name[name] for name in _CROWDS if name in by_name), None)
    kinds: list[tuple[Sequence[str], Sequence[str]]] = [(("left", "top", "right", "bottom"), edges) for edges in _EDGES]
    kinds += [(("left", "top", "width", "height"), (*corner, *sides)) for corner in _CORNERS for sides in _SIDES]
    for fields, names in kinds:
        if all(name in by_name for name in names):
            stated = {field: by_name[name] for field, name in zip(fields, names, strict=True)}
            return BoxColumns.model_validate({**stated, "crowd": crowd})
    return None


def as_yaml(columns: BoxColumns) -> str:
    """Columns as a config writes them."""
    written = columns.as_written()
    if isinstance(written, list):
        return f"[{', '.join(written)}]"
    return "{" + ", ".join(f"{name}: {value}" for name, value in written.items()) + "}"


def read_box_table(config: DataConfig, names: Sequence[str] | None = None) -> BoxTable:
    """Reads the table of a config and checks all of it.

    A row that is there twice counts once. Classes are those of `data.class_names`, else those that occur, sorted.

    Args:
        config: A `data` section with `table`.
        names: The classes that there are, where a network has learned them.

    Raises:
        DataProblem: if the file or columns are not there; or rows cannot be used, which are named by their lines.
    """
    assert config.table is not None
    file = Path(config.table).expanduser()
    problems: dict[int, str] = {}
    header, cells, _ = read_cells(file, problems)
    columns, target = _columns(config, header)
    wanted = {"image": [config.image or IMAGE_COLUMN], "target": [target], "boxes": list(columns.names)}
    further = {"crowd": columns.crowd, "split": config.split, "group": config.group}
    wanted |= {field: [name] for field, name in further.items() if name is not None}
    places = places_of(file, header, wanted)
    if not cells and not problems:
        raise DataProblem(f"`{file}` has no rows below its header", "table")
    classes = tuple(names or config.class_names or sorted({row[places["target"][0]] for _, row in cells} - {""}))
    reader = _Reader(file, columns, places, tuple(map(same_for, classes)), problems, config.max_megapixels)
    rows = [row for line, of_line in cells if (row := reader.row(line, of_line)) is not None]
    annotations = _by_image(rows, reader, problems)
    if problems:
        raise DataProblem("\n  ".join([refusal(file, problems, len(cells)), *reader.hints()]), "table")
    notes = [*_headless(header, cells), *_repeated(reader.repeated)]
    groups = {row.image: row.group for row in rows if row.group is not None}
    return BoxTable({split: annotations[split] for split in SPLITS if split in annotations}, groups, tuple(notes))


def _columns(config: DataConfig, header: Sequence[str]) -> tuple[BoxColumns, str]:
    """The columns of the boxes and that of the classes."""
    if config.boxes is None:
        likely = likely_columns(header)
        example = as_yaml(likely or BoxColumns.model_validate(["xmin", "ymin", "xmax", "ymax"]))
        raise DataProblem(
            f"nothing says which columns of `{config.table}` hold the boxes; add `boxes: {example}`"
            + ("" if likely else f"; its columns are {', '.join(f'`{name}`' for name in header)}"),
            "table",
        )
    targets = [config.target] if isinstance(config.target, str) else list(config.target or ())
    if len(targets) != 1:
        raise DataProblem(f"each box has one class, which is in one column; got {len(targets)} columns", "target")
    return config.boxes, targets[0]


class _Reader:
    """Reads rows; what is wrong with them goes to `problems`, by their lines.

    Attributes:
        repeated: How many rows say what another has said.
    """

    def __init__(
        self,
        file: Path,
        columns: BoxColumns,
        places: Mapping[str, Sequence[int]],
        classes: tuple[str, ...],
        problems: dict[int, str],
        most_megapixels: float,
    ) -> None:
        self.file = file
        self.columns = columns
        self.places = places
        self.classes = classes
        self.problems = problems
        self.place = Place(file.parent, file.parent, file, most_megapixels)
        self.repeated = 0
        self._images: dict[str, tuple[str, list[str]]] = {}
        self._numbers: list[tuple[float, ...]] = []
        self._reversed = self._fit_as_sides = 0

    def row(self, line: int, cells: Sequence[str]) -> _Row | None:
        wrong: list[str] = []
        image = self._image(cells[self.places["image"][0]], wrong)
        split = split_of(self._cell(cells, "split"), wrong)
        group = self._cell(cells, "group")
        if group == "":
            wrong.append("has no group: the cell is empty")
        box = self._box(line, cells, wrong)
        if wrong:
            self.problems[line] = "; ".join(wrong)
            return None
        return _Row(line, image, split, group, box)

    def _cell(self, cells: Sequence[str], field: str) -> str | None:
        return cells[self.places[field][0]] if field in self.places else None

    def _image(self, written: str, wrong: list[str]) -> str:
        """The path of an image, which is looked for once."""
        if written not in self._images:
            said: list[str] = []
            self._images[written] = (image_of(self.file, written, said), said)
        name, said = self._images[written]
        wrong += said
        return name

    def _box(self, line: int, cells: Sequence[str], wrong: list[str]) -> Box | None:
        written = [cells[place] for place in self.places["boxes"]]
        name = cells[self.places["target"][0]]
        if not any(written):
            if name:
                wrong.append(
                    f"has the class `{name}` and no box; leave out both in the row of an image without objects"
                )
            return None
        numbers = [as_number(cell.replace("_", "?")) for cell in written]
        for column, cell, number in zip(self.columns.names, written, numbers, strict=True):
            if number is None:
                got = f"`{cell}`" if cell else "an empty cell"
                wrong.append(f"has {got} in the column `{column}`; expected a number")
        place = place_of(printable(name), self.classes) if name else None
        if not name:
            wrong.append("has a box and no class: the cell is empty")
        elif place is None:
            wrong.append(f"has the unknown class `{name}`{suggestion(name, self.classes)}")
        mark = self._cell(cells, "crowd") or ""
        if mark.lower() not in _MARKS:
            wrong.append(f"has `{mark}` in the column `{self.columns.crowd}`; expected 0 or 1")
        if wrong or place is None:
            return None
        left, top, right, bottom = (number or 0.0 for number in numbers)
        right += left if self.columns.right is None else 0.0
        bottom += top if self.columns.bottom is None else 0.0
        return Box(left, top, right, bottom, self.classes[place], f"line {line}", _MARKS[mark.lower()])

    def in_pixels(self, box: Box, size: tuple[int, int]) -> Box:
        if self.columns.unit == "pixels":
            return box
        height, width = size
        edges = (box.left * width, box.top * height, box.right * width, box.bottom * height)
        return Box(*edges, box.name, box.label, box.crowd)

    def problem(self, box: Box, size: tuple[int, int]) -> str | None:
        """What is wrong with where a box lies in an image of a size (height, width)."""
        edges = self.in_pixels(box, size).edges
        problem = problem_of(edges, size)
        left, top, right, bottom = edges
        self._reversed += right < left or bottom < top
        self._fit_as_sides += problem_of((left, top, left + right, top + bottom), size) is None
        self._numbers.append(box.edges)
        return problem

    def hints(self) -> list[str]:
        """What all boxes together suggest, where they cannot be used."""
        if self._reversed and self.columns.right is not None and self._fit_as_sides == len(self._numbers):
            left, top, width, height = self.columns.names
            sides = f"{{left: {left}, top: {top}, width: {width}, height: {height}}}"
            return [f"all boxes would fit with width and height in the place of edges: `boxes: {sides}`"]
        return []

    def are_shares(self) -> bool:
        """Whether boxes that are said to be in pixels look like shares of the images."""
        return self.columns.unit == "pixels" and bool(self._numbers) and max(map(max, self._numbers)) <= 1


def _by_image(rows: Sequence[_Row], reader: _Reader, problems: dict[int, str]) -> dict[str, Annotations]:
    """The images of each split with their boxes; what is wrong with rows goes to `problems`."""
    by_image: dict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        by_image[row.image].append(row)
    found: dict[str, Annotations] = defaultdict(Annotations)
    for image, of_image in sorted(by_image.items()):
        first = of_image[0]
        annotations = found[first.split]
        size = annotations.size_of(reader.place, image)
        boxes: dict[tuple[object, ...], Box] = {}
        for row in of_image:
            problem = _contradiction(row, first)
            if problem is None and row.box is not None and size is not None:
                reason = reader.problem(row.box, size)
                problem = None if reason is None else f"has a box that {reason}"
            if problem is not None:
                problems[row.line] = problem
            elif row.box is not None and size is not None:
                box = reader.in_pixels(row.box, size)
                boxes.setdefault((box.edges, box.name, box.crowd), box)
        reader.repeated += len(of_image) - max(1, len(boxes)) if size is not None else 0
        if size is not None:
            annotations.add(image, size, list(boxes.values()), str(reader.file))
    if reader.are_shares() and not problems:
        shares = reader.columns.model_copy(update={"unit": "shares"})
        raise DataProblem(
            f"all boxes of `{reader.file}` lie between 0 and 1: as pixels, they hold nothing. If they are shares of "
            f"the images' width and height, write `unit: shares` beside the columns: `boxes: {as_yaml(shares)}`",
            "boxes",
        )
    for annotations in found.values():
        annotations.class_names = reader.classes
    return found


def _contradiction(row: _Row, first: _Row) -> str | None:
    """What a row says that the first one of its image does not."""
    for noun, mine, others in (("split", row.split, first.split), ("group", row.group, first.group)):
        if mine != others:
            return f"puts `{row.image}` in the {noun} `{mine}`; line {first.line} puts it in `{others}`"
    if (row.box is None) != (first.box is None):
        has, had = ("a box", "none") if row.box is not None else ("no box", "one")
        return f"has {has} of `{row.image}`; line {first.line} has {had}"
    return None


def _headless(header: Sequence[str], cells: Sequence[tuple[int, Sequence[str]]]) -> list[str]:
    if tuple(header) == RETINANET_COLUMNS and cells and cells[0][0] == 1:
        return ["the table has no header; its columns are taken as " + ", ".join(f"`{name}`" for name in header)]
    return []


def _repeated(count: int) -> list[str]:
    return (
        [f"{count:,} row{' repeats' if count == 1 else 's repeat'} a box or an image; each counts once"]
        if count
        else []
    )
