"""The cause that lies with what a token may do: a policy that denies, or that does not grant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

import msgspec

from harness.analysis.correlation import EvidenceLine
from harness.analysis.record_view import Facts
from harness.analysis.rules import entities, remedies, unfilled
from harness.analysis.rules.rule import RENEWAL, Case, Diagnosis, Remedy, Rule, diagnosed
from harness.knowledge import policy_templates, token_store, vault_policies, versions
from harness.record.observation import Observation
from harness.scenario import mount_kinds, plan
from harness.scenario.course import WritePolicy, WriteRole

_READS: Final = ("read", "old-token-read")
_WRITE: Final = "write"
_WHOLE_LISTS: Final = "VAULT_LEGACY_EXACT_MATCHING_ON_LIST"


class _Asked(NamedTuple):
    """What is asked with a token: the path, the right that it takes, and what that is called."""

    path: str
    right: str
    called: str


def _asked(case: Case) -> _Asked | None:
    """Return what a question asks of the token's policies; None where it asks nothing of them."""
    seen = case.after
    if seen.probe in _READS:
        (path, right), *_ = case.facts.topology.asks(seen.item)
        what = f"the read of {seen.item}"
    elif seen.probe == _WRITE:
        path, right, what = case.facts.topology.data_path(seen.item), "update", f"the write of {seen.item}"
    elif seen.probe == "kept-secret":
        _, *later = case.facts.topology.asks(seen.item)
        if not later:
            return None
        (path, right), what = later[0], f"the use of {seen.item}"
    elif seen.probe in plan.OF_ITSELF:
        path, right = plan.OF_ITSELF[seen.probe]
        of = "a lease of its own" if "lease" in seen.probe else "its own token"
        what = f"the {'renewal' if 'renew' in seen.probe else 'look-up'} of {of}"
    else:
        return None
    return _Asked(path, right, f'{what} by {seen.app}, which is capability "{right}" on path "{path}"')


def _not_renewed(case: Case) -> Diagnosis | None:
    """Explain that a mount renews no token of a user or role whose policies are others, letter by letter."""
    said, app = case.quoted(token_store.POLICIES_CHANGED), case.facts.app(case.after.app)
    mount, written = case.after.mount, remedies.role_of(case, case.after.moment).policies
    folded = tuple(dict.fromkeys(name.lower() for name in written))

    def user(label: str) -> WriteRole:
        spec = msgspec.structs.replace(remedies.role_of(case, label), policies=folded)
        return WriteRole(mount=mount, role=app.role, spec=spec)

    command = remedies.role_command(case, f"token_policies='{','.join(folded)}'")
    whom = f"{'user' if case.mount_kind == 'userpass' else 'role'} {app.role}"
    words = f"Write the policies of {whom} in lower case, as its tokens have them."
    return diagnosed(
        f"Vault renews no token of a {whom.partition(' ')[0]} whose policies are others, letter by letter, than the "
        f"token has: {whom} of auth/{mount} has {', '.join(written)}, and for tokens Vault folds the case",
        "strong",
        said,
        remedies.way(case, words, (command,), lambda label: (user(label),))[1],
    )


def _renewed_at_last(case: Case) -> Diagnosis | None:
    """Explain that a mount renews tokens whose policies have a capital in the role, which older versions did not."""
    before, since = case.before, token_store.FOLDS_POLICIES
    if before is None or token_store.POLICIES_CHANGED not in before.error or versions.at_least(before.version, since):
        return None
    if not versions.at_least(case.after.version, since):
        return None
    return diagnosed(
        f"From {since} on {case.mount_kind} compares the policies of a token and of its user or role without regard to "
        f"capitals, and renews what {before.version} did not",
        "certain",
        [case.facts.answer_line(before)],
        Remedy("Nothing: tokens live longer than they did, as their users and roles say."),
    )


def _examined(case: Case) -> Diagnosis | None:
    seen = case.after
    if seen.probe in ("token-renew", RENEWAL) and seen.answer == "refused" and seen.status == 500:
        return _not_renewed(case)
    if seen.probe == _WRITE and seen.answer == "granted":
        return _parameter_allowed(case)
    if seen.probe in ("token-renew", RENEWAL) and seen.answer == "granted":
        return _renewed_at_last(case)
    if seen.probe in _READS and seen.answer == "granted":
        return _template_filled(case)
    return _policy_denies(case)


