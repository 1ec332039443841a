"""Which cluster an auth mount asks and in which one Vault runs, by address, CA and keys; and what each is called."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import urlsplit

from harness.importing import role_fields
from harness.importing.installation import OUTSIDE, ClusterPart, Installation, MountPart
from harness.importing.naming import Names, fits
from harness.knowledge import versions
from harness.scenario import mount_kinds, topology
from harness.scenario.mount_kinds import JWT, KUBERNETES

ASSUMED_KUBERNETES: Final = "1.32.0"
"""Where nobody could say which version a cluster has."""

_OF_VAULT: Final = "platform"
_OF_APPS: Final = "apps"
_IN_CLUSTER: Final = re.compile(r"https?://(kubernetes(\.default(\.svc(\.cluster\.local)?)?)?|\$\S*)(:\d+)?/?")
"""How an API server is called from within its own cluster."""


_OF_CURVES: Final = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
"""How a key on a curve signs (Kubernetes pkg/serviceaccount/jwt.go)."""


def same_pem(one: str, other: str) -> bool:
    """Are these PEM texts the same, however their lines are broken?"""
    return "".join(one.split()) == "".join(other.split())


def _algorithm(pem: str) -> str:
    """Return with which algorithm an API server signs that has this key."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(pem.encode())
    except ValueError:
        return topology.RS256
    return (
        _OF_CURVES.get(key.curve.name, topology.RS256) if isinstance(key, ec.EllipticCurvePublicKey) else topology.RS256
    )


def _address(said: str) -> str:
    parts = urlsplit(said.strip().lower())
    port = parts.netloc.rpartition(":")[2] if ":" in parts.netloc else {"https": "443", "http": "80"}.get(parts.scheme)
    return f"{parts.hostname}:{port}"


