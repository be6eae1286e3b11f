"""The server as its clients see it, over a real socket, on a run trained on the bundled digits."""

from __future__ import annotations

import base64
import io
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from serving import served
from sharing import changed_config

from cnnkit import serve
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.pages.listening import PACKAGES
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run

PNG = {"Content-Type": "image/png"}


@pytest.fixture(scope="module")
def app(digits_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Serves the run, a copy whose data set is nowhere, and one that has kept no test images besides."""
    copy = tmp_path_factory.mktemp("elsewhere") / "copy"
    shutil.copytree(digits_run.path, copy)
    with changed_config(Run(copy)) as content:
        content["data"] |= {"name": None, "folder": "/nowhere/pets"}
    bare = copy.with_name("bare")
    shutil.copytree(copy, bare)
    Run(bare).live_samples.unlink()
    return serve.create_app([open_run(digits_run), open_run(Run(copy)), open_run(Run(bare))])


@pytest.fixture(scope="module")
def client(app: Any) -> Iterator[httpx.Client]:
    with served(app) as address, httpx.Client(base_url=address, timeout=60) as made:
        yield made


@pytest.fixture(scope="module")
def digits() -> np.ndarray:
    """Scikit-learn's digits as the data set serves them: uint8 [1797, 8, 8, 1]."""
    from sklearn.datasets import load_digits

    return np.rint(load_digits().images * 255 / 16).astype(np.uint8)[..., None]


@pytest.fixture(scope="module")
def model(digits_run: Run) -> Any:
    """The run's model, opened by Keras alone."""
    import keras

    return keras.models.load_model(digits_run.model)


def file_of(image: Any, format: str = "PNG", **options: Any) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    picture = image if isinstance(image, Image.Image) else Image.fromarray(np.squeeze(image))
    picture.save(stream, format, **options)
    return stream.getvalue()


def picture_of(data_url: str) -> np.ndarray:
    from PIL import Image

    with Image.open(io.BytesIO(base64.b64decode(data_url.removeprefix("data:image/png;base64,")))) as opened:
        return np.asarray(opened.convert("RGBA"))


def rows_of(response: httpx.Response) -> np.ndarray:
    """The probabilities, [images, classes], that an answer holds."""
    assert response.status_code == 200, response.text
    return np.array([list(one["probabilities"].values()) for one in response.json()["predictions"]])


def refusal(response: httpx.Response) -> tuple[int, str]:
    """Status and message of a refusal, which is JSON and shows no traceback."""
    assert set(response.json()) == {"error"}
    assert "Traceback" not in response.text
    return response.status_code, response.json()["error"]


class TestPage:
    def test_all_of_it_comes_from_here(self, client: httpx.Client) -> None:
        page = client.get("/")
        assert page.headers["content-type"].startswith("text/html")
        texts = {"/": page.text}
        waiting = re.findall(r'(?:href|src)="(/static/[^"]+)"', page.text)
        while waiting:
            path = waiting.pop()
            if path not in texts:
                answer = client.get(path)
                assert answer.status_code == 200
                texts[path] = answer.text
                waiting += [f"/static/{name}" for name in re.findall(r'from "\./([^"]+)"', answer.text)]
        assert {"/static/app.js", "/static/pad.js", "/static/style.css", "/static/common.css"} <= set(texts)
        assert all("//" not in re.sub(r"^\s*//.*$", "", text, flags=re.M) for text in texts.values())

    def test_a_file_that_is_none(self, client: httpx.Client) -> None:
        assert client.get("/static/nothing.js").status_code == 404
        assert client.get("/static/..%2fapp.py").status_code == 404


class TestFacts:
    def test_health_and_runs(self, client: httpx.Client, digits_run: Run, model: Any) -> None:
        assert client.get("/healthz").json() == {"status": "ok", "runs": ["digits", "copy", "bare"]}
        first, _, bare = client.get("/runs").json()["runs"]
        assert first["input_shape"] == [8, 8, 1]
        assert first["class_names"] == [str(digit) for digit in range(10)]
        assert first["accuracy"] == digits_run.read_json(digits_run.evaluation)["accuracy"] > 0.9
        assert first["parameters"] == model.count_params()
        assert [stage["name"] for stage in first["stages"]] == ["2.ReLU", "5.ReLU", "6.MaxPooling2D"]
        # The digits fill their 8x8 pixels; without test images, MNIST's rule stands in.
        assert first["drawing"] == {"share": 1.0, "bright": True}
        assert bare["drawing"]["share"] == pytest.approx(20 / 28)

    def test_openapi_describes_the_requests(self, client: httpx.Client) -> None:
        described = client.get("/openapi.json").json()
        body = described["paths"]["/predict"]["post"]["requestBody"]["content"]
        assert {"image/png", "multipart/form-data", "application/json"} <= set(body)
        answers = described["paths"]["/predict"]["post"]["responses"]
        assert {"200", "413", "422", "503"} <= set(answers)
        assert client.get("/docs").status_code == client.get("/redoc").status_code == 404


class TestExamples:
    def test_they_are_test_images_of_all_classes(self, client: httpx.Client, digits: np.ndarray) -> None:
        from sklearn.datasets import load_digits

        answer = client.get("/examples").json()
        assert answer["note"] is None
        classes = [example["class"] for example in answer["examples"]]
        assert len(classes) == 24
        assert {classes.count(str(digit)) for digit in range(10)} == {2, 3}
        for example in answer["examples"]:
            image = picture_of(base64.b64encode(client.get(example["url"]).content).decode())[..., 0]
            (place,) = np.flatnonzero((digits[..., 0] == image).all(axis=(1, 2)))
            assert str(load_digits().target[place]) == example["class"]
        assert refusal(client.get("/examples/24.png"))[0] == 404

    def test_the_run_has_kept_them(self, app: Any) -> None:
        first, moved = (app.state.service.find(name).examples for name in (None, "copy"))
        assert (moved.images, moved.truths, moved.note) == (first.images, first.truths, None)

    def test_without_any_the_rest_works(self, app: Any) -> None:
        examples = app.state.service.find("bare").examples
        assert examples.images == []
        assert "`/nowhere/pets` does not exist" in examples.note

    def test_the_frame_is_measured(self) -> None:
        from cnnkit.serve.examples import Frame, frame_of

        images = np.full((5, 20, 10, 1), 250, np.uint8)
        images[:, 4:14, 3:6] = 10
        assert frame_of(images) == Frame(share=0.5, bright=False)
        assert frame_of(255 - images) == Frame(share=0.5, bright=True)


class TestPredict:
    def test_every_way_to_send_images(self, client: httpx.Client, digits: np.ndarray, model: Any) -> None:
        images = digits[:5]
        files = [file_of(image) for image in images]
        truth = model.predict(images, verbose=0)
        texts = [base64.b64encode(file).decode() for file in files]
        texts[0] = "data:image/png;base64," + texts[0]
        several = [("images", (f"{index}.png", file)) for index, file in enumerate(files)]
        found = {
            "form": rows_of(client.post("/predict", files=several)),
            "json": rows_of(client.post("/predict", json={"images": texts})),
            "alone": np.concatenate([rows_of(client.post("/predict", content=file, headers=PNG)) for file in files]),
            "in a form": rows_of(client.post("/predict", files={"image": files[0]})),
            "without a type": rows_of(client.post("/predict", content=files[0])),
        }
        for rows in found.values():
            np.testing.assert_allclose(rows, truth[: len(rows)], rtol=1e-4, atol=1e-6)

    def test_the_answer_is_that_of_predict(self, client: httpx.Client, digits: np.ndarray, model: Any) -> None:
        file = file_of(digits[7])
        truth = model.predict(digits[7:8], verbose=0)[0]
        answer = client.post("/predict?top=2&run=copy", content=file, headers=PNG).json()
        assert answer["run"] == "copy"
        (one,) = answer["predictions"]
        assert one["class"] == str(truth.argmax())
        assert one["probability"] == pytest.approx(truth.max(), rel=1e-4)
        assert list(one["probabilities"]) == [str(digit) for digit in np.argsort(-truth)[:2]]

    def test_other_modes_and_sizes_are_the_same_image(
        self, client: httpx.Client, digits: np.ndarray, model: Any
    ) -> None:
        from PIL import Image

        image = digits[3, ..., 0]
        grey = Image.fromarray(image)
        clear = Image.merge("LA", [grey, Image.fromarray(np.where(image > 100, 255, 0).astype(np.uint8))])
        palette = grey.convert("RGB").quantize(32)
        negative = Image.fromarray(255 - image)
        black = Image.new("L", grey.size)
        same = {
            "16 bits": Image.fromarray(image.astype(np.uint16) * 257),
            "opaque": Image.merge("RGBA", [grey, grey, grey, Image.new("L", grey.size, 255)]),
            "palette": palette,
            "colour": grey.convert("RGB"),
        }
        files = {name: file_of(picture) for name, picture in same.items()}
        files["gif"] = file_of(grey, "GIF")
        files["animated"] = file_of(grey, "GIF", save_all=True, append_images=[negative, black])
        files["bmp"] = file_of(grey, "BMP")
        files["webp"] = file_of(grey, "WEBP", lossless=True)
        files["with a tail"] = file_of(grey) + b"PK\x03\x04" + bytes(1000)
        upright = Image.Exif()
        upright[0x0112] = 6
        files["turned"] = file_of(grey.rotate(90), exif=upright)
        truth = model.predict(image[None, ..., None], verbose=0)
        for name, file in files.items():
            rows = rows_of(client.post("/predict", content=file))
            np.testing.assert_allclose(rows, truth, rtol=1e-3, atol=2e-3, err_msg=name)
        over_white = np.where(image > 100, image, 255).astype(np.uint8)
        truth = model.predict(over_white[None, ..., None], verbose=0)
        np.testing.assert_allclose(rows_of(client.post("/predict", content=file_of(clear))), truth, atol=1e-4)

    def test_cmyk(self, client: httpx.Client, model: Any) -> None:
        from PIL import Image

        file = file_of(Image.new("CMYK", (50, 40), (0, 0, 0, 255)), "JPEG")
        truth = model.predict(np.zeros((1, 8, 8, 1)), verbose=0)
        np.testing.assert_allclose(rows_of(client.post("/predict", content=file)), truth, atol=2e-2)

    def test_concurrent_requests_get_their_own_answers(
        self, client: httpx.Client, digits: np.ndarray, model: Any
    ) -> None:
        truth = model.predict(digits[:200], verbose=0)
        files = [file_of(image) for image in digits[:200]]

        def ask(index: int) -> httpx.Response:
            if index % 10 == 0:
                return client.post("/predict", content=files[index][:50], headers=PNG)
            count = 1 + index % 3
            some = [("images", ("a.png", file)) for file in files[index : index + count]]
            return client.post("/predict", files=some)

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(ask, range(197)))
        for index, answer in enumerate(answers):
            if index % 10 == 0:
                assert refusal(answer)[0] == 422
            else:
                expected = truth[index : index + 1 + index % 3]
                np.testing.assert_allclose(rows_of(answer), expected, rtol=1e-4, atol=1e-6)


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims a size and has next to no pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(bytes(100))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'


