"""Which parts of samples speak for what a run's network says of them, for `predict --explain` and pages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cnnkit.errors import UsageError
from cnnkit.inside.gradcam import gradcam_of
from cnnkit.runs.predictor import Predictor
from cnnkit.runs.trained import TrainedRun
from cnnkit.task import Answers


def explainer(predictor: Predictor, answers: Answers) -> Callable[[Any, Any], Any]:
    """From texts [n, length] and the network's outputs for them to what each word has to do with what is said.

    Returns:
        A function that gives float32 [n, length], 0..1: 1 for the word that speaks most for the answer, 0 for those
        that speak against it.

    Raises:
        UsageError: if there is no such explanation for the network.
    """
    if predictor.interface.sample.unchangeable is None:
        raise UsageError(
            "--explain marks words, and the network takes images", "What it looks at: cnnkit show gradcam RUN IMAGE"
        )
    if not isinstance(predictor, TrainedRun):
        raise UsageError(
            "--explain needs gradients, which an exported network does not have", "Name the run that it was made of."
        )
    if not answers.subjects:
        raise UsageError(f"--explain: nothing speaks for what a network says that learns {predictor.task.to_plain()}")
    gradcam, _ = gradcam_of(predictor)

    def explain(texts: Any, outputs: Any) -> Any:
        return gradcam(texts, [answers.subject(one) for one in outputs])[1][..., 0]

    return explain
