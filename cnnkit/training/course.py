"""Where a training is among its stages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from cnnkit.runs.directory import damaged

if TYPE_CHECKING:
    from cnnkit.config.training import TrainingConfig
    from cnnkit.training.checkpoint import Checkpoint


class Course:
    """Which stage is trained, and when it ends; a training without stages has a single one.

    Early stopping ends a stage before its time, and all that follow begin earlier: when each began is part of a
    checkpoint.

    Args:
        lengths: The epochs that each stage is to have.
        begins: For each stage so far, the epochs before it.
    """

    def __init__(self, lengths: Sequence[int], begins: Sequence[int] = (0,)) -> None:
        self.lengths = list(lengths)
        self.begins = list(begins)

    @classmethod
    def of(cls, training: TrainingConfig, checkpoint: Checkpoint | None) -> Course:
        """Where a training stands whose checkpoint this is; at its beginning without one.

        Raises:
            CnnkitError: if the checkpoint cannot be of such a training.
        """
        lengths = [part.epochs for part in training.in_stages()]
        begins = [0] if checkpoint is None else checkpoint.state.get("stages", [0])
        # Only the last stage may have become shorter since.
        after = zip(begins, begins[1:], lengths, strict=False)
        sound = begins[:1] == [0] and len(begins) <= len(lengths) and all(a < b <= a + n for a, b, n in after)
        if checkpoint is not None and not (sound and begins[-1] <= checkpoint.epochs):
            raise damaged(checkpoint.path, f"its stages begin after {begins} epochs, the config's have {lengths}")
        return cls(lengths, begins)

    @property
    def stage(self) -> int:
        """The stage that is trained, from 0."""
        return len(self.begins) - 1

    @property
    def is_last(self) -> bool:
        return len(self.begins) == len(self.lengths)

    @property
    def end(self) -> int:
        """The epochs of the run after which the stage ends."""
        return self.begins[-1] + self.lengths[self.stage]

    @property
    def total(self) -> int:
        """All epochs of the run, if the stages that are left end when they should."""
        return self.end + sum(self.lengths[self.stage + 1 :])

    @property
    def ended_early(self) -> str:
        """After how many of its epochs the stage before this one was stopped; empty where it was not."""
        if not self.stage:
            return ""
        done, length = self.begins[-1] - self.begins[-2], self.lengths[self.stage - 1]
        return f"{done} of {length} epochs" if done < length else ""

    def has_ended(self, checkpoint: Checkpoint, training: TrainingConfig) -> bool:
        """Whether a checkpoint was written at the end of its stage, which is not the last one."""
        return not self.is_last and (checkpoint.epochs == self.end or was_stopped(checkpoint, training))

    def as_json(self, epochs: int, stopped: bool) -> dict[str, Any]:
        """What a checkpoint says of the stages.

        Args:
            epochs: Those that have ended.
            stopped: Whether the stage was stopped early.

        Returns:
            `stages`: what `begins` is; `ended`: whether the training has come to its end with this checkpoint.
        """
        return {"stages": self.begins, "ended": epochs >= self.total or (bool(stopped) and self.is_last)}

    def advance(self, epoch: int) -> None:
        """The next stage begins after so many epochs."""
        self.begins.append(epoch)


def was_stopped(checkpoint: Checkpoint, training: TrainingConfig) -> bool:
    """Whether early stopping has ended the stage of a checkpoint.

    With more patience than it has waited, it would not have.
    """
    stopping = training.early_stopping
    waited = checkpoint.state["callbacks"].get("early_stopping", {}).get("wait", 0)
    return bool(checkpoint.state["stopped"]) and stopping is not None and waited >= stopping.patience
