"""Copies of the package as the pages of docs/ make them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent

CNNKIT = ("-c", "from cnnkit.cli import main; main()")


def copy_package(folder: Path, page: str) -> str:
    """Copies cnnkit, with the modules that a page of docs/ shows whole below their names; and the page's config.

    Returns:
        The page.
    """
    # With the bytecode, which is as old as before.
    shutil.copytree(ROOT / "cnnkit", folder / "cnnkit")
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    for name, module in re.findall(r"^`(cnnkit/[\w/]+\.py)`:\n\n```python\n(.*?)```", text, re.M | re.S):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(module)
    (config,) = re.findall(r"```yaml\n(.*?)```", text, re.S)
    (folder / "net.yaml").write_text(config)
    return text


def added_lines(page: str) -> list[str]:
    """The lines of tables that a page shows, each in a block of its own."""
    return re.findall(r"```python\n( +[^\n]*\n)```", page)


def insert(file: Path, place: str, line: str) -> None:
    """Writes a line behind the one line that is `place`."""
    text = file.read_text()
    assert text.count(place) == 1
    file.write_text(text.replace(place, place + line))


def run(package: Path, *arguments: str) -> str:
    """What Python writes with the copied package; fails where it fails."""
    environment = {**os.environ, "PYTHONPATH": str(package)}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=package,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
