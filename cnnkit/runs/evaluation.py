"""Runs against labelled images: what `eval` prints, and what the end of `train` writes."""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnkit.errors import CnnkitError, UsageError
from cnnkit.files import write_atomically
from cnnkit.runs import ensemble, inference
from cnnkit.runs.directory import Run
from cnnkit.runs.inference import inference_batch_size
from cnnkit.runs.listing import plain_config, within
from cnnkit.runs.samples import SAMPLES, write_samples
from cnnkit.runs.trained import TrainedRun

if TYPE_CHECKING:
    from cnnkit.tasks.classification.predictions import Predictions

log = logging.getLogger("cnnkit")


@dataclass(frozen=True)
class EvaluationOptions:
    """Which images runs are evaluated on, and how.

    Attributes:
        split: `train`, `validation` or `test`.
        folder: A folder of class folders to take instead.
        tta: Test-time augmentations, see `inference.compile_network`.
        keep: Gets what was said of each image.
        skip_corrupt: Whether files of the folder that cannot be read are left out, as they are where the run's config
            says so.
        max_megapixels: Images of the folder with more cannot be read; by default as the run's config says.
    """

    split: str = "test"
    folder: str | None = None
    tta: Sequence[str] = ()
    keep: Callable[[Predictions], None] | None = None
    skip_corrupt: bool = False
    max_megapixels: float | None = None


#: A run's own test images, as they are.
TEST_SPLIT = EvaluationOptions()


def evaluate_run(trained: TrainedRun, options: EvaluationOptions = TEST_SPLIT) -> dict[str, Any]:
    """The metrics of a run on one split, or on another folder of labelled images.

    For the test split, evaluation.json, predictions.csv and the confusion matrix are written to the run; with test-time
    augmentation, evaluation.tta.json alone. Where the run may not be written, a warning says so.

    Example:
        >>> evaluate_run(open_run(run), EvaluationOptions(split="validation"))["accuracy"]

    Raises:
        UsageError: if there is no such split or folder.
        CnnkitError: if there is no model, or the images do not fit.
    """
    from cnnkit.runs import objectives
    from cnnkit.tasks.classification import metrics as evaluate

    trained.check_model()
    # Loading the images may load TensorFlow.
    trained.request_settings()
    class_names = trained.interface.class_names
    inference.check_views(options.tta, trained.interface.image_shape)
    images = labelled_images(trained, options)
    if options.folder is not None:
        _tell_copies([trained], images, options.folder)
    answers = _answers(trained, images, options.tta)
    probabilities, labels = answers.probabilities, answers.labels
    metrics = {
        **_measured_on(options),
        **evaluate.classification_metrics(probabilities, labels, class_names),
        **objectives.measure(
            trained.loaded.config.training,
            trained.interface.head,
            answers.outputs,
            labels,
            batch_size=answers.batch_size,
            penalty=answers.penalty,
        ),
    }
    predictions = _predictions(images, class_names, labels, probabilities)
    if options.folder is None and options.split == "test":
        try:
            _write(trained.run, metrics, predictions)
            _keep_samples(trained.run, images)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            # Somebody else's run may be measured too.
            log.warning("the run `%s` cannot be written; its evaluation is not kept there", trained.run.path)
    if options.keep is not None:
        options.keep(predictions)
    return metrics


def _measured_on(options: EvaluationOptions) -> dict[str, Any]:
    """What the metrics say first: of which images, and how they were looked at."""
    return {"split": options.folder or options.split, **({"tta": list(options.tta)} if options.tta else {})}


def evaluate_ensemble(members: Sequence[TrainedRun], options: EvaluationOptions = TEST_SPLIT) -> dict[str, Any]:
    """The metrics of the average of several runs' probabilities (as Krizhevsky et al. 2012 average seven networks).

    Args:
        members: Runs on the same images and classes.

    Returns:
        The metrics, and `members`: each run's name and its accuracy alone. Nothing is written.

    Raises:
        UsageError: if the runs do not fit together.
        CnnkitError: if one of them cannot be evaluated.
    """
    from cnnkit.tasks.classification import metrics as evaluate

    first = members[0]
    ensemble.check_members(members)
    for trained in members:
        trained.check_model()
    # One process has one setting of oneDNN and threads; the first run's decides.
    first.request_settings()
    if options.folder is None:
        ensemble.check_same_split(members, options.split)
    inference.check_views(options.tta, first.interface.image_shape)
    images = labelled_images(first, options)
    if options.folder is not None:
        _tell_copies(members, images, options.folder)
    answers = []
    for trained in members:
        if options.folder is None:
            trained.check_data(first.fingerprint)
        answers.append(_answers(trained, images, options.tta))
        trained.release_network()
    labels = answers[0].labels
    mean = sum(one.probabilities for one in answers) / len(members)
    alike = ensemble.measure_alike(
        [trained.loaded.config.training for trained in members],
        [trained.interface.head for trained in members],
        [one.outputs for one in answers],
        mean,
        labels,
        answers[0].batch_size,
    )
    metrics = {
        **_measured_on(options),
        **evaluate.classification_metrics(mean, labels, first.interface.class_names),
        **alike,
        "members": [
            {"run": trained.run.name, "accuracy": float((one.probabilities.argmax(axis=1) == labels).mean())}
            for trained, one in zip(members, answers, strict=True)
        ],
    }
    if options.keep is not None:
        options.keep(_predictions(images, first.interface.class_names, labels, mean))
    return metrics


