"""Files are written whole or not at all, whichever step of the writing fails."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cnnkit.files import append_line, replacing, write_atomically


def test_a_file_is_on_the_disk_before_it_gets_its_name_and_its_name_before_it_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order in which a loss of power leaves the old file or the new one, at each moment."""
    path = tmp_path / "model.keras"
    path.write_text("old")
    steps: list[Any] = []
    fsync, replace = os.fsync, os.replace

    def recorded_fsync(handle: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        content = None if is_folder else os.pread(handle, 100, 0)
        steps.append(("fsync", "folder" if is_folder else content, path.read_text()))
        fsync(handle)

    def recorded_replace(source: Any, target: Any) -> None:
        steps.append(("rename", Path(target).name, path.read_text()))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    with replacing(path) as temporary:
        temporary.write_text("new")
        steps.append(("written", temporary.read_text(), path.read_text()))
    assert steps == [
        ("written", "new", "old"),
        ("fsync", b"new", "old"),
        ("rename", "model.keras", "old"),
        ("fsync", "folder", "new"),
    ]


#: The nth call of each function that a file takes part in.
@pytest.mark.parametrize(("name", "number"), [("fsync", 1), ("replace", 1), ("fsync", 2)])
@pytest.mark.parametrize("number_of_error", [errno.ENOSPC, errno.EIO])
def test_a_step_that_fails_leaves_a_whole_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, number: int, number_of_error: int
) -> None:
    path = tmp_path / "metrics.csv"
    path.write_text("old")
    original: Callable[..., Any] = getattr(os, name)
    calls = 0

    def fail(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == number:
            raise OSError(number_of_error, os.strerror(number_of_error))
        return original(*arguments)

    monkeypatch.setattr(os, name, fail)
    with pytest.raises(OSError, match=os.strerror(number_of_error)) as caught:
        write_atomically(path, "new")
    assert caught.value.filename == str(path)
    assert path.read_text() == ("new" if (name, number) == ("fsync", 2) else "old")
    assert os.listdir(tmp_path) == ["metrics.csv"]


def test_a_file_system_that_cannot_bring_folders_to_the_disk_is_written_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def refuse_folders(handle: int) -> None:
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", refuse_folders)
    write_atomically(tmp_path / "x", "new")
    assert (tmp_path / "x").read_text() == "new"


def test_a_line_is_added_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that becomes full takes a part of what is written, and refuses the rest."""
    log = tmp_path / "log.txt"
    append_line(log, "first")
    write, space = os.write, 3

    def write_part(handle: int, content: bytes) -> int:
        nonlocal space
        if space == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = write(handle, content[:space])
        space -= written
        return written

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write_part)
        with pytest.raises(OSError, match="No space left on device") as caught:
            append_line(log, "second")
        assert caught.value.filename == str(log)
        assert log.read_text() == "first\n"
        # Several parts are one line.
        space = 1000
        patch.setattr(os, "write", lambda handle, content: write(handle, content[:2]))
        append_line(log, "third")
    assert log.read_text() == "first\nthird\n"


def test_half_a_line_stays_alone(tmp_path: Path) -> None:
    """A process was killed while it wrote."""
    log = tmp_path / "log.txt"
    log.write_text("first\nsec")
    append_line(log, "third")
    assert log.read_text() == "first\nsec\nthird\n"