def _template_filled(case: Case) -> Diagnosis | None:
    """Explain that a policy grants at last what it did not, because a template in it is filled now."""
    why = _granted_at_last(case)
    if not why:
        return None
    return diagnosed(
        why,
        "certain",
        [case.facts.answer_line(case.after), *case.evidence.audit, _token(case)],
        Remedy(
            "Nothing, if that is what the policy is for: a template in it was filled with nothing so far, or with "
            "another name."
        ),
    )


def _granted_at_last(case: Case) -> str:
    """Return which policy grants what it did not before, and why, in words; empty where none does by its text."""
    seen, before, asked = case.after, case.before, _asked(case)
    says = _ruling(case, seen, _held(case, seen), asked) if asked is not None else None
    was = _ruling(case, before, _held(case, before), asked) if asked is not None and before is not None else None
    if asked is None or says is None or was is None or was.granted or not says.granted:
        return ""
    differ = _otherwise_filled(case)
    return f"Policy {says.rules[0].policy} grants {asked.called} at last: {differ}" if differ else ""


def _otherwise_filled(case: Case) -> str:
    """Return what the alias has now and had not before, or had otherwise, of what templates of the policies name."""
    if case.before is None:
        return ""
    now, was = entities.alias_of(case, case.after), entities.alias_of(case, case.before)
    own, texts = f"auth/{case.after.mount}", _texts(case.facts)
    held = [texts.get(name, "") for name in {*_held(case, case.after), *_held(case, case.before)}]
    of = f"the alias that {own} gives"
    differ = [
        f"{key} {value}" + (f" instead of {was[key]}" if was.get(key) else "")
        for key, value in sorted(now.items())
        if value and value != was.get(key) and any(policy_templates.names_alias(text, own, key) for text in held)
    ]
    return f"on {case.after.version} {of} has {', '.join(differ)}, by which a template is filled" if differ else ""


def _policy_denies(case: Case) -> Diagnosis | None:
    seen, facts = case.after, case.facts
    asked = _asked(case)
    if asked is None or seen.status != 403:
        return None
    texts = _texts(facts)
    named = _held(case, seen)
    says = _ruling(case, seen, named, asked)
    if says is None:
        return None  # the texts do not account for the answer
    if says.granted:
        return _parameter_refused(case, says, texts) if seen.probe == _WRITE else None
    if case.before is not None and case.before.answer == "granted":
        earlier = _ruling(case, case.before, _held(case, case.before), asked)
        if earlier is None or not earlier.granted:
            return None  # nor for the one before
    deciding = [rule for rule in says.rules if "deny" in rule.capabilities] if says.denied else list(says.rules)
    return diagnosed(
        _sentence(case, asked, _written(case, named), deciding, denied=says.denied)
        + (f": {differ}" if (differ := _otherwise_filled(case)) else "")
        + ("" if says.denied else _not_filled(case, asked, texts, named)),
        "certain",
        [
            facts.answer_line(seen),
            *case.evidence.audit,
            _token(case),
            *(
                EvidenceLine("policy", f"{name}: {' '.join(texts.get(name, 'nobody wrote it').split())}")
                for name in _written(case, named)
            ),
        ],
        _remedy(case, asked, _written(case, named), deciding, denied=says.denied),
    )


def _parameter_refused(case: Case, says: vault_policies.Ruling, texts: Mapping[str, str]) -> Diagnosis | None:
    """Explain that a policy lets an app write there, and not that."""
    seen = case.after
    why = _why_refused(case, says, seen.version)
    if why is None:
        return None
    was = case.before.version if case.before is not None and case.before.answer == "granted" else ""
    if was and _why_refused(case, says, was) is not None:
        return None  # the texts account for this answer, and not for the one before
    rule = _deciding(says, why)
    sentence = (
        f'Policy {rule.policy} lets {seen.app} write {seen.item}, and not that: on path "{rule.path}" {why}'
        f"{_SINCE.format(was) if was and was != seen.version else ''}"
    )
    text = vault_policies.without_parameter(rule.policy, texts.get(rule.policy, ""), rule.path, why)
    lists = versions.at_least(seen.version, vault_policies.LISTS_ITEM_BY_ITEM)
    words = (
        f'If {seen.app} is to write it, have {why.by} of path "{rule.path}" in policy {rule.policy} say so: the first '
        "command writes the policy to a file, the second takes the file back once it is mended."
        + (f" {_WHOLE_LISTS}=true in Vault's environment has lists looked up as before for the time being." * lists)
        + " If not, take it out of the app's writes."
    )
    return diagnosed(sentence, "certain", _of_parameters(case, rule, texts), _mended(case, words, rule.policy, text))


