"""Which processes train together, and which part of a batch is whose."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cnnkit.errors import UsageError
from cnnkit.machine.cluster import Cluster, cluster_of_environment
from cnnkit.machine.shares import bounds

HOSTS = ["a:2222", "b:2222", "c:2222"]


def told(cluster: Any, kind: str, index: Any) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": kind, "index": index}})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (told({"worker": HOSTS}, "worker", 2), Cluster(3, 2, "TF_CONFIG")),
        # As Vertex and Kubernetes' operators write it.
        (told({"chief": HOSTS[:1], "worker": HOSTS[1:]}, "chief", 0), Cluster(3, 0, "TF_CONFIG")),
        (told({"chief": HOSTS[:1], "worker": HOSTS[1:]}, "worker", 1), Cluster(3, 2, "TF_CONFIG")),
        (told({"worker": HOSTS}, "worker", "1"), Cluster(3, 1, "TF_CONFIG")),
        # A process alone is none.
        (told({"worker": HOSTS[:1]}, "worker", 0), None),
        (told({"chief": HOSTS[:1]}, "chief", 0), None),
        ("{}", None),
        ("", None),
    ],
)
def test_tf_config(text: str, expected: Cluster | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    assert cluster_of_environment(slurm=False) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{cluster", "TF_CONFIG is no JSON: {cluster"),
        (told(HOSTS, "worker", 0), "does not say who trains"),
        (told({"worker": "a:1,b:1"}, "worker", 0), "does not say who trains"),
        (told({"worker": HOSTS}, "worker", None), "does not say who trains"),
        (told({"worker": HOSTS}, "worker", 3), "makes this process worker 3 of 3, counted from 0"),
        (told({"worker": HOSTS, "ps": HOSTS}, "ps", 0), "makes this process a `ps`"),
        (told({"worker": HOSTS}, "evaluator", 0), "makes this process a `evaluator`"),
        (json.dumps({"cluster": {"worker": HOSTS}}), "does not say who trains"),
    ],
)
def test_a_tf_config_that_cannot_be_understood(text: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(UsageError, match=message):
        cluster_of_environment(slurm=False)


def test_slurm_has_to_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tasks of a job step may be strangers to each other."""
    monkeypatch.delenv("TF_CONFIG", raising=False)
    monkeypatch.setenv("SLURM_PROCID", "3")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "8")
    assert cluster_of_environment(slurm=False) is None
    assert cluster_of_environment(slurm=True) == Cluster(8, 3, "Slurm")


@given(st.integers(1, 600), st.integers(0, 5000))
def test_shares_are_a_partition_of_the_batch(replicas: int, whole: int) -> None:
    """In order, without a gap, and of sizes that differ by one image at most."""
    parts = [bounds(replica, replicas, whole) for replica in range(replicas)]
    assert [number for first, end in parts for number in range(first, end)] == list(range(whole))
    sizes = {end - first for first, end in parts}
    assert max(sizes) - min(sizes) <= 1
