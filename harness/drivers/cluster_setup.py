"""What a cluster is given for a rehearsal, whatever its servers run in: labels, rights, tokens of its accounts."""

from __future__ import annotations

from typing import Final

from harness import wait
from harness.clients.kube import Kube
from harness.drivers.service_accounts import Account
from harness.scenario.topology import ClusterSpec
from harness.scenario.values import addressed
from harness.secret import Secret

RIGHTS_SECONDS: Final = 30


def label(kube: Kube, cluster: ClusterSpec, namespace: str) -> None:
    """Give a namespace the labels that a cluster's has, if it has any."""
    if labels := cluster.namespace_labels.get(namespace):
        kube.label_namespace(namespace, labels)


def beside_reviews(kube: Kube, account: Account) -> None:
    """Give a new service account what it has beside the right to review: others to read, and annotations."""
    if account.may_read:
        kinds = [one.replace("-", "") for one in account.may_read]
        kube.allow_reading(account.namespace, account.name, sorted(kinds))
    if account.annotations:
        kube.annotate_service_account(account.namespace, account.name, dict(account.annotations))


def requested(kube: Kube, account: Account) -> Secret:
    """Return a token of an account that is bound to no Pod, as kubectl create token has it."""
    wanted = addressed(account.audiences, kube.host)
    return kube.request_token(account.namespace, account.name, audiences=wanted, seconds=account.token_seconds)


def of_gone_pod(kube: Kube, account: Account) -> tuple[Secret, str, str]:
    """Return a token that is bound to a Pod, the Pod's name and its UID; the Pod is gone, and nobody saw the token yet.

    No API server has it in a cache, so it is refused from the first time on.
    """
    jwt, uid = of_new_pod(kube, account)
    kube.delete_pod(account.namespace, account.pod)
    return jwt, account.pod, uid


def of_new_pod(kube: Kube, account: Account) -> tuple[Secret, str]:
    """Create the account's Pod, and return the token that a kubelet would mount into it, and the Pod's UID."""
    uid = kube.create_pod(account.namespace, account.pod, account.name)
    return of_pod(kube, account, uid), uid


def of_pod(kube: Kube, account: Account, uid: str) -> Secret:
    """Return a new token of the account's Pod that is there, whose UID is given, as a kubelet renews it."""
    return kube.request_token(
        account.namespace,
        account.name,
        pod=account.pod,
        uid=uid,
        audiences=addressed(account.audiences, kube.host),
        seconds=account.token_seconds,
    )


def publish_keys(cluster: str, kube: Kube, *, to_anybody: bool) -> None:
    """Let anybody read the keys of *cluster*, or service accounts alone, and wait until its API server does so."""
    kube.publish_keys(to_anybody=to_anybody)
    wait.until(
        lambda: kube.shows_keys() is to_anybody,
        what=f"the API server of {cluster} to give its keys to {'anybody' if to_anybody else 'nobody unknown'}",
        seconds=RIGHTS_SECONDS,
        every=0.02,
    )
