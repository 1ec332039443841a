"""A Vault that is unsealed by another one: on paper, what cannot be said of it, and what its last words mean."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from harness.analysis.rules import seals
from harness.analysis.verdict import Judgement, judge
from harness.drivers.paper.seals import PaperSeals
from harness.errors import ScenarioError
from harness.record.node_events import LeftToKubelet, PodSeen
from harness.scenario import course, loading, plan
from harness.scenario.course import Look, Serve
from tests.runs import on_paper
from tests.test_rules import mapped

STORY = Path(__file__).parent / "data" / "the-token-of-a-transit-seal-has-ended.yaml"


def scenario(path: Path, steps: str = "", seal_vault: str = "{source: 1.8.0}", vault: str = "") -> Path:
    """Write the shipped scenario with another course, or none, and return its path."""
    head = STORY.read_text().partition("course:")[0].replace("{source: 1.8.0}", seal_vault)
    head = head.replace("  source: 1.7.0\n", f"  source: 1.7.0\n{vault}")
    path.write_text(f"{head}course:\n{steps}" if steps else head)
    return path


def _judged(file: Path, directory: Path) -> Judgement:
    return on_paper(loading.load(file).scenario, directory / "run")[1]


FAULTS = {"seal": "seal-vault-sealed", "stop": "seal-vault-away", "end-token": "seal-token-refused"}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_lost_before_the_upgrade_is_latent_and_the_upgrade_is_refused(tmp_path: Path, fault: str) -> None:
    file = scenario(tmp_path / "s.yaml", f"  - seal-vault: {fault}\n  - upgrade: 1.9.2\n")
    judgement = _judged(file, tmp_path)
    found = [(one.kind, one.effect, one.hop, one.rule, one.step) for one in judgement.findings]
    assert found == [
        ("regression", "upgrade refused", "1.9.2", FAULTS[fault], 2),
        ("latent", "auto-unseal lost", "1.7.0", FAULTS[fault], 1),
    ]
    assert (judgement.verdict, judgement.exit_code) == ("fail", 1)
    assert all(one.remedies and one.evidence for one in judgement.findings)
    assert "seals other than transit, " in " ".join(judgement.not_checked)


@pytest.mark.parametrize(("fault", "mend"), [("seal", "unseal"), ("stop", "start"), ("end-token", "new-token")])
def test_what_is_mended_in_time_is_no_regression(tmp_path: Path, fault: str, mend: str) -> None:
    file = scenario(
        tmp_path / "s.yaml", f"  - seal-vault: {fault}\n  - seal-vault: {mend}\n  - upgrade: 1.9.2\n  - restart: {{}}\n"
    )
    judgement = _judged(file, tmp_path)
    assert [(one.kind, one.effect, one.rule) for one in judgement.findings] == [
        ("latent", "auto-unseal lost", FAULTS[fault]),
        ("improvement", "auto-unseal works", "changed-by-step"),
    ]
    assert (judgement.verdict, judgement.exit_code) == ("pass", 0)


@pytest.mark.parametrize(
    ("goes", "order"), [("first", ["seal-vault 1.11.0", "1.9.2"]), ("last", ["1.9.2", "seal-vault 1.11.0"])]
)
def test_each_goes_its_own_path_in_either_order(tmp_path: Path, goes: str, order: list[str]) -> None:
    said = f"{{source: 1.8.0, target: 1.11.0, goes: {goes}}}"
    file = scenario(tmp_path / "s.yaml", seal_vault=said, vault="  target: 1.9.2\n")
    planned = plan.make(loading.load(file).scenario, "s", "paper")
    assert [step.moment.label for step in planned.steps if isinstance(step, Look)] == [
        "before",
        *(f"after {one}" for one in order),
    ]
    first = next(step for step in planned.steps if isinstance(step, Serve))
    assert (course.word_of(first), first.vault) == ("start", "seal-vault")
    judgement = _judged(file, tmp_path)
    assert (judgement.verdict, judgement.findings) == ("pass", ())
    assert judgement.versions.vaults == {"seal-vault": ("1.8.0", "1.11.0"), "vault": ("1.7.0", "1.9.2")}


def with_shamir(path: Path, steps: str) -> Path:
    """Write the shipped scenario with another course, of a Vault whose keys are Shamir's, and return its path."""
    scenario(path, steps).write_text(path.read_text().replace("  seal: transit\n", "", 1))
    return path


