"""Damaged images: valid files of every format, and what becomes of their bytes; a function of seed and number."""

from __future__ import annotations

import io
import random
import re
import struct
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
from PIL import Image

from cnnkit.images.formats import FORMATS, IMAGE_SUFFIXES

#: Numbers that headers are made to hold.
NUMBERS = (0, 1, 2, 3, 7, 255, 256, 4_000, 30_000, 65_535, 65_536, 100_000, 2**31 - 1, 2**31, 2**32 - 1)

#: What other programs open, under an image's name.
DISGUISES = (
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(x) (w) file closefile\nshowpage\n%%EOF\n",
    b"\xc5\xd0\xd3\xc6" + struct.pack("<6I", 32, 80, 0, 0, 0, 0) + bytes(4) + b"%!PS-Adobe-3.0 EPSF-3.0\n",
    b"%PDF-1.4\n1 0 obj\n<< /Type /Catalog >>\nendobj\ntrailer << /Root 1 0 R >>\n%%EOF\n",
    b'<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><script>alert(1)</script></svg>',
    b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(60),
    b"P6 8 8 255\n" + bytes(192),
    b"\0\0\1\0\1\0\x08\x08\0\0\1\0\x20\0\x40\0\0\0\x16\0\0\0" + bytes(64),
    b"SIMPLE  =                    T" + b" " * 50 + b"END" + b" " * 77,
    b"\xd7\xcd\xc6\x9a" + bytes(40),
    b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 " + bytes(40),
    b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40),
    b"PK\3\4" + bytes(60),
    b"#!/bin/sh\ntouch mark\n",
    b"",
)


@dataclass(frozen=True)
class Damaged:
    """One input.

    Attributes:
        kind: What was done to it.
        name: The file's name.
        content: Its bytes.
    """

    kind: str
    name: str
    content: bytes


@cache
def whole() -> tuple[tuple[str, bytes], ...]:
    """Valid files, with the format of each."""
    noise = np.random.default_rng(0).integers(0, 256, (24, 18, 4)).astype(np.uint8)
    colour, gray = Image.fromarray(noise[..., :3]), Image.fromarray(noise[..., 0])
    alpha, deep = Image.fromarray(noise), Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    exif = Image.Exif()
    exif[0x0112] = 6
    files: list[tuple[str, Any, dict[str, Any]]] = [
        *(("PNG", image, {}) for image in (colour, gray, alpha, deep, colour.quantize(), gray.convert("1"))),
        ("PNG", colour, {"exif": exif}),
        ("PNG", gray, {"transparency": 7}),
        *(("JPEG", image, {}) for image in (colour, gray, colour.convert("CMYK"))),
        ("JPEG", colour, {"progressive": True, "exif": exif}),
        ("JPEG", colour, {"restart_marker_blocks": 2, "subsampling": 0}),
        *(("BMP", image, {}) for image in (colour, gray, colour.quantize(), gray.convert("1"), alpha)),
        ("GIF", colour.quantize(), {"save_all": True, "append_images": [gray, colour]}),
        ("GIF", gray, {"transparency": 3, "interlace": 1}),
        *(("WEBP", image, {"lossless": lossless}) for image in (colour, alpha) for lossless in (True, False)),
        ("WEBP", colour, {"save_all": True, "append_images": [gray.convert("RGB")], "exif": exif}),
        *(("TIFF", image, {}) for image in (colour, gray, alpha, deep, colour.convert("CMYK"), gray.convert("1"))),
        ("TIFF", gray.convert("F").point(lambda value: value / 255), {}),
        *(("TIFF", colour, {"compression": name}) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
        ("TIFF", gray.convert("1"), {"compression": "group4"}),
        ("TIFF", colour, {"save_all": True, "append_images": [gray], "exif": exif}),
        ("TIFF", gray, {"big_tiff": True}),
        ("AVIF", colour, {}),
        ("AVIF", alpha, {"exif": exif}),
    ]
    found = []
    for name, image, options in files:
        stream = io.BytesIO()
        image.save(stream, name, **options)
        found.append((name, stream.getvalue()))
    return tuple(found)


def damaged(seed: int, number: int) -> Damaged:
    """The input of a number."""
    draw = random.Random(f"{seed}/{number}")
    name, content = draw.choice(whole())
    kind = draw.choice(list(KINDS))
    content = KINDS[kind](draw, name, content)
    suffixes = IMAGE_SUFFIXES if kind == "disguise" or draw.random() < 0.1 else FORMATS[name].suffixes
    return Damaged(kind, f"image{draw.choice(suffixes)}", content)


def _flips(draw: random.Random, name: str, content: bytes) -> bytes:
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 5, 20, 100))):
        found[draw.randrange(len(found))] ^= 1 << draw.randrange(8)
    return bytes(found)


def _cut(draw: random.Random, name: str, content: bytes) -> bytes:
    end = draw.randrange(len(content))
    return content[:end] + draw.choice((b"", b"", bytes(draw.randrange(100)), draw.randbytes(40)))


def _spliced(draw: random.Random, name: str, content: bytes) -> bytes:
    """A part left out, repeated, or replaced with that of another file."""
    start, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    other = draw.choice(whole())[1]
    part = draw.choice((b"", content[start:end] * draw.choice((2, 3, 50)), other[start:end], other))
    return content[:start] + part + content[end:]


def _numbered(draw: random.Random, name: str, content: bytes) -> bytes:
    """Numbers of the header, or of anywhere, set to extremes."""
    found = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4))):
        format = draw.choice((">B", ">H", "<H", ">I", "<I"))
        size = struct.calcsize(format)
        place = draw.randrange(max(1, min(len(found), draw.choice((64, 256, 10**9))) - size))
        found[place : place + size] = struct.pack(format, draw.choice(NUMBERS) % 256**size)
    return bytes(found)


