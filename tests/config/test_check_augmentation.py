"""What is refused of augmentation where each pixel has a class, and of networks that learn from crops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from cnnkit.augmentation import AUGMENTATIONS
from cnnkit.config.check_augmentation import check_augmentation, check_epochs, check_sizes
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.run import ModelConfig, RunConfig
from cnnkit.config.sample import IMAGES
from cnnkit.config.target import Mask, OneClass, Target
from cnnkit.format.base import Choice

SHAPE = (180, 240, 3)
CROP = [{"RandomCrop": {"height": 64, "width": 96}}]
POOLED = {"Conv2D": {"filters": 8, "kernel_size": 3, "padding": "same", "strides": 2}}
OUTPUT = {"Conv2D": {"filters": "classes", "kernel_size": 1}}


def problems_of(
    augmentation: list[Any], target: Target, layers: Sequence[Any] | None = None
) -> list[tuple[tuple[Any, ...], str]]:
    """Path and message of each problem of an augmentation and, where they are given, of layers behind it."""
    problems: list[tuple[tuple[Any, ...], str]] = []

    def report(path: Any, message: str, *_: Any, **__: Any) -> None:
        problems.append((path, message))

    entries = [(index, Choice(AUGMENTATIONS).validate(one)) for index, one in enumerate(augmentation)]
    sizes_known = check_augmentation(entries, IMAGES, DataSetInfo(SHAPE, target, "config"), report)
    if layers is not None:
        assert sizes_known
        model = ModelConfig.model_validate({"layers": layers})
        whole = model.trace(SHAPE, target.values)
        check_sizes(entries, whole, lambda shape: model.trace(shape, target.values), report)
    return problems


def test_masks_go_along_where_they_can() -> None:
    augmentation = ["RandomFlip", {"RandomRotation": 0.1}, {"RandomBrightness": 0.1}, *CROP]
    assert problems_of(augmentation, Mask(11, ignore=255)) == []
    assert problems_of(augmentation, Mask(11)) == []


def test_what_masks_cannot_follow_is_refused_where_it_stands() -> None:
    augmentation = ["RandomFlip", {"MixUp": 0.2}, {"RandomCrop": {"padding": 4}}]
    ((path, message),) = problems_of(augmentation, Mask(11, ignore=255))
    assert path == ("augmentation", 1, "MixUp")
    assert "write `CutMix`" in message
    assert [path for path, _ in problems_of(augmentation, Mask(11))] == [
        ("augmentation", 1, "MixUp"),
        ("augmentation", 2, "RandomCrop", "padding"),
    ]
    assert problems_of(augmentation, OneClass(10)) == []


def test_one_label_for_an_image_allows_no_crops() -> None:
    ((path, message),) = problems_of(CROP, OneClass(10))
    assert path == ("augmentation", 0, "RandomCrop", "height")
    assert "never cropped" in message


def test_a_second_crop_is_held_against_the_first() -> None:
    ((path, message),) = problems_of([*CROP, {"RandomCrop": {"height": 80}}], Mask(11))
    assert path == ("augmentation", 1, "RandomCrop", "height")
    assert "80x96" in message
    assert "64x96" in message


def test_a_network_of_convolutions_takes_crops() -> None:
    assert (
        problems_of(
            CROP, Mask(11), [POOLED, {"Conv2DTranspose": {"filters": 4, "kernel_size": 2, "strides": 2}}, OUTPUT]
        )
        == []
    )


@pytest.mark.parametrize(
    ("layers", "path", "texts"),
    [
        (
            [POOLED, "Flatten", {"Dense": 16}],
            ("augmentation", 0, "RandomCrop"),
            ["crops of 64x96", "whole images of 180x240", "layer 2 (Dense)"],
        ),
        ([{"Maxout": 1}, OUTPUT], ("augmentation", 0, "RandomCrop"), ["layer 0 (Maxout)"]),
        (
            [{"Branches": [[], [{"Conv2D": {"filters": "$height // 60", "kernel_size": 1}}]]}, OUTPUT],
            ("augmentation", 0, "RandomCrop"),
            ["layer 0 (Branches)"],
        ),
        (
            [{"Cropping2D": 40}, OUTPUT],
            ("model", "layers", 0, "Cropping2D", "cropping"),
            ["crops of 64x96", "trained on"],
        ),
    ],
)
def test_a_network_that_depends_on_the_size_takes_no_crops(
    layers: list[Any], path: tuple[Any, ...], texts: list[str]
) -> None:
    ((reported, message),) = problems_of(CROP, Mask(11), layers)
    assert reported == path
    for text in texts:
        assert text in message


def test_crops_come_back_from_the_network_as_whole_images_do() -> None:
    layers = [POOLED, POOLED, {"UpSampling2D": 4}, OUTPUT]
    ((path, message),) = problems_of([{"RandomCrop": {"height": 64, "width": 98}}], Mask(11), layers)
    assert path == ("augmentation", 0, "RandomCrop")
    assert "crops of 64x98" in message
    assert "64x100" in message


@pytest.mark.parametrize(("task", "mixes"), [("classification", True), ("segmentation", False)])
def test_cut_mix_mixes_labels_and_pastes_masks(task: str, mixes: bool) -> None:
    config = RunConfig.model_validate(
        {"task": task, "data": {"folder": "f"}, "augmentation": ["CutMix"], "model": {"layers": [OUTPUT]}}
    )
    assert config.mixes_labels is mixes


GROWING = {"ProgressiveResizing": [{"size": 60, "epochs": 2}, {"size": [120, 160], "epochs": 3}]}


def test_images_may_grow_where_the_network_takes_any_size() -> None:
    layers = [POOLED, "GlobalAveragePooling2D", {"Dense": "classes"}]
    assert problems_of(["RandomFlip", GROWING], OneClass(10), layers) == []


def test_images_do_not_grow_in_front_of_a_flatten() -> None:
    problems = problems_of([GROWING], OneClass(10), [POOLED, "Flatten", {"Dense": "classes"}])
    # One for each size.
    assert [path for path, _ in problems] == [("augmentation", 0, "ProgressiveResizing")] * 2
    for (_, message), size in zip(problems, ("60x60", "120x160"), strict=True):
        assert f"images of {size}" in message
        assert "layer 2 (Dense)" in message
        assert "global pooling" in message


def test_a_size_that_the_network_cannot_take_is_named_at_the_layer() -> None:
    ((path, message),) = problems_of(
        [GROWING], OneClass(10), [{"MaxPooling2D": 100}, "GlobalMaxPooling2D", {"Dense": 3}]
    )
    assert path == ("model", "layers", 0, "MaxPooling2D", "pool_size")
    assert "for images of 60x60" in message


@pytest.mark.parametrize("size", [[180, 240], [181, 10], [10, 241]])
def test_sizes_of_the_first_epochs_are_smaller(size: list[int]) -> None:
    ((path, message),) = problems_of([{"ProgressiveResizing": [{"size": size, "epochs": 1}]}], OneClass(10))
    assert path == ("augmentation", 0, "ProgressiveResizing", "sizes", 0, "size")
    assert "180x240" in message


def test_nothing_follows_what_makes_images_grow() -> None:
    ((path, message),) = problems_of([GROWING, "RandomFlip"], OneClass(10))
    assert path == ("augmentation", 0, "ProgressiveResizing")
    assert "the last" in message


def test_an_epoch_is_left_for_whole_images() -> None:
    reported: list[Any] = []
    entries = [(0, Choice(AUGMENTATIONS).validate("RandomFlip")), (1, Choice(AUGMENTATIONS).validate(GROWING))]
    check_epochs(entries, 6, lambda *arguments, **_: reported.append(arguments))
    assert reported == []
    check_epochs(entries, 5, lambda *arguments, **_: reported.append(arguments))
    ((path, message),) = reported
    assert path == ("augmentation", 1, "ProgressiveResizing")
    assert "`training.epochs: 6`" in message
