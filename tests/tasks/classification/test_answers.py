from __future__ import annotations

import csv
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cnnkit.errors import CnnkitError, UsageError
from cnnkit.runs.inputs import collect_images
from cnnkit.runs.interface import Interface
from cnnkit.runs.predicting import Prediction, as_csv, as_json, as_table, predict_images
from cnnkit.tasks.classification.answers import ClassAnswer, ClassAnswers

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
NAMES = ["red", "green", "blue"]


@pytest.fixture(scope="module")
def colour_model() -> Any:
    """Says which channel of an RGB image is the brightest: probabilities are the channels' shares."""
    import keras

    return keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.GlobalAveragePooling2D(),
        ]
    )


@pytest.fixture(scope="module")
def brightness_model() -> Any:
    """Takes grayscale images; the logits are (0, the mean brightness - 127.5)."""
    import keras

    model = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)])
    model.layers[-1].set_weights([np.array([[0.0, 1.0]]), np.array([0.0, -127.5])])
    return model


def plain(path: Path, colour: tuple[int, ...] | int, mode: str = "RGB", size: tuple[int, int] = (9, 5)) -> Path:
    from PIL import Image

    Image.new(mode, size, colour).save(path)
    return path


def predict(model: Any, files: list[Path], **changes: Any) -> list[Prediction]:
    task = {"image_shape": (6, 6, 3), "class_names": NAMES, "head": "sigmoid"}
    task |= {name: changes.pop(name) for name in list(changes) if name in Interface.__dataclass_fields__}
    interface = Interface(**task)
    answers = ClassAnswers(interface)
    return predict_images(model, files, interface=interface, answers=answers, **({"batch_size": 4} | changes))


def answer_of(prediction: Prediction) -> ClassAnswer:
    assert isinstance(prediction.answer, ClassAnswer), prediction.error
    return prediction.answer


def probabilities_of(prediction: Prediction) -> np.ndarray:
    return answer_of(prediction).probabilities


def classes(predictions: list[Prediction]) -> list[str]:
    return [answer_of(prediction).ranked(1)[0][0] for prediction in predictions]


