"""`cnnkit train --init-from RUN`: a new run begins with the weights of another, as far as their layers are the same."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from cnnkit.errors import CnnkitError, UsageError
from cnnkit.format.base import some_of
from cnnkit.layers.stack import StackError
from cnnkit.layers.weight_paths import SEPARATOR, WeightedLayer, weighted_layers
from cnnkit.runs.directory import damaged
from cnnkit.runs.finding import find_run
from cnnkit.runs.trained import TrainedRun, open_run
from cnnkit.terminal.printable import printable

if TYPE_CHECKING:
    import numpy as np

    from cnnkit.config.load import LoadedConfig
    from cnnkit.layers.base import Weight
    from cnnkit.texts.words import Vocabulary


@dataclass(frozen=True, eq=False)
class Source:
    """A run whose weights others begin with.

    Attributes:
        sha256: Of its model.keras when it was opened. What is read later has to be the same.
    """

    trained: TrainedRun
    sha256: str

    @property
    def name(self) -> str:
        return str(self.trained.run.path)

    @cached_property
    def layers(self) -> dict[str, WeightedLayer]:
        """Its layers with weights, by path."""
        return {layer.path: layer for layer in weighted_layers(self.trained.loaded.steps)}

    def read(self) -> dict[str, np.ndarray]:
        """All weights of model.keras by path: the best epoch's, averaged where the run averaged them.

        Raises:
            CnnkitError: if the file has changed since the run was opened, or cannot be read.
        """
        import numpy as np

        from cnnkit.training.model import weights_by_path

        network = self.trained.load_model()
        if self.trained.digest_model() != self.sha256:
            raise CnnkitError(
                f"`{self.trained.run.model}` has changed since it was first read",
                "Somebody trains that run, or has put another file there; start again when that has ended.",
            )
        return {path: np.asarray(weight.numpy()) for path, weight in weights_by_path(network).items()}


def open_source(path: str) -> Source:
    """The run whose weights are to be taken, checked as far as that is possible without TensorFlow.

    Args:
        path: The run's directory, or its name under runs/.

    Raises:
        UsageError: if there is no run.
        CnnkitError: if it is being trained, has no model yet, or if what is needed of it is damaged.
    """
    run = find_run(path)
    trained = open_run(run)
    if run.is_training():
        name = shlex.quote(str(run.path))
        raise CnnkitError(
            f"the run `{run.path}` is still being trained, and its weights change with each better epoch",
            f"Wait until it has ended (cnnkit watch {name}), or begin with a copy of what it has now: "
            f"cp -r {name} COPY; --init-from COPY",
        )
    return Source(trained, trained.digest_model())


@dataclass(frozen=True)
class LayerMatch:
    """A layer of the new network, and the one of its name in the run.

    Attributes:
        here: The new network's.
        there: None where the run has none of that name.
        otherwise: What it answers with, such as `classes`, where the outputs of the run stand for others.
    """

    here: WeightedLayer
    there: WeightedLayer | None
    otherwise: str | None = None

    @cached_property
    def differing(self) -> tuple[Weight, Weight] | None:
        """The first weight that both have in another shape, as it is there and here."""
        there = {} if self.there is None else {weight.name: weight for weight in self.there.weights}
        pairs = ((there[weight.name], weight) for weight in self.here.weights if weight.name in there)
        return next((pair for pair in pairs if pair[0].shape != pair[1].shape), None)

    @cached_property
    def taken(self) -> tuple[Weight, ...]:
        """The weights that come from the run: of a layer whose shapes fit, all that both have; else none.

        A bias alone, of a layer that sees something else now, would be of no use.
        """
        fits = self.there is not None and self.there.kind == self.here.kind and self.differing is None
        if self.there is None or not fits or self.otherwise is not None:
            return ()
        names = {weight.name for weight in self.there.weights}
        return tuple(weight for weight in self.here.weights if weight.name in names)

    @cached_property
    def new(self) -> tuple[Weight, ...]:
        """The weights that begin as without a run."""
        return tuple(weight for weight in self.here.weights if weight not in self.taken)

    @property
    def reason(self) -> str | None:
        """Why nothing is taken of the layer of this name; None where something is, or where there is none."""
        if self.there is None or self.taken:
            return None
        if self.there.kind != self.here.kind:
            return f"there {self.there.kind}, here {self.here.kind}"
        if self.differing is not None:
            there, here = self.differing
            return f"there {list(there.shape)}, here {list(here.shape)}"
        return f"for other {self.otherwise}"

    def __str__(self) -> str:
        return self.here.path if self.reason is None else f"{self.here.path} ({self.reason})"


@dataclass(frozen=True, eq=False)
class InitialWeights:
    """What a new run takes of another one.

    Attributes:
        matches: One for each layer with weights of the new network, from input to output.
        notes: What a user should know of how well they fit.
    """

    source: Source
    matches: tuple[LayerMatch, ...]
    notes: tuple[str, ...] = ()

    def check_vocabulary(self, vocabulary: Vocabulary | None) -> None:
        """Whether numbers of words mean the same to both networks.

        Raises:
            CnnkitError: if not: each word would begin with what was learned of another.
        """
        if vocabulary != self.source.trained.interface.sample.vocabulary:
            raise CnnkitError(
                f"--init-from: the vocabulary of the run `{self.source.name}` is not that of the training texts",
                "Begin with new weights; or train on the texts, the seed and the splits that the run has learned from.",
            )

    @cached_property
    def left(self) -> tuple[tuple[WeightedLayer, tuple[Weight, ...]], ...]:
        """The run's layers of which weights are not used, with these."""
        taken = {*self.taken}
        unused = (
            (layer, tuple(weight for weight in layer.weights if layer.path_of(weight) not in taken))
            for layer in self.source.layers.values()
        )
        return tuple((layer, weights) for layer, weights in unused if weights)

    @cached_property
    def taken(self) -> list[str]:
        """The paths of the weights that come from the run."""
        return [match.here.path_of(weight) for match in self.matches for weight in match.taken]

    def assign_to(self, model: Any) -> None:
        """Gives the weights to a Keras model of the new network.

        Raises:
            CnnkitError: if the run's model.keras cannot be read, or does not hold the network of its config.yaml.
        """
        import numpy as np

        from cnnkit.training.model import weights_by_path

        file = self.source.trained.run.model
        arrays, variables = self.source.read(), weights_by_path(model)
        for match in self.matches:
            for weight in match.taken:
                path = match.here.path_of(weight)
                array = arrays.get(path)
                if array is None or array.shape != tuple(weight.shape):
                    shape = "is missing" if array is None else f"has the shape {list(array.shape)}"
                    raise damaged(file, f"by the run's config it holds {path} {list(weight.shape)}, which {shape}")
                if not np.isfinite(array.astype(np.float32)).all():
                    raise damaged(file, f"the weight {path} is not finite")
                variables[path].assign(array)

    def as_json(self) -> dict[str, Any]:
        """For environment.json."""
        return {
            "run": os.path.abspath(self.source.name),
            "sha256": self.source.sha256,
            "taken": self.taken,
            "new": {match.here.path_of(weight): list(weight.shape) for match in self.matches for weight in match.new},
            "left": {layer.path_of(weight): list(weight.shape) for layer, weights in self.left for weight in weights},
        }

    def as_text(self) -> str:
        """One line: how many layers, from where, and which are not among them."""
        taken = [match for match in self.matches if match.taken]
        here = {match.here.path for match in self.matches}
        several = {
            "new": [str(match) for match in self.matches if not match.taken],
            "partly new": [f"{match.here.path} ({_names(match.new)})" for match in taken if match.new],
            "left": [layer.path for layer in self.source.layers.values() if layer.path not in here],
        }
        first = f"{len(taken)} of {len(self.matches)} layers from {self.source.name}"
        return "; ".join(
            [first, *(f"{len(texts)} {word}: {some_of(texts)}" for word, texts in several.items() if texts)]
        )

    def as_lines(self) -> Iterator[str]:
        """All weights, a line for each layer and what becomes of it."""
        for match in self.matches:
            if match.taken:
                yield f"  taken  {match.here.path}: {_shapes(match.taken)}"
            if match.new:
                reason = "" if match.taken or match.there is None else f"  ({match.reason})"
                yield f"  new    {match.here.path}: {_shapes(match.new)}{reason}"
        for layer, weights in self.left:
            yield f"  left   {layer.path}: {_shapes(weights)}"


