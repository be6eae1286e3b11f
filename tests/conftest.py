"""Fixtures that tests of several rooms share."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnkit import runtime
from cnnkit.rundir import Run

CONFIGS = Path(__file__).parent.parent / "configs"

# Whichever test loads TensorFlow first, and however: it runs as cnnkit runs it.
runtime.set_environment()


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder that ends with the session; child processes inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNNKIT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("CNNKIT_CACHE_BYTES", raising=False)
        yield


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run of configs/digits.yaml, shortened, that has been evaluated; tests must not change it."""
    from cnnkit.config.load import load_config
    from cnnkit.console import Console
    from cnnkit.score import evaluate_run
    from cnnkit.train import train

    loaded = load_config(str(CONFIGS / "digits.yaml"), ["training.epochs=5"])
    run = train(loaded, Console(), str(tmp_path_factory.mktemp("runs") / "digits"))
    evaluate_run(run)
    return run


@pytest.fixture
def tfds_data() -> Path:
    """The folder of prepared TFDS data; skips the test where there is none."""
    folder = os.environ.get("TFDS_DATA_DIR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real data: set TFDS_DATA_DIR to a folder with prepared mnist and cifar10")
    return Path(folder)


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A trained and evaluated run of configs/digits.yaml; tests may add pictures to it, and nothing else."""
    from cnnkit.config.load import load_config
    from cnnkit.console import Console
    from cnnkit.score import evaluate_run
    from cnnkit.train import train

    folder = tmp_path_factory.mktemp("digits")
    loaded = load_config(str(CONFIGS / "digits.yaml"), ["training.epochs=4"])
    run = train(loaded, Console(), str(folder / "digits-1"))
    evaluate_run(run)
    return run
