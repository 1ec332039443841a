"""What a Vault on paper checks by itself before it asks for a review: by what is known of its version."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.drivers.paper.state import ADDRESS, Config, Token, for_api_server, host_of
from harness.host import pki
from harness.knowledge import kubernetes_auth, login_order
from harness.knowledge.kubernetes_auth import Refusal
from harness.knowledge.versions import at_least
from harness.scenario import endpoints
from harness.scenario.mount_kinds import KUBERNETES
from harness.wait import now

_SELECTOR = "bound_service_account_namespace_selector"


def from_bound(role: Mapping[str, Any]) -> bool:
    """May one log in to this role from where everything on paper is asked?"""
    here = ipaddress.ip_address(ADDRESS)
    networks = [ipaddress.ip_network(one, strict=False) for one in _items(role, "token_bound_cidrs")]
    return not networks or any(here in network for network in networks)


def failing(
    version: str, config: Config, role: Mapping[str, Any], token: Token, *, signed: bool, labels: Mapping[str, str]
) -> set[Refusal]:
    """Return those of Vault's own checks that fail: by the order of `login_order` it answers with the first of them.

    *signed*: is the signature that of the token, or was it altered? *labels* are those of its namespace, as far as
    Vault can read them.
    """
    keys = config.fields.get("pem_keys") or ()
    wanted = kubernetes_auth.expected_issuer(
        version, issuer=str(config.fields.get("issuer", "")), validation_disabled=config.validation_disabled
    )
    audience, ends = role.get("audience"), token.issued.expires
    spaces, names = (_items(role, f"bound_service_account_{what}") for what in ("namespaces", "names"))
    wrong: dict[Refusal, bool] = {
        "address": not from_bound(role),
        "signing key": bool(keys) and not (signed and _finds(version, keys, token.key)),
        "algorithm": kubernetes_auth.refuses_algorithm(version, token.issued.algorithm),
        "issuer": wanted not in ("", token.issued.issuer),
        "audience": bool(audience) and audience not in token.issued.audiences,
        "expired": 0 < ends <= now() and login_order.looks_at_the_end(version, keys=bool(keys)),
        "namespace": not (kubernetes_auth.admits(spaces, token.account.namespace) or _selects(role, labels)),
        "service account name": not kubernetes_auth.admits(names, token.account.name),
    }
    return {check for check, fails in wrong.items() if fails}


def ca_of(cluster: str, times: int = 0) -> str:
    """Return what stands on paper for the CA of a cluster, once it has become another one so many *times*."""
    return f"CA {times + 1} of {cluster}" if times else f"CA of {cluster}"


def undecoded(version: str, authority: str) -> bool:
    """Does Vault *version* refuse the write of an *authority* that nobody decoded?"""
    must = at_least(version, kubernetes_auth.CA_MUST_BE_PEM)
    return must and authority != "" and not authority.startswith(("CA ", "-----BEGIN "))


def declined(version: str, role: Mapping[str, Any]) -> str:
    """Return why Vault *version* does not take a *role* back as it shows it; "" where it does."""
    if not kubernetes_auth.takes_batch_role_back(role):
        return kubernetes_auth.BATCH_USES_REFUSED
    known = kubernetes_auth.takes_back_role(version, role.get("alias_name_source", ""))
    return "" if known else kubernetes_auth.ALIAS_REFUSED


def key_of(cluster: str, algorithm: str, number: int = 1) -> str:
    """Return what stands on paper for the key with which a cluster signs tokens: its first, or a later one."""
    return f"{algorithm} key of {cluster}" if number == 1 else f"{algorithm} key {number} of {cluster}"


def _finds(version: str, keys: Sequence[str], key: str) -> bool:
    """Does Vault find that one of the *keys* which has signed a token? A text of the scenario's own signs nothing."""
    if key not in keys:
        return False
    curves, place = [_is_on_curve(one) for one in keys], keys.index(key)
    return kubernetes_auth.finds_signer(version, curves[:place], curve=curves[place])


def unsigned(version: str, config: Config, token: Token) -> str:
    """Return with which words Vault *version* refuses a *token* that it takes for signed by none of the pem_keys."""
    curves = [_is_on_curve(one) for one in config.fields["pem_keys"]]
    return kubernetes_auth.unsigned(version, curves, curve=_is_on_curve(token.key))


def _is_on_curve(key: str) -> bool:
    return pki.is_on_curve(key) if key.startswith("-----BEGIN") else key.startswith("ES")


def copied_ca(version: str, fields: Mapping[str, Any], pod: str) -> str:
    """Return the CA that Vault *version* copies out of its *pod* into a config, where one is there, or nothing."""
    copies = kubernetes_auth.copies_ca(version)
    opted_out = fields.get("disable_local_ca_jwt") is True or fields.get("pem_keys")
    return pod if copies and not opted_out else ""


def distrusts(version: str, config: Config, pod: str, cluster: str, known: str = "") -> Refusal | None:
    """Return why Vault would not talk to the API server of *cluster*, whose CA is *known*, or None.

    *pod* is the CA that its Pod has, as far as it has looked.
    """
    reads = at_least(version, kubernetes_auth.READS_POD_TOKEN) and config.fields.get("disable_local_ca_jwt") is not True
    authority = config.ca or (pod if reads else "")
    if not authority and reads:
        return "missing ca"
    plain = str(config.fields.get("kubernetes_host", "")).startswith("http://")
    between = _proxy_at(config, cluster)
    return None if plain or authority == (ca_of(between) if between else known) else "untrusted"


