"""Which images may be mirrored, as far as names tell."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from cnnkit.proposal.meaning import mirroring

CIFAR = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


@pytest.mark.parametrize(
    ("names", "source"),
    [
        (tuple("0123456789"), "data"),
        (tuple("ABCabc"), "data"),
        (("one", "two", "three"), "data"),
        (("digit_0", "digit_1"), "data"),
        (("A_upper", "a_lower"), "data"),
        (("turnLeft", "turnRight", "stop"), "data"),
        (("stop_sign", "car"), "data"),
        (("cat", "dog"), "my-handwriting"),
        ((), "data"),
    ],
)
def test_what_a_mirror_would_change_is_not_mirrored(names: Sequence[str], source: str) -> None:
    assert not mirroring(names, source).allowed


@pytest.mark.parametrize(
    "names",
    [
        CIFAR,
        ("road", "tree", "sky", "sign_symbol"),
        ("T-shirt", "Trouser", "Bag"),
        ("platform", "designer", "leftover"),
        ("model 3", "model s", "golf"),
    ],
)
def test_things_are_mirrored(names: Sequence[str]) -> None:
    # Words count as a whole: `leftover` is no direction.
    assert mirroring(names, "photos").allowed


def test_the_reason_names_what_was_found() -> None:
    assert "`turnLeft`" in mirroring(("turnLeft", "stop"), "x").reason
    assert "`0`, `1`" in mirroring(tuple("0123"), "x").reason
