"""The valid config that tests break, and a way to run the command line on it."""

from __future__ import annotations

from dataclasses import dataclass, field

BASE = """\
seed: 0
data:
  name: cifar10
  batch_size: 64
augmentation:
  - RandomFlip: horizontal
model:
  layers:
    - Conv2D: {filters: 8, kernel_size: 3, padding: same}
    - BatchNormalization
    - ReLU
    - MaxPooling2D: 2
    - Flatten
    - Dropout: 0.5
    - Dense: {units: classes, activation: softmax}
training:
  epochs: 3
  optimizer: {SGD: {learning_rate: 0.1, momentum: 0.9}}
  schedule: {ReduceLROnPlateau: {factor: 0.5}}
  early_stopping: {patience: 2}
  metrics: [AUC]
"""


def edited(*edits: tuple[str, str], text: str = BASE) -> str:
    """`text` with the first occurrence of each edit's first part replaced by its second."""
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


@dataclass(frozen=True)
class Case:
    """One broken config.

    Args:
        name: The test's name.
        text: The file's content.
        problems: Every place that the report must name, in order: `line:column` of the file (or `file:line:column`
            of another, or the override), each with words that its message must have.
        overrides: `--set` arguments.
        files: Further files beside it.
    """

    name: str
    text: str | bytes
    problems: dict[str, tuple[str, ...]]
    overrides: tuple[str, ...] = ()
    files: dict[str, str | bytes] = field(default_factory=dict)


def edit(name: str, old: str, new: str, place: str, *words: str) -> Case:
    """A case of one edit and one problem."""
    return Case(name, edited((old, new)), {place: words})


def override(name: str, text: str, *words: str) -> Case:
    """A case of one wrong `--set` on the valid config."""
    return Case(name, BASE, {f"--set {text}": words}, overrides=(text,))
