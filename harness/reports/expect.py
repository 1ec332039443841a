"""What was seen as the `expect:` of a scenario: pasted in, it makes the same run exit 0."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Container
from typing import Final

from harness.analysis.diagnosis import Finding
from harness.analysis.verdict import Judgement

_PLAIN: Final = re.compile(r"[a-z][a-z0-9-]*(?: [a-z][a-z0-9-]*)*|[0-9]+\.[0-9]+\.[0-9]+")
_MEANT_OTHERWISE: Final = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
"""Names that YAML takes for something else."""


def render(judgement: Judgement) -> str:
    """Return the block as YAML, an entry a finding, ended by a newline.

    What a way back mends that the run added by itself (--rollback) is left out: no scenario can expect that.
    """
    added = {way.moment for way in judgement.rollbacks if not way.step} - {""}
    meant = [one for one in judgement.findings if one.moment not in added or one.kind == "regression"]
    if not meant:
        return "expect: []\n"
    again = _visited_again(judgement)
    return "".join(["expect:\n", *(f"  - {{{_entry(one, added, again)}}}\n" for one in meant)])


def in_the_way(judgement: Judgement) -> str:
    """Return why no `expect` makes this run exit 0; "" where the block does."""
    if judgement.left_behind:
        return f"something was left behind: {judgement.left_behind}"
    # of whom nothing was learned because of a refusal that is expected, that is known
    doubts = [doubt.text for doubt in judgement.doubts if doubt.kind != "unlearned"]
    return doubts[0] if doubts else ""


def _visited_again(judgement: Judgement) -> set[str]:
    """Return the versions that serve at more than one moment after the first: `at` alone says too little of those."""
    serving = {seen.moment: seen.version for seen in judgement.observations}
    times = Counter([*serving.values()][1:])
    return {version for version, count in times.items() if count > 1}


def _entry(finding: Finding, added: Container[str], again: Container[str]) -> str:
    # a version is named to which the scenario goes by itself; which visit of it is meant, the step says
    at = "" if finding.moment in added else finding.hop
    step = str(finding.step) if finding.step and at in again else ""
    named = {"change": finding.effect, "app": finding.app, "at": at, "at-step": step, "cause": finding.rule}
    return ", ".join(
        f"{name}: {value if name == 'at-step' else _scalar(value)}" for name, value in named.items() if value
    )


def _scalar(text: str) -> str:
    plain = _PLAIN.fullmatch(text) is not None and text not in _MEANT_OTHERWISE
    return text if plain else json.dumps(text, ensure_ascii=True)
