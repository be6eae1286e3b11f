"""Runs against labelled images: what `eval` prints, and what the end of `train` writes."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from cnnkit.config.cells import is_table
from cnnkit.config.target import OneClass
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.files import write_atomically
from cnnkit.machine.devices import ONE_DEVICE, joined, together
from cnnkit.runs import ensemble, inference
from cnnkit.runs.listing import plain_config, within
from cnnkit.runs.samples import SAMPLES, write_samples
from cnnkit.runs.trained import TrainedRun
from cnnkit.task import Evaluation, TaskPredictions

log = logging.getLogger("cnnkit")


@dataclass(frozen=True)
class EvaluationOptions:
    """Which images runs are evaluated on, and how.

    Attributes:
        split: `train`, `validation` or `test`.
        folder: A folder of class folders, or a table, to take instead.
        tta: Test-time augmentations, see `inference.compile_network`.
        keep: Gets what was said of each image.
        skip_corrupt: Whether files of the folder that cannot be read are left out, as they are where the run's config
            says so.
        max_megapixels: Images of the folder with more cannot be read; by default as the run's config says.
        classifier: The run that measures what a generator makes; by default as `Task.evaluate` finds it.
    """

    split: str = "test"
    folder: str | None = None
    tta: Sequence[str] = ()
    keep: Callable[[TaskPredictions], None] | None = None
    skip_corrupt: bool = False
    max_megapixels: float | None = None
    classifier: str | None = None


#: A run's own test images, as they are.
TEST_SPLIT = EvaluationOptions()


def evaluate_run(trained: TrainedRun, options: EvaluationOptions = TEST_SPLIT) -> dict[str, Any]:
    """The metrics of a run on one split, or on other images with targets.

    For the test split, evaluation.json, predictions.csv and the task's pictures are written to the run; with test-time
    augmentation, evaluation.tta.json alone; in a precision that was asked for, nothing. Where the run may not be
    written, a warning says so.

    Example:
        >>> evaluate_run(open_run(run), EvaluationOptions(split="validation"))["accuracy"]

    Raises:
        UsageError: if there is no such split or folder.
        CnnkitError: if there is no model, or the images do not fit.
    """
    # The workers that have trained the run together measure it together.
    with together(joined() if options is TEST_SPLIT else ONE_DEVICE):
        evaluation, images = _evaluate([trained], options)
    metrics = {**_measured_on(options, trained), **evaluation.metrics}
    if options.folder is None and options.split == "test" and trained.precision is None:
        try:
            _write(trained, metrics, evaluation, images)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            # Somebody else's run may be measured too.
            log.warning("the run `%s` cannot be written; its evaluation is not kept there", trained.run.path)
    if options.keep is not None:
        options.keep(evaluation.predictions)
    return metrics


def take_part(trained: TrainedRun) -> None:
    """What a worker beside the chief does while that one evaluates a run: it measures its share, and writes nothing."""
    with together(joined()):
        _evaluate([trained], TEST_SPLIT)


def evaluate_ensemble(members: Sequence[TrainedRun], options: EvaluationOptions = TEST_SPLIT) -> dict[str, Any]:
    """The metrics of the average of what several runs output.

    Args:
        members: Runs of one task, on the same images and targets.

    Returns:
        The metrics, and `members`: each run's name and its headline alone. Nothing is written.

    Raises:
        UsageError: if the runs do not fit together.
        CnnkitError: if one of them cannot be evaluated.
    """
    ensemble.check_members(members)
    evaluation, _ = _evaluate(members, options)
    if options.keep is not None:
        options.keep(evaluation.predictions)
    return {**_measured_on(options, members[0]), **evaluation.metrics}


def _evaluate(members: Sequence[TrainedRun], options: EvaluationOptions) -> tuple[Evaluation, Any]:
    """The evaluation, and the images that it was made on, as a `data.Split`."""
    first = members[0]
    task = first.task if options.classifier is None else first.task.measured_with(options.classifier)
    for trained in members:
        trained.check_model()
    # Loading the images may load TensorFlow, and one process has one setting of oneDNN and threads.
    first.request_settings()
    if options.folder is None and len(members) > 1:
        ensemble.check_same_split(members, options.split)
    target = task.target
    inference.check_views(options.tta, first.interface, per_pixel=target.per_pixel, boxed=target.boxed)
    images = labelled_images(first, options)
    if options.folder is not None:
        _tell_copies(members, images, options.folder)
    else:
        for trained in members[1:]:
            trained.check_data(first.fingerprint)
    return task.evaluate(members, images, options.tta), images


def _measured_on(options: EvaluationOptions, trained: TrainedRun) -> dict[str, Any]:
    """What the metrics say first: of which images, how they were looked at, and the precision that was asked for."""
    measured: dict[str, Any] = {"split": options.folder or options.split}
    if options.tta:
        measured["tta"] = list(options.tta)
    if trained.precision is not None:
        measured["precision"] = trained.precision
    return measured


def _tell_copies(members: Sequence[TrainedRun], images: Any, folder: str) -> None:
    """Says which images of a folder the runs were trained on, as far as the cache still has what that was."""
    from cnnkit.data.copies import copies_text, find_copies, measured
    from cnnkit.data.loading import training_images

    measured_images = measured(images, name=f"`{folder}`")
    if measured_images is None:
        return
    for trained in members:
        try:
            training = training_images(trained.data, trained.loaded.config.seed, trained.data_set)
        except CnnkitError:
            continue
        found = find_copies(training, measured_images) if training is not None else None
        if found is not None:
            log.warning("the run `%s` knows some of these images: %s", trained.run.path, copies_text([found]))


def labelled_images(trained: TrainedRun, options: EvaluationOptions = TEST_SPLIT) -> Any:
    """The images of a run's split, as a `data.Split`, or those of another folder or table.

    Raises:
        CnnkitError: if the data set is not there, has changed, or has no such split.
    """
    from cnnkit import data as data_module

    run = trained.run
    if options.folder is not None:
        return _other_images(trained, options, options.folder)
    data_set, config = trained.data_set, trained.loaded.config
    data = data_module.load(trained.data, config.seed, config.task, splits=(options.split,), info=data_set)
    trained.check_data(data.fingerprint)
    split = getattr(data, options.split)
    if split is None:
        raise UsageError(f"the run `{run.path}` has no {options.split} split (data.validation is 0)")
    return split


def _other_images(trained: TrainedRun, options: EvaluationOptions, path: str) -> Any:
    from cnnkit import data as data_module

    interface = trained.interface
    how: dict[str, Any] = {
        "shape": interface.image_shape,
        "resize": interface.resize,
        "skip_corrupt": options.skip_corrupt or bool(within(plain_config(trained.run), "data", "skip_corrupt")),
        "most_megapixels": options.max_megapixels or interface.max_megapixels,
    }
    loaded = trained.loaded
    if not trained.task.takes_images:
        raise UsageError(
            f"--data is for other images; the run `{trained.run.path}` takes none: its task is {trained.task.name}",
            "Measure it as it is: cnnkit eval RUN",
        )
    if loaded.info.target.boxed:
        return data_module.labelled_boxes(path, loaded.config.data, class_names=interface.class_names, **how)
    if interface.sample.vocabulary is not None:
        return data_module.labelled_texts(path, loaded.config.data, loaded.info.target, interface.sample, how["shape"])
    if is_table(path):
        return data_module.labelled_table(path, loaded.config.data, target=loaded.info.target, **how)
    if loaded.info.target.per_pixel:
        padding = interface.padding
        return data_module.labelled_pairs(path, loaded.config.data, target=loaded.info.target, padding=padding, **how)
    if not isinstance(loaded.info.target, OneClass):
        raise UsageError(
            f"`{path}` is a folder, whose images have one class each; the run `{trained.run.path}` has learned "
            f"{loaded.info.target.plural}",
            "Name a table with the columns that it learned from.",
        )
    return data_module.labelled_folder(path, class_names=interface.class_names, **how)


def _write(trained: TrainedRun, metrics: dict[str, Any], evaluation: Evaluation, images: Any) -> None:
    from cnnkit.data.samples import sample

    run = trained.run
    if "tta" in metrics:
        run.write_json(run.augmented_evaluation, metrics)
        return
    run.write_json(run.evaluation, metrics)
    write_atomically(run.predictions, evaluation.predictions.as_csv())
    trained.task.draw_evaluation(run, evaluation)
    # For `serve`, unless training has done so.
    if trained.task.takes_images and not run.live_samples.exists():
        write_samples(run, *sample(images, SAMPLES))
