"""A text's words, and the numbers that a vocabulary gives them."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

#: What fills the rest of a text that is shorter than the network's input.
PADDING = 0

#: A word that is not in the vocabulary.
UNKNOWN = 1

#: The number of the first word.
FIRST = 2

#: How an unknown word is shown: a visible character that no vocabulary has, so that it is read as one again.
UNKNOWN_SHOWN = "▯"

#: Letters and digits of any script, with apostrophes inside; or any other character that is visible, by itself.
PATTERN = r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]|_"
_WORD = re.compile(PATTERN)

#: Apostrophes that word processors write in place of the plain one.
_APOSTROPHES = str.maketrans({"’": "'", "ʼ": "'", "＇": "'"})


def normalised(text: str) -> str:
    """The text in which `words_in` finds the words: composed characters (NFC), plain apostrophes."""
    return unicodedata.normalize("NFC", text).translate(_APOSTROPHES)


def places_of_words(text: str) -> list[tuple[int, int]]:
    """Where each word begins and ends in a `normalised` text."""
    return [match.span() for match in _WORD.finditer(text)]


def words_in(text: str) -> list[str]:
    """The words of a text in lower case, in their order.

    A word is a run of letters and digits of any script, which may have apostrophes inside (`don't`); each other visible
    character (`!`, `,`, `-`) is a word by itself.

    Example:
        >>> words_in("It's a film - don't miss it!")
        ["it's", 'a', 'film', '-', "don't", 'miss', 'it', '!']
    """
    return [word.lower() for word in _WORD.findall(normalised(text))]


@dataclass(frozen=True)
class Vocabulary:
    """The words that a network knows, and their numbers.

    Attributes:
        words: In the order of their numbers, from `FIRST` on: the most frequent first.
    """

    words: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str], size: int) -> Vocabulary:
        """The most frequent words of some texts; of equally frequent ones, those first in the order of characters.

        Args:
            size: How many numbers there are, padding and unknown words among them.
        """
        counts = Counter(word for text in texts for word in words_in(text) if word != UNKNOWN_SHOWN)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls(tuple(word for word, _ in ranked[: size - FIRST]))

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {word: number for number, word in enumerate(self.words, FIRST)}

    def __contains__(self, word: object) -> bool:
        return word in self._numbers

    def numbers(self, text: str, length: int) -> list[int]:
        """The numbers of a text's first words, with padding behind them: as many as the network takes.

        Args:
            length: How many.
        """
        found = [self._numbers.get(word, UNKNOWN) for word in words_in(text)[:length]]
        return found + [PADDING] * (length - len(found))

    def shown(self, numbers: Iterable[int]) -> list[str]:
        """The words of some numbers, without padding."""
        return [self.word(number) for number in numbers if number != PADDING]

    def word(self, number: int) -> str:
        """What stands for a number other than that of padding."""
        known = FIRST <= number < FIRST + len(self.words)
        return self.words[number - FIRST] if known else UNKNOWN_SHOWN


def as_lines(words: Sequence[str]) -> str:
    """A vocabulary's words as a file has them, one in a line; no word holds a line break."""
    return "".join(f"{word}\n" for word in words)
