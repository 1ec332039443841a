"""What was seen as the `expect:` of a scenario: pasted in, it makes the same run exit 0."""

from __future__ import annotations

import json
import re
from typing import Final

from harness.analysis.diagnosis import Finding
from harness.analysis.verdict import Judgement

_PLAIN: Final = re.compile(r"[a-z][a-z0-9-]*(?: [a-z][a-z0-9-]*)*|[0-9]+\.[0-9]+\.[0-9]+")
_MEANT_OTHERWISE: Final = {"null", "true", "false", "yes", "no", "on", "off", "y", "n"}
"""Names that YAML takes for something else."""


def render(judgement: Judgement) -> str:
    """Return the block as YAML, an entry a finding, ended by a newline."""
    if not judgement.findings:
        return "expect: []\n"
    return "".join(["expect:\n", *(f"  - {{{_entry(finding)}}}\n" for finding in judgement.findings)])


def in_the_way(judgement: Judgement) -> str:
    """Return why no `expect` makes this run exit 0; "" where the block does."""
    if judgement.left_behind:
        return f"something was left behind: {judgement.left_behind}"
    # of whom nothing was learned because of a refusal that is expected, that is known
    doubts = [doubt.text for doubt in judgement.doubts if doubt.kind != "unlearned"]
    return doubts[0] if doubts else ""


def _entry(finding: Finding) -> str:
    named = {"change": finding.effect, "app": finding.app, "at": finding.hop, "cause": finding.rule}
    return ", ".join(f"{name}: {_scalar(value)}" for name, value in named.items() if value)


def _scalar(text: str) -> str:
    plain = _PLAIN.fullmatch(text) is not None and text not in _MEANT_OTHERWISE
    return text if plain else json.dumps(text, ensure_ascii=True)
