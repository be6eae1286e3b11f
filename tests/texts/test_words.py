"""Words and vocabularies, against scikit-learn's."""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.feature_extraction.text import CountVectorizer

from cnnkit.config.sample import TextSample
from cnnkit.export.inputs import given_to
from cnnkit.runs.interface import Interface
from cnnkit.texts.words import FIRST, PADDING, UNKNOWN, UNKNOWN_SHOWN, Vocabulary, has_words, words_in

#: Of the category Cf, but shown: signs before Arabic, Syriac and Kaithi numbers, notes between lines, hieroglyphs.
VISIBLE = {
    *range(0x600, 0x606),
    *(0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD),
    *range(0xFFF9, 0xFFFC),
    *range(0x13430, 0x13440),
}

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
        (
            "\u0939\u093f\u0928\u094d\u0926\u0940 \u092b\u093c\u093f\u0932\u094d\u092e!",
            ["हिन्दी", "\u092b\u093c\u093f\u0932\u094d\u092e", "!"],
        ),
        ("\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22\u200b\u0e14\u0e35", ["ภาษาไทย", "ดี"]),
        ("\u05e9\u05c1\u05b8\u05dc\u05d5\u05b9\u05dd", ["\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd"]),
        ("Zusammen\u00adarbeit\u200e.", ["zusammenarbeit", "."]),
        ("\u2764\ufe0f", ["\u2764"]),
        ("\u00ad\u200b\u2060", []),
    ],
)
def test_a_text_is_words_and_single_characters(text: str, words: list[str]) -> None:
    assert words_in(text) == words


def test_every_mark_belongs_to_the_letter_before_it_and_no_format_character_is_a_word() -> None:
    """As Unicode's general categories say, of all characters."""
    for number in range(0x110000):
        character = chr(number)
        category = unicodedata.category(character)
        if category.startswith("M"):
            assert len(words_in(f"k{character}k")) == 1, hex(number)
        # Some signs of scripts and notations are of that category, and visible.
        elif category == "Cf" and number not in VISIBLE:
            assert words_in(character) == [], hex(number)


@given(st.text(st.characters(max_codepoint=0x7F)))
def test_plain_text_is_what_one_expression_finds(text: str) -> None:
    assert words_in(text) == [word.lower() for word in re.findall(r"[^\W_]+(?:'[^\W_]+)*|[^\w\s]|_", text)]
    assert has_words(text) == bool(words_in(text))


def test_the_script_of_an_export_numbers_texts_as_the_vocabulary_does(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["हिन्दी फ़िल्म: हिन्दी!", "Zusammen\u00adarbeit isn’t a\u200bfilm", "cafe\u0301 ❤\ufe0f", "no"]
    vocabulary = Vocabulary.of(texts, 100)
    given_texts = given_to(Interface((6,), ("a", "b"), "softmax", sample=TextSample(100, vocabulary)))
    monkeypatch.setattr(sys, "argv", ["script.py", *texts])
    names: dict[str, Any] = {
        **{"np": np, "sys": sys, "re": re, "unicodedata": unicodedata},
        "facts": {"environment": {"data": {"words": vocabulary.words}}},
    }
    exec(f"{given_texts.functions}\n{given_texts.reading}", names)
    assert names["images"].tolist() == [vocabulary.numbers(text, 6) for text in texts]
    assert UNKNOWN not in names["images"]


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
