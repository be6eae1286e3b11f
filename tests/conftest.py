"""Fixtures that tests of several rooms share."""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from sharing import shared_run

from cnnkit.machine import tensorflow as runtime
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run

CONFIGS = Path(__file__).parent.parent / "configs"

# Whichever test loads TensorFlow first, and however: it runs as cnnkit runs it.
runtime.set_environment()

# A shell gives what it runs in the background no Ctrl-C, and the processes that tests interrupt would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine draws and tries its examples slowly, and no test says how fast.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Modules and thousands of tests, all of which stay: looking for garbage among them is a quarter of collecting."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


#: Files that take long, and would come last.
BEGUN_FIRST = ("test_workers.py", "test_stages.py", "test_backbone_runs.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs a browser, which not everyone has, is for the second stage; long files come first.

    No process is to wait in the end for the other, which has begun with a long file.
    """
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.long)
    items.sort(key=lambda item: item.path.name not in BEGUN_FIRST)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder that ends with the session; child processes inherit it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CNNKIT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        patch.delenv("CNNKIT_CACHE_BYTES", raising=False)
        yield


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run of configs/digits.yaml, shortened, that has been evaluated; tests only read it."""

    def made(folder: Path) -> Run:
        from cnnkit.config.load import load_config
        from cnnkit.runs.evaluation import evaluate_run
        from cnnkit.terminal.console import Console
        from cnnkit.training.train import train

        loaded = load_config(str(CONFIGS / "digits.yaml"), ["training.epochs=5"])
        run = train(loaded, Console(), str(folder / "digits")).run
        evaluate_run(open_run(run))
        return run

    yield from shared_run(tmp_path_factory, "digits", made)


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run of trainings.config(), with everything random switched on, not evaluated; tests only read it."""
    from trainings import config, run_training

    yield from shared_run(tmp_path_factory, "small", lambda folder: run_training(folder, config(), "run"))


@pytest.fixture(scope="session")
def maker_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """A run of small_adversaries.config() that can be asked for classes, not evaluated; tests only read it."""
    from small_adversaries import config
    from trainings import run_training

    content = config(conditional=True)
    yield from shared_run(tmp_path_factory, "maker", lambda folder: run_training(folder, content, "maker"))


@pytest.fixture(scope="session")
def resumed_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The run of report_runs.train_and_resume, which has been evaluated; tests only read it."""
    from report_runs import train_and_resume

    yield from shared_run(tmp_path_factory, "resumed", train_and_resume)


@pytest.fixture
def freed_networks() -> Iterator[None]:
    """For tests of large networks: what they have made does not stand in memory beside what the next ones make.

    A network and its optimizer refer to each other in circles, which Python looks for only now and then.
    """
    yield
    gc.collect()


@pytest.fixture
def tfds_data() -> Path:
    """The folder of prepared TFDS data; skips the test where there is none."""
    folder = os.environ.get("TFDS_DATA_DIR")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs real data: set TFDS_DATA_DIR to a folder with prepared mnist and cifar10")
    return Path(folder)


@pytest.fixture(scope="session")
def made_sets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of prepared TFDS data sets: images of different sizes and of one, unlabelled tests, tests alone."""
    from made_sets import examples, store

    folder = tmp_path_factory.mktemp("made")
    store(folder, "varied", {"train": examples(40, 0), "validation": examples(8, 1)})
    store(folder, "blind", {"train": examples(40, 2), "test": examples(6, 3, label=-1)})
    store(folder, "fixed", {"train": examples(30, 4, (6, 6)), "test": examples(10, 5, (6, 6))}, (6, 6, 3))
    store(folder, "untrained", {"test": examples(10, 6, (6, 6))}, (6, 6, 3))
    store(folder, "plain", {"train": examples(20, 7, (6, 6))}, (6, 6, 3), supervised=False)
    return folder
