"""pydantic without its search for plugins."""

from __future__ import annotations

import importlib
import os
import sys
import types
from typing import Any

_LOADER = "pydantic.plugin._loader"
_VARIABLE = "PYDANTIC_DISABLE_PLUGINS"


def search_for_none() -> None:
    """Keeps pydantic from looking through all installed packages for plugins, which cnnkit's models have no use for.

    The search, and the modules that it imports even where pydantic's own variable forbids it, take a tenth of the time
    in which a config is read. Their place takes a module that finds none; anything else that is asked of it comes from
    pydantic's module. Where the user has set the variable, or plugins are loaded already, nothing is changed.
    """
    if _VARIABLE in os.environ or _LOADER in sys.modules:
        return
    os.environ[_VARIABLE] = "__all__"
    stand_in = types.ModuleType(_LOADER)

    def from_pydantic(name: str) -> Any:
        if name.startswith("__"):  # what the import system asks of every module
            raise AttributeError(name)
        sys.modules.pop(_LOADER, None)
        return getattr(importlib.import_module(_LOADER), name)

    stand_in.__dict__.update(get_plugins=tuple, __getattr__=from_pydantic)
    sys.modules[_LOADER] = stand_in
