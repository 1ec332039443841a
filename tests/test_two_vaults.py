"""A system of two Vaults, each with mounts, apps and versions of its own: rehearsed on paper, judged and reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

import msgspec
import pytest

from harness.analysis import verdict
from harness.analysis.verdict import Judgement
from harness.drivers.paper.driver import PaperDriver, PaperRig
from harness.errors import RigError
from harness.record import journal as journals
from harness.record.events import ConfigWritten, MomentBegan, StepEnded, Trouble, VaultAuditLine, VaultServing
from harness.record.journal import Journal, Record
from harness.record.observation import Observation
from harness.rehearsal import rehearsal
from harness.reports import github, junit, markdown, text
from harness.reports import json as json_report
from harness.reports import plan as plan_report
from harness.rig.rig import node_of
from harness.scenario import auth_config, course, course_resolution, loading, plan, topology
from harness.scenario.app_spec import AppSpec
from harness.scenario.course import AnyStep, Look, RollBack, Snapshot, Upgrade, WriteLate
from harness.scenario.labels import Labels
from harness.scenario.plan import Plan
from harness.scenario.role_spec import RoleSpec
from harness.scenario.schema import CourseStep, Nothing, Write
from harness.scenario.topology import MountSpec, Topology, VaultSpec
from tests.runs import OUTAGE, started

SCENARIO: Final = loading.load(OUTAGE).scenario

VAULTS: Final = {
    "main": VaultSpec(cluster="platform", service_account="vault/vault", token_file=True, source="1.7.0"),
    "transit": VaultSpec(cluster="apps", service_account="transit/transit", token_file=True, source="1.8.0", shares=1),
}


def mount(vault: str, cluster: str, **fields: object) -> MountSpec:
    """Return a mount that nobody chose a reviewer for: 1.4.0 wrote its config, so that nothing is stored in it."""
    usual = {
        "written_by": "1.4.0",
        "with_token_file": True,
        "fields": auth_config.config_fields("", None),
        "roles": {"web": RoleSpec(service_accounts=("web",), namespaces=("apps",), policies=("web",))},
    }
    return MountSpec(cluster=cluster, vault=vault, **usual | fields)  # type: ignore[arg-type]


def app(cluster: str, mount: str) -> AppSpec:
    return AppSpec(
        cluster=cluster,
        service_account="apps/web",
        mount=mount,
        role="web",
        may_review_tokens=True,
        reads=("secret/web",),
    )


SYSTEM: Final = Topology(
    clusters=topology.of(SCENARIO).clusters,
    vaults=VAULTS,
    # main asks the other cluster, which does not know its Pod; transit asks its own
    mounts={"kubernetes": mount("main", "apps"), "near": mount("transit", "apps")},
    apps={"web": app("apps", "kubernetes"), "key": app("apps", "near")},
    policies={},
)


def planned(*steps: AnyStep, system: Topology = SYSTEM) -> Plan:
    """Return a plan over both Vaults: both are set up by 1.4.0 and taken to their sources, and then *steps*.

    Each step is followed by a look.
    """
    labels, runs = Labels(), {name: vault.source for name, vault in system.vaults.items()}
    done: list[AnyStep] = [step for name in system.vaults for step in plan._history(system, name)]
    for step in (None, *steps):
        done += [] if step is None else [step]
        if isinstance(step, course.Serve):
            runs = {**runs, step.vault: step.version}
        if not isinstance(step, Snapshot | WriteLate):
            moment = labels.moment(step, next(iter(runs.values())), token_file=True)
            late = any(isinstance(one, WriteLate) for one in done)
            done.append(Look(moment=msgspec.structs.replace(moment, versions=runs), late=late))
    questions, not_asked = plan._questions(SCENARIO, system)
    return Plan("two Vaults", "paper", steps=tuple(done), topology=system, questions=questions, not_asked=not_asked)


def to(vault: str, version: str) -> Upgrade:
    return Upgrade(version=version, token_file=True, vault=vault)


def rehearsed(
    directory: Path, *steps: AnyStep, system: Topology = SYSTEM, dies_at: str = ""
) -> tuple[Record, Judgement]:
    """Rehearse *steps* on paper, and judge the record that is on the disk afterwards."""
    made = planned(*steps, system=system)
    made = msgspec.structs.replace(made, asked=topology.Asked(description="Two Vaults."))
    start = msgspec.structs.replace(started(SCENARIO, "two"), plan=made)
    with Journal.opened(directory) as journal:
        rehearsal.rehearse(start, PaperDriver(dies_at=dies_at), journal)
    record = journals.load(directory)
    return record, verdict.judge(record)


BOTH: Final = (to("transit", "1.11.0"), to("main", "1.11.0"))


def test_each_vault_is_set_up_asked_and_taken_on_by_itself(tmp_path: Path) -> None:
    """What is written into one is not in the other, and each moment says what both of them run."""
    record, _ = rehearsed(tmp_path, *BOTH)
    assert [(one.vault, one.answered) for one in record.of(VaultServing)] == [
        ("main", "1.4.0"),
        ("main", "1.7.0"),
        ("transit", "1.4.0"),
        ("transit", "1.8.0"),
        ("transit", "1.11.0"),
        ("main", "1.11.0"),
    ]
    assert [(one.vault, one.mount) for one in record.of(ConfigWritten)] == [("main", "kubernetes"), ("transit", "near")]
    assert [one.versions for one in record.of(MomentBegan)] == [
        {"main": "1.7.0", "transit": "1.8.0"},
        {"main": "1.7.0", "transit": "1.11.0"},
        {"main": "1.11.0", "transit": "1.11.0"},
    ]
    asked = {(one.probe, one.vault, one.version) for one in record.of(Observation) if one.moment == "before"}
    assert {("health", "main", "1.7.0"), ("health", "transit", "1.8.0")} < asked
    seals = [one for one in record.of(Observation) if one.probe == "seal-status" and one.moment == "before"]
    assert [(one.vault, one.detail["n"]) for one in seals] == [("main", 5), ("transit", 1)]
    assert {one.vault for one in record.of(VaultAuditLine)} == {"main", "transit"}
    assert {(one.vault, one.do) for one in record.of(StepEnded)} == {("main", "upgrade"), ("transit", "upgrade")}


def test_a_course_goes_the_way_of_each_vault_by_itself() -> None:
    """Its version, its snapshot and its source are those of the Vault that a step names; no name means the first."""
    written = [
        CourseStep(snapshot=Nothing(), vault="transit"),
        CourseStep(upgrade="1.11.0", vault="transit"),
        CourseStep(upgrade="1.9.2"),
        CourseStep(restart=Nothing(), vault="transit", then_look=False),
        CourseStep(roll_back="binary", vault="main"),
        CourseStep(write=Write(mount="near", reviewer="client-jwt")),
        CourseStep(roll_back="snapshot", vault="transit"),
    ]
    made = [one for one in course_resolution.steps(written, SYSTEM, Labels()) if not isinstance(one, Look)]
    told = [(course.word_of(one), one.vault, getattr(one, "version", "")) for one in made]
    assert told == [
        ("snapshot", "transit", ""),
        ("upgrade", "transit", "1.11.0"),
        ("upgrade", "main", "1.9.2"),
        ("restart", "transit", "1.11.0"),
        ("write-late", "main", ""),
        ("roll-back", "main", "1.7.0"),
        ("write-config", "transit", ""),
        ("write-late", "transit", ""),
        ("roll-back", "transit", "1.8.0"),
    ]
    looks = [one.moment.versions for one in course_resolution.steps(written, SYSTEM, Labels()) if isinstance(one, Look)]
    assert looks[0] == {"main": "1.7.0", "transit": "1.11.0"}
    assert looks[-1] == {"main": "1.7.0", "transit": "1.8.0"}


def test_the_finding_is_about_the_vault_that_breaks(tmp_path: Path) -> None:
    """Both cross 1.9.3, and only main's Pod is a stranger to the cluster that it asks."""
    _, judgement = rehearsed(tmp_path, *BOTH)
    assert (judgement.verdict, judgement.doubts, judgement.exit_code) == ("fail", (), 1)
    (finding,) = [one for one in judgement.findings if one.kind == "regression"]
    assert (finding.vault, finding.app, finding.hop, finding.moment) == ("main", "web", "1.11.0", "after 1.11.0 (2)")
    assert finding.rule == "reviewer-fallback-local"
    assert "system:serviceaccount:vault:vault" in finding.sentence
    assert finding.remedies[0].stop == "1.7.0"
    others = {(one.vault, one.effect, one.app) for one in judgement.findings if one is not finding}
    assert others == {("transit", "reviewer changed", "key")}
    assert judgement.versions.vaults == {"main": ("1.4.0", "1.7.0", "1.11.0"), "transit": ("1.4.0", "1.8.0", "1.11.0")}
    assert (judgement.versions.source, judgement.versions.target) == ("1.7.0", "1.11.0")


