"""Tables as Python: the files or texts of rows, and the class, the labels or the numbers of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cnnkit.config.class_names import same_for
from cnnkit.config.columns import SEPARATOR
from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.split_folders import SPLIT_WORDS
from cnnkit.config.table import IMAGE_COLUMN, ImageTable
from cnnkit.config.target import Labels, Numbers, OneClass, Target
from cnnkit.eject.image_files import image_constants, image_reader
from cnnkit.eject.source_text import SourceText
from cnnkit.eject.targets import target_text
from cnnkit.eject.text import commented, literal, wrapped
from cnnkit.eject.texts import of_texts
from cnnkit.errors import UsageError

#: The lines that read the header and the rows of a table.
ROWS = """\
    with open(DATA, encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter=%(delimiter)s, skipinitialspace=True)
        header, *rows = [[cell.strip() for cell in cells] for cells in lines if any(map(str.strip, cells))]
    header = [normal(name) for name in header]
%(before)s"""

_PATHS = '''\
def image_paths(%(argument)s):
    """The image files of %(what)s, [n], and their %(name)s, %(array)s, sorted by %(order)s."""
%(rows)s    found = {}
    for row in (dict(zip(header, cells)) for cells in rows):
        %(condition)sfound[os.path.normpath(row[%(sample)s])] = %(value)s
    paths = sorted(found%(key)s)
    files = np.array([os.path.join(os.path.dirname(DATA), path) for path in paths], object)
    return files, np.array([found[path] for path in paths], np.%(type)s)


'''

_TEXTS = '''\
def read_texts(%(argument)s):
    """The texts of %(what)s, [n], and their %(name)s, %(array)s, sorted by label and text."""
    csv.field_size_limit(1 << 30)  # texts may be long
%(rows)s    found = []
    for row in (dict(zip(header, cells)) for cells in rows):
        %(condition)sfound.append((%(value)s, row[%(sample)s]))
    %(name)s, texts = zip(*sorted(found))
    return np.array(texts, object), np.array(%(name)s, np.%(type)s)
'''

#: Where texts have no class, those that are alike are sorted by their lines, compared as texts.
_ROWS_WITH_LINES = """\
    with open(DATA, encoding="utf-8-sig", newline="") as file:
        lines, table, line = csv.reader(file, delimiter=%(delimiter)s, skipinitialspace=True), [], 1
        for cells in lines:
            table.append((str(line), [cell.strip() for cell in cells]))
            line = lines.line_num + 1
    (_, header), *rows = [(line, cells) for line, cells in table if any(cells)]
    header = [normal(name) for name in header]
