"""Data sets to uint8 images: TFDS by name, the bundled digits, folders of class folders, and tables."""

from cnnkit.data.batches import (
    channel_statistics,
    evaluation_batches,
    naming_corrupt_files,
    order,
    steps_per_epoch,
    training_batches,
)
from cnnkit.data.catalog import DataSetRow, data_set_summary, list_data_sets, prepare
from cnnkit.data.division import stratified
from cnnkit.data.images import read_image
from cnnkit.data.labelled import labelled_boxes, labelled_folder, labelled_pairs, labelled_table, labelled_texts
from cnnkit.data.loading import load
from cnnkit.data.samples import Samples, sample_test_images
from cnnkit.data.splits import DataSets, Split, split_from_arrays
from cnnkit.images.formats import CorruptImage

__all__ = [
    "CorruptImage",
    "DataSetRow",
    "DataSets",
    "Samples",
    "Split",
    "channel_statistics",
    "data_set_summary",
    "evaluation_batches",
    "labelled_boxes",
    "labelled_folder",
    "labelled_pairs",
    "labelled_table",
    "labelled_texts",
    "list_data_sets",
    "load",
    "naming_corrupt_files",
    "order",
    "prepare",
    "read_image",
    "sample_test_images",
    "split_from_arrays",
    "steps_per_epoch",
    "stratified",
    "training_batches",
]
