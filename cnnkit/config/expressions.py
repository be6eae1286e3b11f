"""Arithmetic in a config: whole numbers, `$name`, `classes`, `+ - * //` and parentheses, by a small grammar."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cnnkit.config.base import describe, invalid, is_whole, shorten, suggestion

#: Expressions nested deeper, or longer, than any config needs.
_LONGEST = 200

_TOKEN = re.compile(r"\s*(?:(?P<number>[0-9]+)|\$(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<word>[A-Za-z_]+)|(?P<sign>//|.))")
#: A name with its `$`.
NAME = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
#: What holds no name and yet is arithmetic: digits and at least one operator.
_ARITHMETIC = re.compile(r"[0-9()+\-*/\s]*[0-9)]\s*(?:\+|-|\*|//)[0-9()+\-*/\s]*")

#: The name that stands for the channels of what arrives at a layer.
CHANNELS = "channels"
CLASSES = "classes"


def is_expression(text: str, *, in_text: bool = False) -> bool:
    """Whether a string is arithmetic, or a name to be replaced.

    Args:
        in_text: Whether any text is valid where it stands; then only a `$` makes it one.
    """
    if "$" in text:
        return True
    if in_text:
        return False
    return bool(_ARITHMETIC.fullmatch(text)) or re.search(rf"\b{CLASSES}\b", text) is not None


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
    """What an expression stands for: a whole number, or, for `$name` alone, whatever the name stands for.

    Args:
        values: By name, without `$`; `classes` among them.

    Raises:
        PydanticCustomError: if it cannot be evaluated.
    """
    whole = NAME.fullmatch(text)
    if whole is not None:
        _check_name(whole[1], frozenset(values))
        return values[whole[1]]
    return _Reader(text, values).read()


def _check_name(name: str, known: frozenset[str]) -> None:
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

    def read(self) -> int:
        value = self.sum()
        if self.at < len(self.tokens):
            raise self.unexpected()
        return value

    def sum(self) -> int:
        value = self.product()
        while (sign := self.sign("+", "-")) is not None:
            other = self.product()
            value = value + other if sign == "+" else value - other
        return value

    def product(self) -> int:
        value = self.atom()
        while (sign := self.sign("*", "//")) is not None:
            other = self.atom()
            if sign == "*":
                value *= other
            elif other == 0:
                if self.check:
                    continue
                raise invalid(f"`{shorten(self.text)}` divides by zero")
            else:
                value //= other
            if abs(value) >= 2**63:
                raise invalid(f"`{shorten(self.text)}` is too large; whole numbers reach 2^63 - 1")
        return value

    def atom(self) -> int:
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
            if len(token["number"]) > 18:
                raise invalid(f"`{shorten(self.text)}` is too large; whole numbers reach 2^63 - 1")
            return int(token["number"])
        if token["name"] is not None:
            _check_name(token["name"], frozenset(self.values))
            value = self.values[token["name"]]
            if not is_whole(value):
                raise invalid(
                    f"`{shorten(self.text)}` needs a whole number for `${token['name']}`, got {describe(value)}"
                )
            return int(value)
        if token["word"] == CLASSES:
            return int(self.values[CLASSES])
        self.at -= 1
        raise self.unexpected()

    def sign(self, *wanted: str) -> str | None:
        found = self.tokens[self.at]["sign"] if self.at < len(self.tokens) else None
        if found not in wanted:
            return None
        self.at += 1
        return found

    def unexpected(self, wanted: str = "a whole number, `$name`, `classes`, `+ - * //` or parentheses") -> Exception:
        if self.at < len(self.tokens):
            token = self.tokens[self.at]
            received = f"`{token[0].strip()}` at character {token.end() - len(token[0].strip()) + 1}"
            hint = "; a parameter is written with a `$`" if token["word"] else ""
            hint = "; division is written `//`" if token["sign"] == "/" else hint
        else:
            received, hint = "its end", ""
        return invalid(f"expected {wanted} in `{shorten(self.text)}`, got {received}{hint}")
