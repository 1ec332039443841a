"""Causes that lie with the reviewer: whose token Vault presents to the API server, and what it is worth there."""

from __future__ import annotations

from typing import Final

import msgspec

from harness.analysis.correlation import EvidenceLine, shown
from harness.analysis.record_view import day_and_time
from harness.analysis.rules import as_code, occasions, remedies
from harness.analysis.rules.rewrites import Rewrite
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.knowledge import kubernetes_auth, versions
from harness.knowledge.versions import at_least
from harness.record.events import PodReplaced, TokenIssued
from harness.scenario import course
from harness.scenario.course import MakeReviewer

# How an API server says that a bound token outlived what it was bound to. The first is what a rollout gives, where
# the new Pod has the old one's name. Run: Kubernetes 1.32.0.
_DEAD_WORDS: Final = ("does not match service account pod ref claim", "has been invalidated", "has expired")


def _fallback_local(case: Case) -> Diagnosis | None:
    facts, seen, review = case.facts, case.after, case.evidence.review
    if facts.bearer(seen) != "local" or facts.written_at(seen) is None:
        return None
    who = facts.reviewer(seen)
    if who not in ("nobody", "vault") or not _falling_back_explains(case, review.status if review else 0):
        return None
    return diagnosed(
        _fallback_sentence(case),
        "certain" if who == "vault" else "strong",
        [*_before(case), *case.evidence.evidence_lines(), facts.config_line(seen)],
        *_fallback_remedies(case),
    )


def _falling_back_explains(case: Case, status: int) -> bool:
    """Is it the fallback that made the difference, and not something that befell its token or the login's? *status*: of
    the TokenReview, 0 where there was none.
    """
    stays = case.facts.moved(case.after) is None
    if case.before is not None and case.facts.bearer(case.before) == "local" and stays:
        return False
    if status == 401:
        return True
    if status == 403:
        return case.reviewer_before == "client"  # else Vault's account reviewed all along, and lacks the right
    turned = case.effect == "login granted" and case.after.probe == "login" and case.reviewer_before != ""
    return status == 201 and (case.effect == "reviewer changed" or turned)


def _fallback_sentence(case: Case) -> str:
    seen, facts, cluster = case.after, case.facts, case.cluster
    review = case.evidence.review
    sentence = (
        f"The config of auth/{seen.mount} names no reviewer, and from {kubernetes_auth.READS_POD_TOKEN} on Vault then "
        f"presents its own pod's token ({facts.vault_subject(seen.mount, seen.moment)}) to the API server of {cluster}"
    )
    if case.before is not None and (move := facts.moved(seen)) is not None:
        before = facts.vault_at(seen.mount, case.before.moment)
        sentence += f". It moved to {move.place.cluster}, and before that it "
        sentence += f"had the token of a Pod of {before.cluster}" if before.token_file else "had no such token"
    elif case.reviewer_before == "client":
        sentence += ", where older versions presented the token of the app that logs in"
    assert review is not None
    if case.effect == "login granted":
        return f"{sentence}. Here that token is accepted, so logins that were refused answer {seen.status}"
    if review.status == 201:
        return (
            f"{sentence}. Here that token is accepted, so logins still answer {seen.status}; with the apps in another "
            f"cluster than Vault, or without system:auth-delegator for Vault's account, every login is refused"
        )
    what = "does not know that token" if review.status == 401 else "does not let that account review tokens"
    return f"{sentence}; {cluster} {what} (TokenReview answered {review.status}), so every login answers {seen.status}"


def _fallback_remedies(case: Case) -> tuple[Remedy, ...]:
    """Return the ways out: what hurts nobody comes first, and for one cluster what every Vault in one has."""
    review = case.evidence.review
    assert review is not None
    standard = [remedies.may_review(case, review.user)] if review.status == 403 else []
    ways = remedies.early_first(*standard, remedies.client_reviews(case), remedies.long_lived(case))
    if case.after.status != 200:
        return ways
    first, *others = ways
    words = f"If Vault's own account is to review, nothing has to be done. If not: {first.words}"
    return (msgspec.structs.replace(first, words=words), *others)