def _parameter_allowed(case: Case) -> Diagnosis | None:
    """Explain that a policy lets an app write at last what it refused."""
    seen, before, texts = case.after, case.before, _texts(case.facts)
    asked = _asked(case)
    assert asked is not None, "a write asks for the right to write"
    if before is None or before.status != 403:
        return None
    says = _ruling(case, seen, _held(case, seen), asked)
    if says is None or _why_refused(case, says, seen.version) is not None:
        return None
    why = _why_refused(case, says, before.version)
    if why is None:
        return None
    rule = _deciding(says, why)
    return diagnosed(
        f'Policy {rule.policy} lets {seen.app} write {seen.item} as it does: on path "{rule.path}" {why.by} has every '
        f"item of {why.parameter}{_SINCE.format(before.version)}",
        "certain",
        _of_parameters(case, rule, texts),
        Remedy("Nothing, unless the policy was meant to refuse that: then it has to say so item by item."),
    )


_SINCE: Final = (
    f". From {vault_policies.LISTS_ITEM_BY_ITEM} on the items of a list are looked up one by one, and {{}} looked for "
    "the whole list"
)


def _why_refused(case: Case, says: vault_policies.Ruling, version: str) -> vault_policies.Refused | None:
    _, fields = case.facts.topology.written(case.after.app, case.after.item)
    return vault_policies.refused_parameter(says.rules, fields, version)


def _deciding(says: vault_policies.Ruling, why: vault_policies.Refused) -> vault_policies.Rule:
    """Return the rule of those that decide that has the parameter."""
    return next((one for one in says.rules if why.parameter in one.parameters(why.by)), says.rules[0])


def _of_parameters(case: Case, rule: vault_policies.Rule, texts: Mapping[str, str]) -> list[EvidenceLine | None]:
    return [
        case.facts.answer_line(case.after),
        *case.evidence.audit,
        _token(case),
        EvidenceLine("policy", f"{rule.policy}: {' '.join(texts.get(rule.policy, '').split())}"),
    ]


def _texts(facts: Facts) -> dict[str, str]:
    """Return every policy's text, with that of Vault's own one, as far as anybody asks, where nobody wrote another."""
    return {vault_policies.VAULTS_OWN: vault_policies.OF_EVERY_TOKEN, **plan.policies(facts.topology, facts.steps)}


def _written(case: Case, named: Sequence[str]) -> list[str]:
    """Return those of the policies that are the operator's."""
    return [name for name in named if name != vault_policies.VAULTS_OWN or name in case.facts.topology.policies]


def _rules(case: Case, named: Sequence[str]) -> list[vault_policies.Rule]:
    """Return the rules of these policies as they are written. Raises PolicyError where a text is none."""
    texts = _texts(case.facts)
    return [rule for name in named for rule in vault_policies.read(name, texts.get(name, ""))]


def _ruling(case: Case, seen: Observation, named: Sequence[str], asked: _Asked) -> vault_policies.Ruling | None:
    """Return what the policies say of what is asked with the token of *seen*; None where their texts do not tell."""
    try:
        rules = _rules(case, named)
    except vault_policies.PolicyError:
        return None
    rules = _filled(case, seen, rules)
    undecided = policy_templates.undecided(rules, asked.path)
    return None if undecided else vault_policies.ruling(rules, asked.path, asked.right)


def _filled(case: Case, seen: Observation, rules: Sequence[vault_policies.Rule]) -> list[vault_policies.Rule]:
    """Return *rules* as they are for who asked *seen*, their templates filled."""
    return policy_templates.filled(rules, f"auth/{case.after.mount}", entities.alias_of(case, seen))


