"""Holds augmentation against the images and what is to be learned of them, and the network against training crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cnnkit.augmentation import Augmentation, TargetError
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.reports import Report
from cnnkit.config.sample import Sample
from cnnkit.format.explain import Path
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.layers.sizes import dependence_on_size
from cnnkit.layers.stack import StackError, Step

#: Each entry's place in the list of the config, and the entry.
Augmentations = Sequence[tuple[int, Augmentation]]


def check_augmentation(augmentations: Augmentations, sample: Sample, info: DataSetInfo, report: Report) -> Shape | None:
    """Reports what cannot be done to the images, their masks or their boxes.

    Args:
        sample: What the data set has of each; the network may be given something else.

    Returns:
        The shape of the images that training sees, (height, width, channels); None where it is not known.
    """
    shape: Shape = info.data_shape
    known = True
    reason = sample.unchangeable
    if reason is not None:
        for index, augmentation in augmentations:
            path: Path = ("augmentation", index, type(augmentation).__name__)
            report(path, f"`{path[-1]}` changes images, and {reason}; remove it")
        return shape
    for index, augmentation in augmentations:
        path = ("augmentation", index, type(augmentation).__name__)
        try:
            shape = augmentation.output_shape(shape, per_pixel=info.target.per_pixel)
        except ShapeError as error:
            report((*path, error.argument) if error.argument else path, error.message)
            known = False
        try:
            if info.target.per_pixel:
                augmentation.for_masks(info.target.ignore)
            if info.target.boxed:
                augmentation.check_boxes()
        except TargetError as error:
            report((*path, error.argument) if error.argument else path, error.message, of_training=True)
    return shape if known else None


def check_crops(
    augmentations: Augmentations,
    whole: Sequence[Step],
    crop: Shape,
    trace: Callable[[Shape], Sequence[Step]],
    report: Callable[..., None],
) -> None:
    """Reports a network that cannot be trained on crops and evaluated on whole images.

    Args:
        whole: The network for whole images.
        crop: The shape of what it is trained on, (height, width, channels).
        trace: Gives the network for images of a shape; a StackError where there is none.
        report: As `Report`, with the blocks that an error lies in as third argument, see `StackError.inside`.
    """
    shape = whole[0].input_shape
    if crop == shape:
        return
    place, kind = next((index, type(one).__name__) for index, one in augmentations if one.resized(shape) != shape)
    at_crop: Path = ("augmentation", place, kind)
    sizes = f"crops of {format_shape(crop[:2])}"
    try:
        steps = trace(crop)
    except StackError as error:
        message = f"for {sizes}, which it is trained on: {error.message}"
        report(("model", "layers", *error.path), message, error.inside, of_training=True)
        return
    index = dependence_on_size(whole, steps)
    if index is not None:
        message = (
            f"the network is trained on {sizes} and evaluated on whole images of {format_shape(shape[:2])}, but its "
            f"layer {index} ({whole[index].layer.kind}) depends on the size; leave out `height` and `width`, or use "
            "layers that go over images of any size, such as convolutions of 1x1 in place of `Dense`"
        )
        report(at_crop, message, of_training=True)
        return
    output, expected = steps[-1].output_shape[:2], crop[:2]
    if whole[-1].output_shape[:2] == shape[:2] and output != expected:
        message = f"for {sizes}, the network outputs {format_shape(output)}; write a height and width that come back"
        report(at_crop, message, of_training=True)
