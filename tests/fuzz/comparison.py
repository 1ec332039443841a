"""What was foretold of a scenario and what was seen: every difference, question by question and finding by finding."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

import msgspec

from harness.analysis import comparison, diagnosis, token_ends
from harness.analysis.record_view import Facts
from harness.analysis.verdict import Judgement
from harness.record.journal import Record
from harness.record.observation import BESIDE, Observation

UNEXPLAINED: Final = "unexplained"
_TIMES: Final = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z")
"""Times in what a server says: other ones at each run."""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was foretold otherwise than it was seen."""

    what: str
    """answer, status, reviewer, cause, identity, finding, trouble, verdict; or unexplained, where both know no cause"""
    where: str
    """the question and its moment, in words"""
    foretold: str
    seen: str
    versions: tuple[str, ...] = ()
    """the versions that are told of"""
    probe: str = ""
    app: str = ""
    mount: str = ""

    @property
    def sort(self) -> tuple[str, ...]:
        """Return what makes two differences one and the same, in a smaller scenario too."""
        return (self.what, self.probe, _TIMES.sub("...", self.foretold), _TIMES.sub("...", self.seen))

    @property
    def sentence(self) -> str:
        """Return it in words."""
        return f"{self.what} of {self.where}: foretold {self.foretold}, seen {self.seen}"


Seen = tuple[Record, Judgement]


def differences(foretold: Seen, seen: Seen) -> list[Difference]:
    """Return where two records of one scenario, the first of them on paper, differ: the first of each question."""
    found = [*_questions(Facts(foretold[0]), Facts(seen[0]))]
    found += _findings(foretold[1], seen[1], Facts(seen[0]))
    found += _troubles(foretold[1], seen[1])
    if not found:
        found += _verdicts(foretold[1], seen[1])
    return found


def _questions(paper: Facts, real: Facts) -> Iterator[Difference]:
    told = {(one.moment, comparison.key_of(one)): one for one in paper.observations}
    seen = {(one.moment, comparison.key_of(one)): one for one in real.observations}
    for place, one in told.items():
        other = seen.get(place)
        if other is None or one.answer == "unknown" == other.answer or token_ends.waited(real, other):
            continue
        found = _difference(paper, one, real, other)
        if found is not None:
            what, foretold, was = found
            question = " ".join(part for part in (one.probe, one.app or one.mount, one.item) if part)
            yield Difference(
                what=what,
                where=f"{question} ({one.moment}, Vault {one.version})",
                foretold=foretold,
                seen=was,
                versions=(one.version,),
                probe=one.probe,
                app=one.app,
                mount=one.mount,
            )


def _difference(paper: Facts, told: Observation, real: Facts, seen: Observation) -> tuple[str, str, str] | None:
    """Return in what two answers differ, the first of these, and both; or None where they do not."""
    if told.answer != seen.answer:
        return "answer", _words(paper, told), _words(real, seen)
    if told.status != seen.status:
        return "status", f"{told.status} {told.error}".strip(), f"{seen.status} {_short(seen.error)}".strip()
    if told.probe.startswith(BESIDE):
        return None
    reviewers = [facts.reviewer(one) if one.probe == "login" else "" for facts, one in ((paper, told), (real, seen))]
    if reviewers[0] != reviewers[1]:
        return "reviewer", reviewers[0] or "nobody", reviewers[1] or "nobody"
    causes = diagnosis.cause_of(paper, told), diagnosis.cause_of(real, seen)
    if causes[0] != causes[1]:
        return "cause", causes[0] or "none", causes[1] or "none"
    if causes[1] == UNEXPLAINED and not token_ends.ended_by_itself(real, seen):
        return UNEXPLAINED, f"{told.status} {told.error}".strip(), f"{seen.status} {_short(seen.error)}".strip()
    if told.probe == "login" and told.answer == "granted" and (one := _token(told)) != (other := _token(seen)):
        return "identity", str(one), str(other)
    return None


_OF_TOKENS: Final = ("policies", "renewable", "token_type")


def _token(login: Observation) -> dict[str, object]:
    """Return what a login gave, as far as paper knows such a thing."""
    shown = {name: login.detail.get(name) for name in _OF_TOKENS if name in login.detail}
    return {name: sorted(value) if isinstance(value, list) else value for name, value in shown.items()}


def _words(facts: Facts, seen: Observation) -> str:
    parts = (seen.answer, str(seen.status or ""), diagnosis.cause_of(facts, seen), _short(seen.error))
    return " ".join(part for part in parts if part)


def _short(text: str) -> str:
    return " ".join(text.split())[:150]


def _findings(paper: Judgement, real: Judgement, facts: Facts) -> Iterator[Difference]:
    told, seen = ({_finding(one): one for one in judged.findings} for judged in (paper, real))
    for key in [*told, *(key for key in seen if key not in told)]:
        if key in told and key in seen:
            continue
        one = told.get(key) or seen[key]
        looks = [asked for asked in facts.of_app.get(one.app, ()) if asked.moment == one.moment]
        if one.probe == "sidecar" and any(token_ends.waited(facts, asked) for asked in looks):
            continue
        kind = f"{one.kind} {one.effect} {one.rule}"
        yield Difference(
            what="finding",
            where=f"{one.probe} of {one.app or one.mount} {one.item} ({one.moment or 'at the start'})".replace(
                "  ", " "
            ),
            foretold=kind if key in told else "none",
            seen=kind if key in seen else "none",
            versions=(one.hop,) if one.hop else (),
            probe=one.probe,
            app=one.app,
            mount=one.mount,
        )


def _finding(one: diagnosis.Finding) -> tuple[object, ...]:
    what = (one.kind, one.effect, one.rule, one.app, one.mount, one.probe, one.item)
    return (*what, one.hop, one.moment, one.step)


def _troubles(paper: Judgement, real: Judgement) -> Iterator[Difference]:
    told, seen = ([f"{one.during}: {one.message}" for one in judged.troubles] for judged in (paper, real))
    if bool(told) != bool(seen):
        place = (paper.troubles or real.troubles)[0].during
        yield Difference(
            what="trouble",
            where=place,
            foretold=_short("; ".join(told)) or "none",
            seen=_short("; ".join(seen)) or "none",
        )


def _verdicts(paper: Judgement, real: Judgement) -> Iterator[Difference]:
    told, seen = (f"{judged.outcome} (exit {judged.exit_code})" for judged in (paper, real))
    if told != seen:
        yield Difference(
            what="verdict", where="the run", foretold=told, seen=f"{seen}: {'; '.join(real.reasons)[:300]}"
        )
