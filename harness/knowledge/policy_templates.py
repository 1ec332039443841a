"""Templates in Vault policies: which mounts they name, and what fills them for whom."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from harness.knowledge import jwt_auth
from harness.knowledge.vault_policies import Rule

_ALIAS_OF: Final = re.compile(
    r"identity\.entity\.aliases\.auth/([^{}]+?)\.(?=id\b|name\b|metadata\.|custom_metadata\.)"
)


def mounts_of(text: str) -> list[str]:
    """Return the paths of the auth mounts that a policy's templates name, where Vault's have an accessor."""
    return list(dict.fromkeys(_ALIAS_OF.findall(text)))


_ANY_ALIAS: Final = re.compile(r"identity\.entity\.aliases\.([^{}]+?)\.(?=id\b|name\b|metadata\.|custom_metadata\.)")


def aliases_elsewhere(text: str, mount: str) -> list[str]:
    """Return the mounts, or accessors, of which a text has templates and that are not *mount*.

    Who logged in at *mount* alone has no alias there, and Vault leaves a rule out whose template it cannot fill.
    """
    return [one for one in dict.fromkeys(_ANY_ALIAS.findall(text)) if one != mount]


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


def filled(rules: Iterable[Rule], mount: str, alias: Mapping[str, str]) -> list[Rule]:
    """Return *rules* as they are for somebody of whom an *alias* at *mount*, which is an accessor or auth/<path>, says
    what stands in it: `name`, or `metadata.<key>`. A rule with a template for another mount is left out, and a template
    for anything else stays one.
    """
    known = {f"{{{{identity.entity.aliases.{mount}.{key}}}}}": value for key, value in alias.items()}
    found = []
    for rule in rules:
        path = re.sub(r"\{\{\s*(\S+?)\s*\}\}", r"{{\1}}", rule.path)
        for template, value in known.items():
            path = path.replace(template, value)
        if not aliases_elsewhere(path, mount):
            found.append(msgspec.structs.replace(rule, path=path))
    return found


def of_account(account: str) -> dict[str, str]:
    """Return what is known of the alias that a Kubernetes mount gives a service account, written namespace/name."""
    space, _, name = account.partition("/")
    known = {"service_account_name": name, "service_account_namespace": space} if name else {}
    return {f"metadata.{key}": value for key, value in known.items()}


def of_name(name: str) -> dict[str, str]:
    """Return what is known of an alias that goes by a certificate's common *name*.

    Source: hashicorp/vault builtin/credential/cert/path_login.go. Run: 1.9.3, 1.16.3.
    """
    return {"name": name}


def of_user(name: str) -> dict[str, str]:
    """Return what is known of the alias of a user at a userpass mount: it goes by the *name* in lower case.

    Source: hashicorp/vault builtin/credential/userpass/path_login.go. Run: 1.9.3, 1.13.0, 1.16.3.
    """
    return {"name": name.lower()}


def of_claims(claims: Mapping[str, Any], user_claim: str, mappings: Mapping[str, str]) -> dict[str, str]:
    """Return what is known of the alias that a JWT mount gives who comes with these *claims*, of which its role takes
    the *user_claim* for the name, and those of its *mappings* for metadata.

    Source: hashicorp/vault-plugin-auth-jwt path_login.go createIdentity. Run: 1.13.0, 1.16.3.
    """
    taken = {f"metadata.{key}": jwt_auth.claim_at(claims, claim) for claim, key in mappings.items()}
    taken["name"] = jwt_auth.claim_at(claims, user_claim)
    return {key: value for key, value in taken.items() if isinstance(value, str)}
