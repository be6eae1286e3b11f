from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit import plots
from cnnkit.errors import CnnkitError
from cnnkit.plots.kernels import kernel_picture
from cnnkit.plots.learning_curves import curves_figure
from cnnkit.plots.several_runs import curves_of_runs_figure
from cnnkit.task import LOSS, Figure
from cnnkit.tasks.classification import confusion


def history(epochs: int, validation: bool = True) -> list[dict[str, float]]:
    rows = []
    for epoch in range(1, epochs + 1):
        row = {"epoch": epoch, "loss": 2 / epoch, "accuracy": 1 - 0.9 / epoch, "learning_rate": 0.1**epoch}
        if validation:
            row |= {"val_loss": 2.2 / epoch, "val_accuracy": 1 - 1 / epoch}
        rows.append(row)
    return rows


def pixels(path: Path) -> np.ndarray:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.int16)


def contains(picture: np.ndarray, colour: str) -> bool:
    """Whether a colour (#rrggbb) occurs, within rounding."""
    wanted = [int(colour[start : start + 2], 16) for start in (1, 3, 5)]
    return bool((np.abs(picture - wanted).max(axis=-1) <= 2).any())


BLUE, VERMILION, GREEN = "#0072b2", "#d55e00", "#009e73"

FIGURES = (LOSS, Figure("accuracy", "accuracy", is_share=True))


def marks_an_epoch(picture: np.ndarray) -> bool:
    """Whether a vertical grey line is drawn (letters hold a few grey pixels too)."""
    return bool((np.abs(picture - 0x6B).max(axis=-1) <= 2).sum(axis=0).max() > 50)


class TestCurves:
    @pytest.mark.parametrize("epochs", [1, 2, 200])
    def test_draws_training_validation_and_rate(self, tmp_path: Path, epochs: int) -> None:
        plots.curves(history(epochs), tmp_path / "curves.png", FIGURES, best_epoch=1)
        picture = pixels(tmp_path / "curves.png")
        assert picture.shape[1] >= 1600
        assert contains(picture, BLUE)
        assert contains(picture, VERMILION)
        assert contains(picture, GREEN)
        assert marks_an_epoch(picture)

    def test_without_validation_neither_its_line_nor_a_best_epoch(self, tmp_path: Path) -> None:
        plots.curves(history(5, validation=False), tmp_path / "curves.png", FIGURES)
        picture = pixels(tmp_path / "curves.png")
        assert contains(picture, BLUE)
        assert not contains(picture, VERMILION)
        assert not marks_an_epoch(picture)

    def test_the_best_epoch_is_marked(self, tmp_path: Path) -> None:
        plots.curves(history(4), tmp_path / "none.png", FIGURES)
        plots.curves(history(4), tmp_path / "third.png", FIGURES, best_epoch=3)
        assert not marks_an_epoch(pixels(tmp_path / "none.png"))
        assert marks_an_epoch(pixels(tmp_path / "third.png"))

    def test_values_that_are_not_finite_leave_a_gap(self, tmp_path: Path) -> None:
        rows = history(4)
        rows[2] |= {"loss": math.nan, "val_loss": math.inf}
        del rows[3]["val_accuracy"]
        plots.curves(rows, tmp_path / "curves.png", FIGURES)
        assert contains(pixels(tmp_path / "curves.png"), VERMILION)

    def test_a_run_that_knows_only_its_loss(self, tmp_path: Path) -> None:
        plots.curves([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 0.5}], tmp_path / "curves.png", FIGURES)
        assert contains(pixels(tmp_path / "curves.png"), BLUE)

    def test_no_epochs_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CnnkitError, match="no epochs"):
            plots.curves([], tmp_path / "curves.png", FIGURES)

    def test_each_figure_has_a_panel_with_its_own_name_and_unit(self) -> None:
        figures = (LOSS, Figure("mean_iou", "mean IoU", is_share=True), Figure("mae", "mean absolute error"))
        rows = [{"epoch": epoch, "loss": 1.0, "mean_iou": 0.25, "val_mae": 3.5, "auc": 0.5} for epoch in (1, 2)]
        drawn = [*curves_figure(rows, figures).axes]
        several = [*curves_of_runs_figure({"a": rows, "b": rows}, figures, [1, None]).axes]
        assert [axes.get_title() for axes in drawn] == ["Loss", "Mean IoU", "Mean absolute error"]
        assert [axes.get_title() for axes in several] == ["Loss", "Mean IoU", "Mean absolute error", "Learning rate"]
        for axes in (drawn, several):
            assert [one.yaxis.get_major_formatter()(0.25, None).strip() for one in axes[:3]][1] == "25 %"
            assert list(axes[1].get_lines()[0].get_ydata()) == [0.25, 0.25]
        (line,) = drawn[2].get_lines()
        assert (line.get_label(), list(line.get_ydata())) == ("validation", [3.5, 3.5])


