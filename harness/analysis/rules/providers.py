"""Causes of what is answered at a JWT mount whose keys Vault gets from somebody: not given to it, or kept too long."""

from __future__ import annotations

from typing import Final

from harness.analysis.rules import as_code, remedies
from harness.analysis.rules.jwts import answered, right_key, said, whose_keys
from harness.analysis.rules.rewrites import held_config
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.analysis.rules.transport import NOT_TRUSTED, back_again, hidden
from harness.knowledge import jwt_auth, versions
from harness.knowledge.versions import at_least
from harness.scenario import course
from harness.scenario.course import Look, PublishKeys, RotateKeys, Serve, WriteConfig
from harness.scenario.mount_kinds import ASKED_AT, JWT

_SOURCE: Final = (
    "hashicorp/vault-plugin-auth-jwt path_login.go, path_config.go; coreos/go-oidc jwks.go; run: 1.4.0, 1.6.0, 1.7.0, "
    "1.8.0, 1.11.0, 1.13.0, 1.16.3 with Kubernetes 1.32.0"
)
_ONCE: Final = "Vault asks once after each start, and keeps what it got"


def _url(case: Case) -> str:
    fields = held_config(case.facts, case.after.mount, case.after.moment).fields
    return next((url for url in ASKED_AT if url in fields), "")


def _done_before(case: Case, kind: type[PublishKeys | RotateKeys | course.SetIssuers]) -> bool:
    """Did the course do such a step to the cluster with the keys before the answer that is to be explained?"""
    for step in case.facts.steps:
        if isinstance(step, Look) and step.moment.label == case.after.moment:
            break
        if isinstance(step, kind) and step.cluster == whose_keys(case) and getattr(step, "of", "") != "ca":
            return True
    return False


def _by_the_start(case: Case) -> str:
    """Return why the break shows now and not when it was made, if that is so: it waits for a Vault that starts."""
    steps = case.facts.steps_before(case.after.moment)
    if not any(isinstance(step, Serve) for step in steps):
        return ""
    return f". {_ONCE}: it was so before this start, and nobody saw it"


def _refused(case: Case) -> Diagnosis | None:
    if not said(case, "keys refused", "discovery refused"):
        return None
    seen, whose, url = case.after, whose_keys(case), _url(case)
    what = "the discovery document" if said(case, "discovery refused") else "the keys"
    forbidden = "403 Forbidden" in seen.error
    ways: tuple[Remedy, ...] = ()
    if forbidden:
        came, ways = "answered 403: its service accounts may read them, and Vault shows no token", (_published(case),)
    elif any(one in seen.error for one in NOT_TRUSTED):
        came, ways = f"it does not trust: {ASKED_AT[url]} is another CA than the one it has", (_trusting(case, url),)
    elif hidden(case, whose):
        came, ways = "answers no more: the course has taken it away", (back_again(case, whose),)
    else:
        came = "gave it none"
    words = (*jwt_auth.words_of("keys refused"), *jwt_auth.words_of("discovery refused"))
    return diagnosed(
        f"{versions.called(seen.version)} asked the API server of {whose} for {what} of auth/{seen.mount} ({url}), "
        f"which {came}{_by_the_start(case)}",
        "certain",
        [*answered(case, *words), case.facts.config_line(seen)],
        *ways,
        right_key(case),
    )


def _published(case: Case) -> Remedy:
    whose = whose_keys(case)
    words = (
        f"Let anybody read the keys of {whose} and its discovery document, which are no secrets. The command is for "
        "that cluster."
    )
    step = PublishKeys(cluster=whose, to_anybody=True)
    return remedies.way(case, words, (as_code.PUBLISHING,), lambda _label: (step,))[1]


def _trusting(case: Case, url: str) -> Remedy:
    mount, authority = case.after.mount, ASKED_AT[url]

    def step(label: str) -> WriteConfig:
        fields = held_config(case.facts, mount, label).fields
        return WriteConfig(mount=mount, fields=fields | {authority: fields[url]})

    words = f"Write the config of auth/{mount} again with the CA that {whose_keys(case)} has now, from the file ca.crt."
    change = f"jq --rawfile ca ca.crt '.data + {{{authority}: $ca}}'"
    command = f"vault read -format=json auth/{mount}/config | {change} | vault write auth/{mount}/config -"
    late = remedies.rotated_just_now(case)
    return remedies.way(case, words, (command,), lambda label: (step(label),), late=late)[1]


