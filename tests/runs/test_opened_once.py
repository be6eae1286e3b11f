"""What a command looks at, and how often: folders, image files, environment.json, and the network's arithmetic."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damages import run_command
from PIL.ImageFile import ImageFile
from trainings import write

from cnnkit.layers import stack
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import open_run

SIZE = 8
CLASSES = ("checks", "dots", "lines", "plain")
IMAGES_PER_CLASS = 20

CONFIG: dict[str, Any] = {
    "data": {"folder": "photos", "batch_size": 16},
    "augmentation": [{"RandomFlip": "horizontal"}],
    "model": {
        "layers": [
            {"Conv2D": {"filters": 2, "kernel_size": 3}},
            {"Residual": {"layers": [{"Conv2D": {"filters": 2, "kernel_size": 3, "padding": "same"}}]}},
            "Flatten",
            {"Dense": {"units": "classes", "activation": "softmax"}},
        ]
    },
    "training": {"epochs": 1, "tensorboard": False},
}


@dataclass
class Looks:
    """What was looked at.

    Attributes:
        listed: How often each folder below the images' was listed; the images' own is `.`.
        opened: How often each image file was opened.
        decoded: How often the pixels of each were.
        noted: How often an environment.json was read.
        traces: How often the shapes of a whole network were computed.
    """

    listed: Counter[str] = field(default_factory=Counter)
    opened: Counter[str] = field(default_factory=Counter)
    decoded: Counter[str] = field(default_factory=Counter)
    noted: int = 0
    traces: int = 0

    @property
    def headers(self) -> Counter[str]:
        """How often each image file was opened for what its header says."""
        return self.opened - self.decoded


@contextlib.contextmanager
def looks(folder: Path) -> Iterator[Looks]:
    """Counts inside the block what is looked at of a folder of images, and of any run."""
    found = Looks()
    top = os.path.realpath(folder)
    depth = 0

    def inside(path: Any) -> str | None:
        if isinstance(path, int):
            return None
        place = os.path.realpath(path or ".")
        return os.path.relpath(place, top) if os.path.join(place, "").startswith(os.path.join(top, "")) else None

    def counted(function: Any, counter: Counter[str]) -> Any:
        def count(path: Any = ".", *arguments: Any, **options: Any) -> Any:
            place = inside(path)
            if place is not None:
                counter[place] += 1
            return function(path, *arguments, **options)

        return count

    def noted(run: Run, path: Path, *arguments: Any) -> Any:
        found.noted += path == run.environment
        return opened(run, path, *arguments)

    def decoded(image: ImageFile) -> Any:
        if image.tile and image.fp is not None:
            place = inside(os.readlink(f"/proc/self/fd/{image.fp.fileno()}"))
            found.decoded[place or ""] += 1
        return load(image)

    def traced(*arguments: Any) -> Any:
        nonlocal depth
        # Layers that hold others trace these.
        found.traces += depth == 0
        depth += 1
        try:
            return trace(*arguments)
        finally:
            depth -= 1

    opened, load, trace = Run.open, ImageFile.load, stack.trace
    with pytest.MonkeyPatch.context() as patch:
        for name in ("scandir", "listdir"):
            patch.setattr(os, name, counted(getattr(os, name), found.listed))
        patch.setattr(os, "open", counted(os.open, found.opened))
        patch.setattr(Run, "open", noted)
        patch.setattr(ImageFile, "load", decoded)
        for module in [module for name, module in sys.modules.items() if name.startswith("cnnkit.")]:
            if getattr(module, "trace", None) is trace:
                patch.setattr(module, "trace", traced)
        try:
            yield found
        finally:
            # Modules that were imported meanwhile have it, too.
            for module in [module for name, module in sys.modules.items() if name.startswith("cnnkit.")]:
                if getattr(module, "trace", None) is traced:
                    module.trace = trace  # type: ignore[attr-defined]


def make_images(folder: Path) -> None:
    """Images of four kinds of patterns, a folder for each; of a format that Pillow need not decode to find no EXIF."""
    from PIL import Image

    rows, columns = np.indices((SIZE, SIZE))
    patterns = (rows + columns) % 2, (rows % 4 + columns % 4 == 0), rows % 2, np.zeros((SIZE, SIZE))
    random = np.random.default_rng(0)
    for name, pattern in zip(CLASSES, patterns, strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(IMAGES_PER_CLASS):
            pixels = 200 * pattern + random.integers(0, 50, (SIZE, SIZE))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.bmp")


@dataclass(frozen=True)
class Trained:
    """A folder with images, a config, and a run of it.

    Attributes:
        looks: What the training looked at.
    """

    folder: Path
    run: Run
    looks: Looks


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """`cnnkit train` as a user types it, with its evaluation and its report."""
    folder = tmp_path_factory.mktemp("opened")
    make_images(folder / "photos")
    write(folder, CONFIG)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        with looks(folder / "photos") as found:
            done = run_command("train", "net.yaml", "--run-dir", "run")
    assert done.exit_code == 0, done.output
    return Trained(folder, Run(folder / "run"), found)


@pytest.fixture
def without_images(trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the run and one image of another place, and nowhere the images that it was trained on."""
    shutil.copytree(trained.run.path, tmp_path / "run")
    shutil.copy(trained.folder / "photos" / "dots" / "3.bmp", tmp_path / "image.bmp")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_training_looks_once_at_its_images_and_its_network(trained: Trained) -> None:
    """With the evaluation and the report at its end; pixels may be decoded again."""
    files = [f"{name}/{number}.bmp" for name in CLASSES for number in range(IMAGES_PER_CLASS)]
    assert trained.looks.headers == Counter(files)
    assert trained.looks.listed == Counter([".", *CLASSES])
    assert trained.looks.traces == 1
    assert trained.looks.noted == 1


