"""Detection: any number of objects in an image, each with its class and its box."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.config.target import Boxes, Target
from cnnkit.format.fields import NonNegativeNumber, PositiveNumber
from cnnkit.task import Answers, Evaluation, Figure, Task, TaskPredictions
from cnnkit.tasks.detection.settings import Settings

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


class Detection(Task):
    """Where in an image objects of several classes are: a box around each.

    The network's last layer outputs a coarse map, as in CenterNet (Zhou, Wang and Krähenbühl, "Objects as Points",
    2019, https://arxiv.org/abs/1904.07850): for each of its places a logit of every class, which is large where an
    object of it has its centre, then how far the centre lies from the place (across, down) and the object's width and
    height, all in places. There are no anchors, and boxes need not be suppressed.
    """

    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("map", "mAP@0.5:0.95", is_share=True),
        Figure("map_50", "mAP@0.5", is_share=True),
    )
    target: ClassVar[type[Target]] = Boxes
    predictions_begin: ClassVar[str] = "file,objects,hits,"

    stride: Annotated[int, Field(ge=1, le=64)] = Field(
        default=4, description="Pixels from one place of the network's map to the next, in both directions."
    )
    detections: Annotated[int, Field(ge=1, le=1000)] = Field(
        default=100, description="Boxes that are said of an image, at most: those with the highest scores."
    )
    heat_weight: PositiveNumber = Field(default=1.0, description="Weight of the classes' focal loss, above 0.")
    offset_weight: NonNegativeNumber = Field(default=1.0, description="Weight of the centres' L1 loss, from 0.")
    size_weight: NonNegativeNumber = Field(
        default=0.1, description="Weight of the sizes' L1 loss, from 0; as in the paper, small beside the others."
    )

    @property
    def settings(self) -> Settings:
        """The arguments, for the other modules of this folder."""
        return Settings(self.stride, self.detections, self.heat_weight, self.offset_weight, self.size_weight)

    def check(self, parts: Parts, info: DataSetInfo, steps: Sequence[Step] | None, report: Report) -> None:
        from cnnkit.tasks.detection.check import check

        check(self.stride, parts, info, steps, report)

    def output_shape(self, image_shape: Sequence[int], size: int) -> tuple[int, ...]:
        return (image_shape[0] // self.stride, image_shape[1] // self.stride, size + 4)

    def survey(self, split: Split, sized: bool) -> dict[str, Any]:
        from cnnkit.tasks.detection.training import survey

        return survey(split, self.stride if sized else None)

    def measure_target(self, target: Target, split: Split) -> Target:
        from cnnkit.tasks.detection.training import tell_collisions

        tell_collisions(split, self.stride)
        return target

    def make_loss(self, training: TrainingConfig, head: str, target: Target) -> Any:
        from cnnkit.tasks.detection.training import make_loss

        return make_loss(self.settings, target)

    def make_metrics(self, training: TrainingConfig, head: str, target: Target, mixed: bool) -> list[Any]:
        from cnnkit.tasks.detection.training import make_metrics

        return make_metrics(self.settings, target)

    def sample(self, batch: Mapping[str, Any], index: int, target: Target) -> tuple[Any, str]:
        from cnnkit.tasks.detection.drawing import with_truth

        image, _ = super().sample(batch, index, target)
        return with_truth(image, batch["bounding_boxes"][index], target.all_names), ""

    def conclude(self, trained: TrainedRun, validation: Split | None) -> dict[str, Any] | None:
        from cnnkit.tasks.detection.evaluation import conclude

        return conclude(self.settings, trained, validation)

    def evaluate(self, members: Sequence[TrainedRun], images: Split, tta: Sequence[str]) -> Evaluation:
        from cnnkit.tasks.detection.evaluation import evaluate

        return evaluate(self.settings, members, images)

    def read_evaluation(self, run: Run) -> dict[str, Any]:
        from cnnkit.tasks.detection.evaluation import read_evaluation

        return read_evaluation(run)

    def summary(self, metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
        from cnnkit.tasks.detection.tables import summary

        return summary(metrics)

    def table(self, metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
        from cnnkit.tasks.detection.tables import evaluation_table

        return evaluation_table(metrics)

    def limits(self, evaluation: dict[str, Any], sample: Sample = IMAGES) -> Sequence[str]:
        from cnnkit.tasks.detection.tables import limits

        return limits(evaluation)

    def outcome(self, evaluation: dict[str, Any], sample: Sample = IMAGES) -> Outcome | None:
        from cnnkit.tasks.detection.report import outcome

        return outcome(evaluation)

    def sections(self, facts: Facts) -> Sequence[Section]:
        from cnnkit.tasks.detection.report import sections

        return sections(facts)

    def compare(self, names: Sequence[str], facts: Sequence[Facts]) -> SideBySide | None:
        from cnnkit.tasks.detection.report import compare

        return compare(names, facts)

    def read_predictions(self, trained: TrainedRun) -> TaskPredictions:
        from cnnkit.tasks.detection.predictions import read_predictions

        return read_predictions(self.settings, trained)

    def script(self, training: TrainingConfig, head: str, target: Target, mixed: bool) -> ScriptParts:
        from cnnkit.tasks.detection.script import script_parts

        return script_parts(self.settings)

    def answers(self, interface: Interface) -> Answers:
        from cnnkit.tasks.detection.answers import BoxAnswers

        return BoxAnswers(self.settings, interface)

    def draw_mistakes(self, trained: TrainedRun, count: int, path: Path) -> None:
        from cnnkit.tasks.detection.pictures import mistakes

        mistakes(self.settings, trained, count, path)

    def draw_predictions(self, predictions: TaskPredictions, title: str, count: int, path: Path) -> bool:
        from cnnkit.tasks.detection.pictures import mistakes_sheet
        from cnnkit.tasks.detection.predictions import Predictions

        assert isinstance(predictions, Predictions)
        return mistakes_sheet(predictions, title, count, path)
