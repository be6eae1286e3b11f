"""Many inputs in processes of their own, and how large a process became."""

from __future__ import annotations

import argparse
import resource
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TypeVar

#: Inputs that a process takes at a time.
CHUNK = 250

Result = TypeVar("Result")


def parser_of(description: str | None, inputs: int) -> argparse.ArgumentParser:
    """The arguments that every script takes which makes many inputs.

    Args:
        inputs: How many by default.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=inputs, metavar="N", help=f"how many; by default {inputs:,}")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="another seed, other inputs")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes at the same time; by default 1")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where inputs that fail are kept")
    parser.add_argument("--only", type=int, metavar="NUMBER", help="one input, in this process")
    return parser


def in_processes(
    check: Callable[[range], Result], inputs: int, jobs: int, start: Callable[[], None] | None = None
) -> Iterator[tuple[range, Result | None]]:
    """What a function says of the inputs 0 to `inputs` - 1, some at a time; None where its process ended.

    Args:
        check: A function that other processes can be given.
        jobs: Processes at the same time.
        start: What each process does first.
    """
    chunks = [range(first, min(first + CHUNK, inputs)) for first in range(0, inputs, CHUNK)]
    while chunks:
        with ProcessPoolExecutor(jobs, initializer=start) as pool:
            pending = {chunk: pool.submit(check, chunk) for chunk in chunks}
            try:
                for chunk, future in pending.items():
                    try:
                        found = future.result()
                    except Exception:
                        pool.shutdown(cancel_futures=True)
                        raise
                    chunks.remove(chunk)
                    yield chunk, found
            except BrokenProcessPool:
                chunks.remove(chunk)
                yield chunk, None


def reset_largest_size() -> int:
    """Forgets the largest size that the process had (on Linux); its size now, in bytes."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return largest_size()
    return _status("VmRSS")


def largest_size() -> int:
    """The largest size of the process, in bytes."""
    try:
        return _status("VmHWM")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise OSError(name)
