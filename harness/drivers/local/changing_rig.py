"""What a course changes in the clusters of a rig of processes: each API server is started anew over the same data."""

from __future__ import annotations

import abc
from collections.abc import Mapping, MutableMapping, Sequence

from harness.artifacts import brought
from harness.artifacts.binaries import Artifact
from harness.drivers.local.control_plane import ControlPlane
from harness.drivers.local.vault_nodes import VaultNodes
from harness.drivers.proxies import Proxies
from harness.drivers.real_rig import RealRig
from harness.drivers.service_accounts import Account
from harness.host.ports import Ports
from harness.host.process import Supervisor


class ChangingRig(RealRig):
    """A rig whose clusters get other versions, issuers, keys and places."""

    _planes: MutableMapping[str, ControlPlane]
    _kubernetes: MutableMapping[str, str]
    _binaries: Mapping[tuple[str, str], Artifact]
    _homes: MutableMapping[str, Account]
    _vaults: VaultNodes
    _proxies: Proxies
    _all_ports: Ports

    @property
    @abc.abstractmethod
    def _owner(self) -> Supervisor:
        """Return the supervisor of the clusters' servers."""

    def upgrade_kubernetes(self, cluster: str, version: str) -> None:
        """Start the API server of *version* over the store of the one that is there."""
        self._kubernetes[cluster] = version
        self._change(cluster, self._planes[cluster].issuers)

    def set_issuers(self, cluster: str, issuers: Sequence[str]) -> None:
        """Start the API server anew with other issuers, and request the tokens of new Pods."""
        self._change(cluster, issuers)
        self._request_anew(cluster)

    def rotate_keys(self, cluster: str, of: str) -> None:
        """Start the API server anew with another key, and request the tokens of new Pods; or with another `ca`."""
        plane = self._planes[cluster]
        if of == "ca":
            plane.renew_authority()
            self._proxies.trust(self.cluster(cluster))
            there = [purpose for purpose, account in self._homes.items() if account.cluster == cluster]
            self._vaults.trust(plane.authority.ca, there)
        else:
            plane.renew_key()
        self._change(cluster, plane.issuers)
        if of != "ca":
            self._request_anew(cluster)

    def reach(self, cluster: str, *, reachable: bool) -> None:
        """Start the API server anew where nobody but us looks for it, or where it was."""
        plane = self._planes[cluster]
        plane.hide(plane.port if reachable else self._all_ports.take(1)[0])
        self._change(cluster, plane.issuers)

    def _change(self, cluster: str, issuers: Sequence[str]) -> None:
        plane, version = self._planes[cluster], self._kubernetes[cluster]
        server = self._binaries["kube-apiserver", version]
        with brought.steady(server):
            plane.change(self._owner, server.path, issuers, self._bring_up.over)
        self._cluster_changed(cluster, plane.kube, version, issuers)
