"""A run against labelled images: what `eval` prints, and what the end of `train` writes."""

from __future__ import annotations

import errno
import logging
import shlex
from typing import Any

from cnnkit import runtime
from cnnkit.config.load import load_config
from cnnkit.errors import CnnkitError
from cnnkit.rundir import Run, to_csv, write_atomically

log = logging.getLogger("cnnkit")


def load_model(run: Run) -> Any:
    """The run's best model.

    Raises:
        CnnkitError: if the run has none yet, or the file is broken.
    """
    check_model(run)
    runtime.load_tensorflow()
    import keras

    try:
        return keras.models.load_model(run.model, compile=False)
    except Exception as error:  # a damaged archive makes Keras raise almost anything: BadZipFile, KeyError, ...
        raise CnnkitError(
            f"`{run.model}` cannot be opened: {str(error) or type(error).__name__}",
            "The file is damaged, or was written by another version of Keras; train the run again.",
        ) from None


def check_model(run: Run) -> None:
    """Whether the run has a model, before TensorFlow is loaded.

    Raises:
        CnnkitError: if it has none.
    """
    if not run.model.exists():
        raise CnnkitError(
            f"the run `{run.path}` has no model: no epoch of it has ended",
            f"Train it again: cnnkit train {shlex.quote(str(run.config))}",
        )


def evaluate_run(run: Run, split: str = "test", folder: str | None = None) -> dict[str, Any]:
    """The metrics of a run on one split, or on another folder of labelled images.

    For the test split, evaluation.json, predictions.csv and the confusion matrix are written to the run; where it may
    not be written, a warning says so.

    Args:
        split: `train`, `validation` or `test`.
        folder: A folder of class folders to take instead.

    Raises:
        CnnkitError: if there is no model, no such split, or the images do not fit.
    """
    from cnnkit import data as data_module
    from cnnkit import evaluate, plots

    check_model(run)
    task = run.read_task()
    class_names = task.class_names
    if folder is not None:
        images = data_module.labelled_folder(folder, class_names=class_names, shape=task.image_shape)
    else:
        config = load_config(str(run.config)).config
        data = data_module.load(config.data, config.seed, splits=(split,))
        run.check_data(data.fingerprint)
        found = getattr(data, split)
        if found is None:
            raise CnnkitError(f"the run `{run.path}` has no {split} split (data.validation is 0)")
        images = found
    model = load_model(run)
    batches = data_module.evaluation_batches(
        images, batch_size=runtime.inference_batch_size(model), classes=len(class_names)
    )
    outputs, labels = evaluate.predict_batches(model, batches)
    probabilities = evaluate.probabilities_from_outputs(outputs, task.head)
    metrics = {"split": folder or split, **evaluate.classification_metrics(probabilities, labels, class_names)}
    if folder is None and split == "test":
        try:
            run.write_json(run.evaluation, metrics)
            header, rows = evaluate.predictions_rows(probabilities, labels, class_names, images.ids)
            write_atomically(run.predictions, to_csv(header, list(rows)))
            plots.confusion_matrix(metrics["confusion_matrix"], class_names, run.confusion_matrix)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            # Somebody else's run may be measured too.
            log.warning("the run `%s` cannot be written; its evaluation is not kept there", run.path)
    return metrics


def one_line(metrics: dict[str, Any]) -> str:
    """The metrics that matter most, for the end of a run."""
    parts = [f"accuracy {metrics['accuracy']:.4f}"]
    if len(metrics["per_class"]) > 5:
        parts.append(f"top-5 {metrics['top_5_accuracy']:.4f}")
    parts += [f"loss {metrics['loss']:.4f}", f"calibration error {metrics['calibration_error']:.4f}"]
    return f"{'  '.join(parts)}  ({metrics['images']:,} images)"
