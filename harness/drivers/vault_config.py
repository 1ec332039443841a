"""The configuration of a Vault server, wherever it runs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from harness.clients.transit import TRANSIT_KEY, TRANSIT_MOUNT
from harness.secret import Secret


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


class Joining(NamedTuple):
    """Another node of a Vault: its address, and the files by which that knows us and we know it."""

    address: str
    ca: str
    certificate: str
    key: str


def in_directory(storage: str, data: str, *, node: str = "node-1", others: Sequence[Joining] = ()) -> Stored:
    """Return a storage of a kind that keeps everything in the directory *data*: raft or file.

    *node* is what raft calls this node, nothing where its environment says so; *others* are those that it tries to join
    while it has no data.
    """
    store: dict[str, object] = {"path": data}
    if storage == "raft":
        # quoted: Vault 1.4 refuses the number. 1 is the fastest election there is, and alone a node loses none; others
        # would take a leader that is late for one that is gone
        store |= {"performance_multiplier": "3" if others else "1"} | ({"node_id": node} if node else {})
    if others:
        store["retry_join"] = [
            {
                "leader_api_addr": one.address,
                "leader_ca_cert_file": one.ca,
                "leader_client_cert_file": one.certificate,
                "leader_client_key_file": one.key,
            }
            for one in others
        ]
    if node != "node-1":
        # autopilot looks every ten seconds otherwise, and until it has looked a new node has no vote
        store |= {"autopilot_reconcile_interval": "500ms", "autopilot_update_interval": "200ms"}
    return {storage: store}


class Unsealing(NamedTuple):
    """The Vault that unseals this one with its transit engine: its address, the files by which both know each other,
    and the token by which that knows this one. A server gets the token by its environment, unless it is *told* it.
    """

    address: str
    ca: str
    certificate: str
    key: str
    token: Secret
    disabled: bool = False
    """is it the seal that this one is to leave?"""
    called: str = ""
    """the name that its certificate has, where that is not its address"""
    told: bool = False
    """does the configuration have the token? Then it is as secret as that"""

    @property
    def seal(self) -> Stored:
        """Return the seal, as the configuration has it."""
        return {
            "transit": {
                "address": self.address,
                "mount_path": f"{TRANSIT_MOUNT}/",
                "key_name": TRANSIT_KEY,
                "tls_ca_cert": self.ca,
                "tls_client_cert": self.certificate,
                "tls_client_key": self.key,
            }
            | ({"disabled": "true"} if self.disabled else {})
            | ({"tls_server_name": self.called} if self.called else {})
            | ({"token": self.token.reveal()} if self.told else {})
        }


def text(
    storage: Stored,
    *,
    listen: str,
    tls: Listening | None,
    address: str,
    cluster_address: str,
    openbao: bool = False,
    mlock_said: bool = True,
    unsealing: Unsealing | None = None,
    listen_to_nodes: str = "",
) -> str:
    """Return it as JSON: one node over its *storage* that listens at *listen*, and logs all it can.

    *tls* is None for plain HTTP. *address* is what Vault calls itself, and *cluster_address* what it calls itself for
    other nodes. *mlock_said*: does it say disable_mlock? *openbao*: it is for OpenBao, which lets nobody make an audit
    device by the API unless told to.
    *unsealing* is who unseals it; None: whoever has its Shamir keys. *listen_to_nodes* is where it listens to other
    nodes; empty: at the port after that of *listen*, as Vault does by itself.
    """
    listener: dict[str, object] = {"address": listen, "tls_disable": tls is None}
    if listen_to_nodes:
        listener["cluster_address"] = listen_to_nodes
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
    if not mlock_said:
        del settings["disable_mlock"]
    if unsealing is not None:
        settings["seal"] = unsealing.seal
    if openbao:
        settings["unsafe_allow_api_audit_creation"] = True
        settings.pop("disable_mlock", None)
    return json.dumps(settings, indent=1)
