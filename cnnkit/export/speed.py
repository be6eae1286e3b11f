"""How large a file is, and how fast a network: an exported one beside Keras."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.config.sample import Sample
from cnnkit.export.runtimes import Network

#: Images at a time where many are to be done.
MANY = 32

#: For how long each of the two measurements goes on, at most, and how often at least.
SECONDS = 1.5
_LEAST_ROUNDS = 5
_MOST_ROUNDS = 200


@dataclass(frozen=True)
class Speed:
    """What a network takes.

    Attributes:
        size: Bytes of its files.
        load: Seconds until it can be asked, once.
        latency: Seconds for one image, the median.
        rate: Images per second, MANY at a time, the median.
    """

    size: int
    load: float
    latency: float
    rate: float

    def as_json(self) -> dict[str, Any]:
        return {"bytes": self.size, "load_seconds": self.load, "latency_seconds": self.latency} | {
            "images_per_second": self.rate
        }


def size_of(paths: Sequence[Path]) -> int:
    """The bytes of files, and of all files in folders."""
    files = [file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])]
    return sum(file.stat().st_size for file in files if file.is_file())


def loaded_in(load: Callable[[], Network], image: NDArray[np.float32]) -> tuple[Network, float]:
    """A network, and the seconds until it has answered for a first image."""
    begin = time.perf_counter()
    network = load()
    network(image)
    return network, time.perf_counter() - begin


def alternately(networks: Sequence[Network], images: NDArray[np.float32]) -> list[float]:
    """The median seconds of each network for the same images, measured in turn: what else the machine does hits all."""
    seconds: list[list[float]] = [[] for _ in networks]
    for network in networks:
        network(images)
    end = time.perf_counter() + SECONDS
    for round_ in range(_MOST_ROUNDS):
        if round_ >= _LEAST_ROUNDS and time.perf_counter() > end:
            break
        for network, measured in zip(networks, seconds, strict=True):
            begin = time.perf_counter()
            network(images)
            measured.append(time.perf_counter() - begin)
    return [statistics.median(measured) for measured in seconds]


def table_rows(names: Sequence[str], speeds: Sequence[Speed], sample: Sample) -> list[list[str]]:
    """The header, and the cells of each network."""
    rows = [
        [name, f"{speed.size:,}", f"{speed.load:.2f} s", f"{1000 * speed.latency:.2f} ms", f"{speed.rate:,.0f}"]
        for name, speed in zip(names, speeds, strict=True)
    ]
    return [["", "bytes", "load", f"one {sample.singular}", f"{sample.plural}/s"], *rows]