THERE_AND_BACK = """\
  - restart: {}
    seal: transit
  - restart: {}                         # it unseals itself
  - upgrade: 1.9.2
    seal: shamir
  - seal-vault: stop                    # nobody needs it any more
  - restart: {}
"""


def test_a_seal_is_migrated_there_and_back_and_the_question_of_the_seal_is_asked_while_it_is_in_use(
    tmp_path: Path,
) -> None:
    judgement = _judged(with_shamir(tmp_path / "s.yaml", THERE_AND_BACK), tmp_path)
    assert (judgement.verdict, judgement.findings, judgement.doubts) == ("pass", (), ())
    asked = [one.moment for one in judgement.observations if one.probe == course.AUTO_UNSEAL]
    assert asked == ["after restart", "after restart (step 2)"]
    assert "seals other than Shamir and transit, " in " ".join(judgement.not_checked)


FORGOTTEN = {
    "  - {restart: {}, seal: transit, left-out: migrate}\n": ("shamir", "1.7.0", "seal-migration-not-told"),
    "  - {upgrade: 1.9.2, seal: shamir, left-out: migrate}\n": ("transit", "1.9.2", "seal-migration-not-told"),
    "  - {upgrade: 1.9.2, seal: shamir, left-out: disabled}\n": ("transit", "1.9.2", "seal-not-disabled"),
    "  - {seal-vault: stop, then-look: false}\n  - {upgrade: 1.9.2, seal: shamir}\n": (
        "transit",
        "1.9.2",
        "seal-vault-away",
    ),
    "  - {seal-vault: seal, then-look: false}\n  - {restart: {}, seal: transit}\n": (
        "shamir",
        "1.7.0",
        "seal-vault-sealed",
    ),
}
"""What is forgotten of a migration, or missing for it: the seal before, the version, and the cause."""


@pytest.mark.parametrize("steps", FORGOTTEN)
def test_a_migration_that_lacks_something_has_its_cause(tmp_path: Path, steps: str) -> None:
    seal, at, cause = FORGOTTEN[steps]
    file = (with_shamir if seal == "shamir" else scenario)(tmp_path / "s.yaml", steps)
    judgement = _judged(file, tmp_path)
    (found,) = judgement.findings
    effect = "upgrade refused" if "upgrade" in steps else "restart refused"
    assert (found.effect, found.hop, found.rule, found.confidence) == (effect, at, cause, "certain")
    assert found.remedies
    assert judgement.exit_code == 1


