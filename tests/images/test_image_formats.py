"""What is opened as an image, and what is not."""

from __future__ import annotations

import ast
import contextlib
import io
import os
import struct
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, ImageOps

from cnnkit.config.image_folder import image_header
from cnnkit.data import read_image
from cnnkit.images import formats
from cnnkit.images.formats import FORMATS, START_BYTES, CorruptImage, TooManyPixels, format_of, open_image

PACKAGE = Path(__file__).parents[2] / "cnnkit"

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `gs` that leaves a mark when it is started; the mark."""
    mark, program = tmp_path / "mark", tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {mark}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    return mark


def test_a_program_in_disguise_is_not_started(tmp_path: Path, ghostscript: Path) -> None:
    file = tmp_path / "cat.png"
    file.write_bytes(EPS)
    with pytest.raises(CorruptImage, match=r"cat\.png`: not an image"):
        read_image(file, None, 3)
    with pytest.raises(CorruptImage, match="not an image"):
        image_header(file)
    with pytest.raises(CorruptImage, match="not an image"):
        read_image(io.BytesIO(EPS), None, 3)
    assert not ghostscript.exists()
    # Pillow by itself starts it.
    with contextlib.suppress(OSError, subprocess.SubprocessError), Image.open(file) as opened:
        opened.load()
    assert ghostscript.exists()


def test_nothing_else_opens_images() -> None:
    found: dict[str, int] = {}
    for file in sorted(PACKAGE.rglob("*.py")):
        text = file.read_text("utf-8")
        for node in ast.walk(ast.parse(text)) if "PIL" in text else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func) in ("Image.open", "PIL.Image.open", "pillow.open"):
                name = file.relative_to(PACKAGE).as_posix()
                found[name] = found.get(name, 0) + 1
                assert "formats" in {keyword.arg for keyword in node.keywords}
    assert found == {"images/formats.py": 1}


@pytest.mark.parametrize("name", FORMATS)
def test_a_format_is_known_by_its_first_bytes(tmp_path: Path, name: str) -> None:
    file = tmp_path / "image.txt"
    Image.new("RGB", (20, 10), (200, 20, 30)).save(file, name)
    assert format_of(file.read_bytes()[:START_BYTES]) == name
    height, width, channels = read_image(file, None, 3).shape
    assert (height, width, channels) == (10, 20, 3) == image_header(file)
    # Pillow would have known it, too.
    with Image.open(file) as opened:
        assert opened.format == name
    assert set(FORMATS[name].suffixes) <= set(Image.registered_extensions())


def test_what_pillow_takes_for_another_format_is_none_of_ours() -> None:
    Image.init()
    for start in (b"%!PS-Adobe", b"%PDF-1.4", b"8BPS\0\1", b"P6 1 1 255\n", b"\0\0\1\0", b"<svg", b"", b"\x89PN"):
        assert format_of(start.ljust(16, b"\0")) is None


@pytest.mark.parametrize("kind", ["a named pipe", "a folder", "a device"])
def test_only_regular_files_are_opened(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "x.png"
    if kind == "a named pipe":
        os.mkfifo(file)
    elif kind == "a folder":
        file.mkdir()
    else:
        file.symlink_to("/dev/zero")
    with pytest.raises(CorruptImage, match=rf"x\.png` is {kind}"):
        read_image(file, None, 3)
    with pytest.raises(CorruptImage, match=f"is {kind}"):
        image_header(file)


@pytest.mark.filterwarnings("error")
def test_too_many_pixels_are_refused_by_our_own_limit_alone(tmp_path: Path) -> None:
    file = tmp_path / "large.gif"
    # Pillow warns from 89 megapixels on, and refuses 179.
    with file.open("wb") as stream:
        stream.write(b"GIF89a" + struct.pack("<HHBBB", 20_000, 15_000, 0, 0, 0))
        stream.write(b"," + struct.pack("<HHHHB", 0, 0, 20_000, 15_000, 0x80) + bytes(6) + b"\2\1\x44\0;")
    with open_image(file) as opened:
        assert opened.size == (20_000, 15_000)
    with pytest.raises(TooManyPixels, match=r"20000x15000 = 300,000,000 pixels; at most 299,500,000") as caught:
        read_image(file, None, 3, most_megapixels=299.5)
    assert "limit of 299.5 megapixels with `data.max_megapixels`" in str(caught.value)


def tiff_with_tiles(side: int) -> bytes:
    """A gray TIFF file of 16x16 pixels whose one tile claims `side` x `side`."""
    entries = [(256, 16), (257, 16), (258, 8), (259, 1), (262, 1), (322, side), (323, side), (324, 8), (325, 0)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + directory + bytes(4)


def test_tiles_larger_than_their_image_count() -> None:
    with pytest.raises(TooManyPixels, match="60000x60000"), open_image(io.BytesIO(tiff_with_tiles(60_000))):
        pass


ORIENTATIONS = [*range(1, 9), 0, 9, 6.0, -1, 65535, "6", "left", b"\6", (6, 6)]


@pytest.mark.filterwarnings("ignore:Metadata Warning")
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".avif"])
def test_orientations_that_are_none_are_ignored_as_pillow_does(tmp_path: Path, suffix: str) -> None:
    pixels = np.kron(np.arange(0, 240, 40, dtype=np.uint8).reshape(2, 3), np.ones((16, 16), np.uint8))
    for orientation in ORIENTATIONS:
        file = tmp_path / f"image{suffix}"
        exif = Image.Exif()
        exif[0x0112] = orientation
        with contextlib.suppress(struct.error, TypeError, ValueError):
            Image.fromarray(np.stack([pixels] * 3, -1)).save(file, exif=exif)
            with Image.open(file) as opened:
                expected = np.asarray(ImageOps.exif_transpose(opened))
            found = read_image(file, None, 3)
            np.testing.assert_array_equal(found, expected)
            assert image_header(file) == found.shape
            if isinstance(orientation, int):
                assert (found.shape[0] == 48) == (5 <= orientation <= 8)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP"])
def test_a_damaged_exif_block_turns_nothing(format: str) -> None:
    content = io.BytesIO()
    Image.new("RGB", (6, 8), (250, 0, 0)).save(content, format, exif=b"Exif\0\0no TIFF header", quality=95)
    found = read_image(content, None, 3)
    assert found.shape == (8, 6, 3) == image_header(content)  # type: ignore[arg-type]
    assert found[..., 0].min() > 240


def test_large_images_wait_for_each_other_in_the_order_of_their_coming() -> None:
    memory = formats._Memory(10)
    log: list[str] = []
    release = {name: threading.Event() for name in "abcd"}
    queued = {name: threading.Event() for name in "abcd"}

    def use(name: str, wanted: int) -> None:
        with memory.share(wanted):
            log.append(name)
            queued[name].set()
            release[name].wait(5)

    def start(name: str, wanted: int) -> threading.Thread:
        thread = threading.Thread(target=use, args=(name, wanted))
        thread.start()
        return thread

    threads = [start("a", 6)]
    queued["a"].wait(5)
    # `b` is larger than all there is, and has to be alone; `c` and `d` would fit beside `a`, but came later.
    for name, wanted in (("b", 99), ("c", 4), ("d", 4)):
        threads.append(start(name, wanted))
        while len(memory._waiting) < len(threads) - 1:
            pass
    assert log == ["a"]
    release["a"].set()
    queued["b"].wait(5)
    assert log == ["a", "b"]
    for name in "bcd":
        release[name].set()
    for thread in threads:
        thread.join(5)
    assert log == ["a", "b", "c", "d"]
    assert memory._free == 10


def test_memory_is_free_again_after_an_error() -> None:
    memory = formats._memory()
    before = memory._free
    content = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(content, "JPEG")
    for end in range(0, len(content.getvalue()), 97):
        with contextlib.suppress(CorruptImage):
            read_image(io.BytesIO(content.getvalue()[:end]), None, 3)
    assert memory._free == before
