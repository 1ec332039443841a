"""The configuration of a Vault server, wherever it runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import NamedTuple


class Listening(NamedTuple):
    """The files with which a listener speaks TLS: its certificate, its key, and who vouches for its clients.

    It talks to nobody who has no certificate of that authority; without one it talks to everybody, and takes note of
    the certificates that are shown.
    """

    certificate: str
    key: str
    clients: str = ""


Stored = Mapping[str, Mapping[str, object]]
"""The storage of a Vault, as its configuration has it: the kind, and its settings."""


def in_directory(storage: str, data: str) -> Stored:
    """Return a storage of a kind that keeps everything in the directory *data*: raft or file."""
    store: dict[str, object] = {"path": data}
    if storage == "raft":
        # quoted: Vault 1.4 refuses the number. 1 is the fastest election there is.
        store |= {"node_id": "node-1", "performance_multiplier": "1"}
    return {storage: store}


def text(
    storage: Stored, *, listen: str, tls: Listening | None, address: str, cluster_address: str, openbao: bool = False
) -> str:
    """Return it as JSON: one node over its *storage* that listens at *listen*, and logs all it can.

    *tls* is None for plain HTTP. *address* is what Vault calls itself, and *cluster_address* what it calls itself for
    other nodes. *openbao*: it is for OpenBao, which lets nobody make an audit device by the API unless told to.
    """
    listener: dict[str, object] = {"address": listen, "tls_disable": tls is None}
    if tls is not None:
        listener |= {
            "tls_cert_file": tls.certificate,
            "tls_key_file": tls.key,
        }
    if tls is not None and tls.clients:
        listener |= {"tls_client_ca_file": tls.clients, "tls_require_and_verify_client_cert": True}
    settings: dict[str, object] = {
        "storage": storage,
        "listener": {"tcp": listener},
        "api_addr": address,
        "cluster_addr": cluster_address,
        "disable_mlock": True,
        "log_level": "debug",
    }
    if openbao:
        settings["unsafe_allow_api_audit_creation"] = True
        del settings["disable_mlock"]
    return json.dumps(settings, indent=1)
