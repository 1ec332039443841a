"""Templates in Vault policies: which mounts they name, and what fills them for whom."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from harness.knowledge import jwt_auth, versions
from harness.knowledge.vault_policies import Rule

_ALIAS_OF: Final = re.compile(
    r"identity\.entity\.aliases\.auth/([^{}]+?)\.(?=id\b|name\b|metadata\.|custom_metadata\.)"
)

_TEMPLATE: Final = re.compile(r"\{\{\s*(identity\.[^{}]*?)\s*\}\}")


def mounts_of(text: str) -> list[str]:
    """Return the paths of the auth mounts that a policy's templates name, where Vault's have an accessor."""
    return list(dict.fromkeys(_ALIAS_OF.findall(text)))


_ANY_ALIAS: Final = re.compile(r"identity\.entity\.aliases\.([^{}]+?)\.(?=id\b|name\b|metadata\.|custom_metadata\.)")


def aliases_elsewhere(text: str, mount: str) -> list[str]:
    """Return the mounts, or accessors, of which a text has templates and that are not *mount*.

    Who logged in at *mount* alone has no alias there, and Vault leaves a rule out whose template it cannot fill.
    """
    return [one for one in dict.fromkeys(_ANY_ALIAS.findall(text)) if one != mount]


def names_alias(text: str, mount: str, key: str) -> bool:
    """Has a policy a template with this *key* of the alias at *mount*, which is an accessor or auth/<path>?"""
    return f"identity.entity.aliases.{mount}.{key}" in _TEMPLATE.findall(text)


def with_accessors(text: str, accessors: Mapping[str, str]) -> str:
    """Return a policy as Vault wants it: its templates name mounts by their *accessors*, which only Vault gives out.

    A scenario writes {{identity.entity.aliases.auth/kubernetes.metadata.service_account_name}}. A mount that is not
    among *accessors* stays as it is written.
    """

    def filled(found: re.Match[str]) -> str:
        accessor = accessors.get(found[1])
        return f"identity.entity.aliases.{accessor}." if accessor else found[0]

    return _ALIAS_OF.sub(filled, text)


def with_mounts(text: str, paths: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return a policy of a Vault as a scenario has it, and the accessors that stay: the other way of `with_accessors`.

    *paths* has the path of each mount by its accessor.
    """

    def named(found: re.Match[str]) -> str:
        path = paths.get(found[1])
        return f"identity.entity.aliases.auth/{path}." if path else found[0]

    written = _ANY_ALIAS.sub(named, text)
    return written, [one for one in dict.fromkeys(_ANY_ALIAS.findall(written)) if not one.startswith("auth/")]


Alias = Mapping[str, str | None]
"""What stands in somebody's alias at a mount: `name`, or `metadata.<key>`; None where it has one that nobody knows."""

ROLE_IN_ALIAS: Final = "1.16.0"
"""From here the alias that a JWT mount gives has the role's name, in lower case, as metadata.role. A login renews the
alias, so tokens of before see it as well (hashicorp/vault-plugin-auth-jwt PR #160; run: 1.9.3, 1.13.0 against 1.16.3,
1.19.0)."""

MADE_ANEW: Final = ("id", "name", "metadata.service_account_uid", "metadata.service_account_secret_name")
"""What of an alias, where nothing else is known of it, a Vault or a cluster makes up itself."""


def _fill(path: str, mount: str, alias: Alias) -> tuple[str, list[str]]:
    """Return a *path* with what is known in it, and the templates that nothing fills."""
    own, nothing = f"identity.entity.aliases.{mount}.", []

    def one(found: re.Match[str]) -> str:
        name = found[1]
        key = name.removeprefix(own) if name.startswith(own) else ""
        if key not in alias:
            nothing.append(name)
            return found[0]
        value = alias[key]
        return found[0] if value is None else value

    return _TEMPLATE.sub(one, path), nothing


def filled(rules: Iterable[Rule], mount: str, alias: Alias) -> list[Rule]:
    """Return *rules* as they are for somebody of whom an *alias* at *mount*, which is an accessor or auth/<path>, says
    what stands in it. Left out is what Vault leaves out: a rule with a template that nothing fills. That is one for
    another mount, for what the alias has not, for metadata of the entity itself, which no login writes, and for groups.
    A template whose value nobody knows stays one.
    """
    found = []
    for rule in rules:
        path, nothing = _fill(rule.path, mount, alias)
        if not nothing:
            found.append(msgspec.structs.replace(rule, path=path))
    return found


