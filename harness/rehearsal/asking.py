"""A question is asked; and again where its answer is another one than before: a change that holds is a change."""

from __future__ import annotations

import dataclasses
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import msgspec

from harness.errors import RigError
from harness.record.journal import Journal
from harness.record.observation import BESIDE, Answer, Observation, counted_as
from harness.rehearsal import probes
from harness.rehearsal.probes import View
from harness.rig.rig import Rig
from harness.scenario.app_spec import STORM
from harness.scenario.plan import Question
from harness.scenario.topology import Topology
from harness.wait import Stopwatch

AGAIN: Final = 3
"""So often is a question asked again."""

_SECONDS: Final = 5.0
"""No further time is begun after so long: of what answers slowly, once more says enough."""

_CHANGES_SOMETHING: Final = ("lockout", "wrong-secret", "agent-login", "sidecar", STORM)
"""Probes that count wrong secrets up by being asked, or that start a program for it."""


class LostError(RigError):
    """A server that Vault depends on has ended."""


def _lost(which: str) -> LostError:
    return LostError(
        f"{which} in the middle of the run, so nobody knows what Vault would have answered; its log is kept beside "
        "the record: see why, and run again"
    )


@dataclass(slots=True)
class Asking:
    """All questions of a rehearsal, one look after the other."""

    topology: Topology
    rig: Rig
    journal: Journal
    real: bool
    """on paper an answer that is worked out again is the same"""
    last: dict[Question, Answer] = field(default_factory=dict)
    """how each was answered at the look before"""

    def ask(self, question: Question, view: View) -> None:
        """Ask one question. A refusal that came while a server was missing that Vault depends on is none of Vault's."""
        seen = probes.ASKED[question.probe](view, question)
        if self.real and self._may_have_been_between_leaders(question, seen, view):
            seen = self._of_whoever_leads(question, view, seen)
        if self.real and self._is_asked_again(question, seen):
            seen = self._again(question, view, seen)
        self.last[question] = seen.answer
        # nothing is granted because a server is missing; and to look takes longer than most questions do
        lost = self.rig.broken() if seen.answer != "granted" else None
        if lost is None:
            self.journal.write(seen)
            return
        error = f"{lost}; Vault's answer then was {seen.status} {seen.error}".rstrip()
        self.journal.write(msgspec.structs.replace(seen, answer="unknown", error=error))
        raise _lost(lost)

    def insist_whole(self) -> None:
        """Raise LostError if a server is missing that Vault depends on, whoever noticed it."""
        if lost := self.rig.broken():
            raise _lost(lost)

    def _may_have_been_between_leaders(self, question: Question, seen: Observation, view: View) -> bool:
        """May it have no answer because another node came to lead, as it does by itself under load?"""
        if seen.answer != "unknown" or seen.blocked_by is not None or question.node or view.forwards(question):
            return False
        return question.probe not in _CHANGES_SOMETHING and not question.probe.startswith(BESIDE)

    def _of_whoever_leads(self, question: Question, view: View, first: Observation) -> Observation:
        """Return what the node says that leads by now, with the *first* answer; that one, where nobody has another."""
        if not view.finds_leader(question.vault):
            return first
        seen = probes.ASKED[question.probe](view, question)
        if seen.answer == "unknown":
            return seen
        return msgspec.structs.replace(seen, at_first=f"{counted_as(first)} {first.error}".rstrip())

    def _is_asked_again(self, question: Question, seen: Observation) -> bool:
        """Is it another answer than at the look before, or at the first look not what a system that is well says?"""
        if seen.blocked_by is not None or question.probe in _CHANGES_SOMETHING or question.probe.startswith(BESIDE):
            return False
        if not question.app:
            # how a config is shown depends on what Vault has loaded: 1.11.0 refuses to show one without a CA, once
            return False
        role = self.topology.role_of(question.app)
        if role.num_uses or role.secret_id_num_uses:
            return False
        before = self.last.get(question)
        if before is not None:
            return before != seen.answer
        return seen.answer != ("refused" if seen.must_be == "refused" else "granted")

    def _again(self, question: Question, view: View, first: Observation) -> Observation:
        """Return the *first* answer with how often each came: apps go on with the token of the first login."""
        aside = dataclasses.replace(view, logins=dict(view.logins), old=dict(view.old), number=lambda: 0)
        counted, watch = Counter([counted_as(first)]), Stopwatch()
        for _ in range(AGAIN):
            counted[counted_as(probes.ASKED[question.probe](aside, question))] += 1
            if watch.seconds > _SECONDS:
                break
        return msgspec.structs.replace(first, answers=dict(counted))
