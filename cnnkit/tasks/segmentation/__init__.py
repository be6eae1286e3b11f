"""Semantic segmentation: a class for each pixel of an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.config.target import Mask, Target
from cnnkit.task import Answers, Evaluation, Figure, Task, TaskPredictions

if TYPE_CHECKING:
    from cnnkit.config.check import Parts
    from cnnkit.config.data import DataConfig
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


class Segmentation(Task):
    """Which one of several classes each pixel of an image shows."""

    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("mean_iou", "mean IoU", is_share=True),
        Figure("pixel_accuracy", "pixel accuracy", is_share=True),
    )
    target: ClassVar[type[Target]] = Mask
    predictions_begin: ClassVar[str] = "file,pixel_accuracy,"

    def make_target(self, data: DataConfig, size: int, names: Sequence[str] | None) -> Target:
        # The border that `pad_to` adds does not count, whatever the masks themselves hold.
        ignore = 255 if data.ignore is None and data.pad_to is not None else data.ignore
        return Mask(size, None if names is None else tuple(names), ignore)

    def check(self, parts: Parts, info: DataSetInfo, steps: Sequence[Step] | None, report: Report) -> None:
        from cnnkit.tasks.segmentation.check import check

        check(parts, info, steps, report)

    def output_shape(self, image_shape: Sequence[int], size: int) -> tuple[int, ...]:
        return (*image_shape[:2], size)

    def make_loss(self, training: TrainingConfig, head: str, target: Target) -> Any:
        from cnnkit.tasks.segmentation.training import make_loss

        return make_loss(training, head, target)

    def make_metrics(self, training: TrainingConfig, head: str, target: Target, mixed: bool) -> list[Any]:
        from cnnkit.tasks.segmentation.training import make_metrics

        return make_metrics(target)

    def finish_batches(
        self, training: TrainingConfig, split: Split, target: Target
    ) -> Callable[[dict[str, Any]], tuple[Any, ...]] | None:
        from cnnkit.tasks.segmentation.training import class_weights, finish_masks

        return finish_masks(class_weights(training, split, target))

    def evaluate(self, members: Sequence[TrainedRun], images: Split, tta: Sequence[str]) -> Evaluation:
        from cnnkit.tasks.segmentation.evaluation import evaluate

        return evaluate(members, images, tta)

    def read_evaluation(self, run: Run) -> dict[str, Any]:
        from cnnkit.tasks.segmentation.evaluation import read_evaluation

        return read_evaluation(run)

    def summary(self, metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
        from cnnkit.tasks.segmentation.tables import summary

        return summary(metrics)

    def table(self, metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
        from cnnkit.tasks.segmentation.tables import evaluation_table

        return evaluation_table(metrics)

    def read_predictions(self, trained: TrainedRun) -> TaskPredictions:
        from cnnkit.tasks.segmentation.predictions import read_predictions

        return read_predictions(trained)

    def outcome(self, evaluation: dict[str, Any], sample: Sample = IMAGES) -> Outcome | None:
        from cnnkit.tasks.segmentation.report import outcome

        return outcome(evaluation)

    def limits(self, evaluation: dict[str, Any], sample: Sample = IMAGES) -> Sequence[str]:
        from cnnkit.tasks.segmentation.tables import limits

        return limits(evaluation)

    def sections(self, facts: Facts) -> Sequence[Section]:
        from cnnkit.tasks.segmentation.report import sections

        return sections(facts)

    def compare(self, names: Sequence[str], facts: Sequence[Facts]) -> SideBySide | None:
        from cnnkit.tasks.segmentation.report import compare

        return compare(names, facts)

    def script(self, training: TrainingConfig, head: str, target: Target, mixed: bool) -> ScriptParts:
        from cnnkit.tasks.segmentation.script import script_parts

        return script_parts(training, head, target)

    def answers(self, interface: Interface) -> Answers:
        from cnnkit.tasks.segmentation.answers import MaskAnswers

        return MaskAnswers(interface)

    def draw_mistakes(self, trained: TrainedRun, count: int, path: Path) -> None:
        from cnnkit.tasks.segmentation.pictures import mistakes

        mistakes(trained, count, path)

    def draw_predictions(self, predictions: TaskPredictions, title: str, count: int, path: Path) -> bool:
        from cnnkit.tasks.segmentation.pictures import mistakes_sheet
        from cnnkit.tasks.segmentation.predictions import Predictions

        assert isinstance(predictions, Predictions)
        return mistakes_sheet(predictions, title, count, path)

    def draw_gradcam(
        self,
        trained: TrainedRun,
        image: str,
        classes: Sequence[str],
        path: Path,
        max_megapixels: float | None = None,
        layer: str | None = None,
    ) -> None:
        from cnnkit.tasks.segmentation.explained import gradcam

        gradcam(trained, image, classes, path, max_megapixels, layer)

    def draw_gradcam_mistakes(self, trained: TrainedRun, count: int, path: Path, layer: str | None = None) -> None:
        from cnnkit.tasks.segmentation.explained import gradcam_mistakes

        gradcam_mistakes(trained, count, path, layer)

    def sample(self, batch: Mapping[str, Any], index: int, target: Target) -> tuple[Any, str]:
        from cnnkit.tasks.segmentation.colours import masked

        image, _ = super().sample(batch, index, target)
        return masked(image, batch["segmentation_masks"][index][..., 0], target.size, target.ignore), ""
