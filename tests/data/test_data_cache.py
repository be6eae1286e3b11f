"""The cache of decoded images: it hits, it is never wrong, it stays small, and its failures cost only time."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from cnnkit.config.data import DataConfig
from cnnkit.data import DataSets, Split, cache, channel_statistics, images, labelled_folder, load
from cnnkit.errors import CnnkitError, UsageError

SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CNNKIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("CNNKIT_CACHE_BYTES", raising=False)
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "images")


def write_folder(folder: Path, seed: int = 0, count: int = 20, size: tuple[int, int] = (6, 4)) -> Path:
    """Two classes of random colour images (PNG)."""
    random = np.random.default_rng(seed)
    for name in "ab":
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = random.integers(0, 256, (size[1], size[0], 3), np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def load_folder(folder: Path, seed: int = 0, splits: Any = SPLITS, **fields: Any) -> DataSets:
    return load(DataConfig.model_validate({"folder": str(folder), **fields}), seed, splits=splits)


def entries(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def assert_true_pixels(data: DataSets, folder: Path) -> None:
    """Every image is the one that Pillow reads from its file."""
    for split in (data.train, data.validation, data.test):
        if split is not None:
            assert split.images is not None
            assert split.paths is not None
            assert len(split.paths) == len(split.images) == split.size > 0
            for path, label, found in zip(split.paths, split.labels, split.images, strict=True):
                np.testing.assert_array_equal(found, np.asarray(Image.open(path)))
                assert Path(path).parent.name == "ab"[label]


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are decoded from now on."""
    files: list[str] = []
    real = images.read_image

    def read(path: Any, *arguments: Any, **options: Any) -> Any:
        files.append(str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(images, "read_image", read)
    return files


# --- Hits ---------------------------------------------------------------------------------------------


def test_a_second_start_decodes_nothing_and_has_the_same_images(folder: Path, decoded: list[str]) -> None:
    first = load_folder(folder)
    assert len(decoded) == 40
    decoded.clear()
    second = load_folder(folder)
    assert decoded == []
    assert_true_pixels(first, folder)
    assert_true_pixels(second, folder)
    for name in SPLITS:
        one, other = getattr(first, name), getattr(second, name)
        assert one.ids == other.ids
        assert channel_statistics(one) == channel_statistics(other)


def test_another_seed_and_an_evaluation_find_what_training_decoded(folder: Path, decoded: list[str]) -> None:
    first = load_folder(folder, 0, ("train", "validation"), validation=0.25)
    decoded.clear()
    other = load_folder(folder, 1, ("train", "validation"), validation=0.25)
    test = load_folder(folder, 2, ("test",))
    assert decoded == []
    assert first.validation is not None
    assert other.validation is not None
    assert first.validation.ids != other.validation.ids
    assert_true_pixels(other, folder)
    assert_true_pixels(test, folder)


def test_statistics_from_the_cache_are_numpys(folder: Path) -> None:
    load_folder(folder)
    train = load_folder(folder).train
    assert train is not None
    assert train.images is not None
    mean, variance = channel_statistics(train)
    np.testing.assert_allclose(mean, train.images.mean((0, 1, 2), np.float64), rtol=1e-12)
    np.testing.assert_allclose(variance, train.images.var((0, 1, 2), np.float64), rtol=1e-10)


def test_a_folder_to_score_is_cached_too(folder: Path, decoded: list[str]) -> None:
    def score() -> Split:
        return labelled_folder(folder, class_names=("b", "a"), shape=(4, 6, 3))

    first = score()
    decoded.clear()
    second = score()
    assert decoded == []
    assert first.images is not None
    assert second.images is not None
    np.testing.assert_array_equal(first.images, second.images)
    assert second.labels.tolist() == [0] * 20 + [1] * 20


def test_a_corrupt_file_is_left_out_of_the_cache_and_named_again(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "a" / "3.png").write_bytes(b"broken")
    for _ in range(2):
        caplog.clear()
        with caplog.at_level(logging.WARNING, "cnnkit"):
            data = load_folder(folder, skip_corrupt=True)
        assert "a/3.png" in caplog.text
        assert_true_pixels(data, folder)
    with pytest.raises(CnnkitError, match=r"3\.png"):
        load_folder(folder)


def test_image_files_that_cannot_be_decoded_are_tried_once_for_streaming(
    folder: Path, decoded: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "a" / "3.png").write_bytes(b"broken")
    first = load_folder(folder, skip_corrupt=True, memory="stream")
    decoded.clear()
    caplog.clear()
    second = load_folder(folder, skip_corrupt=True, memory="stream")
    assert decoded == []
    assert "a/3.png" in caplog.text
    for name in SPLITS:
        assert getattr(first, name).ids == getattr(second, name).ids
        assert "a/3.png" not in getattr(second, name).ids


# --- Keys ---------------------------------------------------------------------------------------------


def test_a_changed_file_is_decoded_anew(folder: Path) -> None:
    load_folder(folder)
    # The same size to the byte: only the time tells.
    file = folder / "a" / "0.png"
    size = file.stat().st_size
    for seed in range(100, 200):
        pixels = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), np.uint8)
        Image.fromarray(pixels).save(file)
        if file.stat().st_size == size:
            break
    assert file.stat().st_size == size
    os.utime(file, ns=(1, file.stat().st_mtime_ns + 1))
    assert_true_pixels(load_folder(folder), folder)


