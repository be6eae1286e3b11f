"""Which workers train together, at which addresses, and what each is told of it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cnnkit.errors import UsageError
from cnnkit.machine.processor import SHARING

#: The variable by which TensorFlow learns of its cluster; Kubernetes' operators and Vertex set it, too.
TF_CONFIG = "TF_CONFIG"

MOST_WORKERS = 1000

#: A name or an IPv4 address, or an IPv6 address in brackets; and a port.
_ADDRESS = re.compile(r"(?P<host>[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,6})")


@dataclass(frozen=True)
class Cluster:
    """The workers that train together, all of them here or one of them here.

    Attributes:
        workers: How many there are.
        hosts: Where they are, `host:port` by rank; none where all are on this machine.
        rank: The one to be started here; None for all.
    """

    workers: int
    hosts: tuple[str, ...] = ()
    rank: int | None = None

    @property
    def is_local(self) -> bool:
        return self.rank is None

    @property
    def ranks(self) -> range:
        """The workers to be started here."""
        return range(self.workers) if self.rank is None else range(self.rank, self.rank + 1)

    @property
    def command(self) -> str:
        """What a user writes before `train`."""
        options = f"--workers {self.workers}" if self.is_local else f"--hosts {','.join(self.hosts)} --rank {self.rank}"
        return f"cnnkit launch {options}"

    def environments(self) -> dict[int, dict[str, str]]:
        """By rank, the variables of each worker to be started here; with new ports on this machine at each call."""
        addresses = self.hosts or tuple(f"127.0.0.1:{port}" for port in _free_ports(self.workers))
        sharing = {SHARING: str(self.workers)} if self.is_local else {}
        return {rank: {TF_CONFIG: _tf_config(addresses, rank), **sharing} for rank in self.ranks}


def make_cluster(workers: int | None, hosts: str | None, rank: int | None) -> Cluster:
    """The cluster that `--workers`, or `--hosts` and `--rank`, describe.

    Raises:
        UsageError: if they do not fit together, an address is none or comes twice, or TF_CONFIG is set already.
    """
    if os.environ.get(TF_CONFIG):
        raise UsageError(
            f"{TF_CONFIG} is set: something else has put workers together already",
            f"Leave out `cnnkit launch --...` and run `cnnkit train` on each of them, or unset {TF_CONFIG}.",
        )
    if workers is not None:
        if hosts is not None or rank is not None:
            raise UsageError(
                "--workers starts all workers on this machine, --hosts and --rank one worker of several machines; "
                "leave out one or the other"
            )
        return Cluster(workers)
    if hosts is None:
        wanted = "--rank goes with --hosts;" if rank is not None else "how many workers?"
        raise UsageError(f"{wanted} expected --workers N, or --hosts HOST:PORT,HOST:PORT --rank K")
    addresses = _addresses(hosts)
    expected = f"which of the {len(addresses)} hosts is this one? expected --rank 0 to {len(addresses) - 1}"
    if rank is None:
        raise UsageError(expected)
    if rank >= len(addresses):
        raise UsageError(f"{expected}, got {rank}")
    return Cluster(len(addresses), addresses, rank)


def _addresses(hosts: str) -> tuple[str, ...]:
    addresses = tuple(part.strip() for part in hosts.split(","))
    if len(addresses) > MOST_WORKERS:
        raise UsageError(f"--hosts: expected at most {MOST_WORKERS:,} addresses, got {len(addresses):,}")
    for address in addresses:
        found = _ADDRESS.fullmatch(address)
        if found is None:
            raise UsageError(f"--hosts: expected HOST:PORT, got `{address}`", "Such as --hosts node1:2222,node2:2222")
        if not 1 <= int(found["port"]) <= 65535:
            raise UsageError(f"--hosts: expected a port from 1 to 65535, got `{address}`")
    for address in addresses:
        if addresses.count(address) > 1:
            raise UsageError(f"--hosts: `{address}` comes twice", "Each worker needs an address of its own.")
    return addresses


def _tf_config(addresses: Sequence[str], rank: int) -> str:
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": rank}})


def _free_ports(count: int) -> list[int]:
    """Ports on which nobody listens at this moment. All are held until the last is known, or one could come twice."""
    with contextlib.ExitStack() as held:
        return [held.enter_context(_listener()).getsockname()[1] for _ in range(count)]


@contextlib.contextmanager
def _listener() -> Iterator[socket.socket]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        yield listener
