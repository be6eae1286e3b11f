"""What a report knows of a run: its files, read once, each of which may be missing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cnnkit.config.load import LoadedConfig
from cnnkit.config.sample import IMAGES, Sample
from cnnkit.network.summary import Summary, summarize
from cnnkit.report.page import Missing, attempt
from cnnkit.runs.best import Monitor
from cnnkit.runs.directory import Run
from cnnkit.runs.trained import TrainedRun
from cnnkit.terminal.console import format_duration


@dataclass(frozen=True, eq=False)
class Facts:
    """A run's files.

    Attributes:
        environment: environment.json.
        epochs: The rows of metrics.csv; none if no epoch has ended.
        epochs_problem: Why the file cannot be read; None where it can.
        evaluation: evaluation.json.
        predictions: What the task reads of predictions.csv.
    """

    trained: TrainedRun
    loaded: LoadedConfig | Missing
    summary: Summary | Missing
    environment: dict[str, Any] | Missing
    epochs: list[dict[str, float]]
    epochs_problem: Missing | None
    evaluation: dict[str, Any] | Missing
    predictions: Any | Missing

    @property
    def run(self) -> Run:
        return self.trained.run

    @property
    def best_epoch(self) -> int | None:
        return self.monitor.best_epoch(self.epochs)

    @property
    def monitor(self) -> Monitor:
        """What chooses the best epoch."""
        return self.trained.monitor

    @property
    def seconds(self) -> float:
        """How long the epochs took."""
        return sum(row.get("seconds", 0.0) for row in self.epochs)

    @property
    def planned_epochs(self) -> int | None:
        return None if isinstance(self.loaded, Missing) else self.loaded.config.training.epochs

    @property
    def training(self) -> str:
        """How far the training came, in one sentence."""
        done, planned = len(self.epochs), self.planned_epochs
        if self.epochs_problem is not None:
            return self.epochs_problem.reason
        if not done:
            return "No epoch has ended."
        text = f"{done} epoch{'s' * (done > 1)}"
        if planned is not None and done < planned:
            text += f" of {planned} ({'stopped early' if self._stopped() else 'interrupted'})"
        best = ""
        if self.best_epoch is not None and done > 1:
            best = f"; epoch {self.best_epoch} was the best by {self.monitor.metric}"
        return f"Trained for {text} in {format_duration(self.seconds)}{best}."

    def _stopped(self) -> bool:
        from cnnkit.training.checkpoint import ended_early

        return attempt(ended_early, self.run) is True

    @property
    def sample(self) -> Sample:
        """What the network is given; an image, where the run does not say it any more."""
        interface = attempt(lambda: self.trained.interface)
        return IMAGES if isinstance(interface, Missing) else interface.sample


def read_facts(trained: TrainedRun) -> Facts:
    """All that a report needs of a run but its model and its images."""
    run = trained.run
    loaded = attempt(lambda: trained.loaded)
    epochs = attempt(run.read_metrics)
    evaluation = attempt(_evaluation, trained)
    return Facts(
        trained,
        loaded,
        loaded if isinstance(loaded, Missing) else attempt(summarize, loaded),
        attempt(lambda: trained.environment),
        [] if isinstance(epochs, Missing) else epochs,
        epochs if isinstance(epochs, Missing) else None,
        evaluation,
        evaluation if isinstance(evaluation, Missing) else attempt(trained.task.read_predictions, trained),
    )


def _evaluation(trained: TrainedRun) -> dict[str, Any] | Missing:
    run = trained.run
    if not run.evaluation.exists():
        return Missing(f"The run was not evaluated. Do it with: cnnkit eval {run.path}")
    return trained.evaluation
