"""Measures `cnnkit serve` on a finished run: latency of single images, requests per second at several concurrencies,
and what many requests, a tenth of them malformed, do to memory and answers. The server runs in a process of its own;
every answer is compared with what `model.predict` of Keras says of the same image. Linux only: it reads /proc."""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import platform
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

#: How far a probability may be from Keras' own, and still be the same answer.
TOLERANCE = 1e-3

SERVER = (
    "import sys; from pathlib import Path; from cnnkit.runs.directory import Run; from cnnkit.serve import serve\n"
    "serve([Run(Path(sys.argv[1]))], port=0)"
)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, metavar="RUN", help="the directory of a run")
    parser.add_argument("--images", type=int, default=200, help="different images to send (default: 200)")
    parser.add_argument("--single", type=int, default=500, help="requests one after the other (default: 500)")
    parser.add_argument(
        "--concurrency", type=int, nargs="+", default=[4, 16, 64], help="clients at a time (default: 4 16 64)"
    )
    parser.add_argument("--seconds", type=float, default=10, help="how long each concurrency runs (default: 10)")
    parser.add_argument("--requests", type=int, default=10_000, help="requests of the long run (default: 10000)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to this file")
    return parser.parse_args()


@dataclass
class Sent:
    """A request and what its answer has to be.

    Attributes:
        body: The image file.
        truth: The class probabilities; None where the file is broken and has to be refused.
    """

    body: bytes
    truth: np.ndarray | None


@dataclass
class Tally:
    """What came of some requests."""

    milliseconds: list[float] = field(default_factory=list)
    wrong: int = 0
    busy: int = 0

    def summary(self, seconds: float) -> dict[str, Any]:
        ordered = sorted(self.milliseconds)
        return {
            "requests": len(ordered),
            "requests_per_second": round(len(ordered) / seconds, 1),
            "p50_ms": round(statistics.median(ordered), 2),
            "p95_ms": round(ordered[int(0.95 * (len(ordered) - 1))], 2),
            "busy": self.busy,
            "wrong": self.wrong,
        }


def as_png(image: np.ndarray) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(stream, "PNG")
    return stream.getvalue()


def prepare(run_directory: Path, count: int) -> list[Sent]:
    """Images of the run's test split, else random ones, with the truth."""
    from cnnkit import data
    from cnnkit.config.load import load_config
    from cnnkit.errors import CnnkitError
    from cnnkit.runs.directory import Run
    from cnnkit.runs.heads import probabilities_from_outputs
    from cnnkit.runs.trained import open_run

    run = Run(run_directory)
    trained = open_run(run)
    task = trained.interface
    try:
        config = load_config(str(run.config)).config
        test = data.load(config.data, config.seed, splits=("test",)).test
        assert test is not None
        images = test.read(np.arange(min(count, test.size)))
    except CnnkitError as error:
        say("random images, because there are no test images", error.message)
        images = np.random.default_rng(0).integers(0, 256, (count, *task.image_shape)).astype(np.uint8)
    outputs = trained.model.predict(images, verbose=0)
    truth = probabilities_from_outputs(outputs, task.head)
    return [Sent(as_png(image), row) for image, row in zip(images, truth, strict=True)]


def malformed(sent: Sent, random_: random.Random) -> Sent:
    """The image broken in one of several ways."""
    half = len(sent.body) // 2
    ways = [b"", b"not an image", sent.body[:half], b"\x00" * 100, os.urandom(200), b"<svg/>"]
    return Sent(random_.choice(ways), None)