class Clusters:
    """The clusters of a scenario: those that were read, and those that are only known to be asked."""

    def __init__(self, said: Installation, names: Names) -> None:
        self._said, self._names = said, names
        self._by_name: dict[str, ClusterPart | None] = {}
        self._of_mount: dict[str, str | None] = {}
        self._true: dict[str, str] = {}
        self._published: set[str] = set()
        for name, part in said.clusters.items():
            self._add(name, part)
        unknown: dict[str, list[str]] = {}
        for path, mount in sorted(said.mounts.items()):
            found = self._known_of(mount)
            self._of_mount[path] = None if found is None else names.of("cluster", found)
            if found is None and self._asks(mount):
                unknown.setdefault(str((mount.config or {}).get("kubernetes_host") or ""), []).append(path)
        self._name_unknown(unknown)
        self.of_vault = self._place_of_vault()

    @property
    def names(self) -> list[str]:
        """Return the names of all clusters, as the scenario has them."""
        return list(self._by_name)

    def part(self, name: str) -> ClusterPart | None:
        """Return what was read of a cluster, or None."""
        return self._by_name.get(name)

    def of_mount(self, path: str) -> str | None:
        """Return the cluster of an auth mount; None for one whose tokens are of no cluster."""
        return self._of_mount[path]

    def of_mounts(self) -> list[str]:
        """Return the clusters that auth mounts ask."""
        return list(dict.fromkeys(name for name in self._of_mount.values() if name is not None))

    def any_cluster(self) -> str:
        """Return a cluster for an example."""
        if not self._by_name:
            self._add(_OF_APPS, None)
        return next(iter(self._by_name))

    def publish(self, name: str) -> None:
        """Take note that anybody can read the keys of a cluster's tokens: a Vault gets them there."""
        self._published.add(name)

    def with_ca(self, pem: str) -> str | None:
        """Return the cluster whose API server this CA vouches for."""
        found = (name for name, part in self._by_name.items() if part and part.ca and same_pem(pem, part.ca))
        return next(found, None)

    def issuer_word(self, cluster: str, issuer: str) -> str:
        """Return an issuer as a config of the scenario has it: `cluster` for the cluster's own."""
        return "cluster" if issuer == self._issuer(cluster) else self._names.of("audience", issuer)

    def key_word(self, cluster: str | None, pem: str) -> str:
        """Return a key as the config of a JWT mount has it: `cluster`, another cluster's name, or the text itself."""
        for name, part in self._by_name.items():
            if part is not None and any(same_pem(pem, one) for one in part.keys or ()):
                return "cluster" if name == cluster else name
        if cluster is None:
            return mount_kinds.PROVIDER
        own = self.part(cluster)
        return "cluster" if own is None or own.keys is None else pem

    def document(self, name: str) -> tuple[dict[str, Any], list[str]]:
        """Return a cluster as the scenario has it, and what there is to say of it."""
        part, notes = self._by_name[name], list[str]()
        version = part.version if part else None
        if version is None:
            notes.append(f"NOT READ: its Kubernetes version; {ASSUMED_KUBERNETES} is assumed.")
            version = ASSUMED_KUBERNETES
        elif not versions.at_least(version, versions.OLDEST_KUBERNETES):
            notes.append(f"It is Kubernetes {version}; {versions.OLDEST_KUBERNETES} is the oldest that is rehearsed.")
            version = versions.OLDEST_KUBERNETES
        found: dict[str, Any] = {"kubernetes": version}
        issuer = self._issuer(name)
        if issuer != topology.ISSUER and fits("issuer", issuer):
            found["issuers"] = [self._names.of("issuer", issuer)]
        if name in self._published:
            found["publishes-keys"] = True
        signs = sorted({_algorithm(pem) for pem in (part.keys if part else None) or ()})
        if len(signs) > 1:
            notes.append(
                f"Its keys are for {' and '.join(signs)}: which signs now is not known, {topology.RS256} is assumed."
            )
        elif signs and signs[0] != topology.RS256:
            found["signing-algorithm"] = signs[0]
        if part is None or part.issuer is None:
            notes.append("Assumed: its issuer." if "issuers" not in found else "Its issuer is what a config demands.")
        if told := self._names.told("cluster", self._true[name]):
            notes.append(f"It is {told}.")
        return found, notes

    def _issuer(self, name: str) -> str:
        """Return the issuer of a cluster's tokens: its own, or the one that the configs which ask it demand."""
        part = self._by_name.get(name)
        if part is not None and part.issuer is not None:
            return part.issuer
        demanded = {
            str(issuer)
            for path, mount in self._said.mounts.items()
            if self._of_mount.get(path) == name
            for field in ("issuer", "bound_issuer")
            if (issuer := (mount.config or {}).get(field))
        }
        return next(iter(demanded)) if len(demanded) == 1 else topology.ISSUER

    def _add(self, name: str, part: ClusterPart | None) -> str:
        called = self._names.of("cluster", name)
        self._by_name[called], self._true[called] = part, name
        return called

    @staticmethod
    def _asks(mount: MountPart) -> bool:
        """Is this a mount of some cluster's accounts?"""
        kind = mount.type or KUBERNETES
        subjects = [role_fields.account_of_subject(role.get("bound_subject")) for role in mount.roles.values()]
        return kind == KUBERNETES or (kind == JWT and any(subjects))

    def _known_of(self, mount: MountPart) -> str | None:
        """Return which of the clusters that were read a mount belongs to, by what tells them apart best."""
        config, there = mount.config or {}, self._said.clusters
        if mount.cluster is not None or not self._asks(mount):
            return mount.cluster
        host, pem = str(config.get("kubernetes_host") or ""), str(config.get("kubernetes_ca_cert") or "")
        own = self._said.vault.cluster
        if _IN_CLUSTER.fullmatch(host) and own:
            return own
        for name, part in there.items():
            if host and part.host and _address(host) == _address(part.host):
                return name
        for name, part in there.items():
            if pem and part.ca and same_pem(pem, part.ca):
                return name
        keys = [str(one) for one in config.get("jwt_validation_pubkeys") or ()]
        for name, part in there.items():
            if any(same_pem(mine, one) for one in part.keys or () for mine in keys):
                return name
        # a name that only Pods know says nothing of which cluster it is
        return next(iter(there)) if len(there) == 1 and (not host or _IN_CLUSTER.fullmatch(host)) else None

    def _name_unknown(self, unknown: dict[str, list[str]]) -> None:
        """Name clusters of which only the address is known."""
        for number, (host, paths) in enumerate(sorted(unknown.items()), 1):
            inside = bool(_IN_CLUSTER.fullmatch(host)) and self._said.vault.cluster != OUTSIDE
            name = _OF_VAULT if inside else _OF_APPS if len(unknown) == 1 else f"{_OF_APPS}-{number}"
            while self._names.redacts is False and name in self._by_name and not inside:
                name += "-2"
            called = self._names.of("cluster", name)
            if called not in self._by_name:
                self._add(name, ClusterPart(host=host) if host else None)
            for path in paths:
                self._of_mount[path] = called

    def _place_of_vault(self) -> str:
        said = self._said.vault.cluster
        if said == OUTSIDE:
            return ""
        if said is not None:
            called = self._names.of("cluster", said)
            return called if called in self._by_name else self._add(said, None)
        called = self._names.of("cluster", _OF_VAULT)
        return called if called in self._by_name else self._add(_OF_VAULT, None)