def _would_grant(case: Case, asked: _Asked, text: str) -> bool:
    """Would a policy with this *text* grant what is asked?"""
    rules = _filled(case, case.after, vault_policies.read("", text))
    return vault_policies.ruling(rules, asked.path, asked.right).granted


def _held(case: Case, seen: Observation) -> list[str]:
    """Return the policies of the token with which *seen* was asked.

    Vault itself named them at the login; else they are those that the topology's role has.
    """
    login = entities.login_of(case, seen)
    held = login.detail.get("policies") if login is not None else None
    if isinstance(held, list):
        return list(held)
    role = remedies.role_of(case, seen.moment)
    own = () if role.no_default_policy else (vault_policies.VAULTS_OWN,)
    return [*dict.fromkeys((*own, *(one.lower() for one in role.policies)))]


def _sentence(case: Case, asked: _Asked, named: list[str], deciding: list[vault_policies.Rule], *, denied: bool) -> str:
    what = asked.called
    if denied:
        rule = deciding[0]
        return f'Policy {rule.policy} denies {what}: path "{rule.path}" says deny, and deny wins'
    if not named:
        return f"Nothing grants {what}: role {case.facts.app(case.after.app).role} names no policy"
    said = "; ".join(
        f'{rule.policy} has {", ".join(rule.capabilities) or "nothing"} on "{rule.path}"' for rule in deciding
    )
    if len(named) == 1:
        return f"Policy {named[0]} does not grant {what}: {said or 'no path of it covers that'}"
    return f"Policies {', '.join(named)} do not grant {what}: {said or 'no path of theirs covers that'}"


def _not_filled(case: Case, asked: _Asked, texts: Mapping[str, str], named: Sequence[str]) -> str:
    """Return that templates of these policies are for another mount than that of the login: a sentence."""
    own = f"auth/{case.after.mount}"
    found = [one for name in named for one in policy_templates.aliases_elsewhere(texts.get(name, ""), own)]
    alias, rules = entities.alias_of(case, case.after), _rules(case, named)
    nothing = policy_templates.unfilled(rules, own, alias, asked.path)
    said = unfilled.said(nothing, own, case.mount_kind, alias) + _filled_otherwise(case, asked, rules)
    if not found:
        return said
    strange = (
        ". Where that is an accessor, it is that of another Vault, or of a mount that was disabled since and enabled "
        f"anew: in a scenario it is called {own}"
    )
    whom = f"grants nothing to who logs in at {own}"
    strange = strange if any(not one.startswith("auth/") for one in found) else ""
    return f". A rule with a template for {', '.join(dict.fromkeys(found))} {whom}{strange}{said}"


def _filled_otherwise(case: Case, asked: _Asked, rules: Sequence[vault_policies.Rule]) -> str:
    """Return for which paths those rules are, with their templates filled, that could be for this: a sentence."""
    paths = [rule.path for rule in _filled(case, case.after, policy_templates.near(rules, asked.path))]
    if not paths:
        return ""
    capitals = (
        ": what fills it is in lower case, and a path with capitals is another one"
        if any(path.lower() == asked.path.lower() for path in paths)
        else ""
    )
    called = ", ".join(f'"{path}"' for path in paths)
    return f". With its template filled for {case.after.app} a rule is for {called}{capitals}"


def _token(case: Case) -> EvidenceLine | None:
    """Return which policies Vault itself said that the token has."""
    login = entities.login_of(case, case.after)
    held = login.detail.get("policies") if login is not None else None
    if login is None or not held:
        return None
    return EvidenceLine("answer", f"login {login.moment}: policies {', '.join(held)}", case.facts.line_of[login.id])