class TestCollectImages:
    def test_folders_are_searched_to_any_depth_and_sorted(self, tmp_path: Path) -> None:
        (tmp_path / "b" / "deep").mkdir(parents=True)
        (tmp_path / ".cache").mkdir()
        for name in ("z.png", "a.JPG", "b/deep/c.webp", "b/k.gif", "b/m.bmp", "b/n.jpeg"):
            (tmp_path / name).touch()
        for name in ("notes.txt", ".hidden.png", ".cache/x.png", "b/labels.csv"):
            (tmp_path / name).touch()
        found = [path.relative_to(tmp_path).as_posix() for path in collect_images([tmp_path])]
        assert found == ["a.JPG", "b/deep/c.webp", "b/k.gif", "b/m.bmp", "b/n.jpeg", "z.png"]

    def test_files_of_a_folder_count_by_their_endings_as_in_training(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        for name in ("a.png", "b.heic", "c.HEIC", "picture", "notes.txt", ".hidden.txt"):
            plain(tmp_path / "made.png", RED).rename(tmp_path / name)
        assert collect_images([tmp_path]) == [tmp_path / "a.png"]
        assert caplog.messages == ["left out 4 files: 2 .heic, 1 .txt, 1 without an ending"]
        assert collect_images([tmp_path / "picture"]) == [tmp_path / "picture"]

    def test_pictures_of_runs_are_no_images_to_predict(self, tmp_path: Path) -> None:
        run = tmp_path / "runs" / "net-1"
        (run / "plots").mkdir(parents=True)
        for name in ("runs/net-1/plots/curves.png", "runs/net-1/config.yaml", "runs/net-1/environment.json", "a.png"):
            (tmp_path / name).touch()
        assert collect_images([tmp_path]) == [tmp_path / "a.png"]
        assert collect_images([run / "plots"]) == [run / "plots" / "curves.png"]

    def test_arguments_keep_their_order_and_come_once(self, tmp_path: Path) -> None:
        for name in ("a.png", "b.png", "c.dat"):
            (tmp_path / name).touch()
        paths = [tmp_path / "c.dat", tmp_path / "b.png", tmp_path, tmp_path / "a.png"]
        assert collect_images(paths) == [tmp_path / "c.dat", tmp_path / "b.png", tmp_path / "a.png"]

    def test_a_link_that_leads_back_ends(self, tmp_path: Path) -> None:
        (tmp_path / "real").mkdir()
        (tmp_path / "real" / "a.png").touch()
        os.symlink(tmp_path / "real", tmp_path / "real" / "loop")
        (tmp_path / "folder").mkdir()
        os.symlink(tmp_path / "real", tmp_path / "folder" / "linked")
        assert collect_images([tmp_path / "folder"]) == [tmp_path / "folder" / "linked" / "a.png"]

    def test_a_missing_path_is_a_wrong_command_line(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match=r"nowhere\.png does not exist"):
            collect_images([tmp_path / "nowhere.png"])

    def test_a_folder_without_images_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(CnnkitError, match=r"empty, found none"):
            collect_images([tmp_path / "empty"])


class TestPredictImages:
    def test_every_format_and_size(self, tmp_path: Path, colour_model: Any) -> None:
        files = [
            plain(tmp_path / "a.png", RED, size=(1, 1)),
            plain(tmp_path / "b.jpg", GREEN, size=(200, 3)),
            plain(tmp_path / "c.bmp", BLUE, size=(6, 6)),
            plain(tmp_path / "d.gif", RED, size=(31, 77)),
            plain(tmp_path / "e.webp", GREEN),
        ]
        predictions = predict(colour_model, files)
        assert [prediction.file for prediction in predictions] == files
        assert classes(predictions) == ["red", "green", "blue", "red", "green"]
        for prediction in predictions:
            assert probabilities_of(prediction).sum() == pytest.approx(1)

    def test_every_mode_becomes_colour(self, tmp_path: Path, colour_model: Any) -> None:
        from PIL import Image

        palette = Image.new("RGB", (8, 8), BLUE).convert("P")
        palette.save(tmp_path / "palette.png")
        files = [
            tmp_path / "palette.png",
            plain(tmp_path / "alpha.png", (0, 255, 0, 255), "RGBA"),
            plain(tmp_path / "cmyk.jpg", (0, 255, 255, 0), "CMYK"),
        ]
        assert classes(predict(colour_model, files)) == ["blue", "green", "red"]
        greys = [plain(tmp_path / "grey.png", 90, "L"), plain(tmp_path / "bilevel.png", 1, "1")]
        for prediction in predict(colour_model, greys):
            np.testing.assert_allclose(probabilities_of(prediction), np.full(3, 1 / 3), rtol=1e-6)

    def test_transparency_is_laid_over_white(self, tmp_path: Path, colour_model: Any) -> None:
        # A quarter opaque red over white is (255, 191, 191).
        file = plain(tmp_path / "faint.png", (255, 0, 0, 64), "RGBA")
        (prediction,) = predict(colour_model, [file])
        np.testing.assert_allclose(probabilities_of(prediction), np.array([255, 191, 191]) / 637, atol=2e-3)

    def test_a_grayscale_model_gets_brightness_whatever_the_mode(self, tmp_path: Path, brightness_model: Any) -> None:
        from PIL import Image

        Image.fromarray(np.full((7, 7), 60_000, np.uint16)).save(tmp_path / "deep.png")
        files = [
            plain(tmp_path / "white.png", (255, 255, 255)),
            plain(tmp_path / "black.jpg", (0, 0, 0)),
            plain(tmp_path / "clear.png", (0, 0, 0, 0), "RGBA"),
            tmp_path / "deep.png",
        ]
        changes = {"image_shape": (6, 6, 1), "class_names": ["dark", "light"], "head": "logits"}
        assert classes(predict(brightness_model, files, **changes)) == ["light", "dark", "light", "light"]

    def test_exif_orientation_is_applied(self, tmp_path: Path) -> None:
        import keras
        from PIL import Image

        # Left half white; the camera was turned, so upright the white half is the upper one.
        image = Image.new("L", (6, 6), 0)
        image.paste(255, (0, 0, 3, 6))
        exif = Image.Exif()
        exif[0x0112] = 6
        image.save(tmp_path / "turned.png", exif=exif)
        rows = keras.Sequential([keras.Input((6, 6, 1)), keras.layers.Lambda(lambda x: x[:, :, 3, 0])])
        names = [f"row{index}" for index in range(6)]
        (prediction,) = predict(rows, [tmp_path / "turned.png"], image_shape=(6, 6, 1), class_names=names)
        np.testing.assert_allclose(probabilities_of(prediction), np.array([1, 1, 1, 0, 0, 0]) / 3)

    def test_agrees_with_keras_predict_across_batches(self, tmp_path: Path) -> None:
        import keras
        from PIL import Image

        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((6, 6, 3)),
                keras.layers.Rescaling(1 / 255),
                keras.layers.Conv2D(4, 3),
                keras.layers.Flatten(),
                keras.layers.Dense(3, activation="softmax"),
            ]
        )
        images = np.random.default_rng(0).integers(0, 256, (11, 6, 6, 3)).astype(np.uint8)
        files = [tmp_path / f"{index:02}.png" for index in range(11)]
        for file, image in zip(files, images, strict=True):
            Image.fromarray(image).save(file)
        predictions = predict(model, files, head="softmax")
        ours = np.stack([probabilities_of(prediction) for prediction in predictions])
        np.testing.assert_allclose(ours, model.predict(images, verbose=0), rtol=1e-5)

    def test_damaged_files_are_reported_and_the_others_predicted(self, tmp_path: Path, colour_model: Any) -> None:
        whole = plain(tmp_path / "whole.png", GREEN, size=(40, 40))
        (tmp_path / "cut.png").write_bytes(whole.read_bytes()[:60])
        (tmp_path / "text.jpg").write_text("this is no image")
        (tmp_path / "empty.gif").touch()
        damaged = [tmp_path / "cut.png", tmp_path / "text.jpg", tmp_path / "empty.gif", tmp_path / "gone.png"]
        # More damaged files than a batch holds: one whole batch without an image.
        files = [*damaged, whole, *damaged[:1]]
        predictions = predict(colour_model, files)
        assert [prediction.error is None for prediction in predictions] == [False] * 4 + [True, False]
        assert classes([predictions[4]]) == ["green"]
        for prediction in predictions[:4]:
            assert prediction.answer is None
            assert prediction.file.name in str(prediction.error)
            assert "\n" not in str(prediction.error)

    def test_no_more_than_a_batch_is_read_at_a_time(self, tmp_path: Path, colour_model: Any) -> None:
        files = [plain(tmp_path / f"{index}.png", RED) for index in range(7)]
        sizes: list[int] = []

        def recorded(images: Any) -> Any:
            sizes.append(len(images))
            return colour_model(images)

        predict(recorded, files, batch_size=3)
        assert sizes == [3, 3, 1]

    def test_a_model_with_other_classes_is_refused(self, tmp_path: Path, colour_model: Any) -> None:
        file = plain(tmp_path / "a.png", RED)
        with pytest.raises(CnnkitError, match=r"2 classes, got one with 3 outputs"):
            predict(colour_model, [file], class_names=["a", "b"])

    def test_a_model_that_diverged_is_refused(self, tmp_path: Path, brightness_model: Any) -> None:
        import keras

        broken = keras.models.clone_model(brightness_model)
        broken.layers[-1].set_weights([np.full((1, 2), np.nan), np.zeros(2)])
        changes = {"image_shape": (6, 6, 1), "class_names": ["dark", "light"], "head": "logits"}
        with pytest.raises(CnnkitError, match="NaN"):
            predict(broken, [plain(tmp_path / "a.png", RED)], **changes)


