"""Scripts of networks that learn labels and numbers: their tables and first epochs are those of `cnnkit train`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from digit_tables import write_digits
from ejected import each_split, figures, run_script, splits_of
from tables import write_pictures, write_table

from cnnkit.config.load import LoadedConfig, load_config
from cnnkit.data import load
from cnnkit.eject import eject
from cnnkit.errors import UsageError
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import evaluate_run
from cnnkit.runs.trained import open_run


def written(folder: Path, task: Any, data: dict[str, Any], units: str, **training: Any) -> LoadedConfig:
    """A small network for a table."""
    content = {
        "task": task,
        "seed": 1,
        "data": {"batch_size": 32, **data},
        "augmentation": [{"RandomTranslation": {"height_factor": 0.1, "width_factor": 0.1}}],
        "model": {
            "layers": [
                {"Conv2D": {"filters": 4, "kernel_size": 3, "activation": "relu"}},
                "Flatten",
                {"Dense": units},
            ]
        },
        "training": {"epochs": 1, "tensorboard": False, **training},
    }
    (folder / "net.yaml").write_text(yaml.safe_dump(content))
    return load_config(str(folder / "net.yaml"))


def compare(loaded: LoadedConfig, folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], str]:
    """Holds the figures of a script's first epoch against those of training.

    Returns:
        The run's evaluation.json, and what the script printed.
    """
    expected = figures(loaded, folder)
    history, shown = run_script(eject(loaded), folder, monkeypatch)
    assert history.keys() == expected.keys() - {"learning_rate"}
    for name, values in history.items():
        assert values == pytest.approx(expected[name], rel=1e-4), name
    return evaluate_run(open_run(Run(folder / "run"))), shown


@pytest.mark.long
def test_labels_are_learned_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits, smoothed labels, and thresholds that are chosen on the validation images."""
    data = {"table": str(write_digits(tmp_path, 200)), "target": "labels"}
    task = {"multilabel": {"thresholds": "validation"}}
    loaded = written(tmp_path, task, data, "classes", label_smoothing=0.1, metrics=["AUC"])
    evaluation, shown = compare(loaded, tmp_path, monkeypatch)
    (precision, f1) = re.findall(r"test mean average precision ([01]\.\d{4}), micro F1 ([01]\.\d{4})", shown)[0]
    # The script rounds log-odds to 0.002 before it compares them.
    assert float(precision) == pytest.approx(evaluation["mean_average_precision"], abs=2e-3)
    assert float(f1) == pytest.approx(evaluation["micro_f1"], abs=1e-4)
    (chosen,) = re.findall(r"\{'above_four': (.*), 'odd': (.*)\}", shown)
    assert list(map(float, chosen)) == pytest.approx([row["threshold"] for row in evaluation["per_label"]], rel=1e-3)


@pytest.mark.long
def test_numbers_are_learned_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of columns whose units differ by far, and with splits that a column names."""
    data = {"table": str(write_digits(tmp_path, 200)), "target": ["lit", "thousandth"], "split": "split"}
    loaded = written(tmp_path, "regression", data, "targets", loss="Huber", metrics=["R2Score"])
    evaluation, shown = compare(loaded, tmp_path, monkeypatch)
    ((mae, rmse),) = re.findall(r"test mean absolute error ([\d.]+), root mean squared error ([\d.]+)", shown)
    assert float(mae) == pytest.approx(evaluation["mae"], abs=1e-3)
    assert float(rmse) == pytest.approx(evaluation["rmse"], abs=1e-3)


def table_of(folder: Path) -> Path:
    """A table in which nothing is plain: accents in two spellings, empty cells, words for 0 and 1, rows twice."""
    names = [f"images/{number}.png" for number in range(30)]
    write_pictures(folder, names)
    random = np.random.default_rng(0)
    rows: list[dict[str, object]] = []
    for number, name in enumerate(names):
        marks = random.integers(0, 2, 3)
        labels = [label for label, mark in zip(("cat", "d\u00f4g", "a b"), marks, strict=True) if mark]
        rows.append(
            {
                "file": f"./{name}",
                "all": " ; ".join(labels),
                "ca\u0302t": ("0", "TRUE")[marks[0]],
                "dog": ("false", "1.0")[marks[1]],
                "size": f"{random.normal(3, 100):.5f}",
                "weight": f"{random.normal():.3e}",
                "part": ("train", "Train", "VAL", "test")[number % 4],
                "who": number % 5,
            }
        )
    return write_table(folder / "t.tsv", [*rows, rows[3]], "\t")


TARGETS: list[tuple[str, Any, str]] = [
    ("multilabel", "all", "classes"),
    ("multilabel", ["c\u00e2t", "dog"], "classes"),
    ("regression", ["size", "weight"], "targets"),
    ("regression", "weight", "targets"),
]


@pytest.mark.parametrize(("task", "target", "units"), TARGETS, ids=lambda value: str(value))
@pytest.mark.parametrize("more", [{}, {"split": "part"}, {"validation": 0}], ids=str)
def test_tables_are_divided_and_read_the_same(
    task: str, target: Any, units: str, more: dict[str, Any], tmp_path: Path
) -> None:
    data = {"table": str(table_of(tmp_path)), "image": "file", "target": target, "validation": 0.3, **more}
    loaded = written(tmp_path, task, data, units)
    config = loaded.config
    expected = load(config.data, config.seed, config.task)
    script = eject(loaded)
    found = splits_of(script)
    for name, read, split in each_split(found, expected):
        np.testing.assert_array_equal(read[0], split.read(np.arange(split.size)), err_msg=name)
        np.testing.assert_array_equal(read[1], split.targets.values, err_msg=name)
    (tmp_path / "script.py").write_text(script)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--no-cache", "--select", "E5,E7,E9,F"]
    done = subprocess.run([*command, "--line-length", "120", "script.py"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_groups_of_a_table_are_refused(tmp_path: Path) -> None:
    data = {"table": str(table_of(tmp_path)), "image": "file", "target": "weight", "group": "who"}
    with pytest.raises(UsageError, match=r"no script keeps the groups of a table \(`data\.group: who`\) together"):
        eject(written(tmp_path, "regression", data, "targets"))