def _fallback_client(case: Case) -> Diagnosis | None:
    """Older Vaults do not read their pod's token at login: a roll-back brings back who reviewed then."""
    facts, seen, review = case.facts, case.after, case.evidence.review
    if case.before is None or review is None or facts.written_at(seen) is None:
        return None
    if (facts.bearer(case.before), facts.bearer(seen)) != ("local", "client"):
        return None
    move = facts.moved(seen)
    if at_least(seen.version, kubernetes_auth.READS_POD_TOKEN) and move is None:
        return None
    ways: tuple[Remedy, ...] = ()
    if seen.answer == "refused":
        ways = remedies.early_first(remedies.may_review(case, seen.subject), remedies.long_lived(case))
    then = f"{seen.version}, like every Vault before {kubernetes_auth.READS_POD_TOKEN}, presents"
    if move is not None:
        home = move.place.cluster
        where = f"as a Pod of {home} without a token file" if home else "outside any cluster"
        then = f"it moved, and {where} it has none and presents"
    return diagnosed(
        f"The config of auth/{seen.mount} names no reviewer. {versions.called(case.before.version)} presented its own "
        f"pod's token; {then} the token of the app that logs in, and the API server of {case.cluster} answered its "
        f"TokenReview {review.status}: logins answer {seen.status}",
        "certain" if facts.reviewer(seen) == "client" else "strong",
        [*_before(case), *case.evidence.evidence_lines(), facts.config_line(seen)],
        *ways,
    )


def _frozen(case: Case) -> Diagnosis | None:
    facts, seen, review = case.facts, case.after, case.evidence.review
    if review is None or facts.bearer(seen) != "frozen" or review.status != 401:
        return None
    found = facts.written_at(seen)
    assert found is not None, "a frozen reviewer stands in a config"
    _, config = found
    dead = any(words in line.text for line in case.evidence.api_log for words in _DEAD_WORDS)
    told = facts.stored_token(*found)
    home = told[1].cluster if told is not None else facts.vault_at(seen.mount, seen.moment).cluster
    if home != case.cluster:
        why = f"that token belongs to cluster {home}, and {case.cluster} never knew it"
    elif facts.moved(seen) is not None:
        why = "that token died with the Pod it was bound to when Vault moved"
    else:
        why = "that token died with the Pod it was bound to when the Pod was replaced"
    return diagnosed(
        f"{versions.called(config.version)} wrote the config of auth/{seen.mount} in a pod and kept a copy of its "
        f"pod's token as the reviewer; {why}, so the API server of {case.cluster} answers every TokenReview 401 and "
        f"every login {seen.status}. Upgrading does not unfreeze it: a stored reviewer wins in every version",
        "certain" if dead else "strong",
        [*_before(case), *case.evidence.evidence_lines(), facts.config_line(seen)],
        *_frozen_remedies(case),
    )


def _frozen_remedies(case: Case) -> tuple[Remedy, ...]:
    same = case.facts.same_cluster(case.after.mount, case.after.moment)
    other = remedies.local_again(case) if same else remedies.client_reviews(case)
    return remedies.early_first(*((remedies.long_lived(case), other) if same else (other, remedies.long_lived(case))))


def _lacks_rbac(case: Case) -> Diagnosis | None:
    review = case.evidence.review
    if review is None or review.status != 403 or not review.user:
        return None
    _, remedy = remedies.may_review(case, review.user)
    ways = [remedy]
    if case.facts.reviewer(case.after) == "client":
        wide = f"{remedy.words} This lets the app review any token of the cluster; one reviewer account is narrower."
        ways = [msgspec.structs.replace(remedy, words=wide), remedies.long_lived(case)[1]]
    return diagnosed(
        f"{review.user} reviews the logins of auth/{case.after.mount} and may not create TokenReviews in cluster "
        f"{case.cluster}: the API server answered 403, so every login answers {case.after.status}",
        "certain",
        [shown(review), *case.evidence.audit, *case.evidence.log],
        *ways,
    )


def _stored_refused(case: Case) -> Diagnosis | None:
    facts, seen, review = case.facts, case.after, case.evidence.review
    if review is None or review.status != 401 or facts.bearer(seen) != "explicit":
        return None
    found = facts.written_at(seen)
    told = facts.stored_token(*found) if found is not None else None
    if told is not None and told[1].pod:
        return _pods_copy(case, told)
    if told is not None and 0 < told[1].expires <= seen.ended:
        return _ended(case, told)
    return diagnosed(
        f"The reviewer token that is stored in auth/{seen.mount}/config is not accepted by the API server of "
        f"{case.cluster} any more (TokenReview answered 401): {_deleted(case, told) or _UNKNOWN_WHY}",
        "strong",
        [shown(review), *case.evidence.api_log, facts.config_line(seen)],
        _renewed(case),
    )


