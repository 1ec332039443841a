"""The configuration of a Vault server, wherever it runs."""

from __future__ import annotations

import json


def text(
    storage: str, data: str, *, listen: str, certificate: tuple[str, str] | None, address: str, cluster_address: str
) -> str:
    """Return it as JSON: one node over the directory *data* that listens at *listen*, and logs all it can.

    *certificate* is the files of the listener's certificate and key, None for plain HTTP. *address* is what Vault calls
    itself, and *cluster_address* what it calls itself for other nodes.
    """
    store: dict[str, object] = {"path": data}
    if storage == "raft":
        # quoted: Vault 1.4 refuses the number. 1 is the fastest election there is.
        store |= {"node_id": "node-1", "performance_multiplier": "1"}
    listener: dict[str, object] = {"address": listen, "tls_disable": certificate is None}
    if certificate is not None:
        listener["tls_cert_file"], listener["tls_key_file"] = certificate
    settings = {
        "storage": {storage: store},
        "listener": {"tcp": listener},
        "api_addr": address,
        "cluster_addr": cluster_address,
        "disable_mlock": True,
        "log_level": "debug",
    }
    return json.dumps(settings, indent=1)