def broken_images() -> dict[str, tuple[bytes, int, str]]:
    noise = np.random.default_rng(0).integers(0, 255, (60, 60, 3)).astype(np.uint8)
    whole = {format: file_of(noise, format) for format in ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF")}
    cut = {
        f"half a {format}": (whole[format][: len(whole[format]) // 2], 422, "cannot read")
        for format in ("PNG", "JPEG", "WEBP", "BMP")
    }
    progressive = file_of(noise, "JPEG", progressive=True)
    last_scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    return cut | {
        "a scan again and again": (progressive[:-2] + last_scan * 120 + b"\xff\xd9", 422, "scans; at most 100"),
        "nothing": (b"", 422, "it is empty"),
        "a zero byte": (b"\0", 422, "not an image"),
        "text": (b"hello", 422, "accepted: PNG, JPEG"),
        "svg": (SVG, 422, "not an image"),
        "tiff": (whole["TIFF"], 422, "not an image"),
        "a header of a gif": (b"GIF89a", 422, "cannot read"),
        "a bomb": (png_header(100_000, 100_000), 413, "pixels"),
        "a little too much": (png_header(8001, 8000), 413, "8001x8000 = 64,008,000 pixels; at most 64,000,000"),
        "no pixels": (png_header(0, 5), 422, "cannot read"),
        "32 MB and a byte": (whole["PNG"].ljust((32 << 20) + 1, b"\0"), 413, "larger than 32 MB"),
    }


class TestRefusals:
    @pytest.mark.parametrize("name", broken_images())
    def test_broken_images(self, client: httpx.Client, name: str) -> None:
        content, status, message = broken_images()[name]
        for path in ("/predict", "/explain"):
            found = refusal(client.post(path, content=content, headers=PNG))
            assert found[0] == status
            assert message in found[1]

    def test_in_a_batch_the_message_says_which(self, client: httpx.Client, digits: np.ndarray) -> None:
        good = file_of(digits[0])
        files = [("i", ("a.png", good)), ("i", ("b.png", b"nothing")), ("i", ("c.png", good))]
        status, message = refusal(client.post("/predict", files=files))
        assert (status, message.partition(":")[0]) == (422, "image 2 (`b.png`)")
        texts = [base64.b64encode(content).decode() for content in (good, good, good[:40])]
        assert refusal(client.post("/predict", json={"images": texts}))[1].startswith("image 3: ")

    @pytest.mark.parametrize(
        ("content", "content_type", "status", "message"),
        [
            (b"a=b", "application/x-www-form-urlencoded", 415, "send an image file"),
            (b"{", "application/json", 422, "expected"),
            (b"\xff\xfe", "application/json", 422, "expected"),
            (b'{"images": []}', "application/json", 422, "`images`"),
            (b'{"images": ["%%%"]}', "application/json", 422, "not base64"),
            (b'{"images": ["\xc3\xa9"]}', "application/json", 422, "not base64"),
            (b'{"images": [1]}', "application/json", 422, "`images.0`"),
            (b'{"images": [""], "top": 1}', "application/json", 422, "`top`"),
            (b"[" * 100_000, "application/json", 422, "expected"),
            (b'{"images": [' + b"1," * 600 + b"1]}", "application/json", 413, "at most 256 images"),
            (
                b'--b\r\nContent-Disposition: form-data; name="i"; filename="i"\r\n\r\nx\r\n--b--\r\n',
                "multipart/form-data; boundary=b; charset=undefined",
                400,
                "form",
            ),
            (
                b'--b\r\nContent-Disposition: form-data; name="i"; filename="\\ud800"\r\n\r\nx\r\n' * 2 + b"--b--\r\n",
                "multipart/form-data; boundary=b; charset=unicode_escape",
                422,
                "\\ud800",
            ),
            (b"x", "multipart/form-data", 400, "boundary"),
            (b"x", "multipart/form-data; boundary=b", 400, "form"),
            (b"--b--\r\n", "multipart/form-data; boundary=b", 400, "no image"),
            (b"--b\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b", 400, "form"),
            (
                b'--b\r\nContent-Disposition: form-data; name="i"; filename="i.png"\r\n\r\nabc',
                "multipart/form-data; boundary=b",
                400,
                "cut off",
            ),
            (
                b'--b\r\nContent-Disposition: form-data; name="i"\r\n\r\nabc\r\n--b--\r\n',
                "multipart/form-data; boundary=b",
                400,
                "`i` is not one",
            ),
        ],
    )
    def test_broken_bodies(
        self, client: httpx.Client, content: bytes, content_type: str, status: int, message: str
    ) -> None:
        found = refusal(client.post("/predict", content=content, headers={"Content-Type": content_type}))
        assert found[0] == status
        assert message in found[1]

    def test_messages_quote_little_of_what_was_sent(self, client: httpx.Client) -> None:
        content = b'{"images": ["aaaa"], "' + b"k" * 1_000_000 + b'": 1}'
        headers = {"Content-Type": "application/json"}
        assert len(refusal(client.post("/predict", content=content, headers=headers))[1]) < 300

    def test_too_many_images(self, client: httpx.Client, digits: np.ndarray) -> None:
        good = file_of(digits[0])
        many = [("images", ("a.png", good))] * 257
        assert refusal(client.post("/predict", files=many))[0] == 413
        assert len(rows_of(client.post("/predict", files=many[:256]))) == 256
        texts = [base64.b64encode(good).decode()] * 257
        assert refusal(client.post("/predict", json={"images": texts}))[0] in (413, 422)
        status, message = refusal(client.post("/explain", files=many[:2]))
        assert (status, message) == (413, "expected one image in a request, got 2")

    @pytest.mark.parametrize("content_type", ["image/png", "application/json", "multipart/form-data; boundary=b"])
    def test_bodies_without_an_end_are_not_kept(self, client: httpx.Client, content_type: str) -> None:
        part = b'--b\r\nContent-Disposition: form-data; name="i"; filename="i"\r\n\r\n' + bytes((1 << 20) - 70)

        def body() -> Iterator[bytes]:
            for _ in range(80):
                yield part

        status, message = refusal(client.post("/predict", content=body(), headers={"Content-Type": content_type}))
        assert status == 413
        assert "larger than" in message

    def test_unknown_names_and_numbers(self, client: httpx.Client, digits: np.ndarray) -> None:
        good = file_of(digits[0])
        assert "there is `digits`, `copy`, `bare`" in refusal(client.post("/predict?run=other", content=good))[1]
        assert refusal(client.post("/explain?class=ten", content=good))[0] == 404
        assert "`top`" in refusal(client.post("/predict?top=0", content=good))[1]
        assert refusal(client.post("/nowhere"))[0] == 404
        assert refusal(client.get("/predict"))[0] == 405

    def test_when_too_much_waits(self, app: Any, client: httpx.Client, digits: np.ndarray) -> None:
        load = app.state.service.load
        usual = load.most_images
        try:
            load.most_images = 1
            files = [("images", ("a.png", file_of(digits[0])))] * 2
            answer = client.post("/predict", files=files)
            assert refusal(answer)[0] == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert client.post("/predict", files=files[:1]).status_code == 200
        finally:
            load.most_images = usual

    def test_nothing_is_held_afterwards(self, app: Any, client: httpx.Client, digits: np.ndarray) -> None:
        client.post("/predict", content=b"broken")
        rows_of(client.post("/predict", content=file_of(digits[0])))
        load = app.state.service.load
        assert (load.bytes, load.images) == (0, 0)


#: Trains without oneDNN, and then looks into the network in every way.
XLA_ONLY = """
import sys
from pathlib import Path

from fastapi.testclient import TestClient

from cnnkit import serve
from cnnkit.config.load import load_config
from cnnkit.inside import show
from cnnkit.terminal.console import Console
from cnnkit.training.train import train

folder = Path(sys.argv[1])
trained = train(load_config(str(folder / "net.yaml")), Console(), str(folder / "run"))
show.features(trained, "0", folder / "features.png")
trained.task.draw_gradcam(trained, "0", [], folder / "gradcam.png", None)
show.patches(trained, "2.Conv2D", folder / "patches.png")
with TestClient(serve.create_app([trained]), base_url="http://127.0.0.1") as client:
    image = {"content": client.get("/examples/0.png").content, "headers": {"Content-Type": "image/png"}}
    predicted, explained = client.post("/predict", **image), client.post("/explain", **image)
    assert (predicted.status_code, explained.status_code) == (200, 200), (predicted.text, explained.text)
    for name, probability in predicted.json()["predictions"][0]["probabilities"].items():
        assert abs(explained.json()["probabilities"][name] - probability) < 1e-5
    assert explained.json()["gradcam"]["layer"] == "2.Conv2D"
"""


@pytest.mark.long
def test_a_network_that_only_xla_can_compute_is_explained(tmp_path: Path) -> None:
    """In a process of its own, because oneDNN, which knows channels_first, is on in this one."""
    (tmp_path / "net.yaml").write_text(
        """
data: {name: digits}
model:
  layers:
    - Permute: [3, 1, 2]
    - Conv2D: {filters: 8, kernel_size: 3, data_format: channels_first, activation: relu}
    - Conv2D: {filters: 8, kernel_size: 3, data_format: channels_first, activation: relu}
    - Flatten
    - Dense: {units: classes, activation: softmax}
training: {epochs: 1, onednn: "off", tensorboard: false}
"""
    )
    done = subprocess.run([sys.executable, "-c", XLA_ONLY, str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


class TestExplain:
    def test_the_layers_outputs(self, client: httpx.Client, digits: np.ndarray, model: Any) -> None:
        import keras

        image = digits[12]
        answer = client.post("/explain", content=file_of(image), headers=PNG).json()
        np.testing.assert_array_equal(picture_of(answer["image"])[..., 0], image[..., 0])
        outputs, maps = keras.Model(model.inputs[0], [model.outputs[0], model.get_layer("5.ReLU").output])(image[None])
        assert answer["probabilities"] == pytest.approx(
            {str(digit): float(p) for digit, p in enumerate(np.asarray(outputs)[0])}, rel=1e-4, abs=1e-6
        )
        stage = answer["stages"][1]
        assert (stage["name"], stage["rows"], stage["columns"], stage["channels"]) == ("5.ReLU", 8, 8, 64)
        maps = np.asarray(maps)[0]
        means = maps.mean(axis=(0, 1))
        assert len(stage["shown"]) == 32
        assert means[stage["shown"]].min() >= np.sort(means)[-32] - 1e-6
        # The last of 8 x 4 maps, each 32 pixels high with 2 between them.
        sheet = picture_of(stage["sheet"])
        assert sheet.shape[:2] == (4 * 34 - 2, 8 * 34 - 2)
        last = maps[..., stage["shown"][-1]]
        expected = np.kron((last - last.min()) / np.ptp(last) * 255, np.ones((4, 4)))
        assert np.abs(sheet[-32:, -32:, 0] - expected).max() <= 1
        assert (sheet[32:34, :, 3] == 0).all()

    def test_gradcam_for_the_predicted_and_for_a_named_class(
        self, client: httpx.Client, digits: np.ndarray, model: Any
    ) -> None:
        import tensorflow as tf

        file = file_of(digits[12])
        predicted = client.post("/explain", content=file).json()
        assert predicted["gradcam"]["class"] == predicted["class"]
        named = client.post("/explain?class=7", content=file).json()
        assert (named["class"], named["gradcam"]["class"]) == (predicted["class"], "7")
        assert named["gradcam"]["overlay"] != predicted["gradcam"]["overlay"]
        # The map by hand: the last convolution's channels, weighted by the mean gradient of the class's logit.
        layers = model.layers
        place = [layer.name for layer in layers].index("5.ReLU")
        with tf.GradientTape() as tape:
            features: Any = tf.constant(digits[12:13], tf.float32)
            for layer in layers[: place + 1]:
                features = layer(features, training=False)
            tape.watch(features)
            later = features
            for layer in layers[place + 1 : -1]:
                later = layer(later, training=False)
            score = (later @ layers[-1].kernel + layers[-1].bias)[0, 7]
        weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2))
        heat = tf.nn.relu(tf.reduce_sum(features * weights[:, None, None], axis=-1))[0].numpy()
        opacity = picture_of(named["gradcam"]["overlay"])[..., 3]
        assert opacity.shape == (224, 224)
        # Interpolation keeps block means about as they are.
        blocks = opacity.reshape(8, 28, 8, 28).mean(axis=(1, 3))
        assert np.corrcoef(blocks.ravel(), heat.ravel())[0, 1] > 0.9


class TestSecurity:
    def test_headers(self, client: httpx.Client) -> None:
        for path in ("/", "/healthz", "/nowhere", "/static/app.js"):
            headers = client.get(path).headers
            assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert "access-control-allow-origin" not in headers

    def test_only_its_own_names_and_pages(self, client: httpx.Client, digits: np.ndarray) -> None:
        file = file_of(digits[0])
        own = str(client.base_url).rstrip("/")
        port = own.rpartition(":")[2]
        assert client.get("/", headers={"Host": f"evil.example:{port}"}).status_code == 403
        for host in (f"localhost:{port}", f"[::1]:{port}"):
            assert client.get("/", headers={"Host": host}).status_code == 200
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
            assert refusal(client.post("/predict", content=file, headers={"Origin": origin}))[0] == 403
        assert client.post("/predict", content=file, headers={"Origin": own}).status_code == 200

    def test_names_are_its_own_wherever_it_listens(self, digits_run: Run) -> None:
        app = serve.create_app([open_run(digits_run)], "0.0.0.0", ["cnn.example"])
        with served(app) as address:
            for host in ("192.0.2.7:8000", "localhost", socket.gethostname(), "CNN.example:443"):
                assert httpx.get(f"{address}/healthz", headers={"Host": host}).status_code == 200, host
            status, message = refusal(httpx.get(f"{address}/healthz", headers={"Host": "evil.example"}))
        assert status == 403
        assert "`evil.example`" in message
        assert "--allow-host" in message

    def test_nothing_more_is_decoded_for_a_client_that_has_gone(
        self, app: Any, client: httpx.Client, digits: np.ndarray, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from cnnkit.serve import decoding

        decoded: list[float] = []
        read_for = decoding.read_for

        def slow(*args: Any, **options: Any) -> Any:
            decoded.append(time.monotonic())
            time.sleep(0.02)
            return read_for(*args, **options)

        monkeypatch.setattr(decoding, "read_for", slow)
        request = client.build_request("POST", "/predict", files=[("images", ("a.png", file_of(digits[0])))] * 200)
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        with socket.create_connection((client.base_url.host, client.base_url.port or 0)) as leaving:
            leaving.sendall(f"POST /predict HTTP/1.1\r\n{head}\r\n".encode() + request.read())
            while not decoded:
                time.sleep(0.01)
        gone = time.monotonic()
        load = app.state.service.load
        while load.images:
            assert time.monotonic() < gone + 3
            time.sleep(0.01)
        time.sleep(0.1)
        assert max(decoded) < gone + 1
        assert len(decoded) < 100


class TestStarting:
    def test_a_taken_port(self, digits_run: Run) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with pytest.raises(UsageError, match=f"port {port} of 127.0.0.1 is taken"):
                serve.serve([open_run(digits_run)], port=port)

    def test_an_address_of_another_machine(self, digits_run: Run) -> None:
        with pytest.raises(UsageError, match=r"192\.0\.2\.1"):
            serve.serve([open_run(digits_run)], host="192.0.2.1", port=0)

    def test_wrong_runs(self, digits_run: Run, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="at least one"):
            serve.create_app([])
        with pytest.raises(UsageError, match="comes twice"):
            serve.create_app([open_run(digits_run), open_run(Run(digits_run.path / "."))])
        with pytest.raises(CnnkitError, match="has no model"):
            serve.create_app([open_run(Run(tmp_path))])

    def test_a_threshold_for_what_has_no_objects(self, digits_run: Run) -> None:
        with pytest.raises(UsageError, match="a threshold is for objects"):
            serve.create_app([open_run(digits_run)], threshold=0.5)

    @pytest.mark.parametrize("package", PACKAGES)
    def test_without_the_extra(self, digits_run: Run, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(CnnkitError) as failure:
            serve.create_app([open_run(digits_run)])
        assert package in failure.value.message
        assert failure.value.hint == 'pip install "cnnkit[serve]"'

    @pytest.mark.long
    def test_it_prints_its_address_and_ends_with_ctrl_c(self, digits_run: Run) -> None:
        code = (
            "import sys; from cnnkit.runs.opening import open_predictor\n"
            "from cnnkit.serve import serve\n"
            "serve([open_predictor(sys.argv[1], 'serve')], port=0)"
        )
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(digits_run.path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        with process:
            try:
                assert process.stdout is not None
                found = re.match(r"serving (http://127\.0\.0\.1:\d+/)", process.stdout.readline())
                assert found
                address = found[1]
                assert httpx.get(f"{address}healthz").json()["status"] == "ok"
                # A client that has only begun to send does not keep it.
                with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2].strip("/")))) as slow:
                    slow.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc")
                    time.sleep(0.2)
                    process.send_signal(signal.SIGINT)
                    output, errors = process.communicate(timeout=30)
            finally:
                process.kill()
        assert (process.returncode, errors) == (0, "")
        assert output == ""
