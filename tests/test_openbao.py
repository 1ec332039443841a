"""OpenBao as the target: what can be said, what is refused beforehand, what is foretold, and what a run lacks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.analysis import crossings
from harness.artifacts.brought import Brought
from harness.artifacts.store import Sources, Store
from harness.cli import progress
from harness.drivers import vault_config
from harness.drivers.kind import limits
from harness.errors import MissingPrerequisite, ScenarioError
from harness.knowledge import kubernetes_auth, versions
from harness.reports import markdown, run_html, text
from harness.reports import plan as paper_plan
from harness.scenario import loading, plan
from tests.runs import on_paper

BAO = "openbao-2.6.2"


def document(vault: dict[str, Any], *steps: dict[str, Any], kubernetes: str = "1.32.0", **config: Any) -> str:
    """Return a scenario as text: an app in another cluster than Vault, whose mount nobody chose a reviewer for."""
    mount: dict[str, Any] = {
        "cluster": "apps",
        "configured": {"by": vault["source"], "with-token-file": True},
        "roles": {"web": {"service-accounts": ["web"], "namespaces": ["apps"], "policies": ["web"]}},
    }
    written: dict[str, Any] = {
        "schema": 1,
        "description": "A Vault becomes OpenBao.",
        "clusters": {"platform": {"kubernetes": "1.32.0"}, "apps": {"kubernetes": kubernetes}},
        "vault": {"cluster": "platform", **vault},
        "auth": {"kubernetes": mount | ({"config": config} if config else {})},
        "apps": {"web": {"cluster": "apps", "service-account": "apps/web", "role": "web", "may-review-tokens": True}},
    }
    return json.dumps(written | ({"course": list(steps)} if steps else {}))


WRONG: dict[str, tuple[str, str, str]] = {
    "a Vault after OpenBao": (
        document({"source": "1.14.0"}, {"upgrade": BAO}, {"upgrade": "2.7.0"}),
        "Vault 2.7.0 comes after OpenBao 2.6.2",
        "roll-back: snapshot",
    ),
    "a storage that it has not": (
        document({"source": "1.14.0", "target": BAO, "storage": "etcd"}),
        "OpenBao 2.6.2 has no storage etcd",
        "storage: raft",
    ),
    "a storage that it has not yet": (
        document({"source": "1.14.0", "target": "openbao-2.0.3", "storage": "postgresql"}),
        "OpenBao 2.0.3 has no storage postgresql, which came with 2.1.0",
        "openbao-2.1.0 or newer, or storage: raft",
    ),
    "a storage that it has no more": (
        document({"source": "1.14.0", "target": "openbao-2.7.0", "storage": "file"}),
        "OpenBao 2.7.0 has no storage file, which 2.7.0 took away",
        "openbao-2.6.2 or older",
    ),
    "a release that never was": (
        document({"source": "1.14.0", "target": "openbao-1.20.0"}),
        "OpenBao 1.20.0 was never released",
        "begin with 2.0.0",
    ),
    "a field that it has not": (
        document(
            {"source": "1.16.0"},
            {"upgrade": BAO},
            {"write": {"config": {"use_annotations_as_alias_metadata": True}}},
        ),
        "use_annotations_as_alias_metadata is unknown to OpenBao 2.6.2",
        "leave it out",
    ),
    "a Kubernetes of that name": (
        document({"source": "1.14.0", "target": BAO}, kubernetes="openbao-2.0.0"),
        "openbao-2.0.0 is no version of Kubernetes",
        "1.32.0",
    ),
    "a key for it": (
        document({"source": "1.14.0", "target": BAO, "product": "openbao"}),
        "product",
        "with the product before its version, such as openbao-2.6.2",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_openbao_would_not_do_is_refused_with_its_line(name: str) -> None:
    text, message, remedy = WRONG[name]
    with pytest.raises(ScenarioError) as refused:
        loading.loads(text)
    found = [(one.message, one.remedy) for one in refused.value.problems]
    assert [one for one in found if message in one[0] and remedy in one[1]], found
    assert all(one.line >= 1 for one in refused.value.problems)


@pytest.mark.parametrize(
    ("version", "floor", "is_so"),
    [
        (BAO, "1.16.0", True),
        (BAO, "1.17.0", False),
        (BAO, "2.0.0", False),
        (BAO, "openbao-2.6.0", True),
        (BAO, "openbao-2.7.0", False),
        ("2.0.0", "1.17.0", True),
    ],
)
def test_openbao_is_like_the_vault_that_it_was_made_of(version: str, floor: str, *, is_so: bool) -> None:
    """Its own numbers say nothing about which Vault's auth methods it has."""
    assert versions.at_least(version, floor) is is_so


