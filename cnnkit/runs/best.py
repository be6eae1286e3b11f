"""Which epoch of a run is the best: the one rule for what is kept, shown, drawn and reported."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from cnnkit.errors import CnnkitError
from cnnkit.task import EPOCH

if TYPE_CHECKING:
    from cnnkit.config.training import TrainingConfig
    from cnnkit.runs.directory import Run
    from cnnkit.task import Task


@dataclass(frozen=True)
class Monitor:
    """What chooses the best epoch.

    Attributes:
        metric: A column of metrics.csv.
        mode: Whether its largest or its smallest value is the best.
    """

    metric: str = "val_accuracy"
    mode: Literal["max", "min"] = "max"

    @classmethod
    def of_config(cls, training: TrainingConfig, task: Task) -> Monitor:
        """The monitor that a valid config asks for; by default the task's, or its headline of the validation images."""
        monitor = training.monitor or task.monitor
        if monitor is None:
            return cls(f"val_{task.headline.name}", task.headline.mode)
        return cls(monitor, training.direction(monitor, task.columns) or "max")

    @classmethod
    def of_run(cls, run: Run) -> Monitor:
        """The monitor that a run has noted; the default one where it has not, as runs of older versions."""
        try:
            return cls.of_environment(run.read_json(run.environment))
        except CnnkitError:
            return cls()

    @classmethod
    def of_environment(cls, environment: Mapping[str, Any]) -> Monitor:
        """The monitor that an environment.json notes; the default one where it notes none."""
        noted = environment.get("monitor")
        metric, mode = (noted.get("metric"), noted.get("mode")) if isinstance(noted, dict) else (None, None)
        return cls(metric, mode) if isinstance(metric, str) and mode in ("max", "min") else cls()

    def as_json(self) -> dict[str, Any]:
        """What environment.json notes."""
        return asdict(self)

    @property
    def keeps_last(self) -> bool:
        """Whether no epoch is the best one, and the last is kept."""
        return self.metric == EPOCH

    @property
    def tie_breaker(self) -> str:
        """The column that decides between epochs with the same value, the smaller the better."""
        return "val_loss" if self.metric.startswith("val_") else "loss"

    def best_epoch(self, rows: Sequence[Mapping[str, float | None]]) -> int | None:
        """The best epoch's number: the best value, then the smaller loss of the same images, then the earlier epoch.

        Args:
            rows: One mapping per epoch, as in metrics.csv.

        Returns:
            None where no row has a finite value of the metric, as without a validation split, and where the last
            epoch is kept whatever it brings.
        """
        if self.keeps_last:
            return None
        measured = [row for row in rows if _is_finite(row.get("epoch")) and _is_finite(row.get(self.metric))]
        return int(min(measured, key=self._rank)["epoch"] or 0) if measured else None

    def _rank(self, row: Mapping[str, float | None]) -> tuple[float, float]:
        value, loss = row[self.metric], row.get(self.tie_breaker)
        assert value is not None
        return (-value if self.mode == "max" else value, loss if loss is not None and _is_finite(loss) else math.inf)


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
