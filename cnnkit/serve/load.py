"""How much the server takes on at a time: bytes that it holds and images that wait."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from cnnkit.serve.refusals import OVERLOADED, Refused

#: Of all requests together.
MOST_BYTES = 256 << 20
MOST_IMAGES = 1024


@dataclass
class Load:
    """What all requests hold that are not answered yet; used only by the event loop's thread.

    Attributes:
        most_bytes: Of bodies in memory.
        most_images: Received and not yet classified.
    """

    most_bytes: int = MOST_BYTES
    most_images: int = MOST_IMAGES
    bytes: int = 0
    images: int = 0

    @contextlib.contextmanager
    def request(self) -> Iterator[Share]:
        """A request's share; what it holds is free again at the block's end."""
        share = Share(self)
        try:
            yield share
        finally:
            self.bytes -= share.bytes
            self.images -= share.images


@dataclass
class Share:
    """What one request holds."""

    load: Load
    bytes: int = 0
    images: int = 0

    def add(self, bytes: int = 0, images: int = 0) -> None:
        """Takes on more.

        Raises:
            Refused: if all requests together would hold too much.
        """
        load = self.load
        if load.bytes + bytes > load.most_bytes or load.images + images > load.most_images:
            raise Refused(OVERLOADED, "the server is busy with other requests; try again in a second")
        load.bytes += bytes
        load.images += images
        self.bytes += bytes
        self.images += images
