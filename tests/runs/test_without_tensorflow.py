"""An exported network where TensorFlow is not installed: an interpreter of its own with the packages that it takes."""

from __future__ import annotations

import importlib.metadata
import json
import os
import re
import resource
import subprocess
import sys
import venv
from collections.abc import Iterable
from pathlib import Path

import httpx
import numpy as np
import pytest
from onnx_files import NAMES, SHAPE, outputs_of, write_network
from packaging.requirements import Requirement
from PIL import Image

PACKAGE = Path(__file__).parents[2] / "cnnkit"
README = PACKAGE.with_name("README.md")

#: What the README names for a machine that only uses exported networks, and for `serve` besides.
NEEDED = [
    name
    for line in re.findall(r"pip install (?!-)([a-z -]+)$", README.read_text("utf-8"), re.MULTILINE)
    for name in line.split()
]


def with_all_they_need(names: Iterable[str]) -> set[importlib.metadata.Distribution]:
    """The packages of some names as they are installed here, and those that they require."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop().lower().replace("_", "-")
        if name in found:
            continue
        found[name] = importlib.metadata.distribution(name)
        requirements = map(Requirement, found[name].requires or ())
        waiting += [one.name for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]
    return set(found.values())


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An interpreter that finds cnnkit and what an exported network needs, and nothing else that is installed here."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    for distribution in with_all_they_need(NEEDED):
        tops = {file.parts[0] for file in distribution.files or () if file.parts[0] not in ("..", "__pycache__")}
        for top in tops:
            if not (site / top).exists():
                (site / top).symlink_to(str(distribution.locate_file(top)))
    (site / "cnnkit").symlink_to(PACKAGE)
    return folder / "bin" / "python"


def run(python: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, "-m", *arguments], capture_output=True, text=True, cwd=folder, timeout=120, env=clean()
    )


def clean() -> dict[str, str]:
    """This process's environment, without what leads to other packages."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_network(tmp_path / "model.onnx")
    image = np.random.default_rng(2).integers(0, 256, SHAPE).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    return tmp_path


def expected_of(folder: Path) -> np.ndarray:
    return outputs_of(np.asarray(Image.open(folder / "image.png"))[None])[0]


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="needs links to folders")
class TestWithoutTensorFlow:
    def test_the_readme_names_what_is_needed(self) -> None:
        assert {"numpy", "onnxruntime", "fastapi"} <= set(NEEDED)
        assert "tensorflow" not in NEEDED

    def test_predict(self, python: Path, folder: Path) -> None:
        missing = run(python, folder, "tensorflow")
        assert "No module named tensorflow" in missing.stderr
        done = run(python, folder, "cnnkit", "predict", "model.onnx", "image.png", "--json")
        assert (done.returncode, done.stderr) == (0, "")
        (entry,) = json.loads(done.stdout)
        assert list(entry["probabilities"].values()) == pytest.approx(list(expected_of(folder)), rel=1e-5)

    def test_predict_takes_at_most_two_seconds_of_a_core(self, python: Path, folder: Path) -> None:
        run(python, folder, "cnnkit", "predict", "model.onnx", "image.png")
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = run(python, folder, "cnnkit", "predict", "model.onnx", "image.png")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0
        # Half a second on a machine that does nothing else.
        assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2

    def test_a_mistake_is_reported_as_ever(self, python: Path, folder: Path) -> None:
        done = run(python, folder, "cnnkit", "predict", "missing.onnx", "image.png")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("cnnkit: there is no file `missing.onnx`")

    def test_serve(self, python: Path, folder: Path) -> None:
        process = subprocess.Popen(
            [python, "-m", "cnnkit", "serve", "model.onnx", "--port", "0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=clean(),
        )
        with process:
            try:
                assert process.stdout is not None
                _, address, *_ = process.stdout.readline().split()
                content = (folder / "image.png").read_bytes()
                answer = httpx.post(f"{address}explain", content=content, headers={"Content-Type": "image/png"})
                assert answer.json()["class"] == NAMES[int(expected_of(folder).argmax())]
                assert "Grad-CAM" in httpx.get(f"{address}runs").json()["runs"][0]["note"]
            finally:
                process.terminate()