def unfilled(rules: Iterable[Rule], mount: str, alias: Alias, path: str) -> list[str]:
    """Return the templates that nothing fills for whom `filled` is asked, without their braces, in those of the *rules*
    that could be for *path* by what they begin with.
    """
    return list(dict.fromkeys(name for rule in near(rules, path) for name in _fill(rule.path, mount, alias)[1]))


def undecided(rules: Iterable[Rule], path: str) -> bool:
    """Could a rule be for *path* whose template nobody knows the value of?"""
    return bool(near(rules, path))


def near(rules: Iterable[Rule], path: str) -> list[Rule]:
    """Return those of the *rules* with a template that could be for *path* by what they begin with."""
    templated = ((rule, rule.path.partition("{{")[0]) for rule in rules if rule.templated)
    return [rule for rule, start in templated if "+" in start or path.startswith(start)]


def instead(text: str, wrong: str, mount: str, key: str) -> str:
    """Return a policy with the template of a *mount*'s alias and this *key* of it where the *wrong* one was."""
    right = f"{{{{identity.entity.aliases.{mount}.{key}}}}}"
    return re.sub(r"\{\{\s*" + re.escape(wrong) + r"\s*\}\}", lambda _found: right, text)


_NOTE: Final = "vault.hashicorp.com/alias-metadata-"
"""With what an annotation of a service account begins that becomes metadata, where the config has it so."""


def of_account(
    account: str, name: str | None = None, notes: Mapping[str, str] | None = None, *, projected: bool = True
) -> Alias:
    """Return what is known of the alias that a Kubernetes mount gives a service account, written namespace/name.

    *name* is the alias's own, where its role has it go by the account's; *notes* are the annotations, where the
    config makes metadata of them; a token that is not *projected* is out of a Secret. No version has the role in it.
    Run: 1.7.0, 1.9.3, 1.13.0, 1.16.3, 1.19.0.
    """
    space, _, called = account.partition("/")
    if not called:
        return {}
    known: dict[str, str | None] = {
        f"metadata.{key.removeprefix(_NOTE)}": value for key, value in (notes or {}).items() if key.startswith(_NOTE)
    }
    known |= {"metadata.service_account_name": called, "metadata.service_account_namespace": space}
    if projected:
        known["metadata.service_account_secret_name"] = ""
    return known | ({"name": name} if name is not None else {})


def of_app_role(role: str) -> Alias:
    """Return what is known of the alias that an AppRole mount gives: the role's name, in lower case. The alias itself
    goes by the role ID, which Vault makes.

    Source: hashicorp/vault builtin/credential/approle/path_login.go. Run: 1.7.0, 1.9.3, 1.13.0, 1.16.3, 1.19.0.
    """
    return {"metadata.role_name": role.lower()}


def of_name(name: str) -> Alias:
    """Return what is known of an alias that goes by a certificate's common *name*. It has metadata only where the mount
    is told to (enable_identity_alias_metadata).

    Source: hashicorp/vault builtin/credential/cert/path_login.go. Run: 1.9.3, 1.13.0, 1.16.3, 1.19.0.
    """
    return {"name": name}


def of_user(name: str) -> Alias:
    """Return what is known of the alias of a user at a userpass mount: it goes by the *name* in lower case, and has no
    metadata.

    Source: hashicorp/vault builtin/credential/userpass/path_login.go. Run: 1.7.0, 1.9.3, 1.13.0, 1.16.3, 1.19.0.
    """
    return {"name": name.lower()}


def of_claims(
    claims: Mapping[str, Any], user_claim: str, mappings: Mapping[str, str], role: str, version: str
) -> Alias:
    """Return what is known of the alias that a JWT mount of a Vault *version* gives who comes with these *claims*, of
    which the *role* takes the *user_claim* for the name, and those of its *mappings* for metadata.

    Source: hashicorp/vault-plugin-auth-jwt path_login.go createIdentity. Run: 1.9.3, 1.13.0, 1.16.3, 1.19.0.
    """
    taken = {f"metadata.{key}": jwt_auth.claim_at(claims, claim) for claim, key in mappings.items()}
    taken["name"] = jwt_auth.claim_at(claims, user_claim)
    # what is no text becomes one, and nobody here knows which
    known = {key: value if isinstance(value, str) else None for key, value in taken.items() if value is not None}
    if versions.product(version) == versions.OPENBAO:
        known["metadata.role"] = None
    elif versions.at_least(version, ROLE_IN_ALIAS):
        known["metadata.role"] = role.lower()
    return known
