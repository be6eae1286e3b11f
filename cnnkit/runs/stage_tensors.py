"""The layers of an exported network that can be looked at: which tensors of the file their outputs are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from cnnkit.files import encode
from cnnkit.runs.json_forms import REQUIRED, Form


@dataclass(frozen=True)
class StageTensor:
    """A layer whose output an exported network can show.

    Attributes:
        name: The layer's, as in the run.
        tensor: What its output is called in the file.
        channels_first: Whether the channels come before rows and columns there.
        rows, columns, channels: Of the output.
    """

    name: str
    tensor: str
    channels_first: bool
    rows: int
    columns: int
    channels: int

    @property
    def size(self) -> tuple[int, int]:
        return self.rows, self.columns

    def as_images(self, outputs: Any) -> Any:
        """The tensor as [batch, rows, columns, channels]."""
        return outputs.transpose(0, 2, 3, 1) if self.channels_first and outputs.ndim == 4 else outputs


#: A `StageTensor` in the file's JSON.
STAGE: Form = {"name": str, "tensor": str, "channels_first": bool, "rows": int, "columns": int, "channels": int}
STAGE[REQUIRED] = tuple(STAGE)


def stages_of(noted: Sequence[Mapping[str, Any]]) -> list[StageTensor]:
    """The stages that a file's JSON names, each of the form STAGE; those that are no images are left out."""
    stages = [StageTensor(**{field.name: one[field.name] for field in fields(StageTensor)}) for one in noted]
    return [stage for stage in stages if min(stage.rows, stage.columns, stage.channels) > 0]


def with_outputs(content: bytes, names: Sequence[str]) -> bytes:
    """An ONNX file's content, whose graph outputs some of its tensors besides; without the package onnx.

    Serialised messages of Protocol Buffers that stand one behind the other are one message: inner ones merge, and lists
    add up (https://protobuf.dev/programming-guides/encoding/#last-one-wins).
    """
    # In onnx.proto3, ModelProto.graph is field 7, GraphProto.output 12, and ValueInfoProto.name 1.
    outputs = b"".join(_field(12, _field(1, encode(name))) for name in names)
    return content + _field(7, outputs) if names else content


def _field(number: int, content: bytes) -> bytes:
    """A field of Protocol Buffers whose value is bytes, a text or a message."""
    head, length = bytes([number << 3 | 2]), len(content)
    while length > 127:
        head += bytes([length & 127 | 128])
        length >>= 7
    return head + bytes([length]) + content
