"""What computes the answers of `cnnkit serve`: one network at a time, for many requests at once."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import numpy as np

from cnnkit.errors import CnnkitError
from cnnkit.serve.worker import LARGEST_BATCH, Worker


def test_what_comes_while_it_is_busy_is_computed_together() -> None:
    sizes: list[int] = []
    entered, may_go_on = threading.Event(), threading.Event()

    def network(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        entered.set()
        assert may_go_on.wait(10)
        return images.astype(np.float64).sum(axis=(1, 2, 3))[:, None]

    def fails(images: np.ndarray) -> np.ndarray:
        raise CnnkitError("broken")

    async def ask_all(worker: Worker) -> list[Any]:
        jobs = [asyncio.ensure_future(worker.compute(network, np.full((1, 2, 2, 1), 1, np.uint8)))]
        await asyncio.to_thread(entered.wait, 10)
        for value in range(2, 32):
            images = np.full((value % 3 + 1, 2, 2, 1), value, np.uint8)
            jobs.append(asyncio.ensure_future(worker.compute(network, images)))
        jobs.append(asyncio.ensure_future(worker.compute(fails, np.zeros((1, 2, 2, 1), np.uint8))))
        jobs.append(asyncio.ensure_future(worker.call(lambda: "called")))
        await asyncio.sleep(0)
        may_go_on.set()
        return await asyncio.gather(*jobs, return_exceptions=True)

    worker = Worker()
    worker.start()
    try:
        *answers, failed, called = asyncio.run(ask_all(worker))
    finally:
        worker.stop()
    assert [answer[:, 0].tolist() for answer in answers] == [
        [4 * value] * (1 if value == 1 else value % 3 + 1) for value in range(1, 32)
    ]
    assert isinstance(failed, CnnkitError)
    assert called == "called"
    # 60 images in 30 requests: one batch, filled up to a power of two.
    assert sizes == [1, LARGEST_BATCH]


def test_a_network_gets_no_more_images_than_fit_in_memory() -> None:
    sizes: list[int] = []

    def network(images: np.ndarray) -> np.ndarray:
        sizes.append(len(images))
        return images.astype(np.float64).sum(axis=(1, 2, 3))[:, None]

    images = np.arange(20, dtype=np.uint8).reshape(20, 1, 1, 1)
    worker = Worker()
    worker.start()
    try:
        found = asyncio.run(worker.compute(network, images, 13))
    finally:
        worker.stop()
    assert found[:, 0].tolist() == list(range(20))
    assert sizes == [8, 8, 4]


def test_a_large_request_leaves_others_their_turn() -> None:
    answered: list[str] = []
    entered, may_go_on = threading.Event(), threading.Event()

    def network(images: np.ndarray) -> np.ndarray:
        entered.set()
        assert may_go_on.wait(10)
        return images.astype(np.float64).sum(axis=(1, 2, 3))[:, None]

    async def ask(worker: Worker, name: str, count: int) -> None:
        found = await worker.compute(network, np.ones((count, 1, 1, 1), np.uint8))
        assert found[:, 0].tolist() == [1] * count
        answered.append(name)

    async def ask_both(worker: Worker) -> None:
        large = asyncio.ensure_future(ask(worker, "large", 4 * LARGEST_BATCH))
        await asyncio.to_thread(entered.wait, 10)
        small = asyncio.ensure_future(ask(worker, "small", 1))
        await asyncio.sleep(0)
        may_go_on.set()
        await asyncio.gather(large, small)

    worker = Worker()
    worker.start()
    try:
        asyncio.run(ask_both(worker))
    finally:
        worker.stop()
    assert answered == ["small", "large"]
