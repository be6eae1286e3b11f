"""A run to files of a format."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cnnkit.errors import CnnkitError
from cnnkit.export import metadata
from cnnkit.export.network import convert, exportable
from cnnkit.export.places import Places
from cnnkit.files import move_into_place, working_folder, write_atomically
from cnnkit.runs.trained import TrainedRun


def export_run(trained: TrainedRun, places: Places) -> None:
    """Writes a run's network, the one that `eval` measures; all of its files, or none.

    Raises:
        CnnkitError: if the run has no network, if the format has no form for one of its layers, or if the files cannot
            be written.
    """
    description = metadata.describe(trained, places.format_, None)
    model = exportable(trained.model)
    with _working(places.main.parent) as folder:
        made = places.moved_to(folder)
        convert(model, places.format_, made.main, {})
        text = metadata.as_text(description)
        metadata.embed(places.format_, made.main, text)
        write_atomically(made.description, text)
        for here, there in zip(made.all, places.all, strict=True):
            move_into_place(here, there)


@contextmanager
def _working(parent: Path) -> Iterator[Path]:
    """A working folder in a folder that need not be there, and is not there afterwards if nothing was moved into it."""
    missing = [folder for folder in (parent, *parent.parents) if not folder.exists()]
    try:
        parent.mkdir(parents=True, exist_ok=True)
        with working_folder(parent) as folder:
            yield folder
    except OSError as error:
        raise CnnkitError(
            f"cannot write `{error.filename or parent}`: {error.strerror or error}", "Nothing of the export is left."
        ) from None
    finally:
        for folder in missing:
            try:
                folder.rmdir()
            except OSError:
                break
