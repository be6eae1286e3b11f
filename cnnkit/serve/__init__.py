"""`cnnkit serve`: a page and a JSON endpoint that ask trained networks about images.

Needs the extra `serve`; importing this package does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from cnnkit.pages.listening import LOOPBACK, check_packages
from cnnkit.pages.security import own_names

if TYPE_CHECKING:
    from fastapi import FastAPI

    from cnnkit.runs.predictor import Predictor


def create_app(
    predictors: Sequence[Predictor],
    host: str = LOOPBACK,
    allowed_hosts: Sequence[str] = (),
    max_megapixels: float | None = None,
    threshold: float | None = None,
) -> FastAPI:
    """The page and the endpoints as an ASGI application; loads the networks.

    Args:
        predictors: At least one run or exported file, see `runs.opening`; their names tell them apart, or their paths
            where two have one name.
        host: The address or name that the application is bound to.
        allowed_hosts: Names that requests may call it by, besides `host`, the machine's own and any address.
        max_megapixels: Images with more are refused; by default 64.
        threshold: What is said of an image has at least this score, 0..1; by default as each network has chosen it.

    Raises:
        CnnkitError: if the extra is missing, or a network cannot be used.
        UsageError: if none is given, or one twice; or a threshold for one whose answers have no scores.
    """
    check_packages()
    from cnnkit.serve.app import create_app

    return create_app(predictors, own_names(host, allowed_hosts), max_megapixels, threshold)


def serve(
    predictors: Sequence[Predictor],
    host: str = LOOPBACK,
    port: int = 8000,
    allowed_hosts: Sequence[str] = (),
    max_megapixels: float | None = None,
    threshold: float | None = None,
) -> None:
    """Serves until Ctrl-C, and prints the address once the page can be opened.

    Args:
        predictors: At least one run or exported file.
        host: The address or name to listen on.
        port: 0 takes any that is free.
        allowed_hosts, max_megapixels, threshold: As for `create_app`.

    Raises:
        UsageError: if the address cannot be listened on.
        CnnkitError: as for `create_app`.
    """
    check_packages()
    from cnnkit.serve.server import serve

    serve(predictors, host, port, allowed_hosts, max_megapixels, threshold)