@dataclass(frozen=True, eq=False)
class _Answers:
    """What a run's network says of labelled images.

    Attributes:
        outputs: Its outputs, [images, classes].
        probabilities: The class probabilities that these stand for, likewise.
        labels: The true classes, [images].
        batch_size: Images per batch in training's validation.
        penalty: What the regularizers add to the loss.
    """

    outputs: Any
    probabilities: Any
    labels: Any
    batch_size: int
    penalty: float


def _answers(trained: TrainedRun, images: Any, tta: Sequence[str]) -> _Answers:
    from cnnkit import data as data_module
    from cnnkit.runs import objectives
    from cnnkit.tasks.classification import metrics as evaluate

    interface, model = trained.interface, trained.model
    network, at_once = trained.network(tta)
    batch_size = inference_batch_size(model)

    def batches(size: int) -> Any:
        return data_module.evaluation_batches(images, batch_size=size)

    with data_module.naming_corrupt_files(images):
        outputs, labels = evaluate.predict_batches(network, batches(at_once))
    probabilities = evaluate.probabilities_from_outputs(outputs, interface.head)
    return _Answers(outputs, probabilities, labels, batch_size, objectives.penalty_of(model, batches(batch_size)))


def _predictions(images: Any, class_names: Sequence[str], labels: Any, probabilities: Any) -> Predictions:
    """What a network says of each image of a `data.Split`."""
    from cnnkit.tasks.classification.predictions import Predictions

    guesses = probabilities.argmax(axis=1)
    return Predictions(tuple(class_names), tuple(images.ids), labels, guesses, probabilities, lambda: images)


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
    """The images of a run's split, as a `data.Split`, or those of a folder of class folders.

    Raises:
        CnnkitError: if the data set is not there, has changed, or has no such split.
    """
    from cnnkit import data as data_module

    run = trained.run
    if options.folder is not None:
        interface = trained.interface
        return data_module.labelled_folder(
            options.folder,
            class_names=interface.class_names,
            shape=interface.image_shape,
            resize=interface.resize,
            skip_corrupt=options.skip_corrupt or bool(within(plain_config(run), "data", "skip_corrupt")),
            most_megapixels=options.max_megapixels or interface.max_megapixels,
        )
    data_set, config = trained.data_set, trained.loaded.config
    data = data_module.load(trained.data, config.seed, config.task, splits=(options.split,), info=data_set)
    trained.check_data(data.fingerprint)
    split = getattr(data, options.split)
    if split is None:
        raise UsageError(f"the run `{run.path}` has no {options.split} split (data.validation is 0)")
    return split


def _write(run: Run, metrics: dict[str, Any], predictions: Predictions) -> None:
    from cnnkit import plots

    if "tta" in metrics:
        run.write_json(run.augmented_evaluation, metrics)
        return
    run.write_json(run.evaluation, metrics)
    write_atomically(run.predictions, predictions.as_csv())
    plots.confusion_matrix(metrics["confusion_matrix"], predictions.class_names, run.confusion_matrix)


def _keep_samples(run: Run, images: Any) -> None:
    """Keeps some test images for `serve`, unless training has done so."""
    from cnnkit.data.samples import spread_over_classes

    if not run.live_samples.exists():
        chosen = spread_over_classes(images.labels, SAMPLES)
        write_samples(run, images.read(chosen), images.labels[chosen])


def one_line(metrics: dict[str, Any]) -> str:
    """The metrics that matter most, for the end of a run."""
    parts = [f"accuracy {metrics['accuracy']:.4f}"]
    if len(metrics["per_class"]) > 5:
        parts.append(f"top-5 {metrics['top_5_accuracy']:.4f}")
    parts += [f"loss {metrics['loss']:.4f}", f"calibration error {metrics['calibration_error']:.4f}"]
    return f"{'  '.join(parts)}  ({metrics['images']:,} images)"
