"""A run against labelled images: what `eval` prints, and what the end of `train` writes."""

from __future__ import annotations

import errno
import logging
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cnnkit.errors import CnnkitError, UsageError
from cnnkit.files import write_atomically
from cnnkit.machine import processor
from cnnkit.machine.tensorflow import has_gpu, load_tensorflow, on_or_off, onednn_in_use, request
from cnnkit.network.footprint import check_inference, of_inference
from cnnkit.network.summary import summarize
from cnnkit.network.xla import needing_xla
from cnnkit.runs import ensemble, inference
from cnnkit.runs.config import config_of_images, read_config
from cnnkit.runs.directory import Run
from cnnkit.runs.inference import inference_batch_size
from cnnkit.runs.listing import plain_config, within

if TYPE_CHECKING:
    from cnnkit.tasks.classification.predictions import Predictions

log = logging.getLogger("cnnkit")

#: What model.keras may unpack to: weights of at most 64 bits, and what describes the layers.
_BYTES_PER_PARAMETER = 8
_BYTES_BESIDE = 1 << 26


def load_model(run: Run) -> Any:
    """The run's best model.

    Raises:
        CnnkitError: if the run has none yet, or the file is broken.
    """
    check_model(run)
    request_settings(run)
    load_tensorflow()
    return open_model(run)


def open_model(run: Run) -> Any:
    """The run's best model, in a process that has loaded TensorFlow.

    Raises:
        CnnkitError: if the file is damaged or may not be read, or if it holds a network of other images or classes.
    """
    import keras

    task = run.read_task()
    loaded = read_config(run)
    run.check_archive(run.model, _BYTES_PER_PARAMETER * summarize(loaded).parameters + _BYTES_BESIDE)
    if not has_gpu():
        check_inference(of_inference(loaded.config.model.trace(loaded.info.shape, loaded.info.target.values)))
    try:
        model = keras.models.load_model(run.model, compile=False, safe_mode=True)
    except MemoryError:
        raise
    except Exception as error:  # a damaged archive makes Keras raise almost anything: BadZipFile, KeyError, ...
        raise CnnkitError(
            f"`{run.model}` cannot be opened: {str(error) or type(error).__name__}",
            "The file is damaged, or was written by another version of Keras; train the run again.",
        ) from None
    if (model.input_shape, model.output_shape) != ((None, *task.image_shape), (None, len(task.class_names))):
        raise CnnkitError(
            f"`{run.model}` holds a network from {model.input_shape} to {model.output_shape}, but `{run.environment}` "
            f"tells of images {task.image_shape} and of {len(task.class_names)} classes",
            "Bring the two files of one training together again, or train the run again.",
        )
    return model


def check_model(run: Run) -> None:
    """Whether the run has a model, before TensorFlow is loaded.

    Raises:
        CnnkitError: if it has none.
    """
    if not os.path.lexists(run.model):
        raise CnnkitError(
            f"the run `{run.path}` has no model: no epoch of it has ended",
            f"Train it again: cnnkit train {shlex.quote(str(run.config))}",
        )


def request_settings(run: Run) -> None:
    """Asks for the oneDNN and the threads that the run was trained with, where it was trained on a processor as here.

    Elsewhere the rule for this machine decides. Called before anything loads TensorFlow.
    """
    environment = run.read_environment()
    settings = environment.get("settings") or {}
    here = (processor.processor(), processor.usable_cores())
    if (environment.get("processor"), environment.get("usable_cores")) == here:
        onednn = settings.get("onednn")
        threads = settings.get("threads") or 0
        # Whoever sent the run may have written any number.
        request(
            "auto" if onednn is None else on_or_off(onednn),
            threads if 1 <= threads <= processor.MOST_THREADS else "auto",
        )


