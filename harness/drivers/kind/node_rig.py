"""A rig of kind clusters whose Vault may have several nodes: which Pod is meant, and what each takes with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.artifacts.brought import LICENCE_FILE
from harness.drivers.balancer import WithBalancer
from harness.drivers.kind.cluster import NODE_PORTS
from harness.drivers.kind.vault_container import VaultContainer
from harness.drivers.kind.vault_nodes import NodePod, VaultNodes
from harness.drivers.kind.vault_pod import VaultPod
from harness.drivers.kind.vault_rig import RunsKindVault
from harness.drivers.service_accounts import Account
from harness.drivers.several_nodes import harm
from harness.errors import Unreachable
from harness.record.journal import Journal
from harness.record.node_events import EvictionTried
from harness.scenario import storage_state
from harness.scenario.course import BY_NUMBER, Serve
from harness.scenario.topology import pod_purpose
from harness.wait import Stopwatch, now


class RunsKindNodes(WithBalancer, RunsKindVault):
    """What one rig does with the nodes of its Vault."""

    _pods: dict[str, NodePod]
    """of several nodes, by their names; of the only one none"""
    _homes: dict[str, Account]
    """the account of each Pod of Vault's, by the purpose of its token"""

    def _begin_vault(self, wanted: Sequence[Account]) -> None:
        vault, purposes = self._topology.vault, self._topology.pod_purposes("")
        self._homes = {one.purpose: one for one in wanted if one.purpose in purposes}
        self._pods = {}
        if vault.nodes == 1:
            super()._begin_vault(wanted)
            return
        self._old_tokens, self._beside, self._left, self._unsealer = {}, [], [], None
        licence = {LICENCE_FILE: self._licence} if self._licence else {}
        ports = [self._port_to(vault.cluster, port) for port in NODE_PORTS[: vault.nodes]]
        where, home = self._work / "vault", self._clusters[vault.cluster]
        account = vault.service_account
        nodes = VaultNodes(where, home, account, self._run_id, ports=ports, licence=licence, store=self._store)
        self._pods = nodes.pods
        self._leading = next(iter(self._pods.values()))
        self._begin_devices(nodes, vault.cluster)

    @property
    def answering(self) -> VaultPod | VaultContainer | NodePod:
        """Return the Vault that answers: of several nodes the one that leads."""
        return self._leading if self._pods else self._server

    @property
    def servers(self) -> Mapping[str, Any]:
        """Return every server of Vault by the name of its node."""
        return self._pods or {self._topology.nodes_of("")[0]: self._server}

    def is_of_vault(self, account: Account) -> bool:
        """Is it that of a Pod of Vault's?"""
        return account.purpose in self._homes

    def follow(self) -> str:
        """Find out who leads, and have everything go there."""
        if name := super().follow():
            self._leading = self._pods[name]
        return name

    def open_to_all(self) -> None:
        """Start Vault anew if it is to listen otherwise: one of several nodes is not."""
        if not self._pods:
            super().open_to_all()

    def add_node(self, name: str, served: Serve) -> None:
        """Start a node that joins the others."""
        pod, was_there = self._pods[name], bool(self._pods[name].version)
        pod.client.root = self._leading.client.root
        pod.join_others()
        (self.swap_node if was_there else self._bring)(name, served)

    def swap_node(self, name: str, served: Serve) -> None:
        """Have a new Pod of what is *served* come in the place of a node's; and see, while it is sealed and so not
        ready, whether another one may be evicted.
        """
        self._bring(name, served)
        kube, other = self._clusters[self._topology.vault.cluster].kube, next(one for one in self._pods if one != name)
        try:
            status, message = kube.would_evict(self._pods[other].namespace, other)
        except Unreachable:
            return  # what that means for the run is found out elsewhere
        self._journal.write(EvictionTried(node=other, during=name, status=status, message=message, vault=served.vault))

    def _bring(self, name: str, served: Serve) -> None:
        home, image = self._homes[pod_purpose(name)], self._image_of(served.version)
        self._await_image(served, home)
        rolling, begun, node = served.part in BY_NUMBER, now(), self._pods[name]
        if served.meanwhile in storage_state.OF_A_NODE:
            with self._journal.phase(f"what becomes of the data of {name}"):
                node.stop()
                harm(node, served, self._topology.vault, lambda: self._start_last(node))
        with self._journal.phase(f"rollout of {served.version}"):
            pod = node.roll_out(served.version, image, token_file=served.token_file, rolling=rolling)
        self._take_token(home, pod, begun, token_file=served.token_file)
        self._answering = Stopwatch()

    def _start_last(self, node: NodePod) -> None:
        node.roll_out(node.version, self._image_of(node.version), token_file=False)

    def _start_vault(self, served: Serve) -> None:
        if self._pods:
            self._bring(next(iter(self._pods)), served)
        else:
            super()._start_vault(served)

    def end_vault(self) -> None:
        """End Vault, if it is a container."""
        if not self._pods:
            super().end_vault()

    def keep_vaults(self, journal: Journal) -> None:
        """Keep what every version of Vault printed, by its nodes where it has several."""
        for name, pod in self._pods.items():
            journal.keep(f"{name}-vault.log", pod.whole_log())
        if not self._pods:
            super().keep_vaults(journal)
