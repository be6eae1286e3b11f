"""The config that is written for texts, after Kim (2014): a table with a column of them, or class folders of files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnkit.config.cells import cells_of, is_table
from cnnkit.config.data import DataConfig, DataProblem
from cnnkit.config.dataset import DataSetInfo, describe_data_set
from cnnkit.config.load import LoadedConfig, validate
from cnnkit.config.run import RunConfig
from cnnkit.config.split_folders import class_folders
from cnnkit.config.target import Labels, Numbers, OneClass
from cnnkit.errors import UsageError
from cnnkit.format.override import read_tree
from cnnkit.format.schema import Schema
from cnnkit.images.files import image_files
from cnnkit.network.summary import summarize
from cnnkit.proposal.columns import are_images, section_of_cells
from cnnkit.proposal.text import block, comment, count, value, with_reason
from cnnkit.task import Task
from cnnkit.tasks import default_task
from cnnkit.terminal.printable import printable
from cnnkit.texts.words import FIRST, words_in

#: What columns of texts are called where nobody says it, the likeliest first.
TEXT_COLUMNS = ("text", "sentence", "review", "comment", "message", "content", "tweet", "body")

#: A column whose cells have so many words on average holds texts, whatever it is called.
_WORDS_OF_A_TEXT = 4

#: The ending of text files.
_ENDING = ".txt"

#: As many numbers of words as the shipped text_cnn knows, and the most words of a text that are proposed.
_MOST_WORDS = 10_000
_LONGEST = 400

#: The share of the training texts that is not cut.
_WHOLE = 0.95

#: Texts that text_cnn sees in its training, and from how many on it is proposed in its size.
_SEEN = 34_000
_MANY = 2_000


def texts_in(source: str) -> str | None:
    """What `data.text` has to say of a table or folder: its column of texts, the ending of its files; None of images.

    Raises:
        UsageError: if a table cannot be read.
    """
    if not is_table(source):
        return _ENDING if _holds_texts(source) else None
    try:
        cells = cells_of(source)
    except DataProblem as problem:
        raise UsageError(problem.message) from None
    named = next((name for known in TEXT_COLUMNS for name in cells if name.lower() == known), None)
    names = [named] if named is not None else [name for name, column in cells.items() if _are_texts(column)]
    return names[0] if names and not any(map(are_images, cells.values())) else None


def _are_texts(column: Sequence[str]) -> bool:
    return bool(column) and sum(len(cell.split()) for cell in column) >= _WORDS_OF_A_TEXT * len(column)


def _holds_texts(folder: str) -> bool:
    """Whether the folders in a folder hold text files and no images."""
    found = False
    try:
        for place in class_folders(Path(folder).expanduser()):
            images, others = image_files(place)
            if images:
                return False
            found = found or any(file.lower().endswith(_ENDING) for file in others)
    except OSError:
        # Whoever lists the folder tells of it.
        return False
    return found


def propose_texts(source: str, text: str, target: str | None, task: Task | None, file: Path) -> tuple[str, list[str]]:
    """The config for texts, and what was found and chosen, a line each.

    Args:
        source: A table, or a folder of class folders.
        text: As `texts_in` says.
        target, task: As for `columns.section_of_cells`.
        file: Where it is to be written: a relative path in a config belongs to its folder.

    Raises:
        UsageError: if nothing can be learned of them.
    """
    if is_table(source):
        config, task = section_of_cells(source, {"text": text}, target, task)
    else:
        config, task = DataConfig(folder=source, text=text), task or default_task()
    try:
        info = describe_data_set(config, task)
    except DataProblem as problem:
        raise UsageError(problem.message) from None
    assert info.table is not None
    splits = info.table.splits
    texts = [words_in(row.text) for row in splits["train"]]
    lengths = [len(words) for words in texts]
    divided = ", ".join(f"{len(rows):,} in `{name}`" for name, rows in splits.items())
    found = (
        f"{count(sum(map(len, splits.values())), 'text')} of {min(lengths):,} to {max(lengths):,} words, "
        f"{info.target.size:,} {info.target.singular if info.target.size == 1 else info.target.plural}; "
        f"{divided if len(splits) > 1 else 'a fifth is kept to test'}"
    )
    body = block(["seed: 0", f"task: {value(task.to_plain())}"]) + _sections(config, info, texts, file)
    tree = read_tree(str(file), Schema("model", model=RunConfig), body)
    checked, described, steps, _, _ = validate(tree)
    summary = summarize(LoadedConfig(checked, described, steps, str(file), tree, body))
    network = (
        f"the network of Kim (2014) from scratch, {summary.parameters:,} parameters; "
        f"{count(checked.training.epochs, 'epoch')}"
    )
    head = block(
        [
            comment(f"Texts of `{printable(source)}`: {found}."),
            comment(f"{network[:1].upper()}{network[1:]}; docs/text.md explains it."),
            comment("Written by `cnnkit new --from`; the reasons are given so that they can be disagreed with."),
        ]
    )
    return head + body, [f"found     {found}", f"chosen    {network}"]


def _sections(config: DataConfig, info: DataSetInfo, texts: Sequence[Sequence[str]], file: Path) -> str:
    """`data`, `model` and `training`, sized to the training texts."""
    frequent = sum(number > 1 for number in Counter(word for text in texts for word in text).values())
    words = max(FIRST + 1, min(_MOST_WORDS, FIRST + frequent))
    lengths = [len(text) for text in texts]
    length = min(_LONGEST, 8 * max(1, -(-int(np.quantile(lengths, _WHOLE)) // 8)))
    many = len(texts) >= _MANY
    cut = sum(one > length for one in lengths) / len(lengths)
    epochs = max(4, min(30, round(_SEEN / len(texts))))
    written = {name: one for name, one in config.to_plain().items() if name in config.model_fields_set}
    for name in ("table", "folder"):
        if name in written:
            path = os.path.expanduser(str(written[name]))
            written[name] = path if os.path.isabs(path) else os.path.relpath(path, file.parent)
    filters, channels = (100, 64) if many else (32, 32)
    kept = "the most frequent" if words == _MOST_WORDS else "all that occur twice or more in the training texts"
    return block(
        [
            "data:",
            *(f"  {name}: {value(one)}" for name, one in written.items()),
            with_reason(f"  words: {words}", f"{kept}, padding and unknown words"),
            with_reason(f"  length: {length}", f"{cut:.1%} of the training texts are longer, and cut"),
            f"  batch_size: {64 if many else 16}",
            "model:",
            "  layers:",
            f"    - Embedding: {{input_dim: words, output_dim: {channels}, padding_idx: 0}}",
            with_reason("    - Dropout: {rate: 0.35, noise_shape: [null, $length, 1]}", "whole words at random"),
            with_reason("    - ZeroPadding1D: 4", "each window sees the same, whatever the length is"),
            with_reason("    - Branches:", "windows of three, four and five words"),
            *(
                f"        - [Conv1D: {{filters: {filters}, kernel_size: {width}, padding: same, activation: relu}}]"
                for width in (3, 4, 5)
            ),
            with_reason("    - GlobalMaxPooling1D", "the largest output of each filter, wherever it is"),
            "    - Dropout: 0.5",
            f"    - Dense: {_HEADS[next(kind for kind in type(info.target).__mro__ if kind in _HEADS)]}",
            "training:",
            with_reason(f"  epochs: {epochs}", f"{epochs * len(texts):,} texts are seen"),
            with_reason(
                "  optimizer: {Adam: {learning_rate: 0.001, use_ema: true, ema_momentum: 0.99}}",
                "the averaged weights are kept",
            ),
        ]
    )


#: What the network ends in.
_HEADS: Mapping[Any, str] = {
    OneClass: "{units: classes, activation: softmax}",
    Labels: "{units: classes, activation: sigmoid}",
    Numbers: "targets",
}
