"""Texts as Python: read from class folders or a TFDS set, and numbered by the words of those that train."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataSetInfo, known_name, prepared_folder
from cnnkit.config.known_data_sets import KNOWN_TEXTS
from cnnkit.config.prepared import read_prepared_texts
from cnnkit.config.texts import read_texts, text_folders, text_label
from cnnkit.eject.own_test import own_test, tfds_name
from cnnkit.eject.source_text import SourceText
from cnnkit.eject.text import commented, copied, literal, wrapped
from cnnkit.errors import UsageError

_NUMBERED = '''\
def learn_words(texts):
    """The most frequent words and their numbers, from 2 on; of equally frequent ones, those first by their letters."""
    counts = collections.Counter(word for text in texts for word in words_in(text) if word != UNKNOWN_SHOWN)
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return {word: number for number, word in enumerate(ranked[: WORDS - 2], 2)}


def as_numbers(texts, %(targets)s, vocabulary):
    """Texts as the numbers of their first words, int32 [n, LENGTH], and their %(targets)s.

    0 is padding behind a text that is shorter, and 1 a word that is not in the vocabulary.
    """
    rows = np.zeros((len(texts), LENGTH), np.int32)
    for row, text in zip(rows, texts):
        words = words_in(text)[:LENGTH]
        row[: len(words)] = [vocabulary.get(word, 1) for word in words]
    return rows, %(targets)s
'''

_FOLDER = '''\
def read_texts(folder, class_folders=CLASS_NAMES):
    """The texts of a folder of class folders, [n], and their labels, int64 [n]."""
    places = [Path(folder, name) for name in class_folders]
    found = [text_files(place, %(ending)s) if place.is_dir() else [] for place in places]
    texts = [path.read_bytes().decode("utf-8-sig") for paths in found for path in paths]
    return np.array(texts, object), np.repeat(np.arange(CLASSES), [len(paths) for paths in found])
'''

_TFDS = '''\
def load(split):
    """The texts of a slice in the order of its files, [n], and labels, int64 [n]."""
    config = tfds.ReadConfig(interleave_cycle_length=1)
    data = tfds.load(DATA, split=split, read_config=config)
    data = data.map(lambda row: (row[%(text)s], row[%(label)s]))
    texts, labels = next(iter(data.batch(len(data))))
    return np.array([text.decode() for text in texts.numpy()], object), labels.numpy().astype(np.int64)
'''


def write_texts(config: DataConfig, info: DataSetInfo) -> SourceText:
    """The text that reads the texts of a folder of class folders, or of a TFDS set.

    Raises:
        UsageError: if nothing says what a TFDS set calls its classes.
    """
    return _folder(config, info) if config.folder is not None else _records(config, info)


def of_texts(
    constants: Sequence[str],
    functions: Sequence[str],
    splits: set[str],
    listed: Callable[[str], str],
    info: DataSetInfo,
    *,
    targets: str = "labels",
    finds_test: bool = False,
) -> SourceText:
    """A source of texts, which become the numbers of their words once all splits are there.

    Args:
        constants, functions, splits, listed, finds_test: See `SourceText`; `listed` gives texts and targets.
        targets: What the script calls what comes with texts.
    """

    def concluded(made: Sequence[str]) -> list[str]:
        return [
            "# The words of the training texts alone get numbers.",
            "vocabulary = learn_words(train[0])",
            'Path(BEST).with_suffix(".words.txt").write_text("\\n".join(vocabulary), "utf-8")',
            *(f"{split} = as_numbers(*{split}, vocabulary)" for split in made),
        ]

    return SourceText(
        [
            *constants,
            f"WORDS = {info.sample.largest + 1}  # numbers of words: 0 is padding, 1 a word that is not among them",
            f"LENGTH = {info.shape[0]}  # words of a text that the network sees",
        ],
        [
            copied("cnnkit.texts.words", ["words_in", "UNKNOWN_SHOWN"]) + "\n",
            *functions,
            _NUMBERED % {"targets": targets},
        ],
        splits,
        ("texts", targets),
        listed,
        finds_test,
        concluded=concluded,
    )


def _folder(config: DataConfig, info: DataSetInfo) -> SourceText:
    table = info.table or read_texts(config, type(info.target))
    folders = text_folders(table.root)
    constants = commented(f"DATA = {literal(str(table.root))}", "a folder of class folders")
    constants += [*wrapped(f"CLASS_NAMES = {literal(list(table.names))}"), "CLASSES = len(CLASS_NAMES)"]
    functions = [
        copied("cnnkit.images.files", ["files_in"]) + "\n",
        copied("cnnkit.config.texts", ["text_files"]) + "\n",
        _FOLDER % {"ending": literal(config.text)},
    ]

    def listed(split: str) -> str:
        of_classes = folders[split]
        place = next(iter(of_classes.values())).parent.relative_to(table.root).as_posix()
        # A folder may be spelled otherwise than its class is shown, and otherwise in each split.
        names = [of_classes[name].name if name in of_classes else name for name in table.names]
        spelled = "" if names == list(table.names) else f", {literal(names)}"
        return f"read_texts({'DATA' if place == '.' else f'Path(DATA, {literal(place)})'}{spelled})"

    return of_texts(constants, functions, set(table.splits), listed, info)


def _records(config: DataConfig, info: DataSetInfo) -> SourceText:
    assert config.name is not None
    assert config.text is not None
    folder, known = prepared_folder(config.name), KNOWN_TEXTS.get(known_name(config.name))
    label = text_label(config.name, config.target)
    facts = None if folder is None else read_prepared_texts(folder, config.text, label)
    label = label if facts is None else facts["label"]
    if label is None:
        raise UsageError(
            f"nothing here says which feature of `{config.name}` has the classes, which the script is to read",
            f"Fetch the data set first (cnnkit data prepare {config.name}), or name it: `data.target`.",
        )
    functions = [_TFDS % {"text": literal(config.text), "label": literal(label)}]
    found, finds_test = own_test(config, facts, known is not None, "texts")
    return of_texts(
        commented(f"DATA = {literal(tfds_name(config.name))}", "a data set of tensorflow-datasets"),
        [*functions, *found],
        set(facts["splits"]) if facts else set(),
        lambda split: f"load({literal(split)})",
        info,
        finds_test=finds_test,
    )
