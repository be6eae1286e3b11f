"""`data.resize` and the limit of pixels: training, evaluation, prediction, pictures and the server read files alike."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cnnkit.cli import cli
from cnnkit.config.data import DataConfig
from cnnkit.data import labelled_folder, load, read_image
from cnnkit.errors import CnnkitError
from cnnkit.images.formats import RESIZINGS, CorruptImage
from cnnkit.inside.show import read_input
from cnnkit.runs.directory import Run
from cnnkit.runs.evaluation import EvaluationOptions, labelled_images
from cnnkit.runs.interface import Interface
from cnnkit.runs.predicting import predict_images
from cnnkit.runs.trained import open_run
from cnnkit.serve.decoding import MOST_MEGAPIXELS, decode
from cnnkit.serve.refusals import Refused
from cnnkit.serve.uploads import Upload

SIZE = (12, 12)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of five images of 40x80 pixels."""
    random = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / "d" / name).mkdir(parents=True)
        for number in range(5):
            Image.fromarray(random.integers(0, 256, (40, 80, 3), np.uint8)).save(tmp_path / f"d/{name}/{number}.png")
    return tmp_path / "d"


def made_run(folder: Path, **data: Any) -> Run:
    """A run as far as reading images needs it."""
    run = Run(folder)
    folder.mkdir()
    found = {"image_shape": [*SIZE, 3], "class_names": ["a", "b"], **data}
    run.environment.write_text(json.dumps({"data": found, "model": {"head": "softmax"}}))
    images = f"{{name: made_up, shape: {[*SIZE, 3]}, classes: 2}}"
    run.config.write_text(
        f"data: {images}\nmodel: {{layers: [Flatten, {{Dense: classes}}]}}\ntraining: {{epochs: 1}}\n"
    )
    return run


def first_of_training(folder: Path, run: Run) -> Any:
    config = {"folder": str(folder), "image_size": SIZE, "validation": 0, "resize": open_run(run).interface.resize}
    data = load(DataConfig.model_validate(config), 0, splits=("test",))
    assert data.test is not None
    (place,) = np.flatnonzero([name.startswith("a/") for name in data.test.ids])
    return data.test.read([int(place)])[0], folder / data.test.ids[place]


def of_predict(file: Path, run: Run) -> Any:
    seen: list[Any] = []

    def network(images: Any) -> Any:
        seen.append(images)
        return np.ones((len(images), 2))

    trained = open_run(run)
    answers = trained.task.answers(trained.interface)
    (found,) = predict_images(network, [file], interface=trained.interface, answers=answers, batch_size=1)
    if found.error:
        raise CnnkitError(found.error)
    return seen[0][0]


def of_eval_data(file: Path, run: Run) -> Any:
    split = labelled_images(open_run(run), EvaluationOptions(folder=str(file.parents[1])))
    return split.read([list(split.ids).index(f"{file.parent.name}/{file.name}")])[0]


def of_serve(file: Path, run: Run) -> Any:
    with ThreadPoolExecutor(1) as threads:
        task = open_run(run).interface
        uploads = [Upload("", file.read_bytes())]
        return asyncio.run(decode(uploads, task, task.max_megapixels, threads))[0]


CONSUMERS: list[Callable[[Path, Run], Any]] = [
    of_predict,
    of_eval_data,
    of_serve,
    lambda file, run: read_input(open_run(run), str(file))[0],
]


@pytest.mark.parametrize("resize", RESIZINGS)
def test_a_file_is_read_as_in_training(folder: Path, tmp_path: Path, resize: str) -> None:
    run = made_run(tmp_path / "run", resize=resize)
    trained, file = first_of_training(folder, run)
    np.testing.assert_array_equal(trained, read_image(file, SIZE, 3, resize=resize))
    others = [read_image(file, SIZE, 3, resize=other) for other in RESIZINGS if other != resize]
    assert not any(np.array_equal(trained, other) for other in others)
    for consumer in CONSUMERS:
        np.testing.assert_array_equal(consumer(file, run), trained)


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_the_limit_of_a_run_is_that_of_its_images(folder: Path, tmp_path: Path, consumer: Any) -> None:
    run = made_run(tmp_path / "run", max_megapixels=0.003)
    with pytest.raises((CnnkitError, Refused), match=r"3,200 pixels; at most 3,000 are accepted"):
        consumer(folder / "a" / "0.png", run)


def test_the_cache_keeps_ways_of_resizing_apart(folder: Path) -> None:
    config: dict[str, Any] = {"folder": str(folder), "image_size": SIZE, "validation": 0, "memory": "cache"}
    found = {}
    for resize in (*RESIZINGS, *RESIZINGS):
        data = load(DataConfig.model_validate(config | {"resize": resize}), 0, splits=("test",))
        assert data.test is not None
        expected = read_image(folder / data.test.ids[0], SIZE, 3, resize=resize)
        np.testing.assert_array_equal(data.test.read([0])[0], expected)
        found[resize] = expected
    assert len({image.tobytes() for image in found.values()}) == 3


def test_the_limit_of_the_server_is_in_its_help() -> None:
    text = CliRunner().invoke(cli, ["serve", "--help"]).output
    assert f"by default {MOST_MEGAPIXELS}." in " ".join(text.split())


def test_a_run_of_an_earlier_version_stretches(tmp_path: Path) -> None:
    assert open_run(made_run(tmp_path / "run")).interface.resize == "stretch"
    with pytest.raises(CnnkitError, match="does not say"):
        _ = open_run(made_run(tmp_path / "other", resize="fit")).interface


def test_the_limit_can_be_raised_for_another_folder(folder: Path, tmp_path: Path) -> None:
    task = Interface((*SIZE, 3), ("a", "b"), "softmax", max_megapixels=0.003)
    arguments: dict[str, Any] = {"class_names": task.class_names, "shape": task.image_shape}
    with pytest.raises(CorruptImage, match="3,200 pixels") as caught:
        labelled_folder(folder, most_megapixels=0.003, **arguments)
    assert "with `--max-megapixels`" in str(caught.value)
    assert labelled_folder(folder, most_megapixels=0.0032, **arguments).size == 10


def test_of_a_config_the_limit_is_named(folder: Path) -> None:
    config = {"folder": str(folder), "validation": 0, "max_megapixels": 0.0032}
    assert load(DataConfig.model_validate(config), 0).train is not None
    with pytest.raises(
        CnnkitError,
        match=r"3,200 pixels; at most 3,000 are accepted[^$]*limit of 0.003 megapixels with `data.max_megapixels`",
    ):
        load(DataConfig.model_validate(config | {"max_megapixels": 0.003}), 0)


def test_resize_needs_a_size(folder: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text(f"data: {{folder: {folder}, resize: crop}}\nmodel: {{layers: [Flatten, {{Dense: classes}}]}}\n")
    found = CliRunner().invoke(cli, ["inspect", str(config)])
    assert found.exit_code != 0
    assert "add `image_size: [height, width]`" in str(found.exception)
