"""Config files as text: regular ones, pipes and the standard input; and what is meant where there is none."""

from __future__ import annotations

import codecs
import os
import sys

from cnnkit.errors import ConfigError, Place, Problem
from cnnkit.format.run_folders import CONFIG_FILE

MAXIMUM_BYTES = 1_000_000
#: How many folders are looked at for what a folder holds.
_MOST_FOLDERS = 60

#: The name that stands for the standard input.
STDIN = "-"
#: What was read from pipes, which can be read once, by their names.
_streams: dict[str, bytes] = {}


def is_stream(file: str) -> bool:
    """Whether a name is that of the standard input, a pipe or the like, rather than of a regular file or a folder."""
    return file == STDIN or (os.path.exists(file) and not os.path.isfile(file) and not os.path.isdir(file))


def shown_name(file: str) -> str:
    """A config file's name as messages show it."""
    return "<stdin>" if file == STDIN else file


def _read_bytes(file: str) -> bytes:
    if file in _streams:
        return _streams[file]
    if file == STDIN:
        content = sys.stdin.buffer.read(MAXIMUM_BYTES + 1)
    else:
        with open(file, "rb") as stream:
            content = stream.read(MAXIMUM_BYTES + 1)
    if is_stream(file):
        _streams[file] = content
    return content


def read_file(file: str) -> str:
    """A config file's text; that of a pipe, or of `-`, the standard input, is kept.

    Raises:
        ConfigError: if the file is missing, a folder, too large or not UTF-8 text.
    """

    def fail(message: str, line: int = 1, column: int = 1) -> ConfigError:
        return ConfigError([Problem(Place(shown_name(file), line, column), "", message)])

    try:
        content = _read_bytes(file)
    except FileNotFoundError:
        raise fail("there is no such file" + neighbours(file)) from None
    except IsADirectoryError:
        hint = folder_hint(file)
        raise fail(f"this is a folder; expected a YAML file{f'. {hint}' if hint else ''}") from None
    except (OSError, ValueError) as error:  # a ValueError for a name with a NUL in it
        raise fail(f"cannot read the file: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > MAXIMUM_BYTES:
        raise fail(f"the file is larger than {MAXIMUM_BYTES:,} bytes; expected a YAML config")
    content = content.removeprefix(codecs.BOM_UTF8)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        before = content[: error.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        hint = "is this a YAML config?"
        if content.startswith((b"\xff\xfe", b"\xfe\xff")):
            hint = "this looks like UTF-16; save the file as UTF-8"
        message = f"expected UTF-8 text, got the byte 0x{content[error.start]:02x}; {hint}"
        raise fail(message, line, column) from None


def neighbours(file: str) -> str:
    """A hint for a missing file: that an address is not a file, or a config next to it with a similar name."""
    import difflib

    if "://" in file:
        return "; download what is at the address first"
    folder = os.path.dirname(file) or "."
    try:
        names = [name for name in os.listdir(folder) if name.endswith((".yaml", ".yml"))]
    except (OSError, ValueError):
        return f" (nor the folder `{folder}`)"
    close = difflib.get_close_matches(os.path.basename(file), names, n=1, cutoff=0.5)
    if close:
        return f"; did you mean `{os.path.join(os.path.dirname(file), close[0])}`?"
    return "; `cnnkit new --list` names the configs that cnnkit ships"


def folder_hint(folder: str) -> str:
    """What a folder holds that is given as a config, and what to do with it; nothing if that is unknown."""
    from cnnkit.images.formats import IMAGE_SUFFIXES

    try:
        names = sorted(os.listdir(folder))
    except OSError:
        return ""
    configs = [name for name in names if name.endswith((".yaml", ".yml"))]
    if configs:
        return f"It holds configs; name one, such as {os.path.join(folder, configs[0])}"
    runs = [name for name in names if os.path.isfile(os.path.join(folder, name, CONFIG_FILE))]
    if runs:
        return f"It holds runs; name one, such as {os.path.join(folder, runs[0])}"
    for _, (where, _, files) in zip(range(_MOST_FOLDERS), os.walk(folder), strict=False):
        if any(name.lower().endswith(IMAGE_SUFFIXES) for name in files):
            return f"It holds images ({where}); write a config for them: cnnkit new --from {folder}"
    return ""
