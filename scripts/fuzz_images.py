"""Tries damaged images: whatever a file holds, it is read or refused, soon, in little memory, and starts nothing.

    python scripts/fuzz_images.py --inputs 20000 --jobs 2 --out failures
    python scripts/fuzz_images.py --only 4711          # one input again, in this process

Valid files of every format that is read are damaged (bits, ends, parts, numbers, sizes, chunks, directories, EXIF
orientations) or replaced with programs and other formats under an image's name, and each is given to `image_header` and
to `read_image`. Reported: any exception but `CorruptImage`, any file of which header and pixels say different shapes,
anything that Python writes to standard error, a program that is started, an input that takes more than two seconds of
CPU time, a process that grows by more than 600 MB, and one that ends. The exit code is 1 if there was any. Standard
output gets a Markdown table of the kinds, and a line of figures.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from fuzzing import images
from fuzzing.processes import in_processes, largest_size, parser_of, reset_largest_size

from cnnkit.config.image_folder import image_header
from cnnkit.data import read_image
from cnnkit.images.formats import RESIZINGS, CorruptImage

#: Larger images are refused; at 8 bytes a pixel they take an eighth of a gigabyte.
MOST_MEGAPIXELS = 16

#: Bounds of one input: CPU seconds, and bytes that the process may grow by.
MOST_SECONDS = 2.0
MOST_BYTES = 600 << 20


@dataclass
class Figures:
    """What came of many inputs.

    Attributes:
        kinds: For each kind, how many there were, and how many of them were read.
        failures: For each that failed, its number and what was wrong.
    """

    inputs: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    slowest: tuple[float, int] = (0.0, -1)
    most_bytes: int = 0
    failures: list[tuple[int, str]] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        self.inputs += other.inputs
        self.read += other.read
        self.slowest = max(self.slowest, other.slowest)
        self.most_bytes = max(self.most_bytes, other.most_bytes)
        self.failures += other.failures


def check(seed: int, number: int, folder: Path, figures: Figures) -> None:
    """Reads one input, and adds what came of it."""
    damaged = images.damaged(seed, number)
    file = folder / damaged.name
    file.write_bytes(damaged.content)
    figures.inputs[damaged.kind] += 1
    size = None if number % 2 else (8, 11)
    start = time.process_time()
    shapes: list[Any] = []
    try:
        for step in (
            lambda: image_header(file, MOST_MEGAPIXELS)[:2],
            lambda: read_image(
                file, size, 3 if number % 4 < 2 else 1, most_megapixels=MOST_MEGAPIXELS, resize=RESIZINGS[number % 3]
            ).shape[:2],
        ):
            with contextlib.suppress(CorruptImage):
                shapes.append(step())
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        figures.failures.append((number, f"{type(error).__name__} at {where}: {str(error)[:150]}"))
    seconds = time.process_time() - start
    figures.slowest = max(figures.slowest, (seconds, number))
    if seconds > MOST_SECONDS:
        figures.failures.append((number, f"took {seconds:.1f} s"))
    if len(shapes) == 2:
        figures.read[damaged.kind] += 1
        if size is None and shapes[0] != shapes[1]:
            figures.failures.append((number, f"the header says {shapes[0]}, the pixels are {shapes[1]}"))


def check_many(seed: int, numbers: range) -> Figures:
    """The figures of some inputs, in this process."""
    figures = Figures()
    before = reset_largest_size()
    with tempfile.TemporaryDirectory() as folder, _watched() as noticed:
        for number in numbers:
            check(seed, number, Path(folder), figures)
            figures.failures += [(number, what) for what in noticed()]
    figures.most_bytes = largest_size() - before
    if figures.most_bytes > MOST_BYTES:
        figures.failures.append((numbers.start, f"the process grew by {figures.most_bytes >> 20} MB from here on"))
    return figures


@contextlib.contextmanager
def _watched() -> Iterator[Callable[[], list[str]]]:
    """Gives a function that says what was written to standard error since, and which programs were started."""
    started: list[str] = []

    def note(event: str, arguments: Any) -> None:
        if event in ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"):
            started.append(f"starts {arguments[0]!r}")

    # Only of Python: what libtiff has to say of a damaged file, it writes past it, and Pillow does not stop it.
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        sys.addaudithook(note)

        def noticed() -> list[str]:
            text = errors.getvalue()
            errors.seek(0)
            errors.truncate()
            found = [f"writes {text[:150]!r}"] if text else []
            found += started
            started.clear()
            return found

        yield noticed


def run(seed: int, inputs: int, jobs: int) -> Figures:
    """The figures of all inputs, in processes of their own, so that one that ends is noticed."""
    figures = Figures()
    for chunk, found in in_processes(partial(check_many, seed), inputs, jobs):
        if found is None:
            figures.failures.append((chunk.start, f"a process ended in inputs {chunk.start} to {chunk.stop - 1}"))
        else:
            figures.add(found)
        sys.stderr.write(f"\r{sum(figures.inputs.values()):,} inputs, {len(figures.failures)} failures ")
    return figures


def table(figures: Figures) -> str:
    """The kinds as Markdown, and a line of figures."""
    failed = Counter(number for number, _ in figures.failures)
    rows = ["| what was done | inputs | read all the same |", "|---|---:|---:|"]
    rows += [f"| {kind} | {count:,} | {figures.read[kind]:,} |" for kind, count in sorted(figures.inputs.items())]
    seconds, number = figures.slowest
    rows.append(
        f"\n{sum(figures.inputs.values()):,} inputs: {len(failed):,} failed, slowest {seconds:.2f} s (input {number}), "
        f"{figures.most_bytes >> 20} MB grown at most"
    )
    return "\n".join(rows)


def main(arguments: list[str] | None = None) -> int:
    options = parser_of(__doc__, 2_000).parse_args(arguments)
    if options.only is not None:
        figures = check_many(options.seed, range(options.only, options.only + 1))
    else:
        figures = run(options.seed, options.inputs, options.jobs)
    for number, what in figures.failures:
        sys.stderr.write(f"\ninput {number}: {what}")
        if options.out is not None:
            damaged = images.damaged(options.seed, number)
            options.out.mkdir(parents=True, exist_ok=True)
            (options.out / f"{number}-{damaged.name}").write_bytes(damaged.content)
    sys.stdout.write(f"\n{table(figures)}\n")
    return 1 if figures.failures else 0


if __name__ == "__main__":
    sys.exit(main())
