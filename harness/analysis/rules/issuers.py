"""Causes that lie with the issuer of service account tokens: what Vault demands, and what the API server accepts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from harness.analysis.correlation import EvidenceLine, shown
from harness.analysis.rules import remedies, reviewer
from harness.analysis.rules.rewrites import Rewrite, serving
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.knowledge import kubernetes_auth
from harness.knowledge.versions import at_least
from harness.record.events import TokenIssued
from harness.scenario.course import Restart

_ISSUER_WORDS: Final = ('claim "iss" is invalid', "invalid issuer (iss) claim")
_NOT_GENUINE: Final = "lookup failed"


def _issuer(case: Case) -> Diagnosis | None:
    said = case.quoted(*_ISSUER_WORDS)
    if not said:
        return None
    token = case.facts.token_of(case.after)
    wanted = case.facts.expected_issuer(case.after)
    return diagnosed(
        f"auth/{case.after.mount} demands the issuer {wanted or '?'}, and the token of {case.after.app} was issued by "
        f"{token.issuer if token else '?'}: Vault refuses it before it asks the API server{_since_when(case)}"
        f"{_why_compared(case)}",
        "certain",
        [*said, *_changed(case), case.facts.token_line(case.after), case.facts.config_line(case.after)],
        *_issuer_remedies(case, token.issuer if token else ""),
    )


def _since_when(case: Case) -> str:
    """Return since when the issuer is another one, where the course changed the cluster under this Vault."""
    if not _changed(case) or case.before is None:
        return ""
    cluster, facts = case.facts.app(case.after.app).cluster, case.facts
    then, now = facts.issuers(cluster, case.before), facts.issuers(cluster, case.after)
    assert then is not None, "a cluster that changed was there before"
    assert now is not None, "what changed is there"
    kept = f", and the API server still accepts {then[1][0]}" if then[1][0] in now[1] else ""
    return (
        f". Vault did not change: cluster {cluster} did, which signed with {then[1][0]} before and signs with "
        f"{now[1][0]} now{kept}. Tokens of before pass until they end, within the hour; those of every new Pod do not"
    )


def _changed(case: Case) -> list[EvidenceLine]:
    """Return the line that tells how the issuers of the app's cluster changed between the two answers, if they did."""
    cluster, facts = case.facts.app(case.after.app).cluster, case.facts
    then = facts.issuers(cluster, case.before) if case.before is not None else None
    now = facts.issuers(cluster, case.after)
    return [facts.issuers_line(cluster, now)] if now and then and now[1][0] != then[1][0] else []


def _why_compared(case: Case) -> str:
    """Return why the issuer is compared at all, where Vault's own default is known not to do so: a sentence or two."""
    found = case.facts.written_at(case.after)
    if found is None or "issuer" in found[1].fields:
        return ""
    config, off = found[1], kubernetes_auth.ISSUER_CHECK_OFF_BY_DEFAULT
    lost = kubernetes_auth.DEFAULT_ISSUER_NOT_ENFORCED
    if not at_least(config.version, off):
        return (
            f". That validation is off by default since {off} holds for configs that {off} or newer writes: Vault "
            f"{config.version} wrote this one, and no upgrade turns it off; only from {lost} on is an issuer that was "
            "never set not compared any more"
        )
    if config.fields.get("disable_iss_validation") is False:
        return (
            f". The config itself says disable_iss_validation=false, where Vault's own default is true since {off}: "
            "Terraform's provider from 3.0.1 on sends false where nobody set it"
        )
    return ""


