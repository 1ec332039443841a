"""What became otherwise because the course did something about it: a write, a right, a way back."""

from __future__ import annotations

from typing import Final

from harness.analysis.correlation import EvidenceLine, shown
from harness.analysis.rules.rule import Case, Diagnosis, Rule, diagnosed
from harness.scenario import course, mount_kinds
from harness.scenario.course import AnyStep


def _changed_by_step(case: Case) -> Diagnosis | None:
    if case.before is None or (case.kind == "regression" and case.after.must_be != "refused"):
        return None  # why somebody is refused who should be let in has a cause of its own, whoever brought it about
    done = [step for step in case.facts.steps_before(case.after.moment) if not isinstance(step, course.Upgrade)]
    if not done:
        return None
    line = case.facts.line_of
    answers = [
        EvidenceLine(
            "answer",
            f"{seen.moment}: HTTP {seen.status or 'without a status'} {seen.error}".strip(),
            line[seen.id],
            at=seen.ended,
        )
        for seen in (case.before, case.after)
    ]
    reviews = [shown(review) for seen in (case.before, case.after) if (review := case.facts.review_of(seen))]
    was = case.before.status or "nothing"
    return diagnosed(
        f"{case.after.probe} of {case.after.app} answered {was} {case.before.moment}, and answers "
        f"{case.after.status} {case.after.moment}: in between the course did this: {'; '.join(map(_words, done))}",
        "strong",
        [*answers, *reviews],
    )


def _words(step: AnyStep) -> str:
    """Return what a step did, in short."""
    match step:
        case course.WriteConfig():
            said = f"auth/{step.mount}/config was written"
        case course.WriteRole():
            said = f"{step.spec.of_kind.place_of(step.mount, step.role)} was written"
        case course.Rewrite():
            return f"the config and the roles of auth/{step.mount} were written again as they are read"
        case course.Grant():
            said = f"{step.service_account} was bound to system:auth-delegator in {step.cluster}"
        case course.Revoke():
            said = f"{step.service_account} lost system:auth-delegator in {step.cluster}"
        case _ if isinstance(step, course.OF_CLUSTERS):
            said = _of_cluster(step)
        case course.Move():
            said = f"Vault moved to {step.place.cluster}" if step.place.cluster else "Vault moved out of its cluster"
        case course.RevokeLeases():
            said = f"{step.count or 'all'} leases were revoked"
        case course.RollBack():
            said = f"Vault went back to {step.version}" + (" over the snapshot" if step.over == "snapshot" else "")
        case _:
            said = course.words_of(step)
    return said


def _of_cluster(step: AnyStep) -> str:  # noqa: PLR0911 -- a kind of step a line
    match step:
        case course.UpgradeKubernetes():
            return f"Kubernetes of {step.cluster} went to {step.version}"
        case course.SetIssuers():
            return f"the issuers of {step.cluster} became {', '.join(step.issuers)}"
        case course.PublishKeys():
            who = "anybody" if step.to_anybody else "nobody but service accounts"
            return f"{who} may read the keys of {step.cluster}"
        case course.RotateKeys(of="ca"):
            return f"the API server of {step.cluster} got a certificate of another authority"
        case course.RotateKeys():
            return f"{course.whose_keys(step)} got another key for signing tokens"
        case course.Reachable(is_so=so):
            return f"the API server of {step.cluster} {'was there again' if so else 'was not to be reached any more'}"
    return course.word_of(step)


CHANGED: Final = Rule(
    name="changed-by-step",
    versions="every version",
    precondition="a step of the course other than an upgrade lies between the two answers, and no app is worse off",
    demands="both answers",
    explanation="the course changed what decides this answer, on purpose",
    source="the scenario's own course",
    examine=_changed_by_step,
    kinds=mount_kinds.NAMES,
    grants=True,
)
