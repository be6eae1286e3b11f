"""Ways in which a file of a run can be damaged, or be none, and the commands that then have to say so."""

from __future__ import annotations

import copy
import json
import os
import random
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from cnnkit.cli import cli
from cnnkit.errors import CnnkitError

#: What may stand in the place of any value of a JSON file.
OTHERS: tuple[Any, ...] = (None, "x", -1, 10**30, 0.5, float("nan"), [], [[]], {}, True)


def run_command(*arguments: object) -> Result:
    """A command in this process; what it raises is an error for the user, or the test's end."""
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    error = result.exception
    if error is not None and not isinstance(error, CnnkitError | SystemExit):
        raise AssertionError(f"{arguments} raises {type(error).__name__}: {error}") from error
    return result


def bytes_of(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Damaged copies of a file: cut short, with other bits, with zeros, and something else altogether."""
    yield from (b"", content[: len(content) // 2], content[:-1], b"\xff\xfe\x00", b"[1]", b"[" * 20_000, b"\x00" * 300)
    draws = random.Random(seed)
    for number in range(count):
        damaged = bytearray(content)
        place = draws.randrange(len(damaged))
        if number % 3 == 2:
            damaged[place : place + 4096] = bytes(len(damaged[place : place + 4096]))
        else:
            # The headers are at both ends of an archive.
            place = (place, -1 - place % min(3000, len(damaged)))[number % 2]
            damaged[place] ^= 1 << draws.randrange(8)
        yield bytes(damaged)


def values_of(content: bytes) -> Iterator[bytes]:
    """Copies of a JSON file, each with one other value, or without one."""
    whole = json.loads(content)

    def places(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        yield path
        keys = list(value) if isinstance(value, dict) else range(min(2, len(value))) if isinstance(value, list) else ()
        for key in keys:
            yield from places(value[key], (*path, key))

    for path in list(places(whole, ()))[1:]:
        for other in (*OTHERS, KeyError):
            changed = copy.deepcopy(whole)
            inner = changed
            for key in path[:-1]:
                inner = inner[key]
            if other is KeyError:
                del inner[path[-1]]
            else:
                inner[path[-1]] = other
            yield json.dumps(changed).encode()


def _link(path: Path) -> None:
    path.symlink_to("/etc/hostname")


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _socket(path: Path) -> None:
    # The name of a socket may have a hundred letters.
    here = os.getcwd()
    os.chdir(path.parent)
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(path.name)
    os.chdir(here)


#: What may stand in the place of a file.
KINDS: dict[str, Callable[[Path], None]] = {
    "link": _link,
    "loop": _loop,
    "pipe": lambda path: os.mkfifo(path),
    "folder": lambda path: path.mkdir(),
    "socket": _socket,
    "endless": lambda path: path.symlink_to("/dev/zero"),
}
