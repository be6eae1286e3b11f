"""Which tensors of an exported file are the feature maps that `serve` shows; found by what they hold for an image."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.export.formats import OUTPUT, Format
from cnnkit.inside.feature_maps import compile_stages
from cnnkit.inside.outputs import LayerOutput, layer_outputs, stages
from cnnkit.runs.onnx_sessions import open_session
from cnnkit.runs.stage_tensors import StageTensor, with_outputs
from cnnkit.runs.trained import TrainedRun

#: How far the values of one tensor may be apart in Keras and in the file, as a share of the largest.
_APART = 1e-3


def stage_tensors(trained: TrainedRun, model: Any, format_: Format, path: Path) -> list[dict[str, Any]]:
    """The stages of a network, see `inside.outputs.stages`, as far as the file has their outputs.

    Converters give tensors names of their own, fuse layers and turn the axes; the values stay.

    Args:
        model: What was exported.
        path: The file.

    Returns:
        The values of a `StageTensor` for each; none of a format that has no tensors to look at.
    """
    if format_.name != "onnx" or trained.interface.sample.unchangeable is not None:
        return []
    places = stages(layer_outputs(trained.loaded))
    if not places:
        return []
    image = np.random.default_rng(0).integers(0, 256, (1, *model.input_shape[1:])).astype(np.float32)
    _, maps = compile_stages(model, places, jit_compile=trained.uses_xla)(image)
    tensors = _all_tensors(path, image)
    found = [_found(place, expected, tensors) for place, expected in zip(places, maps, strict=True)]
    return [one for one in found if one is not None]


def _all_tensors(path: Path, image: NDArray[np.float32]) -> dict[str, NDArray[Any]]:
    """What each operation of a file outputs for an image, in their order; the network's output is called OUTPUT."""
    import onnx

    graph = onnx.load(path).graph
    (last,) = graph.output
    names = [name for node in graph.node for name in node.output if name not in ("", last.name)]
    session = open_session(with_outputs(path.read_bytes(), names))
    (taken,) = session.get_inputs()
    return dict(zip([*names, OUTPUT], session.run([*names, last.name], {taken.name: image}), strict=True))


def _found(
    place: LayerOutput, expected: NDArray[np.float32], tensors: dict[str, NDArray[Any]]
) -> dict[str, Any] | None:
    """The first tensor that holds what a stage outputs; None where it was fused with what follows."""
    least = _APART * max(float(np.abs(expected).max()), 1e-6)
    for name, values in tensors.items():
        if values.ndim != 4 or values.dtype != np.float32:
            continue
        for channels_first in (False, True):
            turned = values.transpose(0, 2, 3, 1) if channels_first else values
            if turned.shape == expected.shape and np.abs(turned - expected).max() <= least:
                return asdict(StageTensor(place.name, name, channels_first, *place.size, place.channels))
    return None
