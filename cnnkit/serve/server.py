"""Listening on an address, and running an application there until Ctrl-C."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import logging
import socket
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import click
import uvicorn
from PIL import Image

from cnnkit.errors import CnnkitError, UsageError
from cnnkit.rundir import Run
from cnnkit.score import check_model

log = logging.getLogger("cnnkit")

#: What open requests get to end after Ctrl-C.
SHUTDOWN_SECONDS = 3


def serve(runs: Sequence[Run], host: str, port: int) -> None:
    """See `cnnkit.serve.serve`."""
    from cnnkit.serve.app import create_app

    for run in runs:
        check_model(run)
    # Before the networks are loaded, so that a taken port is reported at once.
    with contextlib.closing(listen(host, port)) as listener:
        address = address_of(listener, host)
        # Such images are refused with a message to who sent them.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        hosts = None
        if not is_loopback(listener):
            hosts = ["*"]
            log.warning("whoever reaches this machine's %s can use this server; it asks for no password", host)
        app = create_app(runs, hosts)
        server = server_of(app, lambda: click.echo(f"serving {address}  (Ctrl-C ends it)"))
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[listener])
        if not server.started:
            raise CnnkitError("the server could not be started")


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        UsageError: if it cannot.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address[:2], family=family)
    except socket.gaierror:
        raise UsageError(
            f"`{host}` is no address of this machine", "Use --host 127.0.0.1, or 0.0.0.0 for all addresses."
        ) from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise UsageError(
                f"port {port} of {host} is taken by another program", "Name another with --port; 0 takes a free one."
            ) from None
        if error.errno == errno.EACCES:
            raise UsageError(f"you may not listen on port {port}", "Take one above 1023 with --port.") from None
        raise UsageError(f"cannot listen on port {port} of {host}: {error.strerror or error}") from None


def is_loopback(listener: socket.socket) -> bool:
    """Whether only programs of this machine can reach it."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def address_of(listener: socket.socket, host: str) -> str:
    """What to type into a browser."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}/"


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
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    return _Server(config, started)
