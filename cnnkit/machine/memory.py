"""How much memory this process can have; read from the system, without TensorFlow."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from cnnkit.machine.processor import own_groups

#: Bytes of virtual memory without which TensorFlow 2.21 does not load, start its threads and train a small network.
LEAST_ADDRESS_SPACE = 3 * 10**9

MEMINFO = Path("/proc/meminfo")


def available_memory() -> int:
    """Bytes of memory that are free for use: what the system, the container and `ulimit -v` still give.

    What caches would give back counts as free. Elsewhere than on Linux, half of what is built in.
    """
    free = _free_memory(with_swap=False)
    return min([_built_in(8 << 30) // 2 if free is None else free, *_address_rooms()])


def reachable_memory() -> int:
    """Bytes of memory that this process can have at most: as `available_memory`, and swap.

    Elsewhere than on Linux, all that is built in.
    """
    free = _free_memory(with_swap=True)
    return min([_built_in(sys.maxsize) if free is None else free, *_address_rooms()])


def _free_memory(*, with_swap: bool) -> int | None:
    """The least of what the system and the control groups give; None where the system does not say."""
    try:
        rows = [line.split() for line in MEMINFO.read_text("ascii").splitlines()]
        sizes = {row[0]: int(row[1]) * 1024 for row in rows}
        swap = sizes.get("SwapFree:", 0) if with_swap else 0
        limits = [sizes["MemAvailable:"] + swap]
    except (OSError, ValueError, KeyError, IndexError):
        return None
    rooms = [_room(folder) for folder in own_groups("memory")]
    limits += [room + swap for room in rooms if room is not None]
    return max(0, min(limits))


def _built_in(otherwise: int) -> int:
    """Bytes of memory that the machine has, as far as it says."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return otherwise


def address_space() -> int | None:
    """Bytes of addresses that this process may have (`ulimit -v`); None without a limit."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _address_rooms() -> list[int]:
    """Bytes of addresses that are left beside TensorFlow, where `ulimit -v` limits them."""
    limit = address_space()
    return [] if limit is None else [max(0, limit - LEAST_ADDRESS_SPACE)]


def _room(folder: Path) -> int | None:
    """Bytes that a control group still gives, its caches counted as free; None without a limit."""
    try:
        name, held = (
            ("memory.max", "anon") if (folder / "memory.max").exists() else ("memory.limit_in_bytes", "total_rss")
        )
        limit = (folder / name).read_text("ascii").strip()
        stated = dict(line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines())
        return None if limit == "max" else int(limit) - int(stated[held])
    except (OSError, ValueError, KeyError):
        return None
