"""The lock of a run: one process at a time, and a dead one does not count."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cnnkit.errors import CnnkitError
from cnnkit.runs import lock
from cnnkit.runs.directory import Run

#: Holds the lock of a file until its input ends.
HOLDER = """
import sys
from pathlib import Path
from cnnkit.runs.lock import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def start_holder(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_another_process_is_refused_until_the_first_is_dead(tmp_path: Path) -> None:
    run = Run(tmp_path)
    with start_holder(run.lock) as other:
        assert run.is_training() is True
        with pytest.raises(CnnkitError, match=f"is being trained by the process {other.pid} on this machine") as caught:
            with run.training():
                pass
        assert caught.value.exit_code == 1
        assert "cnnkit watch" in str(caught.value)
        other.send_signal(signal.SIGKILL)
        other.wait()
    # The file is still there, and nobody holds it.
    assert run.lock.exists()
    assert run.is_training() is False
    with run.training():
        assert run.is_training() is True
    assert list(tmp_path.iterdir()) == []


def test_the_same_process_is_refused_too(tmp_path: Path) -> None:
    with lock.exclusive(tmp_path / "lock"), pytest.raises(lock.Held) as caught:
        with lock.exclusive(tmp_path / "lock"):
            pass
    assert caught.value.holder.pid == os.getpid()


def test_looking_whether_it_is_held_does_not_end_it(tmp_path: Path) -> None:
    with lock.exclusive(tmp_path / "lock"):
        for _ in range(3):
            assert lock.holder(tmp_path / "lock") is not None
        with pytest.raises(lock.Held), lock.exclusive(tmp_path / "lock"):
            pass


def test_children_do_not_keep_it(tmp_path: Path) -> None:
    """A program that the process starts, and a process that is forked from it, outlive the block."""
    path = tmp_path / "lock"
    with lock.exclusive(path):
        program = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
        script = f"""
import os, time
from pathlib import Path
from cnnkit.runs.lock import exclusive
with exclusive(Path({str(path)!r} + "2")):
    child = os.fork()
    if child == 0:
        os.close(1)  # or who reads it would wait for the child
        time.sleep(60)
        os._exit(0)
print(child, flush=True)
os._exit(0)
"""
        forked = int(subprocess.run([sys.executable, "-c", script], stdout=subprocess.PIPE, check=True).stdout)
    try:
        for free in (path, tmp_path / "lock2"):
            with lock.exclusive(free) as is_locked:
                assert is_locked
    finally:
        os.kill(forked, signal.SIGKILL)
        program.communicate()


def test_only_a_file_is_locked(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.path.mkdir()
    run.lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CnnkitError, match=r"lock`: it is a link"), run.training():
        pass
    assert not (tmp_path / "elsewhere").exists()
    assert run.is_training() is None
    run.lock.unlink()
    os.mkfifo(run.lock)
    with pytest.raises(CnnkitError, match=r"lock`: it is a pipe"), run.training():
        pass


def test_a_file_system_without_locks_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(handle: int, *, shared: bool) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_lock", refuse)
    run = Run(tmp_path)
    with run.training():
        assert run.is_training() is None
    assert "has no locks" in caplog.text


def test_a_text_that_says_nothing_is_another_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with lock.exclusive(path):
        for content in (b"", b"{", b"[]", b'{"pid": "x", "machine": 1}', b'{"pid": 1}', b"\xff"):
            path.write_bytes(content)
            assert str(lock.holder(path)) == "another process"
        path.write_text('{"pid": 7, "machine": "elsewhere", "since": "2026-01-02 03:04:05"}')
        assert str(lock.holder(path)) == "the process 7 on elsewhere, since 2026-01-02 03:04:05"
