"""Causes of what is answered where one logs in with a secret: approle and userpass."""

from __future__ import annotations

from typing import Final

from harness.analysis.correlation import EvidenceLine
from harness.analysis.record_view import Facts
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.knowledge import secret_logins, versions
from harness.knowledge.versions import at_least
from harness.record.events import CredentialsMade
from harness.record.observation import Observation
from harness.scenario.values import seconds

_KINDS: Final = ("approle", "userpass")


def _lockout(case: Case) -> Diagnosis | None:
    seen, before = case.after, case.before
    if seen.probe != "lockout" or before is None:
        return None
    newer, older = (seen, before) if seen.answer == "refused" else (before, seen)
    if newer.status != 403 or older.answer != "granted":
        return None
    if not at_least(newer.version, secret_logins.LOCKOUT) or at_least(older.version, secret_logins.LOCKOUT):
        return None
    line = case.facts.line_of
    answers = [
        EvidenceLine(
            "answer",
            f"{one.moment}: with the right secret, after wrong ones that were answered "
            f"{', '.join(map(str, one.detail.get('wrong_before', [])))}: HTTP {one.status} {one.error}".strip(),
            line[one.id],
            at=one.ended,
        )
        for one in (before, seen)
    ]
    return diagnosed(_lockout_sentence(case), "certain", answers, *_lockout_remedies(case))


def _lockout_sentence(case: Case) -> str:
    seen, whom = case.after, "user" if case.mount_kind == "userpass" else "role ID"
    if seen.answer == "granted":
        return (
            f"{versions.called(seen.version)} locks out nobody at auth/{seen.mount}, whose {whom}s are locked out from "
            f"Vault {secret_logins.LOCKOUT} on: a secret can be guessed for as long as somebody likes"
        )
    return (
        f"From Vault {secret_logins.LOCKOUT} on, five wrong secrets within 15 minutes lock a {whom} of "
        f"auth/{seen.mount} out for 15 minutes: then the right secret is answered {seen.status} as well, and the words "
        f"say nothing of it. One client with an old secret that tries again and again locks out all that share its "
        f"{whom}"
    )


def _lockout_remedies(case: Case) -> tuple[Remedy, ...]:
    if case.after.answer == "granted":
        return ()
    mount = case.after.mount
    return (
        Remedy(
            "If that is what you want, nothing has to be done but to know it: who is locked out is listed, and let in "
            "again.",
            commands=("vault read sys/locked-users",),
            unproven="nobody is refused who knows the secret: there is nothing to mend",
        ),
        Remedy(
            f"If clients of auth/{mount} retry with old secrets, switch the lockout off for that mount.",
            when=f"after the upgrade, on {versions.called(case.after.version)}",
            stop=case.after.version,
            commands=(f"vault auth tune -user-lockout-disable=true {mount}/",),
            unproven="tuning a mount is no step that a rehearsal can do",
        ),
    )


def _not_accepted(case: Case) -> Diagnosis | None:
    seen, facts = case.after, case.facts
    if seen.probe != "login":
        return None
    said = case.quoted(*secret_logins.WRONG)
    if not said:
        return None
    app = facts.app(seen.app)
    return diagnosed(
        f"{versions.called(seen.version)} does not accept the secret with which {seen.app} logs in to role {app.role} "
        f"of auth/{seen.mount}, as if it were a wrong one: {_what_became_of_it(case)}",
        "strong",
        list(dict.fromkeys((*said, *case.evidence.audit))),
        _new_secret(case),
    )


def is_used_up(facts: Facts, seen: Observation) -> bool:
    """Have the looks of this rehearsal used up the secret ID of an app by the time of *seen*?"""
    # a secret ID keeps what its role said when it was made, which the rehearsal does right after the first write
    most = facts.role(seen.app).secret_id_num_uses or 0
    return 0 < most <= _logins_before(facts, seen)


