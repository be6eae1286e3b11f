"""Runs to report on: a real one, trained once, and ones written by hand that need no TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from cnnkit.config.load import load_config
from cnnkit.files import to_csv, write_atomically
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run
from cnnkit.tasks.classification.metrics import classification_metrics, predictions_rows
from cnnkit.terminal.console import Console
from cnnkit.training.train import resume, train

BASE = """\
seed: 1
data:
  name: digits
  batch_size: 64
model:
  layers:
    - Conv2D: {filters: 8, kernel_size: 3}
    - ReLU
    - MaxPooling2D: 2
    - Flatten
    - Dense: {units: classes, activation: softmax}
"""
CONFIG = """\
extends: base.yaml
training:
  epochs: 1
  optimizer:
    Adam:
      learning_rate: 0.01
  jit: auto
  tensorboard: false
"""


def train_and_resume(folder: Path) -> Run:
    """A run on the digits, interrupted after one epoch and resumed for another."""
    from cnnkit.runs.evaluation import evaluate_run

    (folder / "base.yaml").write_text(BASE)
    (folder / "net.yaml").write_text(CONFIG)
    loaded = load_config(str(folder / "net.yaml"), ["data.batch_size=48"])
    console = Console()
    console.closed = True
    run = train(loaded, console, str(folder / "run")).run
    resume(str(run.path), None, ["training.epochs=2"], console)
    evaluate_run(open_run(run))
    return run


def written(
    path: Path,
    names: Sequence[str],
    labels: Sequence[int],
    predicted: Sequence[int],
    data: dict[str, Any] | None = None,
    fingerprint: str = "none",
) -> Run:
    """A run with an evaluation but without a model, whose data set is gone unless `data` names one."""
    run = Run(path)
    (path / "checkpoints").mkdir(parents=True)
    layers = [{"Conv2D": {"filters": 2, "kernel_size": 3}}, "Flatten", {"Dense": {"units": "classes"}}]
    data = data or {"folder": str(path / "gone")}
    config = {"data": data, "model": {"layers": layers}, "training": {"epochs": 2}}
    run.config.write_text(yaml.safe_dump(config))
    shape = [8, 8, 1]
    run.write_json(
        run.environment,
        {
            "data": {"image_shape": shape, "class_names": list(names), "fingerprint": fingerprint},
            "model": {"head": "logits"},
        },
    )
    run.write_metrics([{"epoch": epoch, "loss": 1 / epoch, "accuracy": 0.5, "seconds": 1.5} for epoch in (1, 2)])
    probabilities = np.full((len(labels), len(names)), 0.1 / len(names))
    probabilities[np.arange(len(labels)), predicted] += 0.9
    run.write_json(run.evaluation, {"split": "test", **classification_metrics(probabilities, labels, names)})
    header, rows = predictions_rows(probabilities, labels, names, [f"image{index}" for index in range(len(labels))])
    write_atomically(run.predictions, to_csv(header, list(rows)))
    return run


class Page(HTMLParser):
    """What a test looks at in a page.

    Attributes:
        tags: Every element's name with its attributes.
        tables: Of each table the rows, of each row the cells' texts.
        text: All text outside style sheets.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.source = file.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.styles = ""
        self._texts: list[str] = []
        self._in_style = self._in_cell = False
        self.feed(self.source)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._texts).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._in_style = tag == "style"
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "style":
            self._in_style = False
        elif tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.styles += data
            return
        self._texts.append(data)
        if self._in_cell:
            self.tables[-1][-1][-1] = f"{self.tables[-1][-1][-1]} {data.strip()}".strip()

    def table(self, *header: str) -> list[list[str]]:
        """The rows below the header of the first table that has it."""
        return next(rows[1:] for rows in self.tables if rows and tuple(rows[0][: len(header)]) == header)

    def images(self, begin: str) -> list[str]:
        """The sources of images whose description begins so."""
        found = [attributes for tag, attributes in self.tags if tag == "img"]
        return [str(one["src"]) for one in found if str(one["alt"]).startswith(begin)]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
