"""A token that is refused, or taken again, is one fact, by whatever it was asked: one finding tells it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from harness.analysis.diagnosis import Finding

_LOOK_UPS: Final = {
    "old-token-read": "old-token-lookup",
    "old-lease-renew": "old-token-lookup",
    "read": "token-lookup",
    "write": "token-lookup",
    "token-renew": "token-lookup",
}
"""By the probe that asks with a token: the one that looks up the same one."""

_PATH_BY_PATH: Final = "policy-denies"
"""A policy rules on each path by itself, and what has it grant the look-up mends nothing else."""


def merged(findings: Sequence[Finding]) -> Iterable[Finding]:
    """Yield *findings* without those of a token whose look-up has the same cause: that one names them in `also`.

    A cause that is found path by path is one fact for each path.
    """
    of_tokens = [one for one in findings if one.rule != _PATH_BY_PATH]
    look_ups = {_fact(one, one.probe): one for one in of_tokens if one.probe in _LOOK_UPS.values()}
    others: dict[int, list[Finding]] = {}
    for one in findings:
        told = look_ups.get(_fact(one, _LOOK_UPS.get(one.probe, "")))
        if told is not None:
            others.setdefault(id(told), []).append(one)
    left_out = {id(one) for joined in others.values() for one in joined}
    for one in findings:
        if id(one) not in left_out:
            yield _with(one, others.get(id(one), []))


def _fact(one: Finding, probe: str) -> tuple[str, ...]:
    return (probe, one.effect, one.kind, one.rule, one.app, one.mount, one.moment, one.vault, one.node)


def _with(look_up: Finding, others: Sequence[Finding]) -> Finding:
    if not others:
        return look_up
    also = tuple(f"{one.probe} {one.item}".strip() for one in others)
    new = (line for one in others for line in one.evidence if line not in look_up.evidence)
    return msgspec.structs.replace(
        look_up,
        also=also,
        sentence=f"{look_up.sentence}. The same token has the same answer to {', '.join(also)}",
        evidence=(*look_up.evidence, *dict.fromkeys(new)),
        ambiguous=look_up.ambiguous or any(one.ambiguous for one in others),
    )
