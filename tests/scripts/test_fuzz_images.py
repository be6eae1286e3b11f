"""A few hundred of the damaged images that scripts/fuzz_images.py tries, and that it notices what it is to notice."""

from __future__ import annotations

import logging
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

SCRIPTS = Path(__file__).parents[2] / "scripts"


@pytest.fixture
def fuzz_images(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import fuzz_images

    # How soon is for the script to say, on a machine that does nothing else.
    monkeypatch.setattr(fuzz_images, "MOST_SECONDS", math.inf)
    yield fuzz_images
    for name in ("fuzz_images", "fuzzing", "fuzzing.images", "fuzzing.processes"):
        sys.modules.pop(name, None)


@pytest.mark.filterwarnings("ignore")
def test_damaged_images_are_read_or_refused(fuzz_images: Any, capfd: pytest.CaptureFixture[str]) -> None:
    figures = fuzz_images.check_many(0, range(200))
    assert figures.failures == []
    assert set(figures.inputs) == set(fuzz_images.images.KINDS)
    # Most are damaged, and not all beyond use.
    assert 20 < sum(figures.read.values()) < 150


def test_an_input_is_a_function_of_seed_and_number(fuzz_images: Any) -> None:
    damaged = fuzz_images.images.damaged
    assert [damaged(1, number) for number in range(50)] == [damaged(1, number) for number in range(50)]
    assert [damaged(1, number) for number in range(50)] != [damaged(2, number) for number in range(50)]


def test_what_goes_wrong_is_reported(fuzz_images: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*arguments: Any, **options: Any) -> Any:
        logging.lastResort.handle(logging.makeLogRecord({"levelno": 40, "msg": "odd"}))  # type: ignore[union-attr]
        subprocess.run(["true"], check=True)
        raise KeyError("no such tag")

    monkeypatch.setattr(fuzz_images, "read_image", read)
    found = [what for _, what in fuzz_images.check_many(0, range(1)).failures]
    assert [what.split()[0] for what in found] == ["KeyError", "writes", "starts"]


def _ends_at_300(chunk: range) -> int:
    if 300 in chunk:
        os._exit(3)
    return len(chunk)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_process_that_ends_is_noticed(fuzz_images: Any) -> None:
    found = dict(fuzz_images.in_processes(_ends_at_300, 600, 1))
    assert found == {range(250): 250, range(250, 500): None, range(500, 600): 100}
