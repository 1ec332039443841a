"""Many requests to a Vault over a few connections that are kept: leases by the thousand, in a minute."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from harness.clients.vault_audit import VaultAudit
from harness.errors import RigError
from harness.rig.leases import PREFIX, Listed, Many
from harness.rig.rig import Reply
from harness.secret import Secret, carried
from harness.wait import Stopwatch, now

_CONNECTIONS: Final = 8
_TIMEOUT_SECONDS: Final = 60.0
_LONGEST_SECONDS: Final = 120.0
"""for all leases at once: Vault itself ends a request after 90 s (default_max_request_duration)"""
_LIFE: Final = "720h"
_TOLD: Final = 1000
"""of the leases that could not be revoked: why is the same for all of an engine"""
_CHUNK: Final = 1 << 16
_MOST_FAILURES: Final = 50
"""in a row, after which a connection asks for nothing more: nobody waits for a Vault that refuses 100,000 times"""


class _Work:
    """What several threads have to ask for, and what came of it."""

    def __init__(self, bodies: Sequence[str]) -> None:
        self._bodies, self._lock = iter(bodies), threading.Lock()
        self.done, self.failures = list[str](), Counter[str]()

    def left(self) -> Iterator[str]:
        """Yield one after the other what nobody has asked for yet."""
        while True:
            with self._lock:
                body = next(self._bodies, None)
            if body is None:
                return
            yield body

    def failed(self, came: str) -> None:
        """Count a request that was not granted."""
        with self._lock:
            self.failures[came] += 1


class VaultLeases(VaultAudit):
    """The part of a way to ask Vault that makes leases, and is rid of them."""

    address: str
    ca: Path | None
    certificate: tuple[Path, Path] | None
    root: Secret | None

    def make_leases(self, count: int) -> Many:
        """Make service tokens without a parent, each of which is a lease.

        The audit log is off meanwhile: nobody asks for what it would say, and it would be larger than all else.
        """
        body = json.dumps({"policies": ["default"], "no_default_policy": True, "renewable": False, "ttl": _LIFE})
        self.disable_audit()
        try:
            made = self._many([body] * count, "auth/token/create-orphan", _accessor)
        finally:
            self.enable_audit()
        if count and not made.accessors:
            raise RigError(f"Vault was to make {count} service tokens, and made none: {made.failures}")
        return made

    def revoke_leases(self, accessors: Sequence[str]) -> Many:
        """Revoke tokens by their accessors."""
        bodies = [json.dumps({"accessor": one}) for one in accessors]
        return self._many(bodies, "auth/token/revoke-accessor", lambda _answer, body: str(json.loads(body)["accessor"]))

    def revoke_all_leases(self) -> Reply:
        """Have all tokens that were made so be revoked, as `vault lease revoke -prefix` does.

        The answer comes when each has been marked for it, and they are gone some time after that. With `sync`, as the
        API does unless told, it comes when all are gone.
        """
        return self._at_length(
            "PUT", f"sys/leases/revoke-prefix/{PREFIX.rstrip('/')}", json.dumps({"sync": False})
        ).reply

    def list_leases(self) -> Listed:
        """Have Vault list them, and keep nothing of the list."""
        return self._at_length("LIST", f"sys/leases/lookup/{PREFIX}")

    def _at_length(self, method: str, path: str, body: str | None = None) -> Listed:
        """Ask for something that takes Vault long with many leases, and keep nothing of a good answer but its size."""
        started, size = now(), 0
        with closing(self._connection(_LONGEST_SECONDS)) as connection:
            try:
                connection.request(method, f"/v1/{path}", body, headers=self._headers())
                answer = connection.getresponse()
                first = chunk = answer.read(_CHUNK)
                while chunk:
                    size += len(chunk)
                    chunk = answer.read(_CHUNK)
            except (OSError, http.client.HTTPException) as error:
                return Listed(Reply(None, str(error), started=started, ended=now()), size)
        said = "" if answer.status < http.HTTPStatus.BAD_REQUEST else first.decode(errors="replace").strip()
        return Listed(Reply(answer.status, said, started=started, ended=now()), size)

    def irrevocable_leases(self) -> Reply:
        """Ask how many leases could not be revoked."""
        return self._ask("get", "sys/leases/count?type=irrevocable", self.root)

    def given_up_leases(self) -> Reply:
        """Ask which those are, each with the error of the last attempt."""
        return self._ask("get", f"sys/leases?type=irrevocable&limit={_TOLD}", self.root)

    def _many(self, bodies: Sequence[str], path: str, read: Callable[[bytes, str], str]) -> Many:
        """POST each of *bodies* to a *path*. *read* takes an answer and its body, and returns whose accessor it is."""
        watch, work = Stopwatch(), _Work(bodies)
        there = [
            threading.Thread(target=carried(self._ask_on), args=(path, work, read), name="leases", daemon=True)
            for _ in range(_CONNECTIONS)
        ]
        for thread in there:
            thread.start()
        for thread in there:
            thread.join()
        return Many(tuple(work.done), dict(work.failures), watch.seconds)

    def _ask_on(self, path: str, work: _Work, read: Callable[[bytes, str], str]) -> None:
        """Ask on one connection until there is nothing left to ask for, or Vault refuses again and again."""
        in_a_row = 0
        with closing(self._connection()) as connection:
            for body in work.left():
                try:
                    connection.request("POST", f"/v1/{path}", body, self._headers())
                    answer = connection.getresponse()
                    content = answer.read()
                except (OSError, http.client.HTTPException):
                    connection.close()
                    came = "no answer"
                else:
                    came = "" if answer.status < http.HTTPStatus.BAD_REQUEST else f"HTTP {answer.status}"
                in_a_row = in_a_row + 1 if came else 0
                if came:
                    work.failed(came)
                else:
                    work.done.append(read(content, body))
                if in_a_row == _MOST_FAILURES:
                    return

    def _headers(self) -> dict[str, str]:
        return {"X-Vault-Token": self.root.reveal()} if self.root else {}

    def _connection(self, seconds: float = _TIMEOUT_SECONDS) -> http.client.HTTPConnection:
        where = urlsplit(self.address)
        host, port = str(where.hostname), where.port
        if where.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=seconds)
        context = ssl.create_default_context(cafile=self.ca)
        if self.certificate is not None:
            context.load_cert_chain(*self.certificate)
        return http.client.HTTPSConnection(host, port, timeout=seconds, context=context)


def _accessor(answer: bytes, _body: str) -> str:
    return str(json.loads(answer)["auth"]["accessor"])
