"""Slices of prepared sets are those of TensorFlow Datasets, which is not needed to read them."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnkit.data.records import find_records, read_record_files
from cnnkit.errors import CnnkitError

LENGTHS = {"train": [7, 5, 0, 11], "test": [10], "validation": [3, 4]}


def write_info(folder: Path, **fields: Any) -> Path:
    """The facts of a prepared set, without its files."""
    splits = [
        {"name": name, "shardLengths": [str(length) for length in lengths], "numBytes": "1234"}
        for name, lengths in LENGTHS.items()
    ]
    info = {"name": "made", "version": "1.2.3", "fileFormat": "tfrecord", "splits": splits, **fields}
    features = {
        "pythonClassName": "tensorflow_datasets.core.features.features_dict.FeaturesDict",
        "featuresDict": {"features": {}},
    }
    folder.mkdir(parents=True)
    (folder / "dataset_info.json").write_text(json.dumps(info))
    (folder / "features.json").write_text(json.dumps(features))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The same set, as TFDS reads it and as cnnkit does."""
    import tensorflow_datasets as tfds

    folder = write_info(tmp_path_factory.mktemp("sets") / "made" / "1.2.3")
    return tfds.builder_from_directory(str(folder)).info, read_record_files(folder)


def assert_same_parts(made: tuple[Any, Any], spec: str) -> None:
    theirs, ours = made
    try:
        expected = [
            (str(part.filename), part.skip, part.take)
            for part in theirs.splits[spec].file_instructions
            if part.take > 0
        ]
    except Exception:
        with pytest.raises(CnnkitError, match="cannot read the slice"):
            ours.parts(spec)
    else:
        # A slice whose end lies one record before its start is the whole rest of a file to TFDS: a mistake of its own.
        if not ends_before_it_starts(theirs, spec):
            assert ours.parts(spec) == expected


def ends_before_it_starts(theirs: Any, spec: str) -> bool:
    import tensorflow_datasets as tfds

    parts = tfds.core.splits.AbstractSplit.from_spec(spec).to_absolute(theirs.splits)
    return any(
        (part.from_ or 0) > (theirs.splits[part.splitname].num_examples if part.to is None else part.to)
        for part in parts
    )


BOUNDS = st.one_of(
    st.just(""),
    st.integers(-30, 30).map(str),
    st.integers(-101, 101).map("{}%".format),
    st.floats(-100, 100).map("{:.2f}%".format),
    st.integers(-5, 5).map("{}shard".format),
)
SLICES = st.one_of(
    st.sampled_from([*LENGTHS, "none"]),
    st.builds("{}[{}:{}]".format, st.sampled_from([*LENGTHS]), BOUNDS, BOUNDS),
    st.builds("{}[{}]".format, st.sampled_from([*LENGTHS]), BOUNDS),
)


@given(specs=st.lists(SLICES, min_size=1, max_size=3))
@settings(max_examples=500, deadline=None)
def test_slices_are_those_of_tensorflow_datasets(made: tuple[Any, Any], specs: list[str]) -> None:
    assert_same_parts(made, "+".join(specs))


@pytest.mark.parametrize(
    "spec",
    [
        "all",
        "train + test",
        "train[1_0:]",
        "train[:",
        "train[a:b]",
        "train[:]",
        "train[::]",
        "",
        "+",
        "train[5:5]",
        "te st",
    ],
)
def test_odd_slices_are_those_of_tensorflow_datasets(made: tuple[Any, Any], spec: str) -> None:
    assert_same_parts(made, spec)


def test_the_fingerprint_tells_name_version_and_sizes(made: tuple[Any, Any], tmp_path: Path) -> None:
    sizes = "(test 10 images 1234 bytes, train 23 images 1234 bytes, validation 7 images 1234 bytes)"
    assert made[1].fingerprint_of("images") == f"made:1.2.3 {sizes}"
    configured = read_record_files(write_info(tmp_path / "made" / "some" / "1.2.3", configName="some"))
    assert configured.fingerprint_of("images") == f"made/some:1.2.3 {sizes}"


@pytest.mark.parametrize("template", ["{SPLIT}-{SHARD_X_OF_Y}.{FILEFORMAT}", "x{SHARD_INDEX}-{NUM_SHARDS}-{SPLIT}"])
def test_files_are_named_as_the_set_says(tmp_path: Path, template: str) -> None:
    import tensorflow_datasets as tfds

    splits = [{"name": "train", "shardLengths": ["2", "3"], "filepathTemplate": template}]
    folder = write_info(tmp_path / "made" / "1.2.3", splits=splits)
    made = tfds.builder_from_directory(str(folder)).info, read_record_files(folder)
    assert_same_parts(made, "train")


def test_records_are_found_where_tensorflow_wrote_them(tmp_path: Path) -> None:
    import tensorflow as tf

    contents = [bytes([number]) * (number * 37 % 100) for number in range(20)]
    files = [str(tmp_path / "one"), str(tmp_path / "two")]
    for file, part in zip(files, (contents[:12], contents[12:]), strict=True):
        with tf.io.TFRecordWriter(file) as writer:
            for content in part:
                writer.write(content)
    indices, starts, lengths = find_records([(files[1], 2, 5), (files[0], 0, 12)])
    assert indices.tolist() == [0] * 5 + [1] * 12
    for index, start, length, content in zip(indices, starts, lengths, contents[14:19] + contents[:12], strict=True):
        data = Path([files[1], files[0]][index]).read_bytes()
        assert data[start : start + length] == content


def test_a_record_file_that_is_cut_off_is_an_error(tmp_path: Path) -> None:
    whole = struct.pack("<Q", 5) + b"crc." + b"hello" + b"crc."
    (tmp_path / "whole").write_bytes(whole)
    assert find_records([(str(tmp_path / "whole"), 0, 1)])[2].tolist() == [5]
    for content, take in ((whole, 2), (whole[:-1], 1), (whole[:4], 1), (b"", 1)):
        (tmp_path / "cut").write_bytes(content)
        with pytest.raises(CnnkitError, match="cut"):
            find_records([(str(tmp_path / "cut"), 0, take)])
    with pytest.raises(CnnkitError, match="No such file"):
        find_records([(str(tmp_path / "missing"), 0, 1)])
