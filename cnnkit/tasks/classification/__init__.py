"""Image classification: one class per image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from cnnkit.config.target import OneClass, Target
from cnnkit.task import Figure, Task

if TYPE_CHECKING:
    from cnnkit.config.check import Parts
    from cnnkit.config.dataset import DataSetInfo
    from cnnkit.config.reports import Report
    from cnnkit.config.training import TrainingConfig
    from cnnkit.data.splits import Split
    from cnnkit.layers.stack import Step


class Classification(Task):
    """Which one of several classes an image shows."""

    figures: ClassVar[tuple[Figure, ...]] = (Figure("accuracy", "accuracy", is_share=True),)
    target: ClassVar[type[Target]] = OneClass

    def check(self, parts: Parts, info: DataSetInfo, steps: Sequence[Step] | None, report: Report) -> None:
        from cnnkit.tasks.classification.check import check

        check(parts, info, steps, report)

    def make_model(self, layers: Sequence[Any], training: TrainingConfig, head: str, target: Target) -> Any:
        from cnnkit.tasks.classification.training import make_model

        return make_model(layers, training, head, target.size)

    def make_loss(self, training: TrainingConfig, head: str) -> Any:
        from cnnkit.tasks.classification.training import make_loss

        return make_loss(training, head)

    def make_metrics(self, training: TrainingConfig, head: str, mixed: bool) -> list[Any]:
        from cnnkit.tasks.classification.training import make_metrics

        return make_metrics(training, head, mixed)

    def finish_batches(
        self, training: TrainingConfig, split: Split, target: Target
    ) -> Callable[[dict[str, Any]], tuple[Any, ...]] | None:
        from cnnkit.tasks.classification.training import class_weights, finish_targets

        return finish_targets(class_weights(training, split.targets.values, target.all_names))
