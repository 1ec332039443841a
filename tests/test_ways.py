"""The ways from apps to a Vault of several nodes: what can be said, where requests go, what a load balancer does."""

from __future__ import annotations

import http.server
import json
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from harness.analysis import verdict
from harness.analysis.rolling import Gap, Rolling
from harness.artifacts.store import Sources, Store
from harness.cli.commands import main
from harness.clients import haproxy, packaged
from harness.clients.vault import Vault
from harness.drivers import vault_config
from harness.drivers.kind import limits
from harness.drivers.local.driver import LocalDriver
from harness.errors import MissingPrerequisite, ScenarioError
from harness.host import pki
from harness.maintenance import packages
from harness.record.journal import Journal, Record
from harness.record.observation import Observation
from harness.rehearsal import ways
from harness.reports import plan as plans
from harness.reports.nodes import told
from harness.rig.rig import Reply
from harness.scenario import loading, plan
from harness.scenario.loading import Loaded
from harness.scenario.schema_ways import MaybeThrough
from harness.wait import until
from tests.runs import SCENARIOS, on_paper, variant

FILE = SCENARIOS / "logins-go-through-the-leader-a-standby-and-a-load-balancer.yaml"


def changed(*pairs: tuple[str, str]) -> Loaded:
    """Load the shipped scenario with texts in it replaced."""
    text = FILE.read_text("utf-8")
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return loading.loads(text, FILE.name)


# --- what can be said ---


@pytest.mark.parametrize(
    ("pairs", "complaint"),
    [
        ((("  nodes: 3\n", ""),), "there is one node, and none that stands by and forwards"),
        ((("through: standby", "through: proxy"),), "'leader', 'standby' or 'load-balancer'|one of"),
        ((("through: standby", "through: standby, node: vault-1"),), "an app that names its node asks that one alone"),
        ((("through: standby", "through: standby, agent: 1.11.0"),), "would not go the way of its app"),
    ],
)
def test_a_way_that_cannot_be_is_refused_where_it_stands(pairs: tuple[tuple[str, str], ...], complaint: str) -> None:
    with pytest.raises(ScenarioError, match=complaint):
        changed(*pairs)


def test_kind_has_every_way_and_takes_haproxy_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded, without = changed(), changed(("through: load-balancer", "through: standby"))
    limits.insist(plan.make(loaded.scenario, loaded.name, "kind"))
    monkeypatch.setattr(packaged, "PLACES", (str(tmp_path),))
    limits.insist(plan.make(without.scenario, without.name, "kind"))
    with pytest.raises(MissingPrerequisite, match="Debian's package haproxy"):
        limits.insist(plan.make(loaded.scenario, loaded.name, "kind"))


def test_without_haproxy_it_is_told_beforehand_and_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packaged, "PLACES", (str(tmp_path),))
    said = CliRunner().invoke(main, ["validate", str(FILE)])
    assert (said.exit_code, "but there is no HAProxy here" in said.output) == (0, True)
    assert "install Debian's package haproxy (apt-get install haproxy)" in said.output
    said = CliRunner().invoke(main, ["plan", str(FILE)])
    assert "desk: asks through a load balancer, which is HAProxy (Debian: haproxy)" in said.output
    assert "but there is no HAProxy here" in said.output
    (line,) = (line for line in packages.examine() if line.name == "HAProxy")
    assert (line.state, line.mend) == ("note", "install Debian's package haproxy (apt-get install haproxy)")

    loaded = changed()
    driver = LocalDriver(Store(Sources(tmp_path), print), tmp_path, tmp_path, force=True)
    with (
        Journal.opened(tmp_path / "record") as journal,
        pytest.raises(MissingPrerequisite, match="Debian's package haproxy"),
        driver.up(plan.make(loaded.scenario, loaded.name, "local"), "run", journal),
    ):
        pass


def test_a_plan_says_which_way_each_app_takes() -> None:
    loaded = changed()
    lines = plans.render(plan.make(loaded.scenario, loaded.name, "local")).splitlines()
    assert {"web: asks through the node that leads", "shop: asks through a node that stands by"} <= set(lines)
    direct = changed(("through: load-balancer", "through: leader")).scenario
    assert not [*packages.lacking(plan.make(direct, "x", "local").resolved)]


# --- where requests go ---


