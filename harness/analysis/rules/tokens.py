"""The cause that lies with what a role's tokens are good for: batch tokens are not renewed, and some count requests."""

from __future__ import annotations

from typing import Final

import msgspec

from harness.analysis.correlation import EvidenceLine
from harness.analysis.rules import remedies
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.knowledge import token_store
from harness.scenario import mount_kinds
from harness.scenario.course import WriteRole

_SERVICE: Final = {"token_type": "service"}
_WITH_A_FRESH_TOKEN: Final = ("token-lookup", "token-renew", "read", "write")


def _limited(case: Case) -> Diagnosis | None:
    seen = case.after
    if seen.probe not in _WITH_A_FRESH_TOKEN:
        return None
    batch = token_store.BATCH_NOT_RENEWED in seen.error
    return _not_renewed(case) if batch else _used_up(case)


def _not_renewed(case: Case) -> Diagnosis | None:
    """Explain that what a batch token is good for ends with its TTL."""
    app, mount = case.after.app, case.after.mount
    return diagnosed(
        f"Role {case.facts.app(app).role} of auth/{mount} gives batch tokens, which are not stored and cannot be "
        f"renewed: {app} has to log in again before the end of its token",
        "certain",
        case.quoted(token_store.BATCH_NOT_RENEWED),
        _instead(case, f"Have the role give service tokens again, if {app} is to renew them.", **_SERVICE),
    )


def _used_up(case: Case) -> Diagnosis | None:
    """Explain that a token was good for so many requests, and that this one was none of them."""
    seen, facts = case.after, case.facts
    uses = remedies.role_of(case, seen.moment).num_uses
    if not uses:
        return None
    asked = [one for one in facts.of_app[seen.app] if one.moment == seen.moment and one.probe in _WITH_A_FRESH_TOKEN]
    before = asked.index(seen)
    last = seen.probe == "token-renew" and before + 1 == uses and token_store.GONE in seen.error
    if before < uses and not last:
        return None
    looked = next((one for one in asked if one.probe == "token-lookup" and one.answer == "granted"), None)
    shown = None
    if looked is not None:
        left = f"lookup-self of the token {looked.moment}: num_uses {looked.detail.get('num_uses')}"
        shown = EvidenceLine("answer", left, facts.line_of[looked.id], at=looked.ended)
    return diagnosed(
        f"Role {facts.app(seen.app).role} of auth/{seen.mount} gives tokens that are good for "
        f"{'1 request' if uses == 1 else f'{uses} requests'} (token_num_uses), and "
        + ("a token is not renewed by its last one" if last else f"{before} were made with this one before"),
        "certain" if shown else "strong",
        [facts.answer_line(seen), shown],
        _instead(case, f"Have the role give tokens for any number of requests, if {seen.app} needs more.", num_uses=0),
    )


def _instead(case: Case, words: str, **fields: str | int) -> Remedy:
    """Return a write of the role with other fields of its tokens."""
    mount, role = case.after.mount, case.facts.app(case.after.app).role

    def step(label: str) -> WriteRole:
        return WriteRole(mount=mount, role=role, spec=msgspec.structs.replace(remedies.role_of(case, label), **fields))

    written = " ".join(f"token_{name.removeprefix('token_')}={value}" for name, value in fields.items())
    return remedies.way(case, words, (remedies.role_command(case, written),), lambda label: (step(label),))[1]


LIMITED: Final = Rule(
    name="token-limits",
    versions="every version",
    precondition="the role gives batch tokens, or says token_num_uses",
    demands="Vault's words of a batch token, or as many requests with the token before this one as it is good for",
    explanation="a role says whether its tokens can be renewed, and for how many requests they are good",
    source="hashicorp/vault vault/token_store.go; run: 1.3.0 to 1.16.3",
    examine=_limited,
    kinds=mount_kinds.NAMES,
)