_UNKNOWN_WHY: Final = "its Secret or account was deleted, or it ended"


def _deleted(case: Case, told: tuple[int, TokenIssued] | None) -> str:
    """Return that the course deleted the Secret of the stored token, and wrote that token once more after it."""
    facts, mount, gone, said = case.facts, case.after.mount, "", ""
    if told is None or told[1].expires:
        return ""
    for step in facts.steps:
        if isinstance(step, course.Look) and step.moment.label == case.after.moment:
            break
        if isinstance(step, course.DeleteSecret) and step.purpose == f"reviewer:{mount}":
            gone = said = f"its Secret was deleted in step {step.number}"
        elif gone and isinstance(step, course.WriteConfig) and step.mount == mount:
            said = f"{gone}, and step {step.number} has stored the same token again, which is dead"
    return said


def _pods_copy(case: Case, told: tuple[int, TokenIssued]) -> Diagnosis | None:
    """Explain the refusal of a reviewer that somebody copied out of Vault's own Pod."""
    facts, seen, token = case.facts, case.after, told[1]
    gone = [
        EvidenceLine("pod", f"the Pod {one.old_pod} ({one.old_uid}) was replaced by {one.new_uid}", line, one.cluster)
        for line, one in facts.record.numbered(PodReplaced)
        if one.old_uid == token.pod_uid and line < facts.line_of[seen.id]
    ]
    if token.cluster != case.cluster:
        why = f"it belongs to cluster {token.cluster}, and {case.cluster} never knew it"
    elif gone:
        why = "it died with the replaced Pod"
    else:
        why = "it ended, or its account was deleted"
    return diagnosed(
        f"The reviewer token in auth/{seen.mount}/config is that of Vault's own Pod; {why}, so the API server of "
        f"{case.cluster} answers every TokenReview 401 and every login {seen.status}",
        "certain" if gone or token.cluster != case.cluster else "strong",
        [*_before(case), *case.evidence.evidence_lines(), *gone, facts.stored_exhibit(told), facts.config_line(seen)],
        *lasting(case),
    )


def _ended(case: Case, told: tuple[int, TokenIssued]) -> Diagnosis | None:
    """Explain the refusal of a reviewer whose token had a life."""
    facts, seen = case.facts, case.after
    return diagnosed(
        f"The reviewer token that is stored in auth/{seen.mount}/config ended at {day_and_time(told[1].expires)}: it "
        f"was requested with a life, and nobody renewed it, so the API server of {case.cluster} answers every "
        f"TokenReview 401 and every login {seen.status}",
        "certain",
        [*_before(case), *case.evidence.evidence_lines(), facts.stored_exhibit(told), facts.config_line(seen)],
        *lasting(case),
    )


def lasting(case: Case) -> tuple[Remedy, ...]:
    """Return the ways to a reviewer that no Pod's end and no date takes away."""
    facts = case.facts
    known = any(at_least(version, kubernetes_auth.READS_POD_TOKEN) for version in course.serving(facts.steps))
    if not facts.same_cluster(case.after.mount, case.after.moment):
        return remedies.early_first(remedies.long_lived(case), remedies.client_reviews(case))
    return remedies.early_first(remedies.long_lived(case), *([remedies.local_again(case)] if known else []))


def _renewed(case: Case) -> Remedy:
    """Return how the stored reviewer gets a new token. Where it is no account that we know, only in words."""
    words = "Make a new Secret of type kubernetes.io/service-account-token, and write the whole config again with it"
    facts, mount, at = case.facts, case.after.mount, occasions.moment(case)
    account = facts.mount(mount).reviewer_account
    if not account:
        return Remedy(f"{words}.", at.when, at.stop, unproven="nobody knows whose token the config had")
    rewrite, label = Rewrite(case, reviewer=account), remedies.first_label(case)
    commands = (as_code.token_secret(*account.split("/")), rewrite.command(label))
    made = MakeReviewer(cluster=case.cluster, service_account=account, mount=mount)
    words = f"{words}. The first command is for cluster {case.cluster}." + rewrite.notes(label)
    return remedies.way(case, words, commands, lambda label: (made, rewrite.step(label)))[1]