class Connection:
    """A connection that stays open. Libraries for HTTP take more time for 64 clients than the server does."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        if self.streams is None:
            self.streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self.streams
        head = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: image/png\r\n"
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if line)
        content = await reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            self.close()
        return int(lines[0].split()[1]), content

    def close(self) -> None:
        if self.streams is not None:
            self.streams[1].close()
        self.streams = None


async def send(connection: Connection, sent: Sent, tally: Tally) -> None:
    start = time.perf_counter()
    status, content = await connection.post(sent.body)
    tally.milliseconds.append(1000 * (time.perf_counter() - start))
    if status == 503:
        tally.busy += 1
    elif sent.truth is None:
        tally.wrong += not 400 <= status < 500
    elif status != 200:
        tally.wrong += 1
    else:
        found = list(json.loads(content)["predictions"][0]["probabilities"].values())
        tally.wrong += not np.allclose(found, sent.truth, atol=TOLERANCE)


async def one_after_the_other(port: int, images: Sequence[Sent], count: int) -> dict[str, Any]:
    tally = Tally()
    connection = Connection(port)
    for index in range(20):
        await send(connection, images[index % len(images)], Tally())
    start = time.perf_counter()
    for index in range(count):
        await send(connection, images[index % len(images)], tally)
    connection.close()
    return tally.summary(time.perf_counter() - start)


async def at_a_time(port: int, images: Sequence[Sent], clients: int, seconds: float) -> dict[str, Any]:
    tally = Tally()
    start = time.perf_counter()

    async def keep_sending(index: int) -> None:
        connection = Connection(port)
        while time.perf_counter() - start < seconds:
            await send(connection, images[index % len(images)], tally)
            index += clients
        connection.close()

    await asyncio.gather(*(keep_sending(number) for number in range(clients)))
    return {"clients": clients, **tally.summary(time.perf_counter() - start)}


async def many(port: int, images: Sequence[Sent], count: int, process: int) -> dict[str, Any]:
    """A tenth of the requests is malformed; resident memory is noted ten times on the way."""
    tally = Tally()
    random_ = random.Random(0)
    megabytes: list[float] = []
    waiting = list(range(count))

    async def keep_sending() -> None:
        connection = Connection(port)
        while waiting:
            sent = images[waiting.pop() % len(images)]
            await send(connection, malformed(sent, random_) if random_.random() < 0.1 else sent, tally)
            if len(tally.milliseconds) % max(1, count // 10) == 0:
                megabytes.append(round(resident_megabytes(process), 1))
        connection.close()

    start = time.perf_counter()
    await asyncio.gather(*(keep_sending() for _ in range(16)))
    return {**tally.summary(time.perf_counter() - start), "resident_mb": megabytes}


def resident_megabytes(process: int) -> float:
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def say(what: str, figures: Any) -> None:
    sys.stdout.write(f"{what}: {json.dumps(figures)}\n")
    sys.stdout.flush()


async def measure(arguments: argparse.Namespace, images: Sequence[Sent], port: int, process: int) -> dict[str, Any]:
    load = os.getloadavg()[0]
    figures: dict[str, Any] = {"run": str(arguments.run), "platform": platform.platform(), "cores": os.cpu_count()}
    figures |= {"load_before": load, "concurrent": []}
    figures["single"] = await one_after_the_other(port, images, arguments.single)
    say("one after the other", figures["single"])
    for clients in arguments.concurrency:
        figures["concurrent"].append(await at_a_time(port, images, clients, arguments.seconds))
        say("at a time", figures["concurrent"][-1])
    figures["many"] = await many(port, images, arguments.requests, process)
    say("a tenth malformed", figures["many"])
    return figures


def main() -> None:
    arguments = parse_arguments()
    images = prepare(arguments.run, arguments.images)
    command = [sys.executable, "-c", SERVER, str(arguments.run)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r":(\d+)/", server.stdout.readline())
            if found is None:
                sys.exit("the server did not start")
            figures = asyncio.run(measure(arguments, images, int(found[1]), server.pid))
        finally:
            server.terminate()
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    wrong = sum(tally["wrong"] for tally in (figures["single"], figures["many"], *figures["concurrent"]))
    if wrong:
        sys.exit(f"{wrong} wrong answers")


if __name__ == "__main__":
    main()
