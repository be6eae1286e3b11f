"""How many clients a page holds, and who makes room for others."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import httpx
import pytest
from serving import served


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of open files")
def test_clients_that_say_nothing_leave_room_for_others() -> None:
    import resource

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await receive()
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
            await send({"type": "http.response.body", "body": b"ok"})

    # Silent ones, and some in the middle of the head and of the body.
    stalled = """
import contextlib, resource, socket, sys, time
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
begun = [b"", b"POST / HTTP/1.1\\r\\nX: ", b"POST / HTTP/1.1\\r\\nHost: a\\r\\nContent-Length: 9\\r\\n\\r\\nab"]
kept = []
for number in range(300):
    kept.append(socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=10))
    with contextlib.suppress(ConnectionError):
        kept[-1].sendall(begun[number % 3])
    time.sleep(0.002)  # not faster than they are accepted: a full queue makes the system wait a second
print("stalled", flush=True)
input()
"""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(256, before[1]), before[1]))
    try:
        with served(app) as address:
            port = address.rpartition(":")[2]
            with subprocess.Popen(
                [sys.executable, "-c", stalled, port], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as clients:
                assert clients.stdout is not None
                assert clients.stdout.readline() == b"stalled\n"
                for _ in range(3):
                    assert httpx.get(f"{address}/", timeout=10).text == "ok"
                clients.communicate(b"\n")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
