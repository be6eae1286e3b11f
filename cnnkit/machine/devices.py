"""The devices that train one network together: one, all of a machine, or those of several processes.

What `tf.distribute` offers beyond variables on several devices is little used: shares of batches, what they depend on,
and the adding up of metrics are cnnkit's own.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from cnnkit import __version__
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.machine.cluster import TRAINING, Cluster, cluster_of_environment
from cnnkit.machine.rendezvous import meet
from cnnkit.machine.tensorflow import load_tensorflow

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

log = logging.getLogger("cnnkit")

#: What a config may ask for.
Strategy = Literal["auto", "one_device", "mirrored", "multi_worker"]

#: Bytes of a text that the chief tells the others.
_LONGEST_TEXT = 4096


@dataclass(frozen=True, eq=False)
class Devices:
    """The devices of a training.

    Attributes:
        name: `one_device`, `mirrored` or `multi_worker`.
        strategy: TensorFlow's; None for one device.
        local: Replicas in this process.
        workers: Processes that train together.
        rank: This process' place among them.
    """

    name: Literal["one_device", "mirrored", "multi_worker"] = "one_device"
    strategy: Any = None
    local: int = 1
    workers: int = 1
    rank: int = 0

    @property
    def replicas(self) -> int:
        """Parts that a batch is divided into."""
        return self.local * self.workers

    @property
    def own(self) -> range:
        """The replicas of this process, among all of them."""
        return range(self.rank * self.local, (self.rank + 1) * self.local)

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the run."""
        return self.rank == 0

    def scope(self) -> AbstractContextManager[Any]:
        """Inside it, variables are made that all replicas have alike."""
        scope: AbstractContextManager[Any] = self.strategy.scope() if self.strategy else contextlib.nullcontext()
        return scope

    def sum(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The sums over all workers, each of which gives arrays of the same shapes and types; in float64 between."""
        if self.workers == 1:
            return list(arrays)
        values = np.concatenate([np.asarray(array, np.float64).ravel() for array in arrays] or [np.zeros(0)])
        total = self._all_reduce(values).numpy() if values.size else values
        ends = np.cumsum([np.size(array) for array in arrays])[:-1]
        parts = np.split(total, ends)
        return [
            part.reshape(np.shape(array)).astype(np.asarray(array).dtype)
            for part, array in zip(parts, arrays, strict=True)
        ]

    def gather(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What every worker gives, stacked by rank: [workers, ...] of each array."""
        own = []
        for array in arrays:
            stacked = np.zeros((self.workers, *np.shape(array)), np.asarray(array).dtype)
            stacked[self.rank] = array
            own.append(stacked)
        return self.sum(own)

    def broadcast(self, text: str) -> str:
        """What the chief says; the others' text is ignored."""
        if self.workers == 1:
            return text
        said = np.zeros(_LONGEST_TEXT, np.float64)
        if self.is_chief:
            encoded = text.encode("utf-8", "surrogateescape")
            if len(encoded) > _LONGEST_TEXT:
                raise CnnkitError(f"a text of {len(encoded):,} bytes cannot be told to the other workers")
            said[: len(encoded)] = list(encoded)
        (heard,) = self.sum([said])
        return bytes(heard.astype(np.uint8)).rstrip(b"\0").decode("utf-8", "surrogateescape")

    def concatenate(self, tensors: Sequence[Any]) -> list[list[np.ndarray]]:
        """What every worker gives, by rank: arrays that may differ in their first axis."""
        if self.workers == 1:
            return [list(tensors)]
        (counts,) = self.gather([np.array([len(tensor) for tensor in tensors])])
        joined = [self._joined(np.asarray(tensor)) for tensor in tensors]
        parts = [np.split(array, np.cumsum(counts[:, index])[:-1]) for index, array in enumerate(joined)]
        return [[of_tensor[rank] for of_tensor in parts] for rank in range(self.workers)]

    def _joined(self, array: np.ndarray) -> np.ndarray:
        """All workers' arrays behind one another. Collectives know few types: smaller whole numbers travel as int32."""
        travelling = array.astype(np.int32) if array.dtype.kind in "biu" and array.dtype.itemsize < 4 else array
        joined: np.ndarray = self._all_gather(travelling).numpy()
        return joined.astype(array.dtype)

    def wait(self) -> None:
        """Returns when all workers have called it."""
        self.sum([np.zeros(1)])

    @cached_property
    def _all_reduce(self) -> Any:
        tf = load_tensorflow()
        first = self.own[0]

        @tf.function(autograph=False, reduce_retracing=True)
        def add_up(values: Any) -> Any:
            def of_replica() -> Any:
                context = tf.distribute.get_replica_context()
                counted = tf.equal(context.replica_id_in_sync_group, first)
                return context.all_reduce("SUM", tf.where(counted, values, tf.zeros_like(values)))

            return self.strategy.experimental_local_results(self.strategy.run(of_replica))[0]

        return lambda values: add_up(tf.constant(values))

    @cached_property
    def _all_gather(self) -> Any:
        tf = load_tensorflow()
        first = self.own[0]

        @tf.function(autograph=False, reduce_retracing=True)
        def join(values: Any) -> Any:
            def of_replica() -> Any:
                context = tf.distribute.get_replica_context()
                own = tf.where(tf.equal(context.replica_id_in_sync_group, first), tf.shape(values)[0], 0)
                return context.all_gather(values[:own], axis=0)

            return self.strategy.experimental_local_results(self.strategy.run(of_replica))[0]

        return lambda values: join(tf.constant(values))


ONE_DEVICE = Devices()


#: What an evaluation is shared out among.
_sharing: ContextVar[Devices] = ContextVar("sharing", default=ONE_DEVICE)


@contextlib.contextmanager
def together(devices: Devices) -> Iterator[None]:
    """Inside the block, all workers measure the same images together; each of them has to be inside."""
    token = _sharing.set(devices)
    try:
        yield
    finally:
        _sharing.reset(token)


def measuring() -> Devices:
    """What measures together with this process."""
    return _sharing.get()


class _Process:
    """TensorFlow joins a cluster once, before anything else.

    A strategy for the devices of this machine is made once, too: two number their collectives alike, and TensorFlow
    refuses one whose number another had with another shape, as when a later training has other gradients.
    """

    several: Devices | None = None
    mirrored: dict[tuple[str, ...], Devices] = {}


def join_others(wanted: Strategy, facts: Mapping[str, str]) -> None:
    """Joins the other processes that train with this one, if there are some, and waits for them.

    Called before TensorFlow computes anything: afterwards it is too late.

    Args:
        facts: What has to be equal in all of them, by its name.

    Raises:
        UsageError: if it cannot be understood who they are, or if they do not fit together.
        CnnkitError: if TensorFlow runs in this process already.
    """
    cluster = _cluster(wanted)
    if cluster is not None:
        _join(cluster, facts)


def joined() -> Devices:
    """The processes that this one has joined; itself alone where it has not."""
    return _Process.several or ONE_DEVICE


def open_devices(wanted: Strategy) -> Devices:
    """The devices that a config asks for.

    Raises:
        UsageError: if they are not there.
        CnnkitError: as `join_others`.
    """
    if wanted == "one_device":
        return ONE_DEVICE
    cluster = _cluster(wanted)
    if cluster is not None:
        return _join(cluster, {})
    if wanted == "multi_worker":
        raise UsageError(
            "training.strategy is `multi_worker`, but neither TF_CONFIG nor Slurm names other workers",
            "Start it with `cnnkit launch --workers N train ...`, or see docs/scaling.md.",
        )
    return _mirrored(required=wanted == "mirrored")


def is_follower(wanted: Strategy) -> bool:
    """Whether another process is the chief; asked before TensorFlow loads."""
    cluster = _cluster(wanted)
    return cluster is not None and cluster.rank > 0


def workers_here(wanted: Strategy) -> int:
    """How many processes are to train together; asked before TensorFlow loads."""
    cluster = _cluster(wanted)
    return 1 if cluster is None else cluster.workers


def _cluster(wanted: Strategy) -> Cluster | None:
    return cluster_of_environment(slurm=wanted == "multi_worker") if wanted in ("auto", "multi_worker") else None


def _mirrored(required: bool) -> Devices:
    tf = load_tensorflow()
    names = [device.name.removeprefix("/physical_device:") for device in tf.config.list_physical_devices("GPU")]
    if not names and required:
        # A machine's one CPU may have been divided into several devices.
        names = [device.name.removeprefix("/device:") for device in tf.config.list_logical_devices("CPU")]
    if len(names) < 2:
        if not required:
            return ONE_DEVICE
        raise UsageError(
            f"training.strategy is `mirrored`, but TensorFlow sees one device here: {', '.join(names)}",
            "Leave it at `auto`.",
        )
    known = tuple(names)
    if known not in _Process.mirrored:
        _Process.mirrored[known] = Devices("mirrored", tf.distribute.MirroredStrategy(names), local=len(names))
    return _Process.mirrored[known]


@contextlib.contextmanager
def _keeping_sigterm() -> Iterator[None]:
    """TensorFlow's notifier of preemptions takes SIGTERM for itself; Python's handler would hear of none any more."""
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if handler is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)


