"""Why a request is refused: a status and a message in words, as JSON."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from cnnkit.errors import CnnkitError

log = logging.getLogger("cnnkit")

BAD_REQUEST = 400
NOT_FOUND = 404
TIMEOUT = 408
TOO_LARGE = 413
UNSUPPORTED = 415
UNPROCESSABLE = 422
BROKEN = 500
OVERLOADED = 503

RETRY_AFTER_SECONDS = 1


class Refused(CnnkitError):
    """A request cannot be answered as it is.

    Args:
        status: The HTTP status, 4xx or 503.
        message: What was received and what is expected.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


def add_handlers(app: FastAPI) -> None:
    """Lets an application answer every error with `{"error": message}`, without a traceback."""

    @app.exception_handler(Refused)
    async def refused(request: Request, error: Refused) -> JSONResponse:
        return answer(error.status, error.message)

    @app.exception_handler(CnnkitError)
    async def unusable(request: Request, error: CnnkitError) -> JSONResponse:
        return answer(UNPROCESSABLE, error.message)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        problems = [f"`{problem['loc'][-1]}`: {problem['msg']}" for problem in error.errors()]
        return answer(UNPROCESSABLE, "; ".join(problems))

    @app.exception_handler(HTTPException)
    async def not_served(request: Request, error: HTTPException) -> JSONResponse:
        message = f"{request.method} {request.url.path}: {error.detail}"
        return answer(error.status_code, message, dict(error.headers or {}))

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> JSONResponse:
        # Nobody reads it.
        return answer(BAD_REQUEST, "the request is not complete")

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> JSONResponse:
        log.error("%s %s failed; this is a mistake in cnnkit", request.method, request.url.path, exc_info=error)
        return answer(BROKEN, "this is a mistake in cnnkit; the server's terminal shows where")


def answer(status: int, message: str, headers: dict[str, Any] | None = None) -> JSONResponse:
    headers = headers or {}
    if status == OVERLOADED:
        headers["Retry-After"] = str(RETRY_AFTER_SECONDS)
    # A file's name may hold half of a surrogate pair, which no encoding of the answer has.
    shown = message.encode("utf-8", "backslashreplace").decode()
    return JSONResponse({"error": shown}, status, headers)
