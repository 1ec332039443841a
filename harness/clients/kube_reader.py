"""A cluster of the user's, by a context of a kubeconfig, which is only read: this client can send nothing but GET.

It knows what a kubeconfig can say of logins (certificates, tokens, programs that fetch one) by the kubernetes library,
and writes nothing back into it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from harness.importing.asking import Answer, Answers, Question
from harness.secret import Secret, carried

_AT_A_TIME: Final = 4
_MOST_BYTES: Final = 32 * 1024 * 1024
_PATIENCE: Final = 2
"""So many questions in a row may stay without an answer."""


class NoContext(ValueError):
    """A kubeconfig that cannot be read, or that has no such context."""


class KubeReader:
    """The cluster of a *context* of a *kubeconfig* (None: the user's own). Raises NoContext."""

    def __init__(self, context: str, kubeconfig: Path | None = None, *, seconds: float = 10) -> None:
        import urllib3
        from kubernetes import client, config

        self._seconds, self._silent = seconds, 0
        found = client.Configuration()
        found.retries = urllib3.Retry(total=0, redirect=0)
        file = str(kubeconfig) if kubeconfig else None
        try:
            # the library would write a token that it has fetched anew into the user's file
            connect: Any = config.new_client_from_config
            self._client = connect(config_file=file, context=context, persist_config=False, client_configuration=found)
        except (config.ConfigException, OSError, KeyError, TypeError, ValueError) as error:
            raise NoContext(f"context {context} of {file or 'the kubeconfig'} cannot be used: {error}") from None
        self._configuration = self._client.configuration
        self.host: str = str(self._configuration.host).rstrip("/")
        if urlsplit(self.host).scheme != "https":
            raise NoContext(f"context {context} is of an API server without TLS, to which no token is shown")
        self.verified = bool(self._configuration.verify_ssl)

    @property
    def ca(self) -> str | None:
        """Return the PEM that vouches for the API server, if the kubeconfig has one."""
        file = self._configuration.ssl_ca_cert
        try:
            return Path(file).read_text(encoding="ascii") if file else None
        except (OSError, ValueError):
            return None

    def ask(self, questions: Sequence[Question]) -> Answers:
        """Ask all of *questions*, some at a time, and return the answers."""
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            return dict(zip(questions, pool.map(carried(self._answer), questions), strict=True))

    def _answer(self, question: Question) -> Answer:
        import urllib3

        if self._silent >= _PATIENCE:
            return Answer(None, error="not asked: the API server gave no answer several times in a row")
        try:
            headers = {"Accept": question.accept, "User-Agent": "rehearse-import", **self._bearer()}
            answer: Any = self._client.rest_client.pool_manager.request(
                "GET", self.host + question.path, headers=headers, timeout=self._seconds, redirect=False
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._silent += 1
            return Answer(None, error=_why(error, self._seconds))
        self._silent = 0
        return _read(answer.status, answer.data)

    def _bearer(self) -> dict[str, str]:
        """Return what shows who asks, where that is no certificate."""
        found = next(
            (
                key
                for name in ("authorization", "BearerToken")
                if (key := self._configuration.get_api_key_with_prefix(name))
            ),
            None,
        )
        if found:
            Secret(found.removeprefix("Bearer "))  # known from here on, so that redaction finds it
            return {"Authorization": found if " " in found else f"Bearer {found}"}
        if self._configuration.username:
            word = Secret(f"{self._configuration.username}:{self._configuration.password}").reveal()
            return {"Authorization": f"Basic {base64.b64encode(word.encode()).decode()}"}
        return {}


def _read(status: int, content: bytes) -> Answer:
    if len(content) > _MOST_BYTES:
        return Answer(None, error="an answer of more than 32 MiB, which is read no further")
    try:
        body = json.loads(content) if content else {}
    except ValueError:
        body = None
    if not isinstance(body, dict):
        return Answer(None if status < 300 else status, error=f"no JSON came back (HTTP {status})")
    said = " ".join(str(body.get("message") or "").split()) if status >= 300 else ""
    return Answer(status, body, said[:300])


def _why(error: Exception, seconds: float) -> str:
    import urllib3

    inner: BaseException = error
    while (further := inner.__cause__ or inner.__context__ or getattr(inner, "reason", None)) is not None:
        if not isinstance(further, BaseException):
            break
        inner = further
    if isinstance(error, urllib3.exceptions.TimeoutError) or isinstance(inner, TimeoutError):
        return f"no answer within {seconds:g} s; --timeout gives it more"
    return f"no answer: {inner}"
