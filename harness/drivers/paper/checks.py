"""What a Vault on paper checks by itself before it asks for a review: by what is known of its version."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from harness.drivers.paper.state import ADDRESS, Config, Token
from harness.knowledge import kubernetes_auth
from harness.knowledge.kubernetes_auth import Refusal
from harness.knowledge.versions import at_least


def from_bound(role: Mapping[str, Any]) -> bool:
    """May one log in to this role from where everything on paper is asked?"""
    here = ipaddress.ip_address(ADDRESS)
    networks = [ipaddress.ip_network(one, strict=False) for one in _items(role, "token_bound_cidrs")]
    return not networks or any(here in network for network in networks)


def own_refusal(version: str, config: Config, role: Mapping[str, Any], token: Token) -> Refusal | None:
    """Return the first of Vault's own checks that fails: issuer, audience, binding (knowledge.OWN_CHECKS)."""
    wanted = kubernetes_auth.expected_issuer(
        version, issuer=str(config.fields.get("issuer", "")), validation_disabled=config.validation_disabled
    )
    if wanted and wanted != token.issued.issuer:
        return "issuer"
    audience = role.get("audience")
    if audience and audience not in token.issued.audiences:
        return "audience"
    names = _items(role, "bound_service_account_names")
    spaces = _items(role, "bound_service_account_namespaces")
    wrong: dict[Refusal, bool] = {
        "namespace": not kubernetes_auth.admits(spaces, token.account.namespace),
        "service account name": not kubernetes_auth.admits(names, token.account.name),
    }
    order: list[Refusal] = ["namespace", "service account name"]
    if at_least(version, kubernetes_auth.NAME_BEFORE_NAMESPACE):
        order.reverse()
    return next((check for check in order if wrong[check]), None)


def _items(role: Mapping[str, Any], field: str) -> list[str]:
    return [item for item in str(role.get(field, "")).split(",") if item]
