"""What scripts that read TFDS sets have in common: the set's name, and how they find the split to test on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cnnkit.config.data import DataConfig
from cnnkit.config.dataset import known_name, split_name
from cnnkit.eject.text import literal

_OWN_TEST = '''\
def load_test():
    """The %(samples)s and %(targets)s of the first split for tests that has %(targets)s; None in a set without one."""
    for split in %(candidates)s:
        if split in tfds.builder(DATA).info.splits:
            %(samples)s, %(targets)s = load(split)
            if %(labelled)s:
                return %(samples)s, %(targets)s
    return None
'''


def own_test(
    config: DataConfig,
    facts: Mapping[str, Any] | None,
    is_known: bool,
    samples: str,
    targets: str = "labels",
    labelled: str = "labels.min() >= 0",
) -> tuple[list[str], bool]:
    """The function that finds the split to test on, where the script is to find it; and whether it is.

    Args:
        facts: What a prepared set says of itself; None of one that is not here.
        is_known: Whether the set is among those whose features are known anyway.
        samples, targets: What the script calls what it loads.
        labelled: Whether a split has targets, an expression.
    """
    splits = set(facts["splits"]) if facts else set()
    stated = (config.splits.train, config.splits.validation)
    # Of a set that is not here, nobody knows the splits.
    tests = [name for name in ("test", "validation") if name not in stated and (facts is None or name in splits)]
    # Where there are two, the first may have no labels; and so may that of a set that is hardly known.
    is_sure = facts is not None and is_known and len(tests) < 2
    finds_test = bool(config.splits.test is None and tests and not is_sure)
    names = {"candidates": literal(tuple(tests)), "samples": samples, "targets": targets, "labelled": labelled}
    return [_OWN_TEST % names] if finds_test else [], finds_test


def tfds_name(name: str) -> str:
    """The name as TFDS wants it, with the configuration that is meant, and the version where it is stated."""
    version = split_name(name)[2]
    return known_name(name) + (f":{version}" if version else "")
