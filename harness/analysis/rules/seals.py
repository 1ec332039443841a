"""Causes that lie with the Vault that unseals another one: it is sealed, it is away, or it does not know the token."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import msgspec

from harness.analysis.correlation import EvidenceLine
from harness.analysis.rules.rule import Case, Diagnosis, Remedy, Rule, diagnosed
from harness.knowledge import no_answer
from harness.scenario.course import AUTO_UNSEAL
from harness.scenario.mount_kinds import NAMES
from harness.scenario.outcomes import Cause

_NO_ANSWER: Final = (*no_answer.NOT_REACHED, *no_answer.CUT, "deadline exceeded")
_PARSING: Final = "rror parsing Seal configuration"
"""How a Vault ends that cannot even try its seal, from 1.16 on with a small e. Run: 1.4.0 to 1.16.3."""

_TRIES: Final = (
    "a Vault with a transit seal encrypts something with it while it reads its configuration, and ends with status 1 "
    "where that fails: it does not wait. One that runs needs its seal no more until its next start"
)
_NAMES_BOTH: Final = (
    "a Vault whose configuration has another seal than its data waits, sealed, for its keys with the word that it is "
    "to migrate; on the way to Shamir the seal that it leaves has to stand there, disabled, and to work"
)
_SOURCE: Final = "Vault v1.4.0 to v1.15.5: transit.go#SetConfig, command/server.go#setSeal; run: 1.4.0 to 1.16.3"
_RESTARTED: Final = (
    "Then start the other one again: it has ended and does not try again by itself, unless something starts it again "
    "(systemd: Restart=on-failure)."
)
_BY_KUBELET: Final = (
    "Its kubelet then starts the other one again by itself, after a wait that grows with each start in vain, up to "
    "five minutes; whoever cannot wait deletes the Pod."
)
_NOT_BY_KUBELET: Final = (
    "Then delete the Pod of the other one: its kubelet waits longer with each start in vain, and had not got it "
    "unsealed by the end of this wait."
)


class _Trouble(NamedTuple):
    """What may be wrong with the seal, and how that is told."""

    cause: Cause
    said: tuple[str, ...]
    """the words of the Vault that unseals, or of the way to it"""
    sentence: str
    mend: Remedy
    migrates: bool = False
    """is it of a migration to another seal? Then a seal that can be used is not in question"""
    source: str = _SOURCE


_TROUBLES: Final = (
    _Trouble(
        "seal-vault-sealed",
        ("Vault is sealed",),
        "The Vault that unseals this one is sealed itself",
        Remedy(
            "Unseal the Vault with the transit key, and see that it is active, before any Vault that it unseals is "
            f"stopped. {_RESTARTED}",
            commands=("vault operator unseal", "vault status"),
            unproven="the keys are the operator's; `seal-vault: unseal` in the course rehearses it",
        ),
    ),
    _Trouble(
        "seal-vault-away",
        _NO_ANSWER,
        "The Vault that unseals this one gives no answer",
        Remedy(
            "Bring the Vault with the transit key back and unseal it, before any Vault that it unseals is stopped; "
            f"never take both in one window. {_RESTARTED}",
            commands=("vault status",),
            unproven="where it is gone, is the operator's to know; `seal-vault: start` in the course rehearses it",
        ),
    ),
    _Trouble(
        "seal-token-refused",
        ("permission denied", "invalid token", "bad token"),
        "The Vault that unseals this one does not let its token use the transit key: it has ended, or its policy does "
        "not grant update on the encrypt and decrypt paths of the key",
        Remedy(
            "Make a new token for the seal, an orphan with a period and no explicit max TTL, and give it to the server "
            "by its environment (VAULT_TOKEN) or as token in its seal stanza. Do that before the next start: a server "
            "that runs says no more of the end of its token than one line at INFO.",
            commands=("vault token create -orphan -policy=autounseal -period=24h -field=token",),
            unproven="where the server gets its environment from is the operator's to know; `seal-vault: new-token` in "
            "the course rehearses it",
        ),
    ),
)


_MIGRATIONS: Final = "run: 1.4.0, 1.7.0, 1.11.0 and 1.16.3; Vault documentation, concepts/seal: seal migration"
_OTHERS: Final = (
    _Trouble(
        "seal-migration-not-told",
        ("migrate option not provided", "'migrate' parameter must be set true"),
        "Its configuration has another seal than its data, and it takes no key that is not handed in with -migrate",
        Remedy(
            "Hand the same keys in again with -migrate: on the way to transit the unseal keys, on the way to Shamir "
            "the recovery keys. The server stays up meanwhile, sealed, and nothing is lost.",
            commands=("vault operator unseal -migrate",),
            unproven="the keys are the operator's; the step without `left-out` rehearses it",
        ),
        migrates=True,
        source=_MIGRATIONS,
    ),
    _Trouble(
        "seal-not-disabled",
        ("no disabled seal in configuration", "command.adjustCoreForSealMigration"),
        "Its data are sealed by the transit key of another Vault, and its configuration has no seal stanza any more",
        Remedy(
            'Put the seal stanza back with disabled = "true", start Vault, and hand the recovery keys in with '
            "-migrate, while the Vault with the transit key is there. Take the stanza out once that is done: as long "
            "as it is there, disabled or not, Vault does not start without the other one.",
            commands=("vault operator unseal -migrate",),
            unproven="the keys are the operator's; the step without `left-out` rehearses it",
        ),
        migrates=True,
        source=_MIGRATIONS,
    ),
)


def at_start(words: str) -> tuple[Cause, str, Remedy, str] | None:
    """Return why a Vault would not serve, by its last *words*: the cause, a sentence, what mends it, and a source.

    None where it is not its seal.
    """
    _, found, rest = words.partition(_PARSING)
    one = _meant(rest, _TROUBLES) if found else _meant(words, _OTHERS)
    if one is None:
        return None
    return one.cause, f"{one.sentence}{'' if one.migrates else ', and so it did not start'}", one.mend, one.source


def left_to_kubelet(mend: Remedy, *, came_back: bool) -> Remedy:
    """Return *mend* for a Vault in a Pod: whether that *came_back* by its kubelet alone, the record shows."""
    told = mend.words.replace(_RESTARTED, _BY_KUBELET if came_back else _NOT_BY_KUBELET)
    return msgspec.structs.replace(mend, words=told)


def _meant(words: str, among: Iterable[_Trouble]) -> _Trouble | None:
    words = words.lower()
    return next((one for one in among if any(said.lower() in words for said in one.said)), None)


def _examine(one: _Trouble) -> Callable[[Case], Diagnosis | None]:
    def examine(case: Case) -> Diagnosis | None:
        if case.after.probe != AUTO_UNSEAL or _meant(case.after.error, _TROUBLES) is not one:
            return None
        return diagnosed(
            f"{one.sentence}. It runs on as if nothing were; its next start ends with status 1, upgrade or not",
            "certain",
            [EvidenceLine("answer", f"HTTP {case.after.status} {case.after.error}".strip())],
            one.mend,
        )

    return examine


def _of_a_start(_case: Case) -> None:
    """Return that no question shows it: what is answered to a key, or a server's last words, tell it (`at_start`)."""


RULES: Final = tuple(
    Rule(
        name=one.cause,
        versions="every version with a transit seal",
        precondition="Vault migrates from one seal to another one"
        if one.migrates
        else "Vault is unsealed by the transit engine of another Vault",
        demands="what it answers to a key, or the last words of a server that ended at its start"
        if one.migrates
        else "what that one answers to the seal's own token, or the last words of a server that ended at its start",
        explanation=_NAMES_BOTH if one.migrates else _TRIES,
        source=one.source,
        examine=_of_a_start if one.migrates else _examine(one),
        kinds=NAMES,
    )
    for one in (*_TROUBLES, *_OTHERS)
)
