"""What a report says of a task: by its figures alone, by sections of its own, and of segmentation."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image
from report_runs import Page, written
from sklearn.metrics import jaccard_score, recall_score

from cnnkit.comparing.report import compare_report
from cnnkit.config.target import Mask
from cnnkit.errors import UsageError
from cnnkit.images.colours import rgb
from cnnkit.report.page import Missing, render_part
from cnnkit.report.parts import Section
from cnnkit.report.single import write_report
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import TrainedRun, open_run
from cnnkit.task import Figure, Task
from cnnkit.tasks.segmentation import report as masks
from cnnkit.tasks.segmentation.colours import WRONG
from cnnkit.tasks.segmentation.metrics import segmentation_metrics
from cnnkit.tasks.segmentation.predictions import Predictions

SPACE = "\N{NO-BREAK SPACE}"


class Restoration(Task):
    """What no task of cnnkit is: a number of decibels, and no classes."""

    figures: ClassVar[tuple[Figure, ...]] = (Figure("psnr", "PSNR"), Figure("kept", "kept", is_share=True))

    def read_evaluation(self, run: Run) -> dict[str, Any]:
        return {"images": 1200, "psnr": 31.25 if run.name == "a" else 30.5, "kept": 0.5, "loss": 0.0625}


class Sectioned(Restoration):
    def sections(self, facts: Any) -> Sequence[Section]:
        return [
            Section("noise", "Noise", "own_task", "noise.html", {"level": "<b>low</b>", "gone": Missing("No noise.")}),
            Section("ruins", "Ruins", "own_task", "noise.html", {}),
        ]


@pytest.fixture
def runs(tmp_path: Path) -> list[TrainedRun]:
    return [open_run(written(tmp_path / name, ["x", "y"], [0, 1], [0, 1])) for name in ("a", "b")]


def learned(monkeypatch: pytest.MonkeyPatch, task: Task) -> None:
    monkeypatch.setattr(TrainedRun, "task", task)


def test_a_task_without_sections_is_reported_by_its_figures(
    runs: list[TrainedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    learned(monkeypatch, Restoration())
    page = Page(write_report(runs[0]))
    assert "PSNR 31.2500 on 1,200 test images . Trained for 2 epochs" in page.text
    for tile in ("Test PSNR 31.2500", f"Test kept 50.00{SPACE}%".replace(SPACE, " "), "Test loss 0.0625"):
        assert tile in page.text
    headings = [attributes["href"] for tag, attributes in page.tags if tag == "a"]
    assert headings == ["#result", "#curves", "#network", "#config", "#environment", "#reproduce"]


def test_sections_of_a_task_stand_in_the_page_and_one_that_fails_breaks_nothing_else(
    runs: list[TrainedRun], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "own_task" / "templates").mkdir(parents=True)
    (tmp_path / "own_task" / "__init__.py").touch()
    (tmp_path / "own_task" / "templates" / "noise.html").write_text(
        '{% from "macros.html" import missing %}\n<p>It is {{ level }}.</p>\n'
        "{% if gone is missing %}\n{{ missing(gone) }}\n{% endif %}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    learned(monkeypatch, Sectioned())
    page = Page(write_report(runs[0]))
    assert "Noise It is <b>low</b>. No noise. Ruins This part could not be made: UndefinedError" in page.text
    assert "How to reproduce it" in page.text
    links = [str(attributes["href"]) for tag, attributes in page.tags if tag == "a"]
    assert links[1:5] == ["#curves", "#noise", "#ruins", "#network"]
    assert {link[1:] for link in links} <= {attributes.get("id") for _, attributes in page.tags}


def test_runs_of_a_task_are_compared_by_its_figures(runs: list[TrainedRun], monkeypatch: pytest.MonkeyPatch) -> None:
    learned(monkeypatch, Restoration())
    page = Page(compare_report(runs, runs[0].run.path / "comparison.html"))
    rows = page.table("run", "PSNR", "kept", "loss")
    assert [row[:4] for row in rows] == [
        ["a", "31.2500", f"50.00{SPACE}%", "0.0625"],
        ["b", "30.5000", f"50.00{SPACE}%", "0.0625"],
    ]
    assert "<strong>31.2500</strong>" in page.source
    assert "<strong>30.5000</strong>" not in page.source
    assert "McNemar" not in page.text


def test_runs_of_two_tasks_are_not_compared(runs: list[TrainedRun], tmp_path: Path) -> None:
    config = runs[1].run.config
    config.write_text("task: segmentation\n" + config.read_text())
    other = open_run(runs[1].run)
    with pytest.raises(UsageError, match=r"the same task: .*a` has learned classification, .*b` segmentation"):
        compare_report([runs[0], other], tmp_path / "comparison.html")
    assert not (tmp_path / "comparison.html").exists()


NAMES = ("ground", "disc", "never")


@pytest.fixture
def pixels() -> tuple[np.ndarray, np.ndarray]:
    """True classes and those of a network, [pixels], of which none is the third class."""
    random = np.random.RandomState(3)
    truth = random.randint(0, 2, 400)
    return truth, np.where(random.random_sample(400) < 0.8, truth, 1 - truth)


def test_classes_of_a_segmentation_are_those_of_scikit_learn(pixels: tuple[np.ndarray, np.ndarray]) -> None:
    truth, guess = pixels
    counts = np.zeros((3, 3), np.int64)
    np.add.at(counts, (truth, guess), 1)
    evaluation = {"images": 4, "loss": 0.5, "metrics": {"Dice": 0.25}, **segmentation_metrics(counts, NAMES)}
    iou = jaccard_score(truth, guess, average=None)
    outcome = masks.outcome(evaluation)
    assert outcome.short == f"{100 * iou.mean():.2f}{SPACE}%"
    tiles = {tile.label: tile.value for tile in outcome.tiles}
    assert tiles["Pixel accuracy"] == f"{100 * (truth == guess).mean():.2f}{SPACE}%"
    assert tiles["Class accuracy"] == f"{100 * recall_score(truth, guess, average='macro'):.2f}{SPACE}%"
    assert tiles["Dice"] == "0.2500"
    facts: Any = SimpleNamespace(evaluation=evaluation, predictions=Missing("gone"))
    classes, mistakes = masks.sections(facts)
    html = render_part(classes.package, classes.template, classes.values)
    for value in iou:
        assert f">{100 * value:.2f}{SPACE}%<" in html
    assert "In neither truth nor prediction, and in no mean: never." in html
    assert "gone" in render_part(mistakes.package, mistakes.template, mistakes.values)


def test_the_worst_masks_are_shown_as_they_are() -> None:
    random = np.random.RandomState(4)
    images = random.randint(0, 256, (2, 6, 8, 3), np.uint8)
    truth = random.randint(0, 2, (2, 6, 8)).astype(np.uint8)
    truth[:, 0] = 9
    guess = np.where(truth == 9, 0, truth)
    guess[1, 3:] = 1 - guess[1, 3:]
    split: Any = SimpleNamespace(read=lambda places: images[places], read_masks=lambda places: truth[places])
    predictions = Predictions(
        ("right.png", "wrong.png"),
        np.array([1.0, 0.4]),
        np.array([1.0, 0.25]),
        np.array([40, 40]),
        ("a", "b"),
        Mask(2, ("a", "b"), 9),
        lambda: split,
        lambda pixels: guess[[int(np.flatnonzero((images == one).all((1, 2, 3)))[0]) for one in pixels]],
        (0, 0, 2, 1),
    )
    facts: Any = SimpleNamespace(predictions=predictions)
    found = masks.mistakes(facts)
    assert isinstance(found, masks.Examples)
    # There is no network here.
    assert isinstance(found.layer, Missing)
    (example,) = found.examples
    assert (example.identity, example.mean_iou, example.worst_class) == ("wrong.png", 0.25, "b")
    shown = {name: decoded(getattr(example, name).source) for name in ("image", "truth", "guess", "errors")}
    # Without the border, two columns on the left and one on the right.
    image, true, said = images[1][:, 2:-1], truth[1][:, 2:-1], guess[1][:, 2:-1]
    assert np.array_equal(shown["image"], image)
    # One colour for each class in both masks, and another for what is ignored; WRONG where they differ.
    numbers = [*true.ravel().tolist(), *said.ravel().tolist()]
    pairs = set(zip(numbers, [*triples(shown["truth"]), *triples(shown["guess"])], strict=True))
    assert len(pairs) == len({colour for _, colour in pairs}) == 3
    wrong = (true != said) & (true != 9)
    assert np.array_equal((shown["errors"] == rgb(WRONG)).all(-1), wrong)


def triples(picture: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(colour) for colour in picture.reshape(-1, 3).tolist()]


def decoded(source: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"))
