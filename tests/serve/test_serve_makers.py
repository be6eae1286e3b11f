"""The server of runs whose networks make images, as its clients see it, over a real socket."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import httpx
import keras
import numpy as np
import pytest
from PIL import Image
from serving import served

from cnnkit import serve
from cnnkit.errors import UsageError
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run
from cnnkit.tasks.generation.sampling import latents


@pytest.fixture(scope="module")
def app(maker_run: Run, digits_run: Run) -> Any:
    return serve.create_app([open_run(maker_run), open_run(digits_run)])


@pytest.fixture(scope="module")
def client(app: Any) -> Iterator[httpx.Client]:
    with served(app) as address, httpx.Client(base_url=address, timeout=60) as made:
        yield made


def made(client: httpx.Client, **wanted: Any) -> np.ndarray:
    """The image that is made, [height, width]."""
    answer = client.post("/make", json=wanted)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(answer.content)) as opened:
        return np.asarray(opened)


def refusal(answer: httpx.Response) -> tuple[int, str]:
    assert set(answer.json()) == {"error"}
    return answer.status_code, answer.json()["error"]


def test_it_tells_what_can_be_asked_for(client: httpx.Client) -> None:
    assert client.get("/healthz").json()["runs"] == ["maker", "digits"]
    listed = client.get("/runs").json()
    assert [run["name"] for run in listed["runs"]] == ["digits"]
    (maker,) = listed["makers"]
    assert maker["class_names"] == [str(digit) for digit in range(10)]
    assert (maker["name"], maker["image_shape"], maker["latent"], maker["directions"]) == ("maker", [8, 8, 1], 8, 8)
    body = client.get("/openapi.json").json()["paths"]["/make"]["post"]["requestBody"]["content"]
    assert set(body["application/json"]["schema"]["properties"]) == {"seed", "class", "amounts"}


def test_an_image_is_made_of_a_moved_vector(app: Any, client: httpx.Client, maker_run: Run) -> None:
    """Against the network alone, in plain Keras."""
    directions = app.state.service.find_maker(None).directions
    network = keras.saving.load_model(maker_run.model)
    for seed, name, amounts in ((0, None, []), (5, "7", []), (5, "7", [2.5, 0, -1])):
        vector = latents(seed, 1, 8)[0] + np.asarray(amounts) @ directions[: len(amounts)]
        one_hot = np.eye(10)[0 if name is None else int(name)]
        expected = np.asarray(network(np.concatenate([vector, one_hot])[None]))[0, ..., 0]
        found = made(client, **{"seed": seed, "class": name, "amounts": amounts})
        np.testing.assert_allclose(found, expected, atol=0.51)
    assert (made(client, seed=5) != made(client, seed=6)).any()


def test_what_is_refused(client: httpx.Client) -> None:
    for wanted, status, said in (
        ({"class": "ten"}, 404, "knows no class `ten`"),
        ({"amounts": [0] * 9}, 422, "`maker` has 8 directions, but there are 9 amounts"),
        ({"amounts": [11]}, 422, "less than or equal to 10"),
        ({"amounts": ["much"]}, 422, "at `amounts.0`"),
        ({"seed": -1}, 422, "at `seed`"),
        ({"sed": 1}, 422, "at `sed`"),
    ):
        answer = refusal(client.post("/make", json=wanted))
        assert answer[0] == status
        assert said in answer[1]
    assert refusal(client.post("/make", content=b'{"amounts": [NaN]}', headers=JSON))[0] == 422
    assert refusal(client.post("/make", content=b"{", headers=JSON))[0] == 422
    assert refusal(client.post("/make", content=b"{}"))[0] == 415
    status, message = refusal(client.post("/make", content=b" " * (1 << 17), headers=JSON))
    assert (status, message) == (413, "the request is larger than 64 KB, which is the most that is accepted")
    origin = {"Origin": "http://evil.example"}
    assert refusal(client.post("/make", json={}, headers=origin))[0] == 403


JSON = {"Content-Type": "application/json"}


def test_each_network_is_asked_what_it_can_answer(client: httpx.Client) -> None:
    status, message = refusal(client.post("/make?run=digits", json={}))
    assert (status, message) == (422, "`digits` makes no images, it takes them: POST /predict")
    status, message = refusal(client.post("/predict?run=maker", content=b""))
    assert (status, message) == (422, "`maker` takes no images, it makes them: POST /make")
    assert "there is `maker`, `digits`" in refusal(client.post("/make?run=other", json={}))[1]
    # Without a name, the first that can.
    example = client.get("/examples/0.png").content
    assert client.post("/predict", content=example).json()["run"] == "digits"


def test_nothing_is_held_afterwards(app: Any, client: httpx.Client) -> None:
    made(client, seed=1)
    client.post("/make", json={"seed": -1})
    load = app.state.service.load
    assert (load.bytes, load.images) == (0, 0)


def test_a_server_of_makers_alone(maker_run: Run) -> None:
    with pytest.raises(UsageError, match="`maker` makes images"):
        serve.create_app([open_run(maker_run)], threshold=0.5)
    with served(serve.create_app([open_run(maker_run)])) as address:
        assert httpx.get(f"{address}/examples").json()["note"] == "The networks here take no images."
        assert refusal(httpx.post(f"{address}/predict", content=b"x"))[0] == 422
