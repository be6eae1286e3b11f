"""Arithmetic in a config: numbers, `$name`, `classes`, `+ - * / //`, `min`, `max` and parentheses.

Python's parser reads it, from a text in which every operand is an identifier, and a few kinds of nodes are allowed.
It is exact: numbers are taken as they are written in decimals, and only the result becomes a binary one.
"""

from __future__ import annotations

import ast
import itertools
import re
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from cnnkit.format.base import describe, invalid, shorten
from cnnkit.format.fields import DATA_NAMES, is_number
from cnnkit.format.similar import suggestion

#: Characters; no config needs more, and Python's parser takes any nesting that they have room for.
_LONGEST = 200

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]{1,2}\b)?)"
    r"|\$(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<word>[A-Za-z_]+)|(?P<sign>//|\*\*|.))"
)
#: A name with its `$`.
NAME = re.compile(r"\$([A-Za-z_][A-Za-z0-9_]*)")
#: What holds no name and yet is arithmetic: digits and at least one operator.
_ARITHMETIC = re.compile(r"[0-9.()+\-*/\s]*[0-9)]\s*[-+*/][0-9.()+\-*/\s]*")

#: A name for a number that the data set gives.
_DATA_NAME = re.compile(rf"\b({'|'.join(DATA_NAMES)})\b")

_EXPONENT = re.compile(r"(?<=[0-9.])[eE][-+]?[0-9]{1,2}\b")

#: The names that stand for the sizes of what arrives at a layer; height and width where that is an image, and length
#: where it is a signal, or a text behind its `Embedding`.
CHANNELS = "channels"
HEIGHT = "height"
WIDTH = "width"
LENGTH = "length"
SIZES = frozenset({CHANNELS, HEIGHT, WIDTH, LENGTH})
#: In the layers of a `Repeat`: which repetition it is, from 0, and how many there are.
INDEX = "index"
TIMES = "times"
REPETITION = frozenset({INDEX, TIMES})

#: Functions of one number or more.
_FUNCTIONS: Mapping[str, Callable[[Iterable[Fraction]], Fraction]] = {"min": min, "max": max}
_CALL = re.compile(rf"\b({'|'.join(_FUNCTIONS)})\s*\(")

#: What an expression consists of besides its operands, for which a token has no sign; and what Python makes of it.
_SIGNS = (None, "+", "-", "*", "/", "//", "(", ")", ",")
_NODES = (
    *(ast.BinOp, ast.UnaryOp, ast.Name, ast.Call, ast.Load),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.USub),
)

_OPERANDS = "a number, `$name`, `classes`, `+ - * / //`, `min`, `max` or parentheses"
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
    if _DATA_NAME.search(text) is not None or _CALL.search(text) is not None:
        return True
    return bool(_ARITHMETIC.fullmatch(_EXPONENT.sub("", text)))


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
    _value(text, dict.fromkeys((*known, *DATA_NAMES), 1), check=True)


def evaluate(text: str, values: Mapping[str, Any]) -> Any:
    """What an expression stands for: a number, or, for `$name` alone, whatever the name stands for.

    A number without a fraction is a whole one, however it was computed.

    Example:
        >>> evaluate("$filters * 1.5 // 2", {"filters": 5})
        3
        >>> evaluate("0.1 + $rate", {"rate": 0.2})
        0.3

    Args:
        values: By name, without `$`; `classes` among them.

    Raises:
        PydanticCustomError: if it cannot be evaluated.
    """
    whole = NAME.fullmatch(text)
    if whole is not None:
        _check_name(whole[1], frozenset(values))
        return values[whole[1]]
    value = _value(text, values)
    return int(value) if value.denominator == 1 else float(value)


def _check_name(name: str, known: frozenset[str]) -> None:
    if name not in known and name in SIZES:
        thing = "a signal" if name == LENGTH else "an image"
        raise invalid(f"`${name}` is the {name} of {thing}, but no {thing.split()[-1]} arrives here")
    if name not in known and name in REPETITION:
        raise invalid(f"`${name}` stands in the layers of a `Repeat`, but no `Repeat` is around this")
    if name not in known:
        names = [f"${one}" for one in known - {*DATA_NAMES}]
        raise invalid(f"there is no parameter `${name}` here" + suggestion(f"${name}", names))


def _tree(text: str) -> tuple[ast.expr, Sequence[re.Match[str]]]:
    """An expression as Python reads it, with the identifier `_i` for each token i that is an operand; and the tokens.

    Functions keep their names.

    Raises:
        PydanticCustomError: for what is too long, or no arithmetic.
    """
    if len(text) > _LONGEST:
        raise invalid(f"expected an expression of at most {_LONGEST} characters, got {len(text)}")
    tokens = list(_TOKEN.finditer(text.rstrip()))
    tree = _parsed(tokens)
    if tree is None:
        raise _unexpected(text, tokens)
    return tree, tokens


