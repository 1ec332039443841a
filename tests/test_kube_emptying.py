"""What is deleted where a cluster is emptied, and what stays of a Vault that is there already for the next one."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

from harness.clients.kube_emptying import BINDINGS, Empties, Spared

NEXT = Spared("vault", "vault", "vault-2", "vault-2-0", "/var/lib/rehearsal/next", "aa11")
THERE = {
    "/api/v1/namespaces/{}/pods": ["web", "vault-2-0"],
    "/api/v1/namespaces/{}/serviceaccounts": ["default", "vault", "web"],
    "/api/v1/namespaces/{}/configmaps": ["kube-root-ca.crt", "vault", "vault-2"],
    "/api/v1/namespaces/{}/services": ["kubernetes", "vault"],
}


class Api(Empties):
    """An API server with two namespaces in which there is the same; all accounts have an annotation."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def namespaces(self) -> list[str]:
        return ["apps", "vault"]

    def _names(self, path: str) -> list[str]:
        if path == BINDINGS:
            return ["rehearsal:vault:vault", "cluster-admin"]
        (left,) = [one for one in self.asked if one.startswith(f"DELETE {path}")][-1:] or [""]
        if path.endswith("/pods") and left:
            return ["vault-2-0"] if "vault-2-0" in left else []
        return next(
            (names for form, names in THERE.items() for space in self.namespaces() if form.format(space) == path), []
        )

    def _done(self, method: str, path: str, body: Any = None) -> Any:
        self.asked.append(f"{method} {path}" + (f" {json.dumps(body['metadata'])}" if method == "PATCH" else ""))
        return {}

    def _done_if_there(self, method: str, path: str, body: Any = None) -> bool:
        self._done(method, path, body)
        return True

    def _ask(self, method: str, path: str, *, body: Any = None) -> Any:
        del method, body
        metadata = {"labels": {"kubernetes.io/metadata.name": "it"}, "annotations": {"team": path.rpartition("/")[2]}}
        return SimpleNamespace(status=200, data=json.dumps({"metadata": metadata}))


def emptied(spared: Spared | None, namespace: str) -> list[str]:
    """Return what is asked for in a namespace."""
    api = Api()
    assert api.reset(spared) == ["apps", "vault"]
    assert f"DELETE {BINDINGS}/rehearsal:vault:vault" in api.asked
    assert not any("cluster-admin" in one for one in api.asked)
    return [one.replace(f"/namespaces/{namespace}", "") for one in api.asked if f"/namespaces/{namespace}" in one]


def test_all_goes_that_rehearsals_made() -> None:
    asked = emptied(None, "apps")
    assert "DELETE /apis/apps/v1/statefulsets" in asked
    assert "DELETE /api/v1/secrets" in asked
    gone = ["serviceaccounts/vault", "serviceaccounts/web", "configmaps/vault", "configmaps/vault-2", "services/vault"]
    assert {f"DELETE /api/v1/{one}" for one in gone} <= {*asked}
    assert not any("default" in one and "DELETE" in one for one in asked)
    assert 'PATCH /api/v1/serviceaccounts/default {"annotations": {"team": null}}' in asked


def test_of_a_vault_for_the_next_one_all_stays_and_no_more() -> None:
    """Its account as bare as a new one: its binding goes with the others, and so do the annotations."""
    asked = emptied(NEXT, "vault")
    assert "DELETE /apis/apps/v1/statefulsets?fieldSelector=metadata.name%21%3Dvault-2" in asked
    assert "DELETE /api/v1/secrets?fieldSelector=metadata.name%21%3Dvault-2" in asked
    assert "DELETE /api/v1/pods?fieldSelector=metadata.name%21%3Dvault-2-0" in asked
    gone = ["serviceaccounts/web", "configmaps/vault", "services/vault"]
    assert {one for one in asked if one.startswith("DELETE") and "?" not in one and "policy" not in one} == {
        f"DELETE /api/v1/{one}" for one in gone
    }
    assert 'PATCH /api/v1/serviceaccounts/vault {"annotations": {"team": null}}' in asked
    assert emptied(NEXT, "apps") == emptied(None, "apps"), "of its own namespace alone"