def _bomb(draw: random.Random, name: str, content: bytes) -> bytes:
    """The image's own size set to another, where its format keeps it."""
    old = {"little": struct.pack("<HH", 18, 24), "big": struct.pack(">HH", 24, 18)}
    patterns: dict[str, tuple[bytes, str]] = {
        "PNG": (struct.pack(">II", 18, 24), ">II"),
        "JPEG": (old["big"], ">HH"),
        "BMP": (struct.pack("<ii", 18, 24), "<II"),
        "GIF": (old["little"], "<HH"),
        "WEBP": (old["little"], "<HH"),
        "TIFF": (b"", "<I"),
        "AVIF": (struct.pack(">II", 18, 24), ">II"),
    }
    pattern, format = patterns[name]
    if name == "TIFF":
        return _directory(draw, name, content, tags=(256, 257, 258, 277, 278, 279, 273, 322, 323))
    limit = 256 ** (struct.calcsize(format) // 2)
    place = content.find(pattern)
    if place < 0:
        return _numbered(draw, name, content)
    size = struct.pack(format, *(draw.choice(NUMBERS) % limit for _ in range(2)))
    return _with_sums(name, content[:place] + size + content[place + len(pattern) :])


def _chunks(draw: random.Random, name: str, content: bytes) -> bytes:
    """Chunks of a PNG file (their sums put right), segments of a JPEG, boxes and chunks of others, in disorder."""
    if name == "TIFF":
        return _directory(draw, name, content)
    starts = {
        "PNG": [match.start() - 4 for match in re.finditer(rb"[A-Z][A-Z][A-Z][A-Z]|tRNS|eXIf|IEND", content)],
        "JPEG": [match.start() for match in re.finditer(rb"\xff[\xc0-\xfe]", content)],
    }.get(name) or [match.start() for match in re.finditer(rb"[A-Za-z]{4}|[,!]", content)]
    cuts = [0, *sorted({max(0, start) for start in starts}), len(content)]
    parts = [content[start:end] for start, end in pairwise(cuts)]
    for _ in range(draw.choice((1, 2, 3))):
        place = draw.randrange(1, max(2, len(parts)))
        part = parts[place % len(parts)]
        action = draw.choice(("drop", "repeat", "swap", "many", "flip"))
        if action == "drop":
            del parts[place % len(parts)]
        elif action in ("repeat", "many"):
            parts[place:place] = [part] * (1 if action == "repeat" else 200)
        elif action == "swap":
            rest = parts[1:]
            draw.shuffle(rest)
            parts[1:] = rest
        elif part:
            parts[place % len(parts)] = _flips(draw, name, part)
        parts = parts or [b""]
    return _with_sums(name, b"".join(parts))


def _directory(draw: random.Random, name: str, content: bytes, tags: tuple[int, ...] = ()) -> bytes:
    """Entries of the first directory of a TIFF file: other tags, types, counts, values."""
    if name != "TIFF" or content[:4] != b"II*\0":
        return _numbered(draw, name, content)
    found = bytearray(content)
    (start,) = struct.unpack_from("<I", found, 4)
    (count,) = struct.unpack_from("<H", found, start)
    places = [start + 2 + 12 * index for index in range(count)]
    for _ in range(draw.choice((1, 1, 2, 5))):
        chosen = [place for place in places if not tags or struct.unpack_from("<H", found, place)[0] in tags]
        place = draw.choice(chosen or places)
        field = "value" if tags else draw.choice(("tag", "type", "count", "value"))
        if field == "tag":
            struct.pack_into("<H", found, place, draw.choice((*range(254, 350), 0x0112, 0x8769, 700, 34665)))
        elif field == "type":
            struct.pack_into("<H", found, place + 2, draw.choice((*range(20), 65_535)))
        else:
            struct.pack_into("<I", found, place + (4 if field == "count" else 8), draw.choice(NUMBERS))
    return bytes(found)


def _orientation(draw: random.Random, name: str, content: bytes) -> bytes:
    """An EXIF block whose orientation is anything."""
    values = (*range(-1, 10), 65_535, 6.0, 6.5, float("nan"), "6", "left", b"\6", (6, 6), (5, "x"))
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = draw.choice(values)
    try:
        with Image.open(io.BytesIO(content), formats=(name,)) as image, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image.save(stream, name, exif=exif)
    except Exception:  # Pillow writes not all of them
        return _numbered(draw, name, content)
    found = stream.getvalue()
    return found if draw.random() < 0.5 else _flips(draw, name, found)


def _disguise(draw: random.Random, name: str, content: bytes) -> bytes:
    """Another kind of file, or one that begins as another."""
    other = draw.choice(DISGUISES)
    return draw.choice((other, other, content[: draw.choice((2, 4, 8, 16, 40))] + other, other + content))


def _with_sums(name: str, content: bytes) -> bytes:
    """A PNG file with the sums of its chunks put right, so that more than those is tried."""
    if name != "PNG":
        return content
    found, place = bytearray(content), 8
    while place + 8 <= len(found):
        (length,) = struct.unpack_from(">I", found, place)
        end = place + 8 + length
        if end + 4 > len(found):
            break
        struct.pack_into(">I", found, end, zlib.crc32(found[place + 4 : end]))
        place = end + 4
    return bytes(found)


#: What may be done to a file.
KINDS: dict[str, Callable[[random.Random, str, bytes], bytes]] = {
    "flips": _flips,
    "cut": _cut,
    "splice": _spliced,
    "numbers": _numbered,
    "size": _bomb,
    "chunks": _chunks,
    "directory": _directory,
    "orientation": _orientation,
    "disguise": _disguise,
}
