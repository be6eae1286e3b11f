"""Image files of every format and mode, and folders of them."""

from __future__ import annotations

import io
import logging
import struct
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from cnnkit.config.data import DataConfig
from cnnkit.data import (
    CorruptImage,
    DataSets,
    labelled_folder,
    load,
    naming_corrupt_files,
    read_image,
    training_batches,
)
from cnnkit.data.images import CorruptFiles
from cnnkit.errors import CnnkitError

#: A colour picture whose four quarters are red, green, blue and white, 8 pixels high and 6 wide.
QUARTERS = np.zeros((8, 6, 3), np.uint8)
QUARTERS[:4, :3, 0] = QUARTERS[:4, 3:, 1] = QUARTERS[4:, :3, 2] = 255
QUARTERS[4:, 3:] = 255


def load_folder(folder: Path, seed: int = 0, memory_bytes: int | None = None, **fields: Any) -> DataSets:
    config = DataConfig.model_validate({"folder": str(folder), "validation": 0, **fields})
    return load(config, seed, memory_bytes=memory_bytes)


def make_folder(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def write_classes(folder: Path, count: int = 5, classes: str = "ab", size: tuple[int, int] = (6, 4)) -> None:
    """Folders `a`, `b`, ... with `count` colour images of random pixels each."""
    random = np.random.default_rng(0)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (size[1], size[0], 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")


def file_of(pixels: np.ndarray, format: str = "PNG") -> io.BytesIO:
    content = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(content, format)
    return content


# --- One file -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "gif"])
def test_lossless_formats_give_the_pixels_that_were_saved(tmp_path: Path, suffix: str) -> None:
    options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
    Image.fromarray(QUARTERS).save(tmp_path / f"image.{suffix}", **options)
    np.testing.assert_array_equal(read_image(tmp_path / f"image.{suffix}", None, 3), QUARTERS)


def test_jpeg_gives_nearly_the_pixels_that_were_saved(tmp_path: Path) -> None:
    gray = np.tile(np.arange(0, 256, 16, dtype=np.uint8), (16, 1))
    Image.fromarray(gray).save(tmp_path / "image.jpeg", quality=95)
    found = read_image(tmp_path / "image.jpeg", None, 1)
    assert found.shape == (16, 16, 1)
    assert np.abs(found[..., 0].astype(int) - gray).max() <= 8


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P", "CMYK"])
def test_colour_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    suffix = "jpg" if mode == "CMYK" else "png"
    image = Image.new("RGB", (8, 8), (250, 20, 30))
    image = image.quantize() if mode == "P" else image.convert(mode)
    image.save(tmp_path / f"image.{suffix}")
    found = read_image(tmp_path / f"image.{suffix}", None, 3)
    assert found.shape == (8, 8, 3)
    assert found.dtype == np.uint8
    assert np.abs(found.astype(int) - (250, 20, 30)).max() <= 3


def test_values_of_16_bits_are_divided_by_257_and_rounded(tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(values).save(tmp_path / "image.png")
    expected = np.rint(values / 257).astype(np.uint8)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png", None, 1)[..., 0], expected)


@pytest.mark.parametrize(("mode", "value", "expected"), [("1", 1, 255), ("L", 77, 77), ("I;16", 25700, 100)])
@pytest.mark.parametrize("channels", [1, 3])
def test_gray_modes_keep_their_gray(tmp_path: Path, mode: str, value: int, expected: int, channels: int) -> None:
    Image.new(mode, (4, 5), value).save(tmp_path / "image.png")
    found = read_image(tmp_path / "image.png", None, channels)
    np.testing.assert_array_equal(found, np.full((5, 4, channels), expected, np.uint8))


def test_sixteen_bits_are_scaled_over_the_whole_range(tmp_path: Path) -> None:
    values = np.array([[0, 257, 32896, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / "image.png")
    assert read_image(tmp_path / "image.png", None, 1)[0, :, 0].tolist() == [0, 1, 128, 255]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_are_white_as_a_viewer_shows_them(tmp_path: Path, mode: str) -> None:
    color = (0, 0, 0, 0) if mode == "RGBA" else (0, 0)
    image = Image.new(mode, (2, 1), color)
    image.putpixel((1, 0), (0, 0, 0, 255) if mode == "RGBA" else (0, 255))
    image.save(tmp_path / "image.png")
    assert read_image(tmp_path / "image.png", None, 1)[0, :, 0].tolist() == [255, 0]


def test_the_first_frame_of_an_animation_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), value) for value in (10, 200)]
    frames[0].save(tmp_path / "image.gif", save_all=True, append_images=frames[1:])
    assert read_image(tmp_path / "image.gif", None, 1).max() == 10


def test_the_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate a quarter clockwise to view
    Image.fromarray(QUARTERS).save(tmp_path / "image.png", exif=exif)
    found = read_image(tmp_path / "image.png", None, 3)
    np.testing.assert_array_equal(found, np.rot90(QUARTERS, -1))


@pytest.mark.parametrize("size", [(5, 7), (40, 3), (31, 29), (64, 80)])
def test_resizing_is_that_of_keras_with_antialiasing(tmp_path: Path, size: tuple[int, int]) -> None:
    import keras

    pixels = np.random.default_rng(0).integers(0, 256, (31, 29, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.png")
    found = read_image(tmp_path / "image.png", size, 3)
    layer = keras.layers.Resizing(*size, interpolation="bilinear", antialias=True)
    expected = np.asarray(layer(pixels[None].astype(np.float32)))[0]
    assert found.shape == (*size, 3)
    assert np.abs(found - expected).max() <= 1.01


SHAPES = [(31, 29), (64, 48), (10, 97), (97, 10), (40, 40), (1, 50), (3, 2)]


@pytest.mark.parametrize("size", [(16, 16), (12, 30), (50, 20)])
@pytest.mark.parametrize(("resize", "option"), [("pad", "pad_to_aspect_ratio"), ("crop", "crop_to_aspect_ratio")])
def test_padding_and_cropping_are_those_of_keras(size: tuple[int, int], resize: str, option: str) -> None:
    import keras

    random = np.random.default_rng(0)
    for shape in SHAPES:
        pixels = random.integers(0, 256, (*shape, 3), np.uint8)
        found = read_image(file_of(pixels), size, 3, resize=resize)
        expected = keras.ops.image.resize(pixels.astype(np.float32), size, antialias=True, **{option: True})
        assert found.shape == (*size, 3)
        assert np.abs(found - np.asarray(expected)).max() <= 1.01


def test_padding_and_cropping_are_those_of_pillow_where_it_needs_no_fractions() -> None:
    # Pillow pads what it has resized, so that edges and border do not mix; and crops to fractions of pixels.
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 3), np.uint8)
    image = Image.fromarray(pixels)
    padded = ImageOps.pad(image, (16, 16), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(read_image(file_of(pixels), (16, 16), 3, resize="pad"), np.asarray(padded))
    fitted = ImageOps.fit(image, (8, 8), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(read_image(file_of(pixels), (8, 8), 3, resize="crop"), np.asarray(fitted))


def test_stretching_is_pillows_own() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (31, 29, 3), np.uint8)
    expected = Image.fromarray(pixels).resize((20, 10), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(read_image(file_of(pixels), (10, 20), 3), np.asarray(expected))


def test_a_long_strip_is_padded_without_the_memory_of_its_square(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    new = Image.new

    def recorded(mode: str, size: tuple[int, int], *rest: Any) -> Image.Image:
        made.append(size[0] * size[1])
        return new(mode, size, *rest)

    strip = file_of(np.full((100, 30_000, 3), 200))
    monkeypatch.setattr(Image, "new", recorded)
    found = read_image(strip, (32, 32), 3, resize="pad")
    assert max(made) <= 32 * 30_000
    # A ninth of a row is light, half of it in each of the middle ones.
    assert found[15:17].max() == pytest.approx(200 / 9.4 / 2, abs=2)
    assert not found[:14].any()


@pytest.mark.parametrize("content", [b"", b"no image at all", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_a_corrupt_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(CorruptImage, match=r"broken\.png"):
        read_image(tmp_path / "broken.png", None, 3)


def test_a_truncated_file_is_corrupt(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "image.jpg")
    data = (tmp_path / "image.jpg").read_bytes()
    (tmp_path / "image.jpg").write_bytes(data[: len(data) // 2])
    with pytest.raises(CorruptImage, match=r"image\.jpg"):
        read_image(tmp_path / "image.jpg", None, 3)


# --- TIFF, written by hand and so read independently ----------------------------------------------------


def tiff(
    strips: list[bytes], size: tuple[int, int], bits: tuple[int, ...], order: str = "<", **changes: int
) -> io.BytesIO:
    """A TIFF file without compression.

    Args:
        strips: Its strips or tiles.
        size: (height, width).
        bits: Of each sample.
        order: `<` for little endian, `>` for big.
        changes: Tags, by names: `t262=0`.
    """
    tags: dict[int, tuple[int, ...]] = {
        256: (size[1],), 257: (size[0],), 258: bits, 259: (1,), 262: (2 if len(bits) >= 3 else 1,), 277: (len(bits),),
    }  # fmt: skip
    tags |= {int(name[1:]): (value,) for name, value in changes.items()}
    places, counts = (324, 325) if 322 in tags else (273, 279)
    if 322 not in tags:
        tags[278] = (size[0],)
    tags |= {places: (0,) * len(strips), counts: tuple(map(len, strips))}
    start = 8 + 2 + 12 * len(tags) + 4
    extra, data_start = b"", start + sum(4 * len(values) for values in tags.values() if len(values) > 1)
    tags[places] = tuple(data_start + sum(map(len, strips[:index])) for index in range(len(strips)))
    entries = b""
    for tag in sorted(tags):
        values = tags[tag]
        packed = struct.pack(f"{order}{len(values)}I", *values)
        where = packed if len(values) == 1 else struct.pack(f"{order}I", start + len(extra))
        extra += packed if len(values) > 1 else b""
        entries += struct.pack(f"{order}HHI", tag, 4, len(values)) + where
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, 8) + struct.pack(f"{order}H", len(tags))
    return io.BytesIO(head + entries + bytes(4) + extra + b"".join(strips))


DEEP = np.random.default_rng(1).integers(0, 65536, (20, 18)).astype(np.uint16)


@pytest.mark.parametrize(("order", "photometric"), [("<", 0), ("<", 1), (">", 1)])
def test_gray_tiff_of_16_bits(order: str, photometric: int) -> None:
    file = tiff([DEEP.astype(f"{order}u2").tobytes()], DEEP.shape, (16,), order, t262=photometric)
    expected = np.rint((DEEP if photometric else 65535 - DEEP) / 257)
    np.testing.assert_array_equal(read_image(file, None, 1)[..., 0], expected)


def test_gray_tiff_of_12_bits() -> None:
    values = DEEP >> 4
    first, second = values[:, ::2].astype(int), values[:, 1::2].astype(int)
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8)
    found = read_image(tiff([packed.tobytes()], values.shape, (12,)), None, 1)
    np.testing.assert_array_equal(found[..., 0], np.rint(values / 4095 * 255))


@pytest.mark.parametrize(("kind", "sample"), [("<f4", 3), ("<i4", 2), ("<u4", 1)])
def test_tiff_of_32_bits_needs_a_known_white(kind: str, sample: int) -> None:
    values = DEEP / np.float32(65535) if kind == "<f4" else DEEP
    file = tiff([values.astype(kind).tobytes()], DEEP.shape, (32,), t339=sample)
    found = read_image(file, None, 1)[..., 0]
    np.testing.assert_array_equal(found, np.rint(DEEP / 257))
    for outside in (-1, float("nan") if kind == "<f4" else 70_000):
        other = values.astype(np.float64)
        other[3, 3] = outside
        with np.errstate(invalid="ignore"):
            content = other.astype(np.int64).astype(kind) if kind != "<f4" else other.astype(kind)
        with pytest.raises(CorruptImage, match=r"expected 0 \(black\) to [16].* \(white\)"):
            read_image(tiff([content.tobytes()], DEEP.shape, (32,), t339=sample), None, 1)


COLOUR = np.random.default_rng(2).integers(0, 256, (16, 32, 3)).astype(np.uint8)


@pytest.mark.parametrize("layout", ["together", "planes", "tiles", "negative"])
def test_layouts_of_tiff(layout: str) -> None:
    expected = COLOUR
    if layout == "together":
        file = tiff([COLOUR.tobytes()], (16, 32), (8, 8, 8))
    elif layout == "planes":
        file = tiff([COLOUR[..., plane].tobytes() for plane in range(3)], (16, 32), (8, 8, 8), t284=2)
    elif layout == "tiles":
        parts = [COLOUR[:, :16].tobytes(), COLOUR[:, 16:].tobytes()]
        file = tiff(parts, (16, 32), (8, 8, 8), t322=16, t323=16)
    else:
        file = tiff([COLOUR[..., 0].tobytes()], (16, 32), (8,), t262=0)
        expected = np.repeat(255 - COLOUR[..., :1], 3, -1)
    np.testing.assert_array_equal(read_image(file, None, 3), expected)


def test_colours_of_16_bits_lose_no_more_than_a_step() -> None:
    deep = np.random.default_rng(3).integers(0, 65536, (16, 32, 3)).astype(np.uint16)
    found = read_image(tiff([deep.tobytes()], (16, 32), (16, 16, 16)), None, 3)
    assert np.abs(found - deep / 257).max() <= 1


def test_the_first_page_and_printers_colours(tmp_path: Path) -> None:
    pages = [Image.new("CMYK", (6, 4), (0, 255, 255, 0)), Image.new("RGB", (9, 9))]
    pages[0].save(tmp_path / "pages.tiff", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_image(tmp_path / "pages.tiff", None, 3), np.full((4, 6, 3), (255, 0, 0)))


@pytest.mark.parametrize("channels", [1, 3])
def test_strips_leave_no_seams(channels: int) -> None:
    pixels = np.random.default_rng(4).integers(0, 256, (1300, 1000, 4)).astype(np.uint8)
    image = Image.fromarray(pixels)
    white = Image.new("RGBA", image.size, "white")
    expected = np.asarray(Image.alpha_composite(white, image).convert("L" if channels == 1 else "RGB"))
    found = read_image(file_of(pixels, "TIFF"), None, channels)
    np.testing.assert_array_equal(found, expected.reshape(found.shape))


# --- Folders ------------------------------------------------------------------------------------------


def test_a_folder_gives_its_files_pixels_and_labels(tmp_path: Path) -> None:
    write_classes(tmp_path, count=6, classes="cab")
    data = load_folder(tmp_path, validation=0.25)
    assert data.info.class_names == ("a", "b", "c")
    assert data.train is not None
    assert data.validation is not None
    assert data.test is not None
    seen = []
    for split in (data.train, data.validation, data.test):
        assert split.paths is not None
        assert split.images is not None
        for path, image, label in zip(split.paths, split.images, split.labels, strict=True):
            np.testing.assert_array_equal(image, np.asarray(Image.open(path)))
            assert Path(path).parent.name == "abc"[label]
            seen.append(path)
    assert sorted(seen) == sorted(str(path) for path in tmp_path.rglob("*.png"))


def test_split_folders_are_the_splits(tmp_path: Path) -> None:
    for part, count in (("train", 5), ("test", 3), ("val", 2)):
        write_classes(tmp_path / part, count)
    data = load_folder(tmp_path, validation=0.1)
    for split, part, count in ((data.train, "train", 10), (data.test, "test", 6), (data.validation, "val", 4)):
        assert split is not None
        assert split.size == count
        assert all(name.startswith(f"{part}/") for name in split.ids)


def test_a_validation_folder_is_the_test_split_where_there_is_no_other(tmp_path: Path) -> None:
    write_classes(tmp_path / "train", 10)
    write_classes(tmp_path / "val", 3)
    data = load_folder(tmp_path, validation=0.2)
    assert data.train is not None
    assert data.validation is not None
    assert data.test is not None
    assert (data.train.size, data.validation.size, data.test.size) == (16, 4, 6)
    assert all(name.startswith("val/") for name in data.test.ids)


def test_images_are_resized_and_converted_to_the_data_sets_channels(tmp_path: Path) -> None:
    write_classes(tmp_path, size=(9, 9))
    Image.new("L", (20, 30), 90).save(tmp_path / "a" / "gray.png")
    data = load_folder(tmp_path, image_size=[4, 5])
    assert data.train is not None
    assert data.train.images is not None
    assert data.train.images.shape[1:] == (4, 5, 3)


@pytest.mark.parametrize("memory_bytes", [None, 0])
def test_a_corrupt_file_stops_or_is_left_out_as_the_config_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, memory_bytes: int | None
) -> None:
    for part in ("train", "test"):
        write_classes(tmp_path / part)
    (tmp_path / "train" / "b" / "3.png").write_bytes(b"broken")
    if memory_bytes is None:
        with pytest.raises(CnnkitError, match=r"3\.png.*class `b`") as caught:
            load_folder(tmp_path)
        assert "skip_corrupt" in str(caught.value)
    with caplog.at_level(logging.WARNING, "cnnkit"):
        data = load_folder(tmp_path, skip_corrupt=True, memory_bytes=memory_bytes)
    assert data.train is not None
    assert data.train.size == 9
    assert data.train.labels.tolist() == [0] * 5 + [1] * 4
    assert "train/b/3.png" not in data.train.ids
    assert len(data.train.read(np.arange(9))) == 9
    assert "1 image file" in caplog.text
    assert "3.png" in caplog.text


def test_all_corrupt_files_are_named_at_once(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        write_classes(tmp_path / part, count=6)
    broken = [tmp_path / part / "b" / f"{number}.png" for part in ("test", "train", "val") for number in range(4)]
    for file in broken:
        file.write_bytes(b"broken")
    # Those of the test split, which training does not look at, are named before it, too.
    with pytest.raises(CorruptFiles) as caught:
        load(DataConfig(folder=str(tmp_path)), 0, splits=("train", "validation"))
    assert caught.value.message.startswith("12 image files cannot be read:\n")
    assert caught.value.message.endswith("and 2 more; `cnnkit data check CONFIG --json` lists all")
    assert {error.message.split("`")[1] for error in caught.value.errors} == set(map(str, broken))
    for file in broken[4:]:
        file.unlink()
    with pytest.raises(CorruptFiles, match=r"4 image files[^x]*test/b/0\.png"):
        load(DataConfig(folder=str(tmp_path)), 0, splits=("train", "validation"))


def test_all_corrupt_files_are_named_where_images_are_streamed(tmp_path: Path) -> None:
    write_classes(tmp_path, count=20)
    for number in (3, 17):
        (tmp_path / "b" / f"{number}.png").write_bytes(b"broken")
    data = load_folder(tmp_path, memory_bytes=0)
    assert data.train is not None
    with pytest.raises(CorruptFiles, match=r"(?s)b/17\.png.*b/3\.png"), naming_corrupt_files(data.train):
        list(training_batches(data.train, batch_size=8, seed=0))


@pytest.mark.parametrize("memory_bytes", [None, 0])
def test_a_folder_without_a_readable_image_is_an_error(tmp_path: Path, memory_bytes: int | None) -> None:
    for file in ("a/1.png", "b/2.png"):
        (tmp_path / file).parent.mkdir()
        (tmp_path / file).write_bytes(b"broken")
    options: dict[str, Any] = {"class_names": "ab", "shape": (4, 4, 3), "resize": "stretch"}
    with pytest.raises(CnnkitError, match="no images that can be read"):
        labelled_folder(tmp_path, **options, skip_corrupt=True, memory_bytes=memory_bytes)
    if memory_bytes is None:
        with pytest.raises(CorruptFiles, match="2 image files"):
            labelled_folder(tmp_path, **options)


@pytest.mark.parametrize("memory_bytes", [None, 0])
def test_a_class_without_a_readable_image_is_an_error(tmp_path: Path, memory_bytes: int | None) -> None:
    write_classes(tmp_path / "train", classes="abc")
    write_classes(tmp_path / "test", classes="abc")
    for file in (tmp_path / "train" / "c").iterdir():
        file.write_bytes(b"broken")
    with pytest.raises(CnnkitError, match="no image of the class `c` in the train split can be read"):
        load_folder(tmp_path, skip_corrupt=True, memory_bytes=memory_bytes)


def test_a_link_that_leads_nowhere_is_a_corrupt_file(tmp_path: Path) -> None:
    write_classes(tmp_path)
    (tmp_path / "a" / "gone.png").symlink_to("nowhere.png")
    with pytest.raises(CorruptImage, match=r"a/gone\.png"):
        load_folder(tmp_path)
    data = load_folder(tmp_path, skip_corrupt=True)
    assert data.train is not None
    assert data.test is not None
    assert data.train.size + data.test.size == 10


def test_a_folder_read_image_by_image_is_the_folder_in_memory(tmp_path: Path) -> None:
    write_classes(tmp_path, count=10)
    kept, streamed = load_folder(tmp_path), load_folder(tmp_path, memory_bytes=0)
    assert kept.train is not None
    assert streamed.train is not None
    assert streamed.train.images is None
    indices = [7, 0, 3, 3]
    np.testing.assert_array_equal(kept.train.read(indices), streamed.train.read(indices))
    assert kept.train.ids == streamed.train.ids


def test_a_size_that_the_headers_did_not_show_is_named(tmp_path: Path) -> None:
    write_classes(tmp_path, count=300)
    Image.new("RGB", (7, 7)).save(tmp_path / "a" / "1.png")  # not among the headers looked at
    with pytest.raises(CnnkitError, match=r"a/1\.png.*7x7.*4x6") as caught:
        load_folder(tmp_path)
    assert "image_size" in str(caught.value)


def test_the_fingerprint_follows_the_files(tmp_path: Path) -> None:
    write_classes(tmp_path)
    first = load_folder(tmp_path).fingerprint
    assert load_folder(tmp_path, seed=1, splits={}).fingerprint == first
    (tmp_path / "a" / "0.png").rename(tmp_path / "a" / "new.png")
    assert load_folder(tmp_path).fingerprint != first


def test_a_class_with_too_few_images_is_named(tmp_path: Path) -> None:
    for part in ("train", "test"):
        write_classes(tmp_path / part)
    for number in range(1, 5):
        (tmp_path / "train" / "b" / f"{number}.png").unlink()
    with pytest.raises(CnnkitError, match="class `b` there is 1 to train on"):
        load_folder(tmp_path, validation=0.2)
    assert load_folder(tmp_path, validation=0).train is not None


def test_another_labelled_folder_takes_the_networks_classes_and_shape(tmp_path: Path) -> None:
    write_classes(tmp_path / "some", classes="bd")
    split = labelled_folder(tmp_path / "some", class_names=("a", "b", "c", "d"), shape=(7, 8, 1))
    assert split.labels.tolist() == [1] * 5 + [3] * 5
    assert split.read([0]).shape == (1, 7, 8, 1)
    write_classes(tmp_path / "other", classes="ax")
    with pytest.raises(CnnkitError, match="`x`"):
        labelled_folder(tmp_path / "other", class_names=("a", "b"), shape=(7, 8, 1))


def test_a_labelled_folder_finds_its_classes_in_either_spelling(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
    for known, there in ((composed, decomposed), (decomposed, composed)):
        Image.new("L", (4, 4)).save(make_folder(tmp_path / there[-1] / there) / "1.png")
        split = labelled_folder(tmp_path / there[-1], class_names=("a", known), shape=(4, 4, 1))
        assert split.labels.tolist() == [1]


def test_a_folder_that_is_not_there_is_an_error_of_the_config(tmp_path: Path) -> None:
    with pytest.raises(CnnkitError, match=r"data\.folder: .*does not exist"):
        load_folder(tmp_path / "nowhere")
