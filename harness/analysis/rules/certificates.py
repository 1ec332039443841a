"""Causes of what is answered at a cert mount, where one logs in by the client certificate of the TLS connection."""

from __future__ import annotations

from fnmatch import fnmatchcase as fnmatch
from typing import Final

from msgspec.structs import replace

from harness.analysis.correlation import EvidenceLine
from harness.analysis.rules import remedies
from harness.analysis.rules.jwts import answered, role_called
from harness.analysis.rules.rule import RENEWAL, Case, Diagnosis, Remedy, Rule, diagnosed
from harness.knowledge import cert_logins, versions
from harness.record.observation import Observation
from harness.scenario.course import WriteRole
from harness.scenario.mount_kinds import CERT

_SOURCE: Final = "hashicorp/vault builtin/credential/cert/path_login.go; run: 1.4.0 to 1.21.2"
_FORGED: Final = "forged-certificate"


def _expired(case: Case) -> Diagnosis | None:
    seen = case.after
    if cert_logins.refusal_of(seen.error) != "expired":
        return None
    return diagnosed(
        f"The client certificate by which {seen.app} logs in to {role_called(case)} has ended. "
        f"{versions.called(seen.version)} answers that with {seen.status}, as if it were a fault of its own: "
        "who tries again is answered the same",
        "certain",
        answered(case, cert_logins.words_of("expired", seen.error)),
        Remedy(
            f"Give {seen.app} a new certificate, and have it come with one before the old one ends. A role that trusts "
            "the authority takes it as it is; one that trusts a certificate itself has to be written with the new one.",
            commands=("openssl x509 -in client.crt -noout -enddate",),
            unproven="a new certificate is no step that a rehearsal can do",
        ),
    )


def _not_matched(case: Case) -> Diagnosis | None:
    seen = case.after
    if case.kind == "improvement":
        return _found_at_last(case)
    asked = seen.answer == "refused" and seen.probe in ("login", RENEWAL)
    refusal = cert_logins.refusal_of(seen.error) if asked else None
    if refusal not in ("no match", "constraints"):
        return None
    said = answered(case, cert_logins.words_of(refusal, seen.error))
    app, role = case.facts.app(seen.app), remedies.role_of(case, seen.moment)
    wanted = role.allowed_common_names or ()
    admitted = not wanted or any(fnmatch(app.role, one) for one in wanted)
    if not cert_logins.finds(app.role, seen.version):
        return diagnosed(
            f"Up to {cert_logins.NAMES_FOLDED} Vault keeps the roles of a cert mount in lower case and looks up one as "
            f"a login says it: nobody logs in to {role_called(case)} by that name, whatever the certificate",
            "strong",
            said,
            Remedy(
                f"Have {seen.app} log in to {app.role.lower()}.",
                commands=(f"vault login -method=cert -path={seen.mount} name={app.role.lower()}",),
                unproven="by which name an app logs in is no step that a rehearsal can do",
            ),
        )
    if refusal == "no match" and admitted:
        return diagnosed(
            f"{role_called(case)[0].upper()}{role_called(case)[1:]} does not trust the certificate by which {seen.app} "
            "logs in, or is not in the data that Vault serves",
            "strong",
            said,
            Remedy(
                "Compare who issued the certificate with what the role trusts.",
                commands=(f"vault read -field=certificate auth/{seen.mount}/certs/{app.role}",),
                unproven="which of the two is meant is for the operator to say",
            ),
        )
    trusted = "is one" if role.certificate == "own" else "is of an authority"
    return diagnosed(
        f"The certificate of {seen.app} {trusted} that {role_called(case)} trusts, and its common name, {app.role}, is "
        f"none of {', '.join(wanted)} (allowed_common_names)",
        "certain" if refusal == "constraints" else "strong",
        said,
        _named(case),
    )


