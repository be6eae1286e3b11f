"""What an exported network says of itself: in its file, and in a JSON file beside it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cnnkit.config.sample import NOTED
from cnnkit.export.formats import OUTPUT, Format
from cnnkit.machine.tensorflow import load_tensorflow
from cnnkit.runs.directory import LARGEST_JSON
from cnnkit.runs.exported import METADATA, VERSION
from cnnkit.runs.inference import inference_batch_size
from cnnkit.runs.interface import CONCLUDED, WORDS
from cnnkit.runs.trained import TrainedRun
from cnnkit.serve.examples import read_examples
from cnnkit.task import LOSS

#: Of environment.json, what using a network takes; where the images lay is nobody else's business.
_OF_DATA = ("image_shape", "class_names", "resize", "max_megapixels", "padding", "fingerprint", *NOTED)


def describe(trained: TrainedRun, format_: Format, quantized: str | None) -> dict[str, Any]:
    """What is true of an exported network, as JSON values; the same keys for every format.

    Returns:
        `format`; `version`, of this description; `cnnkit`, `keras`, `tensorflow`: versions; `task`: its name; `run`:
        {name, sha256 of model.keras}; `quantize`: None, or how; `input`: {name, shape, dtype, range}, the range null
        where values can be any; `output`: {name, shape}, with a range where it is pixels; `classes`: the names of the
        outputs or, of a network that makes images, of the classes that it is told, one-hot after the latent vector;
        `config`: the text of the run's config; `environment`: what using the network takes of environment.json;
        `batch`: how many images it is given at a time; `figures`: {name: value on the test split}; `drawing`: how
        images fill their frame, as `serve.examples.Frame` has it, empty where it takes none.

    Raises:
        CnnkitError: if the run has no model, or is damaged.
    """
    from cnnkit import __version__

    tensorflow = load_tensorflow()
    import keras

    digest = trained.digest_model()
    interface, noted, task = trained.interface, trained.environment, trained.task
    sample = interface.sample
    words = {} if sample.vocabulary is None else {WORDS: list(sample.vocabulary.words)}
    output = interface.output_shape(task)
    figures = {figure.name: trained.measured(figure) for figure in (LOSS, *task.figures)}
    return {
        "format": format_.name,
        "version": VERSION,
        "cnnkit": __version__,
        "keras": keras.__version__,
        "tensorflow": tensorflow.__version__,
        "task": task.name,
        "run": {"name": trained.run.path.resolve().name, "sha256": digest},
        "quantize": quantized,
        "input": {
            "name": sample.input_name,
            "shape": [None, *interface.image_shape],
            "dtype": sample.input_dtype,
            "range": sample.value_range,
        },
        "output": {
            "name": OUTPUT,
            "shape": [None, *output],
            **({} if task.output_range is None else {"range": task.output_range}),
        },
        "classes": list(classes_of(trained)),
        "config": trained.run.read(trained.run.config, LARGEST_JSON),
        "environment": {
            "data": {name: noted["data"][name] for name in _OF_DATA if name in noted["data"]} | words,
            "model": {"head": interface.head, "parameters": trained.parameters()},
            CONCLUDED: dict(interface.concluded),
        },
        "batch": inference_batch_size(trained.model),
        "figures": {name: value for name, value in figures.items() if value is not None},
        "drawing": {} if task.makes_images else asdict(read_examples(trained, task.answers(interface)).frame),
    }


def classes_of(trained: TrainedRun) -> Sequence[str]:
    """The classes that a network tells apart, or that one which makes images can be asked for."""
    task = trained.task
    return task.maker(trained).class_names if task.makes_images else trained.interface.class_names


def as_text(description: dict[str, Any]) -> str:
    """As JSON, for a file's metadata and for the file beside it."""
    return json.dumps(description, indent=2, ensure_ascii=False) + "\n"


def embed(format_: Format, path: Path, text: str) -> None:
    """Puts the text into the metadata of an exported network, and gives its output the name that all formats share.

    Args:
        path: Of its file or folder, which Keras has just written.
    """
    _EMBED[format_.name](path, text)


def _into_onnx(path: Path, text: str) -> None:
    import onnx

    model = onnx.load(path)
    (output,) = model.graph.output
    for node in model.graph.node:
        node.output[:] = [OUTPUT if name == output.name else name for name in node.output]
        node.input[:] = [OUTPUT if name == output.name else name for name in node.input]
    output.name = OUTPUT
    for value in (*model.graph.input, output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    onnx.helper.set_model_props(model, {METADATA: text})
    onnx.save(model, path)


def _into_saved_model(path: Path, text: str) -> None:
    # The folder that TensorFlow keeps free for what its users add.
    folder = path / "assets.extra"
    folder.mkdir()
    (folder / f"{METADATA}.json").write_text(text, "utf-8")


def _into_openvino(path: Path, text: str) -> None:
    import openvino

    # Its weights are read from the file while the new one is written.
    new = path.with_name(f"new-{path.name}")
    model = openvino.Core().read_model(path)
    model.output(0).get_tensor().set_names({OUTPUT})
    model.set_rt_info(text, [METADATA])
    openvino.serialize(model, new)
    del model
    new.replace(path)
    new.with_suffix(".bin").replace(path.with_suffix(".bin"))


def _into_litert(path: Path, text: str) -> None:
    import numpy as np
    from tensorflow.lite.python import schema_py_generated as schema
    from tensorflow.lite.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = METADATA, len(model.buffers)
    buffer.data = np.frombuffer(text.encode(), np.uint8)
    model.buffers.append(buffer)
    model.metadata = [*(model.metadata or ()), entry]
    flatbuffer_utils.write_model(model, str(path))


_EMBED = {
    "onnx": _into_onnx,
    "saved_model": _into_saved_model,
    "openvino": _into_openvino,
    "litert": _into_litert,
}
