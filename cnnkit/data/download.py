"""Fetching a TFDS data set: prepared data first, else a download in a child process that may not hang.

TFDS retries a dead network for minutes. Run as a module, this file is the child that downloads; see
`machine.fetching`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnkit.config.dataset import DataProblem, prepared_folder, tfds_folder
from cnnkit.config.known_data_sets import KNOWN
from cnnkit.errors import CnnkitError
from cnnkit.machine.fetching import STALL_SECONDS, DownloadError, first_line, report, run_child

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
    try:
        final = run_child(name, command, stall_seconds, {"NO_GCE_CHECK": "true"})
    except DownloadError as stopped:
        raise _missing(name, stopped.reason) from None
    error = final.get("error")
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


# --- The child ------------------------------------------------------------------------------------------


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
        return {"error": "network", "message": first_line(error)}
    except Exception as error:
        return {"error": "failed", "message": f"{type(error).__name__}: {str(error).strip()[:1000]}"}
    return {"done": True}


if __name__ == "__main__":
    report(lambda: _download(sys.argv[1]))
