"""Plain JSON values against what they should be, for files that anybody may have written."""

from __future__ import annotations

import math
from typing import Any

#: What a value should be: `str`, `bool`, `int` or `float` (whole numbers are numbers, too; neither NaN nor infinite);
#: a list of one form, `[int]`, for a list of such values; a mapping from keys to forms; ANY. A key may be missing or
#: null, unless the mapping names it in REQUIRED.
Form = Any

ANY = object()

#: The key of a form that lists the keys which must be there.
REQUIRED = object()

_WORDS = {str: "a text", bool: "true or false", int: "a whole number", float: "a finite number"}


def mismatch(value: Any, form: Form, path: str = "") -> str | None:
    """Where a value is not what it should be, in words such as "`data.image_shape` should be a list"; else None."""
    if form is ANY:
        return None
    if isinstance(form, dict):
        return _mapping_mismatch(value, form, path)
    if isinstance(form, list):
        if not isinstance(value, list):
            return _words(path, "a list")
        found = (mismatch(one, form[0], f"{path}[{index}]") for index, one in enumerate(value))
        return next((one for one in found if one is not None), None)
    if form is float:
        # Python's whole numbers have no end.
        right = isinstance(value, int | float) and abs(value) < 1e300 and math.isfinite(value)
    else:
        right = isinstance(value, form)
    return None if right and isinstance(value, bool) == (form is bool) else _words(path, _WORDS[form])


def _mapping_mismatch(value: Any, form: dict[Any, Form], path: str) -> str | None:
    if not isinstance(value, dict):
        return _words(path, "a mapping")
    inner = f"{path}." if path else ""
    for key in form.get(REQUIRED, ()):
        if value.get(key) is None:
            return f"`{inner}{key}` is missing"
    for key, one in value.items():
        found = None if one is None else mismatch(one, form.get(key, ANY), f"{inner}{key}")
        if found is not None:
            return found
    return None


def _words(path: str, what: str) -> str:
    return f"{f'`{path}`' if path else 'its content'} should be {what}"