def _found_at_last(case: Case) -> Diagnosis | None:
    """Explain that a role with a capital is found from some version on."""
    seen, before = case.after, case.before
    if before is None or seen.probe != "login" or cert_logins.refusal_of(before.error) != "no match":
        return None
    role = case.facts.app(seen.app).role
    if cert_logins.finds(role, before.version) or not cert_logins.finds(role, seen.version):
        return None
    return diagnosed(
        f"From {cert_logins.NAMES_FOLDED} on a login by a certificate finds a role in whatever case its name is said: "
        f"{role_called(case)} was there all along",
        "certain",
        [_exhibit(case, one) for one in (before, seen)],
    )


def _exhibit(case: Case, seen: Observation, how: str = "") -> EvidenceLine:
    """Return an answer with its moment."""
    text = f"{seen.moment}: {how}HTTP {seen.status} {seen.error}".strip()
    return EvidenceLine("answer", text, case.facts.line_of[seen.id], at=seen.ended)


def _named(case: Case) -> Remedy:
    """Return that the role trusts the authority for the app's common name."""
    mount, role = case.after.mount, case.facts.app(case.after.app).role

    def step(label: str) -> WriteRole:
        spec = replace(remedies.role_of(case, label), certificate="ca", allowed_common_names=(role,))
        return WriteRole(mount=mount, role=role, spec=spec)

    words = f"Have {role_called(case)} trust the authority, and of what it issues the certificate for {role} alone."
    command = f"vault write auth/{mount}/certs/{role} certificate=@client-ca.crt allowed_common_names={role}"
    return remedies.way(case, words, (command,), lambda label: (step(label),))[1]


def _key_not_compared(case: Case) -> Diagnosis | None:
    seen, before = case.after, case.before
    if seen.probe != _FORGED:
        return None
    how = "by a certificate that nobody issued, "
    answers = [_exhibit(case, one, how) for one in (before, seen) if one is not None]
    since = f"{cert_logins.KEYS_COMPARED} (and 1.15.5, 1.14.10; CVE-2024-2048)"
    if seen.answer == "refused":
        if before is None or cert_logins.refusal_of(seen.error) != "other key":
            return None
        return diagnosed(
            f"From {since} on Vault compares the key of a certificate that a role trusts by itself: a forged one, "
            f"which has the number of {role_called(case)} and another key, is let in no more",
            "certain",
            [*answers, *case.evidence.audit],
        )
    if cert_logins.compares_keys(seen.version):
        return None
    return diagnosed(
        f"{role_called(case)[0].upper()}{role_called(case)[1:]} trusts a certificate by itself, and up to {since} "
        f"Vault does not compare its key: {seen.version} let in whoever has one of the same number that names the same "
        "authority, and neither is a secret",
        "certain",
        [*answers, *case.evidence.audit],
        _named(case),
    )


EXPIRED: Final = Rule(
    name="certificate-expired",
    versions="every version; answered 500",
    precondition="the role trusts the certificate, or who issued it",
    demands="Vault's own words for it",
    explanation="a client certificate has an end, whatever Vault and the role say",
    source=_SOURCE,
    examine=_expired,
    kinds=(CERT,),
)

NOT_MATCHED: Final = Rule(
    name="certificate-not-matched",
    versions="every version",
    precondition="an app logs in by the certificate that was made for it",
    demands="Vault's own words for it",
    explanation="a certificate has to come from whom the role trusts, and to fit what the role allows",
    source=_SOURCE,
    examine=_not_matched,
    kinds=(CERT,),
    grants=True,
)

KEY: Final = Rule(
    name="certificate-key-not-compared",
    versions=f"before {cert_logins.KEYS_COMPARED}, 1.15.5 and 1.14.10",
    precondition="a role trusts a certificate by itself, and not who issued it",
    demands="the answer to a forged certificate with the number of the one that is trusted",
    explanation="a number and the name of an authority stood for a key",
    source=f"CVE-2024-2048, HCSEC-2024-05; {_SOURCE}",
    examine=_key_not_compared,
    kinds=(CERT,),
    grants=True,
)
