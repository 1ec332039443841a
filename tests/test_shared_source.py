"""What rehearsals agree on before their first look, and which of them may share it."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml

from harness.cli.cells import Order
from harness.cli.matrix_running import _ToDo
from harness.cli.matrix_workers import Task
from harness.drivers.kept_vault import KeptVault
from harness.drivers.kind.driver import KindDriver, KindRig
from harness.drivers.kind.ready_pod import ReadyPod
from harness.drivers.kind.shared_clusters import SharedKindClusters
from harness.drivers.kind.sharing_rig import KindSharing
from harness.drivers.kind.vault_pod import Turn, VaultPod
from harness.drivers.local import shared_clusters
from harness.drivers.local.control_plane import ControlPlane
from harness.drivers.local.ready_vault import fit
from harness.drivers.local.shared_clusters import SharedClusters
from harness.drivers.local.sharing_rig import LocalSharing
from harness.drivers.local.vault_nodes import VaultNodes
from harness.errors import RigError, Unreachable
from harness.host.ports import Ports
from harness.rig.source import Source
from harness.scenario import loading, plan, shared_source
from harness.scenario.course import Serve, Start, WriteConfig
from harness.scenario.driver_traits import Sharing
from harness.scenario.matrix import Cell
from harness.scenario.plan import Plan
from harness.secret import Secrets
from harness.wait import now
from tests.runs import OUTAGE, SCENARIOS

SCENARIO = yaml.safe_load(OUTAGE.read_text())


def planned(tmp_path: Path, driver: str = "local", **changes: Any) -> Plan:
    """Return the plan of the outage with fields replaced, each named by its path with two underscores in between."""
    document = copy.deepcopy(SCENARIO)
    document.pop("expect")
    for path, value in changes.items():
        *above, last = path.split("__")
        place = document
        for name in above:
            place = place[name]
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
    file = tmp_path / "scenario.yaml"
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    loaded = loading.load(file)
    return plan.make(loaded.scenario, loaded.name, driver)


def test_cells_over_targets_agree_and_those_of_another_source_do_not(tmp_path: Path) -> None:
    one = shared_source.key(planned(tmp_path))
    assert shared_source.key(planned(tmp_path, vault__target="1.9.2")) == one
    assert shared_source.key(planned(tmp_path, vault__via=["1.9.2", "1.10.0"])) == one
    others: list[dict[str, Any]] = [
        {"vault__source": "1.8.0"},
        {"vault__storage": "file"},
        {"vault__tls": False},
        {"auth__kubernetes__configured": {"by": "1.4.0", "with-token-file": False}},
        {"auth__kubernetes__cluster": "platform", "apps__web__cluster": "platform"},
        {"apps__web__may-review-tokens": False},
        {"apps__web__reads": ["secret/other"]},
        {"policies": {"web": 'path "secret/data/web" { capabilities = ["read", "list"] }'}},
        {"clusters__apps": {"kubernetes": "1.31.0"}},
    ]
    keys = [shared_source.key(planned(tmp_path, **changes)) for changes in others]
    assert len({one, *keys}) == len(others) + 1


def test_who_may_not_share_says_why(tmp_path: Path) -> None:
    assert shared_source.why_not(planned(tmp_path)) == ""
    assert shared_source.why_not(planned(tmp_path, driver="kind")) == ""
    assert "makes every system anew" in shared_source.why_not(planned(tmp_path, driver="paper"))
    assert "in etcd is not made" in shared_source.why_not(planned(tmp_path, vault__storage="etcd"))


@pytest.mark.parametrize(
    "changes",
    [
        {"auth__kubernetes__configured": {"by": "1.7.0", "with-token-file": True}},
        {"auth__kubernetes__reviewer": "pod-token", "auth__kubernetes__configured": None},
    ],
    ids=["copied by itself", "stored by somebody"],
)
def test_what_holds_the_token_of_vaults_pod_is_written_by_each(changes: dict[str, Any], tmp_path: Path) -> None:
    """That Pod is replaced before each of them; what comes before the write is made once."""
    made = planned(tmp_path, **changes)
    before = shared_source.made_once(made)
    assert isinstance(before[0], Start)
    assert not any(isinstance(step, WriteConfig) for step in before)
    assert isinstance(made.steps[len(before)], WriteConfig)
    assert shared_source.why_not(made) == ""
    assert any(isinstance(step, WriteConfig) for step in shared_source.made_once(planned(tmp_path)))


def test_no_vault_serves_before_its_turn_that_would_ask_or_read_something_by_itself(tmp_path: Path) -> None:
    assert shared_source.waits_for_nobody(planned(tmp_path))
    reads: dict[str, Any] = {"vault__source": "1.9.3"}
    assert not shared_source.waits_for_nobody(planned(tmp_path, **reads))
    assert shared_source.waits_for_nobody(planned(tmp_path, **reads | {"vault__token-file": False}))
    keys = loading.load(SCENARIOS / "keys-that-vault-fetches-itself-are-missed-once-it-starts-anew.yaml")
    assert not shared_source.waits_for_nobody(plan.make(keys.scenario, keys.name, "local"))


@pytest.mark.processes
@pytest.mark.parametrize("with_certificates", [True, False], ids=["certificates of anybody", "no TLS"])
def test_a_vault_over_a_source_state_listens_as_the_one_before_it(with_certificates: bool, tmp_path: Path) -> None:
    name = "a-client-certificate-is-trusted-by-its-number-alone"
    shown = loading.load(SCENARIOS / f"{name}.yaml")
    made = plan.make(shown.scenario, name, "local") if with_certificates else planned(tmp_path, vault__tls=False)
    binaries: Any = {("etcd", "3.6.0"): SimpleNamespace(path=tmp_path)}
    nobody = cast("Any", None)
    data = tmp_path / "data"
    data.mkdir()
    with Ports(tmp_path / "ports") as ports:
        vaults = VaultNodes(tmp_path, made.resolved, ports, nobody, binaries)
        vaults.begin_with(data, None)
    listener = json.loads((tmp_path / "vault" / "vault.json").read_text())["listener"]
    assert "tls_require_and_verify_client_cert" not in json.dumps(listener)
    assert vaults.first.client.address.startswith("https:" if with_certificates else "http:")


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ({"revoke": {"cluster": "apps", "service-account": "apps/web"}}, "changes a cluster (revoke)"),
        ({"set-issuers": {"apps": ["https://new.example.com"]}}, "changes a cluster (set-issuers)"),
        ({"upgrade-kubernetes": {"apps": "1.32.0"}}, "changes a cluster (upgrade-kubernetes)"),
        ({"restart": {}}, ""),
        ({"rewrite": "kubernetes"}, ""),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_course_that_changes_clusters_is_begun_from_nothing(step: dict[str, Any], why: str, tmp_path: Path) -> None:
    course = [step, {"upgrade": "1.11.0"}]
    found = shared_source.why_not(planned(tmp_path, vault__target=None, course=course))
    assert why in found
    assert bool(why) == bool(found)


def test_a_source_state_is_no_older_than_a_sixth_of_a_life(tmp_path: Path) -> None:
    assert shared_source.good_seconds(planned(tmp_path)) == 600
    assert shared_source.good_seconds(planned(tmp_path, **{"apps__web__token-expires": "20m"})) == 200
    requested: dict[str, Any] = {
        "auth__kubernetes__configured": None,
        "auth__kubernetes__reviewer": "requested",
        "auth__kubernetes__reviewer-token-life": "15m",
    }
    assert shared_source.good_seconds(planned(tmp_path, **requested)) == 150


def cells(*names: str) -> list[Cell]:
    return [Cell(name, {}, "local", SCENARIO, ()) for name in names]


def test_whoever_has_had_a_group_gets_the_rest_of_it() -> None:
    told: dict[str, Sharing] = {}
    stopped: list[bool] = []
    before_others: list[str] = []
    ahead: dict[str, str] = {}

    def make(cell: Cell, sharing: Sharing, another_follows: bool, following: Cell | None) -> Task | None:
        told[cell.id] = sharing
        if following is not None:
            ahead[cell.id] = following.id
        if another_follows:
            before_others.append(cell.id)
        return None if cell.id == "b1" else Task(cell.id, Order("", "", "local", sharing=sharing))

    def taken(group: str) -> str:
        task = to_do.take(group)
        return task.name if task is not None else ""

    groups = {"a": cells("a1", "a2", "a3"), "b": cells("b1", "b2"), "c": cells("c1"), "d": cells("d1")}
    to_do = _ToDo(groups, make, lambda: bool(stopped))
    asked = ("", "", "a", "b", "c", "d", "a")
    assert [taken(group) for group in asked] == ["a1", "b2", "a2", "c1", "d1", "a3", ""]
    # b2 and a3 come to whoever had another group last
    assert told == {"a1": "more", "b1": "more", "b2": "", "a2": "more", "c1": "", "d1": "", "a3": ""}
    assert ahead == {"a1": "a2", "b1": "b2", "a2": "a3"}
    # soon after these comes one that begins from nothing
    assert before_others == ["b1", "b2", "a2", "c1", "d1"]
    to_do = _ToDo({"a": cells("a1", "a2")}, make, lambda: bool(stopped))
    assert next(to_do).group == "a"
    stopped.append(True)
    assert list(to_do) == []


def binaries(planned: Plan) -> Any:
    """Return the binaries of a plan, each by what it is called for."""
    return {pair: SimpleNamespace(sha256=" ".join(pair)) for pair in planned.artifacts}


def fitting(tmp_path: Path, **changes: Any) -> bytes:
    made = planned(tmp_path, **changes)
    return fit(made, binaries(made))


def test_a_new_vault_serves_whoever_begins_with_one_like_it(tmp_path: Path) -> None:
    """Whatever comes after its unseal: who reviews, where it goes, what apps read."""
    one = fitting(tmp_path)
    alike: list[dict[str, Any]] = [
        {"vault__target": "1.9.2"},
        {"apps__web__may-review-tokens": False},
        {"apps__web__reads": ["secret/other"]},
        {"auth__kubernetes__configured": {"by": "1.4.0", "with-token-file": True}, "vault__via": ["1.9.2"]},
    ]
    assert one
    assert {fitting(tmp_path, **changes) for changes in alike} == {one}
    others: list[dict[str, Any]] = [
        {"auth__kubernetes__configured": None},
        {"auth__kubernetes__configured": {"by": "1.4.0", "with-token-file": False}},
        {"vault__storage": "file"},
        {"vault__service-account": "vault/another"},
    ]
    assert len({one, *(fitting(tmp_path, **changes) for changes in others)}) == len(others) + 1
    made = planned(tmp_path)
    mine = {pair: SimpleNamespace(sha256="another build") for pair in made.artifacts}
    assert fit(made, cast("Any", mine)) not in (one, b"")


@pytest.mark.parametrize(
    "changes",
    [
        {"auth__kubernetes__configured": None, "vault__source": "1.9.3"},
        {"vault__tls": False},
        {"vault__storage": "postgresql"},
    ],
    ids=["it would read the token of its Pod", "its listener changes", "its storage stands beside it"],
)
def test_some_make_their_vault_themselves(changes: dict[str, Any], tmp_path: Path) -> None:
    assert fitting(tmp_path, **changes) == b""


class New:
    """A new Vault that is there for the next rehearsal."""

    def __init__(self, fits: bytes, *, serves: bool = True, api_port: int = 6443) -> None:
        self.fit, self.api_port, self.taken, self.ended = fits, api_port, False, False
        self._serves = serves

    def ready(self) -> bool:
        return self._serves

    def end(self, _error: object) -> None:
        self.ended = True


@pytest.mark.parametrize("case", ["fits", "another", "does not serve", "another port", "taken"])
def test_a_new_vault_that_is_of_no_use_is_ended_at_once(case: str, tmp_path: Path) -> None:
    made, clusters = planned(tmp_path), SharedClusters(tmp_path, tmp_path)
    plane = SimpleNamespace(port=6443, died=lambda: None)
    clusters._planes["platform", "etcd", "kube-apiserver"] = cast("Any", plane)
    new = New(
        b"another" if case == "another" else fit(made, binaries(made)),
        serves=case != "does not serve",
        api_port=1 if case == "another port" else 6443,
    )
    new.taken = case == "taken"
    clusters._new = cast("Any", new)
    found = clusters.new(made, binaries(made))
    assert (found is cast("Any", new), new.ended) == (case == "fits", case not in ("fits", "taken"))


def test_a_new_vault_is_made_only_where_another_rehearsal_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []

    def make(_plan: object, api_port: int, *_rest: object) -> New:
        begun.append(api_port)
        return New(b"")

    monkeypatch.setattr(shared_clusters, "NewVault", make)
    made, clusters = planned(tmp_path), SharedClusters(tmp_path, tmp_path)
    clusters.make_new(made, binaries(made))
    clusters.another_follows = True
    clusters.make_new(made, binaries(made))
    assert begun == [], "the port of its cluster is not known yet"
    clusters._planes["platform", "etcd", "kube-apiserver"] = cast("Any", SimpleNamespace(port=6443))
    clusters.make_new(made, binaries(made))
    clusters.make_new(made, binaries(made))
    assert begun == [6443], "and one is enough"


SERVED = Serve(version="1.7.0", token_file=True)
NOTHING = Source(events=(), mounted={}, credentials={}, keys={}, signer=None)


def kept(data: Path, plane: object) -> KeptVault[ControlPlane]:
    return KeptVault(
        key="one",
        run="run-1",
        made=now(),
        good_seconds=600,
        waits_for_nobody=True,
        source=NOTHING,
        topology=planned(data.parent).resolved,
        serving=SERVED,
        data=str(data),
        drop=partial(shutil.rmtree, data),
        root=None,
        tokens={},
        planes={"main": cast("Any", plane)},
        there={"main": frozenset()},
        own={},
        home=None,
        secrets=Secrets(),
    )


def silent() -> frozenset[tuple[str, ...]]:
    raise Unreachable("the API server gave no answer for what is there")


@pytest.mark.parametrize("ended", ["etcd of main has ended", ""], ids=["ended", "silent"])
def test_a_source_state_whose_cluster_is_lost_is_dropped_and_costs_no_cell(ended: str, tmp_path: Path) -> None:
    plane = SimpleNamespace(name="main", died=lambda: ended or None, kube=SimpleNamespace(inventory=silent))
    clusters, data = SharedClusters(tmp_path, tmp_path), tmp_path / "data"
    data.mkdir()
    clusters.keep(kept(data, plane))
    assert clusters.kept("another") == (None, "")
    found, why = clusters.kept("one")
    assert found is None
    assert why == (ended or "the API server gave no answer for what is there")
    assert not data.exists()
    assert clusters.kept("one") == (None, "")


def test_on_kind_without_room_for_a_copy_nothing_is_kept_and_vault_is_opened_again(tmp_path: Path) -> None:
    """Sealed as it is, for its keys come next; and no half of a volume stays."""
    done: list[object] = []

    def full(volume: str, labels: object) -> str:
        done.append(labels)
        raise RigError("no space left on device")

    engine = SimpleNamespace(remove=lambda thing: done.append(thing.kind))
    bench = SimpleNamespace(name="rehearse-1", labels={"of": "the clusters"}, engine=engine)
    made = planned(tmp_path, driver="kind")
    rig = SimpleNamespace(
        _lender=SimpleNamespace(bench=bench, keep=done.append),
        _shared=made,
        _topology=made.resolved,
        _server=SimpleNamespace(copy_data=full),
        _vault=SimpleNamespace(client=SimpleNamespace(seal=lambda: done.append("sealed"))),
    )
    rig._copied = lambda *lender, **how: KindSharing._copied(cast("Any", rig), *lender, **how)
    assert KindSharing.keep_source(cast("Any", rig), NOTHING, SERVED), "it is sealed"
    assert done == ["sealed", {"of": "the clusters"}, "volume"]
    assert rig._shared is None


@pytest.mark.parametrize(("sharing", "begun"), [("more", True), ("last", True), ("", False)])
def test_what_is_kept_on_kind_goes_before_the_clusters_are_emptied(sharing: str, begun: bool, tmp_path: Path) -> None:
    """Whoever does not begin from it empties them: another cell, or the same version before an upgrade."""
    plane = SimpleNamespace(name="main", died=lambda: None, kube=SimpleNamespace(inventory=frozenset))
    clusters, data = SharedKindClusters(tmp_path, tmp_path), tmp_path / "data"
    data.mkdir()
    made = planned(tmp_path, driver="kind")
    mine = replace(cast("KeptVault[Any]", kept(data, plane)), key=shared_source.key(made))
    clusters.keep(mine)
    driver = SimpleNamespace(_clusters=clusters, _sharing=sharing)
    found = KindDriver._kept(cast("Any", driver), made, cast("Any", None))
    assert (found is mine, data.exists(), clusters.keeps_source) == (begun, begun, begun)


@pytest.mark.parametrize(("storage", "stopped"), [("raft", False), ("file", True)])
def test_without_room_for_a_copy_nothing_is_kept_and_vault_serves_on(
    storage: str, stopped: bool, tmp_path: Path
) -> None:
    """Over raft it is not stopped for the copy, over plain files it is."""
    done: list[object] = []

    def full(target: Path) -> None:
        target.mkdir()
        (target / "half").touch()
        raise OSError(28, "No space left on device")

    place = tmp_path / "vault-1"
    lender = SimpleNamespace(room=lambda: place, keep=done.append)
    copies = {"copy_data_as_it_runs": None, "copy_data": full} if stopped else {"copy_data_as_it_runs": full}
    server = SimpleNamespace(stop=lambda: done.append("stopped"), **copies)
    topology = SimpleNamespace(vault=SimpleNamespace(storage=storage))
    rig = SimpleNamespace(
        _lender=lender,
        _shared=planned(tmp_path),
        _server=server,
        _topology=topology,
        _start_vault=done.append,
    )
    assert LocalSharing.keep_source(cast("Any", rig), NOTHING, SERVED) is stopped
    assert done == (["stopped", SERVED] if stopped else [])
    assert rig._shared is None
    assert not place.exists()


class Pod:
    """A Vault in a Pod that comes to serve, or does not."""

    def __init__(self, health: int, done: list[str]) -> None:
        self._done, self._ended = done, health != 200
        self.client = SimpleNamespace(unseal=done.append, health=lambda: SimpleNamespace(status=health))

    def begin_with(self, data: str, _root: object) -> None:
        self._done.append(f"over {Path(data).name}")

    def take_place(self) -> None:
        self._done.append("in place")

    def roll_out(self, version: str, image: str, *, token_file: bool) -> str:
        self._done.append(f"{version} of {image}, token file: {token_file}")
        return "pod"

    def given_up(self) -> str | None:
        return "it has ended" if self._ended else None

    def leave_at_once(self) -> None:
        self._done.append("left")


@pytest.mark.parametrize("health", [200, 503], ids=["serves", "ends"])
def test_on_kind_a_vault_comes_to_serve_beside_the_rehearsal_before_its_own(health: int, tmp_path: Path) -> None:
    """In the place of one that has left. One that does not serve leaves, and is made by whoever begins."""
    data, place, done = tmp_path / "data", tmp_path / "place", list[str]()
    place.mkdir()
    keys = {"": ("a key",)}
    source = cast("Any", SimpleNamespace(keys=keys, events=()))
    mine = replace(cast("KeptVault[Any]", kept(data, None)), source=source)
    cluster, pod = SimpleNamespace(mark="a mark"), Pod(health, done)
    ready = ReadyPod(mine, cast("Any", cluster), lambda: cast("Any", pod), "an image", place)
    assert cast("Any", ready.ready()) is (pod if health == 200 else None)
    served = f"{SERVED.version} of an image, token file: {SERVED.token_file}"
    assert done == ["over data", "in place", served, "a key", *(["left"] if health != 200 else [])]
    ready.end()
    assert not place.exists()


@pytest.mark.parametrize(
    ("follows", "waits_for_nobody", "there"),
    [(False, True, True), (True, False, True), (True, True, False)],
    ids=["nobody follows", "it would ask a cluster", "no source state is kept"],
)
def test_on_kind_no_vault_is_made_ready_for_nobody(
    follows: bool, waits_for_nobody: bool, there: bool, tmp_path: Path
) -> None:
    clusters = SharedKindClusters(tmp_path, tmp_path)
    mine = cast("KeptVault[Any]", replace(kept(tmp_path / "data", None), waits_for_nobody=waits_for_nobody))
    if there:
        clusters.keep(mine)
    clusters.ahead = [("vault-image", "1.11.0")] if follows else []
    clusters.make_ready(cast("Any", None), cast("Any", None), str, Turn("vault-2", 8204, 20_001))
    assert clusters.ready(mine) is None


def rig_on_kind(name: str, lender: object, disks: dict[str, object] | None = None, ports: int = 6) -> KindRig:
    """A rig of which only that is there which says where its Vault may go on; *name* is that of its Vault."""
    rig = object.__new__(KindRig)
    rig._server = rig._vault = object.__new__(VaultPod)
    rig._server._name, rig._server.namespace = name, "vault"
    rig._home = cast("Any", SimpleNamespace(cluster="platform"))
    rig._unsealer = None
    rig._lender, rig._disks = cast("Any", lender), cast("Any", disks or {})
    rig._vault_ports = {"platform": tuple(range(21_001, 21_001 + ports))}
    return rig


@pytest.mark.parametrize(
    ("name", "lender", "disks", "ports", "goes_on"),
    [
        ("vault", None, {}, 6, Turn("vault-2", 8204, 21_006)),
        ("vault-2", None, {}, 6, Turn("vault", 8200, 21_001)),
        ("vault", SimpleNamespace(keeps_source=False), {}, 6, Turn("vault-2", 8204, 21_006)),
        ("vault", SimpleNamespace(keeps_source=True), {}, 6, None),
        ("vault", None, {"platform": object()}, 6, None),
        ("vault", None, {}, 5, None),
    ],
    ids=[
        "alone",
        "by turns",
        "nobody has it",
        "another rehearsal has it",
        "audit files",
        "a cluster of an older release",
    ],
)
def test_a_vault_that_need_not_be_waited_for_goes_on_where_nobody_is(
    name: str,
    lender: object,
    disks: dict[str, object],
    ports: int,
    goes_on: Turn | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[object] = []
    monkeypatch.setattr(VaultPod, "go_on_as", lambda _, at: told.append(at))
    monkeypatch.setattr(VaultPod, "end_abruptly", lambda _: told.append(None))
    rig_on_kind(name, lender, disks, ports)._kill_vault()
    assert told == [goes_on]


def test_a_record_has_no_log_of_the_vault_of_another_rehearsal() -> None:
    assert rig_on_kind("vault-2", SimpleNamespace(keeps_source=True)).of_others == [("vault", "vault-0")]
    assert rig_on_kind("vault-2", SimpleNamespace(keeps_source=False)).of_others == (), "nobody begins from this one"
    assert rig_on_kind("vault", None).of_others == (), "in a cluster of its own there is none"
