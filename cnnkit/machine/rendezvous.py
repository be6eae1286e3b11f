"""Where the workers of a cluster meet before TensorFlow connects them.

TensorFlow waits for the others inside native code, which lets no other Python run: no signal is heard, no sign of life
given, and nobody is told for whom it waits. So the workers first meet here. Worker 0 listens at its own address, at
which TensorFlow listens afterwards; the others call there until all have come.
"""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from cnnkit.errors import CnnkitError, UsageError

#: Seconds after which is said for whom one waits, and between two looks at signals.
SECONDS_BEFORE_NOTE = 5.0
_SECONDS_BETWEEN_LOOKS = 0.2
_SECONDS_BETWEEN_CALLS = 0.5

_LARGEST_MESSAGE = 65536


def meet(addresses: Sequence[str], rank: int, facts: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Returns when all workers are here; until then it waits, however long that takes.

    Args:
        addresses: `host:port` of each worker, by rank; equal everywhere.
        rank: Which one this process is.
        facts: What has to be equal on all workers, by its name, such as the version of cnnkit.
        say: Is told for whom this worker waits, if that takes long.

    Raises:
        UsageError: if the workers do not agree about the cluster or the facts.
        CnnkitError: if worker 0 cannot listen at its address.
    """
    if len(addresses) == 1:
        return
    card = {"rank": rank, "facts": {**facts, "workers": ", ".join(addresses)}}
    if rank == 0:
        _receive(addresses, card, _Note(say))
    else:
        _call(addresses[0], card, _Note(say))


class _Note:
    """Says once, after some seconds, for whom one waits."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._due: float | None = time.monotonic() + SECONDS_BEFORE_NOTE

    def __call__(self, text: str) -> None:
        if self._due is not None and time.monotonic() > self._due:
            self._due = None
            self._say(text)


class _Guest:
    """A connection to worker 0, and what has come through it."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.received = b""
        self.rank: int | None = None

    def read(self) -> dict[str, Any] | None:
        """The card, as soon as it is whole.

        Raises:
            OSError, ValueError: if the other has gone, or is no worker.
        """
        content = self.connection.recv(4096)
        self.received += content
        if not content or len(self.received) > _LARGEST_MESSAGE:
            raise ValueError("no worker")
        if not self.received.endswith(b"\n"):
            return None
        card = json.loads(self.received)
        if not (isinstance(card, dict) and isinstance(card.get("rank"), int) and isinstance(card.get("facts"), dict)):
            raise ValueError("no worker")
        return card

    def tell(self, answer: str) -> None:
        with contextlib.suppress(OSError):
            self.connection.sendall(json.dumps(answer).encode() + b"\n")


def _receive(addresses: Sequence[str], own: Mapping[str, Any], note: _Note) -> None:
    """Worker 0: waits until the others have come, and lets them go together."""
    with _listening(addresses[0]) as listener, selectors.DefaultSelector() as selector:
        selector.register(listener, selectors.EVENT_READ)
        guests: dict[int, _Guest] = {}
        try:
            while len(guests) < len(addresses) - 1:
                missing = [rank for rank in range(1, len(addresses)) if rank not in guests]
                note("waiting for " + ", ".join(f"worker {rank} ({addresses[rank]})" for rank in missing))
                for key, _ in selector.select(_SECONDS_BETWEEN_LOOKS):
                    if key.data is None:
                        connection, _ = listener.accept()
                        selector.register(connection, selectors.EVENT_READ, _Guest(connection))
                    else:
                        _welcome(key.data, guests, own, len(addresses), selector)
            for guest in guests.values():
                guest.tell("go")
                # The one who closes first keeps the port busy for a while.
                with contextlib.suppress(OSError):
                    guest.connection.settimeout(1.0)
                    guest.connection.recv(1)
        finally:
            for key in list(selector.get_map().values()):
                if key.data is not None:
                    key.data.connection.close()


def _welcome(
    guest: _Guest, guests: dict[int, _Guest], own: Mapping[str, Any], workers: int, selector: selectors.BaseSelector
) -> None:
    """Reads what a guest sends; one that has gone, or is no worker, is forgotten.

    Raises:
        UsageError: if it is a worker that does not belong to this one.
    """
    try:
        card = guest.read()
    except (OSError, ValueError):
        if guest.rank is not None:
            del guests[guest.rank]
        selector.unregister(guest.connection)
        guest.connection.close()
        return
    if card is None:
        return
    problem = _disagreement(card, own, workers)
    if card["rank"] in guests:
        problem = f"there are two workers {card['rank']}"
    if problem is not None:
        for each in (guest, *guests.values()):
            each.tell(problem)
        raise UsageError(f"the workers do not fit together: {problem}")
    guest.rank = card["rank"]
    guests[card["rank"]] = guest


def _disagreement(card: Mapping[str, Any], own: Mapping[str, Any], workers: int) -> str | None:
    if not 1 <= card["rank"] < workers:
        return f"there is a worker {card['rank']}, but worker 0 knows of {workers} workers"
    for name, value in own["facts"].items():
        if card["facts"].get(name) != value:
            return f"{name}: {card['facts'].get(name)} on worker {card['rank']}, {value} on worker 0"
    return None


def _call(address: str, card: Mapping[str, Any], note: _Note) -> None:
    """Any other worker: calls worker 0 until that lets it go."""
    reason = "it does not answer yet"
    while True:
        note(f"waiting for worker 0 ({address}): {reason}")
        try:
            with socket.create_connection(_split(address), timeout=5.0) as connection:
                connection.sendall(json.dumps(card).encode() + b"\n")
                answer = _answer(connection, lambda: note(f"waiting for others; worker 0 ({address}) is here"))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            time.sleep(_SECONDS_BETWEEN_CALLS)
            continue
        if answer == "go":
            return
        raise UsageError(f"the workers do not fit together: {answer}")


def _answer(connection: socket.socket, waiting: Callable[[], None]) -> Any:
    """What worker 0 says in the end.

    Raises:
        OSError, ValueError: if it has gone.
    """
    connection.settimeout(_SECONDS_BETWEEN_LOOKS)
    received = b""
    while not received.endswith(b"\n"):
        waiting()
        try:
            content = connection.recv(4096)
        except TimeoutError:
            continue
        if not content:
            raise ValueError("it has ended")
        received += content
    return json.loads(received)


@contextlib.contextmanager
def _listening(address: str) -> Iterator[socket.socket]:
    """A socket at the port of an address, on all of this machine's interfaces, as TensorFlow's."""
    port = _split(address)[1]
    try:
        if socket.has_dualstack_ipv6():
            listener = socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024)
        else:
            listener = socket.create_server(("", port), backlog=1024)
    except OSError as error:
        raise CnnkitError(
            f"worker 0 cannot listen at {address}: {error.strerror or error}",
            "Something else may use the port; name another one.",
        ) from None
    with listener:
        yield listener


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)
