"""`cnnkit serve`: a page and a JSON endpoint that classify images with trained networks.

Needs the extra `serve`; importing this package does not.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnkit.errors import CnnkitError

if TYPE_CHECKING:
    from fastapi import FastAPI

    from cnnkit.rundir import Run

#: What the extra `serve` installs.
PACKAGES = ("fastapi", "uvicorn", "python_multipart")


def check_packages() -> None:
    """Whether the extra `serve` is installed.

    Raises:
        CnnkitError: if it is not.
    """
    for package in PACKAGES:
        try:
            importlib.import_module(package)
        except ImportError:
            raise CnnkitError(
                f"`cnnkit serve` needs the package {package}, which is not installed", 'pip install "cnnkit[serve]"'
            ) from None


def create_app(runs: Sequence[Run], hosts: Sequence[str] | None = None) -> FastAPI:
    """The page and the endpoints as an ASGI application; loads the networks.

    Args:
        runs: At least one; their names tell them apart, or their paths where two have one name.
        hosts: What a request's Host header may name; by default this machine's names for itself. `["*"]` allows any.

    Raises:
        CnnkitError: if the extra is missing, or a run has no model that can be used.
        UsageError: if no run is given, or one twice.
    """
    check_packages()
    from cnnkit.serve.app import create_app

    return create_app(runs, hosts)


def serve(runs: Sequence[Run], host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serves until Ctrl-C, and prints the address once the page can be opened.

    Args:
        runs: At least one.
        host: The address or name to listen on.
        port: 0 takes any that is free.

    Raises:
        UsageError: if the address cannot be listened on.
        CnnkitError: as for `create_app`.
    """
    check_packages()
    from cnnkit.serve.server import serve

    serve(runs, host, port)
