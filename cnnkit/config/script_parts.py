"""What only a task knows of the plain Keras script of a config: targets, loss, metrics and result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cnnkit.format.script import Call


@dataclass(frozen=True)
class Objective:
    """A loss or a metric of the config.

    Attributes:
        written: The object of the config; Keras has a class of the same name.
        name: The metric's column; None for a loss.
        inside: The function of the script that makes another one of it; empty for none.
    """

    written: Any
    name: str | None = None
    inside: str = ""


@dataclass(frozen=True)
class ScriptParts:
    """The task's parts of a script. In `main`, `train`, `validation` and `test` are (images, labels).

    Attributes:
        targets: Of all training images, an expression of their `labels`.
        validation: Likewise of the validation images; empty where they are as they are loaded.
        loss: What is trained.
        from_logits: Whether losses and metrics take logits.
        figures: The task's own metrics.
        metrics: Those of the config.
        functions: Source texts that the script defines.
        copied: What the script copies of cnnkit: names by module.
        before_compiling: Lines of `main` that change `model`.
        weights: Lines that leave `class_weights`; none where all images weigh the same.
        of_batch: The weights of a batch, an expression of `class_weights` and its `targets`.
        result: The last lines of `main`, after `best`, the model of the best epoch, has been opened.
    """

    targets: str
    validation: str
    loss: Objective
    from_logits: bool
    figures: Sequence[Call]
    metrics: Sequence[Objective]
    result: Sequence[str]
    functions: Sequence[str] = ()
    copied: Mapping[str, Sequence[str]] = field(default_factory=dict)
    before_compiling: Sequence[str] = ()
    weights: Sequence[str] = ()
    of_batch: str = ""
