"""Where a page listens."""

from __future__ import annotations

import contextlib

import pytest

from cnnkit.errors import CnnkitError
from cnnkit.pages import listening


def test_a_taken_port_is_passed_over_where_another_will_do() -> None:
    with contextlib.closing(listening.listen("127.0.0.1", [0])) as first:
        taken = first.getsockname()[1]
        with pytest.raises(CnnkitError, match=f"port {taken} of 127.0.0.1 is taken"):
            listening.listen("127.0.0.1", [taken])
        with contextlib.closing(listening.listen("127.0.0.1", range(taken, taken + 100))) as second:
            assert taken < second.getsockname()[1] < taken + 100
            assert listening.address(second, "127.0.0.1") == f"http://127.0.0.1:{second.getsockname()[1]}/"
