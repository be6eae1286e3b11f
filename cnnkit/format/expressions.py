"""Arithmetic in a config: numbers, `$name`, `classes`, `+ - * / //` and parentheses, by a small grammar.

It is exact: numbers are taken as they are written in decimals, and only the result becomes a binary one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from cnnkit.format.base import describe, invalid, is_number, shorten, suggestion

#: Expressions nested deeper, or longer, than any config needs.
_LONGEST = 200

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,2}\b)?)"
    r"|\$(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<word>[A-Za-z_]+)|(?P<sign>//|\*\*|.))"
)
#: A name with its `$`.
NAME = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
#: What holds no name and yet is arithmetic: digits and at least one operator.
_ARITHMETIC = re.compile(r"[0-9.()+\-*/\s]*[0-9)]\s*[-+*/][0-9.()+\-*/\s]*")

_EXPONENT = re.compile(r"(?<=[0-9.])[eE][-+]?[0-9]{1,2}\b")

#: The names that stand for the sizes of what arrives at a layer; height and width where that is an image.
CHANNELS = "channels"
HEIGHT = "height"
WIDTH = "width"
SIZES = frozenset({CHANNELS, HEIGHT, WIDTH})
CLASSES = "classes"

_OPERANDS = "a number, `$name`, `classes`, `+ - * / //` or parentheses"
#: What to write for signs that other languages have.
_SIGN_HINTS = {
    "**": "write the power as a product",
    "%": "the remainder of a and b is `a - a // b * b`",
    "^": "write the power as a product",
    ":": "divide with `/`, or with `//` to round down",
}


def is_expression(text: str, *, in_text: bool = False) -> bool:
    """Whether a string is arithmetic, or a name to be replaced.

    Args:
        in_text: Whether any text is valid where it stands; then only a `$` makes it one.
    """
    if "$" in text:
        return True
    if in_text:
        return False
    return bool(_ARITHMETIC.fullmatch(_EXPONENT.sub("", text))) or re.search(rf"\b{CLASSES}\b", text) is not None


def is_whole_name(text: str) -> bool:
    """Whether a string is `$name` and nothing else."""
    return NAME.fullmatch(text) is not None


def check_expression(text: str, known: frozenset[str]) -> None:
    """Looks at an expression's grammar and names.

    Raises:
        PydanticCustomError: if it cannot be evaluated, whatever its names stand for.
    """
    if NAME.fullmatch(text):
        _check_name(text[1:], known)
        return
    _Reader(text, dict.fromkeys(known, 1) | {CLASSES: 1}, check=True).read()


def evaluate(text: str, values: Mapping[str, Any]) -> Any:
    """What an expression stands for: a number, or, for `$name` alone, whatever the name stands for.

    A number without a fraction is a whole one, however it came about.

    Args:
        values: By name, without `$`; `classes` among them.

    Raises:
        PydanticCustomError: if it cannot be evaluated.
    """
    whole = NAME.fullmatch(text)
    if whole is not None:
        _check_name(whole[1], frozenset(values))
        return values[whole[1]]
    value = _Reader(text, values).read()
    return int(value) if value.denominator == 1 else float(value)


def _check_name(name: str, known: frozenset[str]) -> None:
    if name not in known and name in SIZES:
        raise invalid(f"`${name}` is the {name} of an image, and what arrives here is none")
    if name not in known:
        names = [f"${one}" for one in known - {CLASSES}]
        raise invalid(f"there is no parameter `${name}` here" + suggestion(f"${name}", names))


class _Reader:
    """Recursive descent: sum -> product -> atom."""

    def __init__(self, text: str, values: Mapping[str, Any], check: bool = False) -> None:
        if len(text) > _LONGEST:
            raise invalid(f"expected an expression of at most {_LONGEST} characters, got {len(text)}")
        self.text = text
        self.values = values
        self.check = check
        self.tokens = list(_TOKEN.finditer(text.rstrip()))
        self.at = 0

    def read(self) -> Fraction:
        value = self.sum()
        if self.at < len(self.tokens):
            raise self.unexpected()
        return value

    def sum(self) -> Fraction:
        value = self.product()
        while (sign := self.sign("+", "-")) is not None:
            other = self.product()
            value = value + other if sign == "+" else value - other
        return value

    def product(self) -> Fraction:
        value = self.atom()
        while (sign := self.sign("*", "/", "//")) is not None:
            other = self.atom()
            if sign == "*":
                value *= other
            elif other == 0:
                if self.check:
                    continue
                raise invalid(f"`{shorten(self.text)}` divides by zero")
            else:
                value = value / other if sign == "/" else Fraction(value // other)
            if abs(value) >= 2**63:
                raise self.too_large()
        return value

    def atom(self) -> Fraction:
        if self.sign("-") is not None:
            return -self.atom()
        if self.sign("(") is not None:
            value = self.sum()
            if self.sign(")") is None:
                raise self.unexpected("a closing parenthesis")
            return value
        if self.at == len(self.tokens):
            raise self.unexpected()
        token = self.tokens[self.at]
        self.at += 1
        if token["number"] is not None:
            number = Fraction(token["number"])
            if abs(number) >= 2**63:
                raise self.too_large()
            return number
        if token["name"] is not None:
            _check_name(token["name"], frozenset(self.values))
            return self.number(f"${token['name']}", self.values[token["name"]])
        if token["word"] == CLASSES:
            return self.number(CLASSES, self.values[CLASSES])
        self.at -= 1
        raise self.unexpected()

    def number(self, name: str, value: Any) -> Fraction:
        if not is_number(value):
            raise invalid(f"`{shorten(self.text)}` needs a number for `{name}`, got {describe(value)}")
        return Fraction(repr(value))

    def too_large(self) -> Exception:
        return invalid(f"`{shorten(self.text)}` is too large; numbers reach 2^63 - 1")

    def sign(self, *wanted: str) -> str | None:
        found = self.tokens[self.at]["sign"] if self.at < len(self.tokens) else None
        if found not in wanted:
            return None
        self.at += 1
        return found

    def unexpected(self, wanted: str = _OPERANDS) -> Exception:
        if self.at < len(self.tokens):
            token = self.tokens[self.at]
            received = f"`{token[0].strip()}` at character {token.end() - len(token[0].strip()) + 1}"
            hint = "; a parameter is written with a `$`" if token["word"] else ""
            hint = f"; {_SIGN_HINTS[token['sign']]}" if token["sign"] in _SIGN_HINTS else hint
        else:
            received, hint = "its end", ""
        return invalid(f"expected {wanted} in `{shorten(self.text)}`, got {received}{hint}")
