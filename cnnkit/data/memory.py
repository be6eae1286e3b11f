"""How much memory there is, and how much of it decoded images and batches in the making may take."""

from __future__ import annotations

import os
from pathlib import Path

from cnnkit.machine.processor import address_rooms, usable_cores

#: Share of the free memory that decoded images may fill.
MEMORY_SHARE = 1 / 3

#: Bytes that finished batches may wait in.
PREFETCH_BYTES = 256 << 20

#: Bytes that batches may take while they are made in parallel.
PARALLEL_BYTES = 512 << 20


def available_memory() -> int:
    """Bytes of memory that are free for use: what the system, the container and `ulimit -v` still give."""
    limits = address_rooms()
    try:
        for line in Path("/proc/meminfo").read_text("ascii").splitlines():
            if line.startswith("MemAvailable:"):
                limits.append(int(line.split()[1]) * 1024)
        maximum = Path("/sys/fs/cgroup/memory.max").read_text("ascii").strip()
        if maximum != "max":
            used = int(Path("/sys/fs/cgroup/memory.current").read_text("ascii"))
            limits.append(max(0, int(maximum) - used))
    except (OSError, ValueError):
        pass
    if not limits:  # elsewhere than on Linux
        try:
            limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2)
        except (AttributeError, OSError, ValueError):
            limits.append(4 << 30)
    return min(limits)


def parallel_calls(batch_bytes: int) -> int:
    """Batches to make at the same time: one per core, fewer where they are large.

    tf.data.AUTOTUNE knows the cores, but not what a batch weighs.
    """
    return max(1, min(usable_cores(), PARALLEL_BYTES // max(1, batch_bytes)))


def batches_ahead(batch_bytes: int) -> int:
    """Finished batches that may wait: up to 16, fewer where they are large."""
    return max(2, min(16, PREFETCH_BYTES // max(1, batch_bytes)))