@pytest.mark.long
def test_a_resumed_training_looks_once_at_its_images(trained: Trained, without_images: Path) -> None:
    """With `--set`, which makes another config of the run's."""
    # The run has noted where its images were.
    with looks(trained.folder / "photos") as found:
        done = run_command("train", "--resume", "run", "--set", "training.epochs=2", "--no-report")
    assert done.exit_code == 0, done.output
    assert found.listed == Counter([".", *CLASSES])
    assert set(found.headers.values()) == {1}


def test_what_a_training_has_at_hand_is_what_the_run_holds(trained: Trained, without_images: Path) -> None:
    """The report that a training writes is, to the byte, the one that is made of the run's files."""
    (without_images / "photos").symlink_to(trained.folder / "photos")
    assert run_command("report", "run", "--output", "again.html").exit_code == 0
    assert (without_images / "again.html").read_bytes() == trained.run.report.read_bytes()


COMMANDS = {
    "eval": ("eval", "run"),
    "predict": ("predict", "run", "image.bmp"),
    "report": ("report", "run"),
    "mistakes": ("show", "mistakes", "run"),
    "filters": ("show", "filters", "run"),
    "features": ("show", "features", "run", "image.bmp"),
    "gradcam": ("show", "gradcam", "run", "image.bmp"),
    "patches": ("show", "filters", "run", "--layer", "0.Conv2D"),
    "augmentation": ("show", "augmentation", "run"),
    "curves": ("show", "curves", "run"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_run_is_opened_once(trained: Trained, without_images: Path, name: str) -> None:
    (without_images / "photos").symlink_to(trained.folder / "photos")
    with looks(trained.folder / "photos") as found:
        done = run_command(*COMMANDS[name])
    # A training that made no mistake has none to show.
    assert done.exit_code == 0 or "made no mistake" in str(done.exception), done.output
    assert found.noted == 1
    assert found.traces == (name != "curves")
    assert set(found.listed.values()) <= {1}
    assert set(found.headers.values()) <= {1}


@pytest.mark.parametrize(
    "name", ["predict", *(pytest.param(name, marks=pytest.mark.long) for name in ("features", "gradcam", "filters"))]
)
def test_what_needs_no_images_of_the_training_does_not_look_for_them(
    trained: Trained, without_images: Path, name: str
) -> None:
    (without_images / "photos").symlink_to(trained.folder / "photos")
    with looks(trained.folder / "photos") as found:
        there = run_command(*COMMANDS[name])
    assert (there.exit_code, found.listed, found.opened) == (0, Counter(), Counter())
    (without_images / "photos").unlink()
    gone = run_command(*COMMANDS[name])
    assert (gone.exit_code, gone.output) == (0, there.output)


def test_serving_looks_for_no_images_of_the_training(trained: Trained, without_images: Path) -> None:
    pytest.importorskip("uvicorn", reason="needs the extra `serve`: pip install cnnkit[serve]")
    from cnnkit import serve

    (without_images / "photos").symlink_to(trained.folder / "photos")
    with looks(trained.folder / "photos") as found:
        app = serve.create_app([open_run(Run(Path("run")))])
    assert (found.listed, found.opened) == (Counter(), Counter())
    assert found.noted == 1
    (without_images / "photos").unlink()
    gone = serve.create_app([open_run(Run(Path("run")))])
    examples = [made.state.service.find(None).examples for made in (app, gone)]
    assert len(examples[0].images) == IMAGES_PER_CLASS * len(CLASSES) // 5
    assert examples[0].images == examples[1].images
