"""Starting the live page's server: in this process for `watch`, in a process of its own beside a training."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from cnnkit.pages.listening import LOOPBACK, address, check_packages, listen
from cnnkit.runs.directory import Run
from cnnkit.terminal.console import Console

log = logging.getLogger("cnnkit")

#: The first port to try; so many after it are tried too.
PORT = 8017
_PORTS = 100

#: After the training, the server stays so long for pages that are open: each asks once in a second.
LINGER_SECONDS = 4.0

#: A page that has not asked for so long is no longer open.
_OPEN_SECONDS = 10.0

_START = "import sys; sys.path.append(sys.argv.pop(1)); from cnnkit.live.serving import child; child(*sys.argv[1:])"


def watch(
    run: Run,
    host: str = LOOPBACK,
    port: int | None = None,
    console: Console | None = None,
    allowed_hosts: Sequence[str] = (),
) -> None:
    """Serves the live page of a run until Ctrl-C.

    Args:
        run: The run, in progress or over.
        host: The address to bind to.
        port: The port; by default the first free one from PORT on, and 0 for any.
        console: Gets told the page's address.
        allowed_hosts: Names that the page may be called by, besides `host`, the machine's own and any address.

    Raises:
        CnnkitError: if the packages of a server are missing.
        UsageError: if it cannot be bound.
    """
    check_packages()
    listener = listen(host, _ports(port, or_next=port is None))
    (console or Console()).line(f"live      {address(listener, host)} shows {run.path}; Ctrl-C ends it")
    # uvicorn shuts down at Ctrl-C, and then passes it on.
    with contextlib.suppress(KeyboardInterrupt):
        _server(run, host, allowed_hosts).run(sockets=[listener])


@contextlib.contextmanager
def live_page(
    console: Console, host: str = LOOPBACK, port: int | None = None, allowed_hosts: Sequence[str] = ()
) -> Iterator[Callable[[Run], None]]:
    """Shows the training inside the block in a browser.

    Args:
        console: Gets told the page's address.
        host: The address to bind to.
        port: The port; where it is taken, the next free one.
        allowed_hosts: As for `watch`.

    Yields:
        What `train` and `resume` take as `opened`: called with the run, it starts the server in a process of its own.
        That stays for LINGER_SECONDS after the block, if a page is open. Whatever happens to it is a warning.

    Raises:
        CnnkitError: if the packages of a server are missing.
        UsageError: if it cannot be bound.
    """
    check_packages()
    with contextlib.closing(listen(host, _ports(port, or_next=True))) as listener, contextlib.ExitStack() as stack:

        def opened(run: Run) -> None:
            console.line(f"live      {address(listener, host)}")
            try:
                stack.enter_context(_beside(run, host, allowed_hosts, listener))
            except OSError as error:
                log.warning("the live page cannot be served: %s", error)

        yield opened


@contextlib.contextmanager
def _beside(run: Run, host: str, allowed_hosts: Sequence[str], listener: socket.socket) -> Iterator[None]:
    """A process that serves the page; it notices the end of this one, however that comes, by its standard input."""
    output = tempfile.TemporaryFile()  # noqa: SIM115 (the thread that reads it closes it)
    root = str(Path(__file__).parent.parent.parent)
    handle = str(listener.fileno())
    command = [sys.executable, "-P", "-c", _START, root, str(run.path.resolve()), handle, host, *allowed_hosts]
    listener.set_inheritable(True)
    # Windows passes all inheritable handles or none.
    passed: dict[str, Any] = {"close_fds": False} if sys.platform == "win32" else {"pass_fds": [listener.fileno()]}
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=output,
        # Ctrl-C in a terminal is for the training.
        start_new_session=True,
        **passed,
    )
    listener.close()
    ending = threading.Event()
    threading.Thread(target=_warn_of_early_end, args=(process, ending, output), daemon=True).start()
    try:
        yield
    finally:
        ending.set()
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()


def _warn_of_early_end(process: subprocess.Popen[bytes], ending: threading.Event, output: IO[bytes]) -> None:
    process.wait()
    with output:
        if not ending.is_set():
            output.seek(0)
            lines = output.read().decode("utf-8", "replace").strip().splitlines()
            reason = lines[-1] if lines else f"exit code {process.returncode}"
            log.warning("the live page has ended, the training goes on: %s", reason)


def child(path: str, handle: str, host: str, *allowed_hosts: str) -> None:
    """The process that serves the page beside a training.

    Args:
        path: The run's directory.
        handle: The number of the listening socket that was passed on.
        host: What the socket is bound to.
        allowed_hosts: As for `watch`.
    """
    # The training needs the processor more.
    if hasattr(os, "nice"):
        os.nice(10)
    server = _server(Run(Path(path)), host, allowed_hosts)
    threading.Thread(target=_end_after_training, args=(server,), daemon=True).start()
    server.run(sockets=[socket.socket(fileno=int(handle))])


def _end_after_training(server: Any) -> None:
    """Waits for the training process to end, and for the pages to notice."""
    sys.stdin.buffer.read()
    if time.monotonic() - server.config.app.last_seen < _OPEN_SECONDS:
        time.sleep(LINGER_SECONDS)
    server.should_exit = True


def _server(run: Run, host: str, allowed_hosts: Sequence[str]) -> Any:
    import uvicorn

    from cnnkit.live.server import LiveApp
    from cnnkit.pages.connections import BoundedConnection, backlog

    config = uvicorn.Config(
        LiveApp(run, host, allowed_hosts),
        http=BoundedConnection,
        ws="none",
        backlog=backlog(),
        lifespan="off",
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=1,
    )
    return uvicorn.Server(config)


def _ports(port: int | None, *, or_next: bool) -> Sequence[int]:
    """The ports to try: one, or those after it, too."""
    first = PORT if port is None else port
    return range(first, min(first + _PORTS, 65536)) if or_next and first else [first]
