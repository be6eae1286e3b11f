"""docs/adding_a_layer.md, carried out on a copy of the package."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from broken import edited
from package_copies import CNNKIT, added_lines, copy_package, insert, run

pytestmark = pytest.mark.long

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
    (line,) = added_lines(copy_package(folder, "adding_a_layer.md"))
    insert(folder / "cnnkit" / "layers" / "__init__.py", "    modules={\n", line)
    return folder


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
