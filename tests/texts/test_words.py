"""Words and vocabularies, against scikit-learn's."""

from __future__ import annotations

from collections import Counter

import pytest
from sklearn.feature_extraction.text import CountVectorizer

from cnnkit.texts.words import FIRST, PADDING, UNKNOWN, UNKNOWN_SHOWN, Vocabulary, words_in

TEXTS = (
    "A wonderful film, with wit and warmth.",
    "Dull, dull, dull - and don't expect the film to end.",
    "The film's 3rd act is a mess; the 1st isn't.",
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's a FILM - don't miss it!", ["it's", "a", "film", "-", "don't", "miss", "it", "!"]),
        ("rock'n'roll 'quoted'", ["rock'n'roll", "'", "quoted", "'"]),
        ("well-acted, 3D_film", ["well", "-", "acted", ",", "3d", "_", "film"]),
        ("It’s", ["it's"]),
        ("cafe\u0301", ["café"]),
        ("Ärger über 日本 film", ["ärger", "über", "日本", "film"]),
        (" \t\n", []),
    ],
)
def test_a_text_is_words_and_single_characters(text: str, words: list[str]) -> None:
    assert words_in(text) == words


def test_a_vocabulary_has_the_most_frequent_words_first() -> None:
    """As scikit-learn counts them with the same pattern."""
    vectorizer = CountVectorizer(token_pattern=r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]|_", lowercase=True)
    counts = vectorizer.fit_transform(TEXTS).sum(axis=0).tolist()[0]
    expected = dict(zip(vectorizer.get_feature_names_out(), counts, strict=True))
    vocabulary = Vocabulary.of(TEXTS, 1000)
    assert Counter(expected) == Counter(word for text in TEXTS for word in words_in(text))
    assert list(vocabulary.words) == sorted(expected, key=lambda word: (-expected[word], word))
    assert Vocabulary.of(TEXTS, 5).words == vocabulary.words[:3]


def test_a_text_is_the_numbers_of_its_first_words_and_padding() -> None:
    vocabulary = Vocabulary(("the", "film", "!"))
    assert vocabulary.numbers("The strange film!", 6) == [FIRST, UNKNOWN, FIRST + 1, FIRST + 2, PADDING, PADDING]
    assert vocabulary.numbers("The strange film!", 2) == [FIRST, UNKNOWN]
    assert vocabulary.numbers("", 2) == [PADDING, PADDING]
    assert vocabulary.shown([2, 1, 3, 0, 0]) == ["the", UNKNOWN_SHOWN, "film"]
