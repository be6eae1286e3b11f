"""A short run of scripts/fuzz_configs.py, and that it sees what it is there to see."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path
from typing import Any

import pytest

from cnnkit.config import load

pytestmark = pytest.mark.long

SCRIPTS = Path(__file__).parents[2] / "scripts"
INPUTS = 30


@pytest.fixture(autouse=True)
def scripts_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setenv("TFDS_DATA_DIR", os.devnull)


def test_damaged_configs_are_valid_or_refused_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import fuzz_configs

    # How soon is for the script to say, on a machine that does nothing else; one without end is given up here, too.
    monkeypatch.setattr(fuzz_configs, "MOST_SECONDS", math.inf)
    figures = fuzz_configs.check_many(2026, range(INPUTS))
    assert figures.failures == []
    # Neither are all of them good, nor are they so bad that nothing is tried behind the first look.
    assert figures.inputs == figures.accepted + figures.refused == INPUTS
    assert min(figures.accepted, figures.refused) >= INPUTS // 10


def test_an_input_is_the_same_again() -> None:
    from fuzzing.configs import config

    assert [config(1, number) for number in range(6)] == [config(1, number) for number in range(6)]
    assert config(1, 0) != config(2, 0)


def raises(*_: Any) -> None:
    raise KeyError("filters")


def takes_long(*_: Any) -> None:
    start = time.process_time()
    while time.process_time() - start < 0.2:
        pass


def grows(*_: Any) -> None:
    bytearray(40 << 20)[:: 1 << 12] = b"x" * 10240


@pytest.mark.parametrize(
    ("fault", "bounds", "words"),
    # A slow machine takes long over the others, too: each bound is set where its fault is.
    [
        (raises, {}, "KeyError at"),
        (takes_long, {"MOST_SECONDS": 0.1}, "took "),
        (grows, {"MOST_SECONDS": math.inf, "MOST_BYTES": 20 << 20}, "grew by"),
    ],
)
def test_what_is_wrong_is_reported(
    fault: Any, bounds: dict[str, float], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fuzz_configs

    monkeypatch.setattr(load, "load_config", fault)
    for name, value in bounds.items():
        monkeypatch.setattr(fuzz_configs, name, value)
    monkeypatch.setattr(fuzz_configs.Checker, "_show", lambda *_: None)
    (failure,) = fuzz_configs.check_many(1, range(1)).failures
    assert failure.number == 0
    assert words in failure.what


def test_a_step_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import fuzz_configs

    monkeypatch.setattr(load, "load_config", lambda *_: [None for _ in iter(int, 1)])
    monkeypatch.setattr(fuzz_configs, "HANGS_AFTER", 0.1)
    monkeypatch.setattr(fuzz_configs, "MOST_BYTES", 1 << 40)
    (failure,) = fuzz_configs.check_many(1, range(1)).failures
    assert failure.what.startswith("given up after")
