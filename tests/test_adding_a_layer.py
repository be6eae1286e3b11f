"""docs/adding_a_layer.md, carried out on a copy of the package."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from broken import edited

pytestmark = pytest.mark.long

ROOT = Path(__file__).parent.parent

OPEN = """
import runpy, sys
import keras, numpy
model = keras.saving.load_model(sys.argv[1], safe_mode=True)
layer = next(layer for layer in model.layers if "SquaredReLU" in layer.name)
numpy.save(sys.argv[2], numpy.asarray(layer(numpy.linspace(-1, 1, 6 * 6 * 16).reshape(1, 6, 6, 16).astype("float32"))))
script = runpy.run_path(sys.argv[3])["build_model"]([0.0], [1.0])
script.set_weights(model.get_weights()[-len(script.get_weights()):])
images = numpy.arange(64.0).reshape(1, 8, 8, 1) / 64
plain = keras.Sequential(model.layers[1:])
numpy.testing.assert_allclose(script(images), plain(images), rtol=1e-5)
assert not any(name.split(".")[0] == "cnnkit" for name in sys.modules)
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with cnnkit as the page makes it, and the page's config."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(ROOT / "cnnkit", folder / "cnnkit", ignore=shutil.ignore_patterns("__pycache__"))
    page = (ROOT / "docs" / "adding_a_layer.md").read_text(encoding="utf-8")
    module, line = re.findall(r"```python\n(.*?)```", page, re.S)
    (config,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    (folder / "cnnkit" / "layers" / "squared_relu.py").write_text(module)
    table = folder / "cnnkit" / "layers" / "__init__.py"
    text = table.read_text()
    place = "    modules={\n"
    assert text.count(place) == 1
    table.write_text(text.replace(place, place + line))
    (folder / "net.yaml").write_text(config)
    return folder


def run(package: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=package,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


CNNKIT = ("-c", "from cnnkit.cli import main; main()")


def test_inspect_knows_the_layer(package: Path) -> None:
    report = json.loads(run(package, *CNNKIT, "inspect", "net.yaml", "--json"))
    row = report["layers"][1]
    assert (row["type"], row["output_shape"], row["parameters"]) == ("SquaredReLU", [6, 6, 16], 0)


def test_the_schema_and_messages_know_it(package: Path) -> None:
    assert "SquaredReLU" in run(package, *CNNKIT, "schema")
    text = (package / "net.yaml").read_text()
    (package / "typo.yaml").write_text(edited(("SquaredReLU", "SquaredRelu: {treshold: 1}"), text=text))
    with pytest.raises(AssertionError, match="did you mean `SquaredReLU`"):
        run(package, *CNNKIT, "inspect", "typo.yaml")


def test_a_network_with_it_trains_and_opens_and_is_written_without_cnnkit(package: Path) -> None:
    run(package, *CNNKIT, "train", "net.yaml", "--run-dir", "run")
    assert json.loads((package / "run" / "evaluation.json").read_text())["accuracy"] > 0.7
    run(package, *CNNKIT, "eject", "net.yaml")
    run(package, "-c", OPEN, "run/model.keras", "out.npy", "net.py")
    images = np.linspace(-1, 1, 6 * 6 * 16, dtype=np.float32).reshape(1, 6, 6, 16)
    np.testing.assert_allclose(np.load(package / "out.npy"), np.maximum(images, 0) ** 2, rtol=1e-6)
