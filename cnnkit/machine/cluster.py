"""Which processes train together, as TF_CONFIG or Slurm says: known before TensorFlow is loaded."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

from cnnkit.errors import UsageError

#: How Kubernetes' operators, Vertex and `cnnkit launch` tell each process of the others.
TF_CONFIG = "TF_CONFIG"

#: Variables of a Slurm job step; TensorFlow's resolver reads the others.
SLURM_RANK, SLURM_SIZE = "SLURM_PROCID", "SLURM_STEP_NUM_TASKS"

#: The roles that train, in the order of their ranks.
TRAINING = ("chief", "worker")

_EXPECTED = (
    'Expected, as in: {"cluster": {"worker": ["host1:2222", "host2:2222"]}, "task": {"type": "worker", "index": 0}}'
)


@dataclass(frozen=True)
class Cluster:
    """Processes that train one network together.

    Attributes:
        workers: How many.
        rank: This process' place among them; 0 is the chief, which writes the run.
        told_by: `TF_CONFIG` or `Slurm`.
    """

    workers: int
    rank: int
    told_by: str


def cluster_of_environment(*, slurm: bool) -> Cluster | None:
    """The cluster that this process belongs to; None where nothing says so, or where it is alone.

    Args:
        slurm: Whether to look at Slurm's variables, too. Tasks of a job step may be strangers to each other, as in a
            sweep, so that it has to be asked for; TF_CONFIG is set for one purpose alone.

    Raises:
        UsageError: if TF_CONFIG cannot be understood, or gives this process a part that cnnkit does not know.
    """
    text = os.environ.get(TF_CONFIG, "").strip()
    cluster = _of_tf_config(text) if text else _of_slurm() if slurm else None
    return cluster if cluster is not None and cluster.workers > 1 else None


def _of_tf_config(text: str) -> Cluster | None:
    try:
        told = json.loads(text)
    except ValueError:
        raise UsageError(f"TF_CONFIG is no JSON: {text[:200]}", _EXPECTED) from None
    addresses = told.get("cluster") if isinstance(told, dict) else None
    if not addresses:
        # What single machines get: `{}`, or a task alone.
        return None
    task = told.get("task")
    kind, index = (task.get("type"), task.get("index")) if isinstance(task, dict) else (None, None)
    if not _is_cluster(addresses) or not isinstance(index, int | str) or not str(index).isdecimal():
        raise UsageError(f"TF_CONFIG does not say who trains: {text[:500]}", _EXPECTED)
    if kind not in TRAINING:
        raise UsageError(
            f"TF_CONFIG makes this process a `{kind}`, which cnnkit has no work for",
            "Start cnnkit as `chief` or `worker`; it needs no parameter server and no evaluator.",
        )
    own = addresses.get(kind, [])
    if int(index) >= len(own):
        raise UsageError(f"TF_CONFIG makes this process {kind} {index} of {len(own)}, counted from 0", _EXPECTED)
    before = len(addresses.get("chief", [])) if kind == "worker" else 0
    return Cluster(sum(len(addresses.get(role, [])) for role in TRAINING), before + int(index), "TF_CONFIG")


def _is_cluster(addresses: Any) -> bool:
    return isinstance(addresses, dict) and all(
        isinstance(listed, list) and all(isinstance(address, str) for address in listed)
        for listed in addresses.values()
    )


def _of_slurm() -> Cluster | None:
    rank, size = os.environ.get(SLURM_RANK, ""), os.environ.get(SLURM_SIZE, "")
    if not rank.isdecimal() or not size.isdecimal():
        return None
    return Cluster(int(size), int(rank), "Slurm")