def _issuer_remedies(case: Case, issuer: str) -> list[Remedy]:
    words = "Write the whole config again with disable_iss_validation=true: the API server checks the token anyway."
    found = case.facts.written_at(case.after)
    if found is not None and found[1].fields.get("disable_iss_validation") is False:
        words += (
            " Where Terraform writes this mount, set disable_iss_validation = true in its "
            "vault_kubernetes_auth_backend_config: the next apply undoes a write by hand."
        )
    off = Rewrite(case, {"disable_iss_validation": True})
    ways = [remedies.rewriting(case, words, off, kubernetes_auth.KNOWS_ISSUER_OPTION)[1]]
    signed = case.facts.issuers(case.facts.app(case.after.app).cluster, case.after)
    # a config demands one issuer: that of tokens out of Secrets is another one than the cluster's own, and would lock
    # out whoever logs in with one, or is not what mends it
    others = {one.issuer for one in _tokens_at(case)} - {issuer}
    if issuer and not others and (signed is None or issuer == signed[1][0]):
        words = "Write the whole config again with the issuer that the cluster has (here that of the rehearsal's)."
        late = bool(_changed(case))
        if late:
            words += " Before the change nobody could log in with it: a config demands one issuer alone."
        ways.append(remedies.rewriting(case, words, Rewrite(case, {"issuer": "cluster"}), late=late)[1])
    return ways


def _tokens_at(case: Case) -> Iterator[TokenIssued]:
    """Yield the tokens with which apps log in at the same mount and moment."""
    for name, app in case.facts.topology.apps.items():
        seen = case.facts.first("login", name, case.after.moment) if app.mount == case.after.mount else None
        token = case.facts.token_of(seen) if seen is not None else None
        if token is not None:
            yield token


def _not_accepted(case: Case) -> Diagnosis | None:
    """Explain that an API server takes no token any more of the issuer with which it signed before."""
    review, seen, facts = case.evidence.review, case.after, case.facts
    now = facts.issuers(case.cluster, seen)
    if review is None or now is None:
        return None
    if review.status == 401:
        told, said = facts.bearer_token(seen), list(case.evidence.api_log)
    elif review.status == 201:
        told, said = facts.login_token(seen), case.quoted(_NOT_GENUINE)
    else:
        return None
    if told is None or told[1].cluster != case.cluster or _is_accepted(told[1], now[1]):
        return None
    if review.status == 201 and not said:
        return None
    token, whose = told[1], _whose(case, review.status)
    return diagnosed(
        f"The API server of {case.cluster} accepts no token of the issuer {token.issuer} any more: it signs with "
        f"{now[1][0]} now{_others(now[1])}, and the old one was not kept beside it. {whose[0].upper()}{whose[1:]} is "
        f"of the old issuer, so the TokenReview {_answered(review.status)} and the login {seen.status}. "
        f"{_until_when(case, review.status)}",
        "certain",
        [shown(review), *said, facts.issuers_line(case.cluster, now), facts.exhibit(told), *case.evidence.audit],
        *_accepted_again(case, token, now[1], review.status),
    )


def _is_accepted(token: TokenIssued, issuers: tuple[str, ...]) -> bool:
    """Does an API server with these *issuers* take the token? Those out of Secrets have one that no flag takes away."""
    return token.issuer in (*issuers, kubernetes_auth.DEFAULT_ISSUER)


def _others(issuers: tuple[str, ...]) -> str:
    return f", accepts {', '.join(issuers[1:])} as well" if issuers[1:] else ""


def _answered(status: int) -> str:
    return "answered 401" if status == 401 else "said that the token is not genuine"


def _whose(case: Case, status: int) -> str:
    """Return whose token it is, in words."""
    seen, facts = case.after, case.facts
    if status == 201 or facts.bearer(seen) == "client":
        return f"the token of {seen.app}"
    if facts.bearer(seen) == "local":
        return f"the token of Vault's own Pod, with which it reviews at auth/{seen.mount},"
    return f"the reviewer token that is stored in auth/{seen.mount}/config"


def _until_when(case: Case, status: int) -> str:
    """Return what becomes of it by itself."""
    if status == 201 or case.facts.bearer(case.after) in ("client", "local"):
        return (
            "A kubelet renews the token of a Pod at four fifths of its life, so for most of an hour after such a "
            "change whatever runs on is refused"
        )
    return "A stored token is never renewed by itself"


