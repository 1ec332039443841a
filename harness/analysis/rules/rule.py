"""What a rule is: a named cause, what it needs to be considered, and what it must show to be believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Literal

import msgspec

from harness.analysis.correlation import Evidence, EvidenceLine
from harness.analysis.record_view import Facts
from harness.record.observation import Observation
from harness.scenario.course import AnyStep
from harness.scenario.mount_kinds import KUBERNETES, NAMES
from harness.scenario.outcomes import Effect

Kind = Literal["regression", "latent", "pre-existing", "improvement"]
Confidence = Literal["certain", "strong", "none"]
"""certain: the record shows the cause itself. strong: it shows the effect, and the knowledge leaves one cause.
none: unexplained."""


RENEWAL: Final = "old-token-renew"
"""What a finding calls the renewals of an app that keeps running."""


class Case(msgspec.Struct, frozen=True):
    """Something that needs a cause: one question, as it is answered now, and as it was before if that differs."""

    kind: Kind
    effect: Effect
    after: Observation
    before: Observation | None
    facts: Facts

    def as_it_was(self, before: Observation) -> Case:
        """Return the case of what the same question answered *before*."""
        return msgspec.structs.replace(self, after=before, before=None)

    @property
    def evidence(self) -> Evidence:
        """Return the evidence of the answer that is to be explained."""
        return self.facts.evidence_of(self.after)

    @property
    def words(self) -> str:
        """Return all that Vault said about it: its answer, its audit entry, its log."""
        shown = [self.after.error, *(e.text for e in (*self.evidence.audit, *self.evidence.log))]
        return "\n".join(shown)

    @property
    def mount_kind(self) -> str:
        """Return of which kind the auth mount is that was asked; nothing where none was."""
        return self.facts.mount(self.after.mount).kind if self.after.mount else ""

    @property
    def cluster(self) -> str:
        """Return the cluster whose API server reviews at this mount."""
        return self.facts.mount(self.after.mount).cluster

    @property
    def reviewer_before(self) -> str:
        """Return who reviewed before, or nothing."""
        return self.facts.reviewer(self.before) if self.before is not None else ""

    def quoted(self, *needles: str) -> list[EvidenceLine]:
        """Return the answer, audit and log lines that contain one of *needles*."""
        answer = EvidenceLine("answer", f"HTTP {self.after.status} {self.after.error}")
        lines = [answer, *self.evidence.audit, *self.evidence.log, *self.evidence.api_log]
        return [line for line in lines if any(needle in line.text for needle in needles)]


class Occasion(msgspec.Struct, frozen=True):
    """A moment of this very course at which a remedy can be applied, and what is done then."""

    timing: Literal["before", "after"]
    """before: while nobody is refused yet, or at the first look where all were refused from the start. after: to what
    refuses already"""
    moment: str
    """the label of the look after which the steps are done"""
    version: str
    """the Vault that serves then"""
    steps: tuple[AnyStep, ...]

    def __hash__(self) -> int:
        # a step may hold a mapping, and what is equal has the same moment
        return hash((self.timing, self.moment))


class Remedy(msgspec.Struct, frozen=True):
    """One way to mend it. Where there are several they are alternatives, the one without an outage first."""

    words: str
    """what to do, as sentences; the commands are not in them"""
    when: str = ""
    """at which moment of the upgrade, as words that could begin a sentence; empty: at any time"""
    stop: str = ""
    """the Vault version that runs at that moment; empty where any may"""
    commands: tuple[str, ...] = ()
    """what to paste, each whole and on one line, in their order; what only the operator knows stands as ..."""
    occasions: tuple[Occasion, ...] = ()
    """when it can be applied, as steps that a rehearsal can do: the earliest first"""
    writes: tuple[str, ...] = ()
    """what is to be there in the end, whole: kubectl and vault write lines; <...> is what only the operator knows"""
    terraform: str = ""
    """the same as Terraform"""
    unproven: str = ""
    """why no rehearsal can prove it; empty where `occasions` can be tried"""

    @property
    def sentence(self) -> str:
        """Return when and what, in one breath."""
        return f"{self.when[0].upper()}{self.when[1:]}: {self.words}" if self.when else self.words


class Diagnosis(msgspec.Struct, frozen=True):
    """What a rule found."""

    sentence: str
    confidence: Confidence
    evidence: tuple[EvidenceLine, ...]
    remedies: tuple[Remedy, ...]


class Rule(msgspec.Struct, frozen=True):
    """A known cause.

    *examine* returns a Diagnosis, or None where its precondition does not hold or its evidence is not in the record.
    """

    name: str
    versions: str
    precondition: str
    demands: str
    """the evidence without which it says nothing"""
    explanation: str
    source: str
    examine: Callable[[Case], Diagnosis | None]
    kinds: tuple[str, ...] = (KUBERNETES,)
    """of which kinds the auth mounts are whose refusals it may explain: no other is asked of it"""
    grants: bool = False
    """may it explain that somebody is let in as well? Else it is asked of refusals alone"""

    def concerns(self, case: Case) -> bool:
        """May it explain such an answer at such a mount? Where no mount was asked, those may that are for each kind.

        So they may of what an engine makes: whoever has that is logged in, and no auth method is asked any more.
        """
        if self.kinds != NAMES and case.after.item and case.facts.topology.maker_of(case.after.item) is not None:
            return False
        asked = case.mount_kind in self.kinds if case.mount_kind else self.kinds == NAMES
        return asked and (self.grants or case.after.answer == "refused")


def diagnosed(
    sentence: str, confidence: Confidence, evidence_lines: Sequence[EvidenceLine | None], *remedies: Remedy | str
) -> Diagnosis | None:
    """Return a Diagnosis, or None where there is no evidence to show: no rule names a cause without.

    A remedy of words alone may be a plain text.
    """
    shown = tuple(evidence_line for evidence_line in evidence_lines if evidence_line is not None)
    ways = tuple(Remedy(way) if isinstance(way, str) else way for way in remedies)
    return Diagnosis(sentence, confidence, shown, ways) if shown else None
