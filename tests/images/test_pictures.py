"""Arrays as pictures and back by Pillow's own reading."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from cnnkit.images.pictures import data_url, encoded, picture_of


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (2, "LA"), (3, "RGB"), (4, "RGBA")])
def test_a_picture_has_the_pixels_of_its_array(channels: int, mode: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels), np.uint8)
    read = Image.open(io.BytesIO(encoded(picture_of(pixels))))
    assert (read.format, read.mode, read.size) == ("PNG", mode, (7, 5))
    np.testing.assert_array_equal(np.asarray(read).reshape(pixels.shape), pixels)


def test_a_data_url_holds_the_file() -> None:
    picture = picture_of(np.full((3, 2, 3), 200, np.uint8))
    head, content = data_url(picture, "JPEG", quality=88).split(",")
    assert head == "data:image/jpeg;base64"
    assert base64.b64decode(content) == encoded(picture, "JPEG", quality=88)
    assert Image.open(io.BytesIO(base64.b64decode(content))).format == "JPEG"
