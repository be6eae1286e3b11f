"""The layer table of `inspect`: shapes, parameters, operations, memory and receptive field, without TensorFlow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cnnkit.config.load import LoadedConfig
from cnnkit.layers.base import format_shape
from cnnkit.layers.geometry import receptive_field
from cnnkit.layers.stack import Step, trace

#: Bytes of one activation, a 32-bit float.
ACTIVATION_BYTES = 4


@dataclass(frozen=True)
class LayerRow:
    """What `inspect` says of one layer, for one image.

    Attributes:
        macs: Multiply-accumulates of a forward pass.
        receptive_field: Height and width of the input region that one output position sees.
    """

    index: int
    type: str
    name: str
    arguments: dict[str, Any]
    output_shape: tuple[int, ...]
    trainable_parameters: int
    non_trainable_parameters: int
    macs: int
    activation_bytes: int
    receptive_field: tuple[int, int]
    warnings: tuple[str, ...]

    @property
    def parameters(self) -> int:
        return self.trainable_parameters + self.non_trainable_parameters


@dataclass(frozen=True)
class Summary:
    """All rows of a config's network with their totals."""

    config: str
    input_shape: tuple[int, int, int]
    classes: int
    rows: tuple[LayerRow, ...]

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def trainable_parameters(self) -> int:
        return sum(row.trainable_parameters for row in self.rows)

    @property
    def macs(self) -> int:
        return sum(row.macs for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        return sum(row.activation_bytes for row in self.rows)

    @property
    def receptive_field(self) -> tuple[int, int]:
        return self.rows[-1].receptive_field

    @property
    def warnings(self) -> list[str]:
        return [f"model.layers[{row.index}].{row.type}: {text}" for row in self.rows for text in row.warnings]

    def as_json(self) -> dict[str, Any]:
        """The summary as plain JSON values."""
        return {
            "config": self.config,
            "input_shape": list(self.input_shape),
            "classes": self.classes,
            "parameters": self.parameters,
            "trainable_parameters": self.trainable_parameters,
            "macs": self.macs,
            "activation_bytes": self.activation_bytes,
            "receptive_field": list(self.receptive_field),
            "layers": [
                {
                    "index": row.index,
                    "type": row.type,
                    "name": row.name,
                    "arguments": row.arguments,
                    "output_shape": list(row.output_shape),
                    "parameters": row.parameters,
                    "trainable_parameters": row.trainable_parameters,
                    "macs": row.macs,
                    "activation_bytes": row.activation_bytes,
                    "receptive_field": list(row.receptive_field),
                    "warnings": list(row.warnings),
                }
                for row in self.rows
            ],
            "warnings": self.warnings,
        }

    def as_table(self) -> str:
        """The summary as aligned text."""
        header = ("layer", "output", "parameters", "MACs", "activations", "receptive field")
        lines = [("input", format_shape(self.input_shape), "", "", "", "")]
        lines += [
            (
                f"{row.index:>2} {row.name}",
                format_shape(row.output_shape),
                f"{row.parameters:,}",
                f"{row.macs:,}",
                format_bytes(row.activation_bytes),
                format_shape(row.receptive_field),
            )
            for row in self.rows
        ]
        widths = [max(len(line[column]) for line in (header, *lines)) for column in range(len(header))]

        def text(line: tuple[str, ...]) -> str:
            cells = [line[0].ljust(widths[0]), line[1].ljust(widths[1])]
            cells += [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
            return "  ".join(cells).rstrip()

        rule = "-" * (sum(widths) + 2 * (len(widths) - 1))
        fixed = self.parameters - self.trainable_parameters
        totals = [
            f"parameters       {self.parameters:,}" + (f" ({fixed:,} not trainable)" if fixed else ""),
            f"MACs             {self.macs:,} per image",
            f"activations      {format_bytes(self.activation_bytes)} per image, 32-bit",
            f"receptive field  {format_shape(self.receptive_field)} of {format_shape(self.input_shape[:2])}",
        ]
        warnings = [f"warning: {warning}" for warning in self.warnings]
        return "\n".join([text(header), rule, *(text(line) for line in lines), rule, *totals, *warnings])


def summarize(loaded: LoadedConfig) -> Summary:
    """The summary of a config's network."""
    info = loaded.info
    steps = trace(loaded.config.model.layers, info.shape, info.classes)
    rows = tuple(_row(steps, index) for index in range(len(steps)))
    return Summary(loaded.file, info.shape, info.classes, rows)


def _row(steps: list[Step], index: int) -> LayerRow:
    step = steps[index]
    layer = step.layer
    trainable, fixed = layer.parameters(step.input_shape)
    values = 1
    for size in step.output_shape:
        values *= size
    return LayerRow(
        index=index,
        type=type(layer).__name__,
        name=layer.name or type(layer).__name__,
        arguments=layer.arguments(),
        output_shape=step.output_shape,
        trainable_parameters=trainable,
        non_trainable_parameters=fixed,
        macs=layer.macs(step.input_shape),
        activation_bytes=values * ACTIVATION_BYTES,
        receptive_field=receptive_field([(s.layer, s.input_shape) for s in steps[: index + 1]]),
        warnings=layer.warnings(step.input_shape),
    )


def format_bytes(count: int) -> str:
    """A number of bytes as people read it: 512 B, 12.0 KiB, 3.4 MiB."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError("unreachable")