def test_each_answer_says_which_node_was_asked(tmp_path: Path) -> None:
    """And a login that may have been forwarded, what the node that leads said to the same at once."""
    _, judgement = on_paper(changed().scenario, tmp_path)
    assert judgement.verdict == "pass"
    logins = {(one.moment, one.app): one for one in judgement.observations if one.probe == "login"}
    asked = {key: (one.through, one.asked_of, one.at_leader, one.version) for key, one in logins.items()}
    halfway = "halfway to 1.11.0"
    assert asked[halfway, "web"] == ("leader", "vault-0", "", "1.9.2")
    assert asked[halfway, "shop"] == ("standby", "vault-1", "granted 200", "1.9.2")
    assert asked[halfway, "desk"] == ("load-balancer", "", "granted 200", "1.9.2")
    assert asked["after 1.11.0", "shop"][:2] == ("standby", "vault-0")
    of_apps = [one for one in judgement.observations if one.app == "shop" and one.blocked_by is None]
    assert {one.through for one in of_apps} == {"standby"}
    assert "vault-0" not in {one.asked_of for one in of_apps if one.moment == "before"}
    assert all(not one.through for one in judgement.observations if not one.app)


def test_a_login_that_the_leader_answers_otherwise_is_a_finding_of_the_node(tmp_path: Path) -> None:
    """Whatever the reason: without one it is unexplained; the shipped scenario has the one that is known."""
    record, _ = on_paper(changed().scenario, tmp_path)
    events = [
        msgspec.structs.replace(one, at_leader="refused 403")
        if isinstance(one, Observation) and one.app == "shop" and one.at_leader and one.moment.startswith("halfway")
        else one
        for one in record.events
    ]
    judgement = verdict.judge(Record(events, str(tmp_path)))
    (found,) = judgement.findings
    assert (found.kind, found.effect, found.rule, found.app, found.node) == (
        "regression", "answered otherwise", "unexplained", "shop", "vault-1",
    )  # fmt: skip
    assert "the node that leads refused the same login at once (HTTP 403)" in found.sentence
    assert found.moment == "halfway to 1.11.0"


def test_a_standby_that_gives_no_answer_at_all_is_not_said_to_forward_nothing(tmp_path: Path) -> None:
    """It may be slow, or away: that it hands on no request it would have to say itself."""
    record, _ = on_paper(changed().scenario, tmp_path)
    events = [
        msgspec.structs.replace(one, answer="unknown", status=None, error="no answer within 30 s")
        if isinstance(one, Observation) and one.app == "shop" and one.at_leader and one.moment.startswith("halfway")
        else one
        for one in record.events
    ]
    (found,) = verdict.judge(Record(events, str(tmp_path))).findings
    assert (found.rule, found.effect, found.confidence) == ("unexplained", "answered otherwise", "none")


def test_from_1_19_on_a_removed_node_seals_itself_and_another_one_is_asked(tmp_path: Path) -> None:
    loaded = loading.load(SCENARIOS / "a-standby-that-was-removed-forwards-nothing-once-another-node-leads.yaml")
    newer = variant(loaded.scenario, vault={"source": "1.19.0"}, expect=None)
    _, judgement = on_paper(newer, tmp_path)
    asked = [one.asked_of for one in judgement.observations if one.probe == "login" and one.app == "shop"]
    assert (asked, [one.rule for one in judgement.findings]) == (["vault-1", "vault-2", "vault-0"], ["node-removed"])


class States:
    """A Vault whose nodes say what they are told to say."""

    def __init__(self, **states: int | None) -> None:
        self.states = {name.replace("_", "-"): status for name, status in states.items()}

    def system(self, _vault: str = "") -> States:
        return self

    @property
    def nodes(self) -> dict[str, Any]:
        return {name: Node(status) for name, status in self.states.items()}


class Node:
    def __init__(self, status: int | None) -> None:
        self._status, self.vault = status, self

    def health(self) -> Reply:
        return Reply(self._status)


def test_whoever_asks_a_standby_stays_with_it_for_as_long_as_it_stands_by() -> None:
    rig: Any = States(vault_0=200, vault_1=429, vault_2=429)
    kept: ways.Kept = {}

    def standby() -> str:
        return ways.of(rig, "", "standby", kept).node

    assert (standby(), ways.of(rig, "", "leader", kept).node) == ("vault-1", "vault-0")
    rig.states["vault-1"] = None
    assert standby() == "vault-2"
    rig.states |= {"vault-1": 429, "vault-0": 429}
    assert standby() == "vault-2"
    rig.states |= {"vault-2": 200, "vault-0": 503, "vault-1": None}
    assert standby() in ("vault-0", "vault-1")


