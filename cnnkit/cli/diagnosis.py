"""`cnnkit doctor`: versions, devices, settings and data folders, and what is wrong with them."""

from __future__ import annotations

import os
import platform
import shutil
from importlib import metadata
from pathlib import Path
from typing import Any

from cnnkit import __version__
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.machine import processor
from cnnkit.machine.environment import describe_environment, variables
from cnnkit.machine.tensorflow import ONEDNN, THREADS, on_or_off, onednn_helps, set_by_user
from cnnkit.training.settings import Runtime, choose_settings

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
        environment = describe_environment()
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
    settings = _settings(problems) if environment else {}
    return {
        "cnnkit": __version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": _processor(problems),
        "devices": environment.get("devices", []),
        "settings": settings,
        "variables": _variables(problems),
        "versions": versions,
        "data": _data_folders(problems),
        "cache": _cache(problems),
        "problems": problems,
    }


def _processor(problems: list[str]) -> dict[str, Any]:
    flags = processor.vector_flags()
    quota = processor.cpu_quota()
    if quota is not None and quota < 1:
        problems.append(f"the container's CPU quota is {quota:.2f} of a core; training waits for the rest of the time")
    return {
        "model": processor.processor(),
        "vectors": "not known" if flags is None else " ".join(flags) or "none",
        "cores": os.cpu_count(),
        "schedulable_cores": processor.schedulable_cores(),
        "quota": "none" if quota is None else round(quota, 2),
        "usable_cores": processor.usable_cores(),
    }


def _settings(problems: list[str]) -> dict[str, Any]:
    """What a run without settings of its own would use, each with its reason."""
    from cnnkit.config.training import TrainingConfig

    chosen = choose_settings(TrainingConfig(), [], steps_per_epoch=1 << 30)
    gpu = chosen.device == "GPU"
    growth = os.environ.get("TF_FORCE_GPU_ALLOW_GROWTH") == "true"
    return {
        "device": chosen.device,
        "xla": f"{on_or_off(chosen.jit_compile)} ({chosen.reason})",
        "onednn": f"{on_or_off(chosen.onednn)} ({_onednn_reason(chosen.onednn)})",
        "threads": f"{chosen.threads} ({_threads_reason(chosen.threads, problems)})",
        "steps_per_execution": chosen.steps_per_execution,
        "dtype_policy": f"{chosen.dtype_policy} ({_dtype_reason(chosen)})",
        "gpu_memory": ("grows as needed" if growth else "is taken as a whole") if gpu else "no GPU",
    }


def _onednn_reason(in_use: bool) -> str:
    if set_by_user(ONEDNN):
        return f"{ONEDNN} is set"
    if not onednn_helps():
        return "TensorFlow's own rule: the processor is not known to have AVX2"
    return "the processor has AVX2" if in_use else "this TensorFlow has none, or was loaded without"


def _threads_reason(threads: int, problems: list[str]) -> str:
    usable = processor.usable_cores()
    if set_by_user(THREADS):
        if threads < usable:
            problems.append(f"{THREADS} leaves {usable - threads} of {usable} cores idle; unset it")
        return f"{THREADS} is set"
    if threads != usable:
        return "TensorFlow was started before"
    limited = usable < processor.schedulable_cores()
    return "the cores that the container's quota allows" if limited else "one for each core it may run on"


def _dtype_reason(chosen: Runtime) -> str:
    if chosen.device == "CPU":
        has = {None: "may have", True: "has", False: "has no"}[processor.multiplies_bfloat16()]
        return f"the rule for a CPU; the processor {has} instructions for bfloat16"
    return "no tensor cores" if chosen.dtype_policy == "float32" else "tensor cores"


def _variables(problems: list[str]) -> dict[str, str]:
    """The environment variables that matter, and who set them."""
    if set_by_user(ONEDNN) and os.environ[ONEDNN] == "0" and onednn_helps():
        problems.append(
            f"{ONEDNN}=0 turns oneDNN off, which makes training on this CPU slower by about a third; unset it"
        )
    return {
        name: "not set" if value is None else f"{value} (set by {'you' if set_by_user(name) else 'cnnkit'})"
        for name, value in variables().items()
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
    from cnnkit.terminal.tables import as_lines

    shown = {key: value for key, value in report.items() if key != "problems"}
    problems = [f"problem: {problem}" for problem in report["problems"]] or ["no problems found"]
    return "\n".join([as_lines(shown), "", *problems])
