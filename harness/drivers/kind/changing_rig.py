"""What a course changes in the kind clusters of a rig: the API server of each is started anew, or cut off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import structs

from harness.drivers.kind import api_server
from harness.drivers.kind.cluster import KindCluster
from harness.drivers.real_rig import RealRig
from harness.rig.rig import ClusterFacts


class ChangesKindClusters(RealRig):
    """A rig whose kind clusters get other issuers and keys, and may be out of Vault's reach.

    What they cannot get (`limits`) is refused beforehand: another version, another CA.
    """

    _clusters: Mapping[str, KindCluster]
    _facts: dict[str, ClusterFacts]
    _issuers: dict[str, tuple[str, ...]]
    """of clusters, since the course changed them"""

    def upgrade_kubernetes(self, cluster: str, version: str) -> None:
        """Start the API server of the version that is there anew."""
        self._change(cluster, version)

    def set_issuers(self, cluster: str, issuers: Sequence[str]) -> None:
        """Start the API server anew with other issuers, and request the tokens of new Pods.

        Where an issuer goes, the cluster's own Pods are replaced as well: their tokens are of it.
        """
        before, self._issuers[cluster] = self._issuers_of(cluster), tuple(issuers)
        self._change(cluster)
        if not {*before} <= {*issuers}:
            api_server.renew_own_tokens(self._clusters[cluster])
        self._facts[cluster] = structs.replace(self._facts[cluster], issuer=issuers[0])
        self._request_anew(cluster)

    def rotate_keys(self, cluster: str, of: str) -> None:
        """Start the API server anew with another key, and request the tokens of new Pods."""
        del of  # of `ca` there is no such step
        api_server.renew_key(self._clusters[cluster])
        self._change(cluster)
        self._facts[cluster] = structs.replace(self._facts[cluster], keys=api_server.keys(self._clusters[cluster]))
        self._request_anew(cluster)

    def reach(self, cluster: str, *, reachable: bool) -> None:
        """Have the node refuse whoever asks its API server, but for itself and us; or have it refuse nobody."""
        api_server.reach(self._clusters[cluster], reachable=reachable)
        self._tell(cluster)

    def _change(self, cluster: str, version: str = "") -> None:
        api_server.start_anew(self._clusters[cluster], self._issuers_of(cluster))
        self._tell(cluster, version)

    def _tell(self, cluster: str, version: str = "") -> None:
        wanted, kube = version or self._topology.clusters[cluster].kubernetes, self._clusters[cluster].kube
        self._cluster_changed(cluster, kube, wanted, self._issuers_of(cluster))

    def _issuers_of(self, cluster: str) -> Sequence[str]:
        return self._issuers.get(cluster) or self._topology.clusters[cluster].issuers