def compile_run(run: Run, model: Any, tta: Sequence[str] = ()) -> tuple[Callable[[Any], Any], int]:
    """The run's network as it is evaluated and used: XLA as in training, several images at a time.

    Args:
        model: The run's model.
        tta: Test-time augmentations, see `inference.compile_network`.

    Returns:
        The network as a function of uint8 images, and how many of them to give it at a time.
    """
    network = inference.compile_network(model, head=run.read_task().head, jit_compile=uses_xla(run), tta=tta)
    return network, max(1, inference_batch_size(model) // len(inference.view_weights(tta)))


def uses_xla(run: Run) -> bool:
    """Whether XLA compiles the run's network: as in training; on another kind of device, as that device needs."""
    settings = run.read_environment().get("settings") or {}
    device = "GPU" if load_tensorflow().config.list_physical_devices("GPU") else "CPU"
    if settings.get("device") == device and settings.get("jit_compile"):
        return True
    if device == "GPU":
        return settings.get("device") != "GPU"
    # The run may have been trained where oneDNN, or a GPU, could do without.
    loaded = read_config(run)
    stack = loaded.config.model.trace(loaded.info.shape, loaded.info.target.values)
    policy = settings.get("dtype_policy") or "float32"
    return needing_xla(stack, policy, onednn_in_use()) is not None


def evaluate_run(
    run: Run,
    split: str = "test",
    folder: str | None = None,
    tta: Sequence[str] = (),
    keep: Callable[[Predictions], None] | None = None,
    skip_corrupt: bool = False,
    max_megapixels: float | None = None,
) -> dict[str, Any]:
    """The metrics of a run on one split, or on another folder of labelled images.

    For the test split, evaluation.json, predictions.csv and the confusion matrix are written to the run; with test-time
    augmentation, evaluation.tta.json alone. Where the run may not be written, a warning says so.

    Args:
        split: `train`, `validation` or `test`.
        folder: A folder of class folders to take instead.
        tta: Test-time augmentations, see `inference.compile_network`.
        keep: Gets what was said of each image.
        skip_corrupt: Whether files of the folder that cannot be read are left out, as they are where the run's config
            says so.
        max_megapixels: Images of the folder with more cannot be read; by default as the run's config says.

    Raises:
        UsageError: if there is no such split or folder.
        CnnkitError: if there is no model, or the images do not fit.
    """
    from cnnkit.runs import objectives
    from cnnkit.tasks.classification import metrics as evaluate

    check_model(run)
    # Loading the images may load TensorFlow.
    request_settings(run)
    task = run.read_task()
    class_names = task.class_names
    inference.check_views(tta, task.image_shape)
    images = labelled_images(run, split, folder, skip_corrupt, max_megapixels)
    if folder is not None:
        _tell_copies([run], images, folder)
    answers = _answers(run, images, tta)
    probabilities, labels = answers.probabilities, answers.labels
    metrics = {
        "split": folder or split,
        **({"tta": list(tta)} if tta else {}),
        **evaluate.classification_metrics(probabilities, labels, class_names),
        **objectives.measure(
            read_config(run).config.training,
            task.head,
            answers.outputs,
            labels,
            batch_size=answers.batch_size,
            penalty=answers.penalty,
        ),
    }
    predictions = _predictions(images, class_names, labels, probabilities)
    if folder is None and split == "test":
        try:
            _write(run, metrics, predictions)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            # Somebody else's run may be measured too.
            log.warning("the run `%s` cannot be written; its evaluation is not kept there", run.path)
    if keep is not None:
        keep(predictions)
    return metrics


def evaluate_ensemble(
    runs: Sequence[Run],
    split: str = "test",
    folder: str | None = None,
    tta: Sequence[str] = (),
    keep: Callable[[Predictions], None] | None = None,
    skip_corrupt: bool = False,
    max_megapixels: float | None = None,
) -> dict[str, Any]:
    """The metrics of the average of several runs' probabilities (as Krizhevsky et al. 2012 average seven networks).

    Args:
        runs: Runs on the same images and classes.
        split, folder, tta, keep, skip_corrupt, max_megapixels: As for `evaluate_run`.

    Returns:
        The metrics, and `members`: each run's name and its accuracy alone. Nothing is written.

    Raises:
        UsageError: if the runs do not fit together.
        CnnkitError: if one of them cannot be evaluated.
    """
    from cnnkit.tasks.classification import metrics as evaluate

    ensemble.check_members(runs)
    for run in runs:
        check_model(run)
    # One process has one setting of oneDNN and threads; the first run's decides.
    request_settings(runs[0])
    first = runs[0].read_task()
    if folder is None:
        ensemble.check_same_split(runs, split)
    inference.check_views(tta, first.image_shape)
    images = labelled_images(runs[0], split, folder, skip_corrupt, max_megapixels)
    if folder is not None:
        _tell_copies(runs, images, folder)
    answers = []
    for run in runs:
        if folder is None:
            run.check_data(runs[0].read_fingerprint())
        answers.append(_answers(run, images, tta))
    labels = answers[0].labels
    mean = sum(one.probabilities for one in answers) / len(runs)
    alike = ensemble.measure_alike(
        [read_config(run).config.training for run in runs],
        [run.read_task().head for run in runs],
        [one.outputs for one in answers],
        mean,
        labels,
        answers[0].batch_size,
    )
    metrics = {
        "split": folder or split,
        **({"tta": list(tta)} if tta else {}),
        **evaluate.classification_metrics(mean, labels, first.class_names),
        **alike,
        "members": [
            {"run": run.name, "accuracy": float((one.probabilities.argmax(axis=1) == labels).mean())}
            for run, one in zip(runs, answers, strict=True)
        ],
    }
    if keep is not None:
        keep(_predictions(images, first.class_names, labels, mean))
    return metrics


@dataclass(frozen=True, eq=False)
class _Answers:
    """What a run's network says of labelled images.

    Attributes:
        outputs: What it puts out, [images, classes].
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


def _answers(run: Run, images: Any, tta: Sequence[str]) -> _Answers:
    from cnnkit import data as data_module
    from cnnkit.runs import objectives
    from cnnkit.tasks.classification import metrics as evaluate

    task = run.read_task()
    model = load_model(run)
    network, at_once = compile_run(run, model, tta)
    batch_size = inference_batch_size(model)

    def batches(size: int) -> Any:
        return data_module.evaluation_batches(images, batch_size=size, classes=len(task.class_names))

    with data_module.naming_corrupt_files(images):
        outputs, labels = evaluate.predict_batches(network, batches(at_once))
    probabilities = evaluate.probabilities_from_outputs(outputs, task.head)
    return _Answers(outputs, probabilities, labels, batch_size, objectives.penalty_of(model, batches(batch_size)))


def _predictions(images: Any, class_names: Sequence[str], labels: Any, probabilities: Any) -> Predictions:
    """What a network says of each image of a `data.Split`."""
    from cnnkit.tasks.classification.predictions import Predictions

    guesses = probabilities.argmax(axis=1)
    return Predictions(tuple(class_names), tuple(images.ids), labels, guesses, probabilities, lambda: images)


def _tell_copies(runs: Sequence[Run], images: Any, folder: str) -> None:
    """Says which images of a folder the runs were trained on, as far as the cache still has what that was."""
    from cnnkit.data.copies import copies_text, find_copies, measured
    from cnnkit.data.loading import training_images

    measured_images = measured(images, name=f"`{folder}`")
    if measured_images is None:
        return
    for run in runs:
        try:
            config = config_of_images(run)
        except CnnkitError:
            continue
        training = training_images(config.data, config.seed, config.task)
        found = find_copies(training, measured_images) if training is not None else None
        if found is not None:
            log.warning("the run `%s` knows some of these images: %s", run.path, copies_text([found]))


def labelled_images(
    run: Run,
    split: str,
    folder: str | None = None,
    skip_corrupt: bool = False,
    max_megapixels: float | None = None,
) -> Any:
    """The images of a run's split, as a `data.Split`, or those of a folder of class folders.

    Args:
        skip_corrupt, max_megapixels: As for `evaluate_run`.

    Raises:
        CnnkitError: if the data set is not there, has changed, or has no such split.
    """
    from cnnkit import data as data_module

    if folder is not None:
        task = run.read_task()
        skips = skip_corrupt or bool(within(plain_config(run), "data", "skip_corrupt"))
        return data_module.labelled_folder(
            folder,
            class_names=task.class_names,
            shape=task.image_shape,
            resize=task.resize,
            skip_corrupt=skips,
            most_megapixels=max_megapixels or task.max_megapixels,
        )
    config = config_of_images(run)
    section = config.data
    if section.folder is not None:
        # Whatever the files would make of them today: these are the channels that the network takes.
        section = section.model_copy(update={"channels": run.read_task().image_shape[2]})
    data = data_module.load(section, config.seed, config.task, splits=(split,))
    run.check_data(data.fingerprint)
    found = getattr(data, split)
    if found is None:
        raise UsageError(f"the run `{run.path}` has no {split} split (data.validation is 0)")
    return found


def _write(run: Run, metrics: dict[str, Any], predictions: Predictions) -> None:
    from cnnkit import plots

    if "tta" in metrics:
        run.write_json(run.augmented_evaluation, metrics)
        return
    run.write_json(run.evaluation, metrics)
    write_atomically(run.predictions, predictions.as_csv())
    plots.confusion_matrix(metrics["confusion_matrix"], predictions.class_names, run.confusion_matrix)


def one_line(metrics: dict[str, Any]) -> str:
    """The metrics that matter most, for the end of a run."""
    parts = [f"accuracy {metrics['accuracy']:.4f}"]
    if len(metrics["per_class"]) > 5:
        parts.append(f"top-5 {metrics['top_5_accuracy']:.4f}")
    parts += [f"loss {metrics['loss']:.4f}", f"calibration error {metrics['calibration_error']:.4f}"]
    return f"{'  '.join(parts)}  ({metrics['images']:,} images)"
