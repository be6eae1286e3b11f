"""The weights that learned ImageNet, where Keras keeps them: from its cache, or downloaded there in a child process.

Run as a module, this file is the child; see `machine.fetching`.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cnnkit.errors import CnnkitError
from cnnkit.files import replacing
from cnnkit.layers.backbone_graph import WeightFile
from cnnkit.machine.fetching import STALL_SECONDS, DownloadError, first_line, report, run_child

#: The folder in Keras' cache.
_FOLDER = "models"


def cache_folder() -> Path:
    """Where Keras keeps the weights of its networks; as `keras.utils.get_file` finds it."""
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    if home.exists() and not os.access(home, os.W_OK):
        home = Path("/tmp" if os.path.isdir("/tmp") else tempfile.gettempdir()) / ".keras"
    return home / _FOLDER


def is_cached(weights: WeightFile) -> bool:
    """Whether Keras has a file of weights already; what is in it is not looked at."""
    return (cache_folder() / weights.file).is_file()


def fetch_imagenet(
    network: str,
    weights: WeightFile,
    *,
    stall_seconds: float = STALL_SECONDS,
    command: Sequence[str] | None = None,
) -> Path:
    """The file of a network's weights; downloads it where Keras has not done so.

    Args:
        network: Its name, for messages.
        stall_seconds: How long a download may bring nothing.
        command: The child's command line instead of the real one (for tests).

    Raises:
        CnnkitError: if it is missing and cannot be downloaded; names the ways out.
    """
    file = cache_folder() / weights.file
    if _is_whole(file, weights.md5):
        return file
    own = [sys.executable, "-m", "cnnkit.training.imagenet", weights.file, weights.url, weights.md5 or ""]
    try:
        final = run_child(weights.file, command or own, stall_seconds)
    except DownloadError as error:
        raise _missing(network, weights, file, error.reason) from None
    if "error" in final:
        raise _missing(network, weights, file, final["message"])
    return file


def _is_whole(file: Path, md5: str | None) -> bool:
    if not file.is_file() or md5 is None:
        return file.is_file()
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == md5


def _missing(network: str, weights: WeightFile, file: Path, reason: str) -> CnnkitError:
    there = "is there, but not as Keras knows it (another MD5)" if file.exists() else "is not there"
    return CnnkitError(
        f"the weights of {network} that learned ImageNet cannot be fetched: {reason}; Keras' cached file `{file}` "
        f"{there}",
        f"Three ways out: connect to the network and try again; download {weights.url} elsewhere and put it there as "
        f"`{file}`; or write `weights:` with a file or a run of your own, or `weights: null` to begin at random.",
    )


def _download(name: str, url: str, md5: str) -> dict[str, Any]:
    """As `keras.utils.get_file` does it, without the seconds that it takes to load TensorFlow.

    A download that is ended, or not what Keras knows, leaves nothing.
    """
    import shutil
    import urllib.request

    file = cache_folder() / name
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url) as response, replacing(file) as temporary:
            with open(temporary, "wb") as stream:
                shutil.copyfileobj(response, stream)
                size, whole = stream.tell(), int(response.headers.get("Content-Length") or stream.tell())
            if size != whole:
                raise ConnectionError(f"the connection ended after {size:,} of {whole:,} bytes")
            if not _is_whole(Path(temporary), md5 or None):
                raise ConnectionError(f"what came from {url} has another MD5 than {md5}")
    except OSError as error:
        return {"error": "network", "message": first_line(error)}
    return {"done": True}


if __name__ == "__main__":
    report(lambda: _download(*sys.argv[1:]))
