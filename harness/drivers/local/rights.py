"""What a control plane that serves one rehearsal after the other lets whom do, waited for."""

from __future__ import annotations

from collections.abc import Sequence

from harness import wait
from harness.drivers.cluster_setup import RIGHTS_SECONDS, publish_keys
from harness.drivers.local.control_plane import ControlPlane
from harness.drivers.service_accounts import Account


def give_keys(plane: ControlPlane, *, to_anybody: bool, served: bool) -> None:
    """Let anybody read the keys, or nobody who is not known, if somebody may have been able to before."""
    if to_anybody or served:
        publish_keys(plane.name, plane.kube, to_anybody=to_anybody)


def await_reviews(plane: ControlPlane, wanted: Sequence[Account]) -> None:
    """Wait until the API server knows what the accounts may do now, whatever others of these names might before."""
    for account in {account.identity: account for account in wanted}.values():
        wait.until(
            lambda who=account: plane.kube.may_review_tokens(who.namespace, who.name) is who.may_review_tokens,  # type: ignore[misc]
            what=f"the API server of {plane.name} to know the rights of {account.subject}",
            seconds=RIGHTS_SECONDS,
            every=0.02,
        )
