"""What each way of making a plan real needs and proves: the one place that tells drivers apart by their names.

A driver has its own of these (`traits`). It is plain data, so that plans and judges, which know no driver, can ask.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from harness.knowledge import versions

ETCD: Final = "3.5.16"
"""The etcd under every API server: 3.5 serves every Kubernetes version from 1.22 on."""

CONSUL: Final = "1.15.4"
"""The Consul that has the data of a Vault."""

STORES: Final = {"etcd": ETCD, "consul": CONSUL}
"""What is needed besides where a Vault has its data there, by the storage's name, which is the product's."""

KIND: Final = "0.30.0"
"""The kind that makes clusters; the images of nodes that are made here have its files in them."""

Artifact = tuple[str, str]
"""(product, version)"""


Sharing = Literal["", "last", "more"]
"""With whom a rehearsal shares its source state: nobody, those before it, or also those that come after it."""


class Traits(msgspec.Struct, frozen=True, kw_only=True):
    """A driver, as everybody else has to know it."""

    name: str
    real: bool = True
    """do servers answer, which take time and which one can talk to? If not, the answers are this project's knowledge"""
    tools: tuple[Artifact, ...] = ()
    """what it needs whatever the versions: where there is no cluster, what its engine needs alone"""
    cluster: str = ""
    """the product of which it needs each Kubernetes version"""
    vault: str = ""
    """the product of which it needs each Vault version"""
    engine: bool = False
    """does it need a container engine?"""
    nodes: bool = False
    """have its clusters nodes, and not a control plane alone?"""
    lends: bool = False
    """can clusters of a run that was kept serve further ones?"""
    shares: bool = False
    """can rehearsals of one process have its clusters one after the other: emptied, or with a source state in them?"""
    usual_seconds: float = 10.0
    """what a short rehearsal takes of which nobody has recorded it. Only the ratio to other drivers matters"""

    def artifacts(
        self, kubernetes: Iterable[str], vaults: Iterable[str], *, storages: Iterable[str] = ()
    ) -> tuple[Artifact, ...]:
        """Return every binary and image that it needs for these versions. *storages*: where Vaults have their data."""
        clusters = [(self.cluster, version) for version in kubernetes] if self.cluster else []
        servers = [server(self.vault, version) for version in vaults] if self.vault else []
        tools = self.tools if clusters or self.engine else ()
        stores = [(name, STORES[name]) for name in sorted(set(storages)) if name in STORES and self.real]
        return tuple(dict.fromkeys((*tools, *stores, *clusters, *servers)))


def server(vault: str, version: str) -> Artifact:
    """Return the artifact of a Vault *version*, which is one of *vault*, or of OpenBao: openbao, openbao-image."""
    return vault.replace("vault", versions.product(version)), versions.number(version)


LOCAL: Final = Traits(name="local", tools=(("etcd", ETCD),), cluster="kube-apiserver", vault="vault", shares=True)
KIND_CLUSTERS: Final = Traits(
    name="kind",
    tools=(("kind", KIND),),
    cluster="node-image",
    vault="vault-image",
    engine=True,
    nodes=True,
    lends=True,
    shares=True,
    usual_seconds=70.0,
)
PAPER: Final = Traits(name="paper", real=False, usual_seconds=0.1)

NAMES: Final = tuple(one.name for one in (LOCAL, KIND_CLUSTERS, PAPER))


def of(name: str) -> Traits:
    """Return the traits of a driver by its name. One that this release does not have answered from real servers."""
    return next((one for one in (LOCAL, KIND_CLUSTERS, PAPER) if one.name == name), Traits(name=name))
