"""Fetching a TFDS data set: prepared data first, else a download in a child process that may not hang.

TFDS retries a dead network for minutes. Run as a module, this file is the child that downloads and
reports the bytes that arrive; `fetch` watches it, and ends it when nothing comes any more.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

from cnnkit.config.dataset import DataProblem, prepared_folder, tfds_folder
from cnnkit.config.known_data_sets import KNOWN
from cnnkit.errors import CnnkitError

#: A download that has brought no byte for this long is ended.
STALL_SECONDS = 15.0

#: The first byte has to come sooner, so that a machine without a network hears of it within 15 s in all.
FIRST_BYTE_SECONDS = 12.0

#: CPU time in that span that shows that the child works (imports, unpacks, writes) and does not wait.
WORKING_CPU_SECONDS = 0.5

#: How often TFDS tries a connection that fails; its own 10 tries take minutes.
RETRIES = 3


def fetch(
    name: str,
    *,
    download: bool = True,
    stall_seconds: float = STALL_SECONDS,
    command: Sequence[str] | None = None,
) -> Path:
    """The folder of a prepared TFDS data set; downloads and prepares it where it is missing.

    Args:
        name: A TFDS name, such as `cifar10` or `emnist/letters:3.1.0`.
        download: Whether the network may be used.
        stall_seconds: How long a download may bring nothing.
        command: The child's command line instead of the real one (for tests).

    Raises:
        CnnkitError: if the set is missing and cannot be downloaded; names the ways out.
    """
    try:
        found = prepared_folder(name)
    except DataProblem as problem:
        raise CnnkitError(problem.message) from None
    if found is not None:
        return found
    if not download:
        raise _missing(name, "it is not prepared, and `data.download` is false")
    _run_child(name, command or [sys.executable, "-m", "cnnkit.data.download", name], stall_seconds)
    found = prepared_folder(name)
    if found is None:
        raise CnnkitError(
            f"the data set `{name}` was downloaded, but is not in `{tfds_folder()}` afterwards",
            f"Name its configuration or version; see the folders in `{tfds_folder()}`.",
        )
    return found


def _missing(name: str, reason: str) -> CnnkitError:
    return CnnkitError(
        f"the data set `{name}` is not in `{tfds_folder()}`, and cannot be fetched: {reason}",
        "Three ways out: connect to the network and try again; set TFDS_DATA_DIR to a folder that holds it "
        "prepared by TensorFlow Datasets; or use `folder:` with your own folder of class folders.",
    )


def _run_child(name: str, command: Sequence[str], stall_seconds: float) -> None:
    """Run the download, show its progress on standard error, and end it when it stalls."""
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "-1",  # the download needs no GPU, and would take its memory
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "NO_GCE_CHECK": "true",
    }
    with tempfile.TemporaryFile("w+", errors="replace") as log:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True, env=environment) as child:
            final = _watch(name, child, stall_seconds)
        if final is None:
            log.seek(0)
            lines = [line.strip() for line in log.read().splitlines() if line.strip()]
            raise _missing(name, f"the download ended early ({lines[-1] if lines else 'no message'})")
    error = final.get("error")
    if error == "stalled":
        raise _missing(name, f"no byte has arrived for {final['seconds']:g} s")
    if error == "network":
        raise _missing(name, final["message"])
    if error == "unknown":
        raise CnnkitError(
            f"TensorFlow Datasets knows no data set `{name}`" + _nearest(name, final["names"]),
            "https://www.tensorflow.org/datasets/catalog lists them; use `folder:` for your own images.",
        )
    if error is not None:
        raise CnnkitError(f"TensorFlow Datasets cannot prepare `{name}`: {final['message']}")


def _nearest(name: str, names: Sequence[str]) -> str:
    from cnnkit.format.similar import nearest

    close = nearest(name.partition(":")[0].partition("/")[0], [*names, *KNOWN])
    return f"; did you mean `{close}`?" if close else ""


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
        # TFDS prints to standard output too; a report is a line of JSON.
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


def _download(name: str) -> dict[str, Any]:
    """Download and prepare a data set; the final report."""
    import requests
    import tensorflow_datasets as tfds
    from tensorflow_datasets.core.download import downloader
    from tensorflow_datasets.core.utils import gcs_utils

    # Without these two, a dead network is noticed after minutes: TFDS asks its cloud bucket, by a library
    # that retries on its own, and repeats each failed connection ten times with growing pauses.
    gcs_utils._is_gcs_disabled = True
    downloader.MAX_RETRIES = RETRIES
    tfds.disable_progress_bar()
    try:
        builder = tfds.builder(name, data_dir=tfds_folder())
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(try_download_gcs=False), file_format="tfrecord"
        )
    except tfds.core.DatasetNotFoundError:
        return {"error": "unknown", "names": tfds.list_builders(with_community_datasets=False)}
    except (requests.RequestException, ConnectionError, TimeoutError) as error:
        return {"error": "network", "message": _first_line(error)}
    except Exception as error:
        return {"error": "failed", "message": f"{type(error).__name__}: {str(error).strip()[:1000]}"}
    return {"done": True}


def _first_line(error: Exception) -> str:
    text = str(error).strip().split("\n")[0]
    if "NameResolutionError" in text or "Failed to resolve" in text:
        return "the server's name cannot be resolved (no network?)"
    return f"{type(error).__name__}: {text[:300]}"


def main(name: str) -> None:
    """Download a data set, reporting bytes and CPU seconds twice a second as lines of JSON."""
    import socket

    received = 0
    read = socket.SocketIO.readinto

    def counting_read(self: socket.SocketIO, buffer: Any) -> int | None:
        nonlocal received
        count = read(self, buffer)
        received += count or 0
        return count

    # Every HTTP, HTTPS and FTP byte in Python passes here, in whatever library asks for it.
    socket.SocketIO.readinto = counting_read  # type: ignore[method-assign,assignment]
    # TFDS prints; only the reports may use the pipe.
    stream, sys.stdout = sys.stdout, sys.stderr
    lock = threading.Lock()

    def beat() -> None:
        while True:
            with lock:
                _report(stream, bytes=received, cpu=time.process_time())
            time.sleep(0.5)

    threading.Thread(target=beat, daemon=True).start()
    final = _download(name)
    with lock:
        _report(stream, **final)
        # Threads of a failed download still wait for the network; nothing of theirs is wanted.
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
