"""The Pods of apps in a kind cluster, and how service accounts come to their tokens there."""

from __future__ import annotations

import json
import threading
from string import Template
from typing import Any, Final

import msgspec

from harness import wait
from harness.artifacts import templates
from harness.clients.kube_states import PodState
from harness.drivers.kind.cluster import KindCluster
from harness.drivers.service_accounts import Account
from harness.errors import Unreachable
from harness.secret import Secret

_RUNNING_SECONDS: Final = 120
_SECRET_SECONDS: Final = 60
_VOLUME: Final = "login"


def create(cluster: KindCluster, account: Account, image: str) -> None:
    """Make the app's Pod, which runs *image* and has a token projected into it."""
    token: dict[str, Any] = {"path": "token", "expirationSeconds": account.token_seconds}
    if len(account.audiences) == 1:
        token["audience"] = account.audiences[0]
    manifest = cluster.directory / f"{account.pod}.yaml"
    manifest.write_text(
        Template(templates.text("app.yaml")).substitute(
            pod=json.dumps(account.pod),
            namespace=json.dumps(account.namespace),
            service_account=json.dumps(account.name),
            image=json.dumps(image),
            node=json.dumps(cluster.only_node),
            token=msgspec.json.encode(token).decode(),
        )
    )
    cluster.kube.create_all(manifest)


def running(cluster: KindCluster, account: Account, over: threading.Event) -> PodState:
    """Return the app's Pod once it runs: then its token is where it reads it. *over*: nobody waits any more."""

    def runs() -> PodState | None:
        state = cluster.kube.pod(account.namespace, account.pod)
        if state is None or not state.running:
            raise Unreachable(state.waiting if state and state.waiting else "it does not run yet")
        return state

    return wait.until(
        runs,
        what=f"the Pod {account.pod} in {cluster.name} to run",
        seconds=_RUNNING_SECONDS,
        every=0.05,
        died=lambda: "the run is over" if over.is_set() else cluster.died(),
        log=lambda: cluster.kube.complaints(account.namespace, account.pod),
    )


def token_of(cluster: KindCluster, account: Account, state: PodState) -> Secret:
    """Return the token that a kubelet has put into a Pod; for several audiences, which none asks for, a new one."""
    if len(account.audiences) < 2:
        return cluster.token_of(state, _VOLUME)
    return cluster.kube.request_token(
        account.namespace,
        account.name,
        pod=account.pod,
        uid=state.uid,
        audiences=account.audiences,
        seconds=account.token_seconds,
    )


def long_lived(cluster: KindCluster, account: Account) -> Secret:
    """Create the Secret of a long-lived token, and return what the token controller puts into it."""
    cluster.kube.create_token_secret(account.namespace, account.secret, account.name, None)
    return wait.until(
        lambda: cluster.kube.token_of_secret(account.namespace, account.secret),
        what=f"the token controller of {cluster.name} to fill the Secret {account.namespace}/{account.secret}",
        seconds=_SECRET_SECONDS,
        every=0.05,
    )
