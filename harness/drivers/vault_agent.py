"""What a Vault Agent is told, as the injector tells it, and what its log says came of it."""

from __future__ import annotations

import abc
import re
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

import msgspec

from harness import wait
from harness.errors import NotReady
from harness.knowledge.versions import EXITS_ON_RETRY, at_least
from harness.rig.agents import Agent
from harness.rig.rig import Reply
from harness.scenario.schema_agents import SinkState
from harness.secret import Secret
from harness.wait import now

CONFIG: Final = "agent.json"
JWT: Final = "jwt"
TOKEN: Final = "token"
FILES: Final = "file-"
"""How files are called in an agent's directory: what it is told, its Pod's token, the token that it gets, and the
beginning of what it writes of secrets.
"""

SECONDS: Final = 30
"""How long an agent is given to get what it wants, or to say what it was answered."""

SOON: Final = 5
"""Seconds: an agent that tries again within them is as good as one that has, and is given them."""

_NOWHERE: Final = f"not-mounted/{TOKEN}"
"""Where an agent is told to write its token that has no folder for it: nobody makes that."""

_ANSWERED: Final = re.compile(
    r"URL: \w+ \S+?/v1/(\S+)[\s|]+Code: (\d+)\. Errors:[\s|]+\* (?:\d+ errors? occurred:[\s|]+\* )?"
    r"([^\n]*?)(?: \(retry|\" backoff=|\"?(?:\n|$))"
)
"""What an agent's log has of an answer that it did not like: the path, the status, and Vault's first error. From 1.8.0
on every line of it begins with a bar."""
_LOGGED_IN: Final = "authentication successful"
_REFUSED: Final = "error authenticating"
_RENEWED: Final = "renewed auth token"
_SINK: Final = re.compile(r"(?:error creating file sink|error returned by sink function)[^\n]*", re.IGNORECASE)
_BACKOFF: Final = re.compile(r"backoff=(?:(\d+)m)?([\d.]+)(ms|s)?")


class Vault(msgspec.Struct, frozen=True):
    """Where an agent finds Vault, and by which files it is let in; without them it talks plain HTTP."""

    address: str
    ca: str = ""
    certificate: str = ""
    key: str = ""


class Left(msgspec.Struct, frozen=True):
    """What there is of an agent: its log, how it ended (None: it runs), the token that it wrote, how many files."""

    log: str
    exit_code: int | None
    token: Secret | None = None
    files: int = 0
    age: float | None = None
    """seconds since the oldest of the files was written"""


class StartedAgent(abc.ABC):
    """One agent that was started, wherever it is."""

    _agent: Agent
    _stays: bool
    _every: float = 0.01
    """so many seconds apart it is looked at, while it is waited for"""
    _failures: int = 0
    """how often it had been refused at the look before"""

    @abc.abstractmethod
    def _left(self) -> Left:
        """Return what there is of it by now."""

    def wait(self) -> None:
        """Wait until it has what it wants, has ended, or has said what it was answered; or for so long as is usual."""
        with suppress(NotReady):
            wait.until(
                lambda: is_done(self._agent, self._left(), stays=self._stays),
                what=f"Vault Agent {self._agent.version} to log in",
                seconds=SECONDS,
                every=self._every,
            )

    def present(self, jwt: Secret) -> None:
        """Have the token of its Pod's service account be *jwt*, where no kubelet renews that."""
        del jwt

    def await_next_try(self) -> None:
        """Wait until it has tried again to log in, where it does so within a moment."""
        left = self._left()
        failures, soon = (lived(left)[one] for one in ("failures", "backoff"))
        before = len(answers(left.log))
        if failures and soon is not None and soon <= SOON:
            with suppress(NotReady):
                # it writes that it was refused first, and by what answer in the lines below
                wait.until(
                    lambda: len(answers(self._left().log)) > before,
                    what=f"Vault Agent {self._agent.version} to try again",
                    seconds=SOON + 1,
                    every=self._every,
                )

    @abc.abstractmethod
    def kill(self) -> None:
        """End it at once."""

    def has_ended(self) -> bool:
        """Has it ended by itself, as none does that stays unless what it reads is refused?"""
        return self._left().exit_code is not None

    def state(self, started: float) -> Reply:
        """Return what has come of it by now."""
        answer = reply(self._agent, self._left(), started, now(), stays=self._stays)
        failures = answer.data.get("failures", 0)
        if failures and failures == self._failures:
            answer.data["waits_on"] = True
        self._failures = failures
        return answer


One = TypeVar("One", bound=StartedAgent)


class KeepsAgents(abc.ABC, Generic[One]):
    """A rig that has agents which stay beside apps."""

    _sidecars: dict[str, One]
    """those that stay, by their apps: the last that was started of each"""
    _sinkless: frozenset[str] = frozenset()
    """the apps whose agents that start have no folder for their tokens"""

    def turn_sink(self, app: str, to: SinkState) -> None:
        """Take the folder for the token of an app's agents away from those that start from now on, or give it back."""
        self._sinkless = self._sinkless | {app} if to == "missing" else self._sinkless - {app}

    def _as_told(self, app: str, agent: Agent) -> Agent:
        """Return an *agent* of an app as one that starts now."""
        return msgspec.structs.replace(agent, has_sink=app not in self._sinkless)

    def sidecar(self, app: str, agent: Agent, jwt: Secret) -> Reply:
        """Return how the agent beside an app is, which is started if none runs there."""
        started, one = now(), self._sidecars.get(app)
        if one is not None and one.has_ended():
            # a kubelet starts a container of a Deployment's anew, without its waits
            one.kill()
            one = None
        if one is None:
            one = self._sidecars[app] = self._begin(app, agent, jwt)
            one.wait()
        one.present(jwt)
        one.await_next_try()
        one.wait()
        return one.state(started)

    @abc.abstractmethod
    def _begin(self, app: str, agent: Agent, jwt: Secret) -> One:
        """Return an agent that was started beside an app, and stays."""


