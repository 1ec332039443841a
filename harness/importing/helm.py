"""What the values of Vault's Helm chart say of the server, as `helm get values RELEASE -a` prints them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harness.importing.installation import Gap, Installation, Seen, VaultPart, release_of


def read(source: str, values: Any, cluster: str | None = None) -> Seen:
    """Return what *values* say, as plain data; *cluster*: the name of the cluster in which the chart is installed."""
    called = f"Helm {source}"
    if not isinstance(values, Mapping) or not ({"server", "injector", "global", "ui", "csi"} & set(values)):
        why = "these are no values of Vault's chart: `helm get values RELEASE -a -o json` prints them"
        return Seen(source=called, gaps=(Gap(f"everything of {called}", why),), reached=False)
    server, everywhere = _part(values, "server"), _part(values, "global")
    outside = everywhere.get("externalVaultAddr") or _part(values, "injector").get("externalVaultAddr")
    if outside:
        note = f"{called} has no server: its Vault is at {outside}"
        return Seen(source=called, notes=(note,))
    image, ha = _part(server, "image"), _part(server, "ha")
    config = str(_part(ha, "raft").get("config") if _is(_part(ha, "raft")) else ha.get("config")) if _is(ha) else str(
        _part(server, "standalone").get("config") or ""
    )  # fmt: skip
    nodes = ha.get("replicas") if _is(ha) else None
    vault = VaultPart(
        version=release_of(str(image.get("tag") or "")),
        storage=_stanza(config, "storage"),
        seal=_stanza(config, "seal"),
        tls=None if everywhere.get("tlsDisable") is None else not everywhere["tlsDisable"],
        ha=_is(ha) or None,
        nodes=nodes if isinstance(nodes, int) else None,
        cluster=cluster,
        may_review=_part(server, "authDelegator").get("enabled"),
    )
    notes = () if image.get("tag") else (f"{called} names no server.image.tag: the chart's own is used",)
    return Seen(source=called, said=Installation(vault=vault), notes=notes)


def _part(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}


def _is(part: Mapping[str, Any]) -> bool:
    return part.get("enabled") in (True, "true")


def _stanza(config: str, kind: str) -> str | None:
    """Return the label of a stanza of Vault's configuration, which is HCL: storage "raft" { is raft."""
    found = re.search(rf'^\s*{kind}\s+"([a-z0-9_-]+)"\s*\{{', config, re.MULTILINE)
    return found[1] if found else None
