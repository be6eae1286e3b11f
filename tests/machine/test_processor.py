"""Which cores a process may use: affinity and the quotas of control groups, versions 1 and 2."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cnnkit.machine import processor


@pytest.fixture
def system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system with eight cores and no limits; files that tests write stand for those of the kernel."""
    monkeypatch.setattr(processor, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(processor, "OWN_CGROUPS", tmp_path / "own")
    monkeypatch.setattr(processor, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_without_control_groups_all_schedulable_cores_are_usable(system: Path) -> None:
    assert processor.cpu_quota() is None
    assert processor.usable_cores() == 8


@pytest.mark.parametrize(
    ("content", "quota", "cores"),
    [
        ("max 100000", None, 8),
        ("200000 100000", 2.0, 2),
        ("150000 100000", 1.5, 2),
        ("5000 100000", 0.05, 1),
        ("3200000 100000", 32.0, 8),
        ("nonsense", None, 8),
        ("100000 0", None, 8),
    ],
)
def test_version_2(system: Path, content: str, quota: float | None, cores: int) -> None:
    write(system / "own", "0::/\n")
    write(system / "cgroup" / "cpu.max", content + "\n")
    assert processor.cpu_quota() == quota
    assert processor.usable_cores() == cores


def test_the_smallest_quota_on_the_way_to_the_top_counts(system: Path) -> None:
    write(system / "own", "0::/user/app\n")
    write(system / "cgroup" / "user" / "app" / "cpu.max", "400000 100000\n")
    write(system / "cgroup" / "user" / "cpu.max", "300000 100000\n")
    # A sibling's does not.
    write(system / "cgroup" / "other" / "cpu.max", "100000 100000\n")
    assert processor.cpu_quota() == 3.0


@pytest.mark.parametrize(("quota", "expected"), [("-1", None), ("250000", 2.5)])
def test_version_1_in_a_container_with_the_path_of_its_host(system: Path, quota: str, expected: float | None) -> None:
    write(system / "own", "5:memory:/host/a\n4:cpu,cpuacct:/host/a\n2:cpuset:/\n0::/\n")
    write(system / "cgroup" / "cpu" / "cpu.cfs_quota_us", quota + "\n")
    write(system / "cgroup" / "cpu" / "cpu.cfs_period_us", "100000\n")
    assert processor.cpu_quota() == expected


def test_affinity_counts_as_well_as_the_quota(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3}, raising=False)
    write(system / "own", "0::/\n")
    write(system / "cgroup" / "cpu.max", "200000 100000\n")
    assert processor.usable_cores() == 1


def test_a_system_without_affinity_has_all_its_cores(system: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert processor.schedulable_cores() == 6


def test_flags_of_the_processor(system: Path) -> None:
    assert processor.vector_flags() is None
    write(system / "cpuinfo", "processor\t: 0\nmodel name\t: A Chip\nflags\t\t: fpu avx2 avx sse avx512_bf16\n")
    assert processor.vector_flags() == ("avx", "avx2", "avx512_bf16")
    assert processor.processor() == "A Chip"
    # No word of another flag's name counts.
    write(system / "cpuinfo", "flags : avx512f avx2x\n")
    assert processor.vector_flags() == ("avx512f",)


@pytest.mark.parametrize(
    ("line", "can"),
    [
        ("flags : fpu avx2 avx512f", False),
        ("flags : avx512f avx512_bf16", True),
        ("flags : amx_tile amx_bf16", True),
        ("Features : fp asimd bf16 i8mm", True),
        ("Features : fp asimd", False),
        ("bogomips : 50", None),
    ],
)
def test_whether_the_processor_multiplies_bfloat16(system: Path, line: str, can: bool | None) -> None:
    write(system / "cpuinfo", f"{line}\n")
    assert processor.multiplies_bfloat16() is can


@pytest.mark.parametrize(("workers", "cores"), [("", 7), ("1", 7), ("2", 3), ("7", 1), ("20", 1), ("0", 7), ("x", 7)])
def test_workers_of_one_machine_share_its_cores(monkeypatch: pytest.MonkeyPatch, workers: str, cores: int) -> None:
    monkeypatch.setattr(processor, "schedulable_cores", lambda: 7)
    monkeypatch.setattr(processor, "cpu_quota", lambda: None)
    monkeypatch.setenv(processor.SHARING, workers)
    assert processor.usable_cores() == cores
