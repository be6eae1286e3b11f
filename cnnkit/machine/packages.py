"""Packages that only some commands need."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

from cnnkit.errors import CnnkitError


def check_packages(packages: Sequence[str], needed_by: str, extra: str) -> None:
    """Whether packages are installed, none of which is imported.

    Args:
        packages: As Python imports them.
        needed_by: What needs them, for the message.
        extra: Of cnnkit, which installs them.

    Raises:
        CnnkitError: if one is not.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise CnnkitError(
                f"{needed_by} needs the package {package}, which is not installed", f'pip install "cnnkit[{extra}]"'
            )
