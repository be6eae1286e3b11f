"""A small text network through the commands: trained once, asked, explained, exported and served."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from review_texts import BAD, GOOD, text_config, write_reviews
from serving import served
from trainings import run_training

from cnnkit.inside.windows import windows_of
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run
from cnnkit.texts.words import UNKNOWN_SHOWN, Vocabulary, words_in

pytestmark = pytest.mark.long

TEXTS = ("A superb story with an unheard of plot", "this awful music", "the plot is tedious , and of a superb actor")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    from cnnkit.runs.evaluation import evaluate_run

    folder = tmp_path_factory.mktemp("texts")
    training = {"epochs": 8}
    made = run_training(folder, text_config(write_reviews(folder), training=training), "reviews-1")
    evaluate_run(open_run(made))
    return made


def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    capsys.readouterr()
    assert run(list(arguments), monkeypatch) == 0
    return capsys.readouterr().out


def predicted(capsys: Any, monkeypatch: Any, *arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(said(capsys, monkeypatch, "predict", *arguments, "--json"))
    return found


def test_the_run_keeps_the_words_and_knows_what_they_say(trained: Run) -> None:
    with (trained.path.parent / "reviews.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    words = trained.words.read_text("utf-8").splitlines()
    assert words == trained.read_words()
    assert words[:2] == sorted(words[:2], key=lambda word: -sum(word in words_in(row["text"]) for row in rows))
    assert set(GOOD + BAD) < set(words)
    assert json.loads(trained.evaluation.read_text("utf-8"))["accuracy"] > 0.95


def test_predict_says_what_keras_says_of_the_numbers(
    trained: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import keras

    vocabulary = Vocabulary(tuple(trained.words.read_text("utf-8").splitlines()))
    texts = np.array([vocabulary.numbers(text, 12) for text in TEXTS], np.int32)
    expected = np.asarray(keras.models.load_model(trained.model)(texts))
    answers = predicted(capsys, monkeypatch, str(trained.path), *TEXTS)
    assert [answer["text"] for answer in answers] == list(TEXTS)
    found = [[answer["probabilities"][name] for name in ("bad", "good")] for answer in answers]
    np.testing.assert_allclose(found, expected, atol=2e-6)
    # The same texts from a file, and from the standard input.
    file = tmp_path / "texts.txt"
    file.write_text("\n\n".join(TEXTS) + "\n", "utf-8")
    assert predicted(capsys, monkeypatch, str(trained.path), "--file", str(file)) == answers
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    assert predicted(capsys, monkeypatch, str(trained.path), "--file", "-") == answers


def test_the_word_that_speaks_most_is_missed_most(
    trained: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Held against what the network says of the text with each word put out in turn."""
    for answer in predicted(capsys, monkeypatch, str(trained.path), *TEXTS[:2], "--explain"):
        words = words_in(answer["text"])
        assert [word for word, _ in answer["words"]] == words
        without = [" ".join([*words[:place], UNKNOWN_SHOWN, *words[place + 1 :]]) for place in range(len(words))]
        others = predicted(capsys, monkeypatch, str(trained.path), *without)
        left = [other["probabilities"][answer["class"]] for other in others]
        strengths = [strength for _, strength in answer["words"]]
        assert int(np.argmin(left)) == int(np.argmax(strengths))
        assert max(strengths) == 1
    table = said(capsys, monkeypatch, "predict", str(trained.path), "this superb plot", "--explain")
    assert table.splitlines()[1].endswith("superb 1.00")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "which texts?"),
        (("--file", "missing.txt"), "there is no file"),
        (("a film", "--tta", "flip"), "texts have no pixels"),
        (("a film", "--explain", "--csv"), "--json"),
    ],
)
def test_what_is_no_question_is_refused(
    trained: Run,
    arguments: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(["predict", str(trained.path), *arguments], monkeypatch) == 2
    assert message in capsys.readouterr().err


def test_a_text_without_words_is_told_of_and_the_others_are_answered(
    trained: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run(["predict", str(trained.path), "", "a superb film", "--csv"], monkeypatch) == 1
    first, second = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (first["class"], "no word" in first["error"], second["class"]) == ("", True, "good")


def test_pictures_of_pixels_are_refused_and_others_are_drawn(
    trained: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert run(["show", "features", str(trained.path), "0"], monkeypatch) == 2
    assert "texts have no pixels" in capsys.readouterr().err
    for argument in ("0", "a superb film"):
        target = tmp_path / f"{len(argument)}.png"
        said(capsys, monkeypatch, "show", "gradcam", str(trained.path), argument, "-o", str(target))
        assert target.stat().st_size > 1000
    said(capsys, monkeypatch, "report", str(trained.path))


def test_the_words_that_excite_a_filter_are_those_of_all_windows(trained: Run) -> None:
    """Held against each window of each test text, by hand: kernel times vectors, summed up."""
    import keras

    vocabulary = Vocabulary(tuple(trained.words.read_text("utf-8").splitlines()))
    model = keras.models.load_model(trained.model)
    (vectors,) = next(layer for layer in model.layers if isinstance(layer, keras.layers.Embedding)).get_weights()
    with (trained.path.parent / "reviews.csv").open(encoding="utf-8") as stream:
        texts = [row["text"] for row in csv.DictReader(stream) if row["split"] == "test"]
    ids = np.pad([vocabulary.numbers(text, 12) for text in texts], [(0, 0), (3, 3)])
    for path, width in enumerate((2, 3, 4)):
        name = f"2.Branches/paths.{path}.0.Conv1D"
        found = windows_of(open_run(trained), name)
        assert (found.layer, found.width, found.filters, found.texts) == (name, width, 8, len(texts))
        seen = {tuple(row[at : at + width].tolist()) for row in ids for at in range(18 - width + 1)}
        seen = {window for window in seen if any(window)}
        ((kernel, bias),) = (layer.get_weights() for layer in leaves(model) if layer.name.endswith(f"{path}.0.Conv1D"))
        for number, windows in enumerate(found.found):
            said = {w: float((vectors[list(w)] * kernel[..., number]).sum() + bias[number]) for w in seen}
            best = sorted((max(value, 0) for value in said.values()), reverse=True)[:10]
            assert [one.output for one in windows] == pytest.approx([value for value in best if value > 0], abs=1e-5)
            for one in windows:
                numbers = tuple(0 if word == "·" else vocabulary.numbers(word, 1)[0] for word in one.words)
                assert said[numbers] == pytest.approx(one.output, abs=1e-5)


def leaves(model: Any) -> Iterator[Any]:
    for layer in model.layers:
        yield from leaves(layer) if hasattr(layer, "layers") else [layer]


def test_show_filters_lists_words_and_so_does_the_report(
    trained: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown = said(capsys, monkeypatch, "show", "filters", str(trained.path))
    first = windows_of(open_run(trained)).found[0][0]
    assert shown.splitlines()[1].split()[:2] == ["0", f"{first.output:.3f}"]
    assert "Others: --layer 2.Branches/paths.1.0.Conv1D, 2.Branches/paths.2.0.Conv1D" in shown
    other = said(capsys, monkeypatch, "show", "filters", str(trained.path), "--layer", "2.Branches/paths.2.0.Conv1D")
    assert "4 words each" in other
    assert " ".join(first.words) in trained.report.read_text("utf-8")
    for options, message in ((["--layer", "5.Dense"], "no places along a text"), (["-o", "x.png"], "a table of words")):
        assert run(["show", "filters", str(trained.path), *options], monkeypatch) == 2
        assert message in capsys.readouterr().err


def test_an_exported_file_answers_for_texts_with_cnnkit_and_without(
    trained: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("tf2onnx")
    file = tmp_path / "reviews.onnx"
    said(capsys, monkeypatch, "export", str(trained.path), "--format", "onnx", "-o", str(file))
    ours = predicted(capsys, monkeypatch, str(trained.path), *TEXTS)
    theirs = predicted(capsys, monkeypatch, str(file), *TEXTS)
    for one, other in zip(ours, theirs, strict=True):
        assert (one["text"], one["class"]) == (other["text"], other["class"])
        assert one["probability"] == pytest.approx(other["probability"], abs=1e-5)
    script = subprocess.run([sys.executable, f"{file}.py", *TEXTS], capture_output=True, text=True, check=True)
    assert [line.split()[0] for line in script.stdout.splitlines()] == [answer["class"] for answer in ours]


def test_the_server_answers_for_texts_and_marks_words(trained: Run) -> None:
    pytest.importorskip("fastapi")
    httpx = pytest.importorskip("httpx")
    from cnnkit.serve import create_app

    with served(create_app([open_run(trained)])) as url, httpx.Client(base_url=url) as client:
        answers = client.post("/predict", json={"texts": list(TEXTS)}).json()["predictions"]
        assert [answer["class"] for answer in answers[:2]] == ["good", "bad"]
        explained = client.post("/explain", content="this superb plot", headers={"Content-Type": "text/plain"}).json()
        assert explained["words"] == [["this", 0.0], ["superb", 1.0], ["plot", 0.0]]
        assert explained["gradcam"]["class"] == "good"
        refused = client.post("/predict", content=b"\x89PNG\xff", headers={"Content-Type": "image/png"})
        assert (refused.status_code, "takes texts" in refused.json()["error"]) == (422, True)
        example = client.get("/examples").json()["examples"][0]
        assert client.post("/predict", json={"texts": [example["text"]]}).json()["predictions"][0]["class"] == "bad"


def test_a_resumed_run_ends_as_one_that_was_not_stopped(trained: Run, tmp_path: Path) -> None:
    from trainings import assert_same, continued, killed_in_epoch

    content = text_config(trained.path.parent / "reviews.csv", training={"epochs": 3})
    with pytest.MonkeyPatch.context() as patch:
        stopped = killed_in_epoch(1, patch, tmp_path, content)
    whole = run_training(tmp_path, content, "whole")
    continued(stopped)
    assert_same(stopped, whole)


def test_weights_of_another_vocabulary_are_no_beginning(trained: Run, tmp_path: Path) -> None:
    from cnnkit.errors import CnnkitError

    content = text_config(write_reviews(tmp_path, 60), training={"epochs": 1})
    with pytest.raises(CnnkitError, match="the vocabulary of the run"):
        run_training(tmp_path, content, "other", init_from=trained)
    same = text_config(trained.path.parent / "reviews.csv", training={"epochs": 1})
    run_training(tmp_path, same, "same", init_from=trained)


def test_texts_are_called_texts(
    trained: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever a user of images reads of images: in the log of the training, and in what commands say of the run."""
    config = str(trained.path.parent / "reviews.csv")
    assert config in trained.config.read_text("utf-8")
    sayings = [
        trained.log.read_text("utf-8"),
        said(capsys, monkeypatch, "eval", str(trained.path)),
        said(capsys, monkeypatch, "inspect", str(trained.path)),
        said(capsys, monkeypatch, "diff", str(trained.path), str(trained.path)),
    ]
    for text in sayings:
        assert "text" in text
        assert not re.search(r"\bimages?\b", text), text


def test_what_changes_pixels_is_refused_by_its_name(
    trained: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    change = ("--set", "augmentation=[RandomFlip]")
    assert run(["inspect", str(trained.config), *change], monkeypatch) == 2
    assert "`RandomFlip` changes images, and texts have no pixels; remove it" in capsys.readouterr().err
