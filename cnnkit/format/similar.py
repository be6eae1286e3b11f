"""Which known name somebody may have meant by another one."""

import re
from collections.abc import Iterable
from functools import lru_cache


@lru_cache(maxsize=4096)
def fold(name: str) -> str:
    """A name without what is easily written otherwise: capitals, `_` and `-`."""
    return name.lower().replace("_", "").replace("-", "")


#: Longer than any name of Keras'; comparing texts takes the square of their length.
_LONGEST_NAME = 100


def nearest(name: object, names: Iterable[str]) -> str | None:
    """The name that the user most likely meant, or None if nothing is close; of equals, one that ends in `2D`."""
    return _nearest(name, tuple(names)) if isinstance(name, str) and len(name) <= _LONGEST_NAME else None


@lru_cache(maxsize=1024)
def _nearest(name: str, names: tuple[str, ...]) -> str | None:
    by_fold = {fold(candidate): candidate for candidate in names}
    folded = fold(name)
    if folded in by_fold:
        return by_fold[folded]
    import difflib

    def closeness(candidate: str) -> tuple[float, bool, str]:
        # `Conv` is `Conv2D` sooner than `Conv3D`.
        return difflib.SequenceMatcher(None, candidate, folded).ratio(), candidate.endswith("2d"), candidate

    candidates = [one for one in by_fold if _may_mean(name, by_fold[one])]
    return by_fold[max(candidates, key=closeness)] if candidates else None


_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+[A-Za-z]?")


def _may_mean(name: str, known: str) -> bool:
    """Whether a name is a misspelling, or the beginning, of a known one.

    It is not where a word of it is another one, such as that of `Conv1D` in `Conv2D` or of `XavierUniform` in
    `HeUniform`, or where it lacks the first word: then it may mean something else.
    """
    folded, known_fold = fold(name), fold(known)
    if len(folded) > 3 and len(folded) == len(known_fold) and sorted(folded) == sorted(known_fold):
        return True
    if _are_similar(folded, known_fold, 0.9):
        # `mixed_bfloat` lacks the digits of `mixed_bfloat16`, `mixed_bfloat32` has others.
        return _digits(folded) == _digits(known_fold) or known_fold.startswith(folded)
    words, known_words = _words(name), _words(known)
    if known_words[:1] == ["Random"] and words[:1] != ["Random"]:
        known_words = known_words[1:]
    return 0 < len(words) <= len(known_words) and all(map(_same_word, words, known_words))


@lru_cache(maxsize=4096)
def _words(name: str) -> list[str]:
    return _WORD.findall(name)


@lru_cache(maxsize=4096)
def _digits(text: str) -> str:
    return "".join(filter(str.isdigit, text))


@lru_cache(maxsize=4096)
def _same_word(word: str, known: str) -> bool:
    """Whether a word is another one misspelt, shortened or lengthened."""
    word, known = word.lower(), known.lower()
    if min(len(word), len(known)) >= 3 and (word.startswith(known) or known.startswith(word)):
        return True
    if sorted(word) == sorted(known):
        return True
    if _digits(word):
        # The letter O for a zero.
        word = word.replace("o", "0")
    return _digits(word) == _digits(known) and _are_similar(word, known, 0.74)


def _are_similar(text: str, known: str, least: float) -> bool:
    """Whether difflib's ratio of two texts, 0..1, is at least `least`."""
    # It cannot be larger than by the letters that both could have, then by those that both have, whatever their order;
    # that is ten times as quick to tell.
    bound = least * (len(text) + len(known))
    if 2 * min(len(text), len(known)) < bound:
        return False
    common = sum(min(text.count(letter), known.count(letter)) for letter in set(text))
    if 2 * common < bound:
        return False
    import difflib

    return difflib.SequenceMatcher(None, text, known).ratio() >= least


def suggestion(name: object, names: Iterable[str]) -> str:
    """The end of an `unknown ...` message: the nearest name, or all of them where they are few."""
    names = sorted(names)
    close = nearest(name, names)
    if close is not None:
        return f"; did you mean `{close}`?"
    if len(names) <= 40:
        return ("; expected one of " if len(names) > 1 else "; expected ") + ", ".join(f"`{known}`" for known in names)
    return ""
