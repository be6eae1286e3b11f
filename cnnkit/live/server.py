"""The live page's server: it reads a run directory, and knows nothing of TensorFlow."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from cnnkit.errors import CnnkitError
from cnnkit.format.fields import is_number
from cnnkit.images.padding import cropped
from cnnkit.pages import style_sheet
from cnnkit.pages.security import Application, Protected, own_names
from cnnkit.runs.arrays import read_array, read_arrays
from cnnkit.runs.directory import Run
from cnnkit.runs.listing import task_of
from cnnkit.runs.progress import read_state, request_stop
from cnnkit.runs.samples import read_samples
from cnnkit.runs.trained import open_run
from cnnkit.training.snapshots import MOST_KERNELS

Read = TypeVar("Read")

#: Longer sides of test images are shrunk to this many pixels; the page shows them smaller still.
LARGEST_IMAGE = 192

#: What the page shows of a run's state. Process, machine and paths concern nobody but who trains.
_SHOWN = (
    "status",
    "message",
    "epoch",
    "epochs",
    "epochs_done",
    "best_epoch",
    "monitor",
    "step",
    "steps",
    "images_per_second",
    "eta_seconds",
    "updated",
    "snapshot_epoch",
    "filters",
    "images",
    "images_problem",
)

#: The folders of an absolute path, as messages of the training name files. They may hold spaces: too much rather than
#: too little is left out.
_FOLDERS = re.compile(r"(?<![\w.:/~])(?:[A-Za-z]:)?[\\/](?:[^\n\\/`'\":]+[\\/])+")


class LiveApp:
    """The ASGI application that shows one run.

    * `GET /`: the page; `GET /static/...`: its style sheets and modules.
    * `GET /state`: the state (see `read_state`), the task's figures, the rows of metrics.csv, the test metrics.
    * `GET /filters.png?when=before|now`: the first kernels.
    * `GET /samples`: what the network says of the test images; `GET /images/<n>.png`: these images.
    * `POST /stop`: asks the training to end; 409 where none is running.

    Args:
        run: The run.
        host: What the server is bound to.
        allowed_hosts: Names that requests may call it by, besides `host`, the machine's own and any address.
    """

    def __init__(self, run: Run, host: str, allowed_hosts: Sequence[str] = ()) -> None:
        self.run = run
        #: When a page last asked for the state, on the monotonic clock.
        self.last_seen = -math.inf
        self._app: Application = Protected(self._routes(), own_names(host, allowed_hosts))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)

    def _routes(self) -> Any:
        from fastapi import FastAPI, HTTPException, Response
        from fastapi.staticfiles import StaticFiles

        # FastAPI cannot look up annotations that are imported in here; so the handlers say Any.
        app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
        folder = Path(__file__).parent / "static"

        def text(content: str, kind: str) -> Response:
            return Response(content, media_type=kind, headers={"Cache-Control": "no-cache"})

        def picture(content: bytes | None) -> Response:
            if content is None:
                raise HTTPException(404, "The run has no such picture yet.")
            return Response(content, media_type="image/png", headers={"Cache-Control": "no-store"})

        @app.get("/")
        def page() -> Any:
            return text((folder / "index.html").read_text(encoding="utf-8"), "text/html")

        @app.get("/static/common.css")
        def common() -> Any:
            return text(style_sheet(), "text/css")

        @app.get("/state")
        def state() -> dict[str, Any]:
            self.last_seen = time.monotonic()
            return run_state(self.run)

        @app.get("/filters.png")
        def filters(when: str = "now") -> Any:
            return picture(filters_png(self.run, when))

        @app.get("/samples")
        def samples() -> dict[str, Any]:
            return guesses(self.run)

        @app.get("/images/{number}.png")
        def image(number: int) -> Any:
            return picture(image_png(self.run, number))

        @app.post("/stop", status_code=202)
        def stop() -> dict[str, bool]:
            try:
                asked = request_stop(self.run)
            except OSError as error:
                raise HTTPException(403, f"The run's folder cannot be written: {error.strerror or error}.") from None
            if not asked:
                raise HTTPException(409, "No training of this run is in progress.")
            return {"stopping": True}

        app.mount("/static", StaticFiles(directory=str(folder)))
        return app


def run_state(run: Run) -> dict[str, Any]:
    """What the page shows of a run, as JSON values."""
    state, figures = read_state(run), task_of(run).columns
    running = state["status"] in ("starting", "training", "evaluating")
    try:
        rows = run.read_metrics()
    except CnnkitError:
        rows = []
    return {
        "run": run.name,
        "folder": _folder_number(run),
        **{name: _without_folders(state[name]) for name in _SHOWN if name in state},
        # The loss, the headline, and further ones; their values over the running epoch have their names.
        "figures": [{"name": one.name, "label": one.label, "is_share": one.is_share} for one in figures],
        **{one.name: state[one.name] for one in figures if is_number(state.get(one.name))},
        "stopping": running and run.stop_request.exists(),
        "filters_shown": min(state.get("filters") or 0, MOST_KERNELS),
        "rows": [{name: value if math.isfinite(value) else None for name, value in row.items()} for row in rows],
        # That of an earlier evaluation says nothing of a run that goes on.
        "test": None if running else _test_metrics(run, [one.name for one in figures]),
    }


def _folder_number(run: Run) -> str:
    """What tells the run's folder from others on this machine, without its path; empty where it has gone."""
    try:
        facts = run.path.stat()
    except OSError:
        return ""
    return f"{facts.st_dev}-{facts.st_ino}"


