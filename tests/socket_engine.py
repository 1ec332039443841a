"""An engine at a Unix socket that answers what a test wants: for what no real engine can be made to say."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

INFO = {"CgroupVersion": "1", "DockerRootDir": "/var/lib/docker", "NCPU": 2, "MemTotal": 8 * 10**9}


class Answers:
    """What an engine says to whom, and what it was asked; whatever is not in *known* it does not know."""

    def __init__(self, known: dict[str, tuple[int, Any]] | None = None, name: str = "Engine") -> None:
        self.asked: list[str] = []
        version = {"ApiVersion": "1.41", "Version": "20.10.24", "Components": [{"Name": name, "Version": "5.4.0"}]}
        self._known = {"version": (200, version), "info": (200, INFO), **(known or {})}

    def __call__(self, method: str, path: str) -> tuple[int, Any]:
        self.asked.append(f"{method} {path}")
        words = path.partition("?")[0].strip("/").removeprefix("v1.41/")
        return self._known.get(words, (404, {"message": f"no such thing: {words}"}))


@contextmanager
def engine_that(answer: Callable[[str, str], tuple[int, Any]], path: Path) -> Iterator[str]:
    """A server that works on every request in a thread of its own, as the engine does.

    It hangs up after every answer, because the docker library never does.
    """

    class Handler(BaseHTTPRequestHandler):
        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def handle_any(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, content = answer(self.command, self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(content if isinstance(content, bytes) else json.dumps(content).encode())

        do_GET = do_POST = do_DELETE = handle_any  # noqa: N815  # the server looks for these names

    class Server(socketserver.ThreadingUnixStreamServer):
        def handle_error(self, *_: Any) -> None:
            """Say nothing: the other side hangs up as soon as it knows enough."""

    with Server(str(path), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield str(path)
        finally:
            server.shutdown()
            thread.join()
            path.unlink()
