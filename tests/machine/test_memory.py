"""How much memory there is, from made-up files of a system."""

from __future__ import annotations

from pathlib import Path

import pytest

from cnnkit.machine import memory, processor


@pytest.mark.parametrize(
    ("files", "available"),
    [
        ({}, 4 * 1024),
        ({"memory.max": "max", "memory.stat": "anon 1\n"}, 4 * 1024),
        # The caches of a control group count as free; what its processes hold does not.
        ({"memory.max": "3072", "memory.stat": "anon 1024\nfile 2000\n"}, 3072 - 1024),
        ({"memory.max": "nonsense", "memory.stat": "anon 1\n"}, 4 * 1024),
    ],
)
def test_memory_is_the_least_that_the_system_and_the_container_give(
    files: dict[str, str], available: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_a_system(tmp_path, monkeypatch, files)
    assert memory.available_memory() == available
    # Swap comes on top.
    assert memory.reachable_memory() == available + 1024


def test_a_container_that_holds_more_than_it_may_gives_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    of_a_system(tmp_path, monkeypatch, {"memory.max": "1024", "memory.stat": "anon 9999\n"})
    assert memory.available_memory() == memory.reachable_memory() == 0


def of_a_system(folder: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str]) -> None:
    (folder / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 4 kB\nSwapFree: 1 kB\n")
    (folder / "cgroup").write_text("0::/\n")
    for name, text in files.items():
        (folder / name).write_text(text)
    monkeypatch.setattr(memory, "MEMINFO", folder / "meminfo")
    monkeypatch.setattr(processor, "OWN_CGROUPS", folder / "cgroup")
    monkeypatch.setattr(processor, "CGROUPS", folder)


def test_a_limit_on_addresses_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = pytest.importorskip("resource")
    limit = memory.LEAST_ADDRESS_SPACE + 5000
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (limit if kind == resource.RLIMIT_AS else -1, -1))
    assert memory.reachable_memory() == 5000
    assert memory.available_memory() == 5000


def test_a_system_that_does_not_say_has_what_is_built_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "none")
    assert memory.reachable_memory() >= 1 << 28
    assert 1 << 27 <= memory.available_memory() < memory.reachable_memory()
