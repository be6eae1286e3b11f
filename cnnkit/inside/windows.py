"""What excites the filters of a text network: the windows of words for which a filter's output is largest."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.inside.outputs import LayerOutput, convolutions, seen_by_rows, way_to
from cnnkit.runs.evaluation import labelled_images
from cnnkit.runs.trained import TrainedRun
from cnnkit.terminal.printable import printable
from cnnkit.terminal.tables import aligned
from cnnkit.texts.words import PADDING, UNKNOWN_SHOWN

if TYPE_CHECKING:
    from cnnkit.data import Split
    from cnnkit.inside.feature_maps import Stages

#: Test texts among which windows are sought, at most: spread evenly, since those of a class may lie together.
TEXTS = 2000

#: Windows of each filter.
WINDOWS = 10

#: Filters that are shown, the first of their layer.
FILTERS = 16

#: How padding beside a text is shown: a visible character that is no word of many texts.
PADDING_SHOWN = "·"

_BATCH = 128


@dataclass(frozen=True)
class Window:
    """Words that a filter sees at once.

    Attributes:
        words: As many as the layer's window is wide; `PADDING_SHOWN` where a text has ended.
        output: Of the filter.
        text: What the first text with them is known by.
    """

    words: tuple[str, ...]
    output: float
    text: str


@dataclass(frozen=True)
class Windows:
    """What excites the first filters of a layer.

    Attributes:
        layer: The layer's name.
        others: The names of the other convolutions.
        width: Words in a window.
        filters: How many filters the layer has.
        texts: Test texts among which the windows were sought.
        found: For each of the first filters its windows, the largest output first; none where no output is above 0.
    """

    layer: str
    others: Sequence[str]
    width: int
    filters: int
    texts: int
    found: Sequence[Sequence[Window]]

    @property
    def note(self) -> str:
        """What is shown, in a sentence."""
        words = "word each" if self.width == 1 else f"{self.width} words each"
        part = f", of the first {len(self.found)} of {self.filters} filters" if len(self.found) < self.filters else ""
        return (
            f"The windows of {self.texts:,} test texts ({words}) with the largest outputs of {self.layer}{part}; "
            f"{PADDING_SHOWN} is padding, {UNKNOWN_SHOWN} an unknown word."
        )

    def as_text(self) -> str:
        """A table for a terminal."""
        rows = [["filter", "output", "words", "text"]]
        for number, windows in enumerate(self.found):
            if not windows:
                rows.append([str(number), "", "nothing excites it", ""])
            for place, one in enumerate(windows):
                words = printable(" ".join(one.words))
                rows.append([str(number) if place == 0 else "", f"{one.output:.3f}", words, printable(one.text)])
        others = f"\nOthers: --layer {', '.join(self.others)}" if self.others else ""
        return f"{aligned(rows, '>><<')}\n\n{self.note}{others}"


def windows_of(trained: TrainedRun, layer: str | None = None, count: int = WINDOWS) -> Windows:
    """The windows of words that excite the first filters of a layer most, each of different words, among test texts.

    Args:
        trained: A run whose network takes texts.
        layer: The layer's name, see `outputs.way_to`; by default the first convolution.
        count: How many windows of each filter.

    Raises:
        UsageError: if there is no such layer, or it has no places along a text.
        CnnkitError: if the network has no convolution, or the texts or the model are not there.
    """
    from cnnkit.inside.feature_maps import compile_stages

    names = convolutions(trained.loaded)
    name = layer or next(iter(names), None)
    if name is None:
        raise CnnkitError(f"the network of `{trained.run.path}` has no convolution, so no filters that could be shown")
    way = way_to(trained.loaded, name)
    place = way[-1]
    trained.request_settings()
    split = labelled_images(trained)
    texts = np.linspace(0, split.size - 1, min(split.size, TEXTS)).astype(np.int64)
    network = compile_stages(trained.model, [place], jit_compile=trained.uses_xla)
    seen = seen_by_rows(way, place)
    best, lowest = _strongest(network, split, texts, place, seen, count)
    vocabulary = trained.interface.sample.vocabulary
    assert vocabulary is not None

    def window(ids: tuple[int, ...], output: float, text: int) -> Window:
        words = (PADDING_SHOWN if one == PADDING else vocabulary.word(one) for one in ids)
        return Window(tuple(words), output, split.ids[text])

    found = [
        # What a ReLU leaves at 0 excites nothing.
        [window(ids, output, text) for ids, (output, text) in of_filter if output > 0 or lowest < 0]
        for of_filter in best
    ]
    width = max(last - first + 1 for first, last in seen)
    others = [one for one in names if one != name]
    return Windows(name, others, width, place.channels, len(texts), found)


#: For each filter, windows as word numbers, with their output and the place of a text that has them.
_Best = list[list[tuple[tuple[int, ...], tuple[float, int]]]]


def _strongest(
    network: Stages, split: Split, texts: NDArray[Any], place: LayerOutput, seen: Sequence[tuple[int, int]], count: int
) -> tuple[_Best, float]:
    """The windows with the largest outputs of each of the first filters, and the smallest output of all.

    Args:
        texts: The places of the texts in the split.
        seen: The first and the last word that each position sees.
    """
    filters = min(place.channels, FILTERS)
    best: list[dict[tuple[int, ...], tuple[float, int]]] = [{} for _ in range(filters)]
    lowest = np.inf
    for batch in np.split(texts, range(_BATCH, len(texts), _BATCH)):
        ids = split.read(batch)
        outputs = network(ids)[1][0].reshape(-1, place.channels)[:, :filters]
        windows = _windows(ids, seen)
        text_of = np.repeat(batch, len(seen))
        # Windows that are alike have one output, but for the last bits.
        different, places = np.unique(windows, axis=0, return_index=True)
        places = places[(different != PADDING).any(axis=1)]
        if not len(places):
            continue
        outputs = outputs[places]
        lowest = min(lowest, float(outputs.min()))
        for number, found in enumerate(best):
            for one in np.argsort(-outputs[:, number], kind="stable")[:count]:
                ids_seen = tuple(windows[places[one]].tolist())
                output = float(outputs[one, number])
                if ids_seen not in found or found[ids_seen][0] < output:
                    found[ids_seen] = output, int(text_of[places[one]])
            kept = sorted(found.items(), key=lambda item: (-item[1][0], item[0]))[:count]
            found.clear()
            found.update(kept)
    return [list(found.items()) for found in best], lowest


def _windows(ids: NDArray[Any], seen: Sequence[tuple[int, int]]) -> NDArray[Any]:
    """What each position sees of each text, row by row, [texts * positions, width]; padding beyond the ends of a text.

    Args:
        ids: [texts, length].
    """
    firsts = np.array([first for first, _ in seen])
    width = max(last - first + 1 for first, last in seen)
    before = max(0, -int(firsts.min()))
    after = max(0, int(firsts.max()) + width - ids.shape[1])
    padded = np.pad(ids, [(0, 0), (before, after)], constant_values=PADDING)
    return padded[:, (firsts + before)[:, None] + np.arange(width)].reshape(-1, width)
