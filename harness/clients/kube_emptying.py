"""How a cluster is emptied of what earlier rehearsals have made in it; a part of the client of its API server."""

from __future__ import annotations

import abc
import json
from collections.abc import Collection
from typing import Any, Final, NamedTuple

from harness.clients.kube_errors import raise_unless_done, translated
from harness.wait import until

BINDINGS: Final = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"
BINDING: Final = "rehearsal:"
DEFAULT: Final = "default"  # a namespace, and in each the account of whoever names none: there without anybody's doing
NAME_LABEL: Final = "kubernetes.io/metadata.name"  # which an API server gives every namespace itself
_TIMEOUT_SECONDS: Final = 30
_NOT_FOUND: Final = 404
_OF_EVERYBODY: Final = {"serviceaccounts": DEFAULT, "configmaps": "kube-root-ca.crt", "services": "kubernetes"}
"""What stays in a namespace that is emptied."""


class Spared(NamedTuple):
    """A Vault that is there already for whom a cluster is emptied: it stays, with an account without rights."""

    namespace: str
    account: str
    """its service account"""
    name: str
    """that of its StatefulSet, ConfigMap and Secret"""
    pod: str
    data: str
    """the folder of its node that has its data"""
    mark: str
    """by which is known what watches its log on the node"""


class Empties(abc.ABC):
    """The part of a client that empties a cluster."""

    def reset(self, spared: Spared | None = None) -> list[str]:
        """Remove whatever earlier rehearsals have made in this cluster, and return their namespaces, which stay.

        Removing those takes long. No object of a Pod is left then, but of the one that is *spared*; what it ran is on
        its node until the kubelet has taken it down. Raises NotReady where a Pod stays.
        """
        with translated("what earlier rehearsals have left"):
            spaces = self.namespaces()
            for space in spaces:
                self._empty(space, spared if spared is not None and spared.namespace == space else None)
            for binding in self._names(BINDINGS):
                if binding.startswith(BINDING):
                    self._done("DELETE", f"{BINDINGS}/{binding}")
        until(
            # again, because a controller may not know yet that what it looks after is gone
            lambda: not any(self._delete_pods(space, _but(spared, space)) for space in spaces),
            what="the Pods of earlier rehearsals to be gone",
            seconds=_TIMEOUT_SECONDS,
            every=0.05,
        )
        return spaces

    def _empty(self, namespace: str, spared: Spared | None) -> None:
        here, of_it = f"/api/v1/namespaces/{namespace}", spared.name if spared else ""
        # of all but one, whose name may be nobody's
        but = f"?fieldSelector=metadata.name%21%3D{of_it}" if of_it else ""
        self._done("DELETE", f"/apis/apps/v1/namespaces/{namespace}/statefulsets{but}")
        self._delete_pods(namespace, _but(spared, namespace))
        # before Kubernetes 1.21 there are none of this version
        self._done_if_there("DELETE", f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets")
        self._done("DELETE", f"{here}/secrets{but}")
        stays = {"serviceaccounts": spared.account, "configmaps": of_it} if spared else {}
        for kind, everybodys in _OF_EVERYBODY.items():
            for name in self._names(f"{here}/{kind}"):
                if name not in (everybodys, stays.get(kind)):
                    self._done("DELETE", f"{here}/{kind}/{name}")
        # what stays is as bare as in a new cluster: a role may go by the labels, and an alias by the annotations
        self._bare(here, "labels", NAME_LABEL)
        for account in {DEFAULT, stays.get("serviceaccounts", DEFAULT)}:
            self._bare(f"{here}/serviceaccounts/{account}", "annotations")

    def _bare(self, path: str, part: str, kept: str = "") -> None:
        """Take every one of an object's labels or annotations away but *kept*; of an object that is not there none."""
        answer = self._ask("GET", path)
        if answer.status == _NOT_FOUND:
            return
        raise_unless_done(answer)
        there = json.loads(answer.data)["metadata"].get(part) or {}
        if gone := {name: None for name in there if name != kept}:
            self._done("PATCH", path, {"metadata": {part: gone}})

    def _delete_pods(self, namespace: str, but: Collection[str] = ()) -> bool:
        """Delete every Pod there *but* some, at once. Was there any?"""
        path = f"/api/v1/namespaces/{namespace}/pods"
        there = [name for name in self._names(path) if name not in but]
        if there:
            others = "%2C".join(f"metadata.name%21%3D{name}" for name in but)
            self._done("DELETE", f"{path}?fieldSelector={others}" if but else path, {"gracePeriodSeconds": 0})
        return bool(there)

    @abc.abstractmethod
    def namespaces(self) -> list[str]:
        """Return the namespaces that rehearsals use."""

    @abc.abstractmethod
    def _names(self, path: str) -> list[str]: ...

    @abc.abstractmethod
    def _done(self, method: str, path: str, body: Any = None) -> Any: ...

    @abc.abstractmethod
    def _done_if_there(self, method: str, path: str, body: Any = None) -> bool: ...

    @abc.abstractmethod
    def _ask(self, method: str, path: str, *, body: Any = None) -> Any: ...


def _but(spared: Spared | None, namespace: str) -> tuple[str, ...]:
    return (spared.pod,) if spared is not None and spared.namespace == namespace else ()