def _login_rejected(case: Case) -> Diagnosis | None:
    review = case.evidence.review
    if review is None or review.status != 201:
        return None
    said = [line for line in case.quoted("lookup failed", "did not match", "not valid") if line.source != "api log"]
    if not said:
        return None
    return diagnosed(
        f"The API server of {case.cluster} reviewed the token and Vault then refused the login: {said[0].text}",
        "certain",
        [shown(review), *said, *case.evidence.audit],
        _alive_again(case),
    )


def _alive_again(case: Case) -> Remedy:
    """Return where a dead token comes from, and how the app gets another one."""
    app = case.facts.app(case.after.app)
    space, name = app.service_account.split("/")
    if app.token == "secret":
        return Remedy(
            f"Make the Secret of {app.service_account} again in cluster {case.cluster}, and give {case.after.app} its "
            "new token; or let it have the token of its Pod, which nobody can delete by itself.",
            commands=(as_code.token_secret(space, name),),
            unproven="how an app comes by its token is its own; apps.APP.token rehearses the other kind",
        )
    return Remedy(
        "Look at the login's own token: its service account or Pod was deleted, or made anew with another UID.",
        unproven="what became of the account or the Pod is no doing of Vault's, and a new Pod has a new token",
    )


def _before(case: Case) -> list[EvidenceLine]:
    """Return who reviewed before, as a line to show."""
    if case.before is None:
        return []
    review = case.facts.evidence_of(case.before).review
    return [shown(review)] if review is not None else []


FALLBACK_LOCAL: Final = Rule(
    name="reviewer-fallback-local",
    versions=f"appears at {kubernetes_auth.READS_POD_TOKEN} and stays",
    precondition="stored config without a reviewer and without disable_local_ca_jwt; a pod token file is readable",
    demands="a TokenReview that was refused to an unaccepted bearer, or that Vault's own account asked for",
    explanation="an unset reviewer meant the login's own token; since then it means the token of Vault's pod",
    source="vault-plugin-auth-kubernetes v0.11.4 backend.go loadConfig, PR #122 and #131; run: 1.9.2 / 1.9.3",
    examine=_fallback_local,
    grants=True,
)
FALLBACK_CLIENT: Final = Rule(
    name="reviewer-fallback-client",
    versions=f"appears on the way back to a Vault before {kubernetes_auth.READS_POD_TOKEN}, and where its Pod goes",
    precondition="stored config without a reviewer and without disable_local_ca_jwt; a newer Vault in a pod before",
    demands="a TokenReview at each of the two moments",
    explanation="an unset reviewer means the token of Vault's pod to newer versions and the login's own to older ones",
    source="vault-plugin-auth-kubernetes v0.11.4 backend.go loadConfig, PR #122; run: 1.11.0 back to 1.7.0",
    examine=_fallback_client,
    grants=True,
)
FROZEN: Final = Rule(
    name="reviewer-frozen",
    versions=f"configs written from {kubernetes_auth.COPIES_POD_TOKEN} up to {kubernetes_auth.READS_POD_TOKEN}, on "
    "every version",
    precondition="config written in a pod without a reviewer and without disable_local_ca_jwt",
    demands="a TokenReview answered 401",
    explanation="those versions copied the pod's token into the config when it was written; the copy is never renewed",
    source="vault-plugin-auth-kubernetes v0.7.0 path_config.go, PR #83; hashicorp/vault issue 15430",
    examine=_frozen,
)
LACKS_RBAC: Final = Rule(
    name="reviewer-lacks-tokenreview-rbac",
    versions="every version",
    precondition="the reviewer is known to the API server",
    demands="a TokenReview answered 403 to a named user",
    explanation="creating TokenReviews needs system:auth-delegator",
    source="Kubernetes authentication reference; bank-vaults issue 657",
    examine=_lacks_rbac,
)
STORED_REFUSED: Final = Rule(
    name="stored-reviewer-refused",
    versions="every version",
    precondition="a reviewer token was given to the config",
    demands="a TokenReview answered 401",
    explanation="a stored token is used until it is replaced, dead or alive",
    source="vault-plugin-auth-kubernetes token_review.go, every version",
    examine=_stored_refused,
)
LOGIN_REJECTED: Final = Rule(
    name="login-token-rejected",
    versions="every version",
    precondition="the TokenReview was answered",
    demands="a TokenReview answered 201 and Vault's log line that says what was wrong with its result",
    explanation="the review itself worked: the token that logs in is what was refused",
    source="vault-plugin-auth-kubernetes token_review.go",
    examine=_login_rejected,
)
