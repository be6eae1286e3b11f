"""A run to files of a format, held against Keras."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.data.splits import Split
from cnnkit.errors import CnnkitError
from cnnkit.export import metadata, speed
from cnnkit.export.card import card_for
from cnnkit.export.network import convert, exportable
from cnnkit.export.parity import Parity, compare, compare_made, drawn, latent_vectors, test_images
from cnnkit.export.places import Places
from cnnkit.export.quantize import TensorTypes, check_types, converter_settings, read_types
from cnnkit.export.runtimes import Network, open_network
from cnnkit.export.script import script_for
from cnnkit.export.speed import Speed
from cnnkit.export.stage_tensors import stage_tensors
from cnnkit.files import move_into_place, working_folder, write_atomically
from cnnkit.machine.tensorflow import load_tensorflow, threads_in_use
from cnnkit.runs.evaluation import EvaluationOptions, labelled_images
from cnnkit.runs.trained import TrainedRun

#: What outputs may differ by in float32, see `Agreement.difference`.
TOLERANCE = 1e-4

#: What the headline may lose where weights are quantized, see `Parity.loss`.
TOLERANCE_QUANTIZED = 0.01


@dataclass(frozen=True)
class ExportOptions:
    """What is asked for beside the format.

    Attributes:
        images: Test images to compare with Keras, at most; 0 for no comparison.
        tolerance: What outputs may differ by, by default TOLERANCE; where weights are quantized, what the headline may
            lose, by default TOLERANCE_QUANTIZED.
        quantize: One of `formats.KINDS`; None for float32.
        calibration: Training images that int8 takes its ranges from.
    """

    images: int = 1000
    tolerance: float | None = None
    quantize: str | None = None
    calibration: int = 500


@dataclass(frozen=True)
class Outcome:
    """What an export has written, and how it compares.

    Attributes:
        places: The files.
        parity: None where nothing was compared.
        speeds: Of Keras and of the exported network.
        failure: Why the network may not be used, which is then kept under another name; None where it may.
        types: Of its tensors; None where it is not quantized.
    """

    places: Places
    parity: Parity | None
    speeds: tuple[Speed, Speed]
    failure: str | None
    types: TensorTypes | None

    @property
    def files(self) -> tuple[Path, ...]:
        """All that was written."""
        return self.places.all if self.failure is None else self.places.described

    def as_json(self) -> dict[str, Any]:
        keras, exported = self.speeds
        return {
            "files": [str(path) for path in self.files],
            "parity": None if self.parity is None else self.parity.as_json(),
            "speed": {"keras": keras.as_json(), "exported": exported.as_json()},
            "failure": self.failure,
            "quantized": None if self.types is None else self.types.as_json(),
        }


def export_run(trained: TrainedRun, places: Places, options: ExportOptions) -> Outcome:
    """Writes a run's network, the one that `eval` measures, and compares what was written with Keras.

    All of the files are written, or none. Where the comparison fails, they have another name, see `Places.failed`.

    Raises:
        CnnkitError: if the run has no network or no test images, if the format has no form for one of its layers, or if
            the files cannot be written.
    """
    trained.check_model()
    # Loading the images may load TensorFlow, and one process has one setting of oneDNN and threads.
    trained.request_settings()
    images = None
    if options.images and not trained.task.makes_images:
        images = test_images(trained, options.images)
    settings = _settings(trained, places, options)
    description = metadata.describe(trained, places.format_, options.quantize)
    model = exportable(trained.model)
    with _working(places.main.parent) as folder:
        made = places.moved_to(folder)
        convert(model, places.format_, made.main, settings)
        types = None
        if options.quantize is not None:
            types = read_types(made.main)
            check_types(options.quantize, types)
        stages = stage_tensors(trained, model, places.format_, made.main)
        text = metadata.as_text({**description, "stages": stages})
        metadata.embed(places.format_, made.main, text)
        write_atomically(made.description, text)
        parity, speeds = _measure(trained, made, model, images, options.images)
        failure = None if parity is None else _failure(parity, options)
        outcome = Outcome(places if failure is None else places.failed(), parity, speeds, failure, types)
        if failure is None:
            write_atomically(made.script, script_for(places, trained))
            write_atomically(made.card, card_for(places, trained, description, parity, speeds, types))
        for here, there in zip(made.all if failure is None else made.described, outcome.files, strict=True):
            move_into_place(here, there)
    return outcome


def _settings(trained: TrainedRun, places: Places, options: ExportOptions) -> dict[str, Any]:
    """What the format's converter takes."""
    if places.format_.name != "litert":
        return {}
    images = None
    if options.quantize == "int8":
        training = labelled_images(trained, EvaluationOptions(split="train"))
        images = drawn(training, options.calibration, trained.loaded.config.seed)
    return converter_settings(options.quantize, images)