def test_it_is_planned_foretold_and_said_to_be_beyond_what_was_run(tmp_path: Path) -> None:
    """The fallback that a Vault has from 1.9.3 on is OpenBao's as well, and the refusals have its statuses."""
    scenario = loading.loads(document({"source": "1.7.0", "target": BAO})).scenario
    made = plan.make(scenario, "bao", "local")
    assert ("openbao", "2.6.2") in made.artifacts
    assert [line for line in made.assumed if "guide of OpenBao was tried with Vault 1.14.1" in line]
    assert kubernetes_auth.beyond(["1.16.0", BAO]) == [BAO]
    moved = loading.loads(
        document({"source": "1.9.2"}, {"write": {"config": {"disable_local_ca_jwt": True}}}, {"upgrade": BAO})
    ).scenario
    _, judgement = on_paper(moved, tmp_path)
    assert [o.status for o in judgement.observations if o.probe == "login"] == [403, 200, 200]
    strangers = [o.status for o in judgement.observations if o.probe == "wrong-service-account"]
    assert strangers == [500, 500, 403]


def test_several_nodes_become_it_and_the_report_calls_it_by_its_name(tmp_path: Path) -> None:
    """As a real one does: each node tells a number alone, which could be one of Vault's."""
    vault = {"source": "1.13.0", "target": BAO, "nodes": 3, "storage": "raft"}
    _, judgement = on_paper(loading.loads(document(vault)).scenario, tmp_path)
    assert judgement.versions.vault == ("1.13.0", BAO)
    assert judgement.versions.vaults == {f"vault-{number}": ("1.13.0", BAO) for number in range(3)}


def test_its_rows_are_on_the_way_to_it_and_on_no_other() -> None:
    """And what comes with newer Vaults is not on the way to it."""

    def ids(target: str) -> set[str]:
        scenario = loading.loads(document({"source": "1.13.0", "target": target})).scenario
        return {one.id for one in crossings.crossings(plan.make(scenario, "way", "paper"))}

    bao, vault = ids(BAO), ids("2.0.0")
    assert {one for one in bao if one.startswith("openbao-")} == bao
    assert bao
    assert not {one for one in vault if one.startswith("openbao-")}
    assert vault


def test_a_run_without_a_binary_says_what_is_missing_and_how_to_bring_it(tmp_path: Path) -> None:
    store = Store(Sources(tmp_path, offline=True), lambda _: None)
    with pytest.raises(MissingPrerequisite) as missing:
        store.get_all([("openbao", "2.6.2")])
    assert "openbao 2.6.2 is not available" in str(missing.value)
    assert "--binary openbao:2.6.2=/path/to/bao" in str(missing.value)


def test_on_kind_it_wants_an_image_as_vault_does() -> None:
    """By that name it may be brought; and what is brought for another version is of no use."""
    made = plan.make(loading.loads(document({"source": "1.14.0", "target": BAO})).scenario, "bao", "kind")
    limits.insist(made)
    assert ("openbao-image", "2.6.2") in made.artifacts
    mine = Brought((("openbao", "2.6.2", Path("/bao")),), (("openbao", "2.6.2", "registry.example.com/bao:ours"),))
    assert mine.names() == {("openbao-image", "2.6.2"): "registry.example.com/bao:ours"}
    assert mine.unused(made.artifacts) == []
    other = Brought((("openbao", "2.6.1", Path("/bao")),), (("openbao", "2.6.1", "ours"),))
    assert other.unused(made.artifacts) == ["--binary openbao:2.6.1", "--image openbao:2.6.1"]


