"""The formats in which a network leaves cnnkit, and what each of them needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from cnnkit.machine.packages import check_packages

#: What the network's one output is called in every format; its one input is `Sample.input_name`.
OUTPUT = "output_0"


@dataclass(frozen=True)
class Format:
    """A format that Keras exports to.

    Attributes:
        name: As `--format` takes it.
        title: As people write it.
        keras_name: What `keras.Model.export` calls it.
        ending: Of its files; empty where it is a folder.
        beside: Endings of further files of the same name that belong to it.
        extra: Of cnnkit, which installs the packages; None where cnnkit itself needs them.
        packages: What converts and runs it, as Python imports them.
        installed: What a machine needs that only runs it, for `pip install`.
    """

    name: str
    title: str
    keras_name: Literal["tf_saved_model", "onnx", "litert", "openvino"]
    ending: str
    extra: str | None
    packages: tuple[str, ...]
    installed: str
    beside: tuple[str, ...] = ()

    def check_packages(self) -> None:
        """Whether what converts and runs it is installed.

        Raises:
            CnnkitError: if it is not.
        """
        if self.extra is not None:
            check_packages(self.packages, f"the format {self.name}", self.extra)


FORMATS = {
    format_.name: format_
    for format_ in (
        Format("saved_model", "TensorFlow SavedModel", "tf_saved_model", "", None, (), "tensorflow numpy"),
        Format("onnx", "ONNX", "onnx", ".onnx", "onnx", ("onnx", "tf2onnx", "onnxruntime"), "onnxruntime numpy"),
        Format("litert", "LiteRT", "litert", ".tflite", "litert", ("ai_edge_litert",), "ai-edge-litert numpy"),
        Format("openvino", "OpenVINO", "openvino", ".xml", "openvino", ("openvino",), "openvino numpy", (".bin",)),
    )
}

#: What `--quantize` takes, and the type that weights then have. `int8`: all weights and all that is computed, with
#: ranges from training images; `float16`: all weights, computed in float32 or float16 as the device likes; `dynamic`:
#: the weights of large layers, computed with ranges of the moment.
KINDS = {"int8": "int8", "float16": "float16", "dynamic": "int8"}
