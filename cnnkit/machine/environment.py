"""What a run was made with: versions, devices, variables, the commit; for environment.json and `doctor`."""

from __future__ import annotations

import os
import platform
import sys
from typing import Any

from cnnkit.machine import processor
from cnnkit.machine.tensorflow import ENVIRONMENT, THREADS, load_tensorflow, onednn_in_use, threads_in_use


def describe_environment() -> dict[str, Any]:
    """Versions, device and settings, for environment.json and `doctor`."""
    tensorflow = load_tensorflow()
    import keras
    import numpy

    from cnnkit import __version__

    return {
        "cnnkit": __version__,
        "python": platform.python_version(),
        "tensorflow": tensorflow.__version__,
        "keras": keras.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "processor": processor.processor(),
        "cores": os.cpu_count(),
        "usable_cores": processor.usable_cores(),
        "devices": [device.name for device in tensorflow.config.list_physical_devices()],
        "onednn": onednn_in_use(),
        "threads": {
            "inter_op": tensorflow.config.threading.get_inter_op_parallelism_threads(),
            "intra_op": threads_in_use(tensorflow),
        },
        "variables": variables(),
        "command": sys.argv,
        "git_commit": git_commit(),
    }


def variables() -> dict[str, str | None]:
    """The environment variables that decide how TensorFlow computes."""
    return {name: os.environ.get(name) for name in (*ENVIRONMENT, THREADS)}


def git_commit() -> str | None:
    """The commit of the folder that cnnkit runs in, with `+changes` where files differ from it; None outside git."""
    import subprocess

    def run(*arguments: str) -> str | None:
        try:
            done = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=5, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return done.stdout.strip()

    commit = run("rev-parse", "HEAD")
    if commit is None:
        return None
    return f"{commit}+changes" if run("status", "--porcelain", "--untracked-files=no") else commit
