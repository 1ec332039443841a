"""What it means that a Vault would not serve after its swap: a refusal only where its own words are evidence of one."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterable, Sequence
from typing import Final

from harness.analysis import audit_devices, diagnosis, leases
from harness.analysis.correlation import EvidenceLine
from harness.analysis.diagnosis import Finding
from harness.analysis.rules import Confidence, Remedy, seals, server_config
from harness.knowledge import shutdown_signs
from harness.record.events import Trouble
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

_DECLINED: Final = re.compile(r"declined it: HTTP [0-9]+ \S")


def findings(troubles: Iterable[Trouble], steps: Sequence[AnyStep] = (), trimmed: Container[str] = ()) -> list[Finding]:
    """Return the refusals among *troubles*: a server that gave up or declined right after its swap, and said why.

    *steps* is the course in which they came, and *trimmed* has the versions whose builds leave parts out.
    """
    found = []
    for trouble in troubles:
        if _left_out(trouble, trimmed):
            continue
        evidence, confidence = _evidence(trouble)
        if too_large := _too_large(trouble):
            found.append(_of_leases(trouble, too_large, steps))
        elif evidence:
            step = steps[trouble.position] if 0 <= trouble.position < len(steps) else None
            found.append(_refusal(trouble, step, evidence, confidence))
    return found


def reason(trouble: Trouble, trimmed: Container[str] = ()) -> str:
    """Return why *trouble* leaves the run inconclusive, or nothing where it is a finding; *trimmed* as above."""
    if words := _left_out(trouble, trimmed):
        return (
            f"{trouble.during}: Vault {trouble.after_swap} did not start ({words}): the build that is at hand leaves "
            "that storage out, which says nothing about the release. Rehearse it over raft, or bring the release's own "
            f"binary (--binary vault:{trouble.after_swap}=PATH)"
        )
    if _evidence(trouble)[0]:
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


def _evidence(trouble: Trouble) -> tuple[list[str], Confidence]:
    """Return the words of the server that say it would not serve this data, and how much they prove."""
    if not trouble.after_swap or trouble.kind not in ("died", "refused", "silent"):
        return [], "none"
    if found := leases.too_large(trouble):
        return list(found.evidence), "certain"
    if trouble.kind == "refused" and _SEALED_AGAIN not in trouble.message:
        return ([trouble.message], "certain") if _DECLINED.search(trouble.message) else ([], "none")
    of_audit = trouble.kind == "silent" and audit_devices.at_start(trouble.log) is not None
    if _stopped(trouble) or (trouble.kind == "silent" and not of_audit):
        return [], "none"
    if of_audit or _at_start(trouble) is not None:
        return list(trouble.log), "certain"
    return _in_log(trouble.log)


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


def _too_large(trouble: Trouble) -> leases.TooLarge | None:
    return leases.too_large(trouble) if trouble.after_swap else None


def _of_leases(trouble: Trouble, found: leases.TooLarge, steps: Sequence[AnyStep]) -> Finding:
    remedies = leases.remedies(trouble, found, steps)
    step = steps[trouble.position] if 0 <= trouble.position < len(steps) else None
    return Finding(
        rule=leases.TOO_LARGE,
        kind="regression",
        effect="roll-back refused" if trouble.step in ("roll-back", "restore") else "upgrade refused",
        app="",
        hop=trouble.after_swap,
        sentence=leases.sentence(trouble, found, steps),
        confidence="certain",
        evidence=tuple(EvidenceLine("server", line) for line in found.evidence),
        remedy=diagnosis.in_words(remedies),
        remedies=remedies,
        explanation=leases.EXPLANATION,
        source=leases.SOURCE,
        step=step.number if step else 0,
        vault=trouble.vault,
        node=trouble.node,
    )


def _at_start(trouble: Trouble) -> tuple[Cause, str, Remedy, str] | None:
    words = "\n".join((*trouble.log, trouble.message))
    return seals.at_start(words) or server_config.at_start(trouble.log, trouble.after_swap)


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


def _refusal(trouble: Trouble, step: AnyStep | None, evidence: list[str], confidence: Confidence) -> Finding:
    shown = list(trouble.log[-_LINES_SHOWN:])
    if trouble.log:
        shown = [*(line for line in evidence if line not in shown and line in trouble.log), *shown]
    back, to = trouble.step in ("roll-back", "restore"), trouble.after_swap
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
    elif back:
        words = (
            f"Going back to {to} over these data is no way out: take a snapshot before the upgrade, and rehearse "
            "restoring it (roll-back: snapshot)."
        )
        over = "as the upgrade left them"
    remedies = (Remedy(words, unproven="no setting is known that makes this version take these data"),)
    rule: Cause = "vault-refuses-data"
    said, source = f"did not serve over the data {over}: {trouble.message}", ""
    if (known := _at_start(trouble)) is not None:
        rule, why, mend, source = known
        still = "was unsealed, and does not serve" if rule == "mount-type-removed" else "stays sealed"
        said, remedies = f"{'ended at its start' if trouble.kind == 'died' else still}. {why}", (mend,)
    elif (of_audit := audit_devices.at_start(trouble.log)) is not None:
        rule, said, mend, source = of_audit
        said, remedies = f"does not serve. {said}", (mend,)
    whose = f" ({trouble.node or trouble.vault})" if trouble.node or trouble.vault else ""
    return Finding(
        rule=rule,
        kind="regression",
        effect="roll-back refused" if back else "upgrade refused",
        app="",
        hop=trouble.after_swap,
        sentence=f"Vault {to}{whose} {said}",
        source=source,
        confidence=confidence,
        evidence=tuple(EvidenceLine("server", line) for line in shown or [trouble.message]),
        remedy=diagnosis.in_words(remedies),
        remedies=remedies,
        step=step.number if step else 0,
        vault=trouble.vault,
        node=trouble.node,
    )
