"""Configs and roles that were written again as they were read: what is refused, and what is another value afterwards.

Whoever keeps them under version control, or mends one by hand, does this on the day after the upgrade.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from harness.analysis import diagnosis
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.analysis.rules import Kind, Remedy
from harness.knowledge import kubernetes_auth, versions
from harness.knowledge.kubernetes_auth import Stored
from harness.record.events import ConfigWritten, Rewritten
from harness.scenario.course import Look, Upgrade
from harness.scenario.outcomes import Effect

REFUSED: Final = "rewrite-refused"
CHANGES: Final = "rewrite-changes"

_EXPLANATION: Final = {
    REFUSED: "what a version shows is not all of what it takes: a read is no backup, and the next write fails",
    CHANGES: "a write replaces the whole config, and what no read shows is not written back",
}
_SOURCE: Final = (
    "vault-plugin-auth-kubernetes path_config.go, path_role.go; its issue 133, terraform-provider-vault issue 1231"
)
_ALIAS: Final = "alias_name_source"


def findings(facts: Facts) -> Iterator[Finding]:
    """Yield every rewrite that is refused, the first time, and every one after which something is otherwise."""
    refused: set[tuple[str, str, str]] = set()
    for line, one in facts.record.numbered(Rewritten):
        key = (one.vault, one.mount, one.role)
        if one.status >= 300:
            if key not in refused:
                yield _refused(facts, line, one)
            refused.add(key)
            continue
        refused.discard(key)
        if said := [*_values(one), *_reviewer(facts, line, one)]:
            yield _changed(facts, line, one, said)


def _refused(facts: Facts, line: int, one: Rewritten) -> Finding:
    where, said = _place(one), f"HTTP {one.status} {' '.join(one.error.split())}".strip()
    what = "does not even show it" if one.unread else "does not take it back as it shows it"
    sentence = (
        f"{versions.called(one.version)} {what}: {where} answers {said}. The next write of it fails so, and changes "
        "nothing"
    )
    evidence = EvidenceLine("answer", f"{'read' if one.unread else 'write'} of {where}: {said}", line)
    return _finding(facts, one, REFUSED, sentence, evidence, _taken_back(one))


def _taken_back(one: Rewritten) -> Remedy:
    """Return with what else it would be taken."""
    why = "what is to be written instead is for whoever writes this mount to say"
    if one.role and not one.before.get(_ALIAS) and _ALIAS in one.error:
        path = f"auth/{one.mount}/role/{one.role}"
        words = (
            f"Write {_ALIAS}=serviceaccount_uid with it: a role from before "
            f"{kubernetes_auth.field_since(_ALIAS)} has none, and that is what Vault does with none."
        )
        change = f"jq '.data + {{{_ALIAS}: \"serviceaccount_uid\"}}'"
        command = f"vault read -format=json {path} | {change} | vault write {path} -"
        return Remedy(words, commands=(command,), unproven="nobody is refused by it")
    words = "Write it with what Vault names in its answer, here and in whatever keeps this mount (Terraform, scripts)."
    return Remedy(words, unproven=why)


def _values(one: Rewritten) -> Iterator[str]:
    """Yield each field that is shown as another value than before it was written."""
    for name in dict.fromkeys((*one.before, *one.after)):
        old, new = one.before.get(name), one.after.get(name)
        if old != new and (name, old, new) != _SAME_THING:
            yield f"{name} is {_shown(one.after, name)} and was {_shown(one.before, name)}"


_SAME_THING: Final = (_ALIAS, "", "serviceaccount_uid")
"""Vault has always gone by the UID where a role says nothing."""


def _shown(fields: Mapping[str, Any], name: str) -> str:
    return json.dumps(fields[name]) if name in fields else "not there"


def _reviewer(facts: Facts, line: int, one: Rewritten) -> Iterator[str]:
    """Yield that another reviewer is stored than before: no read shows it."""
    if one.role:
        return
    *_, before, after = (None, *_written_before(facts, line, one))
    old = facts.stored_by(before) if before is not None else ""
    new = facts.stored_by(after) if after is not None else ""
    if old != new and (old, new) in _REVIEWERS:
        yield _REVIEWERS[old, new]


_REVIEWERS: Final[Mapping[tuple[Stored, Stored], str]] = {
    ("explicit", ""): "the stored reviewer is gone: no read shows token_reviewer_jwt, so none is written back",
    ("explicit", "frozen"): "the stored reviewer is gone, which no read shows, and a copy of the token of Vault's "
    "present Pod is stored in its place",
    ("", "frozen"): "a copy of the token of Vault's present Pod is stored as the reviewer, where none was",
    ("frozen", ""): "the copy of a Pod's token that was stored as the reviewer is gone",
}


def _written_before(facts: Facts, line: int, one: Rewritten) -> Iterator[ConfigWritten]:
    return (config for at, config in facts.writes.get(one.mount, []) if at < line)


def _changed(facts: Facts, line: int, one: Rewritten, said: list[str]) -> Finding:
    where = _place(one)
    by = versions.called(one.version)
    sentence = f"{where}, written again by {by} as it was read, is another one: {'; '.join(said)}"
    evidence = EvidenceLine("config", f"{where} was read and written back: {'; '.join(said)}", line)
    words = (
        "Keep what no read shows beside what it does, and write both: the reviewer's token, and every flag in so many "
        "words, here and in whatever keeps this mount (Terraform, scripts)."
    )
    return _finding(facts, one, CHANGES, sentence, evidence, Remedy(words, unproven="nobody is refused by it alone"))


def _finding(facts: Facts, one: Rewritten, rule: str, sentence: str, evidence: EvidenceLine, way: Remedy) -> Finding:
    effect: Effect = "rewrite refused" if rule == REFUSED else "rewrite changes a value"
    kind: Kind = "latent" if rule == CHANGES else "regression" if _upgraded(facts, one) else "pre-existing"
    return diagnosis.stated(
        facts,
        (rule, kind, effect),
        sentence,
        (evidence,),
        way,
        hop="" if kind == "pre-existing" else one.version,
        mount=one.mount,
        item=one.role,
        explanation=_EXPLANATION[rule],
        source=_SOURCE,
        moment=one.moment,
        vault=one.vault,
    )


def _upgraded(facts: Facts, one: Rewritten) -> bool:
    """Was Vault taken to another version before, since the first look?"""
    looked = False
    for step in facts.steps:
        if isinstance(step, Look):
            if step.moment.label == one.moment:
                return False
            looked = True
        elif looked and isinstance(step, Upgrade) and step.vault == one.vault:
            return True
    return False


def _place(one: Rewritten) -> str:
    return f"auth/{one.mount}/role/{one.role}" if one.role else f"auth/{one.mount}/config"
