"""Many Pods of an app that log in at once, on real servers: made, given tokens, asked for by wrk, and counted."""

from __future__ import annotations

import abc
import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from harness import wait
from harness.clients import wrk
from harness.clients.kube import Kube
from harness.clients.wrk import Counted
from harness.drivers.log_tail import seconds_of
from harness.drivers.real_rig import RealRig
from harness.drivers.service_accounts import Account
from harness.host import pki
from harness.host.process import Supervisor
from harness.rig.rig import Reply
from harness.rig.storms import NO_ANSWER
from harness.scenario.app_spec import StormSpec
from harness.scenario.values import addressed
from harness.secret import carried
from harness.wait import now

_THREADS: Final = 8

NO_SCHEDULER: Final = "rehearse.invalid"
"""By which nobody places the Pods of a storm on a node: the API server knows them, and no kubelet has to run them."""


class StormsRealLogins(RealRig):
    """A rig of real servers that has many Pods log in at once: the record has counts of them alone.

    Their tokens are no `Secret`: thousands of those would have to be looked for in every line of the record. They go
    from the API server into a file of mode 0600, from there to Vault, and nowhere else.
    """

    _storm_pods: dict[str, list[tuple[str, str]]]
    """by app: the names and UIDs of the Pods of its storm, which stay"""

    @abc.abstractmethod
    def storm_place(self, cluster: str) -> tuple[Kube, Supervisor]:
        """Return a client of *cluster*, in which the Pods of a storm are, and who ends what makes the storm."""

    def login_storm(self, app: str) -> Reply:
        """Make the Pods and their tokens, have all of them log in, and count what they and the API server say."""
        wanted, account = self._topology.apps[app], self._account_of(f"app:{app}")
        assert wanted.storm is not None
        mount, (kube, supervisor) = self._topology.mounts[wanted.mount], self.storm_place(account.cluster)
        with tempfile.TemporaryDirectory(prefix="storm-", dir=self._work, ignore_cleanup_errors=True) as directory:
            file = Path(directory) / "logins"
            tokens = self._storm_tokens(kube, account, wanted.storm.pods)
            pki.write_private(file, b"".join(_body(wanted.role, token) for token in tokens))
            asked = mount.cluster if mount.of_kind.reviews else ""
            started = now()
            counted = self._let_loose(supervisor, wanted.storm, wanted.mount, file)
            ended = now()
        data = _data(wanted.storm, counted)
        if asked:
            data["reviews"] = _summary(self._collector.reviews(asked))
        status, error = _worst(data)
        return Reply(status, error, data, started=started, ended=ended)

    def _storm_tokens(self, kube: Kube, account: Account, pods: int) -> list[str]:
        """Return a new token of every Pod of a storm; the first time the Pods are made."""
        space = account.namespace

        def make(number: int) -> tuple[str, str]:
            name = f"{account.pod}-{number}"
            return name, kube.create_pod(space, name, account.name, scheduler=NO_SCHEDULER)

        def token(pod: tuple[str, str]) -> str:
            name, uid = pod
            bound = {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid}
            spec: dict[str, Any] = {"boundObjectRef": bound, "expirationSeconds": account.token_seconds}
            if account.audiences:
                spec["audiences"] = list(addressed(account.audiences, kube.host))
            return kube.plain_token(space, account.name, spec)

        with ThreadPoolExecutor(_THREADS, thread_name_prefix="storm") as pool:
            if account.purpose not in self._storm_pods:
                self._storm_pods[account.purpose] = list(pool.map(carried(make), range(pods)))
            return list(pool.map(carried(token), self._storm_pods[account.purpose]))

    def _let_loose(self, supervisor: Supervisor, storm: StormSpec, mount: str, bodies: Path) -> Counted:
        url = f"{self.vault.address}/v1/auth/{mount}/login"
        running = supervisor.start(
            "wrk",
            wrk.command(url, bodies, storm.pods, storm.at_once),
            env={},
            cwd=bodies.parent,
            log=bodies.parent / "wrk.log",
        )
        try:
            wait.until(
                lambda: running.poll() is not None,
                what="all logins to be answered",
                seconds=wrk.patience(storm.pods) + 10,
            )
            return wrk.counted((bodies.parent / "wrk.log").read_text().splitlines())
        finally:
            running.kill()


def _body(role: str, token: str) -> bytes:
    return json.dumps({"role": role, "jwt": token}).encode() + b"\n"


def _data(storm: StormSpec, counted: Counted) -> dict[str, Any]:
    answers = {f"HTTP {status}": times for status, times in sorted(counted.statuses.items())}
    if (lost := storm.pods - counted.answered) > 0:
        answers[NO_ANSWER] = lost
    return {
        "pods": storm.pods,
        "at_once": storm.at_once,
        "answers": answers,
        "said": {f"HTTP {status}": text for status, text in counted.said.items()},
        "seconds": round(counted.seconds, 3),
        "latency_ms": {name: round(micros / 1000, 3) for name, micros in counted.micros.items()},
    }


def _worst(data: Mapping[str, Any]) -> tuple[int | None, str]:
    """Return the status and the words of the most frequent answer that let nobody in; 200 where everybody was."""
    bad = Counter({came: times for came, times in data["answers"].items() if not came.startswith("HTTP 2")})
    if not bad:
        return 200, ""
    ((came, times),) = bad.most_common(1)
    if came == NO_ANSWER:
        return None, f"{times} of {data['pods']} logins were not answered in {wrk.patience(data['pods'])} s"
    return int(came.removeprefix("HTTP ")), str(data["said"].get(came, ""))


def _summary(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return what an API server was asked and answered, and how long it took, by its audit log."""
    answers = Counter(f"HTTP {(one.get('responseStatus') or {}).get('code')}" for one in entries)
    by = Counter(str((one.get("user") or {}).get("username") or "nobody") for one in entries)
    times = [seconds_of(one["stageTimestamp"]) - seconds_of(one["requestReceivedTimestamp"]) for one in entries]
    return {"answers": dict(answers), "asked_by": dict(by), "latency_ms": wrk.spread(times)}