%(before)s"""

_TEXTS_WITHOUT_CLASS = '''\
def read_texts(%(argument)s):
    """The texts of %(what)s, [n], and their %(name)s, %(array)s, sorted by text and line."""
    csv.field_size_limit(1 << 30)  # texts may be long
%(rows)s    found = []
    for line, row in ((line, dict(zip(header, cells))) for line, cells in rows):
        %(condition)sfound.append((row[%(sample)s], line, %(value)s))
    texts, _, %(name)s = zip(*sorted(found))
    return np.array(texts, object), np.array(%(name)s, np.%(type)s)
'''

#: The function by which names are compared.
NORMAL = '''\
def normal(name):
    """A name as it is compared: accented letters may be one character or two."""
    return unicodedata.normalize("NFC", name)
'''

_LISTED_LABELS = '''\
def marks(row):
    """Zeros and ones for the labels of a row, [CLASSES], which stand in one cell with `%(separator)s` between them."""
    labels = {normal(label.strip()) for label in row[%(column)s].split("%(separator)s")}
    return [float(normal(name) in labels) for name in CLASS_NAMES]
'''

_LABEL_COLUMNS = '''\
def marks(row):
    """Zeros and ones for the labels of a row, [CLASSES], each of which has a column."""
    return [float(row[name].lower() in ("1", "1.0", "true")) for name in %(names)s]
'''


@dataclass(frozen=True)
class _Cells:
    """How the cells of the target's columns are read.

    Attributes:
        value: An expression of `row`.
        type: Of the values, by NumPy's name.
        function: One that the expression calls; empty for none.
        by_value: Whether images are sorted by their values before their paths.
        before: Lines in front of the loop over rows.
    """

    value: str
    type: str = "float32"
    function: str = ""
    by_value: bool = False
    before: str = ""


def _class(columns: Sequence[str], names: str) -> _Cells:
    before = f"    names = [normal(name) for name in {names}]\n"
    return _Cells(f"names.index(normal(row[{literal(columns[0])}]))", "int64", by_value=True, before=before)


def _label_list(columns: Sequence[str], names: str) -> _Cells:
    values = {"separator": SEPARATOR, "column": literal(columns[0])}
    return _Cells("marks(row)", function=_LISTED_LABELS % values)


def _label_columns(columns: Sequence[str], names: str) -> _Cells:
    return _Cells("marks(row)", function=_LABEL_COLUMNS % {"names": names})


def _number_columns(columns: Sequence[str], names: str) -> _Cells:
    return _Cells(f"[float(row[name]) for name in {names}]")


#: For each kind of target, how one column is read, and how a list of columns is. Both take the columns, and their names
#: as an expression.
_READERS: Mapping[type[Target], tuple[Callable[[Sequence[str], str], _Cells], ...]] = {
    OneClass: (_class, _class),
    Labels: (_label_list, _label_columns),
    Numbers: (_number_columns, _number_columns),
}


def refuse_groups(config: DataConfig) -> None:
    """Raises UsageError for a table that names groups."""
    if config.group is not None:
        raise UsageError(
            f"no script keeps the groups of a table (`data.group: {config.group}`) together when it divides "
            f"{config.sample.plural}",
            "Write what belongs to training, validation and test into a column, name it with `data.split`, and leave "
            "out `data.group`.",
        )


def write_table(config: DataConfig, table: ImageTable, info: DataSetInfo) -> SourceText:
    """The text that reads a table of images or texts.

    Raises:
        UsageError: if it names groups.
    """
    refuse_groups(config)
    text = target_text(info.target)
    constants, cells = _names_and_cells(config, table, info.target)
    constants = [*commented(f"DATA = {literal(config.table)}", f"a table of {config.sample.plural}"), *constants]
    names = {
        "argument": "",
        "what": "the table",
        "name": text.name,
        "array": text.array,
        "order": "label and path" if cells.by_value else "path",
        "condition": "",
        "delimiter": literal(table.delimiter),
        "sample": literal(same_for(config.text or config.image or IMAGE_COLUMN)),
        "before": cells.before,
        "value": cells.value,
        "key": ", key=lambda path: (found[path], path)" if cells.by_value else "",
        "type": cells.type,
    }
    if config.split is not None:
        constants += wrapped(f"SPLIT_WORDS = {literal(SPLIT_WORDS)}")
        condition = f"if SPLIT_WORDS[row[{literal(same_for(config.split))}].lower()] == split:\n            "
        names |= {"argument": "split", "what": "a split of the table", "condition": condition}
    functions = [NORMAL, *([cells.function] if cells.function else [])]

    def listed(split: str) -> str:
        return f"{reader}({literal(split) if config.split is not None else ''})"

    if config.text is not None:
        reader = "read_texts"
        rows, template = (ROWS, _TEXTS) if cells.by_value else (_ROWS_WITH_LINES, _TEXTS_WITHOUT_CLASS)
        functions.append(template % (names | {"rows": rows % names}))
        return of_texts(constants, functions, set(table.splits), listed, info, targets=text.name)
    reader = "image_paths"
    readers = image_reader(config, info.shape, text.name)
    functions += [*readers[:-1], _PATHS % (names | {"rows": ROWS % names}) + readers[-1]]
    constants += image_constants(config)
    return SourceText(constants, functions, set(table.splits), ("paths", text.name), listed, reader="load")


def _names_and_cells(config: DataConfig, table: ImageTable, target: Target) -> tuple[list[str], _Cells]:
    """The constants with the names of classes, labels or numbers, and how cells are read."""
    assert config.target is not None
    several, names = isinstance(config.target, list), target_text(target).names
    columns = [same_for(name) for name in ([config.target] if isinstance(config.target, str) else config.target)]
    constants = wrapped(f"{names} = {literal(list(table.names))}")
    constants += ["CLASSES = len(CLASS_NAMES)"] if names == "CLASS_NAMES" else []
    read = next(_READERS[kind] for kind in type(target).__mro__ if kind in _READERS)[several]
    if read in (_label_columns, _number_columns) and columns != list(table.names):
        # The table may spell its columns otherwise than they are shown.
        constants += wrapped(f"COLUMNS = {literal(columns)}")
        names = "COLUMNS"
    return constants, read(columns, names)
