"""What it means that a Vault would not serve after its swap: a refusal only where its own words are evidence of one."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Sequence
from typing import Final

import msgspec

from harness.analysis import audit_devices, diagnosis, leases, lost_nodes, not_served, storages
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.analysis.rules import Confidence, Remedy, seals, server_config
from harness.knowledge import shutdown_signs, versions
from harness.record.events import Trouble
from harness.record.node_events import LeftToKubelet
from harness.scenario.course import OF_CLUSTERS, AnyStep, Restore, RollBack
from harness.scenario.outcomes import Cause

_LINES_SHOWN: Final = 12

_OF_CLUSTERS: Final = tuple(str(step.__struct_config__.tag) for step in OF_CLUSTERS)
"""The steps in which an API server is what ends, and not Vault."""

_FATAL: Final = re.compile(r"^(panic: |fatal error: |\[?Error\b|error loading |Unknown storage|A storage backend )")
"""How the last words of a server begin that gives up by itself: those of the Go runtime, or of Vault's command line."""

_ABOUT_DATA: Final = re.compile(
    r"storage|seal|barrier|keyring|migrat|raft|bolt|\bfsm\b|mount|unknown|unsupported|incompatib|upgrade|plugin|"
    r"configur|shutting down core|decrypt|unmarshal|corrupt",
    re.IGNORECASE,
)

_MACHINE: Final = re.compile(
    r"no space left|address already in use|out of memory|cannot allocate memory|too many open files|permission denied|"
    r"read-only file system|input/output error|licen[cs]e",
    re.IGNORECASE,
)
"""Words that tell of the machine and not of the data."""

_SEALED_AGAIN: Final = "sealed itself again"
"""What is said of a Vault that had opened to its keys: why, its log says as that of one that ended."""

_CERTAIN: Final[Confidence] = "certain"
_DECLINED: Final = re.compile(r"declined it: HTTP [0-9]+ \S")


_Known = tuple[Cause, str, Remedy, str]


class _LastWords(msgspec.Struct, frozen=True):
    """What a server said that would not serve, and what that means."""

    left_out: str = ""
    """in which words its build says that it was made without the storage, which says nothing of the release"""
    evidence: tuple[str, ...] = ()
    """the words that say it would not serve these data; empty where it said none that prove it"""
    confidence: Confidence = "none"
    too_large: leases.TooLarge | None = None
    known: _Known | None = None
    """the cause, a sentence, what mends it, and a source"""


def findings(facts: Facts, trimmed: Container[str] = ()) -> list[Finding]:
    """Return the refusals among the troubles of a run: servers that gave up or declined right after their swap, and
    said why. *trimmed* has the versions whose builds leave parts out. What a storage that is away explains is none, nor
    is a node whose data are not those of the others.
    """
    found = []
    for trouble in facts.record.of(Trouble):
        if storages.explains(facts, trouble) or lost_nodes.explains(facts, trouble):
            continue
        words = _last_words(trouble, trimmed)
        if words.too_large is not None:
            found.append(_of_leases(facts, trouble, words.too_large))
        elif words.evidence:
            found.append(_refusal(facts, trouble, words))
    return found


def reason(trouble: Trouble, trimmed: Container[str] = ()) -> str:
    """Return why *trouble* leaves the run inconclusive, or nothing where it is a finding; *trimmed* as above."""
    words = _last_words(trouble, trimmed)
    if words.left_out:
        return (
            f"{trouble.during}: {versions.called(trouble.after_swap)} did not start ({words.left_out}): the build that "
            "is at hand leaves that storage out, which says nothing about the release. Rehearse it over raft, or bring "
            f"the release's own binary (--binary {versions.as_option(trouble.after_swap)}=PATH)"
        )
    if words.evidence:
        return ""
    message = trouble.message
    if trouble.kind == "died" and trouble.step not in _OF_CLUSTERS and (who := _stopped(trouble)):
        message = (
            f"{shutdown_signs.blame(trouble.after_swap or trouble.during.split()[-1], who)}; what was seen: {message}"
        )
    elif trouble.after_swap and trouble.kind in ("died", "refused"):
        said = f"; its last line: {trouble.log[-1].strip()}" if trouble.log else "; it left no word of the reason"
        message += (
            f"{said}. That is no evidence that it refuses the data: see whether its binary is what it is taken for "
            "(rehearse artifacts list), read its log beside the record, and run again"
        )
    return f"{trouble.during}: {message}"


def _last_words(trouble: Trouble, trimmed: Container[str]) -> _LastWords:
    """Return what the words of a server mean: the one place that reads them."""
    left_out = _left_out(trouble, trimmed)
    if left_out or not trouble.after_swap or trouble.kind not in ("died", "refused", "silent"):
        return _LastWords(left_out=left_out)
    if too_large := leases.too_large(trouble):
        return _LastWords(evidence=too_large.evidence, confidence=_CERTAIN, too_large=too_large)
    known, of_audit = _known(trouble), _of_audit(trouble)
    if trouble.kind == "refused" and _SEALED_AGAIN not in trouble.message:
        declined = (trouble.message,) if _DECLINED.search(trouble.message) else ()
        return _LastWords(evidence=declined, confidence=_CERTAIN if declined else "none", known=known or of_audit)
    if _stopped(trouble) or (trouble.kind == "silent" and of_audit is None):
        return _LastWords()
    certain = known is not None or trouble.kind == "silent"
    evidence, confidence = (trouble.log, _CERTAIN) if certain else _in_log(trouble.log)
    return _LastWords(evidence=tuple(evidence), confidence=confidence, known=known or of_audit)