def _without_folders(value: Any) -> Any:
    """A value of the state; of the paths in a text, only the last part."""
    return _FOLDERS.sub("", value) if isinstance(value, str) else value


def _test_metrics(run: Run, figures: Sequence[str]) -> dict[str, Any] | None:
    try:
        trained = open_run(run)
        metrics = trained.evaluation
        said = {name: metrics.get(name) for name in (*figures, "images")}
        return {**said, "samples": trained.interface.sample.plural}
    except CnnkitError:
        return None


def filters_png(run: Run, when: str) -> bytes | None:
    """The first layer's kernels as a PNG, as `plots.filters` draws them.

    Args:
        when: `before` training, or `now`.
    """
    from cnnkit.plots.kernels import kernel_picture

    if when == "before":
        kernel = _read(read_array, run, run.initial_filters)
    else:
        snapshot = _read(read_arrays, run, run.live_snapshot)
        kernel = None if snapshot is None else snapshot.get("kernel")
    if kernel is None or kernel.ndim not in (3, 4, 5) or kernel.dtype.kind != "f" or not kernel.size:
        return None
    return _png(kernel_picture(kernel[..., :MOST_KERNELS]))


def guesses(run: Run) -> dict[str, Any]:
    """What the network says of the test images.

    Returns:
        `epoch` (None before the first snapshot), the `kind` of the answers, what `samples` are called, and `images`:
        for each, what `Answers.guess` says.
    """
    try:
        trained = open_run(run)
        answers = trained.task.answers(trained.interface)
        _, targets = read_samples(run, trained.interface, answers)
        snapshot = read_arrays(run, run.live_snapshot, ("epoch", answers.kept))
        pairs = zip(snapshot[answers.kept], targets, strict=True)
        images = [answers.guess(kept, target) for kept, target in pairs]
        return {
            "epoch": int(snapshot["epoch"]),
            "kind": answers.kind,
            "samples": trained.interface.sample.plural,
            "images": images,
        }
    # One of the files is not there yet, or damaged.
    except (FileNotFoundError, TypeError, ValueError, IndexError, CnnkitError):
        return {"epoch": None, "images": []}


def image_png(run: Run, number: int) -> bytes | None:
    """One of the test images, without the border of the network's images, shrunk where it is large."""
    try:
        trained = open_run(run)
        images, _ = read_samples(run, trained.interface, trained.task.answers(trained.interface))
    except (FileNotFoundError, CnnkitError):
        return None
    if not 0 <= number < len(images):
        return None
    interface = trained.interface
    (picture,) = interface.sample.pictures(images[number : number + 1])
    return _png(cropped(picture, interface.padding), LARGEST_IMAGE)


def _read(read: Callable[[Run, Path], Read], run: Run, path: Path) -> Read | None:
    """What `read` makes of a file; None where there is none yet, or it is damaged."""
    try:
        return read(run, path)
    except (FileNotFoundError, CnnkitError):
        return None


def _png(pixels: np.ndarray, largest: int | None = None) -> bytes:
    """A picture, uint8 [height, width, 1, 3 or 4], as a PNG whose sides have at most `largest` pixels."""
    from cnnkit.images.pictures import encoded, picture_of

    image = picture_of(pixels)
    if largest is not None:
        image.thumbnail((largest, largest))
    return encoded(image)
