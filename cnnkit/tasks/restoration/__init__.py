"""Restoration of one picture by a network that has learned nothing else (deep image prior, Ulyanov et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from cnnkit.config.sample import IMAGES, Sample
from cnnkit.config.target import Picture, Target
from cnnkit.errors import UsageError
from cnnkit.task import EPOCH, Answers, Evaluation, Figure, TaskPredictions, Watched
from cnnkit.tasks.restoration.settings import Settings

if TYPE_CHECKING:
    from cnnkit.config.check import Parts
    from cnnkit.config.data import DataConfig
    from cnnkit.config.dataset import DataSetInfo
    from cnnkit.config.load import LoadedConfig
    from cnnkit.config.reports import Report
    from cnnkit.config.run import RunConfig
    from cnnkit.config.script_parts import ScriptParts
    from cnnkit.config.training import TrainingConfig
    from cnnkit.data.splits import DataSets, Split
    from cnnkit.layers.stack import Step
    from cnnkit.report.facts import Facts
    from cnnkit.report.parts import Outcome, Section
    from cnnkit.runs.directory import Run
    from cnnkit.runs.interface import Interface
    from cnnkit.runs.trained import TrainedRun
    from cnnkit.training.loop import Position
    from cnnkit.training.preparation import Preparation

#: The names of a picture's channels, by their number.
_CHANNELS = {1: ("grey",), 3: ("red", "green", "blue")}


class Restoration(Settings):
    """One picture, which the network makes of noise that stays the same (deep image prior), or corrects."""

    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("psnr", "PSNR (dB)"),
        Figure("fit", "fit (dB)"),
        Figure("held_out", "fit to the pixels held out (dB)"),
        Figure("variance", "variance of the outputs", larger_is_better=False),
    )
    target: ClassVar[type[Target]] = Picture
    predictions_begin: ClassVar[str] = "file,(psnr|ssim|fit|variance|held_out)"
    takes_images: ClassVar[bool] = False
    implied_data: ClassVar[Mapping[str, Any]] = MappingProxyType({"normalization": "none", "batch_size": 1})

    @property
    def monitor(self) -> str | None:
        return self.decided_by or EPOCH

    def make_target(self, data: DataConfig, size: int, names: Sequence[str] | None) -> Target:
        return Picture(size, _CHANNELS.get(size))

    def check(self, parts: Parts, info: DataSetInfo, steps: Sequence[Step] | None, report: Report) -> None:
        from cnnkit.tasks.restoration.check import check

        check(self, parts, info, steps, report)

    def check_asked(self, verb: str) -> None:
        raise UsageError(
            f"`{verb}` is for networks that take images; that of a restoration makes one picture",
            "The picture is restored.png in the run. To restore another: cnnkit restore CONFIG IMAGE -o FILE",
        )

    # --- Training -------------------------------------------------------------------------------------

    def steps_per_epoch(self) -> int:
        return self.iterations

    def make_trainer(self, network: Any, config: RunConfig, data: DataSets, others: Mapping[str, Any]) -> Any:
        from cnnkit.tasks.restoration.training import make_trainer

        return make_trainer(self, network, config, data)

    def network(self, model: Any) -> Any:
        return model.network

    def training_batches(self, prepared: Preparation, position: Position, epochs: int | None) -> Any:
        from cnnkit.tasks.restoration.training import step_numbers

        return step_numbers(self, position, epochs)

    def warnings(self, loaded: LoadedConfig) -> Sequence[str]:
        from cnnkit.tasks.restoration.expectation import warnings

        return warnings(self, loaded)

    def callbacks(self, prepared: Preparation, run: Run) -> Sequence[Any]:
        from cnnkit.tasks.restoration.keras_objects import PictureKeeper

        return [PictureKeeper(self, run)]

    def watched(self, prepared: Preparation) -> Watched:
        from cnnkit.tasks.restoration.training import watched

        return watched(self, prepared)

    def make_loss(self, training: TrainingConfig, head: str, target: Target) -> Any:
        return None

    def make_metrics(self, training: TrainingConfig, head: str, target: Target, mixed: bool) -> list[Any]:
        return []

    # --- After training -------------------------------------------------------------------------------

    def evaluate(self, members: Sequence[TrainedRun], images: Split, tta: Sequence[str]) -> Evaluation:
        from cnnkit.tasks.restoration.evaluation import evaluate

        return evaluate(members, images, tta)

    def read_evaluation(self, run: Run) -> dict[str, Any]:
        from cnnkit.tasks.restoration.evaluation import read_evaluation

        return read_evaluation(run)

    def summary(self, metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
        from cnnkit.tasks.restoration.evaluation import summary

        return summary(metrics)

    def table(self, metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
        from cnnkit.tasks.restoration.evaluation import table

        return table(metrics)

    def outcome(self, evaluation: dict[str, Any], sample: Sample = IMAGES) -> Outcome:
        from cnnkit.tasks.restoration.report import outcome

        return outcome(evaluation)

    def sections(self, facts: Facts) -> Sequence[Section]:
        from cnnkit.tasks.restoration.report import sections

        return sections(facts)

    def draw_mistakes(self, trained: TrainedRun, count: int, path: Path) -> None:
        raise self._no_mistakes()

    def draw_predictions(self, predictions: TaskPredictions, title: str, count: int, path: Path) -> bool:
        raise self._no_mistakes()

    def _no_mistakes(self) -> UsageError:
        return UsageError(
            "a restoration makes no mistakes that could be shown one by one",
            "`cnnkit report` has the damaged, the restored and the undamaged picture side by side.",
        )

    def draw_gradcam(
        self,
        trained: TrainedRun,
        image: str,
        classes: Sequence[str],
        path: Path,
        max_megapixels: float | None = None,
        layer: str | None = None,
    ) -> None:
        self.check_asked("show gradcam")

    def draw_gradcam_mistakes(self, trained: TrainedRun, count: int, path: Path, layer: str | None = None) -> None:
        self.check_asked("show gradcam")

    def script(self, training: TrainingConfig, head: str, target: Target, mixed: bool) -> ScriptParts:
        makes = "corrects a smooth picture"
        if not self.corrects:
            noise = "numpy.random.default_rng(SEED).uniform(0, 0.1, (1, HEIGHT, WIDTH, CHANNELS))"
            makes = f"makes the picture of the noise `{noise}`"
        raise UsageError(
            "no script can be written of a restoration: its step, its average and its stop are no part of Keras' `fit`",
            f"Train it with cnnkit. The run's model.keras is plain Keras and {makes}.",
        )

    def answers(self, interface: Interface) -> Answers:
        from cnnkit.tasks.restoration.answers import PictureAnswers

        return PictureAnswers(interface, self)

    def sample(self, batch: Mapping[str, Any], index: int, target: Target) -> tuple[Any, str]:
        raise UsageError("a restoration has no training images, but one picture: damaged.png in its run")
