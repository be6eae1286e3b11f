"""The one thread that computes, and the queue before it: what came while it was busy is computed together."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Images computed at a time: more of them take less time each, but whoever comes next waits longer.
LARGEST_BATCH = 64

Images = NDArray[np.uint8]
Compute = Callable[[Images], Any]


@dataclass(frozen=True, eq=False)
class _Job:
    """Images for a network, or one call of a function.

    Args:
        compute: The network, or the function.
        images: [n, height, width, channels]; None for a function, which takes nothing.
        most: Images that the network may be given at a time.
        answer: Gets the network's rows for these images, or what the function returns.
        loop: Where `answer` is waited for.
    """

    compute: Callable[..., Any]
    images: Images | None
    most: int
    answer: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop

    @property
    def size(self) -> int:
        return 0 if self.images is None else len(self.images)


class Worker:
    """A thread that calls networks, for coroutines that wait for the answers.

    Nobody waits for others to come: a job that finds the thread idle is computed at once, and those that come in the
    meantime for one network are its next batch.
    """

    def __init__(self) -> None:
        self._jobs: deque[_Job] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="cnnkit-worker", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread after what it is computing; what is queued is cancelled."""
        with self._changed:
            self._ended = True
            self._changed.notify()
        self._thread.join()
        for job in self._jobs:
            job.answer.cancel()
        self._jobs.clear()

    async def compute(self, network: Compute, images: Images, most: int = LARGEST_BATCH) -> Any:
        """A network's outputs for some images.

        Args:
            network: From uint8 images [n, height, width, channels] to one row of outputs for each; the same object for
                all images that may be computed together.
            images: [n, height, width, channels].
            most: Images that it may be given at a time, so that they fit in memory; never more than LARGEST_BATCH.
        """
        # Batches are filled up to powers of two.
        most = 1 << (min(most, LARGEST_BATCH).bit_length() - 1)
        # One by one, so that a large request leaves others their turn.
        parts = [await self._add(network, images[start : start + most], most) for start in range(0, len(images), most)]
        return np.concatenate(parts)

    async def call(self, function: Callable[[], Any]) -> Any:
        """What a function returns that computes with TensorFlow."""
        return await self._add(function, None, 1)

    def _add(self, compute: Callable[..., Any], images: Images | None, most: int) -> asyncio.Future[Any]:
        loop = asyncio.get_running_loop()
        job = _Job(compute, images, most, loop.create_future(), loop)
        with self._changed:
            self._jobs.append(job)
            self._changed.notify()
        return job.answer

    def _work(self) -> None:
        while jobs := self._take():
            try:
                answers = _answers(jobs)
            except Exception as error:  # whatever it is, it concerns only these jobs
                _deliver(jobs, [error] * len(jobs))
            else:
                _deliver(jobs, answers)

    def _has_jobs(self) -> bool:
        """Whether somebody waits for an answer; the jobs of those that do no longer are dropped."""
        self._jobs = deque(job for job in self._jobs if not job.answer.done())
        return bool(self._jobs)

    def _take(self) -> list[_Job]:
        """The oldest job, and those for the same network that fit into one batch with it; none at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._has_jobs() or self._ended)
            if self._ended:
                return []
            first = self._jobs.popleft()
            taken, count = [first], first.size
            left: deque[_Job] = deque()
            for job in self._jobs:
                if first.size and job.compute is first.compute and count + job.size <= first.most:
                    taken.append(job)
                    count += job.size
                else:
                    left.append(job)
            self._jobs = left
            return taken


def _answers(jobs: Sequence[_Job]) -> list[Any]:
    first = jobs[0]
    if first.images is None:
        return [first.compute()]
    images = np.concatenate([job.images for job in jobs if job.images is not None])
    outputs = _filled(first.compute, images)
    ends = np.cumsum([job.size for job in jobs])
    return np.split(outputs, ends[:-1])


def _filled(network: Compute, batch: Images) -> NDArray[Any]:
    """The outputs for a batch, from one of few sizes: oneDNN keeps kernels and buffers for every size that it has met.

    Digits' small network held 150 MB more after batches of 1 to 300 images; filling batches up to powers of two
    bounds that.
    """
    missing = (1 << (len(batch) - 1).bit_length()) - len(batch)
    filled = np.concatenate([batch, np.zeros_like(batch, shape=(missing, *batch.shape[1:]))]) if missing else batch
    return np.asarray(network(filled))[: len(batch)]


def _deliver(jobs: Sequence[_Job], answers: Sequence[Any]) -> None:
    def set_all() -> None:
        for job, answer in zip(jobs, answers, strict=True):
            # Whoever asked may be gone.
            if job.answer.done():
                continue
            if isinstance(answer, Exception):
                job.answer.set_exception(answer)
            else:
                job.answer.set_result(answer)

    try:
        jobs[0].loop.call_soon_threadsafe(set_all)
    except RuntimeError:  # the server has ended, and nobody waits any more
        return
