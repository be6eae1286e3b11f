"""Arithmetic in configs against Python's own."""

from __future__ import annotations

import contextlib
import re
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from cnnkit.format.expressions import check_expression, evaluate, is_expression

VALUES = {"filters": 24, "n": 3, "rate": 0.3, "channels": 7, "classes": 10}

NUMBERS = st.integers(0, 99).map(str) | st.decimals(0, 9, places=2).map(str)
ATOMS = NUMBERS | st.sampled_from(["$filters", "$n", "$rate", "$channels", "classes"])


def combined(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    space = st.sampled_from(["", " "])
    binary = st.tuples(children, space, st.sampled_from(["+", "-", "*", "/", "//"]), space, children).map("".join)
    several = st.lists(children, min_size=1, max_size=3).map(", ".join)
    called = st.tuples(st.sampled_from(["min", "max"]), several).map(lambda call: f"{call[0]}({call[1]})")
    return binary | called | children.map("({})".format) | children.map("-({})".format)


EXPRESSIONS = st.recursive(ATOMS, combined, max_leaves=8).filter(lambda text: len(text) < 150)


def python_value(text: str) -> Fraction:
    """The same by Python's evaluation of exact decimals, whose grammar the names are put into."""
    for name, value in VALUES.items():
        text = text.replace(f"${name}" if name != "classes" else name, str(value))
    exact = re.sub(r"[0-9.]+", lambda number: f"Fraction('{number[0]}')", text.replace(" ", ""))

    def least(*numbers: Fraction) -> Fraction:
        return sorted(numbers)[0]

    def largest(*numbers: Fraction) -> Fraction:
        return sorted(numbers)[-1]

    return Fraction(eval(exact, {"Fraction": Fraction, "min": least, "max": largest}))


@settings(max_examples=400, deadline=None, derandomize=True, database=None)
@given(EXPRESSIONS)
def test_values_are_those_of_python(text: str) -> None:
    check_expression(text, frozenset(VALUES))
    try:
        expected = python_value(text)
    except ZeroDivisionError:
        with pytest.raises(PydanticCustomError, match="divides by zero"):
            evaluate(text, VALUES)
        return
    if abs(expected) < 2**40:
        found = evaluate(text, VALUES)
        assert found == float(expected)
        assert isinstance(found, int) == (expected.denominator == 1)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$rate / 2", 0.15),  # 0.3 in binary, halved twice and added, is not 0.15
        ("0.2 * 3 / 6", 0.1),
        ("0.1 + 0.2", 0.3),
        ("$filters / 2", 12),
        ("$n / 2", 1.5),
        ("7.5 // 2", 3),
        ("1e-3 * 5", 0.005),
        ("-$rate", -0.3),
    ],
)
def test_decimals_are_exact_and_whole_results_are_whole(text: str, expected: float) -> None:
    assert is_expression(text)
    found = evaluate(text, VALUES)
    assert found == expected
    assert type(found) is type(expected)


def test_a_name_alone_stands_for_any_value() -> None:
    assert evaluate("$act", {"act": "relu", "classes": 2}) == "relu"
    assert evaluate("$size", {"size": [3, 5], "classes": 2}) == [3, 5]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("3 +", "its end"),
        ("3 + * 4", "`*` at character 5"),
        ("filters * 2 + $n", "a parameter is written with a `$`"),
        ("(3 + $n", "a closing parenthesis"),
        ("$n $n", "`$n` at character 4"),
        ("$n % 2", "the remainder of a and b is `a - a // b * b`"),
        ("1e999 + $n", "got `e`"),
        ("$m * 2", "no parameter `$m`"),
        ("__import__ + $n", "got `__import__`"),
        ("$n ** 2", "got `**` at character 4; write the power as a product"),
        ("1" * 30 + " + 1", "too large"),
        ("1 + " * 80 + "1", "at most 200 characters"),
        ("999999999999999999 * 999999999999999999", "too large"),
        # What Python knows besides.
        ("+$n", "got `+` at character 1"),
        ("$n($n)", "got `(` at character 3"),
        ("3 * ()", "got `)` at character 6"),
        ("(3, $n)", "a closing parenthesis in `(3, $n)`, got `,` at character 3"),
        ("$n if $n else 2", "got `if` at character 4"),
        ("lambda: $n", "got `lambda` at character 1"),
        ("$n.real", "got `.` at character 3"),
        ("$n # 2", "got `#` at character 4"),
        ("1_0 + $n", "got `_` at character 2"),
        ("0x10 + $n", "got `x` at character 2"),
        ("$n == 3", "got `=` at character 4"),
        ("$n or 3", "got `or` at character 4"),
        ("(($n + 2)", "a closing parenthesis in `(($n + 2)`, got its end"),
        ("($n 2)", "a closing parenthesis in `($n 2)`, got `2` at character 5"),
        ("$n + 2)", "got `)` at character 7"),
        ("round($n)", "got `round` at character 1; the functions are `min` and `max`"),
        ("max + $n", "expected an opening parenthesis in `max + $n`, got `+` at character 5"),
        ("max()", "got `)` at character 5"),
        ("max($n,)", "got `)` at character 8"),
        ("max($n, 3", "expected a closing parenthesis in `max($n, 3`, got its end; inside of { } and [ ], quote"),
        ("max(max, 3)", "expected an opening parenthesis in `max(max, 3)`, got `,` at character 8"),
        ("max($n)(3)", "got `(` at character 8"),
        ("($n + 1)(3)", "got `(` at character 9"),
        ("min(*$n)", "got `*` at character 5"),
        ("$index + 1", "`$index` stands in the layers of a `Repeat`, but no `Repeat` is around this"),
        ("ä + $n", "got `ä` at character 1"),
        ("äö + $n * *", "got `ä` at character 1"),
    ],
)
def test_what_is_no_arithmetic_is_refused(text: str, words: str) -> None:
    with pytest.raises(PydanticCustomError) as caught:
        evaluate(text, VALUES)
    assert words in caught.value.message()


@pytest.mark.parametrize(
    "text", ["(" * 99 + "1" + ")" * 99, "-" * 198 + "1", "1" + "*1" * 99, "1" + "-(1" * 49 + ")" * 49]
)
def test_nesting_ends_with_the_length(text: str) -> None:
    assert evaluate(text, VALUES) == eval(text)


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.text("$n(3.)*/+- eE_=#'\n\\[:,é", max_size=30))
def test_any_text_is_a_number_or_refused(text: str) -> None:
    with contextlib.suppress(PydanticCustomError):
        assert isinstance(evaluate(text, VALUES), int | float)


def test_a_name_in_arithmetic_is_a_number() -> None:
    with pytest.raises(PydanticCustomError) as caught:
        evaluate("$act * 2", {"act": "relu", "classes": 2})
    assert 'needs a number for `$act`, got "relu"' in caught.value.message()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("same", False), ("$x", True), ("classes * 2", True), ("subclasses", False), ("3 * 2", True), ("-1", False),
     ("1 / 3", True), ("max(2, 3)", True), ("maximum", False), ("1e-3", False),
     ("1.5", False), ("2", False), ("", False)],
)  # fmt: skip
def test_which_strings_are_expressions(text: str, expected: bool) -> None:
    assert is_expression(text) is expected


def test_in_a_text_only_a_dollar_makes_an_expression() -> None:
    assert not is_expression("3 - 2", in_text=True)
    assert is_expression("$name", in_text=True)