def _join(cluster: Cluster, facts: Mapping[str, str]) -> Devices:
    if _Process.several is not None:
        return _Process.several
    tf = load_tensorflow()
    experimental = tf.distribute.experimental
    gpus = tf.config.list_physical_devices("GPU")
    # With AUTO, two equal runs came to differ (https://github.com/tensorflow/tensorflow/issues/120987).
    kind = experimental.CommunicationImplementation.NCCL if gpus else experimental.CommunicationImplementation.RING
    resolvers = tf.distribute.cluster_resolver
    if cluster.told_by == "Slurm":
        # Slurm gives each task its GPUs. The resolver would ask a tool how many there are, and choose among them; with
        # numbers that fit any machine, it does neither.
        resolver = resolvers.SlurmClusterResolver(gpus_per_node=1024, gpus_per_task=1, auto_set_gpu=False)
    else:
        resolver = resolvers.TFConfigClusterResolver()
    told = resolver.cluster_spec().as_dict()
    addresses = [address for role in TRAINING for address in told.get(role, [])]
    versions = {"version of cnnkit": __version__, "version of TensorFlow": tf.__version__}
    meet(addresses, cluster.rank, {**versions, **facts}, log.warning)
    try:
        # Its coordination service makes collectives fail within 15 s when a worker is gone or does not answer.
        with _keeping_sigterm():
            strategy = tf.distribute.MultiWorkerMirroredStrategy(
                cluster_resolver=resolver, communication_options=experimental.CommunicationOptions(implementation=kind)
            )
    except RuntimeError as error:
        raise CnnkitError(
            f"TensorFlow runs in this process already, and cannot join other workers any more: {error}",
            "Train in a new process.",
        ) from None
    local = strategy.num_replicas_in_sync // cluster.workers
    _Process.several = Devices("multi_worker", strategy, local, cluster.workers, cluster.rank)
    return _Process.several
