"""A run and the .onnx file that it was exported to, asked about the same images, through the real command."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from cnnkit.cli import cli
from cnnkit.export.exporting import ExportOptions, export_run
from cnnkit.export.formats import FORMATS
from cnnkit.export.places import Places
from cnnkit.runs.directory import Run
from cnnkit.runs.exported import ExportedNetwork
from cnnkit.runs.trained import open_run
from cnnkit.serve.inside import Inside, inside_of

#: How far numbers may be apart: in size, and by their own size.
APART = 1e-5


def odd_images(folder: Path) -> Path:
    """A folder of images of any size, format and mode."""
    folder.mkdir()
    draws = np.random.default_rng(0)

    def noise(height: int, width: int, channels: int) -> np.ndarray:
        # Large spots, so that little is lost when it is made smaller.
        coarse = draws.integers(0, 256, (3, 4, channels)).astype(np.uint8)
        spots = Image.fromarray(coarse[..., 0] if channels == 1 else coarse)
        return np.asarray(spots.resize((width, height), Image.Resampling.BICUBIC))

    grey, colour, clear = noise(13, 7, 1), noise(33, 50, 3), noise(21, 21, 4)
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(grey.astype(np.uint16) * 257).save(folder / "deep.png")
    Image.fromarray(grey > 127).save(folder / "bits.tiff")
    Image.fromarray(colour).save(folder / "colour.bmp")
    Image.fromarray(colour).save(folder / "turned.jpg", exif=turned)
    Image.fromarray(colour).convert("CMYK").save(folder / "print.jpg")
    Image.fromarray(colour).quantize(9).save(folder / "palette.gif")
    Image.fromarray(colour).quantize(5).save(folder / "palette.png", transparency=2)
    Image.fromarray(clear).save(folder / "clear.png")
    Image.fromarray(clear).save(folder / "clear.webp", lossless=True)
    Image.fromarray(clear).convert("LA").save(folder / "grey and clear.png")
    Image.fromarray(noise(1, 1, 3)).save(folder / "pixel.png")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n and no more")
    return folder


def said(name: Path, images: Path, *options: str) -> tuple[int, str]:
    """The exit code of `predict`, and what it prints."""
    result = CliRunner().invoke(cli, ["predict", str(name), str(images), *options])
    return 1 if result.exception else 0, result.stdout


def check_same_answers(run: Run, folder: Path, views: Sequence[str] = ("flip", "flip,shift")) -> Path:
    """Whether the file says of each image what the run says; returns the file, in `folder`."""
    exported = folder / "exported.onnx"
    export_run(open_run(run), Places(FORMATS["onnx"], exported), ExportOptions(images=0))
    images = odd_images(folder / "odd")
    for tta in ("", *views):
        options = ["--tta", tta] if tta else []
        (code, ours), (expected_code, expected) = (
            said(name, images, "--csv", *options) for name in (exported, run.path)
        )
        # One of the images is broken.
        assert code == expected_code == 1
        rows, expected_rows = (list(csv.reader(io.StringIO(text))) for text in (ours, expected))
        assert len(rows) == 14
        for row, expected_row in zip(rows, expected_rows, strict=True):
            assert_same_cells(row, expected_row, APART)
    tables = [said(name, images)[1].splitlines() for name in (exported, run.path)]
    for line, expected_line in zip(*tables, strict=True):
        # As many digits as a table shows.
        assert_same_cells(line.split(), expected_line.split(), 1.1e-4)
    return exported


def assert_same_cells(cells: Sequence[str], expected: Sequence[str], apart: float) -> None:
    """Whether two rows have the same words and the same numbers."""
    for cell, expected_cell in zip(cells, expected, strict=True):
        try:
            number = float(expected_cell.rstrip(",%"))
        except ValueError:
            assert cell == expected_cell
        else:
            assert float(cell.rstrip(",%")) == pytest.approx(number, rel=apart, abs=apart)


def check_same_feature_maps(run: Run, file: Path, image: np.ndarray) -> Inside:
    """Whether the pages of a file and of its run show the same of an image [1, ...]; returns the inside of the file."""
    opened, expected = (
        inside_of(one, one.task.answers(one.interface)) for one in (ExportedNetwork(file), open_run(run))
    )
    places, expected_places = (
        [(stage.name, stage.size, stage.channels) for stage in one.stages] for one in (opened, expected)
    )
    assert places == expected_places
    seen, expected_seen = (one.look(image, None) for one in (opened, expected))
    np.testing.assert_allclose(seen.outputs, expected_seen.outputs, rtol=1e-4, atol=1e-5)
    assert len(seen.maps) == len(places) > 0
    for maps, expected_maps in zip(seen.maps, expected_seen.maps, strict=True):
        np.testing.assert_allclose(maps, expected_maps, rtol=1e-4, atol=1e-4 * np.abs(expected_maps).max())
        assert np.ptp(maps) > 0
    return opened
