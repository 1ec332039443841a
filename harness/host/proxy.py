"""A reverse proxy before an API server, as a program of its own: standard library alone, on loopback or a bridge.

python proxy.py ANSWERING ADDRESS PORT CERTIFICATE KEY UPSTREAM UPSTREAM_CA

*ANSWERING*: `passes` hands each request on to UPSTREAM (https://host:port) and its answer back. `no-audiences` does so,
and leaves status.audiences out of the answer to a TokenReview, as a server does that knows no audiences. `unauthorized`
answers 401, whatever token comes, as a proxy does that has accounts of its own. `html` answers 200 and a page to log in
on. `reset` resets each connection before anybody said anything. It logs method, path and status, never a header or a
body.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import struct
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_SECONDS = 30.0
_HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}
_PAGE = b"<!DOCTYPE html>\n<html><body><form><h1>Log in</h1></form></body></html>\n"
_MUST_AUTHENTICATE = json.dumps({"type": "error", "status": "401", "message": "must authenticate"}).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _SECONDS
    answering = "passes"
    upstream: tuple[str, int] = ("", 0)
    authority = ""

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.answering == "unauthorized":
            self._say(401, "application/json", _MUST_AUTHENTICATE)
        elif self.answering == "html":
            self._say(200, "text/html; charset=utf-8", _PAGE)
        else:
            self._pass_on(body)

    def _pass_on(self, body: bytes) -> None:
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _HOP_BY_HOP}
        # read each time: it may be another one by now
        trust = ssl.create_default_context(cafile=self.authority)
        there = http.client.HTTPSConnection(*self.upstream, context=trust, timeout=_SECONDS)
        try:
            there.request(self.command, self.path, body, headers)
            answer = there.getresponse()
            said = answer.read()
            if self.answering == "no-audiences" and self.path.endswith("/tokenreviews"):
                said = _without_audiences(said)
            self._say(answer.status, answer.headers.get("Content-Type", "application/json"), said)
        except OSError as error:
            self._say(502, "text/plain", f"{type(error).__name__}\n".encode())
        finally:
            there.close()

    def _say(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the base class calls it so
        sys.stderr.write(f"{self.log_date_time_string()} {format % args}\n")
        sys.stderr.flush()

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815 -- the base class looks for these names


def _without_audiences(said: bytes) -> bytes:
    """Return the answer to a TokenReview without the audiences that its token is good for, and all else as it is."""
    try:
        review = json.loads(said)
    except ValueError:
        return said
    status = review.get("status") if isinstance(review, dict) else None
    if isinstance(status, dict):
        status.pop("audiences", None)
    return json.dumps(review).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    own: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Speak TLS in the thread of the connection: somebody who says nothing must not hold up the others."""
        if self.own is None:
            # with no time to linger a close is a reset
            request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            request.close()
            return
        request.settimeout(_SECONDS)
        with self.own.wrap_socket(request, server_side=True) as secured:
            super().finish_request(secured, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say in a line that a connection ended early: whoever does not trust our certificate hangs up."""
        del request, client_address
        sys.stderr.write(f"a connection ended: {sys.exception()!r}\n")
        sys.stderr.flush()


def main(words: list[str]) -> None:
    """Serve until killed."""
    answering, address, port, certificate, key, upstream, authority = words
    where = urlsplit(upstream)
    _Handler.answering, _Handler.upstream = answering, (where.hostname or "", where.port or 443)
    _Handler.authority = authority
    with _Server((address, int(port)), _Handler) as server:
        if answering != "reset":
            server.own = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            server.own.load_cert_chain(certificate, key)
        server.serve_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
