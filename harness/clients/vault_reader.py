"""A Vault of the user's, which is only read: this client can send nothing but GET.

TLS is verified, no redirect is followed (the token would go with it), and a Vault that gives no answer several times in
a row is left alone.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from harness.importing.asking import Answer, Answers, Question
from harness.secret import Secret, carried

_AT_A_TIME: Final = 4
_MOST_BYTES: Final = 16 * 1024 * 1024
_PATIENCE: Final = 3
"""So many questions in a row may stay without an answer."""

GAVE_UP: Final = "not asked: the server gave no answer several times in a row"


class VaultReader:
    """A Vault at *address*, asked with *token*; *ca* vouches for it (None: what this machine trusts).

    *certificate* is the files of a certificate and its key, where Vault wants to know who asks. *seconds* is how long
    one question may take. Raises ValueError for an address that is none.
    """

    def __init__(
        self,
        address: str,
        token: Secret | None,
        *,
        ca: Path | None = None,
        certificate: tuple[Path, Path] | None = None,
        namespace: str = "",
        seconds: float = 10,
    ) -> None:
        said = urlsplit(address)
        if said.scheme not in ("http", "https") or not said.hostname or said.username or said.query:
            raise ValueError("the address of a Vault is such as https://vault.example.com:8200, with no name in it")
        self._base = f"{said.scheme}://{said.netloc}{said.path.rstrip('/')}/v1/"
        self.tls = said.scheme == "https"
        self._token, self._namespace, self._seconds = token, namespace, seconds
        self._ca, self._certificate = ca, certificate
        self._own = threading.local()
        self._silent = 0

    def ask(self, questions: Sequence[Question]) -> Answers:
        """Ask all of *questions*, some at a time, and return the answers."""
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            return dict(zip(questions, pool.map(carried(self._answer), questions), strict=True))

    def _answer(self, question: Question) -> Answer:
        import requests

        if self._silent >= _PATIENCE:
            return Answer(None, error=GAVE_UP)
        try:
            found = self._get(question)
        except requests.RequestException as error:
            self._silent += 1
            return Answer(None, error=_why(error, self._seconds))
        self._silent = 0
        return found

    def _get(self, question: Question) -> Answer:
        headers = {"X-Vault-Request": "true"}
        if not question.bare:
            headers |= {"X-Vault-Token": self._token.reveal()} if self._token else {}
            headers |= {"X-Vault-Namespace": self._namespace} if self._namespace else {}
        url = self._base + quote(question.path, safe="/") + ("?list=true" if question.listing else "")
        with self._session().get(
            url, headers=headers, timeout=self._seconds, allow_redirects=False, stream=True
        ) as response:
            content = _up_to(response, _MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            return Answer(None, error="an answer of more than 16 MiB, which is read no further")
        if 300 <= response.status_code < 400:
            to = urlsplit(response.headers.get("Location", "")).netloc
            return Answer(response.status_code, error=f"it sends on to {to}: name that address in --vault-addr")
        return _read(response.status_code, content)

    def _session(self) -> Any:
        import requests

        if not hasattr(self._own, "session"):
            session = requests.Session()
            session.trust_env = False  # no .netrc, whose password would go along
            session.verify = str(self._ca) if self._ca else True
            if self._certificate is not None:
                session.cert = tuple(str(file) for file in self._certificate)  # type: ignore[assignment]
            self._own.session = session
        return self._own.session


def _up_to(response: Any, most: int) -> bytes:
    """Return what a server sends, to its end or a little beyond *most* bytes. A connection read to its end is kept."""
    found = bytearray()
    for part in response.iter_content(65536):
        found += part
        if len(found) >= most:
            break
    return bytes(found)


def _read(status: int, content: bytes) -> Answer:
    import json

    try:
        body = json.loads(content) if content else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return Answer(None if status < 300 else status, error=f"no JSON came back, as from a Vault (HTTP {status})")
    said = " ".join("; ".join(str(one) for one in body.get("errors") or ()).split())
    return Answer(status, body, said[:300])


def _why(error: Exception, seconds: float) -> str:
    """Return the innermost reason in words, and what helps."""
    import requests

    inner: BaseException = error
    while inner.__cause__ is not None or inner.__context__ is not None:
        inner = inner.__cause__ or inner.__context__ or inner
    if isinstance(error, requests.Timeout):
        return f"no answer within {seconds:g} s; --timeout gives it more"
    if isinstance(error, requests.exceptions.SSLError):
        return f"its certificate is not believed: {inner}; --vault-ca-file names the CA that vouches for it"
    return f"no answer: {inner}"