def spent(case: Case) -> bool:
    """Is a login refused for no more than that the looks of this rehearsal have used up its secret ID?"""
    seen = case.after
    refused = seen.probe == "login" and seen.answer == "refused"
    return refused and is_used_up(case.facts, seen) and bool(case.quoted(*secret_logins.WRONG))


def sharing(facts: Facts, name: str) -> frozenset[str]:
    """Return the apps that log in to the role of the app *name*, that one among them: with one and the same secret."""
    app = facts.app(name)
    return frozenset(
        name for name, one in facts.topology.apps.items() if (one.mount, one.role) == (app.mount, app.role)
    )


def _logins_before(facts: Facts, seen: Observation) -> int:
    alike = sharing(facts, seen.app)
    return sum(
        one.probe == "login" and one.app in alike and one.answer == "granted" and one.id < seen.id
        for one in facts.observations
    )


def _what_became_of_it(case: Case) -> str:
    """Return why a secret that was right is not any more, as far as the role and the logins before tell it."""
    facts, seen = case.facts, case.after
    app, role = facts.app(seen.app), facts.role(seen.app)
    used = _logins_before(facts, seen)
    if is_used_up(facts, seen):
        return (
            f"it was used up. It was made for {times(role.secret_id_num_uses)} (secret_id_num_uses of its role then), "
            f"and this rehearsal, which logs in at every look, has made {_ALL.get(used, f'all {used}')}: no "
            "version has to do with that"
        )
    made = [one.at for one in facts.record.of(CredentialsMade) if (one.mount, one.role) == (app.mount, app.role)]
    if role.secret_id_ttl and made and seen.started - made[0] >= seconds(role.secret_id_ttl):
        return (
            f"it ended. The role gives secret IDs that live for {role.secret_id_ttl} (secret_id_ttl), and this one was "
            "older: no version has to do with that"
        )
    return "it ended, was used up, or is not in the data that Vault serves"


_ALL: Final = {1: "it", 2: "both"}


def times(uses: int | None) -> str:
    """Return for how many logins a secret ID is good, in words."""
    return "1 login" if uses == 1 else f"{uses} logins"


def _new_secret(case: Case) -> Remedy:
    app, mount = case.facts.app(case.after.app), case.after.mount
    if case.mount_kind == "userpass":
        words = f"Give the user {app.role} the password again that {case.after.app} has."
        command = f"vault write auth/{mount}/users/{app.role}/password password=@password"
    elif spent(case):
        words = (
            f"Production has nothing to mend for that. Here, have role {app.role} of auth/{mount} say "
            "secret-id-num-uses: 0, or as many as the looks take."
        )
        return Remedy(words, unproven="the looks of the rehearsal did it, and not what is rehearsed")
    else:
        words = f"Give {case.after.app} a new secret ID, and look at the role's secret_id_ttl and secret_id_num_uses."
        command = f"vault write -f auth/{mount}/role/{app.role}/secret-id"
    return Remedy(words, commands=(command,), unproven="a new secret is no step that a rehearsal can do")


LOCKOUT: Final = Rule(
    name="user-lockout",
    versions=f"from {secret_logins.LOCKOUT} on",
    precondition=f"one of the two versions is older than {secret_logins.LOCKOUT}, and the other is not",
    demands="the right secret is granted on one and answered 403 on the other, after as many wrong ones on both",
    explanation="who is wrong too often is locked out for a while, whatever is presented then",
    source="hashicorp/vault PR #17951, vault/request_handling.go; run: 1.12.0 / 1.13.0",
    examine=_lockout,
    kinds=_KINDS,
    grants=True,
)

NOT_ACCEPTED: Final = Rule(
    name="secret-not-accepted",
    versions="every version",
    precondition="an app logs in with the secret that was made for it",
    demands="the words with which Vault refuses a wrong secret",
    explanation="a secret is held against what is stored with its role: where that ended or is gone, none fits",
    source="hashicorp/vault builtin/credential/approle/path_login.go and userpass/path_login.go; run: 1.7.0 to 1.16.3",
    examine=_not_accepted,
    kinds=_KINDS,
)
