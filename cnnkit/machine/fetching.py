"""Downloads in child processes that may not hang: what libraries retry for minutes, or never give up, is ended here.

A parent starts a child by `run_child` and watches the bytes that arrive; the child calls `report`.
"""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any

#: A download that has brought no byte for this long is ended.
STALL_SECONDS = 15.0

#: The first byte has to come sooner, so that a machine without a network hears of it within 15 s in all.
FIRST_BYTE_SECONDS = 12.0

#: CPU time in that span that shows that the child works (imports, unpacks, writes) and does not wait.
WORKING_CPU_SECONDS = 0.5


class DownloadError(Exception):
    """Nothing came, or not all.

    Args:
        reason: Why, as the end of a sentence.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def run_child(
    name: str,
    command: Sequence[str],
    stall_seconds: float = STALL_SECONDS,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Runs a download, shows its progress on standard error, and ends it when it stalls.

    Args:
        name: What is fetched, for the progress.
        command: The child's command line.
        environment: What the child has besides the environment of this process.

    Returns:
        The child's last report: `done`, or `error` with what belongs to it.

    Raises:
        DownloadError: if it stalls, ends without a report, or reports the error `network`.
    """
    everything = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",  # the download needs no GPU, and would take its memory
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **(environment or {}),
    }
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=everything) as child:
            final = _watch(name, child, stall_seconds)
        if final is None:
            log.seek(0)
            lines = [line.strip() for line in log.read().splitlines() if line.strip()]
            raise DownloadError(f"the download ended early ({lines[-1] if lines else 'no message'})")
    if final.get("error") == "stalled":
        raise DownloadError(f"no byte has arrived for {final['seconds']:g} s")
    if final.get("error") == "network":
        raise DownloadError(final["message"])
    return final


def _watch(name: str, child: subprocess.Popen[str], stall_seconds: float) -> dict[str, Any] | None:
    """The child's last report, that it stalled, or None if it ends without one; the child has ended then."""
    reports: queue.Queue[dict[str, Any] | None] = queue.Queue()
    assert child.stdout is not None
    reader = threading.Thread(target=_read_reports, args=(child.stdout, reports), daemon=True)
    reader.start()
    progress = _Progress(name)
    last_bytes, last_cpu, last_news = 0, 0.0, time.monotonic()
    try:
        while True:
            patience = stall_seconds if last_bytes else min(stall_seconds, FIRST_BYTE_SECONDS)
            left = last_news + patience - time.monotonic()
            if left <= 0:
                return {"error": "stalled", "seconds": patience}
            try:
                report = reports.get(timeout=left)
            except queue.Empty:
                continue
            if report is None or "done" in report or "error" in report:
                return report
            if report["bytes"] > last_bytes or report["cpu"] - last_cpu > WORKING_CPU_SECONDS:
                last_bytes, last_cpu, last_news = report["bytes"], report["cpu"], time.monotonic()
            progress.show(report["bytes"])
    finally:
        progress.end()
        child.kill()
        reader.join()


def _read_reports(stream: IO[str], reports: queue.Queue[dict[str, Any] | None]) -> None:
    for line in stream:
        # Libraries print to standard output, too; a report is a line of JSON.
        if line.startswith("{"):
            reports.put(json.loads(line))
    reports.put(None)


class _Progress:
    """How much has arrived: one line that is rewritten on a terminal, else a line every 10 s."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.terminal = sys.stderr.isatty()
        self.shown = 0.0
        self.pending = False

    def show(self, count: int) -> None:
        now = time.monotonic()
        if now - self.shown < (0.5 if self.terminal else 10):
            return
        self.shown = now
        text = f"fetching {self.name}: {count / 2**20:.1f} MiB"
        sys.stderr.write(f"\r{text}" if self.terminal else f"{text}\n")
        sys.stderr.flush()
        self.pending = self.terminal

    def end(self) -> None:
        if self.pending:
            sys.stderr.write("\n")


# --- The child ------------------------------------------------------------------------------------------


def _report(stream: IO[str], **values: Any) -> None:
    stream.write(json.dumps(values) + "\n")
    stream.flush()


def first_line(error: Exception) -> str:
    """An error of the network, as one line."""
    text = str(error).strip().split("\n")[0]
    signs = (
        "NameResolutionError",
        "Failed to resolve",
        "Name or service not known",
        "in name resolution",
        "getaddrinfo",
    )
    if any(sign in text for sign in signs):
        return "the server's name cannot be resolved (no network?)"
    return f"{type(error).__name__}: {text[:300]}"


def report(download: Callable[[], dict[str, Any]]) -> None:
    """Downloads, reporting bytes and CPU seconds twice a second as lines of JSON, and ends the process.

    Args:
        download: Returns the last report: `{"done": True}`, or an `error` with what belongs to it. What it prints
            goes to standard error.
    """
    received = 0
    read = socket.SocketIO.readinto

    def counting_read(self: socket.SocketIO, buffer: Any) -> int | None:
        nonlocal received
        count = read(self, buffer)
        received += count or 0
        return count

    # Every HTTP, HTTPS and FTP byte in Python passes here, in whatever library asks for it.
    socket.SocketIO.readinto = counting_read  # type: ignore[method-assign,assignment]
    # Libraries print; only the reports may use the pipe.
    stream, sys.stdout = sys.stdout, sys.stderr
    lock = threading.Lock()

    def beat() -> None:
        while True:
            with lock:
                _report(stream, bytes=received, cpu=time.process_time())
            time.sleep(0.5)

    threading.Thread(target=beat, daemon=True).start()
    final = download()
    with lock:
        _report(stream, **final)
        # Threads of a failed download still wait for the network; nothing of theirs is wanted.
        os._exit(0)
