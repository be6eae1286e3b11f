"""Pictures of what a network does: images, model and drawing brought together, one function for each kind."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit import plots
from cnnkit.config.load import LoadedConfig
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.inside.outputs import LayerOutput, input_window, layer_outputs, stages, way_to
from cnnkit.plots.sheets import Picture, Row, sheet
from cnnkit.runs.arrays import read_array
from cnnkit.runs.best import Monitor
from cnnkit.runs.directory import Run, damaged
from cnnkit.runs.evaluation import labelled_images
from cnnkit.runs.finding import distinct_names
from cnnkit.runs.inputs import inputs_of
from cnnkit.runs.listing import columns_of, task_of
from cnnkit.runs.ranking import ranked
from cnnkit.runs.trained import TrainedRun

if TYPE_CHECKING:
    from cnnkit.data import Split
    from cnnkit.inside.feature_maps import Stages

#: Test images among which those are sought that excite a filter most.
PATCH_IMAGES = 2000

#: Mistakes on one sheet, where nothing else is said.
WORST = 24

_MOST_CHANNELS = 16
_PATCHES = 8
_BATCH = 128

#: Images that are augmented together for a picture, at most.
_MOST_IN_BATCH = 128


def filters(trained: TrainedRun, path: Path) -> None:
    """Draws the kernels of the first convolution before and after training.

    Raises:
        CnnkitError: if the run has no model or no convolution.
    """
    from cnnkit.training.model import first_kernel

    _check_pixels(trained, "show filters", "no filters that could be drawn")
    run = trained.run
    try:
        before = read_array(run, run.initial_filters)
    except FileNotFoundError:
        raise CnnkitError(_why_no_filters(trained)) from None
    after = first_kernel(trained.model, before.ndim)
    if after is None or after.shape != before.shape:
        raise damaged(run.initial_filters, "it does not hold the filters of the network's first layer")
    plots.filters(before, after, path)


def _why_no_filters(trained: TrainedRun) -> str:
    """Why a run has kept no filters."""
    from cnnkit.training.model import MOST_ROWS, kernels

    name, kernel = next(kernels(trained.model), ("", np.empty(0)))
    if kernel.ndim == 3 and kernel.shape[1] > MOST_ROWS:
        length, channels, _ = kernel.shape
        return (
            f"the first convolution of `{trained.run.path}`, `{name}`, has kernels of {length} positions and "
            f"{channels:,} channels; with more than {MOST_ROWS}, there is nothing to see"
        )
    if kernel.size:
        return f"the run `{trained.run.path}` was made before such filters as those of `{name}` were kept"
    return f"the run `{trained.run.path}` has no convolution, so no filters that could be shown"


def features(trained: TrainedRun, image: str, path: Path, max_megapixels: float | None = None) -> None:
    """Draws the feature maps of each stage for one image, low level to high level, the most active channels of each.

    Args:
        image: An image file, or the place of a test image.
        path: The PNG file to write.
        max_megapixels: As for `read_input`.

    Raises:
        CnnkitError: if the image cannot be read, or the run has no model or no layer that outputs an image.
    """
    from cnnkit.inside.feature_maps import compile_stages, most_active, normalised

    trained.task.check_asked("show features")
    _check_pixels(trained, "show features", "no feature maps that could be drawn")
    stages_shown = stages(layer_outputs(trained.loaded))
    if not stages_shown:
        raise CnnkitError(f"no layer of `{trained.run.path}` outputs an image; there are no feature maps to show")
    # The model is opened first: it shows whether the size that the run tells for its images is true.
    model = trained.model
    pixels, name = read_input(trained, image, max_megapixels)
    outputs, maps = compile_stages(model, stages_shown, jit_compile=trained.uses_xla)(pixels[None])
    guess = trained.task.guess(trained.interface, outputs[0])
    rows = [Row("", [Picture(pixels, f"{name}\n{guess}".strip())])]
    for place, (channels,) in zip(stages_shown, maps, strict=True):
        chosen = most_active(channels, _MOST_CHANNELS)
        pictures = [Picture(normalised(channels[..., index]), f"channel {index}") for index in chosen]
        size = "x".join(map(str, (*place.size, place.channels)))
        part = f", the {len(chosen)} most active channels" if len(chosen) < place.channels else ""
        rows.append(Row(f"{place.name}: {size}{part}", pictures))
    note = "Each map from its smallest value (dark blue) to its largest (yellow)."
    sheet(f"Feature maps of {trained.run.name}", rows, path, note=note)


def patches(trained: TrainedRun, layer: str, path: Path) -> None:
    """Draws, for each filter of a layer, the patches of test images that excite it most.

    A patch is the part of the image that the position sees where the filter's output is largest, one per image, among
    the first 2,000 test images (Zeiler and Fergus 2013, arXiv:1311.2901, show such patches).

    Args:
        layer: The layer's name, see `outputs.way_to`.
        path: The PNG file to write; of more than 16 filters, it shows the first 16.

    Raises:
        UsageError: if there is no such layer.
        CnnkitError: if the test images or the model are not there.
    """
    trained.task.check_asked("show filters --layer")
    from cnnkit.inside.feature_maps import compile_stages

    _check_pixels(trained, "show filters --layer", "no patches")
    way = way_to(trained.loaded, layer)
    place = way[-1]
    trained.request_settings()
    split = labelled_images(trained)
    network = compile_stages(trained.model, [place], jit_compile=trained.uses_xla)
    values, positions = strongest(network, split)
    shown = min(place.channels, _MOST_CHANNELS)
    rows = []
    for channel in range(shown):
        best = ranked(values[:, channel], _PATCHES)
        pictures = []
        for index in map(int, best):
            row, column = divmod(int(positions[index, channel]), place.size[1])
            pixels = _cut(split.read([index])[0], input_window(way, place, row, column))
            pictures.append(Picture(pixels, f"{split.ids[index]}\n{values[index, channel]:.3g}"))
        rows.append(Row(f"filter {channel}", pictures))
    part = f", the first {shown} of {place.channels} filters" if shown < place.channels else ""
    note = f"The patches of {len(values):,} test images with the largest outputs{part}; below each, image and output."
    sheet(f"What {place.name} of {trained.run.name} responds to", rows, path, columns=_PATCHES, note=note, cell=0.9)


def _check_pixels(trained: TrainedRun, verb: str, what: str) -> None:
    """Raises UsageError where a run's samples cannot be looked at as pictures.

    Args:
        verb: The name of the command.
        what: What there is not.
    """
    reason = trained.interface.sample.unchangeable
    if reason is not None:
        trained.task.check_asked(verb)
        raise UsageError(
            f"`{trained.run.path}` has {what}: {reason}",
            f"What its network looks at: cnnkit predict {trained.run.name} --explain TEXT",
        )


def strongest(network: Stages, split: Split) -> tuple[Any, Any]:
    """Each channel's largest output in each of the first 2,000 images, and its place among the positions, row by row.

    Args:
        network: From `feature_maps.compile_stages`, of one layer.

    Returns:
        Both [images, channels].
    """
    values, positions = [], []
    for start in range(0, min(split.size, PATCH_IMAGES), _BATCH):
        images = split.read(np.arange(start, min(start + _BATCH, split.size, PATCH_IMAGES)))
        _, (maps,) = network(images)
        flat = maps.reshape(len(images), -1, maps.shape[-1])
        positions.append(flat.argmax(axis=1))
        values.append(flat.max(axis=1))
    return np.concatenate(values), np.concatenate(positions)


def _cut(image: NDArray[np.uint8], window: tuple[slice, slice]) -> NDArray[np.uint8]:
    """A part of an image; what lies beyond its edges is black."""
    rows, columns = window
    before = [(max(-part.start, 0), max(part.stop - size, 0)) for part, size in zip(window, image.shape, strict=False)]
    padded = np.pad(image, [*before, (0, 0)])
    top, left = rows.start + before[0][0], columns.start + before[1][0]
    return padded[top : top + rows.stop - rows.start, left : left + columns.stop - columns.start]


def augmentation(loaded: LoadedConfig, images: int, draws: int, path: Path) -> None:
    """Draws training images as the network receives them.

    Args:
        images: How many of the images of the first training batch.
        draws: How often each is augmented.
        path: The PNG file to write.

    Raises:
        UsageError: if the config has no augmentation.
        CnnkitError: if the data are not there.
    """
    from cnnkit import data as data_module
    from cnnkit.machine.tensorflow import load_tensorflow, request

    config = loaded.config
    augmentations = config.augmentation_in_training
    if not augmentations:
        raise UsageError(
            f"`{loaded.file}` has no augmentation", f"Its network receives the {config.data.sample.plural} as they are."
        )
    request(config.training.onednn, config.training.threads)
    load_tensorflow()
    # It imports Keras, and so TensorFlow, whose settings must stand by then.
    from cnnkit.augmentation.pipeline import Pipeline

    data = data_module.load(config.data, config.seed, config.task, splits=("train",), info=loaded.info)
    assert data.train is not None
    # Whole batches, because some augmentations mix images with others of theirs.
    size = min(max(images, config.data.batch_size), _MOST_IN_BATCH)
    chosen = data_module.order(config.seed, 0, data.train.size)[:size].numpy()
    images = min(images, len(chosen))
    batch, target = data.train.read_batch(chosen), data.info.target

    def drawn(augmentations: Sequence[Any]) -> list[dict[str, NDArray[Any]]]:
        pipeline = Pipeline(
            augmentations, config.seed, masks=target.per_pixel, ignore=target.ignore, boxes=target.boxed
        )
        return [pipeline.apply_numpy(batch, epoch=epoch, places=chosen) for epoch in range(draws)]

    def pictures(changed: Sequence[dict[str, NDArray[Any]]], index: int) -> list[Picture]:
        """An image as it is, then its draws, which say what is to be learned of them where that is something else."""
        image, caption = config.task.sample(batch, index, target)
        others = [config.task.sample(one, index, target) for one in changed]
        return [Picture(image, caption), *(Picture(one, "" if text == caption else text) for one, text in others)]

    kinds = [type(augmentation).__name__ for augmentation in augmentations]
    together = drawn(augmentations)
    rows = [Row(" → ".join(kinds) if index == 0 else "", pictures(together, index)) for index in range(images)]
    if len(kinds) > 1:
        for kind, alone in zip(kinds, augmentations, strict=True):
            rows.append(Row(f"{kind} alone", pictures(drawn([alone]), 0)))
    note = f"Left, the image as it is; then {draws} draws of it as the network receives it."
    sheet(f"Augmentation of {loaded.name}", rows, path, columns=draws + 1, note=note)


def read_input(trained: TrainedRun, image: str, max_megapixels: float | None = None) -> tuple[NDArray[np.uint8], str]:
    """A sample as the run's network takes it, such as an image, uint8 [height, width, channels], and what to call it.

    Args:
        image: An image file, or a text; or a whole number: the place of a test sample, from 0.
        max_megapixels: A file with more is refused; by default as the run's config says.

    Raises:
        UsageError: if there is neither.
        CnnkitError: if the file cannot be read, or the test images are not there.
    """
    inputs, kind = inputs_of(trained.interface), trained.interface.sample.singular
    named = inputs.find(image)
    if named is not None:
        read = inputs.read(named, max_megapixels)
        if isinstance(read, str):
            raise CnnkitError(read)
        return read, inputs.title(named)
    if not image.isdecimal():
        raise UsageError(
            f"expected {inputs.expected}, or the place of a test {kind} such as 0, but `{image}` is neither",
            inputs.hint,
        )
    trained.request_settings()
    split = labelled_images(trained)
    place = int(image)
    if place >= split.size:
        raise UsageError(f"there is no test {kind} {place}: the run has {split.size:,}, the first is 0")
    return split.read([place])[0], f"{split.ids[place]}\n{split.targets.caption(place)}".strip()


def gradcam_sheet(run: Run, place: LayerOutput, rows: Sequence[Row], path: Path, columns: int = 8) -> None:
    """Draws Grad-CAM maps over their images.

    Args:
        place: The layer that they come from.
    """
    size = "x".join(map(str, place.size))
    note = f"At {place.name}, {size}: from nothing (black) to what speaks most for the class (yellow)."
    sheet(f"Grad-CAM of {run.name}", rows, path, columns=columns, note=note)


def curves(runs: Sequence[Run], path: Path) -> None:
    """Draws the learning curves of one run, or of several on one plot.

    Raises:
        UsageError: if a run comes twice.
        CnnkitError: if a run has no epochs yet.
    """
    for run in runs:
        if not run.read_metrics():
            raise CnnkitError(f"no epoch of `{run.path}` has ended; there is nothing to draw")
    if len(runs) == 1:
        rows = runs[0].read_metrics()
        plots.curves(rows, path, task_of(runs[0]).columns, Monitor.of_run(runs[0]).best_epoch(rows))
    else:
        names = distinct_names([run.path for run in runs])
        rows_of = {name: run.read_metrics() for name, run in zip(names, runs, strict=True)}
        best = [Monitor.of_run(run).best_epoch(rows) for run, rows in zip(runs, rows_of.values(), strict=True)]
        plots.curves_of_runs(rows_of, path, columns_of(runs), best)
