"""Holds augmentation against the images and what is to be learned of them, and the network against training crops."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from cnnkit.augmentation import Augmentation, TargetError, shapes_in_training
from cnnkit.config.dataset import DataSetInfo
from cnnkit.config.reports import Report
from cnnkit.config.sample import Sample
from cnnkit.format.explain import Path
from cnnkit.format.shapes import Shape, ShapeError, format_shape
from cnnkit.layers.sizes import dependence_on_size
from cnnkit.layers.stack import StackError, Step

#: Each entry's place in the list of the config, and the entry.
Augmentations = Sequence[tuple[int, Augmentation]]


def check_augmentation(augmentations: Augmentations, sample: Sample, info: DataSetInfo, report: Report) -> bool:
    """Reports what cannot be done to the images, their masks or their boxes.

    Args:
        sample: What the data set has of each; the network may be given something else.

    Returns:
        Whether the sizes of the images that training sees are known.
    """
    shape: Shape = info.data_shape
    known = True
    reason = sample.unchangeable
    if reason is not None:
        for index, augmentation in augmentations:
            path: Path = ("augmentation", index, type(augmentation).__name__)
            report(path, f"`{path[-1]}` changes images, and {reason}; remove it")
        return not augmentations
    for place, (index, augmentation) in enumerate(augmentations, 1):
        path = ("augmentation", index, type(augmentation).__name__)
        if place < len(augmentations) and len(set(augmentation.shapes(shape))) > 1:
            report(path, f"`{path[-1]}` has to be the last of the list: the others take images of one size; move it")
            known = False
        try:
            shape = augmentation.output_shape(shape, per_pixel=info.target.per_pixel)
        except ShapeError as error:
            report((*path, *error.path), error.message)
            known = False
        try:
            if info.target.per_pixel:
                augmentation.for_masks(info.target.ignore)
            if info.target.boxed:
                augmentation.check_boxes()
        except TargetError as error:
            report((*path, error.argument) if error.argument else path, error.message, of_training=True)
    return known


def check_epochs(augmentations: Augmentations, epochs: int, report: Report) -> None:
    """Reports an augmentation that a training of so many epochs is too short for."""
    for index, augmentation in augmentations:
        least = augmentation.least_epochs
        if epochs < least:
            path: Path = ("augmentation", index, type(augmentation).__name__)
            message = (
                f"leaves no epoch for whole images, on which the network is evaluated: it takes {least - 1} of "
                f"{epochs}; write fewer, or `training.epochs: {least}` or more"
            )
            report(path, message, of_training=True)


def check_sizes(
    augmentations: Augmentations,
    whole: Sequence[Step],
    trace: Callable[[Shape], Sequence[Step]],
    report: Callable[..., None],
) -> None:
    """Reports a network that cannot be trained on images of another size and evaluated on whole ones.

    Args:
        whole: The network for whole images.
        trace: Gives the network for images of a shape; a StackError where there is none.
        report: As `Report`, with the blocks that an error lies in as third argument, see `StackError.inside`.
    """
    shape = whole[0].input_shape
    others = [one for one in shapes_in_training([one for _, one in augmentations], shape) if one != shape]
    if not others:
        return
    place, resizing = next((index, one) for index, one in augmentations if one.shapes(shape) != (shape,))
    for other in others:
        _check_size(other, whole, ("augmentation", place, type(resizing).__name__), resizing, trace, report)


def _check_size(
    shape: Shape,
    whole: Sequence[Step],
    place: Path,
    resizing: Augmentation,
    trace: Callable[[Shape], Sequence[Step]],
    report: Callable[..., None],
) -> None:
    """The same for images of one shape that `resizing`, which stands at `place`, makes of whole ones."""
    size, whole_size = shape[:2], whole[0].input_shape[:2]
    sizes = f"{resizing.resized_to} {format_shape(size)}"
    try:
        steps = trace(shape)
    except StackError as error:
        message = f"for {sizes}, which it is trained on: {error.message}"
        report(("model", "layers", *error.path), message, error.inside, of_training=True, of_value=error.of_value)
        return
    index = dependence_on_size(whole, steps)
    if index is not None:
        message = (
            f"the network is trained on {sizes} and evaluated on whole images of {format_shape(whole_size)}, but its "
            f"layer {index} ({whole[index].layer.kind}) depends on the size; {resizing.to_keep_size}, or use "
            "layers that go over images of any size, such as a global pooling in place of `Flatten`, and convolutions "
            "of 1x1 in place of `Dense`"
        )
        report(place, message, of_training=True)
        return
    output = steps[-1].output_shape[:2]
    if whole[-1].output_shape[:2] == whole_size and output != size:
        message = f"for {sizes}, the network outputs {format_shape(output)}; write a height and width that come back"
        report(place, message, of_training=True)
