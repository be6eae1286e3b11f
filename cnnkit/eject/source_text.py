"""What a script needs to read the samples of a data set and what comes with them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class SourceText:
    """What a script needs to read samples and targets.

    Attributes:
        constants: Assignments.
        functions: Those that read.
        splits: The splits that the data set brings itself, as far as they are known.
        names: What is listed is called by: something that can be indexed by place (images, texts, or the paths of
            files), and targets, where they are not read with the samples.
        listed: For a split or slice, an expression of as many values as there are names.
        finds_test: Whether the script finds out which split is for tests, by `load_test()`.
        reader: The function that makes samples and targets of what is listed, which is divided before it is read; None
            where they are there already.
        concluded: From the names of the splits that are there, the lines that follow once all are.
    """

    constants: list[str]
    functions: list[str]
    splits: set[str]
    names: tuple[str, ...]
    listed: Callable[[str], str]
    finds_test: bool = False
    reader: str | None = None
    concluded: Callable[[Sequence[str]], list[str]] = lambda splits: []

    def at(self, places: str) -> str:
        """What is listed at some places, as an expression."""
        return ", ".join(f"{name}[{places}]" for name in self.names)

    def read(self, places: str | None = None) -> str:
        """The samples and targets at some places of what is listed, or all, as an expression."""
        values = self.at(places) if places else ", ".join(self.names)
        return f"{self.reader}({values})" if self.reader else values

    def read_split(self, split: str) -> str:
        """The samples and targets of a split, as an expression."""
        star = "*" if len(self.names) > 1 else ""
        return f"{self.reader}({star}{self.listed(split)})" if self.reader else self.listed(split)