def _parsed(tokens: Sequence[re.Match[str]], end: str = "") -> ast.expr | None:
    """The tree of tokens and of what is added to their end; None if that is no arithmetic."""
    words = (None, *DATA_NAMES, *_FUNCTIONS)
    if any(token["word"] not in words or token["sign"] not in _SIGNS for token in tokens):
        return None
    written = [token["sign"] or (token["word"] if _is_function(token) else f"_{at}") for at, token in enumerate(tokens)]
    try:
        tree = ast.parse(" ".join([*written, end]), mode="eval").body
    except SyntaxError:
        return None
    nodes = list(ast.walk(tree))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    called = [call.func for call in calls]
    names = [node for node in nodes if isinstance(node, ast.Name)]
    if not all(isinstance(node, _NODES) for node in nodes) or not all(call.args for call in calls):
        return None
    # A function is called, and nothing else is.
    is_proper = all((name.id in _FUNCTIONS) == (name in called) for name in names) and all(
        one in names for one in called
    )
    # Python takes a comma after the last argument.
    ends_with_comma = any(pair == (",", ")") for pair in itertools.pairwise(written))
    return tree if is_proper and not ends_with_comma else None


def _unexpected(text: str, tokens: Sequence[re.Match[str]]) -> Exception:
    """The error for the first token with which no expression can go on."""

    def is_wrong(count: int) -> bool:
        return _parsed(tokens[:count], _completion(tokens[:count])) is None

    # What is wrong stays wrong, whatever follows.
    at = bisect_left(range(1, len(tokens) + 1), True, key=is_wrong)
    before = tokens[:at]
    wanted = _OPERANDS
    if before and _is_function(before[-1]):
        wanted = "an opening parenthesis"
    elif _open(before) and not _needs_operand(before):
        wanted = "a closing parenthesis"
    received, hint = "its end", ""
    if at < len(tokens):
        token = tokens[at]
        received = f"`{token[0].strip()}` at character {token.end() - len(token[0].strip()) + 1}"
        is_called = at + 1 < len(tokens) and tokens[at + 1]["sign"] == "("
        if token["word"]:
            hint = "; the functions are `min` and `max`" if is_called else "; a parameter is written with a `$`"
        hint = f"; {_SIGN_HINTS[token['sign']]}" if token["sign"] in _SIGN_HINTS else hint
    elif _open(tokens) and any(_is_function(token) for token in tokens):
        hint = "; inside of { } and [ ], quote an expression with a comma"
    return invalid(f"expected {wanted} in `{shorten(text)}`, got {received}{hint}")


def _is_function(token: re.Match[str]) -> bool:
    return token["word"] in _FUNCTIONS


def _completion(tokens: Sequence[re.Match[str]]) -> str:
    """What makes an expression of the tokens that one begins with."""
    operand = "(_)" if tokens and _is_function(tokens[-1]) else "_" if _needs_operand(tokens) else ""
    return operand + " )" * _open(tokens)


def _needs_operand(tokens: Sequence[re.Match[str]]) -> bool:
    return not tokens or tokens[-1]["sign"] not in (None, ")")


def _open(tokens: Sequence[re.Match[str]]) -> int:
    """How many parentheses are open after tokens."""
    signs = [token["sign"] for token in tokens]
    return signs.count("(") - signs.count(")")


def _value(text: str, values: Mapping[str, Any], check: bool = False) -> Fraction:
    """The value of an expression.

    Args:
        check: Whether the values are not the true ones, so that a division by zero means nothing.
    """
    tree, tokens = _tree(text)

    def value_of(node: ast.expr) -> Fraction:
        if isinstance(node, ast.Name):
            return operand(tokens[int(node.id[1:])])
        if isinstance(node, ast.UnaryOp):
            return -value_of(node.operand)
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name)
            return _FUNCTIONS[node.func.id](value_of(argument) for argument in node.args)
        assert isinstance(node, ast.BinOp)
        left, right = value_of(node.left), value_of(node.right)
        if isinstance(node.op, ast.Add | ast.Sub):
            return left + right if isinstance(node.op, ast.Add) else left - right
        if isinstance(node.op, ast.Mult):
            return limited(left * right)
        if right == 0:
            if check:
                return left
            raise invalid(f"`{shorten(text)}` divides by zero")
        return limited(left / right if isinstance(node.op, ast.Div) else Fraction(left // right))

    def operand(token: re.Match[str]) -> Fraction:
        if token["number"] is not None:
            return limited(Fraction(token["number"]))
        written = token[0].strip()
        name = token["name"] or token["word"]
        if name in DATA_NAMES and name not in values:
            known = " or ".join(f"`{known}`" for known in DATA_NAMES if known in values)
            raise invalid(f"the data have no `{name}`; write {known}")
        _check_name(name, frozenset(values))
        if not is_number(values[name]):
            raise invalid(f"`{shorten(text)}` needs a number for `{written}`, got {describe(values[name])}")
        return Fraction(repr(values[name]))

    def limited(value: Fraction) -> Fraction:
        if abs(value) >= 2**63:
            raise invalid(f"`{shorten(text)}` is too large; numbers reach 2^63 - 1")
        return value

    return value_of(tree)