def _failure(parity: Parity, options: ExportOptions) -> str | None:
    if options.quantize is not None:
        limit = TOLERANCE_QUANTIZED if options.tolerance is None else options.tolerance
        headline = parity.headline
        assert headline is not None
        if headline.loss <= limit and not math.isnan(parity.difference):
            return None
        lost = f"{100 * headline.loss:.2f} {'points' if headline.figure.is_share else '%'}"
        return f"its {headline.figure.label} lost {lost}, which is more than {100 * limit:g}"
    tolerance = TOLERANCE if options.tolerance is None else options.tolerance
    if parity.difference <= tolerance:
        return None
    return f"its outputs differ from Keras' by {parity.difference:.2g}, which is more than {tolerance:g}"


def _measure(
    trained: TrainedRun, made: Places, model: Any, images: Split | None, count: int
) -> tuple[Parity | None, tuple[Speed, Speed]]:
    """The comparison with Keras, and what Keras and the exported network take.

    Args:
        images: What they are compared on; None where they are not, and of networks that make images.
        count: Of how many latent vectors these make some; 0 where they are not compared.
    """
    threads = threads_in_use(load_tensorflow())
    examples = _examples(trained, images)
    exported, load = speed.loaded_in(lambda: open_network(made.format_, made.main, threads), examples[:1])
    keras = _in_keras(model, trained.uses_xla)
    parity = None
    if images is not None:
        parity = compare(trained, images, keras, exported)
    elif trained.task.makes_images and count:
        parity = compare_made(trained, latent_vectors(trained, count), keras, exported)
    # Keras' own time to load is that of the run's file, whatever has been loaded before.
    _, keras_load = speed.loaded_in(lambda: _in_keras(trained.load_model(), trained.uses_xla), examples[:1])
    one = speed.alternately([keras, exported], examples[:1])
    many = [len(examples) / seconds for seconds in speed.alternately([keras, exported], examples)]
    sizes = speed.size_of([trained.run.model]), speed.size_of(made.network)
    both = [Speed(*row) for row in zip(sizes, (keras_load, load), one, many, strict=True)]
    return parity, (both[0], both[1])


def _examples(trained: TrainedRun, images: Split | None) -> NDArray[Any]:
    """What both are timed with, as they take it [MANY, ...]: the first of some images, or what is like these."""
    interface = trained.interface
    if trained.task.makes_images:
        return latent_vectors(trained, speed.MANY)
    if images is not None:
        examples = images.read(np.arange(min(images.size, speed.MANY))).astype(interface.sample.input_dtype)
        return np.resize(examples, (speed.MANY, *examples.shape[1:]))
    shape = (speed.MANY, *interface.image_shape)
    values = np.random.default_rng(0).integers(0, interface.sample.largest + 1, shape)
    return values.astype(interface.sample.input_dtype)


def _in_keras(model: Any, jit_compile: bool) -> Network:
    """`model(x)`, compiled once for any number of images."""
    import tensorflow as tf

    spec = tf.TensorSpec([None, *model.input_shape[1:]], model.inputs[0].dtype)

    def call(images: Any) -> Any:
        # A layer may have a name that TensorFlow only allows inside a scope.
        with tf.name_scope("network"):
            return model(images, training=False)

    compiled = tf.function(call, input_signature=[spec], jit_compile=jit_compile, autograph=False)
    return lambda images: compiled(tf.constant(images)).numpy()


@contextmanager
def _working(parent: Path) -> Iterator[Path]:
    """A working folder in a folder that need not be there, and is not there afterwards if nothing was moved into it."""
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with working_folder(parent) as folder:
            yield folder
    except OSError as error:
        raise CnnkitError(
            f"cannot write `{error.filename or parent}`: {error.strerror or error}", "Nothing of the export is left."
        ) from None
    finally:
        for folder in missing:
            try:
                folder.rmdir()
            except OSError:
                break
