"""Stored reviewers that are accepted until the end of the run, and will not be for ever: what a run cannot wait for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec

from harness.analysis import diagnosis
from harness.analysis.diagnosis import Finding
from harness.analysis.impact import span
from harness.analysis.record_view import Facts, day_and_time
from harness.analysis.rules import Case, Remedy, remedies
from harness.knowledge import kubernetes_auth, versions
from harness.knowledge.versions import at_least
from harness.record.events import ConfigWritten, TokenIssued, Trouble
from harness.record.observation import Observation
from harness.scenario.course import Look, Serve

RULE: Final = "stored-reviewer-expires"

_EXPLANATION: Final = "a stored token is used until it is replaced, dead or alive, and nobody renews it"
_SOURCE: Final = "vault-plugin-auth-kubernetes token_review.go, every version; Kubernetes KEP 1205"


def findings(facts: Facts) -> Iterator[Finding]:
    """Yield, for every app whose login the mount's last config still lets in, that the reviewer stored there will end.

    Where it ended within the run, the login was refused, and that is a finding of another kind.
    """
    for app in facts.topology.apps:
        asked = _asked_last(facts, app)
        found = facts.written_at(asked[-1]) if asked and asked[-1].answer != "refused" else None
        told = facts.stored_token(*found) if found is not None else None
        if told is not None and told[1].pod and _broke_before_its_end(facts, asked[-1]):
            continue
        if found is not None and told is not None and (told[1].pod or told[1].expires):
            yield _forecast(facts, asked, found[1], told)


def _broke_before_its_end(facts: Facts, last: Observation) -> bool:
    """Would the rest of a course that broke have replaced the Pod, and shown it? Then that it broke is the news."""
    moments = [step.moment.label if isinstance(step, Look) else "" for step in facts.steps]
    ahead = facts.steps[moments.index(last.moment) + 1 :] if last.moment in moments else ()
    return bool(facts.record.of(Trouble)) and any(isinstance(step, Serve) for step in ahead)


def _asked_last(facts: Facts, app: str) -> list[Observation]:
    """Return the answers to an app under the last config of its mount: those to its logins, or else all there are."""
    mine = facts.of_app.get(app, [])
    mine = [seen for seen in mine if seen.probe == "login"] or mine
    last = facts.written_at(mine[-1]) if mine else None
    return [seen for seen in mine if facts.written_at(seen) == last]


def _forecast(
    facts: Facts, asked: Sequence[Observation], config: ConfigWritten, told: tuple[int, TokenIssued]
) -> Finding:
    first, last = asked[0], asked[-1]
    from_start = first.moment == facts.first_moment
    evidence_lines = [facts.stored_exhibit(told), facts.config_line(last)]
    return diagnosis.stated(
        facts,
        (RULE, "latent", "reviewer expires"),
        _sentence(facts, last, config, told[1]),
        [evidence_line for evidence_line in evidence_lines if evidence_line is not None],
        _remedies(Case("latent", "reviewer expires", last, None, facts), told[1]),
        app=last.app,
        hop="" if from_start else first.version,
        mount=last.mount,
        probe="login",
        explanation=_EXPLANATION,
        source=_SOURCE,
        moment=first.moment,
        vault=last.vault,
        node=last.node,
    )


def _sentence(facts: Facts, last: Observation, config: ConfigWritten, token: TokenIssued) -> str:
    refused, _ = kubernetes_auth.answer("review", last.version)
    then = (
        f"from then on the API server of {facts.mount(last.mount).cluster} answers every TokenReview 401 and every "
        f"login {refused}, whatever the version: a stored reviewer wins, even a dead one"
    )
    life, end = span(round(token.expires - token.issued)), day_and_time(token.expires)
    if not token.pod:
        return (
            f"The reviewer token in auth/{last.mount}/config was requested with a life of {life} (kubectl create "
            f"token) and ends at {end} in this rehearsal, in production {life} after it was requested; {then}"
        )
    who = "Vault itself copied" if facts.stored_by(config) == "frozen" else "somebody copied"
    latest = f", or at {end} at the latest" if token.expires else ""
    return (
        f"The reviewer token in auth/{last.mount}/config is that of Vault's own Pod, which {who} into it when Vault "
        f"{config.version} wrote it. It dies with the present Pod, at the next restart, rollout or drained "
        f"node{latest}; {then}"
    )


def _remedies(case: Case, token: TokenIssued) -> tuple[Remedy, ...]:
    """Return the ways out: a token that stays, or none at all. Their time is after the write that they undo."""
    last, before = case.after, "the Pod is replaced" if token.pod else "the token ends"
    ways = [remedies.long_lived(case)[1]]
    if case.facts.same_cluster(last.mount, last.moment) and at_least(last.version, kubernetes_auth.READS_POD_TOKEN):
        ways.append(remedies.local_again(case)[1])
    when = f"before {before}, on {versions.called(last.version)}"
    return tuple(msgspec.structs.replace(way, when=when, stop=last.version) for way in ways)