def _names(weights: Sequence[Weight]) -> str:
    return ", ".join(weight.name for weight in weights)


def _shapes(weights: Sequence[Weight]) -> str:
    return ", ".join(f"{weight.name} {list(weight.shape)}" for weight in weights)


def match_weights(source: Source, loaded: LoadedConfig) -> InitialWeights:
    """Which weights of a run the network of a config takes: those of layers of the same name, type and shapes.

    A layer is called by its `name`, or else by its place, with the names of the layers around it; see
    `layers.weight_paths`. What answers is new where its outputs stand for others: other classes, or the same ones in
    another order. The normalisation in front of the network has no weights: its constants are those of the new run's
    own images, found as its config says.

    Example:
        >>> initial = match_weights(open_source("runs/first"), load_config("net.yaml"))
        >>> train(load_config("net.yaml"), Console(), initial=initial)

    Raises:
        UsageError: if it takes none.
        CnnkitError: if the run's config is damaged.
    """
    layers = list(weighted_layers(loaded.steps))
    answering = _answering(loaded, layers) if _answers_otherwise(source, loaded) else set()
    otherwise = dict.fromkeys(answering, loaded.info.target.plural)
    matches = (LayerMatch(layer, source.layers.get(layer.path), otherwise.get(layer.path)) for layer in layers)
    initial = InitialWeights(source, tuple(matches))
    if not any(match.taken for match in initial.matches):
        here, there = (
            some_of([f"{layer.path} {list(layer.weights[0].shape)}" for layer in side]) or "none"
            for side in (layers, [*source.layers.values()])
        )
        raise UsageError(
            f"the network of `{loaded.file}` takes no weights from the run `{source.name}`: no layer has name, type "
            f"and shapes of one there\n  there: {there}\n  here:  {here}",
            "Layers are called by their place or their `name`; give those that are the same the names that they have "
            f"there. What differs: cnnkit diff {shlex.quote(source.name)} {shlex.quote(loaded.file)}",
        )
    notes = (*_other_scale(source, loaded), *_other_place(initial))
    return InitialWeights(source, initial.matches, notes)


