"""What nobody can see of a mount's config, who reviews its logins, becomes variants and a way to find out.

Vault shows no stored token in any version, and whether there is one only from 1.16.0 on; who wrote a config, and
whether a pod's token was readable then, it never shows. So nothing is guessed: each way in which the config can have
come to be is a value of the matrix, and `--reviewer MOUNT=...` says which it is once somebody has looked.
"""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

from harness.importing.installation import OUTSIDE, ClusterPart, Installation, MountPart
from harness.knowledge import kubernetes_auth, versions
from harness.scenario import auth_config

Way = Literal["none", "client-jwt", "copied", "pod-token", "secret", "requested", "local"]
"""How a reviewer can have come into a config: not at all; chosen (client-jwt, local); copied by a Vault of 1.5.0 to
1.9.2 from its own Pod; or stored by somebody: a copy of Vault's pod token, one out of a Secret, one that ends."""

WAYS: Final[tuple[Way, ...]] = ("none", "client-jwt", "copied", "pod-token", "secret", "requested", "local")

LAST_COPYING: Final = "1.9.2"
"""The last Vault that copies its pod's token into a config."""

MEANING: Final[dict[str, str]] = {
    "none": "no reviewer is stored: until 1.9.2 the app's own token reviews, then that of Vault's pod, if there is one",
    "client-jwt": "disable_local_ca_jwt is true and no reviewer is stored: the app's own token reviews",
    "copied": "a Vault of 1.5.0 to 1.9.2 wrote the config in a pod, and stored a copy of its pod's token",
    "pod-token": "somebody stored a copy of the token of Vault's own pod",
    "secret": "somebody stored a long-lived token, out of a Secret",
}

_FIND_OUT: Final = (
    "How to find out: while an app logs in, look at who creates the TokenReview (the API server's audit log, "
    "user.username). {answers} Then import again with --reviewer {mount}=WHAT, or --configured {mount}=VERSION where "
    "you know who wrote the config."
)


class Ways(msgspec.Struct, frozen=True, kw_only=True):
    """How one mount's reviewer can have come to be."""

    first: Way
    """what the scenario itself has"""
    others: tuple[Way, ...] = ()
    """what is a variant of it"""
    told: bool = False
    """did somebody say which it is?"""


def ways(mount: MountPart, said: Installation, source: str) -> Ways:
    """Return how the reviewer of a Kubernetes mount can have come to be, as far as can be seen."""
    if mount.reviewer is not None:
        return Ways(first=_way(mount.reviewer), told=True)
    disabled = bool((mount.config or {}).get("disable_local_ca_jwt"))
    none: Way = "client-jwt" if disabled else "none"
    if mount.configured_by is not None or mount.reviewer_stored is False:
        return Ways(first=none, told=mount.configured_by is not None)
    stored: list[Way] = []
    inside = said.vault.cluster != OUTSIDE
    if not disabled and inside and _may_have_copied(mount, source):
        stored.append("copied")
    if inside and said.vault.token_file is not False:
        stored.append("pod-token")
    stored.append("secret")
    if mount.reviewer_stored:
        # out of a Secret is what most have, and what ends nothing
        return Ways(first="secret", others=tuple(one for one in stored if one != "secret"))
    return Ways(first=none, others=tuple(stored))


def _way(said: str) -> Way:
    return next(one for one in WAYS if one == said)


def _may_have_copied(mount: MountPart, source: str) -> bool:
    """Can a Vault of 1.5.0 to 1.9.2 have written this config? Not one with fields that none of those knew."""
    if not versions.at_least(source, kubernetes_auth.COPIES_POD_TOKEN):
        return False
    newer = any("bound_service_account_namespace_selector" in role for role in mount.roles.values())
    return not newer and not (mount.config or {}).get("use_annotations_as_alias_metadata")


def fields(way: Way, mount: MountPart, source: str, cluster: ClusterPart | None) -> dict[str, Any]:
    """Return the keys of a scenario's mount that say so; `configured` is always among them."""
    by, file = mount.configured_by or source, mount.with_token_file
    copies = versions.at_least(by, kubernetes_auth.COPIES_POD_TOKEN) and not versions.at_least(
        by, kubernetes_auth.READS_POD_TOKEN
    )
    if way == "copied":
        by = by if copies else LAST_COPYING
        return {"configured": {"by": by, "with-token-file": True}}
    if mount.configured_by is None and copies and way == "none":
        file = False  # the same as if an older Vault had written it: nothing was copied
    configured: dict[str, Any] = {"by": by} | ({} if file is None else {"with-token-file": file})
    if way == "none":
        return {"configured": configured}
    if way == "pod-token" and file is False:
        configured.pop("with-token-file")
    found: dict[str, Any] = {"configured": configured, "reviewer": way}
    if way in auth_config.OF_ACCOUNT:
        account = mount.reviewer_account or stored_account(cluster)
        found |= {"reviewer-service-account": account} if account else {}
        if account and cluster is not None and cluster.may_review(account) is False:
            found["reviewer-may-review-tokens"] = False
    return found


def stored_account(cluster: ClusterPart | None) -> str | None:
    """Return the account of *cluster* whose long-lived token is most likely the stored reviewer, or None."""
    if cluster is None or not cluster.secrets:
        return None

    def rank(account: str) -> tuple[bool, bool, str]:
        told = any(word in account for word in ("review", "vault", "auth"))
        return (not cluster.may_review(account), not told, account)

    return min(cluster.secrets, key=rank)


def find_out(path: str, found: Ways, source: str) -> str:
    """Return what is not known of a mount's reviewer, and how to find it out."""
    old = not versions.at_least(source, kubernetes_auth.READS_POD_TOKEN)
    answers = {
        "none": "The app's account: none."
        if old
        else "The app's account, or Vault's with the uid of a pod that lives: none.",
        "client-jwt": "The app's account: client-jwt.",
        "copied": "Vault's account, or nobody and 401: copied, or pod-token if somebody stored it.",
        "secret": "Another account: secret:NAMESPACE/NAME.",
    }
    listed = " ".join(answers[one] for one in (found.first, *found.others) if one in answers)
    return _FIND_OUT.format(answers=listed, mount=path)
