"""How many clients may be connected at a time, and who has to make room when more come."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

#: More clients at a time than a page and its programs open; a quarter of the files that Linux lets a process open
#: (1,024).
MOST_CONNECTIONS = 256


def most_connections() -> int:
    """The connections that are held at a time: at most a quarter of the files that the process may open."""
    try:
        import resource
    except ImportError:  # Windows sets no such limit
        return MOST_CONNECTIONS
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        return MOST_CONNECTIONS
    return max(1, min(MOST_CONNECTIONS, allowed // 4))


def backlog() -> int:
    """The connections that wait in the system and are accepted in one go, before room can be made for them."""
    return max(1, most_connections() // 2)


class BoundedConnection(H11Protocol):
    """uvicorn's HTTP/1.1 protocol, for a server that clients who connect and say nothing cannot keep from answering.

    Once `most_connections()` are open, each further one takes the place of the oldest that waits for its client: one
    that has not sent its request yet goes before one that is sending a body or does not fetch its answer. Where all
    are being answered, the new one is closed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.opened = self.loop.time()
        self.most = most_connections()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        open_ones = [one for one in self.connections if not one.transport.is_closing()]
        if len(open_ones) <= self.most:
            return
        waiting = [one for one in open_ones if isinstance(one, BoundedConnection) and one.waits_for_client]
        # What has come last is among them.
        min(waiting, key=lambda one: (one.has_request, one.opened)).transport.abort()

    @property
    def has_request(self) -> bool:
        """Whether a request's head has arrived that is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def waits_for_client(self) -> bool:
        """Whether it is the client's turn: to send its request, or the rest of the body, or to fetch the answer."""
        return not self.has_request or self.conn.their_state is h11.SEND_BODY or self.flow.write_paused
