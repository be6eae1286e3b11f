"""pydantic works without its search for plugins, and gets its own module back where it asks for more."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

MODEL = """
import sys
from cnnkit.machine.pydantic_start import search_for_none
search_for_none()
from pydantic import BaseModel

class Point(BaseModel):
    x: int

assert Point(x="3").x == 3
"""


def run(code: str, **variables: str) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYDANTIC_DISABLE_PLUGINS"}
    done = subprocess.run(
        [sys.executable, "-c", MODEL + code],
        env={**environment, **variables},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_packages_are_not_searched() -> None:
    assert run("print('importlib.metadata' in sys.modules)") == "False"


def test_other_names_come_from_pydantic() -> None:
    code = (
        "from pydantic.plugin._loader import PYDANTIC_ENTRY_POINT_GROUP\n"
        "print(PYDANTIC_ENTRY_POINT_GROUP, sys.modules['pydantic.plugin._loader'].__file__ is not None)"
    )
    assert run(code) == "pydantic True"


@pytest.mark.parametrize("value", ["", "some_plugin"])
def test_a_variable_that_the_user_has_set_is_left_alone(value: str) -> None:
    code = "import os; print('importlib.metadata' in sys.modules, repr(os.environ['PYDANTIC_DISABLE_PLUGINS']))"
    assert run(code, PYDANTIC_DISABLE_PLUGINS=value) == f"True {value!r}"