WRONG = {
    "a transit seal is of another Vault": ("seal-vault: {source: 1.8.0}\n", "", ""),
    "has no use for another one": ("  seal: transit\n", "", ""),
    "it is sealed already": ("", "", "  - seal-vault: seal\n  - seal-vault: stop\n"),
    "it is not stopped": ("", "", "  - seal-vault: start\n"),
    "gives no token then": ("", "", "  - seal-vault: stop\n  - seal-vault: new-token\n"),
    "nobody starts anew": ("", "", "  - seal-vault: stop\n  - upgrade: 1.11.0\n    vault: seal-vault\n"),
    "runs 1.8.0 already": ("", "", "  - upgrade: 1.8.0\n    vault: seal-vault\n"),
    "snapshot is of no use to a Vault that only unseals": ("", "", "  - snapshot: {}\n    vault: seal-vault\n"),
    "snapshot is not rehearsed with a transit seal": ("", "", "  - snapshot: {}\n"),
    "several nodes with a transit seal": ("  cluster: platform\n", "  cluster: platform\n  nodes: 3\n", ""),
    "its seal is transit already": ("", "", "  - {restart: {}, seal: transit}\n"),
    "`seal` is of no use to wait": ("", "", "  - {wait: 1s, seal: shamir}\n"),
    "nothing is left out where": ("", "", "  - {restart: {}, left-out: migrate}\n"),
    "no seal is left on the way to transit": (
        "  seal: transit\n",
        "",
        "  - {restart: {}, seal: transit, left-out: disabled}\n",
    ),
    "has Shamir keys, and keeps them": ("", "", "  - {restart: {}, vault: seal-vault, seal: shamir}\n"),
    "there is no Vault that unseals this one, or has": (
        "  seal: transit\n  source: 1.7.0\nseal-vault: {source: 1.8.0}\n",
        "  source: 1.7.0\n",
        "  - {restart: {}, seal: transit}\n",
    ),
    "`target` and `course` exclude": ("{source: 1.8.0}", "{source: 1.8.0, target: 1.11.0}", ""),
    "is older than 1.8.0": ("{source: 1.8.0}", "{source: 1.8.0, target: 1.7.0}", ""),
    "nobody logs in to it": ("reviewer: secret", "reviewer: secret\n    vault: seal-vault", ""),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_is_said_with_its_line(tmp_path: Path, message: str) -> None:
    old, new, steps = WRONG[message]
    text = STORY.read_text()
    assert old in text
    text = text.replace(old, new, 1) if old else text
    if steps:
        text = text.partition("course:")[0] + f"course:\n{steps}"
    (file := tmp_path / "s.yaml").write_text(text)
    with pytest.raises(ScenarioError) as error:
        loading.load(file)
    assert message in str(error.value)


SAID = {
    "Error parsing Seal configuration: Error making API request.\n\nURL: PUT https://127.0.0.1:1/v1/transit/encrypt/k\n"
    "Code: 503. Errors:\n\n* error performing token check: Vault is sealed": "seal-vault-sealed",
    'error parsing Seal configuration: Put "https://127.0.0.1:1/v1/transit/encrypt/k": dial tcp 127.0.0.1:1: connect: '
    "connection refused": "seal-vault-away",
    "error parsing Seal configuration: Error making API request.\n\nCode: 403. Errors:\n\n* permission denied": (
        "seal-token-refused"
    ),
    "declined it: HTTP 500 migrate option not provided and seal migration is pending": "seal-migration-not-told",
    "declined it: HTTP 400 'migrate' parameter must be set true in JSON body when in seal migration mode": (
        "seal-migration-not-told"
    ),
    'Error initializing core: cannot seal migrate from "transit" to Shamir, no disabled seal in configuration': (
        "seal-not-disabled"
    ),
    "panic: runtime error: invalid memory address or nil pointer dereference\n"
    "github.com/hashicorp/vault/command.adjustCoreForSealMigration({0x31c88d0})": "seal-not-disabled",
}


@pytest.mark.parametrize("words", SAID)
def test_the_last_words_of_each_version_are_known(words: str) -> None:
    """As 1.4.0 to 1.16.3 wrote them."""
    found = seals.at_start(words)
    assert found is not None
    assert found[0] == SAID[words]


@pytest.mark.parametrize("words", ["Error parsing Seal configuration: no key name", "connection refused", ""])
def test_other_last_words_are_none_of_a_seal(words: str) -> None:
    assert seals.at_start(words) is None


def test_what_a_kubelet_did_with_a_vault_that_ended_is_a_part_of_the_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On paper there is none: it is as one was seen on kind."""
    waits = PodSeen(ready=False, restarts=1, waiting="CrashLoopBackOff: back-off 10s restarting failed container=vault")
    after = PodSeen(ready=True, restarts=2)
    seen = iter([waits, waits, waits, after, after])
    monkeypatch.setattr(PaperSeals, "pod_seen", lambda _: next(seen))
    monkeypatch.setattr("harness.rehearsal.seals._KUBELET_SECONDS", 0.1)
    file = scenario(tmp_path / "s.yaml", "  - seal-vault: stop\n  - upgrade: 1.9.2\n")
    record, judgement = on_paper(loading.load(file).scenario, tmp_path / "run")
    (left,) = record.of(LeftToKubelet)
    assert (left.version, left.step, left.mended, left.pod, left.then) == ("1.9.2", 2, ("start",), waits, after)
    (refused,) = (one for one in judgement.findings if one.effect == "upgrade refused")
    assert " anew in its Pod 1 time, in vain (CrashLoopBackOff: back-off 10s). Then the Vault that" in refused.sentence
    assert refused.evidence[-1].text == left.words
    assert "does not try again by itself" not in refused.remedy
    assert "Then delete the Pod of the other one" in refused.remedy  # on paper it does not come back
    back = mapped(record, lambda event: msgspec.structs.replace(event, seconds=2.5) if event == left else event)
    (refused,) = (one for one in judge(back).findings if one.effect == "upgrade refused")
    assert "2.5 s later it was unsealed in the same Pod" in refused.sentence
    assert "does not try again by itself" not in refused.remedy
    assert "Its kubelet then starts the other one again by itself" in refused.remedy


def test_a_vault_that_is_out_on_purpose_is_asked_nothing(tmp_path: Path) -> None:
    file = scenario(tmp_path / "s.yaml", "  - seal-vault: stop\n  - seal-vault: start\n")
    judgement = _judged(file, tmp_path)
    asked = [one.moment for one in judgement.observations if one.probe == "health" and one.vault == "seal-vault"]
    assert asked == ["before", "after seal-vault start"]
    assert judgement.doubts == ()
