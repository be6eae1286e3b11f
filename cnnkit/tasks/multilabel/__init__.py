"""Image tagging: any number of labels per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, PlainValidator, WithJsonSchema

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.config.target import Labels, Target
from cnnkit.format.base import describe, invalid
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
    from cnnkit.runs.directory import Run
    from cnnkit.runs.interface import Interface
    from cnnkit.runs.trained import TrainedRun


_SHARE = {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}


def _stated(value: Any) -> Any:
    """One threshold, one for each label, or `validation`."""
    each = value if isinstance(value, list) and value else [value]
    numbers = (isinstance(one, int | float) and not isinstance(one, bool) and 0 < one < 1 for one in each)
    if value == "validation" or all(numbers):
        return value
    raise invalid(
        f"expected a number between 0 and 1, a list of one for each label, or `validation`, got {describe(value)}"
    )


class Multilabel(Task):
    """Which of several labels an image has: none, one or more."""

    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("mean_average_precision", "mean average precision", is_share=True),
        Figure("micro_f1", "micro F1", is_share=True),
    )
    target: ClassVar[type[Target]] = Labels
    predictions_begin: ClassVar[str] = "file,labels,predicted,"

    leading: ClassVar[str | None] = "thresholds"

    thresholds: Annotated[
        float | list[float] | Literal["validation"],
        PlainValidator(_stated),
        WithJsonSchema({"anyOf": [_SHARE, {"type": "array", "items": _SHARE, "minItems": 1}, {"const": "validation"}]}),
    ] = Field(
        default=0.5,
        description="Probability from which an image has a label: one for all labels, or a list with one for each in "
        "their order; `validation` chooses, after training, for each label the one with the best F1 on the validation "
        "images, and is 0.5 until then.",
    )

    def check(self, parts: Parts, info: DataSetInfo, steps: Sequence[Step] | None, report: Report) -> None:
        from cnnkit.tasks.multilabel.check import check

        check(self.thresholds, parts, info, steps, report)

    def make_model(self, layers: Sequence[Any], training: TrainingConfig, head: str, target: Target) -> Any:
        from cnnkit.tasks.multilabel.training import make_model

        return make_model(layers, training)

    def make_loss(self, training: TrainingConfig, head: str, target: Target) -> Any:
        from cnnkit.tasks.multilabel.training import configured_loss

        return configured_loss(training).build(from_logits=head == "logits")

    def make_metrics(self, training: TrainingConfig, head: str, target: Target, mixed: bool) -> list[Any]:
        from cnnkit.tasks.multilabel.thresholds import stated_thresholds
        from cnnkit.tasks.multilabel.training import make_metrics

        return make_metrics(training, head, stated_thresholds(self.thresholds, target.size), mixed)

    def sample(self, batch: Mapping[str, Any], index: int, target: Target) -> tuple[Any, str]:
        image, _ = super().sample(batch, index, target)
        shares = zip(target.all_names, batch["labels"][index].tolist(), strict=True)
        marked = [name if share > 0.995 else f"{share:.0%} {name}" for name, share in shares if share > 0.005]
        return image, "\n".join(marked[:3])

    def conclude(self, trained: TrainedRun, validation: Split | None) -> dict[str, Any] | None:
        from cnnkit.tasks.multilabel.thresholds import choose_thresholds

        if self.thresholds != "validation" or validation is None:
            return None
        return {"thresholds": choose_thresholds(trained, validation)}

    def evaluate(self, members: Sequence[TrainedRun], images: Split, tta: Sequence[str]) -> Evaluation:
        from cnnkit.tasks.multilabel.evaluation import evaluate

        return evaluate(self.thresholds, members, images, tta)

    def read_evaluation(self, run: Run) -> dict[str, Any]:
        from cnnkit.tasks.multilabel.evaluation import read_evaluation

        return read_evaluation(run)

    def summary(self, metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
        from cnnkit.tasks.multilabel.tables import summary

        return summary(metrics, sample)

    def table(self, metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
        from cnnkit.tasks.multilabel.tables import evaluation_table

        return evaluation_table(metrics, sample)

    def draw_mistakes(self, trained: TrainedRun, count: int, path: Path) -> None:
        from cnnkit.tasks.multilabel.pictures import mistakes
        from cnnkit.tasks.multilabel.predictions import Predictions

        predictions = self.read_predictions(trained)
        assert isinstance(predictions, Predictions)
        mistakes(predictions, trained.run, count, path)

    def draw_predictions(self, predictions: TaskPredictions, title: str, count: int, path: Path) -> bool:
        from cnnkit.tasks.multilabel.pictures import mistakes_sheet
        from cnnkit.tasks.multilabel.predictions import Predictions

        assert isinstance(predictions, Predictions)
        return mistakes_sheet(predictions, title, count, path)

    def read_predictions(self, trained: TrainedRun) -> TaskPredictions:
        from cnnkit.tasks.multilabel.predictions import read_predictions
        from cnnkit.tasks.multilabel.thresholds import thresholds_of

        return read_predictions(trained, thresholds_of(self.thresholds, trained.interface))

    def outcome(self, evaluation: dict[str, Any], sample: Sample = IMAGES) -> Outcome | None:
        from cnnkit.tasks.multilabel.report import outcome

        return outcome(evaluation, sample)

    def limits(self, evaluation: dict[str, Any], sample: Sample = IMAGES) -> Sequence[str]:
        from cnnkit.tasks.multilabel.tables import limits

        return limits(evaluation, sample)

    def sections(self, facts: Facts) -> Sequence[Section]:
        from cnnkit.tasks.multilabel.report import sections

        return sections(facts)

    def script(self, training: TrainingConfig, head: str, target: Target, mixed: bool) -> ScriptParts:
        from cnnkit.tasks.multilabel.script import script_parts

        return script_parts(self.thresholds, training, head, target, mixed)

    def answers(self, interface: Interface) -> Answers:
        from cnnkit.tasks.multilabel.answers import LabelAnswers

        return LabelAnswers(self.thresholds, interface)

    def guess(self, interface: Interface, outputs: Any) -> str:
        from cnnkit.tasks.multilabel.answers import LabelAnswers

        return "says " + LabelAnswers(self.thresholds, interface).read(outputs[None])[0].text
