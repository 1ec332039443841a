"""Many Pods that log in at once, on paper: each is answered as one of them is, and nobody is too many."""

from __future__ import annotations

import abc
from typing import Any

import msgspec

from harness.rig.rig import IssuedToken, Reply, VaultSystem
from harness.scenario.topology import Topology


class PaperStorms(abc.ABC):
    """A rig on paper that has many Pods log in at once."""

    _topology: Topology

    @abc.abstractmethod
    def system(self, vault: str = "") -> VaultSystem:
        """Return a Vault by its name."""

    @abc.abstractmethod
    def app_token(self, app: str) -> IssuedToken:
        """Return the app's token."""

    def login_storm(self, app: str) -> Reply:
        """Answer all Pods of *app* as the app itself; a review is told of by whoever counts, and not here."""
        wanted = self._topology.apps[app]
        assert wanted.storm is not None
        vault = self.system(self._topology.mounts[wanted.mount].vault).vault
        reply = vault.login(wanted.mount, wanted.role, self.app_token(app).jwt)
        came = reply.came
        data: dict[str, Any] = {
            "pods": wanted.storm.pods,
            "at_once": wanted.storm.at_once,
            "answers": {came: wanted.storm.pods},
            "said": {} if reply.ok else {came: reply.error},
        }
        return msgspec.structs.replace(reply, data=data, token=None, correlation="")
