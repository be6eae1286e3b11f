"""An exported network: an .onnx file that answers for images as its run does, by onnxruntime and without TensorFlow."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cnnkit import __version__
from cnnkit.errors import CnnkitError, ConfigError, UsageError, of_the_system
from cnnkit.files import read_regular
from cnnkit.format.fields import is_number
from cnnkit.machine.packages import check_packages
from cnnkit.machine.processor import usable_cores
from cnnkit.runs.array_views import averaged
from cnnkit.runs.directory import ENVIRONMENT
from cnnkit.runs.inference import view_weights
from cnnkit.runs.interface import Interface, noted_interface
from cnnkit.runs.json_forms import REQUIRED, Form, mismatch
from cnnkit.runs.listing import plain_text, task_in, within
from cnnkit.runs.onnx_sessions import open_session
from cnnkit.runs.predictor import Predictor
from cnnkit.runs.stage_tensors import STAGE, StageTensor, stages_of, with_outputs
from cnnkit.task import Answers, Figure, Task
from cnnkit.terminal.printable import printable

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: The package of the extra `onnx` that computes.
PACKAGE = "onnxruntime"

#: The key of the file's own metadata under which its JSON stands.
METADATA = "cnnkit"

#: What the JSON is like; a file of a later one is not read.
VERSION = 1

#: Protocol buffers, which such files are, cannot be larger.
LARGEST_FILE = (1 << 31) - 1

#: What the JSON says, as far as it is read.
FORM: Form = {
    "version": int,
    "cnnkit": str,
    "task": str,
    "config": str,
    "environment": ENVIRONMENT,
    "batch": int,
    "run": {"name": str, "sha256": str},
    "figures": {},
    "drawing": {"share": float, "bright": bool},
    "stages": [STAGE],
    REQUIRED: ("config", "environment"),
}

_SETTINGS = {
    # Threads that wait for the next operation would take the time of cores that others may use.
    "session.intra_op.allow_spinning": "0",
    # A file may name others for its weights: nothing lies in the folder where they are looked for.
    "session.model_external_initializers_file_folder_path": os.devnull,
}

_EXPORT = "Export the run with this version of cnnkit: cnnkit export RUN --format onnx"


class ExportedNetwork(Predictor):
    """An .onnx file that `cnnkit export` has written; what is needed to read images and answers stands in it.

    Args:
        path: The file; it may have been moved away from what was written beside it.

    Example:
        >>> exported = ExportedNetwork(Path("model.onnx"))
        >>> exported.interface.image_shape
        (8, 8, 1)
        >>> network, batch_size = exported.network()
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def path(self) -> Path:
        return self._path

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The JSON in the file.

        Raises:
            UsageError: if the file is no network of cnnkit's.
            CnnkitError: if it is damaged, or from a version of cnnkit that writes more than is known here.
        """
        facts = self._description
        version = within(facts, "version")
        if isinstance(version, int) and version > VERSION:
            raise self._too_new(f"its description has the version {version}, and the latest known here is {VERSION}")
        wrong = mismatch(facts, FORM)
        if wrong is not None:
            raise CnnkitError(f"`{self.path}` is damaged: in its description, {wrong}", _EXPORT)
        assert isinstance(facts, dict)
        return facts

    @cached_property
    def _description(self) -> Any:
        """The same, not checked; None where it is no JSON."""
        text = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
        if text is None:
            raise UsageError(
                f"`{self.path}` was not exported by cnnkit: nothing in it says how its images are read and what its "
                "outputs mean",
                "Name a run, or a file that `cnnkit export RUN --format onnx` has written.",
            )
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return None

    @cached_property
    def interface(self) -> Interface:
        return noted_interface(self.facts["environment"], f"`{self.path}`", _EXPORT)

    @cached_property
    def task(self) -> Task:
        """What the network has learned.

        Raises:
            CnnkitError: if it is nothing that is known here.
        """
        try:
            task = task_in(plain_text(self.facts["config"], str(self.path)))
        except ConfigError as error:
            reason = error.problems[0].message
            raise CnnkitError(f"`{self.path}` is damaged: the config in it is none: {reason}", _EXPORT) from None
        if task is None:
            raise self._too_new(f"it has learned the task `{printable(self.facts.get('task') or '?')}`")
        return task

    def _too_new(self, reason: str) -> CnnkitError:
        writer = within(self._description, "cnnkit")
        wanted = f"cnnkit {printable(writer)}" if isinstance(writer, str) else "another version"
        return CnnkitError(
            f"`{self.path}` cannot be used by this version of cnnkit, {__version__}: {reason}",
            f"It was written by {wanted}: install that, or export the run again with this version.",
        )

    def check_model(self) -> None:
        """Whether the file is there, before anything else is made ready for it.

        Raises:
            UsageError: if it is not.
            CnnkitError: if onnxruntime is not installed.
        """
        if not self.path.exists():
            raise UsageError(f"there is no file `{self.path}`", "Make one: cnnkit export RUN --format onnx")
        check_packages((PACKAGE,), f"`{self.path}`", "onnx")

    @cached_property
    def _session(self) -> InferenceSession:
        return self._opened(())

    def _opened(self, further: Sequence[str]) -> InferenceSession:
        """What computes, with as many threads as there are cores to use.

        Args:
            further: Tensors that it outputs besides.
        """
        self.check_model()
        try:
            # The user may have named a link.
            content = read_regular(Path(os.path.realpath(self.path)), LARGEST_FILE)
        except OSError as error:
            raise CnnkitError(f"cannot read `{self.path}`: {error.strerror}") from None
        try:
            return open_session(with_outputs(content, further), usable_cores(), _SETTINGS)
        except ImportError as error:
            raise CnnkitError(
                f"{PACKAGE} cannot be loaded: {error}", f"Install it again: pip install --force-reinstall {PACKAGE}"
            ) from None
        except MemoryError:
            raise
        except Exception as error:  # classes of its own, without a base that one could name
            raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> CnnkitError:
        """Why onnxruntime has refused the file."""
        reason = _reason(error)
        if "ir version" in reason.lower() or "opset" in reason.lower():
            import onnxruntime

            return CnnkitError(
                f"`{self.path}` is in a version of ONNX that {PACKAGE} {onnxruntime.__version__} does not know: "
                f"{reason}",
                f"Install a later one (pip install --upgrade {PACKAGE}), or export the run with another version of "
                "the package onnx.",
            )
        if "external data" in str(error).lower():
            reason = "it has weights in another file, which `cnnkit export` never writes"
        return CnnkitError(
            f"`{self.path}` cannot be opened: {reason}",
            "The file is damaged, or no ONNX file; bring back a copy of it, or export the run again.",
        )

    def network(self, tta: Sequence[str] = ()) -> tuple[Callable[[Any], Any], int]:
        interface = self.interface
        self._check_shapes()
        session = self._session

        def network(images: Any) -> Any:
            return self._compute(session, images)[0]

        # A file that does not say how many images it may be given is given them one by one.
        at_once = max(1, self.facts.get("batch") or 1)
        if not tta:
            return network, at_once
        return averaged(network, tta, interface.head), max(1, at_once // len(view_weights(tta)))

    @cached_property
    def stages(self) -> Sequence[StageTensor]:
        """The layers whose outputs can be looked at."""
        return stages_of(self.facts.get("stages") or ())

    def looked_into(self) -> Callable[[Any], tuple[Any, list[Any]]]:
        """The network as a function from images, as in `network`, to the outputs and what each of `stages` outputs.

        The latter are float32 [batch, rows, columns, channels].
        """
        (output,) = [one.name for one in self._session.get_outputs()]
        # The last stage may be what the network outputs.
        further = dict.fromkeys(stage.tensor for stage in self.stages if stage.tensor != output)
        session = self._opened(list(further))

        def look(images: Any) -> tuple[Any, list[Any]]:
            tensors = dict(zip([output, *further], self._compute(session, images), strict=True))
            maps = [stage.as_images(tensors[stage.tensor]) for stage in self.stages]
            for stage, one in zip(self.stages, maps, strict=True):
                if one.shape != (len(images), *stage.size, stage.channels):
                    raise CnnkitError(f"`{self.path}` is damaged: it says that the layer `{stage.name}` is another one")
            return tensors[output], maps

        return look

    def _compute(self, session: InferenceSession, images: Any) -> list[Any]:
        """All outputs of a session for images.

        Raises:
            CnnkitError: if the network cannot be computed, or does not answer for each image.
        """
        (name,) = [one.name for one in session.get_inputs()]
        try:
            outputs: list[Any] = session.run(None, {name: np.asarray(images, self.interface.sample.input_dtype)})
        except MemoryError:
            raise
        except Exception as error:  # as in `_opened`
            if of_the_system(error) is not None:
                raise
            raise CnnkitError(
                f"the network in `{self.path}` cannot be computed: {_reason(error)}",
                "The file is damaged, or was changed after its export; export the run again.",
            ) from None
        if any(len(one) != len(images) for one in outputs):
            raise CnnkitError(f"the network in `{self.path}` does not answer for each image; export the run again")
        return outputs

    def parameters(self) -> int | None:
        return within(self.facts, "environment", "model", "parameters")

    def measured(self, figure: Figure) -> float | None:
        value = within(self.facts, "figures", figure.name)
        return value if is_number(value) else None

    def test_images(self, answers: Answers) -> tuple[Any, Any]:
        raise CnnkitError(f"an exported network comes without any, and `{self.path}` is one")

    def noted_frame(self) -> Mapping[str, Any]:
        return {name: value for name, value in (self.facts.get("drawing") or {}).items() if value is not None}

    def _check_shapes(self) -> None:
        """Whether the network is one of the images and classes that the file tells of."""
        interface, session = self.interface, self._session
        output = interface.output_shape(self.task)
        inputs, outputs = session.get_inputs(), session.get_outputs()
        shapes = [tuple(one.shape[1:]) for one in (*inputs, *outputs)]
        expected = {"float32": "tensor(float)"}.get(taken := interface.sample.input_dtype, f"tensor({taken})")
        # A number for the batch would be the only size that it takes.
        fixed = [one.name for one in inputs if isinstance(one.shape[0], int)]
        if shapes != [interface.image_shape, tuple(output)] or inputs[0].type != expected or fixed:
            found = ", ".join(f"{one.type}{one.shape}" for one in (*inputs, *outputs))
            raise CnnkitError(
                f"`{self.path}` holds a network of {found}, but its description tells of {interface.sample.plural} "
                f"{interface.image_shape} and outputs {tuple(output)}",
                "The file was changed after its export; export the run again.",
            )


def _reason(error: Exception) -> str:
    """What onnxruntime says in words, in one line, without the codes before it."""
    # [ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Failed to load model because protobuf parsing failed.
    lines = str(error).strip().rpartition(" : ")[2].splitlines()
    return printable(lines[0]) if lines else type(error).__name__
