"""Colours of classes that people with any colour vision tell apart."""

from __future__ import annotations

#: The first two are of Okabe and Ito's palette. Each other one is, among the colours that are neither nearly black nor
#: nearly white, the farthest from all before it: in CIELAB, for normal vision and for the three kinds of dichromacy as
#: Machado, Oliveira and Fernandes (2009) simulate them, whichever distance is the smallest. Of the first 12, any two
#: are at least 23 apart for everybody, of all 24 at least 15.
COLOURS = (
    "#0078b4", "#d25a00", "#ffe1d2", "#5a2d2d", "#8700ff", "#a5ff00", "#b48769", "#3c2d5a", "#9696a5", "#69c3ff",
    "#872d0f", "#d24bff", "#00ff78", "#2d2db4", "#d2e1ff", "#785a69", "#f0a52d", "#f000c3", "#e10f3c", "#a50087",
    "#e1b496", "#69c35a", "#4b783c", "#5a0087",
)  # fmt: skip


def rgb(colour: str) -> tuple[int, int, int]:
    """A colour such as `#0078b4` as its three numbers, 0..255."""
    red, green, blue = bytes.fromhex(colour[1:])
    return red, green, blue
