"""What broke a rehearsal, as its record keeps it: what lies behind an error, and whose it is."""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from harness.errors import (
    HarnessError,
    NotReady,
    ProcessDied,
    RigError,
    SwapRefused,
    Unreachable,
    refused_by_machine,
)
from harness.record import events
from harness.record.observation import called
from harness.rehearsal.asking import LostError
from harness.rig.rig import Rig, VaultNode, node_of
from harness.scenario import course
from harness.scenario.course import AnyStep, Look, Serve


def served(reached: Sequence[AnyStep], vault: str) -> Serve:
    """Return the last of the steps *reached* that put something in place, of the named Vault if any of them did."""
    serving = [step for step in reached if isinstance(step, Serve)]
    return next((step for step in reversed(serving) if step.vault == vault), serving[-1])


def of(error: Exception, reached: Sequence[AnyStep], rig: Rig) -> events.Trouble:
    """Return what broke the run, as the record keeps it."""
    there = served(reached, reached[-1].vault)
    node = node_of(rig, there.vault, there.node)
    root = _root(error, rig, node)
    # whose data it is opened over: what is restored is, like what a new version finds, none that it has written itself
    opened = reached[-1] if isinstance(reached[-1], course.Restore) else there
    # an API server or a storage that does not come back, or a node that leads, says nothing of what a Vault made of its
    # data
    beside = isinstance(reached[-1], (*course.OF_CLUSTERS, *course.OF_NODES, course.TouchStorage, course.TouchDatabase))
    looked = not beside and any(isinstance(step, Look) for step in reached[: reached.index(opened)])
    return events.Trouble(
        kind=_kind(root),
        during=course.words_of(reached[-1])
        if beside
        else f"{course.word_of(reached[-1])} {called(there)}{there.version}",
        step=course.word_of(reached[-1]),
        position=len(reached) - 1,
        after_swap=there.version if looked else "",
        message=_message(root),
        log=_log(root) or tuple(node.vault_log(40)),
        vault=there.vault,
        node=there.node,
    )


def outside(error: Exception, reached: Sequence[AnyStep]) -> events.Trouble:
    """Return what broke on the way up, where nothing was learned about Vault, or on the way down."""
    during = "the way down" if reached else "bring-up"
    return events.Trouble(kind=_kind(error), during=during, message=_message(error), log=_log(error))


def _root(error: Exception, rig: Rig, node: VaultNode) -> Exception:
    """Return what lies behind *error*: a server that ended explains whatever failed after it."""
    if isinstance(error, LostError) or not isinstance(error, HarnessError):
        return error
    try:
        # before what Vault says of itself: one whose storage has ended gives up or declines, and that is no news of it
        if lost := rig.broken():
            return RigError(f"{lost}; what failed then: {error}; see its log beside the record")
        if isinstance(error, ProcessDied | SwapRefused):
            return error
        died = node.vault_died()
    except (RigError, Unreachable) as elsewhere:
        return elsewhere
    return error if died is None else ProcessDied(f"{died}; what failed then: {error}", None, node.vault_log(40))


def _kind(error: Exception) -> events.TroubleKind:
    """Return whether a server ended, stayed silent, said no, could not be asked, or whether it is none of Vault's."""
    kinds: tuple[tuple[type[HarnessError], events.TroubleKind], ...] = (
        (ProcessDied, "died"),
        (NotReady, "silent"),
        (SwapRefused, "refused"),
        (Unreachable, "unreachable"),
    )
    return next((kind for cause, kind in kinds if isinstance(error, cause)), "ours")


def _message(error: Exception) -> str:
    if isinstance(error, HarnessError):
        return str(error)
    if isinstance(error, OSError):
        return refused_by_machine(error)
    return f"the harness itself failed with {type(error).__name__}: {error}; please report it, with this record"


def _log(error: Exception) -> tuple[str, ...]:
    if isinstance(error, RigError):
        return error.log
    if isinstance(error, HarnessError | OSError):
        return ()
    return tuple("".join(traceback.format_exception(error)).splitlines())
