"""The weights that a config's backbones begin with: of ImageNet, of a file, or of a run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cnnkit.errors import CnnkitError, ConfigError, Problem
from cnnkit.format.explain import format_path, locate
from cnnkit.layers.backbone import IMAGENET, Backbone
from cnnkit.layers.resolved import Resolved
from cnnkit.layers.weight_paths import SEPARATOR, path_of_layer, weighted_layers
from cnnkit.training.imagenet import fetch_imagenet

if TYPE_CHECKING:
    from cnnkit.config.load import LoadedConfig
    from cnnkit.layers.stack import Step
    from cnnkit.runs.trained import TrainedRun

_MODEL = ".keras"
_WEIGHTS = ".h5"


@dataclass(frozen=True)
class _Place:
    """A backbone of a config: the path of its weights, the layer and what arrives there, and its place in the file."""

    path: str
    layer: Backbone
    step: Step
    keys: tuple[str | int, ...]


def _backbones(
    steps: Sequence[Step], labels: Sequence[str] | None = None, outer: str = "", keys: tuple[str | int, ...] = ()
) -> Iterator[_Place]:
    for index, step in enumerate(steps):
        layer = step.layer
        place = keys or ("model", "layers", index, layer.kind)
        path = path_of_layer(index, layer, labels, outer)
        if isinstance(layer, Resolved):
            for part in layer.parts:
                yield from _backbones(part.steps, part.labels, path + SEPARATOR, place)
        elif isinstance(layer, Backbone):
            yield _Place(path, layer, step, place if keys else (*place, "weights"))


@dataclass(frozen=True, eq=False)
class LearnedWeights:
    """What a backbone begins with.

    Attributes:
        path: The backbone's, as `layers.weight_paths` has it.
        weights: As the config says it.
        file: The file that holds them.
        sha256: Of the file when it was opened. What is read later has to be the same.
        run: The run whose file it is.
    """

    path: str
    layer: Backbone
    input_shape: tuple[int, ...]
    weights: str
    file: Path
    sha256: str
    run: TrainedRun | None = None

    def as_json(self) -> dict[str, Any]:
        """For environment.json."""
        return {"layer": self.path, "weights": self.weights, "file": os.path.abspath(self.file), "sha256": self.sha256}

    def as_text(self) -> str:
        whole = "" if self.layer.until is None else f" until {self.layer.until}"
        return f"{self.path}{whole} from {self.weights if self.weights == IMAGENET else self.file}"

    def assign_to(self, model: Any) -> None:
        """Gives the weights to the backbone of a Keras model of the config.

        Raises:
            CnnkitError: if the file has changed, cannot be read, or does not hold the backbone.
        """
        from cnnkit.training.backbone_files import read_arrays
        from cnnkit.training.model import weights_by_path

        arrays = read_arrays(self.file, self.layer, self.input_shape, self.run)
        if _digest(self.file) != self.sha256:
            raise CnnkitError(
                f"`{self.file}` has changed since it was first read", "Start again when nobody writes it any more."
            )
        variables = weights_by_path(model)
        for name, array in arrays.items():
            variables[self.path + SEPARATOR + name].assign(array)


def open_learned(loaded: LoadedConfig, taken: Sequence[str] = ()) -> tuple[LearnedWeights, ...]:
    """What the backbones of a config begin with, checked as far as that is possible without TensorFlow.

    Args:
        taken: The paths of weights that come from elsewhere; a backbone that has all of its own of them needs no other.

    Raises:
        ConfigError: where there is no such file or run, or it does not fit.
        CnnkitError: if weights cannot be downloaded.
    """
    learned = []
    known = set(taken)
    for place in _backbones(loaded.steps):
        wanted = [f"{place.path}{SEPARATOR}{w.name}" for w in place.layer.variables(place.step.input_shape)]
        if place.layer.weights is not None and not known.issuperset(wanted):
            learned.append(_open(place, place.layer.weights, loaded))
    return tuple(learned)


def _open(place: _Place, weights: str, loaded: LoadedConfig) -> LearnedWeights:
    shape = place.step.input_shape
    run = None
    if weights == IMAGENET:
        file = fetch_imagenet(place.layer.name, place.layer.network.file_for(shape))
    elif os.path.isdir(weights):
        run = _run_with(place, weights, loaded)
        file = run.run.model
    else:
        file = Path(weights)
        _check_file(place, file, loaded)
    return LearnedWeights(place.path, place.layer, shape, weights, file, _digest(file), run)


def _refused(place: _Place, loaded: LoadedConfig, message: str) -> ConfigError:
    return ConfigError([Problem(locate(loaded.tree, place.keys), format_path(place.keys), message)])


def _check_file(place: _Place, file: Path, loaded: LoadedConfig) -> None:
    if not file.exists():
        raise _refused(
            place,
            loaded,
            f"there is no file or run `{file}`; expected `{IMAGENET}`, a file of weights ({_WEIGHTS}), a model "
            f"({_MODEL}), a run, or `null`",
        )
    if file.suffix not in (_MODEL, _WEIGHTS):
        raise _refused(
            place,
            loaded,
            f"`{file.name}` is neither a file of weights, whose name ends in `.weights.h5` or `{_WEIGHTS}`, nor a "
            f"model, whose name ends in `{_MODEL}`",
        )


def _run_with(place: _Place, path: str, loaded: LoadedConfig) -> TrainedRun:
    """The run at a path, which has the backbone.

    Raises:
        ConfigError: if it is none, or has not all of the backbone.
        CnnkitError: if it is being trained, or is damaged.
    """
    from cnnkit.runs.finding import run_of
    from cnnkit.training.initial_weights import open_source

    if run_of(path) is None:
        raise _refused(place, loaded, f"the folder `{path}` is no run: it has no config.yaml")
    trained = open_source(path).trained
    there = {other.layer.name: other for other in _backbones(trained.loaded.steps)}
    other = there.get(place.layer.name)
    if other is None:
        has = f"only {', '.join(there)}" if there else "no Backbone at all"
        raise _refused(place, loaded, f"the run `{path}` has no {place.layer.name}; it has {has}")
    known = {layer.path.rpartition(SEPARATOR)[2] for layer in weighted_layers([other.step])}
    missing = [
        operation.name
        for operation in place.layer.operations(place.step.input_shape)
        if operation.weights and operation.name not in known
    ]
    if missing:
        raise _refused(
            place,
            loaded,
            f"the run `{path}` has {place.layer.name} only until {other.layer.until}, and not {missing[0]} and what "
            f"follows; write `until: {other.layer.until}` here, too",
        )
    return trained


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CnnkitError(f"cannot read `{file}`: {error.strerror}") from None
