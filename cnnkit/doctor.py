"""`cnnkit doctor`: versions, devices, settings and data folders, and what is wrong with them."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from cnnkit import __version__, runtime
from cnnkit.errors import CnnkitError, UsageError

#: Installed packages whose versions matter to a run.
PACKAGES = (
    "tensorflow",
    "keras",
    "tensorflow-datasets",
    "numpy",
    "scikit-learn",
    "matplotlib",
    "tensorboard",
    "pydantic",
    "PyYAML",
    "click",
    "rich",
)


def examine() -> dict[str, Any]:
    """Everything that decides how cnnkit works here, and a list of problems with what to do about each."""
    problems: list[str] = []
    try:
        environment = runtime.describe_environment()
    except (ImportError, CnnkitError) as error:
        problems.append(f"TensorFlow cannot be used: {error}")
        environment = {}
    versions: dict[str, str | None] = {}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = None
            problems.append(f"the package {package} is missing; install it: pip install {package}")
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "0":
        problems.append("TF_ENABLE_ONEDNN_OPTS=0 turns oneDNN off, which makes CPU training slower; unset it")
    return {
        "cnnkit": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": runtime.processor(),
        "cores": os.cpu_count(),
        "devices": environment.get("devices", []),
        "settings": {name: os.environ.get(name) for name in runtime.ENVIRONMENT},
        "versions": versions,
        "data": _data_folders(problems),
        "cache": _cache(problems),
        "problems": problems,
    }


def _data_folders(problems: list[str]) -> dict[str, Any]:
    from cnnkit.config.dataset import prepared_data_sets, tfds_folder

    folder = tfds_folder()
    if os.environ.get("TFDS_DATA_DIR") and not folder.is_dir():
        problems.append(f"TFDS_DATA_DIR names `{folder}`, which is no folder; correct or unset it")
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(existing, os.W_OK):
        writable = "read only"
    else:
        writable = "can be written"
    free = shutil.disk_usage(existing).free
    if free < 2 * 1024**3:
        problems.append(f"only {free / 1024**3:.1f} GiB are free in `{existing}`; data sets and runs need more")
    if not os.access(Path.cwd(), os.W_OK):
        problems.append(f"`{Path.cwd()}` cannot be written; runs go to ./runs, or where --run-dir says")
    return {
        "folder": str(folder),
        "state": writable if folder.is_dir() else "not there yet",
        "free_gib": round(free / 1024**3, 1),
        "prepared": [name for name, _ in prepared_data_sets()],
    }


def _cache(problems: list[str]) -> dict[str, Any]:
    from cnnkit.data.cache import cache_folder, cache_limit, cache_size

    folder = cache_folder()
    try:
        limit = cache_limit()
    except UsageError as error:
        problems.append(str(error))
        limit = 0
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    if limit > 0 and not os.access(existing, os.W_OK):
        problems.append(
            f"the cache folder `{folder}` cannot be written, so that every start decodes its images again; set "
            "CNNKIT_CACHE_DIR to a folder that can"
        )
    return {
        "folder": str(folder),
        "size_gib": round(cache_size() / 1024**3, 2),
        "limit_gib": round(limit / 1024**3, 2),
    }


def as_text(report: dict[str, Any]) -> str:
    """The report for a terminal."""
    from cnnkit.listing import as_lines

    shown = {key: value for key, value in report.items() if key != "problems"}
    found = [f"problem: {problem}" for problem in report["problems"]] or ["no problems found"]
    return "\n".join([as_lines(shown), "", *found])
