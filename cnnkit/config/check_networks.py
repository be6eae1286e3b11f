"""Whether a config writes the networks that its task trains, and no others."""

from __future__ import annotations

from collections.abc import Collection

from cnnkit.config.reports import Report
from cnnkit.format.explain import Path
from cnnkit.task import Task


def layers_of(network: str) -> Path:
    """Where a config has the layers of a network: `model.layers`, or `model.NAME.layers`."""
    return ("model", network, "layers") if network else ("model", "layers")


def check_networks(task: Task, there: Collection[str], report: Report) -> None:
    """Reports networks that are missing, and those that the task does not train.

    Args:
        there: The names of those that the config writes.
    """
    needed = [name for name in task.networks if name]
    instead = " and ".join(f"`{name}: {{layers: [...]}}`" for name in needed) or "its layers in `model.layers`"
    count = {1: "one network", 2: "two networks"}.get(len(task.networks), f"{len(task.networks)} networks")
    for name in there:
        if name not in task.networks:
            message = f"the task {task.name} trains {count}; write {instead}"
            report(("model", name or "layers"), message)
    for name in task.networks:
        if name not in there and not (set(there) - set(task.networks)):
            why = f": the task {task.name} trains {count}" if name else ""
            report(("model",), f"the required key `{name or 'layers'}` is missing{why}")
