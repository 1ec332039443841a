"""One request to a Vault over a connection of its own, for hvac in the place of a session of requests.

A rehearsal asks hundreds of questions, most of them while it waits for an election. A session that is made for one
question and dropped, as requests has it, takes several times the processor time of the question itself.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from harness.errors import Unreachable
from harness.secret import Secret

_AS_IT_IS: Final = "!#$%&'()*+,/:;=?@[]~"
"""What a path and a query may hold, the sign of what is quoted already among them."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back, whatever its status."""

    status_code: int
    headers: http.client.HTTPMessage
    """by name, in capitals or not"""
    content: bytes

    @property
    def ok(self) -> bool:
        """Is it no error?"""
        return self.status_code < 400

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")

    def json(self) -> Any:
        """Return what its body says. Raises ValueError where that is no JSON."""
        return json.loads(self.content)


class Connection:
    """What hvac sends a request through: no retry, no redirect, no proxy, nothing that the user's environment says."""

    def __init__(self, ca: Path | None, certificate: tuple[Path, Path] | None, shown: Secret | None) -> None:
        """It trusts *ca* alone (None: what this machine trusts), and shows who asks: by *certificate*, or by what is
        *shown* instead.
        """
        self._ca, self._certificate, self._shown = ca, certificate, shown
        self.verify = self.cert = self.proxies = None
        """what hvac would take over from a session of requests"""

    def request(
        self,
        *,
        method: str,
        url: str,
        headers: Mapping[str, str],
        timeout: float,
        json: Any = None,
        data: bytes | None = None,
        **_of_requests: Any,
    ) -> Answer:
        """Ask once, with *json* or *data* as the body. *timeout*: seconds for each thing that is waited for.

        Raises Unreachable, with the reason alone, where no whole answer came.
        """
        body, told = (data, {}) if json is None else (_written(json), {"Content-Type": "application/json"})
        where = urlsplit(url)
        path = quote(f"{where.path}?{where.query}" if where.query else where.path, safe=_AS_IT_IS)
        try:
            with closing(self._opened(where.scheme, where.netloc, timeout)) as connection:
                connection.request(method.upper(), path, body, {**headers, **told})
                answer = connection.getresponse()
                return Answer(answer.status, answer.headers, answer.read())
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(_reason(error)) from None

    def _opened(self, scheme: str, place: str, timeout: float) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(place, timeout=timeout)
        return http.client.HTTPSConnection(place, timeout=timeout, context=self._tls())

    def _tls(self) -> ssl.SSLContext:
        if self._shown is not None:
            return _showing(self._ca, self._shown)
        files = (self._ca, *(self._certificate or ()))
        state = tuple(file.stat().st_mtime_ns for file in files if file is not None)
        return _context(self._ca, self._certificate, state)


@lru_cache(maxsize=64)
def _context(ca: Path | None, certificate: tuple[Path, Path] | None, _state: tuple[int, ...]) -> ssl.SSLContext:
    """Return what a connection trusts, and how it shows who asks. To read that anew for each takes longer than TLS."""
    context = ssl.create_default_context(cafile=ca)
    if certificate is not None:
        context.load_cert_chain(*certificate)
    return context


def _showing(ca: Path | None, shown: Secret) -> ssl.SSLContext:
    """Return what a connection trusts that shows a client certificate which is in memory alone."""
    context = ssl.create_default_context(cafile=ca)
    with os.fdopen(os.memfd_create("certificate", os.MFD_CLOEXEC), "w") as file:
        file.write(shown.reveal())
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return context


def _written(body: Any) -> bytes:
    return json.dumps(body, allow_nan=False).encode()


def _reason(error: Exception) -> str:
    """Return the innermost reason: what lies around it says less."""
    inner: BaseException = error
    while inner.__cause__ is not None or inner.__context__ is not None:
        inner = inner.__cause__ or inner.__context__ or inner
    return f"{type(inner).__name__}: {inner}"
