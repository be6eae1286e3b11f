"""Exported networks in the programs that run them, as functions of images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cnnkit.errors import CnnkitError
from cnnkit.export.formats import OUTPUT, Format
from cnnkit.machine.tensorflow import standard_error_on_failure
from cnnkit.runs.onnx_sessions import open_session

#: From samples as the network takes them, such as raw images, 0..255, float32 [images, height, width, channels], to
#: outputs, float32 [images, ...].
Network = Callable[[NDArray[Any]], NDArray[np.float32]]


def open_network(format_: Format, path: Path, threads: int) -> Network:
    """An exported network, as its own runtime runs it on this processor.

    Args:
        path: Of its file or folder.
        threads: How many compute together; TensorFlow's are those of the process.

    Raises:
        CnnkitError: if the runtime refuses it.
    """
    with standard_error_on_failure():
        try:
            return _OPEN[format_.name](path, threads)
        except MemoryError:
            raise
        except Exception as error:  # each runtime has errors of its own
            problem = error
    raise CnnkitError(f"`{path}` was written, but cannot be run: {problem}") from None


def _open_onnx(path: Path, threads: int) -> Network:
    session = open_session(path, threads)
    (taken,) = session.get_inputs()
    return lambda images: session.run([OUTPUT], {taken.name: images})[0]


def _open_saved_model(path: Path, threads: int) -> Network:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    # Its weights live as long as it does.
    network = loaded.signatures["serving_default"]
    (name,) = network.structured_input_signature[1]
    return lambda images: (loaded, network(**{name: tf.constant(images)})[OUTPUT].numpy())[1]


def _open_openvino(path: Path, threads: int) -> Network:
    import openvino

    # Of itself it computes in bfloat16 where the processor can.
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda images: compiled([images])[OUTPUT]


def _open_litert(path: Path, threads: int) -> Network:
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(str(path), num_threads=threads)
    taken, given = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]

    def network(images: NDArray[Any]) -> NDArray[np.float32]:
        if tuple(interpreter.get_input_details()[0]["shape"]) != images.shape:
            interpreter.resize_tensor_input(taken, images.shape)
            interpreter.allocate_tensors()
        interpreter.set_tensor(taken, images)
        interpreter.invoke()
        outputs: NDArray[np.float32] = interpreter.get_tensor(given)
        return outputs

    interpreter.allocate_tensors()
    return network


_OPEN: dict[str, Callable[[Path, int], Network]] = {
    "onnx": _open_onnx,
    "saved_model": _open_saved_model,
    "openvino": _open_openvino,
    "litert": _open_litert,
}
