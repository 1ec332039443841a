"""A snapshot of somebody's own Vault: restored, upgraded, and nobody else any the wiser."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import settings, wait
from harness.analysis import drills
from harness.analysis.drills import Drill, Opened
from harness.drivers.local.vault_process import VaultServer
from harness.errors import SwapRefused
from harness.host.ports import Ports
from harness.host.process import Supervisor
from harness.reports import drill as report
from harness.session import drill as session
from harness.session.one_rehearsal import Options, Places, store_of
from tests.runs import signalled
from tests.test_real import REHEARSE


def seen(*opened: Opened, refused: str = "", way_out: str = "") -> Drill:
    return Drill(
        path=("1.9.3", "1.11.0"),
        snapshot="own.snap",
        bytes=13877,
        opened=opened,
        refused=refused,
        refused_at=("1.9.3", "1.11.0")[len(opened)] if refused else "",
        reached_out={"10.0.0.5:5432": 3},
        way_out=way_out,
        artifacts={},
    )


def of(version: str, policies: int = 7, **more: Any) -> Opened:
    counts = {"policies": policies, "entities": 2, "token accessors": 4 if version == "1.9.3" else 3}
    return Opened(version=version, answered=version, seconds=1.0, counts=counts, **more)


@pytest.mark.parametrize(
    ("drill", "verdict", "code", "words"),
    [
        (seen(of("1.9.3"), of("1.11.0")), "pass", 0, "tried to reach 10.0.0.5:5432, 3 times"),
        (seen(of("1.9.3"), of("1.11.0", 6)), "fail", 1, "1.11.0 lists 6 policies, and 1.9.3 listed 7"),
        (seen(of("1.9.3"), refused="it panicked"), "fail", 1, "1.11.0 was not opened over the data: it panicked"),
        (seen(refused="other keys"), "inconclusive", 4, "not opened by 1.9.3, which it comes from: other keys"),
        (
            seen(of("1.9.3"), of("1.11.0", not_counted="groups")),
            "inconclusive",
            4,
            "not everything was counted on 1.11.0",
        ),
        (seen(of("1.9.3"), of("1.11.0"), way_out="there is a route"), "pass", 0, "egress was open: there is a route"),
    ],
)
def test_what_a_drill_means(drill: Drill, verdict: str, code: int, words: str) -> None:
    result = drills.judge(drill)
    assert (result.verdict, result.exit_code) == (verdict, code)
    assert words in report.as_text(drill, result)
    assert json.loads(report.as_json(drill, result))["exit_code"] == code


def test_a_vault_that_is_unsealed_and_seals_itself_is_not_waited_for() -> None:
    """As 1.9.3 wrote it, whose audit device had a path that nobody could open."""
    failed = '{"@level":"error","@message":"post-unseal setup failed","error":"failed to setup audit table"}'
    why = '{"@level":"error","@message":"failed to create audit entry","error":"open /vault/audit.log: denied"}'
    once, again = [why, failed], [why, failed, why, failed]
    assert not session._gave_up(SimpleNamespace(tail=lambda _lines: once), "1.9.3")  # type: ignore[arg-type]
    with pytest.raises(SwapRefused, match=r"again and again: open /vault/audit.log: denied; failed to setup"):
        session._gave_up(SimpleNamespace(tail=lambda _lines: again), "1.9.3")  # type: ignore[arg-type]


@pytest.mark.processes
def test_a_closed_network_reaches_nobody_and_itself() -> None:
    program = (
        "import socket; from harness.host import closed_network as network; assert network.way_out(); network.close();"
        "assert network.way_out() == '', network.way_out(); heard = socket.create_server(('127.0.0.1', 0));"
        "socket.create_connection(heard.getsockname()).close(); print('closed')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    assert (done.stdout, done.stderr) == ("closed\n", "")


@pytest.mark.processes
def test_a_drill_without_keys_is_refused_before_anything_else(tmp_path: Path) -> None:
    (tmp_path / "own.snap").touch()
    asked = [*REHEARSE, "drill", "--snapshot", str(tmp_path / "own.snap"), "--source", "1.9.3", "--target", "1.11.0"]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "there are no unseal keys: --keys-fd N, or REHEARSE_UNSEAL_KEYS in the environment" in done.stderr


def snapshot_of(version: str, file: Path, audit: Path) -> str:
    """Have a real Vault write a snapshot of itself into *file*; return its unseal keys, one a line."""
    places = Places(settings.cache(), settings.state(), settings.temporary(), dict(settings.environment()))
    (binary,) = store_of(Options(), places, print).get_all([("vault", version)])
    run = f"drilled-{os.getpid()}"
    live = settings.private_state(places.state, "live")
    with (
        Ports(settings.private_state(places.state, "ports")) as ports,
        Supervisor(run, places.temporary / f"rehearse-{run}", live) as supervisor,
    ):
        port, cluster_port = ports.take(2)
        server = VaultServer(supervisor.room / "vault", storage="raft", port=port, cluster_port=cluster_port)
        server.start(supervisor, binary.path, version)
        vault = server.client
        keys = vault.initialise(5, 3)[:3]
        for key in keys:
            vault.unseal(key)
        wait.until(lambda: vault.health().status == 200, what="it to be active", seconds=30)
        vault.write_policy("mine", 'path "secret/*" { capabilities = ["read"] }')
        vault._tell("put", "sys/audit/file", {"type": "file", "options": {"file_path": str(audit)}})
        vault.take_snapshot(file)
    return "\n".join(key.reveal() for key in keys)


@pytest.mark.real
def test_a_snapshot_is_opened_by_each_version_and_touches_nothing(tmp_path: Path) -> None:
    """Its audit device has a path outside: there the copy writes nothing. And the keys are shown nowhere."""
    snapshot, audit = tmp_path / "own.snap", tmp_path / "audit.log"
    keys = snapshot_of("1.9.3", snapshot, audit)
    audit.unlink()
    words = ["drill", "--snapshot", str(snapshot), "--source", "1.9.3", "--target", "1.11.0", "-o", "json"]

    def drilled(given: str, *more: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "REHEARSE_UNSEAL_KEYS": given.replace("\n", " ")}
        return subprocess.run([*REHEARSE, *words, *more], capture_output=True, text=True, check=False, env=environment)

    done = drilled(keys)
    told = json.loads(done.stdout)
    assert (done.returncode, told["verdict"], told["reasons"], told["way_out"]) == (0, "pass", [], ""), done.stderr
    assert [one["version"] for one in told["opened"]] == ["1.9.3", "1.11.0"]
    assert {one["counts"]["policies"] for one in told["opened"]} == {3}
    assert not audit.exists()
    assert not any(key in done.stdout + done.stderr for key in keys.split())

    wrong = drilled(keys.replace("a", "b").replace("1", "2"))
    assert (wrong.returncode, json.loads(wrong.stdout)["verdict"]) == (4, "inconclusive")
    assert "declined an unseal key" in wrong.stdout

    others = snapshot_of("1.9.3", tmp_path / "others.snap", tmp_path / "others.log")
    stranger = drilled(others)
    assert (stranger.returncode, json.loads(stranger.stdout)["verdict"]) == (4, "inconclusive")
    assert "declined an unseal key" in stranger.stdout
    assert not any(key in stranger.stdout + stranger.stderr for key in others.split())

    tried = {**os.environ, "REHEARSE_UNSEAL_KEYS": keys.replace("\n", " "), "TMPDIR": str(tmp_path / "work")}
    (tmp_path / "work").mkdir()
    code, said = signalled(words, tried, "is restored into a new Vault", signal.SIGINT)
    assert (code, said.strip()) == (
        130,
        "interrupted; everything of this drill was ended, and the copy of your data is gone",
    )
    assert not list((tmp_path / "work").iterdir())

    nowhere = drilled("", "--keys-fd", "77")
    assert (nowhere.returncode, nowhere.stdout) == (2, "")
    assert "--keys-fd 77: no keys can be read there" in nowhere.stderr
