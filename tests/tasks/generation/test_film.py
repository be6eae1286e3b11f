"""The sheets of epochs as an animation: which of them, in what size, and how it is asked for."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from commands import run as cnnkit
from PIL import Image

from cnnkit.errors import CnnkitError
from cnnkit.images.pictures import picture_of
from cnnkit.runs.directory import Run
from cnnkit.tasks.generation.film import LARGEST_SIDE, film


def with_sheets(folder: Path, epochs: list[int], size: int = 26, channels: int = 3) -> Run:
    """A folder with sheets, each of the colour of its epoch."""
    run = Run(folder)
    run.samples.mkdir()
    for epoch in epochs:
        picture_of(np.full((size, size, channels), epoch, np.uint8)).save(run.sheet(epoch))
    return run


def frames_of(content: bytes) -> list[np.ndarray]:
    frames = []
    with Image.open(io.BytesIO(content)) as opened:
        for number in range(getattr(opened, "n_frames", 1)):
            opened.seek(number)
            frames.append(np.asarray(opened.convert("RGB")))
    return frames


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_the_epochs_one_after_the_other(tmp_path: Path, kind: str) -> None:
    run = with_sheets(tmp_path, [40, 80, 120, 240])
    # What is no sheet, and one that is missing, are passed over.
    (run.samples / "notes.txt").write_text("x")
    content, (width, height) = film(run, 3, kind)
    frames = frames_of(content)
    # 26 pixels, 9 times as large, and a strip below.
    assert width == 234
    assert {frame.shape for frame in frames} == {(height, 234, 3)}
    assert [int(frame[:230].mean().round()) for frame in frames] == pytest.approx([40, 80, 120, 240], abs=3)
    # The number of the epoch stands below.
    assert all(frame[234:].max() > 200 for frame in frames)


def test_of_many_epochs_some_are_shown_with_the_first_and_the_last(tmp_path: Path) -> None:
    run = with_sheets(tmp_path, list(range(1, 251)), size=200, channels=1)
    frames = frames_of(film(run, 1, "WEBP")[0])
    shown = [int(frame[:100].mean().round()) for frame in frames]
    assert len(shown) == 30
    assert (shown[0], shown[-1]) == pytest.approx((1, 250), abs=3)
    assert shown == sorted(shown)


def test_large_sheets_are_made_smaller(tmp_path: Path) -> None:
    _, (width, height) = film(with_sheets(tmp_path, [1], size=600), 3, "WEBP")
    assert width == LARGEST_SIDE < height < LARGEST_SIDE + 30


def test_without_sheets_or_of_several_trainings(tmp_path: Path) -> None:
    with pytest.raises(CnnkitError, match="no epoch of"):
        film(Run(tmp_path), 1, "GIF")
    run = with_sheets(tmp_path, [1, 2])
    picture_of(np.zeros((5, 5, 1), np.uint8)).save(run.sheet(3))
    with pytest.raises(CnnkitError, match="of several sizes"):
        film(run, 1, "GIF")


def test_a_terminal_asks_for_it(
    maker_run: Run,
    digits_run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cnnkit(["show", "samples", str(maker_run.path), "-o", "film.gif"], monkeypatch) == 0
    assert len(frames_of(Path("film.gif").read_bytes())) == 1
    assert cnnkit(["show", "samples", str(maker_run.path), "-o", "film.mp4"], monkeypatch) == 2
    assert "expected a name that ends in .gif or .webp" in capsys.readouterr().err
    assert cnnkit(["show", "samples", str(digits_run.path), "-o", "new.gif"], monkeypatch) == 2
    assert "has no samples of each epoch: its task is classification" in capsys.readouterr().err
