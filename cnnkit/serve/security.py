"""What keeps other pages in the user's browser from using the server, and the page from loading anything else."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from fastapi import FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from cnnkit.serve.refusals import answer

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "[::1]", "::1")

FORBIDDEN = 403

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def protect(app: FastAPI, hosts: Sequence[str] | None = None) -> None:
    """Adds the checks and the headers to an application.

    Args:
        app: The application.
        hosts: What a request's Host header may name; by default this machine's names for itself, so that a page of
            another name that resolves to this machine (DNS rebinding) reaches nothing. `["*"]` allows any.
    """
    # The last one added is the outermost: answers of the others get the headers too.
    app.add_middleware(_SameOrigin)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(hosts or LOOPBACK_HOSTS), www_redirect=False)
    app.add_middleware(_WithHeaders)


class _WithHeaders:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        await self.app(scope, receive, send_with_headers)


class _SameOrigin:
    """Refuses what a page of another origin sends: browsers name a page's origin with every POST."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] not in ("GET", "HEAD"):
            headers = Headers(scope=scope)
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc != headers.get("host"):
                response = answer(FORBIDDEN, f"requests from pages of another origin (`{origin}`) are refused")
                await response(scope, receive, send)
                return
        await self.app(scope, receive, send)
