"""The steps of a course that put no other Vault in place: rights, tokens, policies, snapshots, and time."""

from __future__ import annotations

from harness.rig import clock
from harness.rig.rig import (
    Reopen,
    Rig,
    changes_accounts,
    changes_clusters,
    makes_tokens,
    publishes_keys,
    rotates_keys,
    snapshots,
)
from harness.scenario import course
from harness.scenario.course import AnyStep


def do(step: AnyStep, rig: Rig, again: Reopen) -> None:
    """Do a step, and wait until its effect is there. *again* unseals a Vault that was sealed for it.

    Raises RigError where the driver cannot do it, or where Vault or an API server declines.
    """
    match step:
        case course.Grant() | course.Revoke() | course.DeleteSecret():
            _change_accounts(step, rig)
        case course.MakeReviewer():
            makes_tokens(rig, step).make_reviewer(step.cluster, step.service_account, step.mount)
        case course.ProjectToken():
            makes_tokens(rig, step).project_token(step.app, step.audiences)
        case course.WritePolicy():
            rig.system(step.vault).setup.write_policy(step.name, step.text)
        case course.Snapshot():
            snapshots(rig, step).take_snapshot(again)
        case course.Restore():
            snapshots(rig, step).restore_snapshot(again)
        case course.UpgradeKubernetes() | course.SetIssuers():
            _change_cluster(step, rig)
        case course.PublishKeys() | course.RotateKeys() | course.Reachable():
            _change_keys(step, rig)
        case course.SetClock() | course.Wait():
            _touch_time(step, rig)
        case _:
            raise TypeError(f"{course.word_of(step)} is no step that is done beside Vault")


def _touch_time(step: course.SetClock | course.Wait, rig: Rig) -> None:
    if isinstance(step, course.Wait):
        clock.wait(rig, step.seconds)
    else:
        clock.clocks(rig).set_clock(step.node, step.seconds)


def _change_accounts(step: course.Grant | course.Revoke | course.DeleteSecret, rig: Rig) -> None:
    accounts = changes_accounts(rig, step)
    match step:
        case course.Grant():
            accounts.allow_reviews(step.cluster, step.service_account)
        case course.Revoke():
            accounts.forbid_reviews(step.cluster, step.service_account)
        case course.DeleteSecret():
            accounts.delete_token_secret(step.purpose)
            rig.settle(stored=True)


def _change_keys(step: course.PublishKeys | course.RotateKeys | course.Reachable, rig: Rig) -> None:
    match step:
        case course.PublishKeys():
            publishes_keys(rig, step).publish_keys(step.cluster, to_anybody=step.to_anybody)
        case course.RotateKeys():
            rotates_keys(rig, step).rotate_keys(step.cluster, step.of)
        case course.Reachable():
            rotates_keys(rig, step).reach(step.cluster, reachable=step.is_so)


def _change_cluster(step: course.UpgradeKubernetes | course.SetIssuers, rig: Rig) -> None:
    clusters = changes_clusters(rig, step)
    match step:
        case course.UpgradeKubernetes():
            clusters.upgrade_kubernetes(step.cluster, step.version)
        case course.SetIssuers():
            clusters.set_issuers(step.cluster, step.issuers)
