"""What the processor is and how much of it this process may use; read from the system, without TensorFlow."""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Iterator
from pathlib import Path

#: Processor flags that decide how fast convolutions run, as /proc/cpuinfo writes them: of x86, then of Arm.
VECTOR_FLAGS = (
    *("avx", "avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16"),
    *("asimd", "sve", "bf16", "svebf16"),
)

#: Those by which a processor multiplies bfloat16.
_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}

#: More threads than any machine has cores for; TensorFlow dies where it cannot start as many as it is told to.
MOST_THREADS = 1024

#: By this variable, `cnnkit launch` tells its workers how many of them share the machine.
SHARING = "CNNKIT_SHARING_WORKERS"

CPUINFO = Path("/proc/cpuinfo")
CGROUPS = Path("/sys/fs/cgroup")
OWN_CGROUPS = Path("/proc/self/cgroup")


def processor() -> str:
    """The processor's model name."""
    return _from_cpuinfo("model name") or platform.processor() or platform.machine()


def vector_flags() -> tuple[str, ...] | None:
    """Those of VECTOR_FLAGS that the processor has; None where the system does not say."""
    flags = _from_cpuinfo("flags") or _from_cpuinfo("Features")
    return None if flags is None else tuple(flag for flag in VECTOR_FLAGS if flag in flags.split())


def multiplies_bfloat16() -> bool | None:
    """Whether the processor has instructions for bfloat16; without, it is slower than float32. None if unknown."""
    flags = vector_flags()
    return None if flags is None else not _BFLOAT16.isdisjoint(flags)


def is_x86() -> bool:
    return platform.machine().lower() in ("x86_64", "amd64")


def schedulable_cores() -> int:
    """Cores that the system lets this process run on; TensorFlow starts as many threads by itself."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # only Linux has it
        return os.cpu_count() or 1


def cpu_quota() -> float | None:
    """Cores' worth of time that the control groups of a container give this process; None without a limit."""
    quotas = [_quota(folder) for folder in own_groups("cpu")]
    return min((quota for quota in quotas if quota is not None), default=None)


def own_groups(controller: str) -> Iterator[Path]:
    """The control groups that this process is in, and those around them."""
    try:
        lines = OWN_CGROUPS.read_text("ascii", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        # Version 2 has no controllers in its line, and one tree; version 1 has a tree per controller.
        root = CGROUPS / controller if controllers else CGROUPS
        # Inside a container the path may be that of the host: its top folder then stands for the container.
        here = root / path.lstrip("/")
        for folder in (here, *here.parents):
            if folder == root or root in folder.parents:
                yield folder


def usable_cores() -> int:
    """Cores that this process may use at once, at least 1: of those it may run on, as many as its quota fills.

    Workers that `cnnkit launch` has started on one machine share them.
    """
    quota = cpu_quota()
    cores = schedulable_cores()
    if quota is not None:
        cores = min(cores, math.ceil(quota))
    return max(1, cores // sharing_workers())


def sharing_workers() -> int:
    """How many processes of `cnnkit launch` share this machine, this one counted; 1 where it was not launched."""
    value = os.environ.get(SHARING, "")
    return max(1, int(value)) if value.isdecimal() and len(value) < 6 else 1


def _quota(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text("ascii").split()
        else:
            quota = (folder / "cpu.cfs_quota_us").read_text("ascii").strip()
            period = (folder / "cpu.cfs_period_us").read_text("ascii").strip()
        # No limit is `max` in version 2 and -1 in version 1.
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _from_cpuinfo(name: str) -> str | None:
    """The first value of that name."""
    try:
        with CPUINFO.open(encoding="utf-8", errors="replace") as stream:
            for line in stream:
                key, _, value = line.partition(":")
                if key.strip() == name:
                    return value.strip()
    except OSError:
        pass
    return None
