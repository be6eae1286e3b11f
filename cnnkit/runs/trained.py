"""A run that was trained, opened: what it has noted, its config and its network, each read once."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import DataProblem, DataSetInfo, RecordedImages, describe_data_set
from cnnkit.config.load import LoadedConfig
from cnnkit.config.recorded import load_recorded
from cnnkit.errors import CnnkitError, ConfigError
from cnnkit.machine import processor
from cnnkit.machine.tensorflow import bfloat16_hindrance, has_gpu, load_tensorflow, on_or_off, onednn_in_use, request
from cnnkit.network.footprint import check_inference, of_inference
from cnnkit.network.summary import summarize
from cnnkit.network.xla import needing_xla
from cnnkit.runs.best import Monitor
from cnnkit.runs.directory import Run
from cnnkit.runs.interface import WORDS, Interface, noted_interface
from cnnkit.runs.listing import number_in, task_of
from cnnkit.runs.precision import Precision, compute_in
from cnnkit.runs.predictor import Predictor
from cnnkit.runs.samples import SAMPLES, read_samples
from cnnkit.task import Answers, Figure, Task

log = logging.getLogger("cnnkit")

#: What model.keras may unpack to: weights of at most 64 bits, and what describes the layers.
_BYTES_PER_PARAMETER = 8
_BYTES_BESIDE = 1 << 26

#: Fields of `data` that do not decide which images a split has, or how they reach the network.
_DECIDES_NOTHING = {"batch_size", "drop_remainder", "normalization", "memory", "download"}


def open_run(run: Run, loaded: LoadedConfig | None = None, precision: Precision | None = None) -> TrainedRun:
    """The run, ready to be evaluated, drawn, reported on or served.

    Args:
        run: Its directory.
        loaded: Its config with what is known of its data set, in the process that has trained it; else these are read.
        precision: What its network multiplies, see `precision.compute_in`; None for what it did in training.

    Nothing is read yet: a run of which one part is damaged or missing can be used for what does not need that part.

    Example:
        >>> trained = open_run(find_run("digits-1"))
        >>> trained.interface.image_shape
        (8, 8, 1)
        >>> network, batch_size = trained.network()
    """
    return TrainedRun(run, loaded, precision)


class TrainedRun(Predictor):
    """A run whose files are read when they are first asked for, and only once.

    What is missing or damaged raises the same error whenever it is asked for. None of this needs the images that the
    run was trained on, but for `data` and `data_set`.

    Args:
        run, loaded, precision: As for `open_run`.
    """

    def __init__(self, run: Run, loaded: LoadedConfig | None = None, precision: Precision | None = None) -> None:
        self.run = run
        self.precision = precision
        if loaded is not None:
            self.loaded = loaded
            self.data_set = loaded.info
        self._networks: dict[tuple[str, ...], tuple[Callable[[Any], Any], int]] = {}

    @property
    def path(self) -> Path:
        return self.run.path

    @cached_property
    def environment(self) -> dict[str, Any]:
        """environment.json.

        Raises:
            CnnkitError: if it is missing or damaged, or may not be read.
        """
        return self.run.read_environment()

    @cached_property
    def interface(self) -> Interface:
        """The images that the network takes, its classes and its head.

        Raises:
            CnnkitError: if environment.json is missing or broken.
        """
        hint = "The run was damaged, or stopped while it was made; train it again."
        environment, words = self.environment, self.run.read_words()
        if words is not None:
            environment = {**environment, "data": {**(environment.get("data") or {}), WORDS: words}}
        return noted_interface(environment, f"`{self.run.environment}`", hint)

    @property
    def fingerprint(self) -> str | None:
        """What tells the run's data set from others; None where that was not noted.

        Raises:
            CnnkitError: if environment.json is missing or damaged.
        """
        return (self.environment.get("data") or {}).get("fingerprint")

    @cached_property
    def monitor(self) -> Monitor:
        """What chose the best epoch; the default where the run has not noted it."""
        try:
            return Monitor.of_environment(self.environment)
        except CnnkitError:
            return Monitor()

    @cached_property
    def task(self) -> Task:
        """What its network has learned; where its config cannot be read, what one means that does not say it."""
        return task_of(self.run)

    @cached_property
    def evaluation(self) -> dict[str, Any]:
        """evaluation.json, with all that an evaluation says.

        Raises:
            CnnkitError: if it is missing or damaged, or may not be read.
        """
        return self.task.read_evaluation(self.run)

    @cached_property
    def loaded(self) -> LoadedConfig:
        """The config, with the images' shape and the classes that the run has noted; its data set may be gone.

        What it holds that is refused today, and that only training needs, is left out; a warning says so.

        Raises:
            ConfigError: if the config is wrong otherwise.
            CnnkitError: if neither the run nor the data set says what the images are.
        """
        loaded = read_recorded(self)
        if loaded.left_out:
            listed = "\n".join(f"  {problem.path}: {problem.message}" for problem in loaded.left_out)
            log.warning(
                "the config of the run `%s` holds what is refused today, and is used without it:\n%s",
                self.run.path,
                listed,
            )
        return loaded

    # --- Its images -----------------------------------------------------------------------------------

    @property
    def data(self) -> DataConfig:
        """The `data` section with which the run's images are read as its network takes them."""
        section = self.loaded.config.data
        if not section.has_files or section.text is not None or section.picture is not None:
            return section
        # Whatever the files would make of them today: these are the channels that the network takes.
        return section.model_copy(update={"channels": self.loaded.info.data_shape[2]})

    @cached_property
    def data_set(self) -> DataSetInfo:
        """What is known of the run's images, where they are here and it can be told which are in which split.

        Raises:
            ConfigError: if the config is wrong.
            CnnkitError: if they are not here, or what tells the splits apart is refused today: others could be
                measured.
        """
        for problem in self.loaded.left_out:
            if _decides_images(problem.keys):
                raise self._splits_unknown(problem.message)
        info = None
        try:
            info = describe_data_set(self.data, self.loaded.config.task)
            missing = info.missing
        except DataProblem as problem:
            if problem.argument == "splits":
                raise self._splits_unknown(problem.message) from None
            missing = problem.message
        if info is None or missing is not None:
            raise CnnkitError(
                f"the {self.data.sample.plural} of the run `{self.run.path}` are not here: {missing}",
                "Bring them back, or measure others with `cnnkit eval --data FOLDER`.",
            )
        return info

    def check_images(self) -> None:
        """Whether the run's images are here.

        Raises:
            CnnkitError: as `data_set`.
        """
        _ = self.data_set

    def _splits_unknown(self, reason: str) -> CnnkitError:
        samples = self.data.sample.plural
        return CnnkitError(
            f"it cannot be told any more which {samples} the run `{self.run.path}` has learned from and which test it: "
            f"{reason}",
            f"Measure a folder of other {samples} with `cnnkit eval --data FOLDER`.",
        )

    def check_data(self, fingerprint: str | None) -> None:
        """Compares a data set with the one that the run was made with.

        Raises:
            CnnkitError: if they differ: the run's splits, and so its test images, would be others.
        """
        if self.fingerprint != fingerprint:
            samples = self.data.sample.plural
            raise CnnkitError(
                f"the data set has changed since the run `{self.run.path}` was made: it was {self.fingerprint}, "
                f"now it is {fingerprint}",
                f"What the run trained on could be among its test {samples} now. Bring the old data back, train again, "
                f"or measure a folder of other {samples} with `cnnkit eval --data FOLDER`.",
            )

    # --- Its network ----------------------------------------------------------------------------------

    def check_model(self) -> None:
        """Whether the run has a model, before TensorFlow is loaded.

        Raises:
            CnnkitError: if it has none.
        """
        if not os.path.lexists(self.run.model):
            raise CnnkitError(
                f"the run `{self.run.path}` has no model: no epoch of it has ended",
                f"Train it again: cnnkit train {shlex.quote(str(self.run.config))}",
            )

    def note(self, name: str, value: Any) -> None:
        """Adds an entry to environment.json; what has been read of it is read again."""
        self.run.write_json(self.run.environment, {**self.environment, name: value})
        for read in ("environment", "interface"):
            self.__dict__.pop(read, None)

    def request_settings(self) -> None:
        """Asks for the oneDNN and the threads of the training, where the run was trained on a processor as here.

        Elsewhere the rule for this machine decides. Called before anything loads TensorFlow, as loading images may.
        """
        settings = self.environment.get("settings") or {}
        here = (processor.processor(), processor.usable_cores())
        if (self.environment.get("processor"), self.environment.get("usable_cores")) == here:
            onednn = settings.get("onednn")
            threads = settings.get("threads") or 0
            # Whoever sent the run may have written any number.
            request(
                "auto" if onednn is None else on_or_off(onednn),
                threads if 1 <= threads <= processor.MOST_THREADS else "auto",
            )

    @cached_property
    def model(self) -> Any:
        """The run's best model, uncompiled, in the precision that was asked for.

        Raises:
            CnnkitError: if the run has none yet, if the file is damaged or may not be read, or if it holds a network
                of other images or classes.
        """
        self.check_model()
        self.request_settings()
        model = self.load_model()
        on_cpu = not has_gpu()
        hindrance = bfloat16_hindrance() if on_cpu else None
        if self.precision is not None:
            compute_in(model, self.precision)
            if self.precision == "bfloat16" and hindrance is not None:
                log.warning(f"{hindrance}; it takes longer here than float32")
        if on_cpu and not self.uses_xla:
            from cnnkit.layers.bfloat16 import use_exact_sums

            use_exact_sums(model.layers, in_software=hindrance is not None)
        return model

    def _check_archive(self) -> None:
        most_bytes = _BYTES_PER_PARAMETER * summarize(self.loaded).parameters + _BYTES_BESIDE
        self.run.check_archive(self.run.model, most_bytes)

    def digest_model(self) -> str:
        """The SHA-256 of model.keras, every part of which is held against its checksum; without TensorFlow.

        Raises:
            CnnkitError: as `model`, as far as that can be told.
        """
        self.check_model()
        self._check_archive()
        return self.run.digest_archive(self.run.model)

    def load_model(self) -> Any:
        """As `model`, which is not kept, in a process that has other settings than those of the training."""
        load_tensorflow()
        import keras

        run, interface, loaded = self.run, self.interface, self.loaded
        self._check_archive()
        if not has_gpu():
            check_inference(of_inference(loaded.steps))
        try:
            model = keras.models.load_model(run.model, compile=False, safe_mode=True)
        except MemoryError:
            raise
        except Exception as error:  # a damaged archive makes Keras raise almost anything: BadZipFile, KeyError, ...
            raise CnnkitError(
                f"`{run.model}` cannot be opened: {str(error) or type(error).__name__}",
                "The file is damaged, or was written by another version of Keras; train the run again.",
            ) from None
        output = interface.output_shape(self.task)
        shapes = ((None, *interface.image_shape), (None, *output))
        if (model.input_shape, model.output_shape) != shapes:
            raise CnnkitError(
                f"`{run.model}` holds a network from {model.input_shape} to {model.output_shape}, but "
                f"`{run.environment}` tells of images {interface.image_shape} and of {len(interface.class_names)} "
                "classes",
                "Bring the two files of one training together again, or train the run again.",
            )
        return model

    @cached_property
    def uses_xla(self) -> bool:
        """Whether XLA compiles the network: as in training; on another kind of device, as that device needs."""
        settings = self.environment.get("settings") or {}
        device = "GPU" if load_tensorflow().config.list_physical_devices("GPU") else "CPU"
        if settings.get("device") == device and settings.get("jit_compile"):
            return True
        if device == "GPU":
            return settings.get("device") != "GPU"
        # The run may have been trained where oneDNN, or a GPU, could do without.
        trained_in = settings.get("dtype_policy") or "float32"
        policy = {None: trained_in, "float32": "float32", "bfloat16": "mixed_bfloat16"}[self.precision]
        return needing_xla(self.loaded.steps, policy, onednn_in_use()) is not None

    def network(self, tta: Sequence[str] = ()) -> tuple[Callable[[Any], Any], int]:
        """The network as it is evaluated and used: XLA as in training, several images at a time.

        Args:
            tta: Test-time augmentations, see `inference.compile_network`.

        Returns:
            The network as a function of uint8 images, and how many of them to give it at a time.
        """
        from cnnkit.runs import inference

        key = tuple(tta)
        if key not in self._networks:
            compiled = inference.compile_network(
                self.model,
                head=self.interface.head,
                jit_compile=self.uses_xla,
                tta=tta,
                dtype=self.interface.sample.dtype,
            )
            at_once = max(1, inference.inference_batch_size(self.model) // len(inference.view_weights(tta)))
            self._networks[key] = (compiled, at_once)
        return self._networks[key]

    # --- What pages tell of it ------------------------------------------------------------------------

    def parameters(self) -> int:
        return int(self.model.count_params())

    def measured(self, figure: Figure) -> float | None:
        value: float | None = number_in(self.run, self.run.evaluation, figure.name)
        return value

    def test_images(self, answers: Answers) -> tuple[Any, Any]:
        """Those that the run has kept; of its data set where it has kept none, as runs of older versions."""
        try:
            return read_samples(self.run, self.interface, answers)
        except (FileNotFoundError, CnnkitError):
            data_set, config = self.data_set, self.loaded.config
        from cnnkit import data

        samples = data.sample_test_images(self.data, config.seed, SAMPLES, config.task, data_set)
        self.check_data(samples.fingerprint)
        return samples.images, samples.targets

    def release_network(self) -> None:
        """Lets go of the model, which is loaded again when it is asked for: several of them may not fit in memory."""
        self.__dict__.pop("model", None)
        self._networks.clear()


def read_recorded(trained: TrainedRun) -> LoadedConfig:
    """The run's config as `TrainedRun.loaded` has it, without a warning."""
    file = str(trained.run.config)
    try:
        interface = trained.interface
    except CnnkitError as error:
        # An untrained or damaged run may have its data set.
        try:
            return load_recorded(file)
        except ConfigError as refused:
            if all(problem.path.startswith("data") for problem in refused.problems):
                raise error from None
            raise
    return load_recorded(file, RecordedImages(interface.data_shape, interface.class_names, interface.padding))


def _decides_images(keys: tuple[str | int, ...]) -> bool:
    return keys[0] == "seed" or (keys[0] == "data" and not set(keys[1:2]) & _DECIDES_NOTHING)
