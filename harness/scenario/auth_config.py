"""The fields of auth/<mount>/config as a scenario has them, and the kinds of reviewers that they store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from harness.scenario import mount_kinds, values
from harness.scenario.mount_kinds import JWT, MountKind

REQUESTED_LIFE: Final = "1h"
"""The life of a token that is requested without one: kubectl's own, and the API server's."""

OF_ACCOUNT: Final = ("secret", "long-lived", "requested")
"""The kinds of reviewer that are the token of a service account of their own, which the scenario names or implies."""

STORED: Final = (*OF_ACCOUNT, "pod-token")
"""The kinds of reviewer whose token is stored in the config."""

ConfigField = str | bool | tuple[str, ...]
"""A field of auth/<mount>/config. Of a Kubernetes mount, what stands for something that only the running system knows:
the text "cluster" (of host, CA, issuer and pem_keys), the name of another cluster (of CA and pem_keys), "base64" (of
the CA), and the kinds of a stored reviewer (of token_reviewer_jwt). Of a JWT mount the URLs and their CAs alike."""

_LITERAL: Final = (
    "issuer",
    "disable_iss_validation",
    "disable_local_ca_jwt",
    "pem_keys",
    "use_annotations_as_alias_metadata",
)
"""The fields of a config that are sent as they are said, if they are."""


def kind_of_reviewer(written: str | None) -> str:
    """Return a reviewer's kind under the one name that it has in plans and records."""
    return "long-lived" if written == "secret" else written or ""


def reviewer_life(kind: str, written: str | None) -> int:
    """Return for how many seconds a reviewer's token is asked for: 0 where it is not requested."""
    return values.seconds(written or REQUESTED_LIFE) if kind == "requested" else 0


def fields_of(of: MountKind, cluster: str, reviewer: str, literal: Mapping[str, Any] | None) -> dict[str, ConfigField]:
    """Return the fields to write to auth/<mount>/config of a mount *of* a kind; none where it has no config."""
    if of.name == JWT:
        return mount_kinds.config_of_keys(cluster, literal or {})
    return config_fields(reviewer, literal) if of.config else {}


def config_fields(reviewer: str, literal: Mapping[str, Any] | None) -> dict[str, ConfigField]:
    """Return the fields to write to auth/<mount>/config, for a reviewer by name and the plugin's *literal* fields."""
    fields: dict[str, ConfigField] = {"kubernetes_host": (literal or {}).get("kubernetes_host") or "cluster"}
    if literal is None:
        fields |= {"kubernetes_ca_cert": "cluster", "issuer": "cluster"}
    else:
        if (authority := literal.get("kubernetes_ca_cert") or "cluster") != "omit":
            fields["kubernetes_ca_cert"] = authority
        for name in _LITERAL:
            if (value := literal.get(name)) is not None:
                fields[name] = tuple(value) if isinstance(value, list | tuple) else value
    if reviewer == "client-jwt":
        fields["disable_local_ca_jwt"] = True
    if reviewer in STORED:
        fields["token_reviewer_jwt"] = kind_of_reviewer(reviewer)
    return fields