def test_the_gaps_of_each_way_are_told_by_themselves() -> None:
    def gap(app: str, seconds: float, failures: dict[str, int], through: MaybeThrough = "", *gaps: float) -> Gap:
        return Gap(
            kind="login", app=app, asked=9, failures=failures, seconds=seconds, during="", through=through, gaps=gaps
        )

    gaps = (
        gap("web", 0.2, {}),
        gap("shop", 1.7, {"HTTP 307": 2}, "standby", 1.7, 0.6),
        gap("desk", 2.6, {"HTTP 503": 6}, "load-balancer", 2.6),
    )
    rolling = Rolling(
        do="upgrade", step=1, from_version="1.9.2", version="1.11.0", order=(), leader="vault-0", leads=(), gaps=gaps,
        voters=3, tolerance=None,
    )  # fmt: skip
    lines = dict(told([rolling]))
    assert lines["gaps"] == "longest without an answer: login 0.2 s (all 9 granted); each asked every 0.1 s"
    assert lines["ways"] == (
        "longest without an answer: login at a standby 1.7 s, 2 times (2 of 9 failed: HTTP 307 2), login through "
        "the load balancer 2.6 s (6 of 9 failed: HTTP 503 6)"
    )


def test_other_nodes_are_listened_to_where_they_were_told_to_ask() -> None:
    """The port beside that for clients may be somebody else's."""
    said = vault_config.text(
        {"raft": {}}, listen="127.0.0.1:22518", tls=None, address="http://127.0.0.1:22518",
        cluster_address="https://127.0.0.1:22521", listen_to_nodes="127.0.0.1:22521",
    )  # fmt: skip
    assert json.loads(said)["listener"]["tcp"]["cluster_address"] == "127.0.0.1:22521"


# --- HAProxy itself ---


@contextmanager
def node(authority: pki.Authority, status: int) -> Iterator[int]:
    """Yield the port of a server that says *status* of its health, and 204 to everything else."""

    class Said(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path.startswith("/v1/sys/health") else 204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Said)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.ca)
    context.load_cert_chain(authority.certificate, authority.key)
    context.verify_mode = ssl.CERT_REQUIRED
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.real
def test_a_load_balancer_hands_requests_to_the_active_node_alone(tmp_path: Path) -> None:
    """Whatever else a node says of its health, it gets none: 429 a standby, 473 and 472, 501, 503 sealed."""
    authority = pki.Authority(tmp_path, "127.0.0.1", client=True)
    pems = {name: tmp_path / f"{name}.pem" for name in ("server", "client")}
    pki.write_private(pems["server"], authority.certificate.read_bytes() + authority.key.read_bytes())
    pki.write_private(pems["client"], b"".join(file.read_bytes() for file in authority.client))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    codes = {"vault-0": 429, "vault-1": 200, "vault-2": 473, "vault-3": 472, "vault-4": 501, "vault-5": 503}
    with nodes(authority, codes) as there:
        text = haproxy.config(port, there, ca=authority.ca, certificate=pems["server"], client=pems["client"])
        (tmp_path / "haproxy.cfg").write_text(text)
        words = haproxy.command(tmp_path / "haproxy.cfg")
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                ours = Vault(f"https://127.0.0.1:{port}", authority.ca, certificate=authority.client)
                strange = Vault(f"https://127.0.0.1:{port}", authority.ca)

                def by() -> set[str]:
                    return {reply.by for reply in (ours.seal_status() for _ in range(3 * len(codes)))}

                until(lambda: ours.seal_status().answered(), what="HAProxy to listen", seconds=10)
                until(lambda: by() == {"vault-1"}, what="all others to be out", seconds=20)
                assert strange.seal_status().status is None
            finally:
                process.kill()


@contextmanager
def nodes(authority: pki.Authority, codes: dict[str, int]) -> Iterator[dict[str, str]]:
    """Yield where a server of each name says the status that it has there."""
    with ExitStack() as stack:
        ports = {name: stack.enter_context(node(authority, code)) for name, code in codes.items()}
        yield {name: f"127.0.0.1:{port}" for name, port in ports.items()}
