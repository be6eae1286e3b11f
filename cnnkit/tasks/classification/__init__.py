"""Image classification: one class per image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.config.target import OneClass, Target
from cnnkit.task import Answers, Evaluation, Figure, Task, TaskPredictions

if TYPE_CHECKING:
    from cnnkit.config.check import Parts
    from cnnkit.config.dataset import DataSetInfo
    from cnnkit.config.reports import Report
    from cnnkit.config.script_parts import ScriptParts
    from cnnkit.config.training import TrainingConfig
    from cnnkit.data.splits import Split
    from cnnkit.layers.stack import Step
    from cnnkit.report.facts import Facts
    from cnnkit.report.parts import Outcome, Section
    from cnnkit.report.side_by_side import SideBySide
    from cnnkit.runs.directory import Run
    from cnnkit.runs.interface import Interface
    from cnnkit.runs.trained import TrainedRun


class Classification(Task):
    """Which one of several classes an image shows."""

    figures: ClassVar[tuple[Figure, ...]] = (Figure("accuracy", "accuracy", is_share=True),)
    target: ClassVar[type[Target]] = OneClass
    predictions_begin: ClassVar[str] = "(file|index),true_class,predicted_class,"

    def check(self, parts: Parts, info: DataSetInfo, steps: Sequence[Step] | None, report: Report) -> None:
        from cnnkit.tasks.classification.check import check

        check(parts, info, steps, report)

    def make_model(self, layers: Sequence[Any], training: TrainingConfig, head: str, target: Target) -> Any:
        from cnnkit.tasks.classification.training import make_model

        return make_model(layers, training, head, target.size)

    def make_loss(self, training: TrainingConfig, head: str, target: Target) -> Any:
        from cnnkit.tasks.classification.training import make_loss

        return make_loss(training, head)

    def make_metrics(self, training: TrainingConfig, head: str, target: Target, mixed: bool) -> list[Any]:
        from cnnkit.tasks.classification.training import make_metrics

        return make_metrics(training, head, mixed)

    def finish_batches(
        self, training: TrainingConfig, split: Split, target: Target
    ) -> Callable[[dict[str, Any]], tuple[Any, ...]] | None:
        from cnnkit.tasks.classification.training import class_weights, finish_targets

        return finish_targets(class_weights(training, split.targets.values, target.all_names))

    def evaluate(self, members: Sequence[TrainedRun], images: Split, tta: Sequence[str]) -> Evaluation:
        from cnnkit.tasks.classification.evaluation import evaluate

        return evaluate(members, images, tta)

    def sample(self, batch: Mapping[str, Any], index: int, target: Target) -> tuple[Any, str]:
        image, _ = super().sample(batch, index, target)
        shares, names = batch["labels"][index], target.all_names
        parts = [(float(share), names[number]) for number, share in enumerate(shares) if share > 0.005]
        if len(parts) == 1:
            return image, parts[0][1]
        return image, "\n".join(f"{share:.0%} {name}" for share, name in sorted(parts, reverse=True)[:2])

    def draw_evaluation(self, run: Run, evaluation: Evaluation) -> None:
        from cnnkit.tasks.classification.confusion import confusion_matrix

        names = [row["class"] for row in evaluation.metrics["per_class"]]
        confusion_matrix(evaluation.metrics["confusion_matrix"], names, run.confusion_matrix)

    def read_evaluation(self, run: Run) -> dict[str, Any]:
        from cnnkit.tasks.classification.evaluation import read_evaluation

        return read_evaluation(run)

    def summary(self, metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
        from cnnkit.tasks.classification.evaluation import summary

        return summary(metrics, sample)

    def table(self, metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
        from cnnkit.tasks.classification.tables import evaluation_table

        return evaluation_table(metrics, sample)

    def draw_mistakes(self, trained: TrainedRun, count: int, path: Path) -> None:
        from cnnkit.tasks.classification.pictures import mistakes

        mistakes(trained, count, path)

    def draw_predictions(self, predictions: TaskPredictions, title: str, count: int, path: Path) -> bool:
        from cnnkit.tasks.classification.pictures import mistakes_sheet
        from cnnkit.tasks.classification.predictions import Predictions

        assert isinstance(predictions, Predictions)
        if not predictions.wrong.size:
            return False
        mistakes_sheet(predictions, title, count, path)
        return True

    def read_predictions(self, trained: TrainedRun) -> TaskPredictions:
        from cnnkit.tasks.classification.predictions import read_predictions

        return read_predictions(trained)

    def outcome(self, evaluation: dict[str, Any], sample: Sample = IMAGES) -> Outcome | None:
        from cnnkit.tasks.classification.report import outcome

        return outcome(evaluation, sample)

    def limits(self, evaluation: dict[str, Any], sample: Sample = IMAGES) -> Sequence[str]:
        from cnnkit.tasks.classification.tables import limits

        return limits(evaluation, sample)

    def sections(self, facts: Facts) -> Sequence[Section]:
        from cnnkit.tasks.classification.report import sections

        return sections(facts)

    def compare(self, names: Sequence[str], facts: Sequence[Facts]) -> SideBySide | None:
        from cnnkit.tasks.classification.comparison import compare

        return compare(names, facts)

    def script(self, training: TrainingConfig, head: str, target: Target, mixed: bool) -> ScriptParts:
        from cnnkit.tasks.classification.script import script_parts

        return script_parts(training, head, target, mixed)

    def answers(self, interface: Interface) -> Answers:
        from cnnkit.tasks.classification.answers import ClassAnswers

        return ClassAnswers(interface)

    def guess(self, interface: Interface, outputs: Any) -> str:
        from cnnkit.runs.heads import probabilities_from_outputs

        probabilities = probabilities_from_outputs(outputs[None], interface.head)[0]
        best = int(probabilities.argmax())
        return f"says {interface.class_names[best]}\n{probabilities[best]:.1%}"

    def draw_gradcam(
        self,
        trained: TrainedRun,
        image: str,
        classes: Sequence[str],
        path: Path,
        max_megapixels: float | None = None,
        layer: str | None = None,
    ) -> None:
        from cnnkit.tasks.classification.pictures import gradcam

        gradcam(trained, image, classes, path, max_megapixels, layer)

    def draw_gradcam_mistakes(self, trained: TrainedRun, count: int, path: Path, layer: str | None = None) -> None:
        from cnnkit.tasks.classification.pictures import gradcam_mistakes

        gradcam_mistakes(trained, count, path, layer)