def _answers_otherwise(source: Source, loaded: LoadedConfig) -> bool:
    """Whether the outputs stand for others than in the run, as far as they have names."""
    names = loaded.info.class_names
    return names is not None and tuple(map(printable, names)) != source.trained.interface.class_names


def _answering(loaded: LoadedConfig, layers: Sequence[WeightedLayer]) -> set[str]:
    """The paths of the layers whose weights depend on how many classes there are; or else the last one with a kernel.

    Args:
        layers: All with weights.
    """
    more = {**loaded.info.values, **{name: number + 1 for name, number in loaded.info.target.values.items()}}
    try:
        steps = loaded.config.model.trace(loaded.info.shape, more, loaded.config.task.networks[0])
        others = {layer.path: layer for layer in weighted_layers(steps)}
    except StackError:
        others = {}
    depending = {layer.path for layer in layers if others.get(layer.path, layer).weights != layer.weights}
    with_kernel = [
        place for place, layer in enumerate(layers) if any(len(weight.shape) > 1 for weight in layer.weights)
    ]
    return depending or {layer.path for layer in layers[max(with_kernel, default=0) :]}


def _other_scale(source: Source, loaded: LoadedConfig) -> Iterator[str]:
    before, now = source.trained.loaded.config.data.normalization, loaded.config.data.normalization
    if before != now:
        yield (
            f"`data.normalization` is not that of {source.name}: the weights that are taken have learned images on "
            "another scale"
        )


def _other_place(initial: InitialWeights) -> Iterator[str]:
    """Whether a layer seems to be in the run under another name, as where layers were inserted before it."""
    left = {layer.path: layer for layer, weights in initial.left if weights == layer.weights}
    pairs = []
    for match in initial.matches:
        if match.there is None and match.otherwise is None:
            same = next((path for path, layer in left.items() if _is_alike(layer, match.here)), None)
            if same is not None:
                pairs.append((match.here.path, same))
                del left[same]
    if pairs:
        here, there = pairs[0]
        others = f", and so on for {len(pairs) - 1} more" if len(pairs) > 1 else ""
        yield (
            f"{here} has type and shapes of {there} there, which is left; it takes its weights with "
            f"`name: {there.rpartition(SEPARATOR)[2]}`{others}"
        )


def _is_alike(layer: WeightedLayer, other: WeightedLayer) -> bool:
    outer = layer.path.rpartition(SEPARATOR)[0] == other.path.rpartition(SEPARATOR)[0]
    return outer and (layer.kind, layer.weights) == (other.kind, other.weights)