def _remedy(
    case: Case, asked: _Asked, named: list[str], deciding: list[vault_policies.Rule], *, denied: bool
) -> Remedy:
    rule_text = f'path "{asked.path}" {{ capabilities = ["{asked.right}"] }}'
    texts, read = _texts(case.facts), case.after.probe in _READS
    writes = case.after.probe == _WRITE
    wanted = f"If {case.after.app} is to {'read it' if read else 'write it' if writes else 'do that'}"
    leave = f" If not, take it out of the app's {'reads' if read else 'writes'}." if read or writes else ""
    if denied:
        rule = _as_written(case, deciding[0])
        words = (
            f'{wanted}, take the deny of path "{rule.path}" out of policy {rule.policy}: the first command writes it '
            f"to a file, the second takes the file back once it is mended.{leave}"
        )
        text = vault_policies.without_deny(rule.policy, texts.get(rule.policy, ""), rule.path)
        text = text if _would_grant(case, asked, text) else f"{text}\n{rule_text}".strip()
        return _mended(case, words, rule.policy, text)
    if not named:
        return _named(case, rule_text)
    if (better := _template(case, asked, named, wanted, leave)) is not None:
        return better
    words = f"{wanted}, add the path to policy {named[0]}.{leave}"
    command = f"(vault policy read {named[0]}; echo '{rule_text}') | vault policy write {named[0]} -"
    policy = WritePolicy(vault=case.after.vault, name=named[0], text=f"{texts.get(named[0], '')}\n{rule_text}".strip())
    return remedies.way(case, words, (command,), lambda _label: (policy,))[1]


def _template(case: Case, asked: _Asked, named: list[str], wanted: str, leave: str) -> Remedy | None:
    """Return the other template with which a policy grants what is asked, where one does."""
    own, alias, texts = f"auth/{case.after.mount}", entities.alias_of(case, case.after), _texts(case.facts)
    grants = partial(_would_grant, case, asked)
    for name in named:
        nothing = policy_templates.unfilled(_rules(case, [name]), own, alias, asked.path)
        found = unfilled.mended(texts.get(name, ""), nothing, own, alias, grants)
        if found is not None:
            wrong, right, text = found
            words = (
                f"{wanted}, have {{{{{right}}}}} in policy {name} in place of {{{{{wrong}}}}}, with the mount's "
                f"accessor for {own} (vault auth list): the first command writes the policy to a file, the second "
                f"takes the file back once it is mended.{leave}"
            )
            return _mended(case, words, name, text)
    return None


def _mended(case: Case, words: str, policy: str, text: str) -> Remedy:
    """Return the way to have another *text* in a *policy*, by a file."""
    step = WritePolicy(vault=case.after.vault, name=policy, text=text)
    return remedies.way(case, words, _by_file(policy), lambda _label: (step,))[1]


def _as_written(case: Case, rule: vault_policies.Rule) -> vault_policies.Rule:
    """Return a rule whose template was filled as its policy has it."""
    written = _rules(case, [rule.policy])
    return next((one for one in written if rule in _filled(case, case.after, [one])), rule)


def _by_file(policy: str) -> tuple[str, str]:
    """Return the commands that write a policy to a file, and take that back."""
    return f"vault policy read {policy} > {policy}.hcl", f"vault policy write {policy} {policy}.hcl"


def _named(case: Case, rule_text: str) -> Remedy:
    """Return how a role that names no policy comes to name one that grants it."""
    app, mount = case.facts.app(case.after.app), case.after.mount
    name = f"{case.after.app}-reads"

    def role(label: str) -> WriteRole:
        held = remedies.role_of(case, label)
        return WriteRole(
            mount=mount, role=app.role, spec=msgspec.structs.replace(held, policies=(*held.policies, name))
        )

    policies = ",".join(role(remedies.first_label(case)).spec.policies)
    commands = (
        f"echo '{rule_text}' | vault policy write {name} -",
        remedies.role_command(case, f"token_policies='{policies}'"),
    )
    words = f"Name a policy in the role that grants it: {name} here."
    policy = WritePolicy(vault=case.after.vault, name=name, text=rule_text)
    return remedies.way(case, words, commands, lambda label: (policy, role(label)))[1]


DENIES: Final = Rule(
    name="policy-denies",
    versions="every version",
    precondition="the texts of the token's policies are known, and account for the answer before as well",
    demands="a 403, and policies whose text denies or does not grant that very path, or what is written there",
    explanation="a token may do what its policies grant on a path and no more, and deny wins over all they grant "
    "there; what is written has to fit allowed_parameters and denied_parameters, which since 1.21.0 look into lists",
    source="hashicorp/vault vault/acl.go; run: 1.7.0, 1.21.2",
    examine=_examined,
    kinds=mount_kinds.NAMES,
    grants=True,
)
