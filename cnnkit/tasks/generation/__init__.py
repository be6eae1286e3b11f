"""Images like those of a data set, made of noise by a network that another one teaches (Goodfellow et al. 2014)."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from cnnkit.config.data import ChannelStatistics
from cnnkit.config.sample import IMAGES, LatentSample, Sample
from cnnkit.config.target import OneClass, Target
from cnnkit.errors import CnnkitError, UsageError
from cnnkit.task import EPOCH, Answers, Evaluation, Figure, Maker, TaskPredictions, Watched
from cnnkit.tasks.generation.settings import Settings

if TYPE_CHECKING:
    from cnnkit.config.check import Parts
    from cnnkit.config.dataset import DataSetInfo
    from cnnkit.config.optimization.optimizers import Optimizer
    from cnnkit.config.reports import Report
    from cnnkit.config.run import RunConfig
    from cnnkit.config.script_parts import ScriptParts
    from cnnkit.config.training import TrainingConfig
    from cnnkit.data.splits import DataSets, Split
    from cnnkit.layers.stack import Step
    from cnnkit.report.facts import Facts
    from cnnkit.report.parts import Outcome, Section
    from cnnkit.report.side_by_side import SideBySide
    from cnnkit.runs.directory import Run
    from cnnkit.runs.interface import Interface
    from cnnkit.runs.trained import TrainedRun
    from cnnkit.training.preparation import Preparation

log = logging.getLogger("cnnkit")

#: What brings images to -1..1, as R1 and the usual initial weights take them.
_TO_ONE = ChannelStatistics(mean=[127.5], variance=[127.5**2])

#: What `loss` is: that of the discriminator.
_LOSS = Figure("loss", "discriminator loss", larger_is_better=False)

#: What a classifier, where there is one, says of the averaged generator after each epoch.
_ACCEPTED = Figure("accepted", "accepted by the classifier", is_share=True)

#: What counts, where there is a classifier.
_FRECHET = Figure("frechet", "Fréchet distance", larger_is_better=False)


class Generation(Settings):
    """Images like those of the data set, made of noise: a generative adversarial network."""

    figures: ClassVar[tuple[Figure, ...]] = (
        Figure("spread", "spread of the samples"),
        Figure("generator_loss", "generator loss", larger_is_better=False),
        Figure("real_right", "real images told right", is_share=True),
        Figure("generated_right", "made images told right", is_share=True),
        Figure("r1", "R1", larger_is_better=False),
    )
    target: ClassVar[type[Target]] = OneClass
    predictions_begin: ClassVar[str] = "sample,asked,"
    takes_images: ClassVar[bool] = False
    makes_images: ClassVar[bool] = True
    output_range: ClassVar[tuple[int, int] | None] = (0, 255)
    validates: ClassVar[bool] = False
    implied_data: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"normalization": _TO_ONE, "drop_remainder": True, "validation": 0.0}
    )

    @property
    def columns(self) -> tuple[Figure, ...]:
        return (_LOSS, *self.figures) if self.classifier is None else (_LOSS, *self.figures, _ACCEPTED)

    @property
    def monitor(self) -> str | None:
        return EPOCH

    @property
    def headline(self) -> Figure:
        """The distance from real images, where a classifier measures it."""
        return self.figures[0] if self.classifier is None else _FRECHET

    def given(self, info: DataSetInfo) -> DataSetInfo:
        height, width, channels = info.shape
        conditions = info.target.size if self.conditional else 0
        sample = LatentSample(self.latent, conditions, (height, width, channels))
        return replace(info, shape=sample.shape, sample=sample)

    def other_input(self, network: str, info: DataSetInfo) -> tuple[int, ...]:
        height, width, channels = info.data_shape
        return (height, width, channels + (info.target.size if self.conditional else 0))

    def shown_together(self, network: str) -> int:
        return 2 if network == self.networks[1] else 1

    def check(self, parts: Parts, info: DataSetInfo, steps: Sequence[Step] | None, report: Report) -> None:
        from cnnkit.tasks.generation.check import check

        check(self, parts, info, steps, report)

    def check_asked(self, verb: str) -> None:
        if verb in ("serve", "export"):
            return
        raise UsageError(
            f"`{verb}` is for networks that take images; that of a generation makes them of noise",
            "Make some: cnnkit generate RUN -n 64 -o sheet.png",
        )

    def maker(self, trained: TrainedRun) -> Maker:
        from cnnkit.tasks.generation.making import ImageMaker

        return ImageMaker(trained)

    # --- Training -------------------------------------------------------------------------------------

    def make_model(self, layers: Sequence[Any], training: TrainingConfig, head: str, target: Target) -> Any:
        from cnnkit.tasks.generation.training import make_model

        return make_model(layers, head)

    def make_trainer(self, network: Any, config: RunConfig, data: DataSets, others: Mapping[str, Any]) -> Any:
        from cnnkit.tasks.generation.training import make_trainer

        return make_trainer(self, network, config, data, others)

    def network(self, model: Any) -> Any:
        return model.generator

    def other_networks(self, model: Any) -> Mapping[str, Any]:
        return {self.networks[1]: model.discriminator}

    def optimizer_of(self, network: str, training: TrainingConfig) -> Optimizer:
        return self.discriminator_optimizer or training.optimizer

    def kept(self, model: Any) -> Any:
        return model.average

    def callbacks(self, prepared: Preparation, run: Run) -> Sequence[Any]:
        from cnnkit.tasks.generation.watching import SampleSheets

        keepers: list[Any] = [SampleSheets(prepared, run)]
        if self.classifier is not None:
            from cnnkit.tasks.generation.class_watch import ClassWatch

            keepers.append(ClassWatch(prepared, self.classifier))
        return keepers

    def watched(self, prepared: Preparation) -> Watched:
        from cnnkit.tasks.generation.training import watched

        return watched(prepared)

    def make_loss(self, training: TrainingConfig, head: str, target: Target) -> Any:
        return None

    def make_metrics(self, training: TrainingConfig, head: str, target: Target, mixed: bool) -> list[Any]:
        return []

    # --- After training -------------------------------------------------------------------------------

    def evaluate(self, members: Sequence[TrainedRun], images: Split, tta: Sequence[str]) -> Evaluation:
        from cnnkit.tasks.generation.evaluation import evaluate

        return evaluate(self, members, images, tta)

    def measured_with(self, classifier: str) -> Generation:
        from cnnkit.tasks.generation.classifier import open_classifier

        return self.model_copy(update={"classifier": os.path.abspath(open_classifier(classifier).trained.path)})

    def read_evaluation(self, run: Run) -> dict[str, Any]:
        from cnnkit.tasks.generation.evaluation import read_evaluation

        return read_evaluation(run)

    def summary(self, metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
        from cnnkit.tasks.generation.tables import summary

        return summary(metrics)

    def table(self, metrics: dict[str, Any], sample: Sample = IMAGES) -> str:
        from cnnkit.tasks.generation.tables import evaluation_table

        return evaluation_table(metrics)

    def limits(self, evaluation: dict[str, Any], sample: Sample = IMAGES) -> Sequence[str]:
        from cnnkit.tasks.generation.tables import limits

        return limits(evaluation)

    def outcome(self, evaluation: dict[str, Any], sample: Sample = IMAGES) -> Outcome:
        from cnnkit.tasks.generation.report import outcome

        return outcome(evaluation, sample)

    def sections(self, facts: Facts) -> Sequence[Section]:
        from cnnkit.tasks.generation.report import sections

        return sections(facts)

    def compare(self, names: Sequence[str], facts: Sequence[Facts]) -> SideBySide | None:
        from cnnkit.tasks.generation.report import compare

        return compare(names, facts)

    def draw_evaluation(self, run: Run, evaluation: Evaluation) -> None:
        from cnnkit.runs.trained import open_run

        try:
            self.draw_samples(open_run(run), run.film)
        except CnnkitError as error:
            # The measures are worth more than a picture.
            log.warning("%s is not drawn: %s", run.film.name, error.message)

    def draw_samples(self, trained: TrainedRun, path: Path) -> None:
        from cnnkit.files import write_atomically
        from cnnkit.images.animation import ANIMATIONS
        from cnnkit.tasks.generation.film import film

        content, _ = film(trained.run, trained.interface.data_shape[-1], ANIMATIONS[path.suffix.lower()])
        write_atomically(path, content)

    def draw_mistakes(self, trained: TrainedRun, count: int, path: Path) -> None:
        from cnnkit.tasks.generation.pictures import least_accepted

        least_accepted(trained, count, path)

    def draw_predictions(self, predictions: TaskPredictions, title: str, count: int, path: Path) -> bool:
        raise self._no_mistakes()

    def _no_mistakes(self) -> UsageError:
        return UsageError(
            "a generator makes no mistakes that could be shown one by one",
            "`cnnkit show mistakes RUN` draws those that a classifier accepts least.",
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
        raise UsageError(
            "no script can be written of a generation: its step, with two networks and two optimizers, is no part of "
            "Keras' `fit`",
            "Train it with cnnkit. The run's model.keras is plain Keras: it makes images of 0..255 of normal numbers "
            "[images, numbers].",
        )

    def answers(self, interface: Interface) -> Answers:
        from cnnkit.tasks.generation.answers import Made

        return Made(interface)