def test_the_same_system_the_other_way_round_breaks_the_other_vault(tmp_path: Path) -> None:
    """So that it is the Vault of the mount that is looked up, and not the first."""
    mounts = {"kubernetes": mount("main", "platform"), "near": mount("transit", "platform")}
    apps = {"web": app("platform", "kubernetes"), "key": app("platform", "near")}
    system = msgspec.structs.replace(SYSTEM, mounts=mounts, apps=apps)
    _, judgement = rehearsed(tmp_path, *BOTH, system=system)
    found = {(one.vault, one.app, one.effect): one for one in judgement.findings}
    assert set(found) == {("transit", "key", "login refused"), ("main", "web", "reviewer changed")}
    refused = found["transit", "key", "login refused"]
    assert (refused.rule, refused.moment) == ("reviewer-fallback-local", "after 1.11.0")
    assert "system:serviceaccount:transit:transit" in refused.sentence
    assert refused.remedies[0].stop == "1.8.0"


def test_a_snapshot_brings_back_the_vault_that_it_is_of(tmp_path: Path) -> None:
    """Main goes back over its snapshot. The other one keeps what it has, and nobody misses anything of it."""
    back = RollBack(version="1.7.0", token_file=True, over="snapshot", vault="main")
    record, judgement = rehearsed(tmp_path, Snapshot(vault="main"), *BOTH, WriteLate(vault="main"), back)
    (way,) = judgement.rollbacks
    assert (way.vault, way.from_version, way.to_version, way.opened) == ("main", "1.11.0", "1.7.0", True)
    assert way.granted == ("web",)
    assert len(way.lost) == 2
    assert {(one.vault, one.answer) for one in record.of(Observation) if one.probe.startswith("late-")} == {
        ("main", "refused")
    }
    assert {(one.app, one.effect) for one in judgement.findings if one.kind == "improvement"} == {
        ("web", "login granted")
    }