class TestConfusionMatrix:
    @pytest.mark.parametrize(
        "classes", [1, 2, pytest.param(20, marks=pytest.mark.long), 21, pytest.param(120, marks=pytest.mark.long)]
    )
    def test_the_diagonal_is_dark_and_the_rest_light(self, tmp_path: Path, classes: int) -> None:
        path = tmp_path / "matrix.png"
        confusion.confusion_matrix(100 * np.eye(classes), [f"class {i}" for i in range(classes)], path)
        picture = pixels(path)
        # The two ends of matplotlib's Blues: every row is right, or there are no such mistakes.
        assert contains(picture, "#08306b")
        assert contains(picture, "#f7fbff") or classes == 1

    def test_colours_are_shares_of_the_true_class(self, tmp_path: Path) -> None:
        names = ["a", "b"]
        confusion.confusion_matrix([[9, 1], [9000, 1000]], names, tmp_path / "matrix.png")
        picture = pixels(tmp_path / "matrix.png")
        height, width = picture.shape[:2]
        # Probes above the numbers of both rows, from the left end of the cells to the right.
        commonest = []
        for row in (height // 8, height // 2):
            colours, numbers = np.unique(picture[row, : width * 3 // 4], axis=0, return_counts=True)
            coloured = (colours.max(axis=1) - colours.min(axis=1)) > 5
            commonest.append(sorted(colours[coloured & (numbers > 50)].tolist()))
        # 90 % and 10 % in both rows, although the images are a thousand times more in the second.
        assert len(commonest[0]) == 2
        assert commonest[0] == commonest[1]

    def test_a_class_without_images_and_names_that_look_like_formulas(self, tmp_path: Path) -> None:
        names = ["$x^$ {", "猫", "n" * 200]
        confusion.confusion_matrix([[3, 1, 0], [0, 0, 0], [1, 1, 2]], names, tmp_path / "matrix.png")
        assert pixels(tmp_path / "matrix.png").shape[0] < 2000

    def test_nothing_is_cut_off_at_the_edges(self, tmp_path: Path) -> None:
        path = tmp_path / "matrix.png"
        confusion.confusion_matrix(np.eye(3), ["a very long class name", "b", "c"], path)
        picture = pixels(path)
        for edge in (picture[0], picture[-1], picture[:, 0], picture[:, -1]):
            assert (edge == 255).all()

    def test_a_matrix_that_does_not_fit_the_names_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CnnkitError, match=r"3 classes.*\(2, 2\)"):
            confusion.confusion_matrix(np.eye(2), ["a", "b", "c"], tmp_path / "matrix.png")


class TestFilters:
    @pytest.mark.parametrize(
        "shape",
        [
            *[(5, 5, 1, 30), (3, 3, 3, 32), (1, 1, 2, 1), (1, 7, 1, 2), (3, 3, 64, 300), (11, 11, 3, 96)],
            *[(9, 1, 16), (3, 128, 300), (5, 3, 2), (3, 3, 3, 1, 8), (2, 5, 4, 3, 30)],
        ],
    )
    def test_kernels_of_any_shape(self, tmp_path: Path, shape: tuple[int, ...]) -> None:
        draws = np.random.default_rng(0)
        plots.filters(draws.normal(size=shape), draws.normal(size=shape), tmp_path / "filters.png")
        picture = pixels(tmp_path / "filters.png")
        assert picture.shape[1] >= 800
        weights = math.prod(shape) // (1 if len(shape) == 3 else shape[-2])
        for half in (picture[:, : picture.shape[1] // 2], picture[:, picture.shape[1] // 2 :]):
            below_the_title = half[half.shape[0] * 5 // 8 :]
            assert len(np.unique(below_the_title)) > min(weights, 15)

    def test_zero_is_grey_and_the_largest_weights_are_black_and_white(self, tmp_path: Path) -> None:
        kernel = np.array([[-2.0, 0.0, 2.0]]).reshape(1, 3, 1, 1)
        plots.filters(kernel, 10 * kernel, tmp_path / "filters.png")
        picture = pixels(tmp_path / "filters.png")
        width = picture.shape[1]
        for half in (picture[:, : width // 2], picture[:, width // 2 :]):
            middle = half[half.shape[0] * 5 // 8 :]
            assert contains(middle, "#000000")
            assert contains(middle, "#7f7f7f")

    def test_a_signals_kernel_has_a_row_for_each_channel(self) -> None:
        kernel = np.array([[-2.0, 0.0], [0.0, 1.0], [2.0, 0.0]])[..., None].repeat(3, axis=2)
        picture = kernel_picture(kernel)
        # 16 picture elements a weight, and 2 for the frame.
        tile = picture[2 : 2 + 32 : 16, 2 : 2 + 48 : 16, 0]
        np.testing.assert_array_equal(tile, [[0, 128, 255], [128, 191, 128]])

    def test_a_volumes_kernel_is_its_slices_side_by_side(self) -> None:
        kernel = np.zeros((2, 3, 3, 1, 5))
        kernel[0, 0, 2], kernel[1, 2, 0] = 1, -4
        picture = kernel_picture(kernel)
        first, second = (picture[2 : 2 + 48 : 16, begin : begin + 48 : 16, 0] for begin in (2, 2 + 48 + 2))
        np.testing.assert_array_equal(first, [[128, 128, 159], [128, 128, 128], [128, 128, 128]])
        np.testing.assert_array_equal(second, [[128, 128, 128], [128, 128, 128], [0, 128, 128]])

    def test_colour_kernels_are_shown_in_colour(self, tmp_path: Path) -> None:
        red = np.zeros((3, 3, 3, 1))
        red[:, :, 0] = 1
        plots.filters(red, red, tmp_path / "filters.png")
        assert contains(pixels(tmp_path / "filters.png"), "#ff7f7f")

    def test_more_than_three_channels_are_the_mean_of_the_first_three(self, tmp_path: Path) -> None:
        kernel = np.array([[1.0, -1.0, 0.0, 5.0], [1.0, 1.0, 1.0, -9.0]]).reshape(1, 2, 4, 1)
        plots.filters(kernel, kernel, tmp_path / "filters.png")
        picture = pixels(tmp_path / "filters.png")
        below_the_titles = picture[picture.shape[0] * 5 // 8 :]
        assert contains(below_the_titles, "#7f7f7f")
        assert not contains(below_the_titles, "#000000")

    def test_weights_of_a_run_that_diverged(self, tmp_path: Path) -> None:
        before = np.ones((3, 3, 1, 2))
        plots.filters(before, before * np.nan, tmp_path / "filters.png")
        assert contains(pixels(tmp_path / "filters.png"), "#7f7f7f")

    def test_shapes_that_differ_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CnnkitError, match=r"\(3, 3, 1, 2\) and \(3, 3, 1, 4\)"):
            plots.filters(np.ones((3, 3, 1, 2)), np.ones((3, 3, 1, 4)), tmp_path / "filters.png")


DRAWINGS: list[Callable[[Path], Any]] = [
    lambda path: plots.curves(history(6), path, FIGURES),
    lambda path: confusion.confusion_matrix([[5, 1], [2, 4]], ["a", "b"], path),
    lambda path: plots.filters(np.ones((3, 3, 1, 4)), np.zeros((3, 3, 1, 4)), path),
]


@pytest.mark.parametrize("draw", DRAWINGS)
def test_the_same_input_makes_the_same_bytes_and_leaves_only_the_picture(
    tmp_path: Path, draw: Callable[[Path], Any]
) -> None:
    from PIL import Image

    draw(tmp_path / "one.png")
    draw(tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.png", "two.png"]
    with Image.open(tmp_path / "one.png") as image:
        assert not {"Software", "Creation Time", "date"} & set(image.info)


@pytest.mark.parametrize("draw", DRAWINGS)
def test_a_picture_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, draw: Callable[[Path], Any]) -> None:
    (tmp_path / "picture.png").mkdir()
    with pytest.raises(OSError, match=r"picture\.png"):
        draw(tmp_path / "picture.png")
    assert [path.name for path in tmp_path.iterdir()] == ["picture.png"]


def test_pyplot_is_never_loaded() -> None:
    import subprocess
    import sys

    code = (
        "import sys, pathlib, tempfile\n"
        "from cnnkit import plots\n"
        "from cnnkit.task import LOSS\n"
        "assert 'matplotlib' not in sys.modules\n"
        "folder = pathlib.Path(tempfile.mkdtemp())\n"
        "plots.curves([{'epoch': 1, 'loss': 1.0}], folder / 'x.png', [LOSS])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_text_of_a_sheet_is_cut_off_or_covers_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from cnnkit.plots import sheets

    figures: list[Any] = []
    monkeypatch.setattr(sheets, "save", lambda figure, path: figures.append(figure))
    image = np.zeros((8, 8, 1), np.uint8)
    captions = ["W" * 30, "automobile/image_00012.png\nsays automobile", "\N{CJK UNIFIED IDEOGRAPH-732B}" * 20, "$x_1$"]
    rows = [
        sheets.Row("a heading of " + "many words " * 12, [sheets.Picture(image, caption) for caption in captions]),
        sheets.Row("W" * 90, [sheets.Picture(image, captions[0])]),
    ]
    note = "At 3.stage/layers.1.Repeat/0.layers.0.basic/layers.0.Residual, 8x8: " + "and so on " * 10
    sheets.sheet("What " + "3.stage/" * 12 + " of a run responds to", rows, tmp_path / "a.png", note=note, cell=0.9)
    (figure,) = figures
    (axes,) = figure.axes
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        boxes = [text.get_window_extent() for text in axes.texts]
    whole = figure.bbox
    for text, box in zip(axes.texts, boxes, strict=True):
        assert whole.x0 <= box.x0, text
        assert box.x1 <= whole.x1, text
        assert whole.y0 <= box.y0, text
        assert box.y1 <= whole.y1, text
    for one, other in itertools.combinations(boxes, 2):
        assert not one.padded(-1).overlaps(other.padded(-1))
    shown = [text.get_text() for text in axes.texts]
    # Both ends of what is shortened stay.
    assert any(text.startswith("autom") and ".png\nsays automobile" in text and "…" in text for text in shown)


class TestFonts:
    #: In STIXGeneral, which matplotlib brings along, and not in its default font.
    ENCLOSED = "\u1d84"

    def test_a_character_that_the_default_font_lacks_is_taken_from_one_that_has_it(self, tmp_path: Path) -> None:
        from matplotlib.font_manager import FontProperties, findfont, get_font

        from cnnkit.plots.fonts import families
        from cnnkit.plots.style import figure_of, save

        name = f"a{self.ENCLOSED}"
        assert families("Genève …") == FontProperties().get_family()
        found = families(name)
        has = [
            get_font(findfont(FontProperties(family=[family]))).get_char_index(ord(self.ENCLOSED)) for family in found
        ]
        assert [index > 0 for index in has] == [False, True]
        chosen, stated = figure_of(2, 1), figure_of(2, 1)
        chosen.text(0.1, 0.5, name)
        stated.text(0.1, 0.5, name, fontfamily=["DejaVu Sans", found[1]])
        save(chosen, tmp_path / "chosen.png")
        save(stated, tmp_path / "stated.png")
        assert (tmp_path / "chosen.png").read_bytes() == (tmp_path / "stated.png").read_bytes()

    def test_what_no_font_has_is_said_once_in_one_line(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from cnnkit.plots import fonts

        monkeypatch.setattr(fonts, "_told", set())
        # Of an alphabet that nobody writes any more, and no font here has.
        names = ["\U00016ac0\U00016ac1", "plain"]
        for kind in ("png", "svg", "png"):
            confusion.save(confusion.confusion_figure(np.eye(2), names), tmp_path / f"a.{kind}")
        assert [record.message.count("\U00016ac0") for record in caplog.records] == [1]
