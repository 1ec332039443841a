"""One Pod in which Vault runs: whether it lives, whose fault it is if not, and what it said."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, TypeVar

from harness import wait
from harness.clients.kube_states import PodState
from harness.clients.vault import Vault
from harness.drivers.kind.cluster import KindCluster
from harness.drivers.log_tail import Pieces, PodTail, as_json
from harness.errors import RigError, Unreachable
from harness.knowledge import shutdown_signs, versions
from harness.record.node_events import PodSeen
from harness.secret import redact

T = TypeVar("T")

LINES_BETWEEN: Final = 4
"""So many lines a container prints for one of Vault's own words: those of the audit log stand between them."""

_ROLLOUT_SECONDS: Final = 120
_WHOLE: Final = 10_000  # lines: a Go program that is told to quit prints all its stacks after the reason
_HOPELESS: Final = (
    "ErrImageNeverPull", "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "CreateContainer", "RunContainerError",
    "StartError", "ContainerCannotRun",
)  # fmt: skip
_SIGKILL_STATUS: Final = 128 + signal.SIGKILL


class OnePod:
    """A Pod of a StatefulSet, which has the same name whatever that makes in its place."""

    def __init__(self, cluster: KindCluster, namespace: str, stateful_set: str, pod: str, log: Path) -> None:
        """Whatever it prints is brought to the file *log*."""
        self._cluster, self.namespace, self._name, self._pod = cluster, namespace, stateful_set, pod
        self.log = PodTail(log)
        self._uid = self._version = ""
        self.unwanted: threading.Event | None = None
        """once set, nobody waits for it any more"""

    def died(self) -> str | None:
        """Return a sentence if Vault has ended by itself; its Pod may have started it again since.

        Raises RigError where that says nothing about Vault: its Pod can never run, it was killed, its node is gone.
        """
        try:
            state = self._state()
        except Unreachable as error:
            if lost := self._cluster.died():
                what = versions.called(self._version)
                raise RigError(f"{lost}, and {what} with it; see why, and run again") from error
            return None
        if state is None or state.uid != self._uid:
            return None
        if state.waiting.startswith(_HOPELESS):
            what = versions.called(self._version)
            raise RigError(f"the Pod of {what} cannot run: {state.waiting}", self._complaints())
        if state.killed_for_memory:
            raise RigError(
                f"{versions.called(self._version)} was killed, because its memory ran out: make room and run again",
                self.tail(40),
            )
        if state.status == _SIGKILL_STATUS:
            raise RigError(
                f"{versions.called(self._version)} was killed from outside by SIGKILL, which was not its own doing: "
                "see who did, and run again",
                self.tail(40),
            )
        if not state.restarts and state.status is None:
            return None
        if who := shutdown_signs.stopped(self.tail(_WHOLE)):
            raise RigError(shutdown_signs.blame(self._version, who), self.tail(40))
        now = f", and its Pod is now {state.waiting}" if state.waiting else ""
        return f"{versions.called(self._version)} ended by itself with status {state.status}{now}"

    def given_up(self) -> str | None:
        """Return a sentence if it is of no use to wait for it; raises as `died`."""
        if self.unwanted is not None and self.unwanted.is_set():
            return "nobody waits for it any more"
        return self.died()

    def tail(self, lines: int = 40) -> list[str]:
        """Return the last *lines* that the Vault of this version printed, redacted; none where nobody can be asked."""
        try:
            # of its node, because a Vault that ended just now has last words that are not here yet
            log = self._cluster.pod_log(self.namespace, self._pod, self._uid, "vault", LINES_BETWEEN * lines)
        except (Unreachable, RigError):
            return []
        return _words(log)[-lines:]

    def whole_log(self) -> list[str]:
        """Return what every version of Vault printed, redacted."""
        try:
            said = _words(self.log.path.read_text(errors="replace").splitlines())
        except FileNotFoundError:
            said = []
        known = set(said)
        return said + [line for line in self.tail() if line not in known]

    @property
    def started(self) -> bool:
        """Is there a Pod in which Vault was started, and not stopped since?"""
        return bool(self._uid)

    def seen_by_kubelet(self) -> PodSeen | None:
        """Return how its Pod is; None: Vault is stopped, or nobody says."""
        try:
            state = self._state() if self.started else None
        except Unreachable:
            return None
        return PodSeen(ready=state.ready, restarts=state.restarts, waiting=state.waiting) if state else None

    def _await(self, what: str, condition: Callable[[], T]) -> T:
        return wait.until(
            condition,
            what=what,
            seconds=_ROLLOUT_SECONDS,
            every=0.05,
            died=self.given_up,
            log=lambda: [*self._complaints(), *self.tail()],
            advice="its log and those of the node are kept beside the record",
        )

    def _comes(self, gone: str, client: Vault) -> PodState:
        """Return the Pod that comes in the place of *gone*, once its Vault answers, sealed or not initialised."""
        pod = self._await(f"the Pod of {versions.called(self._version)} to be made", lambda: self._new(gone))
        self._uid = pod.uid
        self._cluster.follow_pod(self.namespace, self._pod, self._uid, "vault", self.log.path)
        self._await(f"{versions.called(self._version)} to answer", lambda: client.seal_status().answered())
        return pod

    def _new(self, gone: str) -> PodState:
        state = self._state()
        if state is None or state.uid == gone:
            raise Unreachable("the Pod of the version before it is still there" if state else "there is no Pod")
        return state

    def _state(self) -> PodState | None:
        return self._cluster.kube.pod(self.namespace, self._pod)

    def _complaints(self) -> list[str]:
        kube = self._cluster.kube
        try:
            # where there is no Pod, its StatefulSet knows why
            return [
                *kube.complaints(self.namespace, self._name),
                *kube.complaints(self.namespace, self._pod, self._uid),
            ]
        except (Unreachable, RigError) as error:
            return [str(error)]


def is_audit(line: str) -> bool:
    """Whether a line that Vault printed is of its audit log, and none of its own words."""
    # its fields have another order in every release
    entry = as_json(line) if '"type":"re' in line else None
    return entry is not None and entry.get("type") in ("request", "response")


def _words(log: Iterable[str]) -> list[str]:
    """Return what stands in a Pod's *log* as printed, redacted, but for the audit log."""
    return [redact(line) for line in Pieces().whole(log) if not is_audit(line)]