def test_what_breaks_at_one_vault_is_told_of_that_one(tmp_path: Path) -> None:
    record, judgement = rehearsed(tmp_path, to("transit", "1.12.0"), to("main", "1.11.0"), dies_at="1.12.0")
    (trouble,) = record.of(Trouble)
    assert (trouble.vault, trouble.after_swap, trouble.during) == ("transit", "1.12.0", "upgrade transit 1.12.0")
    (finding,) = judgement.findings
    assert (finding.vault, finding.effect, finding.hop) == ("transit", "upgrade refused", "1.12.0")
    assert "transit" in finding.sentence


def test_every_report_names_the_vault(tmp_path: Path) -> None:
    """Where there are two, a version alone says nothing."""
    _, judgement = rehearsed(tmp_path, *BOTH)
    said = text.render(judgement, width=200, colour=False)
    assert "Vault main 1.4.0 -> 1.7.0 -> 1.11.0, transit 1.4.0 -> 1.8.0 -> 1.11.0" in said
    assert "login refused: web, at Vault main 1.11.0" in said
    page = markdown.render(judgement)
    assert "at Vault main 1.11.0" in page
    assert "| transit | 1.4.0, 1.8.0, 1.11.0 |" in page
    suite = junit.render(judgement)
    assert "health transit" not in suite
    assert "after 1.11.0, Vault transit 1.11.0" in suite
    assert 'name="vault.path.transit" value="1.4.0 -&gt; 1.8.0 -&gt; 1.11.0"' in suite
    assert "at main 1.11.0" in " ".join(judgement.reasons)
    document = json.loads(json_report.render(judgement))
    assert {one["vault"] for one in document["observations"]} == {"main", "transit"}


def test_a_plan_names_the_vaults() -> None:
    shown = plan_report.render(planned(*BOTH))
    assert "Vault main: in platform, storage raft" in shown
    assert "Vault transit: in apps, storage raft" in shown
    assert "upgrade: Vault transit 1.11.0, with a pod token file" in shown
    assert "  health transit" in shown


def test_a_vault_or_a_node_that_is_not_there_is_named(tmp_path: Path) -> None:
    rig = PaperRig(planned(*BOTH), Journal(tmp_path), {}, "")
    assert [list(rig.system(name).nodes) for name in ("main", "transit")] == [["main-0"], ["transit-0"]]
    with pytest.raises(RigError, match="there is no Vault other; there are main, transit"):
        rig.system("other")
    with pytest.raises(RigError, match="there is no node main-1; there are main-0"):
        node_of(rig, "main", "main-1")
    assert node_of(rig, "transit", "transit-0") is rig.system("transit")


def test_a_github_annotation_names_the_vault(tmp_path: Path) -> None:
    _, judgement = rehearsed(tmp_path, *BOTH)
    assert "main 1.11.0" in github.render(judgement, "two.yaml", {})