def _selects(role: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Does the role's selector admit a namespace with these labels?"""
    said = role.get(_SELECTOR)
    wanted = json.loads(said)["matchLabels"] if said else {}
    return bool(wanted) and wanted.items() <= labels.items()


def reads_namespaces(reviewer: Token | None, cluster: str) -> bool:
    """May Vault read the labels of namespaces there with this reviewer's token?"""
    return reviewer is not None and "namespaces" in reviewer.account.may_read and reviewer.account.cluster == cluster


def unread(role: Mapping[str, Any], reviewer: Token | None, cluster: str) -> str:
    """Return what is told beside a refused namespace whose labels Vault wanted to read, and its reviewer may not."""
    unread = role.get(_SELECTOR) and not reads_namespaces(reviewer, cluster)
    return " err=failed to get namespace (code 403" if unread else ""


def _items(role: Mapping[str, Any], field: str) -> list[str]:
    return [item for item in str(role.get(field, "")).split(",") if item]


def unshown(version: str, config: Config, pod: str) -> tuple[int, str] | None:
    """Return how the first read of a config after a start is refused, or None where it is answered."""
    since, until = kubernetes_auth.FIRST_ASKED_WITHOUT_CA
    if not (at_least(version, since) and at_least(until, version)):
        return None
    return (
        kubernetes_auth.answer("missing ca", version) if distrusts(version, config, pod, "") == "missing ca" else None
    )


def unreached(config: Config, cluster: str, *, hidden: bool) -> str:
    """Return why Vault does not reach the API server of *cluster*, in its words; empty where it does.

    *hidden*: nobody is where it was.
    """
    host = str(config.fields["kubernetes_host"])
    if host == proxy_of(cluster, "proxy-reset"):
        return f'Post "{host}/apis/authentication.k8s.io/v1/tokenreviews": read: connection reset by peer'
    if (host in (host_of(cluster), _plain(cluster)) and not hidden) or _proxy_at(config, cluster):
        return ""
    name = host.partition("://")[2].partition(":")[0]
    why = f"lookup {name}: no such host" if name.endswith(".invalid") else f"{name}: connect: connection refused"
    return f'Post "{host}/apis/authentication.k8s.io/v1/tokenreviews": dial tcp {why}'


def answered_by_another(config: Config, cluster: str, *, hidden: bool) -> str:
    """Return Vault's words for an answer that is not the API server's, or nothing where that one answers."""
    host = str(config.fields["kubernetes_host"])
    passed_on = f"an error on the server {kubernetes_auth.PASSED_ON}" if hidden else ""
    return {
        _plain(cluster): "read tcp: read: connection reset by peer",
        proxy_of(cluster, "proxy-401"): kubernetes_auth.UNAUTHORIZED,
        proxy_of(cluster, "proxy-html"): f"{kubernetes_auth.NO_JSON} '<' looking for beginning of value",
        proxy_of(cluster, "proxy"): passed_on,
        proxy_of(cluster, "proxy-no-audiences"): passed_on,
    }.get(host, "")


def proxy_of(cluster: str, word: str) -> str:
    """Return where a proxy before a cluster is, on paper."""
    return f"https://{word}.{cluster}.paper"


def _proxy_at(config: Config, cluster: str) -> str:
    """Return the proxy before a cluster that a config has for the API server, or nothing where it has none."""
    host = str(config.fields["kubernetes_host"])
    return host if host in [proxy_of(cluster, word) for word in endpoints.WORDS] else ""


def _plain(cluster: str) -> str:
    return host_of(cluster).replace("https://", "http://")


def unnamed_audience(version: str, config: Config, cluster: str, role: Mapping[str, Any], token: Token) -> str:
    """Return why Vault takes a review for none in whose answer no audiences stand; empty where it does not."""
    asked = [str(role["audience"])] if role.get("audience") else list(token.issued.audiences)
    if str(config.fields["kubernetes_host"]) != proxy_of(cluster, "proxy-no-audiences") or not asked:
        return ""
    if not at_least(version, kubernetes_auth.CHECKS_AUDIENCES):
        return ""
    return f"{kubernetes_auth.WRONG_AUDIENCES} [], but wanted [{' '.join(asked)}]"


def unasked_audience(version: str, token: Token) -> str:
    """Return why a review fails in which Vault *version* named no audiences; empty where it does not."""
    if at_least(version, kubernetes_auth.SENDS_AUDIENCES) or for_api_server(token):
        return ""
    said = ", ".join(token.issued.audiences)
    return f'lookup failed: [invalid bearer token, token audiences ["{said}"] is invalid for the target audiences]'


def aliases(version: str, kind: str, by: str) -> dict[str, str]:
    """Return what a role of a mount of a *kind* has as its source of alias names, which is *by*, on *version*.

    A write that says nothing of it stores the default: so it is shown from then on, and taken back.
    """
    knows = kind == KUBERNETES and at_least(version, kubernetes_auth.KNOWS_ALIAS_SOURCE)
    return {"alias_name_source": by} if knows else {}


def entity(token: Token | None, role: Mapping[str, Any], version: str) -> dict[str, str]:
    """Return whom Vault takes a login for, as its answer says it: by the account's UID, or by its name as *version*
    makes that. Nothing for a token that nobody issued.
    """
    if token is None:
        return {}
    alias = alias_name(token, role, version)
    if alias is None:
        alias = f"uid of {token.account.cluster}/{token.account.namespace}/{token.account.name}"
    return {"entity_id": f"entity of {alias}"}


def alias_name(token: Token, role: Mapping[str, Any], version: str) -> str | None:
    """Return by what name Vault *version* knows who logs in, where the role has it go by the account's; else None."""
    account, source = token.account, str(role.get("alias_name_source", ""))
    return kubernetes_auth.alias_name(
        f"{account.namespace}/{account.name}", source, version, projected=not account.long_lived
    )
