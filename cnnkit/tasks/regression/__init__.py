"""Image regression: one or several numbers per image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.config.target import Numbers, Target
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


class Regression(Task):
    """One or several numbers that go with an image."""

    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("mae", "mean absolute error", larger_is_better=False),
        Figure("rmse", "root mean squared error", larger_is_better=False),
    )
    target: ClassVar[type[Target]] = Numbers
    predictions_begin: ClassVar[str] = 'file,"?true_'

    def check(self, parts: Parts, info: DataSetInfo, steps: Sequence[Step] | None, report: Report) -> None:
        from cnnkit.tasks.regression.check import check

        check(parts, info, steps, report)

    def measure_target(self, target: Target, split: Split) -> Target:
        from cnnkit.tasks.regression.training import measured

        return measured(target, split.targets.values)

    def make_model(self, layers: Sequence[Any], training: TrainingConfig, head: str, target: Target) -> Any:
        from cnnkit.tasks.regression.training import make_model

        return make_model(layers, target)

    def make_loss(self, training: TrainingConfig, head: str, target: Target) -> Any:
        from cnnkit.tasks.regression.training import make_loss

        return make_loss(training, target)

    def make_metrics(self, training: TrainingConfig, head: str, target: Target, mixed: bool) -> list[Any]:
        from cnnkit.tasks.regression.training import make_metrics

        return make_metrics(training)

    def sample(self, batch: Mapping[str, Any], index: int, target: Target) -> tuple[Any, str]:
        from cnnkit.tasks.regression.predictions import number_text

        image, _ = super().sample(batch, index, target)
        pairs = zip(target.all_names, batch["labels"][index].tolist(), strict=True)
        return image, "\n".join(f"{name} {number_text(value)}" for name, value in list(pairs)[:3])

    def evaluate(self, members: Sequence[TrainedRun], images: Split, tta: Sequence[str]) -> Evaluation:
        from cnnkit.tasks.regression.evaluation import evaluate

        return evaluate(members, images, tta)

    def draw_evaluation(self, run: Run, evaluation: Evaluation) -> None:
        from cnnkit.plots.style import save
        from cnnkit.tasks.regression.pictures import predicted_against_true
        from cnnkit.tasks.regression.predictions import Predictions

        assert isinstance(evaluation.predictions, Predictions)
        save(predicted_against_true(evaluation.predictions), run.predicted_against_true)

    def read_evaluation(self, run: Run) -> dict[str, Any]:
        from cnnkit.tasks.regression.evaluation import read_evaluation

        return read_evaluation(run)

    def summary(self, metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
        from cnnkit.tasks.regression.tables import summary

        return summary(metrics, sample)

    def table(self, metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
        from cnnkit.tasks.regression.tables import evaluation_table

        return evaluation_table(metrics, sample)

    def draw_mistakes(self, trained: TrainedRun, count: int, path: Path) -> None:
        from cnnkit.tasks.regression.pictures import mistakes

        mistakes(trained, count, path)

    def draw_predictions(self, predictions: TaskPredictions, title: str, count: int, path: Path) -> bool:
        from cnnkit.tasks.regression.pictures import mistakes_sheet
        from cnnkit.tasks.regression.predictions import Predictions

        assert isinstance(predictions, Predictions)
        return mistakes_sheet(predictions, title, count, path)

    def read_predictions(self, trained: TrainedRun) -> TaskPredictions:
        from cnnkit.tasks.regression.predictions import read_predictions

        return read_predictions(trained)

    def outcome(self, evaluation: dict[str, Any], sample: Sample = IMAGES) -> Outcome | None:
        from cnnkit.tasks.regression.report import outcome

        return outcome(evaluation, sample)

    def limits(self, evaluation: dict[str, Any], sample: Sample = IMAGES) -> Sequence[str]:
        from cnnkit.tasks.regression.tables import limits

        return limits(evaluation, sample)

    def sections(self, facts: Facts) -> Sequence[Section]:
        from cnnkit.tasks.regression.report import sections

        return sections(facts)

    def script(self, training: TrainingConfig, head: str, target: Target, mixed: bool) -> ScriptParts:
        from cnnkit.tasks.regression.script import script_parts

        return script_parts(training)

    def answers(self, interface: Interface) -> Answers:
        from cnnkit.tasks.regression.answers import NumberAnswers

        return NumberAnswers(interface)

    def guess(self, interface: Interface, outputs: Any) -> str:
        from cnnkit.tasks.regression.answers import NumberAnswers

        return "says " + NumberAnswers(interface).read(outputs[None])[0].text