def test_a_renamed_an_added_and_a_removed_file_are_seen(folder: Path) -> None:
    load_folder(folder)
    (folder / "a" / "0.png").rename(folder / "b" / "z.png")
    assert_true_pixels(load_folder(folder), folder)
    shutil.copy(folder / "a" / "1.png", folder / "a" / "z.png")
    assert_true_pixels(load_folder(folder), folder)
    (folder / "b" / "5.png").unlink()
    assert_true_pixels(load_folder(folder), folder)


@pytest.mark.parametrize("fields", [{"image_size": [3, 3]}, {"shape": [4, 6, 1]}])
def test_another_shape_is_another_entry(folder: Path, fields: dict[str, Any]) -> None:
    load_folder(folder)
    cached, fresh = load_folder(folder, **fields), load_folder(folder, memory="stream", **fields)
    assert cached.train is not None
    assert cached.train.images is not None
    assert fresh.train is not None
    np.testing.assert_array_equal(cached.train.images, fresh.train.read(np.arange(fresh.train.size)))


# --- Damage -------------------------------------------------------------------------------------------


def damages() -> Iterator[Any]:
    for share in (0.0, 0.3, 0.6, 0.9, 0.97, 1.0):
        yield pytest.param(lambda data, share=share: data[: int(share * (len(data) - 1))], id=f"cut {share}")
    for share in (0.0, 0.3, 0.6):
        yield pytest.param(lambda data, share=share: flipped(data, int(share * (len(data) - 1))), id=f"bit {share}")
    yield pytest.param(lambda data: b"\0" * len(data), id="zeros")


def flipped(data: bytes, place: int, mask: int = 1) -> bytes:
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]


@pytest.mark.parametrize("damage", list(damages()))
def test_a_damaged_entry_is_made_anew(folder: Path, cache_folder: Path, damage: Any, decoded: list[str]) -> None:
    load_folder(folder)
    (entry,) = entries(cache_folder)
    whole = entry.read_bytes()
    entry.write_bytes(damage(whole))
    decoded.clear()
    assert_true_pixels(load_folder(folder), folder)
    assert len(decoded) == 40
    assert entries(cache_folder) == [entry]
    assert entry.read_bytes() == whole


def test_any_damaged_byte_is_found_or_harmless(cache_folder: Path) -> None:
    """Zip notes times and the like that no array depends on."""
    pieces = [np.arange(12, dtype=np.uint8).reshape(3, 4), np.full((2, 4), 77, np.uint8)]
    positions = np.arange(100, 105)
    with cache.writing("key", 100) as writer:
        for piece in pieces:
            writer.append("images", piece)
        writer.add("positions", positions)
    (file,) = entries(cache_folder)
    whole = file.read_bytes()
    contents = [piece.tobytes() for piece in (*pieces, positions)]
    starts = [whole.index(content) for content in contents]
    of_arrays = {start + i for start, content in zip(starts, contents, strict=True) for i in range(len(content))}
    for place, mask in enumerate(np.random.default_rng(0).integers(1, 256, len(whole)).tolist()):
        file.write_bytes(flipped(whole, place, mask))
        read = None
        with contextlib.suppress(cache.Damaged), cache.opened("key") as entry:
            if entry is not None:
                read = [*entry.chunks("images", 5), entry.array("positions")]
        if read is None:
            assert not file.exists()
        else:
            assert place not in of_arrays
            for array, expected in zip(read, (*pieces, positions), strict=True):
                np.testing.assert_array_equal(array, expected)


