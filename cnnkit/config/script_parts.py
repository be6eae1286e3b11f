"""What only a task knows of the plain Keras script of a config: targets, loss, metrics and result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from cnnkit.format.script import Argument, Call, Raw

_SMOOTH_TRAINING = '''\
def smooth_training(model):
    """Lets only the loss of training see smoothed labels: metrics and validation see the true ones."""
    compute_loss = model.compute_loss

    def smoothed(x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if training:
            y = y * (1 - %(share)s) + %(share)s / %(parts)s
        return compute_loss(x, y, y_pred, sample_weight, training)

    model.compute_loss = smoothed
'''


@dataclass(frozen=True)
class ScriptParts:
    """The task's parts of a script. In `main`, `train`, `validation` and `test` are (images, targets).

    Attributes:
        targets: Of all training images, an expression of their `labels`, or of what else `eject.targets` calls them.
        validation: Likewise of the validation images; empty where they are as they are loaded.
        loss: What is trained.
        metrics: The task's figures in their order, then those of the config.
        functions: Source texts that the script defines.
        copied: What the script copies of cnnkit: names by module.
        before_compiling: Lines of `main` that change `model`.
        weights: Lines that leave `class_weights`; none where all targets weigh the same.
        of_batch: The weights of a batch, an expression of `class_weights` and its `targets`.
        concluded: Lines after `best`, the model of the best epoch, has been opened; only where there are validation
            images.
        result: The last lines of `main`, after these.
    """

    targets: str
    validation: str
    loss: Call
    metrics: Sequence[Call | Raw]
    result: Sequence[str]
    functions: Sequence[str] = ()
    copied: Mapping[str, Sequence[str]] = field(default_factory=dict)
    before_compiling: Sequence[str] = ()
    weights: Sequence[str] = ()
    of_batch: str = ""
    concluded: Sequence[str] = ()

    def with_smoothed_training(self, share: float, parts: str) -> ScriptParts:
        """These, with labels that only the loss of training sees smoothed; for a share of 0, as they are.

        Args:
            share: What is taken of each label.
            parts: Into how many it is divided, an expression.
        """
        if not share:
            return self
        function = _SMOOTH_TRAINING % {"share": share, "parts": parts}
        lines = [*self.before_compiling, "smooth_training(model)"]
        return replace(self, functions=[*self.functions, function], before_compiling=lines)


def objective_call(written: Any, from_logits: bool) -> Call:
    """A loss or a metric of a config as Keras makes it.

    Args:
        written: The object of the config; Keras has a class of the same name.
        from_logits: Whether it takes logits, where the config does not say.
    """
    column = getattr(written, "column", None)
    module, further = ("losses", {}) if column is None else ("metrics", {"name": column})
    names = [name for name in written.arguments() if name not in further]
    # Where Keras' default is another one.
    names += [name for name in ("average",) if name in type(written).model_fields and name not in names]
    values = {name: getattr(written, name) for name in names}
    if from_logits and getattr(written, "from_logits", ...) is None:
        values["from_logits"] = True
    arguments = tuple(Argument(name, value) for name, value in {**values, **further}.items())
    return Call(f"keras.{module}.{type(written).__name__}", arguments, written.leading)


def made_of(function: str, call: Call) -> Call:
    """What a function of the script makes of a loss or a metric."""
    return Call(function, (Argument("made", call),), "made")
