"""Listening for browsers: the extra's packages, the socket, and its address."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Sequence

from cnnkit.errors import UsageError
from cnnkit.machine import packages

LOOPBACK = "127.0.0.1"

#: What the extra `serve` installs.
PACKAGES = ("fastapi", "uvicorn", "python_multipart")


def check_packages() -> None:
    """Whether the extra `serve` is installed.

    Raises:
        CnnkitError: if it is not.
    """
    packages.check_packages(PACKAGES, "the page", "serve")


def listen(host: str, ports: Sequence[int]) -> socket.socket:
    """A socket that listens on the first port that is free.

    Args:
        host: The name or address to bind to.
        ports: Ports to try, in this order; 0 stands for any free one.

    Raises:
        UsageError: if none is free, or the host is not one of this machine's.
    """
    for port in ports:
        try:
            return _listening(host, port)
        except (socket.gaierror, UnicodeError):  # not found, or not even a name
            raise UsageError(
                f"`{host}` is no address of this machine", "Use --host 127.0.0.1, or 0.0.0.0 for all addresses."
            ) from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE and port != ports[-1]:
                continue
            raise _refused(host, ports, error) from None
    raise ValueError("expected at least one port")


def _refused(host: str, ports: Sequence[int], error: OSError) -> UsageError:
    first, last = ports[0], ports[-1]
    if error.errno == errno.EADDRINUSE:
        taken = f"port {first} of {host} is" if first == last else f"the ports {first} to {last} of {host} are"
        return UsageError(f"{taken} taken by another program", "Name another with --port; 0 takes a free one.")
    if error.errno == errno.EACCES:
        return UsageError(f"you may not listen on port {first}", "Take one above 1023 with --port.")
    return UsageError(f"cannot listen on port {first} of {host}: {error.strerror or error}")


def _listening(host: str, port: int) -> socket.socket:
    # asyncio sends answers at once, without Nagle's wait of 40 ms for more, only where a socket names its protocol;
    # those of socket.create_server do not.
    infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = infos[0]
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":
            # Else the port stays taken for a minute after a server has ended.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def is_loopback(listener: socket.socket) -> bool:
    """Whether only programs of this machine can reach it."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def address(listener: socket.socket, host: str) -> str:
    """The page's address for a browser on this machine, or, where all addresses are bound, for one elsewhere."""
    port = listener.getsockname()[1]
    name = socket.gethostname() if host in ("0.0.0.0", "::", "") else host
    return f"http://{f'[{name}]' if ':' in name else name}:{port}/"
