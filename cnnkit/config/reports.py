"""How a check of a config reports what is wrong."""

from __future__ import annotations

from typing import Protocol

from cnnkit.format.explain import Path


class Report(Protocol):
    """Takes down one problem."""

    def __call__(self, path: Path, message: str, of_key: bool = True, of_training: bool = False) -> None:
        """One problem.

        Args:
            path: In the config, such as `("training", "loss", "Dice")`.
            message: What was received, what was expected, what to do.
            of_key: Whether to point at the key of the path's last part rather than at its value.
            of_training: Whether the network can be looked at all the same.
        """
