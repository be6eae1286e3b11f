"""What `predict` and `serve` are asked about: a run, or a file that one was exported to."""

from __future__ import annotations

from pathlib import Path

from cnnkit.runs.finding import find_run, is_exported
from cnnkit.runs.predictor import Predictor


def open_predictor(name: str) -> Predictor:
    """The network of a name; nothing of it is read yet.

    Args:
        name: A run's path, its name under runs/, or an exported file's path.

    Raises:
        UsageError: if there is none.
    """
    if is_exported(name):
        from cnnkit.runs.exported import ExportedNetwork

        exported = ExportedNetwork(Path(name))
        exported.check_model()
        return exported
    run = find_run(name)
    from cnnkit.runs.trained import open_run

    return open_run(run)