def _issuer(case: Case) -> Diagnosis | None:
    if not said(case, "discovered issuer"):
        return None
    seen, whose = case.after, whose_keys(case)
    return diagnosed(
        f"The discovery document of {whose} names another issuer than the address at which "
        f"{versions.called(seen.version)} got it (oidc_discovery_url of auth/{seen.mount}), and Vault takes "
        f"no such document{_by_the_start(case)}",
        "certain",
        [
            *answered(case, *jwt_auth.words_of("discovered issuer")),
            case.facts.config_line(seen),
            case.facts.token_line(seen),
        ],
        _jwks(case),
        right_key(case),
    )


def _jwks(case: Case) -> Remedy:
    """Return that the mount gets its keys where no issuer is compared."""
    mount, whose = case.after.mount, whose_keys(case)

    def step(label: str) -> WriteConfig:
        discovery = ("oidc_discovery_url", "oidc_discovery_ca_pem", "bound_issuer")
        kept = {
            name: value for name, value in held_config(case.facts, mount, label).fields.items() if name not in discovery
        }
        return WriteConfig(mount=mount, fields=kept | {"jwks_url": whose, "jwks_ca_pem": whose})

    words = (
        f"Write the config of auth/{mount} with jwks_url instead of oidc_discovery_url: there Vault gets the keys "
        "alone, and compares no issuer. The roles still bind audiences and subjects."
    )
    command = f"vault write auth/{mount}/config jwks_url=https://.../openid/v1/jwks jwks_ca_pem=@ca.crt"
    # what hid it until now may keep Vault from getting the keys before
    late = case.effect == "refused for another reason"
    return remedies.way(case, words, (command,), lambda label: (step(label),), late=late)[1]


def _held(case: Case) -> Diagnosis | None:
    seen, before = case.after, case.before
    if before is not None and case.kind == "improvement" and jwt_auth.refusal_of(before.error) == "no fetched key":
        started = any(isinstance(step, Serve) for step in case.facts.steps_before(seen.moment))
        if not started or at_least(before.version, jwt_auth.REFETCHES):
            return None
        return diagnosed(
            f"{versions.called(before.version)} kept keys of {whose_keys(case)} with which no token is signed any "
            f"more, and a Vault that starts, {versions.alone(seen.version)} here, asks for them anew",
            "strong",
            [*case.facts.evidence_of(before).audit, case.facts.config_line(seen)],
        )
    if not said(case, "no fetched key") or at_least(seen.version, jwt_auth.REFETCHES):
        return None
    if not _done_before(case, RotateKeys):
        return None
    return diagnosed(
        f"{whose_keys(case)} signs with another key since Vault got its keys ({_url(case)} of auth/{seen.mount}), and "
        f"{versions.called(seen.version)} does not ask again before the time is over for which the answer was good: an "
        f"API server says an hour. From {jwt_auth.REFETCHES} on a key that it does not know makes it ask",
        "strong",
        [
            *answered(case, *jwt_auth.words_of("no fetched key")),
            case.facts.config_line(seen),
            case.facts.token_line(seen),
        ],
        _asked_again(case),
        _started_anew(case),
    )


def _asked_again(case: Case) -> Remedy:
    mount = case.after.mount
    words = f"Write the config of auth/{mount} again as it is, right after the keys rotated: then Vault asks again."
    command = f"vault read -format=json auth/{mount}/config | jq .data | vault write auth/{mount}/config -"

    def step(label: str) -> WriteConfig:
        return WriteConfig(mount=mount, fields=held_config(case.facts, mount, label).fields)

    return remedies.way(case, words, (command,), lambda label: (step(label),), late=True)[1]


def _started_anew(case: Case) -> Remedy:
    return remedies.restarted(case, f"Restart Vault, or wait. Vault {jwt_auth.REFETCHES} and newer need neither.")


REFUSED: Final = Rule(
    name="jwt-keys-refused",
    versions="every version",
    precondition="the mount has a jwks_url or an oidc_discovery_url",
    demands="Vault's own words for it",
    explanation="Vault shows no token when it asks for keys, and an API server gives them to service accounts alone",
    source=_SOURCE,
    examine=_refused,
    kinds=(JWT,),
)

ISSUER: Final = Rule(
    name="jwt-discovered-issuer",
    versions="every version",
    precondition="the mount has an oidc_discovery_url",
    demands="Vault's own words for it",
    explanation="a discovery document is taken only from the issuer that it names, letter by letter",
    source=_SOURCE,
    examine=_issuer,
    kinds=(JWT,),
)

HELD: Final = Rule(
    name="jwt-keys-held",
    versions=f"before {jwt_auth.REFETCHES}",
    precondition="the mount gets its keys from somebody, whose key became another one after that",
    demands="Vault's own words for a signature of an unknown key, and a step that rotates keys",
    explanation="keys that were fetched are good for as long as the answer said, whatever key a token names",
    source=_SOURCE,
    examine=_held,
    kinds=(JWT,),
    grants=True,
)
