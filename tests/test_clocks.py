"""A node whose clock is ahead: what ends by it once it leads, and what cannot be said of clocks."""

from __future__ import annotations

import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from msgspec.structs import replace

from harness.analysis import doubts
from harness.analysis.record_view import Facts
from harness.drivers.kind import limits
from harness.errors import MissingPrerequisite, RigError, ScenarioError
from harness.host import process_clock
from harness.reports import junit
from harness.scenario import loading, plan
from harness.wait import now
from tests.runs import on_paper

ONE = """\
schema: 1
description: The clock of Vault is set. No cluster is there.
vault: {{source: 1.9.2{nodes}}}
auth:
  approle: {{type: {mount}, roles: {{web: {{policies: [web], ttl: 1h}}}}}}
apps:
  web: {{role: web, reads: [secret/web]}}
course:
{steps}
"""


def said(steps: str, nodes: str = "", mount: str = "approle") -> str:
    """Return a scenario with such a course."""
    return ONE.format(steps=steps, nodes=nodes, mount=mount)


@pytest.mark.parametrize(("ahead", "causes"), [("30m", []), ("2h", ["clock-ahead"])])
def test_what_ends_by_a_clock_that_is_ahead_is_refused_and_a_new_login_is_not(
    ahead: str, causes: list[str], tmp_path: Path
) -> None:
    """By less than a token lives it hurts nobody, and by more nobody before the next start."""
    steps = f"  - clock: {{vault-0: {ahead}}}\n  - upgrade: 1.11.0\n"
    _, judgement = on_paper(loading.loads(said(steps), "one.yaml").scenario, tmp_path)
    assert [(one.rule, one.step) for one in judgement.findings] == [(cause, 2) for cause in causes]
    logins = [one.answer for one in judgement.observations if one.probe == "login"]
    assert logins == ["granted"] * 3


@pytest.mark.parametrize(("times", "missed"), [(1, 0), pytest.param(2, 0, id="from before they were one"), (3, 1)])
def test_what_was_asked_with_one_token_is_one_finding(times: int, missed: int, tmp_path: Path) -> None:
    """That it is not there any more is one fact: the finding names what else was asked with it."""
    lost = "  - {change: access refused, app: web, at: 1.11.0, at-step: 2, cause: clock-ahead}\n"
    steps = f"  - clock: {{vault-0: 2h}}\n  - upgrade: 1.11.0\nexpect:\n{lost * times}"
    record, judgement = on_paper(loading.loads(said(steps), "one.yaml").scenario, tmp_path)
    (finding,) = judgement.findings
    assert (finding.probe, finding.also) == ("old-token-lookup", ("old-token-read secret/web",))
    assert finding.sentence.endswith("The same token has the same answer to old-token-read secret/web")
    refused = [one for one in judgement.observations if one.answer == "refused" and one.probe in finding.also[0]]
    assert {Facts(record).answer_line(one) for one in refused} <= {*finding.evidence}
    assert (len(judgement.missed), judgement.unexpected, judgement.exit_code) == (missed, (), 1 if missed else 0)


def test_each_question_that_a_finding_tells_of_is_red_in_junit(tmp_path: Path) -> None:
    """A job that looks at one question from run to run sees that it was refused, whatever else was refused with it."""
    steps = "  - clock: {vault-0: 2h}\n  - upgrade: 1.11.0\n"
    _, judgement = on_paper(loading.loads(said(steps), "one.yaml").scenario, tmp_path)
    cases = ET.fromstring(junit.render(judgement)).iter("testcase")
    red = [one.attrib["name"] for one in cases if one.find("failure") is not None]
    assert [name.partition(" ")[0] for name in red] == ["old-token-lookup", "old-token-read"]


def test_what_is_expected_of_a_token_leaves_nothing_to_be_learned_of_what_was_read_with_it(tmp_path: Path) -> None:
    """The scenario expects one finding, which tells of both questions."""
    text = said("  - restart: {}\n") + 'policies: {web: \'path "x" { capabilities = ["read"] }\'}\n'
    record, judgement = on_paper(loading.loads(text, "one.yaml").scenario, tmp_path)
    facts, (found,) = Facts(record), [one for one in judgement.findings if one.probe == "read"]
    assert [doubt.apps for doubt in doubts.unlearned(facts, [found], [False])] == [("web",)]
    assert [*doubts.unlearned(facts, [found], [True])] == []
    both = replace(found, probe="token-lookup", item="", also=(f"read {found.item}",))
    assert [*doubts.unlearned(facts, [both], [True])] == []


def test_what_a_node_revoked_while_it_led_is_gone_under_the_next(tmp_path: Path) -> None:
    """Its clock was ahead; that of the next is not, and does not bring back what apps hold."""
    steps = (
        "  - clock: {vault-1: 2h}\n"
        "  - {stop-node: vault-2, then-look: false}\n"
        "  - step-down: {}\n"
        "  - {start-node: vault-2, then-look: false}\n"
        "  - stop-node: vault-1\n"
    )
    _, judgement = on_paper(loading.loads(said(steps, ", nodes: 3"), "three.yaml").scenario, tmp_path)
    assert {one.rule for one in judgement.findings} == {"clock-ahead"}, judgement.reasons
    looked = [one.answer for one in judgement.observations if one.probe == "old-token-lookup"]
    assert looked == ["granted", "granted", "refused", "refused"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (said("  - clock: {vault-1: 2h}\n"), "there is no node 'vault-1'"),
        (said("  - clock: {vault-0: 2h}\n", mount="jwt"), "what is shown at a mount of type jwt ends by the clock"),
        (said("  - clock: {vault-0: 2h}\n") + "secrets: {certs: {type: pki}}\n", "leases of secrets engines end"),
    ],
)
def test_of_what_a_clock_does_elsewhere_nobody_knows(text: str, complaint: str) -> None:
    with pytest.raises(ScenarioError, match=complaint):
        loading.loads(text, "one.yaml")


def test_pods_of_kind_have_one_clock() -> None:
    scenario = loading.loads(said("  - clock: {vault-0: 2h}\n"), "one.yaml").scenario
    with pytest.raises(MissingPrerequisite, match="have the clock of this machine"):
        limits.insist(plan.make(scenario, "one", "kind"))


TELLS = "import time\nwhile True:\n    print(int(time.time()), time.monotonic(), flush=True)\n    time.sleep(0.01)\n"


@pytest.mark.real
def test_the_clock_of_one_process_is_set_apart_and_set_right_again() -> None:
    """While it runs, and asks for the time all the while; what measures spans of time goes on."""
    with subprocess.Popen([sys.executable, "-c", TELLS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = iter(process.stdout)
        spans = [float(next(lines).split()[1])]
        for ahead in (7200, -3600, 86400, 0):
            process_clock.set_ahead(process.pid, ahead)
            time.sleep(0.1)
            deadline = now() + 5
            told = next(
                line for line in lines if abs(int(line.split()[0]) - now() - ahead) < 5 or now() > deadline
            ).split()
            assert abs(int(told[0]) - now() - ahead) < 5
            spans.append(float(told[1]))
        process.kill()
    assert spans == sorted(spans)
    assert spans[-1] - spans[0] < 60
    with pytest.raises(RigError, match="cannot be set apart"):
        process_clock.set_ahead(process.pid, 1)