def test_its_configuration_lets_audit_devices_be_made_and_has_no_mlock() -> None:
    """Vault's own has what OpenBao refuses or ignores, and the other way round."""

    def text(*, openbao: bool) -> dict[str, Any]:
        storage = vault_config.in_directory("raft", "/data")
        said = vault_config.text(
            storage, listen="127.0.0.1:1", tls=None, address="http://a", cluster_address="https://b", openbao=openbao
        )
        found: dict[str, Any] = json.loads(said)
        return found

    assert text(openbao=True)["unsafe_allow_api_audit_creation"] is True
    assert "disable_mlock" not in text(openbao=True)
    assert "unsafe_allow_api_audit_creation" not in text(openbao=False)


def test_a_version_is_called_by_the_name_of_its_product() -> None:
    """In a sentence, on a path, after a name, and where Vault was named already."""
    assert (versions.called("1.14.1"), versions.called(BAO)) == ("Vault 1.14.1", "OpenBao 2.6.2")
    assert (versions.called("1.14.1", "west "), versions.called(BAO, "west ")) == (
        "Vault west 1.14.1",
        "OpenBao west 2.6.2",
    )
    assert versions.path(["1.13.0", "1.14.1", BAO]) == "Vault 1.13.0 -> 1.14.1 -> OpenBao 2.6.2"
    assert versions.path(["openbao-2.6.1", BAO], ", ") == "OpenBao 2.6.1, 2.6.2"
    assert versions.path(["1.14.1", BAO], before="vault") == "1.14.1 -> OpenBao 2.6.2"
    assert (versions.alone("1.14.1"), versions.alone(BAO)) == ("1.14.1", "OpenBao 2.6.2")
    assert (versions.as_option("1.14.1"), versions.as_option(BAO)) == ("vault:1.14.1", "openbao:2.6.2")
    assert (versions.answering("1.14.1", ""), versions.answering(BAO, "1.14.1")) == ("Vault ?", "1.14.1")


def test_no_report_calls_it_a_vault(tmp_path: Path) -> None:
    """Neither the texts nor the page, of one Vault and of several nodes, nor what is told on the way."""
    for nodes in (1, 3):
        vault = {"source": "1.9.2", "target": BAO} | ({"nodes": nodes, "storage": "raft"} if nodes > 1 else {})
        record, judgement = on_paper(loading.loads(document(vault)).scenario, tmp_path / str(nodes))
        told = [
            *text.render(judgement, width=400).splitlines(),
            *markdown.render(judgement).splitlines(),
            *run_html.render(record, judgement).splitlines(),
            *paper_plan.render(record.started.plan).splitlines(),
        ]
        follow = progress.follower(told.append, verbose=True)
        for event in record.events:
            follow(event)
        assert [line for line in told if "OpenBao 2.6.2" in line]
        assert [line for line in told if re.search(r"Vault (?:\S+ )?(?:openbao-|2\.6\.2)", line)] == []


def test_every_sentence_about_a_version_that_serves_leaves_its_name_to_one_place() -> None:
    """Those that name a Vault of their own, such as a floor, say so by another word than version."""
    wrong = [
        f"{path.name}:{number}"
        for path in Path(versions.__file__).parents[1].rglob("*.py")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if re.search(r"Vault \{(?:called\(\w+\)\}\{)?[\w.]*\b_?(?:version|hop|written_by|source|target)\}", line)
    ]
    assert wrong == []


def test_on_kind_an_openbao_is_unsealed_by_its_keys() -> None:
    """Its configurations there know no seal: it would end at its start, as if it did not take the data."""
    transit = {"source": "1.14.0", "seal": "transit"}
    for path, refused in (({"target": BAO}, True), ({"target": "1.16.3"}, False)):
        text = json.loads(document(transit | path)) | {"seal-vault": {"source": "1.14.0"}}
        made = plan.make(loading.loads(json.dumps(text)).scenario, "one", "kind")
        if refused:
            with pytest.raises(MissingPrerequisite, match=r"OpenBao 2\.6\.2 is unsealed by its keys.*--driver local"):
                limits.insist(made)
        else:
            limits.insist(made)