def _accepted_again(case: Case, token: TokenIssued, now: tuple[str, ...], status: int) -> tuple[Remedy, ...]:
    """Return the ways out: what comes before the change first."""
    seen, facts = case.after, case.facts
    ways = [remedies.issuer_beside(case, token.issuer, now)]
    if status == 401 and facts.bearer(seen) == "local":
        ways += [_new_pod(case)]
    if status == 401 and facts.bearer(seen) in ("explicit", "frozen"):
        ways = [*reviewer.lasting(case), *ways]
    return tuple(ways)


def _new_pod(case: Case) -> Remedy:
    """Return that Vault's Pod is replaced, whose new token is of the new issuer."""
    facts, mount = case.facts, case.after.mount
    words = "Replace Vault's Pod right after the change: the new one has a token of the issuer that signs now."
    space, _, _ = facts.vault_at(mount, case.after.moment).service_account.partition("/")

    def restart(label: str) -> tuple[Restart, ...]:
        served = serving(facts, label, mount)
        if served is None:
            return ()
        return (Restart(version=served.version, token_file=served.token_file, vault=served.vault),)

    return remedies.way(case, words, (f"kubectl --namespace {space} delete pod vault-0",), restart, late=True)[1]


def _issuer_check_lost(case: Case) -> Diagnosis | None:
    before = case.before
    if before is None or not any(words in before.error for words in _ISSUER_WORDS) or case.quoted(*_ISSUER_WORDS):
        return None
    if not at_least(case.after.version, kubernetes_auth.DEFAULT_ISSUER_NOT_ENFORCED):
        return None
    earlier = Case(kind=case.kind, effect=case.effect, after=before, before=None, facts=case.facts)
    return diagnosed(
        f"Until {before.version} auth/{case.after.mount} refused tokens whose issuer is not "
        f"{kubernetes_auth.DEFAULT_ISSUER}; from {kubernetes_auth.DEFAULT_ISSUER_NOT_ENFORCED} on an issuer that was "
        "never set is "
        f"not compared any more: the login gets past it and is {case.after.answer}",
        # past the check an API server is asked
        "certain" if case.evidence.review else "strong",
        [*earlier.quoted(*_ISSUER_WORDS), *case.evidence.evidence_lines(), case.facts.config_line(case.after)],
        Remedy(
            "If the check is wanted, set the issuer in the config; the new version enforces what is set.",
            unproven="nobody is refused by it",
        ),
    )


ISSUER: Final = Rule(
    name="issuer-mismatch",
    versions="every version; answered 500 up to 1.12, 403 since 1.13",
    precondition="issuer validation is on",
    demands="Vault's words in the answer, its audit entry or its log",
    explanation="the token's issuer is not the one that the config demands; no TokenReview is sent",
    source="vault-plugin-auth-kubernetes path_login.go; hashicorp/vault issue 11953",
    examine=_issuer,
)
ISSUER_CHECK_LOST: Final = Rule(
    name="issuer-check-lost",
    versions=f"appears at {kubernetes_auth.DEFAULT_ISSUER_NOT_ENFORCED}",
    precondition="an older version refused the same login because of its issuer",
    demands="the older refusal's words",
    explanation="the default issuer is no longer enforced where none is configured",
    source="vault-plugin-auth-kubernetes v0.13.0 path_login.go, PR #151; run: 1.10.0 / 1.11.0",
    examine=_issuer_check_lost,
    grants=True,
)
NOT_ACCEPTED: Final = Rule(
    name="issuer-no-longer-accepted",
    versions="every version",
    precondition="the course gave the cluster other issuers, and not the one with which it signed before beside them",
    demands="a TokenReview that was refused, or that found the token false, and a token of an issuer that is gone",
    explanation="an API server accepts tokens of the issuers that it was started with, and of no other; what was "
    "issued before outlives the change",
    source="Kubernetes reference of kube-apiserver, --service-account-issuer; run: Kubernetes 1.32.0",
    examine=_not_accepted,
)
