"""From repeats to the figures and tables that docs/performance.md holds."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.pool import BenchmarkError, Measured
from cnnkit.machine import processor
from cnnkit.machine.environment import git_commit

#: An idle contestant that takes more than this share of a core, and more than this CPU time in each repeat, disturbs
#: the others. NumPy's BLAS waits actively for some hundredths of a second before its threads sleep.
LARGEST_IDLE_SHARE = 0.02
LARGEST_IDLE_SECONDS = 0.1


def spread(values: Sequence[float], form: str) -> str:
    """Median and range: `4.61 (4.52 to 4.80)`."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def ratios(slower: Measured, faster: Measured, name: str) -> list[float]:
    """One contestant's figure over another's, repeat by repeat."""
    return [a / b for a, b in zip(slower.values(name), faster.values(name), strict=True)]


def best_ratio(slower: Measured, faster: Measured) -> float:
    """The best wall time of one contestant over that of another."""
    return min(slower.values("wall_seconds")) / min(faster.values("wall_seconds"))


def peak_mebibytes(measured: Measured) -> float:
    """Peak memory over all repeats, in MiB."""
    return max(measured.values("peak_memory_bytes")) / 2**20


def run_notes(contestants: Sequence[Measured], *, same: bool = True) -> list[str]:
    """What a reader must know of a run: how busy the machine was, and who did not sleep while others ran.

    Args:
        same: Whether all have to do the same number of steps.

    Raises:
        BenchmarkError: if the contestants did not do the same number of steps.
    """
    steps = {
        measured.title: measured.repeats[-1]["steps"] for measured in contestants if measured.repeats[-1].get("steps")
    }
    if same and len(set(steps.values())) > 1:
        raise BenchmarkError(f"the contestants did not do the same: steps in a repeat: {steps}")
    walls = sum(sum(measured.values("wall_seconds")) for measured in contestants)
    others = sum(sum(measured.values("others_cpu_seconds")) for measured in contestants)
    lines = [f"Meanwhile, other programs took {others / walls / cores():.0%} of the machine's CPU time."]
    for measured in contestants:
        wall = sum(measured.values("idle_wall_seconds"))
        idle = sum(measured.values("idle_cpu_seconds"))
        share = idle / wall if wall else 0.0
        if share > LARGEST_IDLE_SHARE and idle > LARGEST_IDLE_SECONDS * len(measured.repeats):
            lines.append(f"Not valid: {measured.title} took {share:.0%} of a core while others ran.")
    return lines


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; all columns but the first are right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def inserted(page: str, section: str, text: str) -> str:
    """A Markdown page with the text between `<!-- section -->` and `<!-- end of section -->` replaced.

    Raises:
        BenchmarkError: if the page has no such section.
    """
    begin, end = f"<!-- {section} -->\n", f"<!-- end of {section} -->"
    before, found, rest = page.partition(begin)
    _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise BenchmarkError(f"the page has no section between `{begin.strip()}` and `{end}`")
    return f"{before}{begin}{text}{end}{after}"


def environment() -> dict[str, Any]:
    """Machine and versions, without loading anything."""
    versions: dict[str, str | None] = {}
    for package in ("tensorflow", "keras", "torch", "numpy"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    cpu = Path("/proc/cpuinfo")
    flags = cpu.read_text("ascii", "replace").split() if cpu.exists() else []
    return {
        "processor": processor.processor(),
        "vectors": next((name for flag, name in (("avx512f", "AVX-512"), ("avx2", "AVX2")) if flag in flags), None),
        "cores": cores(),
        "machine": platform.machine(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": versions,
        "git_commit": git_commit(),
        "load_average": os.getloadavg() if hasattr(os, "getloadavg") else None,
    }


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def described(facts: dict[str, Any]) -> str:
    """Machine and versions in one line."""
    names = {"tensorflow": "TensorFlow", "keras": "Keras", "torch": "PyTorch", "numpy": "NumPy"}
    versions = [f"{names[name]} {version}" for name, version in facts["versions"].items() if version]
    parts = [f"{facts['cores']} cores", facts["processor"], facts["vectors"], "no GPU", *versions]
    return ", ".join(part for part in parts if part)
