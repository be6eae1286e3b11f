"""Reports against the run's own files, and what it says where they are missing."""

from __future__ import annotations

import base64
import csv
import io
import math
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report_runs import BASE, CONFIG, Page, read_json, written
from sharing import changed_config, copied

from cnnkit.comparing.report import compare_report
from cnnkit.errors import UsageError
from cnnkit.report.single import write_report
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run

SPACE = "\N{NO-BREAK SPACE}"


@pytest.fixture(scope="module")
def run(resumed_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return copied(resumed_run, tmp_path_factory.mktemp("reported"))


@pytest.fixture(scope="module")
def page(run: Run) -> Page:
    return Page(write_report(open_run(run)))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The report of a run without model, validation split, data set, and notes of where its settings are from."""
    path = tmp_path_factory.mktemp("bare") / "run"
    return Page(write_report(open_run(written(path, ["a", "b"], [0, 1, 1], [0, 1, 0]))))


@pytest.fixture(scope="module")
def rows(run: Run) -> list[dict[str, str]]:
    with run.predictions.open(newline="") as stream:
        return list(csv.DictReader(stream))


def pixels(source: str) -> np.ndarray:
    from PIL import Image

    kind, _, content = source.partition(",")
    assert kind in ("data:image/png;base64", "data:image/jpeg;base64")
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        return np.asarray(image)


class TestContents:
    def test_the_result_is_that_of_the_predictions(self, page: Page, rows: list[dict[str, str]]) -> None:
        right = sum(row["true_class"] == row["predicted_class"] for row in rows)
        assert f"{100 * right / len(rows):.2f}{SPACE}% of {len(rows)} test images" in page.source
        assert f"({len(rows) - right} errors)" in page.text

    def test_figures_of_the_classes_are_those_of_scikit_learn(self, page: Page, rows: list[dict[str, str]]) -> None:
        from sklearn.metrics import precision_recall_fscore_support

        truth, guess = [row["true_class"] for row in rows], [row["predicted_class"] for row in rows]
        *scores, support = precision_recall_fscore_support(truth, guess, zero_division=0)
        expected = [
            [str(index), *(f"{score[index]:.4f}" for score in scores), str(support[index])] for index in range(10)
        ]
        assert page.table("class", "precision")[:10] == expected

    def test_the_confusion_matrix_is_that_of_scikit_learn(self, page: Page, rows: list[dict[str, str]]) -> None:
        from sklearn.metrics import confusion_matrix

        truth, guess = [row["true_class"] for row in rows], [row["predicted_class"] for row in rows]
        shown = page.table("true class, then how many were predicted as")
        counts = [[int(cell or 0) for cell in row[1:]] for row in shown]
        assert counts == confusion_matrix(truth, guess).tolist()

    def test_the_most_confident_mistakes_are_shown_as_they_are(self, page: Page, rows: list[dict[str, str]]) -> None:
        from sklearn.datasets import load_digits

        images = np.rint(load_digits().images * (255 / 16))
        wrong = [row for row in rows if row["true_class"] != row["predicted_class"]]
        wrong.sort(key=lambda row: -float(row["confidence"]))
        shown = re.findall(r'<p class="identity">(.*?)</p>', page.source)
        assert shown == [row["file"] for row in wrong[:12]]
        first = wrong[0]
        listed = page.source[page.source.index('<ul class="mistakes">') :]
        source = re.findall(r'<img src="([^"]+)"', listed)
        assert np.array_equal(pixels(source[0]), images[int(first["file"].partition("/")[2])])
        # Beside it, the same image in grey with colours over it.
        overlay = pixels(source[1])
        assert overlay.shape == (96, 96, 3)
        assert (overlay.max(axis=2) > overlay.min(axis=2)).any()

    def test_costs_are_those_of_the_summary(self, page: Page) -> None:
        layers = {" ".join(row[0].split()[:2]): row for row in page.table("layer", "output")}
        # 8 filters of 3x3 weights and an offset, at 6x6 places.
        assert layers["0 Conv2D"][1:4] == ["6x6x8", "80", f"{6 * 6 * 8 * 9:,}"]
        # 3x3x8 inputs and an offset for 10 classes.
        assert layers["4 Dense"][1:4] == ["10", "730", "720"]

    def test_filters_are_shown_before_and_after(self, page: Page) -> None:
        before, after = (pixels(page.images(f"First-layer kernels {when}")[0]) for when in ("before", "after"))
        assert before.shape == after.shape
        assert not np.array_equal(before, after)

    def test_the_config_can_be_taken_from_the_report(self, page: Page, run: Run) -> None:
        assert run.config.read_text().strip() in page.source.replace("&#39;", "'").replace("&#34;", '"')

    def test_figures_have_a_description_and_ids_of_their_own(self, page: Page) -> None:
        assert all(attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg")
        assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(set(ids)) == len(ids)


@pytest.fixture(scope="module")
def origins(page: Page) -> dict[str, list[str]]:
    return {row[0]: row[1:] for row in page.table("setting", "value", "from") if len(row) == 3}


class TestOrigins:
    @pytest.mark.parametrize(
        ("path", "value", "kind", "file", "text"),
        [
            ("seed", "1", "extends", "base.yaml", "seed: 1"),
            ("layers[0]", "Conv2D: {filters: 8, kernel_size: [3, 3]}", "extends", "base.yaml", "Conv2D"),
            ("layers[2]", "MaxPooling2D: {pool_size: [2, 2]}", "extends", "base.yaml", "MaxPooling2D"),
            ("optimizer", "Adam: {learning_rate: 0.01}", "file", "net.yaml", "learning_rate"),
            ("tensorboard", "false", "file", "net.yaml", "tensorboard"),
        ],
    )
    def test_a_value_of_a_file(
        self, origins: dict[str, list[str]], path: str, value: str, kind: str, file: str, text: str
    ) -> None:
        lines = (BASE if file == "base.yaml" else CONFIG).splitlines()
        line = next(number for number, one in enumerate(lines, start=1) if text in one)
        assert origins[path] == [value, f"{kind} {file}:{line}"]

    @pytest.mark.parametrize(
        ("path", "origin"),
        [
            ("batch_size", ["48", "command line --set data.batch_size=48"]),
            # Of the command that resumed it.
            ("epochs", ["2", "command line --set training.epochs=2"]),
            ("jit", ["off", "chosen for the machine"]),
            ("memory", ["cache", "chosen for the machine"]),
            ("label_smoothing", ["0.0", "default"]),
        ],
    )
    def test_a_value_of_no_file(self, origins: dict[str, list[str]], path: str, origin: list[str]) -> None:
        assert origins[path] == origin

    def test_a_run_that_has_not_noted_them(self, bare: Page) -> None:
        assert {row[2] for row in bare.table("setting", "value", "from") if len(row) == 3} == {"unknown"}


class TestFile:
    def test_needs_nothing_from_elsewhere(self, page: Page) -> None:
        for tag, attributes in page.tags:
            assert tag not in ("script", "link", "iframe", "object", "embed"), tag
            assert not any(name.startswith("on") for name in attributes)
            for name in ("src", "href", "xlink:href", "action", "poster", "srcset", "data"):
                value = attributes.get(name) or "#"
                assert value.startswith(("#", "data:image/")), (tag, value)
            for target in re.findall(r"url\((.*?)\)", " ".join(filter(None, attributes.values()))):
                assert target.startswith("#"), target
        assert "url(" not in page.styles
        assert "@import" not in page.styles

    def test_can_be_mailed(self, run: Run, page: Page) -> None:
        assert run.report.stat().st_size < 3_000_000

    def test_is_the_same_for_the_same_run(self, run: Run, page: Page) -> None:
        trained = open_run(run)
        # As at the end of a training, which has used its model already.
        assert trained.model is trained.model
        assert write_report(trained).read_text(encoding="utf-8") == page.source

    def test_names_are_text_and_no_markup(self, tmp_path: Path) -> None:
        names = ['<b>&"', "<script>alert(1)</script>", "it's {{ 7 * 7 }}"]
        run = written(tmp_path / "a <i>run</i>", names, [0, 1, 2, 0], [0, 1, 2, 1])
        page = Page(write_report(open_run(run)))
        assert not {"b", "i", "script"} & {tag for tag, _ in page.tags}
        assert [row[0] for row in page.table("class", "precision")[:3]] == names
        assert "a <i>run</i>" in page.text

    def test_names_in_a_drawing_are_text_too(self, tmp_path: Path) -> None:
        names = [f'<script>"{number}"</script>&<b>' for number in range(30)]
        page = Page(write_report(open_run(written(tmp_path / "run", names, list(range(30)), [0] * 30))))
        assert not {"b", "script"} & {tag for tag, _ in page.tags}
        drawn = page.source[page.source.index("Confusion matrix of 30") :]
        assert names[29][:12].replace("<", "&lt;").replace(">", "&gt;") in drawn[: drawn.index("</svg>")]


class TestMissing:
    @pytest.fixture
    def plain(self, tmp_path: Path) -> Run:
        """A run with its images and without a model."""
        return written(
            tmp_path / "plain",
            [str(digit) for digit in range(10)],
            [*range(10), 3],
            [*range(10), 5],
            {"name": "digits"},
            "digits (scikit-learn, 1797 images)",
        )

    def test_the_model(self, plain: Run) -> None:
        page = Page(write_report(open_run(plain)))
        assert "Without Grad-CAM: the run" in page.text
        assert page.images("3 taken for 5")
        assert "90.91" in page.text

    @pytest.mark.parametrize(
        ("name", "note"),
        [
            ("evaluation", "The run was not evaluated"),
            ("predictions", "has no predictions.csv"),
            ("environment", "has no environment.json"),
            ("metrics", "No epoch has ended"),
        ],
    )
    def test_a_file(self, plain: Run, name: str, note: str) -> None:
        getattr(plain, name).unlink()
        page = Page(write_report(open_run(plain)))
        assert note in page.text
        assert page.table("layer", "output")[1][2] == "20"
        assert ("90.91" in page.text) == (name != "evaluation")

    @pytest.mark.parametrize("name", ["evaluation", "predictions", "environment", "metrics", "config"])
    def test_a_broken_file_breaks_nothing_else(self, plain: Run, name: str) -> None:
        getattr(plain, name).write_bytes(b"{\x00")
        page = Page(write_report(open_run(plain)))
        assert "How to reproduce it" in page.text
        assert ("90.91" in page.text) == (name != "evaluation")

    def test_a_broken_model(self, run: Run, tmp_path: Path) -> None:
        copy = Run(tmp_path / "copy")
        shutil.copytree(run.path, copy.path)
        copy.model.write_bytes(b"PK")
        page = Page(write_report(open_run(copy)))
        assert "cannot be opened" in page.text
        assert page.table("class", "precision") == Page(run.report).table("class", "precision")

    def test_the_data_set(self, bare: Page) -> None:
        assert "66.67" in bare.text
        # 2 filters of 3x3 weights and an offset.
        assert bare.table("layer", "output")[1][2] == "20"
        # Only the images need it.
        assert re.search(r"Most confused pairs b taken for a 1 time, 50.0 % of the class .*mistakes .*gone", bare.text)
        assert re.search(r"Most confident mistakes .* predicted a .* true class b .* Network", bare.text)

    def test_validation(self, bare: Page) -> None:
        assert "Without a validation split" in bare.text

    def test_epochs_that_an_interruption_has_left_out(self, tmp_path: Path) -> None:
        run = written(tmp_path / "run", ["a", "b"], [0, 1], [0, 1])
        run.write_metrics(run.read_metrics()[:1])
        assert "Trained for 1 epoch of 2 (interrupted) in 1.5 s." in Page(write_report(open_run(run))).text


class TestClasses:
    @pytest.mark.long
    def test_of_many_the_worst_are_shown_first(self, tmp_path: Path) -> None:
        from sklearn.metrics import f1_score

        random = np.random.default_rng(0)
        names = [f"class {number}" for number in range(100)]
        labels = np.repeat(np.arange(100), 5)
        predicted = np.where(random.random(500) < 0.7, labels, random.integers(0, 100, 500))
        page = Page(write_report(open_run(written(tmp_path / "run", names, labels.tolist(), predicted.tolist()))))
        scores = f1_score(labels, predicted, average=None)
        shown = [row[0] for row in page.table("class", "precision")[:-1]]
        assert shown == [names[index] for index in np.argsort(scores, kind="stable")[:10]]
        assert "All 100 classes" in page.text
        assert "Confusion matrix of 100 classes" in page.source

    def test_of_one(self, tmp_path: Path) -> None:
        page = Page(write_report(open_run(written(tmp_path / "run", ["only"], [0, 0], [0, 0]))))
        assert page.table("class", "precision")[0] == ["only", "1.0000", "1.0000", "1.0000", "2"]


class TestComparison:
    def compared(self, tmp_path: Path, guesses: list[list[int]], labels: list[int] | None = None) -> Page:
        runs = [
            written(tmp_path / f"run-{index}", ["a", "b"], labels or [0] * len(one), one)
            for index, one in enumerate(guesses)
        ]
        return Page(compare_report([open_run(run) for run in runs], tmp_path / "comparison.html"))

    @pytest.mark.parametrize(("alone", "alone_too", "verdict"), [(2, 5, "within noise"), (1, 15, "more than noise")])
    def test_mcnemars_test(self, tmp_path: Path, alone: int, alone_too: int, verdict: str) -> None:
        first = [0] * alone + [1] * alone_too + [0] * 20
        second = [1] * alone + [0] * alone_too + [0] * 20
        page = self.compared(tmp_path, [first, second])
        # Both tails of a fair coin's tosses.
        tosses = alone + alone_too
        chance = 2 * sum(math.comb(tosses, heads) for heads in range(alone + 1)) / 2**tosses
        points = 100 * (alone_too - alone) / len(first)
        assert page.table("second against first") == [
            ["run-1 against run-0", f"{points:+.2f} points", str(alone), str(alone_too), f"{chance:.4f}", verdict]
        ]

    def test_of_three_runs_every_pair_counts(self, tmp_path: Path) -> None:
        page = self.compared(tmp_path, [[0] * 9 + [1] * 7, [1] * 9 + [0] * 7, [0] * 16])
        pairs = page.table("second against first")
        assert [row[0] for row in pairs] == ["run-1 against run-0", "run-2 against run-0", "run-2 against run-1"]
        assert pairs[1][4] == f"{3 * 2 / 2**7:.4f}"
        assert "multiplied by the number of pairs" in page.text

    def test_runs_on_other_images_are_not_tested(self, tmp_path: Path) -> None:
        runs = [written(tmp_path / name, ["a", "b"], labels, [0, 1]) for name, labels in (("x", [0, 1]), ("y", [1, 1]))]
        page = Page(compare_report([open_run(run) for run in runs], tmp_path / "comparison.html"))
        assert "No two of these runs" in page.text

    def test_figures_classes_and_settings_stand_side_by_side(self, run: Run, tmp_path: Path) -> None:
        other = Run(tmp_path / "other")
        shutil.copytree(run.path, other.path)
        with changed_config(other) as content:
            content["data"]["batch_size"] = 47
            content["model"]["layers"][0]["Conv2D"]["filters"] = 9
        page = Page(compare_report([open_run(run), open_run(other)], tmp_path / "comparison.html"))
        accuracy = read_json(run.evaluation)["accuracy"]
        assert [row[1] for row in page.table("run", "accuracy")] == [f"{accuracy:.2%}".replace("%", f"{SPACE}%")] * 2
        assert page.table("setting") == [["data.batch_size", "48", "47"]]
        assert "filters: 8 -> 9" in page.text
        assert [row[-1] for row in page.table("class")] == ["0.0000"] * 10

    def test_one_run_is_refused(self, run: Run, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="two runs or more, got 1"):
            compare_report([open_run(run)], tmp_path / "comparison.html")


def test_places_of_values_are_those_of_the_text(tmp_path: Path) -> None:
    from cnnkit.config.load import load_config
    from cnnkit.config.provenance import as_texts
    from cnnkit.config.provenance import written as places

    file = tmp_path / "net.yaml"
    file.write_text(BASE + "training: {jit: auto, loss: {categorical_crossentropy: {axis: 1}}}\n")
    found: dict[str, Any] = as_texts(places(load_config(str(file), ["training.epochs=3"]).tree))
    assert found["model.layers[0].Conv2D.filters"] == f"{file}:7"
    # Under Keras' own name, as in the config that ran.
    assert found["training.loss.CategoricalCrossentropy.axis"] == f"{file}:12"
    assert found["training.epochs"] == "--set training.epochs=3"
    assert "training.jit" not in found