def test_entries_are_files_of_numpys(cache_folder: Path) -> None:
    arrays = {"labels": np.arange(7), "moments": np.arange(24).reshape(3, 2, 4), "none": np.empty((0, 5), np.uint8)}
    cache.write_arrays("key", arrays)
    (file,) = entries(cache_folder)
    assert file.suffix == ".npz"
    with np.load(file) as loaded:
        assert sorted(loaded) == sorted(arrays)
        for name, expected in arrays.items():
            np.testing.assert_array_equal(loaded[name], expected)
            assert loaded[name].dtype == expected.dtype
    read = cache.read_arrays("key", *arrays)
    assert read is not None
    for array, expected in zip(read, arrays.values(), strict=True):
        np.testing.assert_array_equal(array, expected)
        assert array.shape == expected.shape


def test_entries_of_an_earlier_version_are_not_read_but_make_room(
    cache_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = cache_folder / "decoded" / "key.cnnkit-cache"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"\0" * 20_000)
    os.utime(old, (1000, 1000))
    assert cache.read_arrays("key", "data") is None
    assert cache.cache_size() == 20_000
    monkeypatch.setenv("CNNKIT_CACHE_BYTES", "35000")
    store("new", 20_000, 1001)
    assert not old.exists()
    assert stored("new") == ["new"]


# --- Processes ----------------------------------------------------------------------------------------

CHILD = """
import hashlib, sys
from cnnkit.config.data import DataConfig
from cnnkit.data import channel_statistics, load
data = load(DataConfig.model_validate({sys.argv[1]: sys.argv[2]}), 0)
print(hashlib.sha256(data.train.images.tobytes() + data.test.images.tobytes()).hexdigest())
print(channel_statistics(data.train))
print(*(name for name in ("tensorflow", "tensorflow_datasets") if name in sys.modules))
"""


@pytest.mark.long
def test_processes_that_fill_the_cache_at_once_agree(folder: Path, cache_folder: Path) -> None:
    command = [sys.executable, "-c", CHILD, "folder", str(folder)]
    children = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    outputs = [child.communicate(timeout=120)[0] for child in children]
    assert [child.returncode for child in children] == [0] * 4
    assert len(set(outputs)) == 1
    assert len(entries(cache_folder)) == 1
    assert_true_pixels(load_folder(folder), folder)


def test_an_entry_that_is_removed_while_it_is_read_stays_readable() -> None:
    cache.write_arrays("key", {"numbers": np.arange(10)})
    with cache.opened("key") as entry:
        assert entry is not None
        cache.clear_cache()
        assert entry.array("numbers").tolist() == list(range(10))


# --- Space --------------------------------------------------------------------------------------------


def store(key: str, size: int, used: float) -> None:
    """An entry of about that size, used at that time."""
    cache.write_arrays(key, {"data": np.zeros(size, np.uint8)})
    for path in entries(cache.cache_folder()):
        if path.name.startswith(key):
            os.utime(path, (used, used))


def stored(*keys: str) -> list[str]:
    """Those of the keys that are in the cache; looking does not count as use."""
    names = [path.name for path in entries(cache.cache_folder())]
    return [key for key in keys if any(name.startswith(key) for name in names)]


def test_the_entries_used_longest_ago_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNKIT_CACHE_BYTES", "35000")
    for time_of_use, key in enumerate(("first", "second", "third"), 1000):
        store(key, 10_000, time_of_use)
    assert cache.read_arrays("first", "data") is not None
    store("fourth", 10_000, 2000)
    assert stored("first", "second", "third", "fourth") == ["first", "third", "fourth"]
    assert cache.cache_size() <= 35_000


def test_an_entry_larger_than_the_cache_displaces_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNKIT_CACHE_BYTES", "35000")
    store("first", 10_000, 1000)
    store("giant", 40_000, 1001)
    assert stored("first", "giant") == ["first"]


