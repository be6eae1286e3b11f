"""What keeps other web sites away from a page on this machine."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

#: Methods that change nothing. What they answer, another site's scripts cannot read.
_HARMLESS = ("GET", "HEAD", "OPTIONS")

#: Scripts, styles and answers from this server, pictures also from the page itself; no frames, no forms that leave it.
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data: blob:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)

_HEADERS = [
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
]


class Protected:
    """An ASGI application that answers only its own page, with headers that hold the page to its own server.

    A request is refused (403, JSON `{"error": reason}`)

    * whose `Host` is not a name or address of this machine: a site whose name was made to lead here would else be
      taken for this page by the browser (DNS rebinding). An IP address is always one, for no name was looked up;
    * that would change something and comes from another origin, by `Sec-Fetch-Site` or `Origin`. A program that is no
      browser sends neither, and may.

    Args:
        app: The application to protect.
        names: What the machine is called, see `own_names`.
    """

    def __init__(self, app: Application, names: frozenset[str]) -> None:
        self.app = app
        self.names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        reason = _refusal(scope["method"], headers, self.names)
        if reason is not None:
            await _refuse(send, reason)
            return

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                present = {name.lower() for name, _ in message.get("headers", [])}
                added = [header for header in _HEADERS if header[0] not in present]
                message = {**message, "headers": [*message.get("headers", []), *added]}
            await send(message)

        await self.app(scope, receive, send_with_headers)


def own_names(host: str, allowed_hosts: Sequence[str] = ()) -> frozenset[str]:
    """The names by which this machine's pages may be called.

    Args:
        host: What the server is bound to.
        allowed_hosts: Names besides this one and the machine's own, such as that of a proxy in front of the server.
    """
    # Not socket.getfqdn, which may wait for a name server that is not there.
    return frozenset(name.lower() for name in ("localhost", host, socket.gethostname(), *allowed_hosts))


def _refusal(method: str, headers: MutableMapping[str, str], names: frozenset[str]) -> str | None:
    """Why a request is refused; None where it is not."""
    called = headers.get("host", "")
    name = _without_port(called)
    if name not in names and not _is_address(name):
        return (
            f"This server does not answer to the name `{name}`. Call it by its address or by the machine's name, "
            "or start it with --allow-host and this name."
        )
    if method in _HARMLESS:
        return None
    site = headers.get("sec-fetch-site", "same-origin")
    origin = headers.get("origin")
    if site not in ("same-origin", "none") or (origin is not None and origin.partition("://")[2] != called):
        return "Another site's page may not change anything here."
    return None


def _without_port(host: str) -> str:
    """The name or address in a `Host` header, in small letters; of an IPv6 address, what is inside its brackets."""
    host = host.strip().lower()
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _refuse(send: Send, reason: str) -> None:
    body = json.dumps({"error": reason}).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *_HEADERS,
    ]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": body})
