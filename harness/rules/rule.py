"""What a rule is: a named cause, what it needs to be considered, and what it must show to be believed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from harness.evidence import Evidence, Exhibit
from harness.facts import Facts
from harness.observation import Observation
from harness.scenario import Effect

Kind = Literal["regression", "latent", "pre-existing"]
Confidence = Literal["certain", "strong", "none"]
"""certain: the record shows the cause itself. strong: it shows the effect, and the knowledge leaves one cause.
none: unexplained."""


class Case(msgspec.Struct, frozen=True):
    """Something that needs a cause: one question, as it is answered now, and as it was before if that differs."""

    kind: Kind
    effect: Effect
    after: Observation
    before: Observation | None
    facts: Facts

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
    def cluster(self) -> str:
        """Return the cluster whose API server reviews at this mount."""
        return self.facts.mount(self.after.mount).cluster

    @property
    def reviewer_before(self) -> str:
        """Return who reviewed before, or nothing."""
        return self.facts.reviewer(self.before) if self.before is not None else ""

    def rewritten(self, chosen: str = "") -> str:
        """Return the command that writes the mount's config again with *chosen*, and with what it was given before.

        A write replaces every field: one that a remedy leaves out is lost, and its default is the writing version's.
        """
        mount = self.after.mount
        given = self.facts.written[mount][1].fields if mount in self.facts.written else {}
        kept = ["issuer=..."] if "issuer" in given else []
        if "disable_iss_validation" in given:
            kept.append(f"disable_iss_validation={str(given['disable_iss_validation']).lower()}")
        fields = ("kubernetes_host=...", "kubernetes_ca_cert=@ca.crt", *kept, chosen)
        return f"vault write auth/{mount}/config {' '.join(filter(None, fields))}"

    def quoted(self, *needles: str) -> list[Exhibit]:
        """Return the answer, audit and log lines that contain one of *needles*."""
        answer = Exhibit("answer", f"HTTP {self.after.status} {self.after.error}")
        lines = [answer, *self.evidence.audit, *self.evidence.log, *self.evidence.api_log]
        return [line for line in lines if any(needle in line.text for needle in needles)]


class Diagnosis(msgspec.Struct, frozen=True):
    """What a rule found."""

    sentence: str
    confidence: Confidence
    evidence: tuple[Exhibit, ...]
    remedy: str


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


def diagnosed(
    sentence: str, confidence: Confidence, exhibits: Sequence[Exhibit | None], remedy: str
) -> Diagnosis | None:
    """Return a Diagnosis, or None where there is no evidence to show: no rule names a cause without."""
    shown = tuple(exhibit for exhibit in exhibits if exhibit is not None)
    return Diagnosis(sentence, confidence, shown, remedy) if shown else None
