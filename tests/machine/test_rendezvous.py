"""Workers meet before TensorFlow connects them; here each is a thread."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from cnnkit.errors import CnnkitError, UsageError
from cnnkit.machine import rendezvous
from cnnkit.machine.rendezvous import meet

FACTS = {"cnnkit": "1.0"}


def free_addresses(count: int) -> list[str]:
    with socket.socket() as first, socket.socket() as second, socket.socket() as third:
        sockets = (first, second, third)[:count]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]


Start = Callable[..., Future[None]]


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Starts a worker that goes to meet the others."""
    monkeypatch.setattr(rendezvous, "_SECONDS_BETWEEN_CALLS", 0.02)
    with ThreadPoolExecutor() as pool:

        def start(
            addresses: list[str],
            rank: int,
            facts: dict[str, str] = FACTS,
            say: Callable[[str], None] = lambda text: None,
        ) -> Future[None]:
            return pool.submit(meet, addresses, rank, facts, say)

        yield start


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_nobody_goes_on_before_all_are_here(order: tuple[int, ...], start: Start) -> None:
    addresses = free_addresses(3)
    early = [start(addresses, rank) for rank in order[:2]]
    time.sleep(0.2)
    assert [worker.done() for worker in early] == [False, False]
    for worker in (*early, start(addresses, order[2])):
        worker.result(10)
    # The port is free for TensorFlow at once.
    with socket.create_server(("127.0.0.1", int(addresses[0].split(":")[1]))):
        pass


def test_one_alone_waits_for_nobody() -> None:
    meet(["nowhere:1"], 0, FACTS, print)


@pytest.mark.parametrize("sent", [b'{"rank": 1', b'{"rank": 1, "facts": {"cnnkit": "1.0", "workers": "WORKERS"}}\n'])
def test_a_worker_that_dies_while_it_waits_is_waited_for_again(sent: bytes, start: Start) -> None:
    addresses = free_addresses(3)
    first = start(addresses, 0)
    with connect(addresses[0]) as connection:
        connection.sendall(sent.replace(b"WORKERS", ", ".join(addresses).encode()))
        time.sleep(0.1)
    time.sleep(0.1)
    last = start(addresses, 2)
    time.sleep(0.2)
    assert not first.done()
    for worker in (start(addresses, 1), first, last):
        worker.result(10)


def connect(address: str) -> socket.socket:
    host, port = address.split(":")
    until = time.monotonic() + 10
    while True:
        try:
            return socket.create_connection((host, int(port)), timeout=10)
        except OSError:
            assert time.monotonic() < until
            time.sleep(0.02)


@pytest.mark.parametrize("sent", [b"GET / HTTP/1.1\r\n\r\n", b"\xff\n", b"[]\n", b'{"rank": "1", "facts": {}}\n', b""])
def test_strangers_are_sent_away(sent: bytes, start: Start) -> None:
    addresses = free_addresses(2)
    first = start(addresses, 0)
    with connect(addresses[0]) as stranger:
        stranger.sendall(sent)
        stranger.shutdown(socket.SHUT_WR)
        assert stranger.recv(10) == b""
    start(addresses, 1).result(10)
    first.result(10)


@pytest.mark.parametrize("answer", [b"", b"\x00\x00\x12\x04\x00\n", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_listens_there_before_worker_0_does_is_called_again(answer: bytes, start: Start) -> None:
    """Such as a worker 0 of before, which has not noticed yet that the others have gone."""
    addresses = free_addresses(2)
    with socket.create_server(("127.0.0.1", int(addresses[0].split(":")[1]))) as other:
        later = start(addresses, 1)
        for _ in range(2):
            connection, _ = other.accept()
            with connection:
                connection.sendall(answer)
    first = start(addresses, 0)
    later.result(10)
    first.result(10)


def test_all_say_what_does_not_fit(start: Start) -> None:
    addresses = free_addresses(2)
    workers = [start(addresses, 0), start(addresses, 1, {"cnnkit": "2.0"})]
    for worker in workers:
        with pytest.raises(UsageError, match=r"do not fit together: cnnkit: 2\.0 on worker 1, 1\.0 on worker 0$"):
            worker.result(10)


def test_the_list_of_workers_has_to_be_the_same(start: Start) -> None:
    addresses = free_addresses(2)
    workers = [start(addresses, 0), start([addresses[0], "elsewhere:1"], 1)]
    for worker in workers:
        with pytest.raises(UsageError, match=rf"workers: {addresses[0]}, elsewhere:1 on worker 1, {addresses[0]}, "):
            worker.result(10)


def test_a_rank_comes_once_and_in_range(start: Start) -> None:
    addresses = free_addresses(3)
    workers = [start(addresses, 0), start(addresses, 1), start(addresses, 1)]
    for worker in workers:
        with pytest.raises(UsageError, match=r"there are two workers 1$"):
            worker.result(10)
    addresses = free_addresses(2)
    workers = [start(addresses, 0), start([*addresses, "c:1"], 2)]
    for worker in workers:
        with pytest.raises(UsageError, match=r"there is a worker 2, but worker 0 knows of 2 workers$"):
            worker.result(10)


def test_it_is_said_for_whom_one_waits(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rendezvous, "SECONDS_BEFORE_NOTE", 0.1)
    addresses = free_addresses(3)
    said: dict[int, list[str]] = {1: [], 0: []}
    late = start(addresses, 1, FACTS, said[1].append)
    wait_until(lambda: bool(said[1]))
    first = start(addresses, 0, FACTS, said[0].append)
    wait_until(lambda: bool(said[0]))
    last = start(addresses, 2)
    for worker in (late, first, last):
        worker.result(10)
    assert said[1] == [f"waiting for worker 0 ({addresses[0]}): Connection refused"]
    assert said[0] in (
        [f"waiting for worker 2 ({addresses[2]})"],
        [f"waiting for worker 1 ({addresses[1]}), worker 2 ({addresses[2]})"],
    )


def wait_until(is_true: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_port_that_is_taken_is_said() -> None:
    (address, _) = free_addresses(2)
    with socket.create_server(("", int(address.split(":")[1]))):
        with pytest.raises(CnnkitError, match=f"^worker 0 cannot listen at {address}: Address already in use"):
            meet([address, "b:1"], 0, FACTS, print)
