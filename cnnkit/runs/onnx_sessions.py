"""Networks in ONNX files, opened with onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


def open_session(
    network: bytes | Path, threads: int | None = None, settings: Mapping[str, str] | None = None
) -> InferenceSession:
    """What computes a network on the processor.

    Args:
        network: The content of an ONNX file, or the file.
        threads: How many compute together; by default as onnxruntime has it.
        settings: Entries of onnxruntime's session config.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    if threads is not None:
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    for name, value in (settings or {}).items():
        options.add_session_config_entry(name, value)
    # What goes wrong is raised, too.
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