def test_the_cache_takes_at_most_half_of_the_free_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.disk_usage
    store("first", 10_000, 1000)
    taken = cache.cache_size()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: real(path)._replace(free=30_000))
    assert cache.cache_limit() == (30_000 + taken) // 2
    store("second", 12_000, 1001)
    assert stored("first", "second") == ["second"]
    store("third", 30_000, 1002)
    assert stored("second", "third") == ["second"]


def test_zero_bytes_turn_the_cache_off(folder: Path, cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNKIT_CACHE_BYTES", "0")
    assert_true_pixels(load_folder(folder), folder)
    assert entries(cache_folder) == []


def test_a_size_that_is_no_number_is_an_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNNKIT_CACHE_BYTES", "ten")
    with pytest.raises(UsageError, match="CNNKIT_CACHE_BYTES is `ten`"):
        load_folder(folder)


def test_what_a_killed_process_left_is_removed_after_a_day(cache_folder: Path) -> None:
    store("first", 10, 1000)
    old, new = (entries(cache_folder)[0].parent / f"{name}.partial" for name in ("old", "new"))
    for path, age in ((old, 2 * 24 * 3600), (new, 60)):
        path.write_bytes(b"half")
        os.utime(path, (time.time() - age,) * 2)
    store("second", 10, 1001)
    assert not old.exists()
    assert new.exists()


def test_a_full_disk_costs_only_the_cache(folder: Path, cache_folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No file may grow beyond 1,000 bytes: the system itself refuses the writes.
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        data = load_folder(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_true_pixels(data, folder)
    assert "cannot be kept" in caplog.text
    assert entries(cache_folder) == []


def test_a_cache_that_cannot_be_made_costs_only_the_cache(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("CNNKIT_CACHE_DIR", str(tmp_path / "file" / "cache"))
    assert_true_pixels(load_folder(folder), folder)
    assert "CNNKIT_CACHE_DIR" in caplog.text
    assert cache.clear_cache() == 0


def test_a_read_only_folder_serves_what_it_has(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, decoded: list[str]
) -> None:
    load_folder(folder)

    def refuse(*arguments: Any, **options: Any) -> Any:
        raise OSError(30, "Read-only file system")

    # A superuser may write to any folder, so that permissions would not show it.
    monkeypatch.setattr(tempfile, "mkstemp", refuse)
    monkeypatch.setattr(os, "utime", refuse)
    decoded.clear()
    assert_true_pixels(load_folder(folder), folder)
    assert decoded == []
    assert caplog.text == ""
    assert_true_pixels(load_folder(folder, image_size=[4, 6]), folder)
    assert "Read-only file system" in caplog.text


# --- The command --------------------------------------------------------------------------------------


def test_the_command_removes_the_entries_and_says_how_much(folder: Path, cache_folder: Path) -> None:
    from click.testing import CliRunner

    from cnnkit.cli import cli

    store("big", 2_500_000, 1000)
    (cache_folder / "mine.txt").write_text("kept")
    (cache_folder / "decoded" / "mine.txt").write_text("kept")
    done = CliRunner().invoke(cli, ["data", "clear-cache"])
    assert done.exit_code == 0
    assert "freed 2.5 MB" in done.output
    assert str(cache_folder) in done.output
    assert [path.name for path in entries(cache_folder)] == ["mine.txt", "mine.txt"]
    assert "freed 0.0 MB" in CliRunner().invoke(cli, ["data", "clear-cache"]).output


@pytest.mark.parametrize(
    ("platform", "variables", "expected"),
    [
        ("linux", {"XDG_CACHE_HOME": "/some/caches"}, "/some/caches/cnnkit"),
        ("linux", {}, "/home/one/.cache/cnnkit"),
        ("darwin", {"XDG_CACHE_HOME": "/some/caches"}, "/home/one/Library/Caches/cnnkit"),
        ("win32", {"LOCALAPPDATA": "/some/local"}, "/some/local/cnnkit"),
        ("linux", {"CNNKIT_CACHE_DIR": "~/here", "XDG_CACHE_HOME": "/some/caches"}, "/home/one/here"),
    ],
)
def test_the_folder_is_the_systems_customary_one(
    monkeypatch: pytest.MonkeyPatch, platform: str, variables: dict[str, str], expected: str
) -> None:
    for name in ("CNNKIT_CACHE_DIR", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/one")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(sys, "platform", platform)
    assert cache.cache_folder().as_posix() == expected
