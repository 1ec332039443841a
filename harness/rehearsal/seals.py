"""A Vault that is unsealed by another one: how the two come to be, and what is done to the one that unseals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from harness.errors import HarnessError, NotReady
from harness.knowledge import versions
from harness.record.journal import Journal
from harness.record.node_events import LeftToKubelet, PodSeen
from harness.rig.rig import Reopen, Rig
from harness.rig.seals import seal_vault
from harness.scenario import course, topology
from harness.scenario.course import AnyStep, Serve, Start
from harness.scenario.schema_seals import ToSealVault
from harness.scenario.topology import Topology
from harness.secret import Secret
from harness.wait import Stopwatch, until

_KUBELET_SECONDS: Final = 90.0
"""How long is waited for what a kubelet does: it starts a container again after 10 s, then after 20 s and 40 s more."""

_READY_SECONDS: Final = 10.0

_MENDS: Final[dict[ToSealVault, ToSealVault]] = {"seal": "unseal", "stop": "start", "end-token": "new-token"}


def _waits(pod: PodSeen | None) -> bool:
    return pod is not None and pod.restarts > 0 and bool(pod.waiting)


def _is_ready(pod: PodSeen | None) -> bool:
    return pod is not None and pod.ready


@dataclass(slots=True)
class Seals:
    """What is known of the two Vaults while the course goes on; there is nothing to know where one is alone."""

    rig: Rig
    wanted: Topology
    token: Secret | None = None
    """by which the Vault that unseals knows the other one"""
    used: bool = field(init=False)
    """is the other one unsealed by it?"""
    wrong: list[ToSealVault] = field(default_factory=list)
    """what was done to the Vault that unseals, and not mended yet"""
    recovery: dict[str, Sequence[Secret]] = field(default_factory=dict)
    """the recovery keys of a Vault that is unsealed by another one"""

    def __post_init__(self) -> None:
        self.used = self.wanted.vault.seal == topology.TRANSIT

    def begin(self, step: Start) -> None:
        """Have a Vault start that had to wait for the one that unseals it."""
        if self.wanted.seal_vault and step.vault != self.wanted.seal_vault:
            seal_vault(self.rig).begin(step)

    def begun(self, step: Start, keys: Sequence[Secret]) -> Sequence[Secret]:
        """Take note that a Vault is set up and has these *keys*, and return those with which it is unsealed."""
        if self.wanted.named(step.vault).of_seals:
            self.rig.system(step.vault).setup.make_transit_key()
            self._new_token()
        if self.wanted.named(step.vault).seal != topology.TRANSIT:
            return keys
        self.recovery[step.vault] = keys
        return ()

    def before(self, step: Serve, keys: Sequence[Secret]) -> Sequence[Secret]:
        """Have a Vault start next by the seal to which *step* migrates. Return the keys that it is to be handed.

        *keys* are those with which it is unsealed.
        """
        if not step.seal:
            return keys
        leaves = step.seal != topology.TRANSIT
        token = None if step.left_out == "disabled" else self.token
        seal_vault(self.rig).hand_seal_token(token, disabled=leaves)
        return self.recovery[step.vault] if leaves else keys

    def after(self, step: Serve, keys: Sequence[Secret]) -> Sequence[Secret]:
        """Take note that a Vault serves that was handed *keys*. Return those with which it is unsealed from now on."""
        if step.seal == topology.TRANSIT:
            self.used, self.recovery[step.vault] = True, keys
            return ()
        if step.seal:
            self.used = False
            # what is disabled is asked at each start as well: nobody leaves it there
            seal_vault(self.rig).hand_seal_token(None)
        return keys

    def do(self, step: course.SealVault, again: Reopen) -> None:
        """Do something to the Vault that unseals. *again* unseals it by its own keys."""
        system, rig = self.rig.system(step.vault), seal_vault(self.rig)
        self.wrong = [one for one in self.wrong if _MENDS[one] != step.what]
        if step.what in _MENDS:
            self.wrong.append(step.what)
        match step.what:
            case "seal":
                system.setup.seal()
            case "stop":
                rig.take_away()
            case "start":
                rig.bring_back()
                again()
            case "unseal":
                again()
            case "end-token" if self.token is not None:
                system.setup.end_token(self.token)
            case _:
                self._new_token()

    def leave_to_kubelet(self, step: Serve, reopen: Callable[[AnyStep], None], journal: Journal) -> None:
        """See what a kubelet does with a Vault that has ended in its Pod for want of the one that unseals it.

        It is left alone at first, then that one is mended, and it is left alone again. *reopen* unseals the Vault of a
        step by its own keys. Nothing is done where no kubelet starts it, or where this course has nothing to be mended.
        """
        if not self.used or step.seal or not self.wrong or step.vault == self.wanted.seal_vault:
            return
        with suppress(HarnessError):  # what ended the Vault is told in any case
            rig = seal_vault(self.rig)
            if rig.pod_seen() is None:
                return
            with suppress(NotReady):
                waits = "its kubelet to wait before it starts Vault anew"
                until(lambda: _waits(rig.pod_seen()), what=waits, seconds=_KUBELET_SECONDS, every=0.1)
            pod = rig.pod_seen()
            if pod is None:
                return
            mended = tuple(_MENDS[one] for one in self.wrong)
            for what in mended:
                mend = course.SealVault(vault=self.wanted.seal_vault, what=what)
                self.do(mend, lambda mend=mend: reopen(mend))  # type: ignore[misc]
            watch, vault = Stopwatch(), self.rig.system(step.vault).vault
            seconds = None
            with suppress(NotReady):
                until(
                    lambda: vault.seal_status().data.get("sealed") is False,
                    what=f"{versions.called(step.version)} to be unsealed in the same Pod",
                    seconds=_KUBELET_SECONDS,
                    every=0.2,
                )
                seconds = round(watch.seconds, 1)
                until(lambda: _is_ready(rig.pod_seen()), what="its Pod to be ready", seconds=_READY_SECONDS, every=0.2)
            then = rig.pod_seen()
            journal.write(
                LeftToKubelet(
                    version=step.version,
                    step=step.number,
                    pod=pod,
                    mended=mended,
                    seconds=seconds,
                    waited=_KUBELET_SECONDS if seconds is None else seconds,
                    then=then,
                    vault=step.vault,
                )
            )

    def _new_token(self) -> None:
        self.token = self.rig.system(self.wanted.seal_vault).setup.make_seal_token()
        if self.used:
            seal_vault(self.rig).hand_seal_token(self.token)
