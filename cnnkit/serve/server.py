"""Listening on an address, and running an application there until Ctrl-C."""

from __future__ import annotations

import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn

from cnnkit.errors import CnnkitError
from cnnkit.pages.connections import BoundedConnection, backlog
from cnnkit.pages.listening import address, is_loopback, listen
from cnnkit.pages.security import own_names
from cnnkit.runs.predictor import Predictor
from cnnkit.terminal.console import echo

log = logging.getLogger("cnnkit")

#: What open requests get to end after Ctrl-C.
SHUTDOWN_SECONDS = 3


def serve(
    predictors: Sequence[Predictor],
    host: str,
    port: int,
    allowed_hosts: Sequence[str],
    max_megapixels: float | None,
    threshold: float | None,
) -> None:
    """See `cnnkit.serve.serve`."""
    from cnnkit.serve.app import create_app

    for predictor in predictors:
        predictor.check_model()
    # Before the networks are loaded, so that a taken port is reported at once.
    with contextlib.closing(listen(host, [port])) as listener:
        shown = address(listener, host)
        if not is_loopback(listener):
            log.warning("whoever reaches this machine's %s can use this server; it asks for no password", host)
        app = create_app(predictors, own_names(host, allowed_hosts), max_megapixels, threshold)
        server = server_of(app, lambda: echo(f"serving {shown}  (Ctrl-C ends it)"))
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
        if not server.started:
            raise CnnkitError("the server could not be started")


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_start = started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_start()


def server_of(app: Any, started: Callable[[], None]) -> uvicorn.Server:
    """A server for an ASGI application; its `run(sockets=[...])` ends with Ctrl-C, or once `should_exit` is set.

    Args:
        app: The application.
        started: Called once it answers.
    """
    # What clients send is answered to them; it is no news for the terminal, nor is it that Ctrl-C cuts them off.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
    config = uvicorn.Config(
        app,
        http=BoundedConnection,
        ws="none",
        backlog=backlog(),
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    return _Server(config, started)
