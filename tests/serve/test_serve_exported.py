"""An exported network on the page and behind the endpoints: the answers of a run, and why it cannot be looked into."""

from __future__ import annotations

import base64
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from browser import PageAt, browser, overflow, page_at, serious_findings
from onnx_files import NAMES, SHAPE, description, outputs_of, write_network
from PIL import Image
from serving import served

from cnnkit import serve
from cnnkit.runs.opening import open_predictor
from cnnkit.serve.pictures import GAP

__all__ = ["browser", "page_at"]


#: Two tensors of `masks.onnx` that pages show: what enters the softmax, and what leaves it.
STAGES = {
    "stages": [
        {"name": name, "tensor": tensor, "channels_first": False, "rows": 6, "columns": 5, "channels": 3}
        for name, tensor in (("0.Conv2D", "scores"), ("1.Softmax", "output_0"))
    ]
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serves two files of one name, of which the second says more of itself; one of masks, whose scores can be
    seen; and one whose images are padded."""
    folder = tmp_path_factory.mktemp("exported")
    for name in ("a", "b"):
        (folder / name).mkdir()
    further = {"figures": {"accuracy": 0.875, "loss": 0.25}, "drawing": {"share": 0.5, "bright": False}}
    told = description(model={"parameters": 12345}, **further)
    files = [
        write_network(folder / "a" / "model.onnx"),
        write_network(folder / "b" / "model.onnx", told),
        write_network(folder / "masks.onnx", description(config="task: segmentation", **STAGES), per_pixel=True),
        write_network(
            folder / "padded.onnx", description(config="task: segmentation", data={"resize": "pad"}), per_pixel=True
        ),
    ]
    with served(serve.create_app([open_predictor(str(file), "serve") for file in files])) as found:
        yield found


@pytest.fixture(scope="module")
def client(address: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=address, timeout=60) as made:
        yield made


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (5, *SHAPE)).astype(np.uint8)


def file_of(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def test_what_it_says_of_itself(client: httpx.Client) -> None:
    first, second, masks, _ = client.get("/runs").json()["runs"]
    assert [Path(one["name"]).parts[-2:] for one in (first, second)] == [("a", "model.onnx"), ("b", "model.onnx")]
    assert masks["name"] == "masks.onnx"
    assert (first["kind"], first["class_names"], first["input_shape"]) == ("classes", list(NAMES), list(SHAPE))
    assert (first["accuracy"], first["parameters"], first["headline"]["text"]) == (None, None, None)
    assert (second["accuracy"], second["parameters"], second["headline"]["text"]) == (0.875, 12345, "87.50%")
    assert first["drawing"] == masks["drawing"] == {"share": pytest.approx(20 / 28), "bright": True}
    assert second["drawing"] == {"share": 0.5, "bright": False}
    for one in (first, second, masks):
        assert (one["gradcam_layer"], one["subjects"]) == (None, [])
        assert "gradients, which an exported network does not have" in one["note"]
    assert first["stages"] == second["stages"] == []
    assert "Feature maps are not shown" in first["note"]
    assert [stage["name"] for stage in masks["stages"]] == ["0.Conv2D", "1.Softmax"]
    assert "Feature maps are not shown" not in masks["note"]
    assert list(masks["facts"]["colours"]) == list(NAMES)
    examples = client.get("/examples").json()
    assert examples["examples"] == []
    assert "an exported network comes without any" in examples["note"]


def test_answers_are_those_of_the_network(client: httpx.Client, images: np.ndarray) -> None:
    files = [("images", (f"{number}.png", file_of(image))) for number, image in enumerate(images)]
    predictions = client.post("/predict", files=files).json()["predictions"]
    rows = [list(one["probabilities"].values()) for one in predictions]
    np.testing.assert_allclose(rows, outputs_of(images), rtol=1e-5)
    shares = client.post("/predict?run=masks.onnx", content=file_of(images[0])).json()["predictions"][0]["shares"]
    brightest = images[0].argmax(axis=-1)
    assert list(shares.values()) == pytest.approx([(brightest == number).mean() for number in range(3)], rel=1e-5)


def test_the_border_of_a_padded_image_counts_for_no_class(client: httpx.Client) -> None:
    """A file of 2x5 blue pixels gets two black rows above and below, of which the network says red, the first class."""
    content = file_of(np.full((2, 5, 3), [0, 0, 250], np.uint8))
    answered = client.post("/predict?run=padded.onnx", content=content).json()["predictions"][0]
    explained = client.post("/explain?run=padded.onnx", content=content).json()
    assert answered["shares"] == explained["shares"] == {"red": 0, "green": 0, "blue": 1}
    with Image.open(io.BytesIO(base64.b64decode(explained["pictures"]["mask"].partition(",")[2]))) as mask:
        numbers = np.asarray(mask)
    assert numbers[:, 0].tolist() == [255, 255, 2, 2, 255, 255]


def test_what_cannot_be_explained_is_said(client: httpx.Client, images: np.ndarray) -> None:
    explained = client.post("/explain", content=file_of(images[0]))
    assert explained.status_code == 200
    assert (explained.json()["gradcam"], explained.json()["stages"]) == (None, [])
    assert explained.json()["class"] == NAMES[int(outputs_of(images[:1]).argmax())]
    refused = client.post("/explain?class=red", content=file_of(images[0]))
    assert refused.status_code == 422
    for part in ("cannot explain `red`", "it needs gradients", "serve the run that the network was exported from"):
        assert part in refused.json()["error"]


def test_feature_maps_are_the_tensors_that_the_file_names(client: httpx.Client, images: np.ndarray) -> None:
    explained = client.post("/explain?run=masks.onnx", content=file_of(images[0])).json()
    scores, shares = explained["stages"]
    assert (scores["name"], scores["shown"], shares["name"]) == ("0.Conv2D", [0, 1, 2], "1.Softmax")
    with Image.open(io.BytesIO(base64.b64decode(scores["sheet"].partition(",")[2]))) as sheet:
        pixels = np.asarray(sheet.convert("LA"))
    # The scores are the colours, a hundredth of them; a sheet shows each channel from its least to its largest value.
    times = (pixels.shape[0]) // 6
    for channel in range(3):
        left = channel * (5 * times + GAP)
        tile = pixels[: 6 * times : times, left : left + 5 * times : times, 0].astype(float)
        colour = images[0, ..., channel].astype(float)
        np.testing.assert_allclose(tile, 255 * (colour - colour.min()) / np.ptp(colour), atol=0.51)


#: Asks a server for everything that its page does, and prints which heavy modules are loaded then.
ASKED = """
import sys
from fastapi.testclient import TestClient
from cnnkit import serve
from cnnkit.runs.opening import open_predictor
from cnnkit.serve.pictures import GAP
with TestClient(serve.create_app([open_predictor("model.onnx", "serve")]), base_url="http://127.0.0.1") as client:
    image = {"content": open("image.png", "rb").read(), "headers": {"Content-Type": "image/png"}}
    answers = [client.get(path) for path in ("/", "/runs", "/examples")]
    answers += [client.post(path, **image) for path in ("/predict", "/explain")]
print({answer.status_code for answer in answers}, *(name for name in sys.argv[1:] if name in sys.modules))
"""


def test_it_serves_without_anything_heavy(tmp_path: Path, images: np.ndarray) -> None:
    write_network(tmp_path / "model.onnx")
    (tmp_path / "image.png").write_bytes(file_of(images[0]))
    heavy = ["tensorflow", "keras", "tensorflow_datasets", "matplotlib", "sklearn", "scipy", "pandas", "onnx"]
    done = subprocess.run(
        [sys.executable, "-c", ASKED, *heavy], capture_output=True, text=True, cwd=tmp_path, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "{200}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page(page_at: PageAt, address: str, images: np.ndarray, scheme: str) -> None:
    page = page_at(address, width=390 if scheme == "dark" else 1440, color_scheme=scheme)
    page.locator("#runs h2").first.wait_for()
    with page.expect_response("**/explain?*"):
        page.locator("#file").set_input_files({"name": "a.png", "mimeType": "image/png", "buffer": file_of(images[0])})
    page.locator("#runs[aria-busy=false]").wait_for()
    columns: list[Any] = page.locator(".run").all()
    assert len(columns) == 4
    for column in columns:
        text = column.inner_text()
        assert "gradients, which an exported network does not have" in text
        assert not column.locator("select").is_visible()
    assert [column.locator("h3").all_inner_texts() for column in columns] == [[], [], ["Feature maps"], []]
    assert columns[2].locator(".stage img").count() == 2
    expected = NAMES[int(outputs_of(images[:1]).argmax())]
    assert columns[0].locator(".answer").inner_text().split()[0] == expected
    assert "87.50\u00a0% of the test images right · 12,345 parameters" in columns[1].inner_text()
    assert "parameters" not in columns[0].inner_text()
    assert overflow(page) <= 0
    assert serious_findings(page) == []
