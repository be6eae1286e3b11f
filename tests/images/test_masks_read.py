"""Reading masks, against the numbers that were written; and padding."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from cnnkit.images.formats import CorruptImage
from cnnkit.images.masks import BadMask, read_mask
from cnnkit.images.padding import padding_to

IDS = np.array([[0, 1, 2], [3, 2, 1]], np.uint8)


def packed_png(bits, color, rows, palette=b""):
    """A PNG file of fewer than 8 bits a pixel, written by the format's specification (ISO/IEC 15948)."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    lines = b""
    for row in rows:
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        lines += b"\0" + int(text, 2).to_bytes(len(text) // 8, "big")
    header = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], bits, color, 0, 0, 0)
    plte = chunk(b"PLTE", palette) if palette else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + plte
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


def test_grey_and_palette_give_the_same_numbers(tmp_path):
    Image.fromarray(IDS).save(tmp_path / "grey.png")
    indexed = Image.fromarray(IDS).convert("P")
    indexed.putdata(IDS.ravel().tolist())
    indexed.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200, 9, 9, 9])
    indexed.save(tmp_path / "palette.png")
    for name in ("grey.png", "palette.png"):
        mask = read_mask(tmp_path / name)
        assert mask.dtype == np.uint8
        np.testing.assert_array_equal(mask, IDS)


@pytest.mark.parametrize(("bits", "color"), [(1, 0), (2, 0), (4, 0), (1, 3), (2, 3), (4, 3), (8, 3), (8, 0)])
def test_numbers_of_few_bits_are_those_in_the_file(tmp_path, bits, color):
    ids = IDS & (2**bits - 1)
    palette = bytes(range(250, 250 - 3 * 2 ** min(bits, 2), -1)) if color == 3 else b""
    (tmp_path / "mask.png").write_bytes(packed_png(bits, color, ids, palette))
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), ids)


@pytest.mark.parametrize(
    ("image", "name", "says"),
    [
        (Image.new("RGB", (3, 2)), "a.png", "colour image"),
        (Image.new("RGBA", (3, 2)), "a.png", "colour image"),
        (Image.new("LA", (3, 2)), "a.png", "alpha channel"),
        (Image.fromarray(IDS.astype(np.uint16)), "a.png", "16 bits"),
        (Image.fromarray(IDS), "a.jpg", "JPEG"),
    ],
)
def test_other_images_are_no_masks(tmp_path, image, name, says):
    image.save(tmp_path / name)
    with pytest.raises(BadMask, match=says) as caught:
        read_mask(tmp_path / name)
    assert name in str(caught.value)


def test_a_damaged_mask(tmp_path):
    (tmp_path / "a.png").write_bytes(packed_png(8, 0, IDS)[:50])
    with pytest.raises(CorruptImage, match=r"a\.png"):
        read_mask(tmp_path / "a.png")


@pytest.mark.parametrize("pad_to", [1, 2, 7, 16])
def test_padding_is_the_least_that_does(pad_to):
    for height in range(1, 40):
        top, bottom, left, right = padding_to(height, 45, pad_to)
        assert top + bottom == next(more for more in range(pad_to) if (height + more) % pad_to == 0)
        assert left + right == next(more for more in range(pad_to) if (45 + more) % pad_to == 0)
        assert bottom - top in (0, 1)
        assert right - left in (0, 1)