def config(agent: Agent, vault: Vault, folder: str, *, stays: bool, jwt: str = "") -> dict[str, Any]:
    """Return the configuration that the injector writes for its init container, or for the sidecar, which *stays*.

    *folder* is where it writes; *jwt* the file of its Pod's token, where that is not there. Source: vault-k8s,
    agent-inject/agent. Beside it stand the CA and the certificate with which this Vault lets itself be asked, and that
    no answer is asked for again before the agent says what it was.
    """
    # agents of 1.7.0 to 1.10.0 ask again for minutes, without a word, where they are answered 500 (run)
    asked: dict[str, Any] = {"address": vault.address, "retry": {"num_retries": -1}}
    if vault.ca:
        asked |= {"ca_cert": vault.ca, "client_cert": vault.certificate, "client_key": vault.key}
    method = {
        "type": "kubernetes",
        "mount_path": f"auth/{agent.mount}",
        "config": {"role": agent.role, "token_path": jwt or f"{folder}/{JWT}"},
    }
    sink = f"{folder}/{TOKEN if agent.has_sink else _NOWHERE}"
    written: dict[str, Any] = {
        "exit_after_auth": not stays,
        "vault": asked,
        "auto_auth": {"method": method, "sink": [{"type": "file", "config": {"path": sink}}]},
    }
    if agent.reads:
        written["template"] = [
            {
                "destination": f"{folder}/{FILES}{number}",
                "contents": f'{{{{ with secret "{path}" }}}}{{{{ range $k, $v := .Data }}}}{{{{ $k }}}}: {{{{ $v }}}}\n'
                "{{ end }}{{ end }}",
            }
            for number, path in enumerate(agent.reads)
        ]
        if at_least(agent.version, EXITS_ON_RETRY):
            written["template_config"] = {"exit_on_retry_failure": True}
    return written


def answered(log: str, *, last: bool = False) -> re.Match[str] | None:
    """Return the first answer of Vault's that an agent's *log* complains of, or the *last* one; or None."""
    found = answers(log)
    return (found[-1] if last else found[0]) if found else None


def answers(log: str) -> list[re.Match[str]]:
    """Return every answer of Vault's that an agent's *log* complains of: the path, the status, and the first error."""
    return list(_ANSWERED.finditer(log))


def is_done(agent: Agent, left: Left, *, stays: bool) -> bool:
    """Has an agent ended, said what it was answered, or, where it *stays*, written all that it wants?"""
    whole = stays and left.token is not None and left.files == len(agent.reads)
    # what one that stays was answered before it was let in is no news
    return left.exit_code is not None or whole or answered(_since_login(left.log) if stays else left.log) is not None


def reply(agent: Agent, left: Left, started: float, ended: float, *, stays: bool) -> Reply:
    """Return what came of an agent, as `RunsAgents` has it."""
    data: dict[str, Any] = {"agent": agent.version, "exit": left.exit_code, "token": left.token is not None}
    data["files"] = left.files
    log, whole = left.log, left.exit_code == 0
    if stays:
        log = _since_login(left.log)
        data |= lived(left)
        whole = left.exit_code is None and left.token is not None and left.files == len(agent.reads)
    # one that stays was answered by other versions before
    said = answered(log, last=stays)
    if whole:
        return Reply(200, "", data, left.token, started=started, ended=ended)
    if said is not None:
        data["refused"] = said[1]
        return Reply(int(said[2]), said[3], data, left.token, started=started, ended=ended)
    if (sink := _SINK.search(left.log)) is not None:
        data["sink"] = " ".join(sink[0].split())
    return Reply(None, _why(agent, left), data, started=started, ended=ended)


def _why(agent: Agent, left: Left) -> str:
    who = f"Vault Agent {agent.version}"
    if (sink := _SINK.search(left.log)) is not None:
        return f"{who} could not write the token that it got: {' '.join(sink[0].split())}"
    if left.exit_code is None:
        return f"{who} neither had what it wanted nor said what it was answered"
    return f"{who} ended with status {left.exit_code}: {' '.join(left.log.splitlines()[-3:])}"


def _since_login(log: str) -> str:
    """Return what an agent has written since its last login that was granted."""
    return log.rpartition(_LOGGED_IN)[2]


def lived(left: Left) -> dict[str, Any]:
    """Return what became of an agent that stays: its logins and renewals, and how it waits since the last login."""
    since = _since_login(left.log)
    waits = [_span(found) for found in _BACKOFF.finditer(since)]
    return {
        "age": left.age,
        "logins": left.log.count(_LOGGED_IN),
        "renewals": left.log.count(_RENEWED),
        "failures": since.count(_REFUSED),
        "backoff": waits[-1] if waits else None,
    }


def _span(found: re.Match[str]) -> float:
    """Return a span of time in seconds, as Go writes one, or as agents before 1.7 did: a bare number of seconds."""
    return int(found[1] or 0) * 60 + float(found[2].rstrip(".")) / (1000 if found[3] == "ms" else 1)
