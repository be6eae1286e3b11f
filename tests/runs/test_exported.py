"""`predict` of an .onnx file: what a run would answer, and what is said of files that cannot be used."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from onnx_files import NAMES, SHAPE, description, outputs_of, write_network
from PIL import Image

from cnnkit import __version__
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.runs.array_views import averaged
from cnnkit.runs.exported import ExportedNetwork
from cnnkit.runs.opening import open_predictor


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (9, *SHAPE)).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with `model.onnx` and nine images in `photos`."""
    monkeypatch.chdir(tmp_path)
    write_network(tmp_path / "model.onnx")
    (tmp_path / "photos").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "photos" / f"{number}.png")
    return tmp_path


def predict(*arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> tuple[int, Any]:
    code = run(["predict", *arguments], monkeypatch)
    said = capsys.readouterr()
    return code, said.out if code == 0 else said.err


class TestAnswers:
    def test_each_image_of_several_batches(
        self, folder: Path, images: np.ndarray, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, said = predict("model.onnx", "photos", "--json", monkeypatch=monkeypatch, capsys=capsys)
        assert code == 0
        entries = json.loads(said)
        assert [entry["file"] for entry in entries] == [f"photos/{number}.png" for number in range(9)]
        rows = [list(entry["probabilities"].values()) for entry in entries]
        np.testing.assert_allclose(rows, outputs_of(images), rtol=1e-5)
        assert [entry["class"] for entry in entries] == [NAMES[best] for best in outputs_of(images).argmax(axis=1)]

    def test_images_are_read_as_the_description_says(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        # A red strip of another shape: stretched it is all red, cropped and padded it has grey or black beside it.
        strip = np.full((6, 20, 3), 128, np.uint8)
        strip[:, :10] = (255, 0, 0)
        Image.fromarray(strip).save("strip.png")
        shares = {}
        for resize in ("stretch", "pad", "crop"):
            write_network(Path("model.onnx"), description(data={"resize": resize}))
            code, said = predict("model.onnx", "strip.png", "--json", monkeypatch=monkeypatch, capsys=capsys)
            assert code == 0
            shares[resize] = json.loads(said)[0]["probability"]
        with Image.open("strip.png") as opened:
            stretched = np.asarray(opened.resize((5, 6), Image.Resampling.BILINEAR))
        assert shares["stretch"] == pytest.approx(outputs_of(stretched[None])[0, 0], rel=1e-5)
        assert len({round(share, 3) for share in shares.values()}) == 3

    def test_batches_are_as_large_as_the_file_says(self, folder: Path) -> None:
        exported = ExportedNetwork(folder / "model.onnx")
        assert exported.network()[1] == 4
        assert exported.network(("flip",))[1] == 2
        assert exported.network(("flip", "shift"))[1] == 1
        silent = {key: value for key, value in description().items() if key != "batch"}
        assert ExportedNetwork(write_network(folder / "silent.onnx", silent)).network()[1] == 1

    def test_the_same_images_get_the_same_answers_to_the_last_bit(self, folder: Path, images: np.ndarray) -> None:
        first, second = (ExportedNetwork(folder / "model.onnx").network()[0] for _ in range(2))
        np.testing.assert_array_equal(first(images), second(images))

    def test_views_of_masks_are_laid_over_each_other(self, images: np.ndarray) -> None:
        def pixel_scores(views: np.ndarray) -> np.ndarray:
            return views.astype(np.float32) / 100

        # A network that looks at each pixel alone says the same of the mirror image, mirrored.
        np.testing.assert_allclose(averaged(pixel_scores, ("flip",), "logits")(images), pixel_scores(images), rtol=1e-6)

    def test_a_folder_with_that_ending_is_a_run_or_nothing(self, folder: Path) -> None:
        (folder / "odd.onnx").mkdir()
        with pytest.raises(UsageError, match=r"`odd\.onnx` is no run"):
            open_predictor("odd.onnx", "predict")
        (folder / "odd.onnx" / "model.onnx").touch()
        with pytest.raises(UsageError, match=r"Name the file: odd\.onnx/model\.onnx"):
            open_predictor("odd.onnx", "predict")


def changed(**changes: Any) -> dict[str, Any]:
    return {"metadata": description(**changes)}


#: What is wrong with a file; how it is made; the exit code, and what is said.
WRONG: list[tuple[str, dict[str, Any], int, list[str]]] = [
    ("of others", {"metadata": False}, 2, ["was not exported by cnnkit", "cnnkit export RUN"]),
    ("no JSON", {"metadata": "{"}, 1, ["is damaged", "its content should be a mapping"]),
    ("deep", {"metadata": "[" * 100_000}, 1, ["is damaged"]),
    ("half", {"metadata": {"config": ""}}, 1, ["`environment` is missing"]),
    ("no config", changed(config="a: ]"), 1, ["the config in it is none"]),
    ("no shape", changed(data={"image_shape": [6, 5]}), 1, ["does not say what the images"]),
    ("types", changed(data={"image_shape": "6x5"}), 1, ["`environment.data.image_shape` should be a list"]),
    ("later", changed(version=2, cnnkit="9.9"), 1, [f"version of cnnkit, {__version__}", "was written by cnnkit 9.9"]),
    ("later task", changed(config="task: origami", task="origami", cnnkit="9.9"), 1, ["task `origami`", "cnnkit 9.9"]),
    ("fewer classes", changed(data={"class_names": ["a", "b"]}), 1, ["outputs (2,)", "export the run again"]),
    ("other images", changed(data={"image_shape": [6, 6, 3]}), 1, ["images (6, 6, 3)"]),
    ("a fixed batch", {"batch": 1}, 1, ["tensor(float)[1, 6, 5, 3]"]),
    ("later ONNX", {"ir_version": 99}, 1, ["version of ONNX that onnxruntime", "pip install --upgrade onnxruntime"]),
    ("later operators", {"opset": 99}, 1, ["version of ONNX that onnxruntime", "pip install --upgrade onnxruntime"]),
]


class TestFilesThatCannotBeUsed:
    @pytest.mark.parametrize(("how", "code", "parts"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
    def test_what_is_said(
        self,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        how: dict[str, Any],
        code: int,
        parts: list[str],
    ) -> None:
        write_network(folder / "wrong.onnx", **how)
        found, said = predict("wrong.onnx", "photos", monkeypatch=monkeypatch, capsys=capsys)
        assert found == code
        assert "wrong.onnx" in said
        for part in parts:
            assert part in said

    @pytest.mark.parametrize("share", [0, 0.3, 0.99])
    def test_what_is_cut_off(self, folder: Path, share: float) -> None:
        content = (folder / "model.onnx").read_bytes()
        (folder / "cut.onnx").write_bytes(content[: int(share * len(content))])
        with pytest.raises(CnnkitError, match=r"`\S*cut\.onnx` cannot be opened: \S"):
            ExportedNetwork(folder / "cut.onnx").network()

    def test_weights_in_other_files_are_not_read(self, folder: Path) -> None:
        import onnx

        model = onnx.load(folder / "model.onnx")
        weights = model.graph.initializer[0]
        (folder / "others.bin").write_bytes(weights.raw_data)
        weights.ClearField("raw_data")
        weights.data_location = onnx.TensorProto.EXTERNAL
        weights.external_data.add(key="location", value="others.bin")
        (folder / "split.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(CnnkitError, match="it has weights in another file"):
            ExportedNetwork(folder / "split.onnx").network()

    def test_what_is_not_there(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code, said = predict("missing.onnx", "photos", monkeypatch=monkeypatch, capsys=capsys)
        assert code == 2
        assert "there is no file `missing.onnx`" in said

    @pytest.mark.parametrize(
        ("last", "message"),
        [(("Reshape", [7, 3]), "cannot be computed: "), (("Gather", [0, 0]), "does not answer for each image")],
    )
    def test_networks_that_fail_only_when_they_compute(
        self, folder: Path, images: np.ndarray, last: tuple[str, list[int]], message: str
    ) -> None:
        exported = ExportedNetwork(write_network(folder / "odd.onnx", last=last))
        with pytest.raises(CnnkitError, match=message):
            exported.network()[0](images)

    def test_a_layer_that_is_another_than_the_file_says(self, folder: Path, images: np.ndarray) -> None:
        stage = {"name": "a", "tensor": "scores", "channels_first": True, "rows": 6, "columns": 5, "channels": 3}
        exported = ExportedNetwork(write_network(folder / "odd.onnx", description(stages=[stage])))
        with pytest.raises(CnnkitError, match="the layer `a` is another one"):
            exported.looked_into()(images)
        missing = description(stages=[{**stage, "tensor": "nothing"}])
        with pytest.raises(CnnkitError, match="cannot be opened"):
            ExportedNetwork(write_network(folder / "odd.onnx", missing)).looked_into()

    def test_a_link_is_followed_and_a_pipe_is_not_waited_for(self, folder: Path, images: np.ndarray) -> None:
        (folder / "latest.onnx").symlink_to("model.onnx")
        np.testing.assert_allclose(ExportedNetwork(Path("latest.onnx")).network()[0](images), outputs_of(images), 1e-5)
        os.mkfifo(folder / "pipe.onnx")
        with pytest.raises(CnnkitError, match="it is a pipe"):
            ExportedNetwork(Path("pipe.onnx")).network()

    def test_without_onnxruntime_the_extra_is_named(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setitem(sys.modules, "onnxruntime", None)
        code, said = predict("model.onnx", "photos", monkeypatch=monkeypatch, capsys=capsys)
        assert code == 1
        assert "needs the package onnxruntime" in said
        assert 'pip install "cnnkit[onnx]"' in said

    @pytest.mark.parametrize("command", ["eval", "report", "watch"])
    def test_commands_that_need_a_run_say_so(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
    ) -> None:
        assert run([command, "model.onnx"], monkeypatch) == 2
        said = capsys.readouterr().err
        assert "`model.onnx` is no run, but a network that was exported" in said
        assert "Name the run that it was exported from" in said
