"""Causes that lie with Vault's own configuration, or with kinds of mounts that a version has no more."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.knowledge import server_settings, versions
from harness.scenario.mount_kinds import NAMES
from harness.scenario.outcomes import Cause

EXPLANATION: Final = (
    "Up to 1.19 a configuration without disable_mlock meant false; over raft that locks all of the database in memory, "
    "so that from 1.20.0 on the operator has to choose"
)
_MEND: Final = Remedy(
    "Write disable_mlock into Vault's configuration before the upgrade, which every version knows: true is what is "
    "recommended over raft, on a machine whose swap is off or encrypted; false keeps what the version before did. A "
    "chart before 0.32.0 renders the configuration out of server.ha.raft.config: write it there.",
    commands=("grep -n disable_mlock /etc/vault.d/vault.hcl", "echo 'disable_mlock = true' >> /etc/vault.d/vault.hcl"),
    unproven="where the configuration is, is the operator's to know; `disable-mlock: said` rehearses it",
)


_REMOVED: Final = (
    "Vault reads its table of mounts as it is unsealed, and one of a kind that the release took away has it shut down; "
    "1.12 still has app-id and the engines of one database each, and serves with them where its environment says so"
)
_SINCE: Final = "Vault CHANGELOG 1.12.0, 1.13.0, 1.17.0; run: 1.11.0 to 1.12.0 and 1.13.0, 1.16.3 to 1.17.0"


def at_start(words: Sequence[str], version: str) -> tuple[Cause, str, Remedy, str] | None:
    """Return why a Vault would not serve, by its last *words*: the cause, a sentence, what mends it, and a source.

    None where neither its configuration nor its mounts are the reason.
    """
    if any(server_settings.MLOCK_UNSAID in line for line in words):
        why = f"Its configuration does not say disable_mlock, which it demands over raft. {EXPLANATION}"
        return "disable-mlock-unsaid", why, _MEND, server_settings.SOURCE
    if kind := server_settings.removed_of(words):
        why = f"It has a mount of type {kind}, a kind that it has no more. {_REMOVED}"
        return "mount-type-removed", why, _without(kind, version), _SINCE
    return None


def _without(kind: str, version: str) -> Remedy:
    """Return what is done about a mount of a *kind* that Vault *version* has no more."""
    pending = (
        f" {server_settings.ALLOW_PENDING}=true in the environment of 1.12 has that version serve with it, and no "
        "later one."
        if kind in server_settings.OLD_KINDS and not versions.at_least(version, server_settings.PENDING_UNTIL)
        else ""
    )
    return Remedy(
        f"On the version before: move to another kind whoever uses the mounts of type {kind}, and take those away: "
        "with them goes all that they hold. The first command lists them, the second or third takes one away, whose "
        f"path stands for <PATH>.{pending}",
        commands=(
            f"vault auth list | grep -w {kind}; vault secrets list | grep -w {kind}",
            "vault auth disable <PATH>",
            "vault secrets disable <PATH>",
        ),
        unproven="who uses such a mount, and what it holds, is the operator's to know; without it under `also-mounted` "
        "the same upgrade is rehearsed",
    )


def _gone(case: Case) -> Diagnosis | None:
    seen = case.after
    if seen.probe != "mounted" or server_settings.NO_BACKEND not in seen.error:
        return None
    kind = case.facts.topology.also_mounted.get(seen.item, "")
    return diagnosed(
        f"{versions.called(seen.version)} has no mounts of type {kind} any more: it serves, and all that is asked at "
        f"{seen.item} is answered 404",
        "certain",
        [case.facts.answer_line(seen)],
        _without(kind, seen.version),
    )


MOUNT_REMOVED: Final = Rule(
    name="mount-type-removed",
    versions="from 1.12.0 app-id and the engines of one database, from 1.17.0 centrify",
    precondition="a mount of such a type is said in also-mounted",
    demands="Vault's words as it would not open, or its answer at the mount's path",
    explanation=_REMOVED,
    source=_SINCE,
    examine=_gone,
    kinds=NAMES,
)
