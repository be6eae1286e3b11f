"""The tables of an evaluation in a terminal: what they show, and that they fit."""

from __future__ import annotations

import numpy as np
import pytest

from cnnkit.tasks.classification.metrics import classification_metrics
from cnnkit.tasks.classification.tables import evaluation_table
from cnnkit.terminal.tables import display_width


def test_summary_classes_and_matrix() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.8, 0.2]])
    lines = evaluation_table(classification_metrics(probabilities, [0, 0, 1, 1], ["cat", "dog"])).splitlines()
    words = [line.split() for line in lines]
    assert ["accuracy", "75.00%", "(1", "error)"] in words
    assert ["cat", "0.6667", "1.0000", "0.8000", "2"] in words
    assert ["dog", "1.0000", "0.5000", "0.6667", "2"] in words
    matrix = words.index(["cat", "dog"])
    assert words[matrix + 1 : matrix + 3] == [["cat", "2", "0"], ["dog", "1", "1"]]


def test_many_classes_show_the_worst_and_the_most_confused() -> None:
    names = [f"kind{index:02}" for index in range(40)]
    labels = np.arange(400) % 40
    guesses = labels.copy()
    guesses[labels == 7] = 9
    text = evaluation_table(classification_metrics(np.eye(40)[guesses], labels, names))
    words = [line.split() for line in text.splitlines()]
    assert ["kind07", "kind09", "10", "100.0%"] in words
    assert ["kind07", "0.0000", "0.0000", "0.0000", "10"] in words
    assert sum(row[0].startswith("kind") and row[1][0].isdigit() for row in words if len(row) > 1) == 10
    assert "10 of 40 classes" in text


def test_no_mistakes_are_said_to_be_none() -> None:
    text = evaluation_table(classification_metrics(np.eye(13), np.arange(13), [f"class{index}" for index in range(13)]))
    assert "No class was confused" in text


@pytest.mark.parametrize("classes", [2, 6, 12, 13, 31, 300])
def test_fits_100_columns_with_long_names_and_large_counts(classes: int) -> None:
    names = [f"a class name that is too long for any terminal's table: {i}" for i in range(classes)]
    metrics = classification_metrics(
        np.random.default_rng(0).dirichlet(np.ones(classes), 600), np.arange(600) % classes, names
    )
    metrics["confusion_matrix"] = (np.array(metrics["confusion_matrix"]) * 1001).tolist()
    assert max(map(len, evaluation_table(metrics).splitlines())) <= 100


def test_columns_stay_apart_where_shortened_names_would_be_the_same() -> None:
    names = [f"a rather long class name, number {index}" for index in range(12)]
    table = evaluation_table(classification_metrics(np.eye(12), np.arange(12), names))
    assert [str(index) for index in range(12)] in [line.split() for line in table.splitlines()]


def test_wide_letters_align() -> None:
    text = evaluation_table(classification_metrics(np.eye(2), [0, 1], ["猫", "dog"]))
    rows = [line for line in text.splitlines() if line.endswith("  1.0000  1.0000       1")]
    assert len(rows) == 2
    assert display_width(rows[0]) == display_width(rows[1])
