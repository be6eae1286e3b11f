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
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]|_")

#: What may be a mark, such as a vowel sign of Hindi, which belongs to the letter before it; for Python it is no letter.
_SIGN = re.compile(r"[^\w\s\x00-\x7f]")

#: Characters that no text shows (Unicode's Default_Ignorable_Code_Point), such as soft hyphens and joiners.
_INVISIBLE = (
    r"\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200c-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    r"\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_HIDDEN = re.compile(f"[{_INVISIBLE}]")

#: The one of them that stands between words.
_INVISIBLE_SPACE = "\u200b"

#: What any text with a word has.
_SHOWN = re.compile(rf"[^\s{_INVISIBLE_SPACE}{_INVISIBLE}]")

#: Apostrophes that word processors write in place of the plain one.
_APOSTROPHES = str.maketrans({"’": "'", "ʼ": "'", "＇": "'"})


def normalised(text: str) -> str:
    """The text in which `words_in` finds the words: visible, composed characters (NFC), plain apostrophes."""
    visible = _HIDDEN.sub("", text.replace(_INVISIBLE_SPACE, " "))
    return unicodedata.normalize("NFC", visible).translate(_APOSTROPHES)


def places_of_words(text: str) -> list[tuple[int, int]]:
    """Where each word begins and ends in a `normalised` text."""
    return [match.span() for match in _WORD.finditer(_SIGN.sub(_mark_as_letter, text))]


def _mark_as_letter(sign: re.Match[str]) -> str:
    """One letter for a mark; other characters as they are."""
    return "x" if unicodedata.category(sign[0]).startswith("M") else sign[0]


def words_in(text: str) -> list[str]:
    """The words of a text in lower case, in their order.

    A word is a run of letters, their marks, and digits of any script, which may have apostrophes inside (`don't`); each
    other visible character (`!`, `,`, `-`) is a word by itself.

    Example:
        >>> words_in("It's a film - don't miss it!")
        ["it's", 'a', 'film', '-', "don't", 'miss', 'it', '!']
    """
    text = normalised(text)
    if text.isascii():
        # It has no marks, and takes half the time.
        return [word.lower() for word in _WORD.findall(text)]
    return [text[start:end].lower() for start, end in places_of_words(text)]


def has_words(text: str) -> bool:
    """Whether a text has any word, without looking for all."""
    return _SHOWN.search(text) is not None


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