def _in_log(log: Sequence[str]) -> tuple[list[str], Confidence]:
    """Return the lines of a server's log that say why it did not serve."""
    fatal = [line for line in log if _is_fatal(line)]
    if fatal:
        return fatal, "certain"
    logged = [line for line in log if _is_error(line)]
    return logged, "strong" if logged else "none"


def _left_out(trouble: Trouble, trimmed: Container[str]) -> str:
    """Return in which words a build says that it was made without the storage; nothing where it does not."""
    if trouble.kind != "died" or trouble.after_swap not in trimmed:
        return ""
    return next((line.strip() for line in trouble.log if line.startswith("Unknown storage type")), "")


def _of_leases(facts: Facts, trouble: Trouble, found: leases.TooLarge) -> Finding:
    step = _step(facts, trouble)
    return diagnosis.stated(
        facts,
        (leases.TOO_LARGE, "regression", not_served.effect(trouble, facts.steps)),
        leases.sentence(trouble, found, facts.steps),
        [EvidenceLine("server", line) for line in found.evidence],
        leases.remedies(trouble, found, facts.steps),
        hop=trouble.after_swap,
        explanation=leases.EXPLANATION,
        source=leases.SOURCE,
        step=step.number if step else 0,
        vault=trouble.vault,
        node=trouble.node,
    )


def _step(facts: Facts, trouble: Trouble) -> AnyStep | None:
    return facts.steps[trouble.position] if 0 <= trouble.position < len(facts.steps) else None


def _known(trouble: Trouble) -> _Known | None:
    """Return the known cause that a Vault names at its start; None where it names none."""
    words = "\n".join((*trouble.log, trouble.message))
    if (found := seals.at_start(words) or server_config.at_start(trouble.log, trouble.after_swap)) is not None:
        cause, why, mend, source = found
        still = "was unsealed, and does not serve" if cause == "mount-type-removed" else "stays sealed"
        return cause, f"{'ended at its start' if trouble.kind == 'died' else still}. {why}", mend, source
    return None


def _of_audit(trouble: Trouble) -> _Known | None:
    if (found := audit_devices.at_start(trouble.log)) is None:
        return None
    cause, why, mend, source = found
    return cause, f"does not serve. {why}", mend, source


def _stopped(trouble: Trouble) -> str:
    return shutdown_signs.signalled(trouble.message) or shutdown_signs.stopped(trouble.log)


def _is_fatal(line: str) -> bool:
    """Is this line the last word of a server that gives up, about what it was given?"""
    if _MACHINE.search(line):
        return False
    crashed = line.startswith(("panic: ", "fatal error: "))
    return crashed or bool(_FATAL.match(line.strip()) and _ABOUT_DATA.search(line)) or "shutting down core" in line


def _is_error(line: str) -> bool:
    """Is this a line of Vault's log about an error with what it was given? Its logs are JSON, or text with levels."""
    if _MACHINE.search(line):
        return False
    level, text = "", line
    if line.startswith("{"):
        try:
            entry = json.loads(line)
        except ValueError:
            return False
        level = str(entry.get("@level", "")) if isinstance(entry, dict) else ""
    elif "[ERROR]" in line:
        level = "error"
    return level in ("error", "critical") and bool(_ABOUT_DATA.search(text))


def _refusal(facts: Facts, trouble: Trouble, last: _LastWords) -> Finding:
    step, shown = _step(facts, trouble), list(trouble.log[-_LINES_SHOWN:])
    if trouble.log:
        shown = [*(line for line in last.evidence if line not in shown and line in trouble.log), *shown]
    effect, to = not_served.effect(trouble, facts.steps), trouble.after_swap
    words = (
        f"Do not upgrade to {to} before this is understood: read the server's last lines, and the upgrade guide of "
        "this version."
    )
    over = "of the version before"
    if isinstance(step, Restore) or (isinstance(step, RollBack) and step.over == "snapshot"):
        words = (
            f"As it is, the snapshot is no way back to {to}: read the server's last lines. A snapshot opens to the "
            "unseal keys of its time: keep those beside it, if they are ever changed (vault operator rekey)."
        )
        over = "of the snapshot"
    elif effect == "restart refused":
        words = (
            f"Do not stop a {versions.called(to)} that serves before this is understood: read the server's last lines, "
            "and what was changed since its start (its configuration, its data, its license, what it asks at its "
            "start)."
        )
        over = "that it had itself"
    elif effect == "roll-back refused":
        words = (
            f"Going back to {to} over these data is no way out: take a snapshot before the upgrade, and rehearse "
            "restoring it (roll-back: snapshot)."
        )
        over = "as the upgrade left them"
    remedies: tuple[Remedy, ...] = (
        Remedy(words, unproven="no setting is known that makes this version take these data"),
    )
    rule: Cause = "vault-refuses-data"
    said, source = f"did not serve over the data {over}: {trouble.message}", ""
    if last.known is not None:
        rule, said, mend, source = last.known
        remedies = (mend,)
    kubelet = [(line, one) for line, one in facts.record.numbered(LeftToKubelet) if one.version == to]
    evidence = [EvidenceLine("server", line) for line in shown or [trouble.message]]
    if kubelet and last.known is not None:
        line, left = kubelet[-1]
        said += f". {left.words}"
        evidence.append(EvidenceLine("server", left.words, line=line))
        remedies = tuple(seals.left_to_kubelet(one, came_back=left.seconds is not None) for one in remedies)
    whose = f" ({trouble.node or trouble.vault})" if trouble.node or trouble.vault else ""
    return diagnosis.stated(
        facts,
        (rule, "regression", effect),
        f"{versions.called(to)}{whose} {said}",
        evidence,
        remedies,
        confidence=last.confidence,
        hop=trouble.after_swap,
        source=source,
        step=step.number if step else 0,
        vault=trouble.vault,
        node=trouble.node,
    )