ANSWERS = ClassAnswers(Interface((6, 6, 3), ("cat", 'dog, "big"', "bird"), "softmax"))


@pytest.fixture
def results() -> list[Prediction]:
    answer = ClassAnswer(ANSWERS.class_names, np.array([0.2, 0.7123456789, 0.0876543211]))
    return [
        Prediction(Path("a, b.png"), answer),
        Prediction(Path("broken.png"), error="cannot read the image file `broken.png`: damaged"),
    ]


class TestFormats:
    def test_json(self, results: list[Prediction]) -> None:
        first, second = json.loads(as_json(results))
        assert first == {
            "file": "a, b.png",
            "class": 'dog, "big"',
            "probability": 0.712346,
            "probabilities": {"cat": 0.2, 'dog, "big"': 0.712346, "bird": 0.0876543},
        }
        assert second == {"file": "broken.png", "error": "cannot read the image file `broken.png`: damaged"}

    def test_json_of_nothing(self) -> None:
        assert json.loads(as_json([])) == []

    def test_csv(self, results: list[Prediction]) -> None:
        first, second = csv.DictReader(io.StringIO(as_csv(results, ANSWERS)))
        assert first["file"] == "a, b.png"
        assert first["class"] == 'dog, "big"'
        assert first["probability"] == first['probability_dog, "big"'] == "0.712346"
        assert first["probability_cat"] == "0.2"
        assert first["error"] == ""
        assert (second["file"], second["class"], second["probability_cat"]) == ("broken.png", "", "")
        assert second["error"].endswith("damaged")

    def test_table_shows_the_top_classes_and_the_errors(self, results: list[Prediction]) -> None:
        header, row, _, *failures = as_table(results, ANSWERS, top=2).splitlines()
        assert header.split() == ["file", "class", "probability", "next"]
        assert row.split() == ["a,", "b.png", "dog,", '"big"', "0.7123", "cat", "0.2000"]
        assert "1 of 2 files" in failures[0]
        assert "`broken.png`: damaged" in failures[1]

    def test_ranked_is_in_order_and_limited(self, results: list[Prediction]) -> None:
        assert [name for name, _ in answer_of(results[0]).ranked(2)] == ['dog, "big"', "cat"]

    @pytest.mark.parametrize(
        ("head", "note"),
        [
            ("softmax", ""),
            ("sigmoid", "the network ends in sigmoid; its outputs were scaled to a sum of 1"),
            ("logits", "the network ends in logits; its outputs were put through a softmax"),
        ],
    )
    def test_what_was_done_to_the_outputs_is_noted(self, head: str, note: str) -> None:
        assert ClassAnswers(Interface((6, 6, 3), ("a", "b"), head)).note == note
