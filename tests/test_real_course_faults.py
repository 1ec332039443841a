"""What goes wrong in a step of a course with real servers: the right verdict, exit code and sentence, nothing left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest

from harness.clients.vault import Vault
from harness.drivers.local.vault_process import VaultServer
from harness.record import journal
from harness.record.events import MomentBegan, StepEnded
from harness.rehearsal import vault_steps
from harness.scenario.course import Look
from harness.secret import Secret
from tests import courses
from tests.test_faults import Ending, Town, own_ways, real_town, seen  # noqa: F401  # fixtures
from tests.test_real import ROOT, ours, rehearse, until_gone

pytestmark = pytest.mark.real


@pytest.fixture
def town(real_town: Town) -> Town:  # noqa: F811
    """A machine with the real servers, in which nothing may be left in the end."""
    return real_town


def going(town: Town, storage: str, *steps: dict[str, Any], place: str = "outside") -> Town:
    """Let the rehearsal be a course of *steps*."""
    courses.scenario(town.scenario, place, storage, steps=steps)
    return town


BACK: Final[tuple[dict[str, Any], ...]] = ({"snapshot": {}}, {"upgrade": "1.11.0"}, {"roll-back": "snapshot"})
WRONG = [Secret(f"{number:064x}" + "01") for number in range(5)]


def taken_by_somebody_else(usual: Callable[[Vault, Path], int]) -> Callable[[Vault, Path], int]:
    """Return *usual*, the taking of a snapshot, as done by somebody who has no right to."""

    def as_somebody_else(self: Vault, file: Path) -> int:
        self._tell("put", "sys/policies/acl/reader", {"policy": 'path "secret/*" { capabilities = ["read"] }'})
        made = self._ask("post", "auth/token/create", self.root, json={"policies": ["reader"]})
        assert made.token is not None
        self.root = made.token
        return usual(self, file)

    return as_somebody_else


def opened_with_wrong_keys(usual: Callable[..., None]) -> Callable[..., None]:
    """Return *usual*, the opening of a Vault, with keys that fit nothing where it is one over a snapshot."""

    def opened(rig: Any, served: Any, keys: Any, written: Any, *, which: str = "that opens this data") -> None:
        usual(rig, served, WRONG if "snapshot" in which else keys, written, which=which)

    return opened


# --- a snapshot that is refused ---------------------------------------------------------------------------------------


def test_a_snapshot_that_a_policy_forbids_leaves_the_way_back_unknown(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in production, where whoever takes snapshots may lack the right to: HTTP 403, and nobody knows."""
    monkeypatch.setattr(Vault, "take_snapshot", taken_by_somebody_else(Vault.take_snapshot))
    ending = going(town, "raft", *BACK).rehearse()
    assert ending.verdict == ("inconclusive", 4), ending.said
    assert ending.findings == []
    assert "no snapshot could be taken: Vault declined to take a snapshot: HTTP 403 1 error occurred" in ending.said
    assert "permission denied; so no way back over it was rehearsed; see what its log" in ending.said
    assert seen(ending, "before")["login"] == "granted"


def test_a_storage_that_has_no_snapshots_says_so(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked for one over its API, a Vault with file storage answers in its own words."""
    monkeypatch.setattr(VaultServer, "keep_data", lambda self: self.client.take_snapshot(self.directory / "it"))
    monkeypatch.setattr(Vault, "seal", lambda _self: None)
    ending = going(town, "file", *BACK).rehearse()
    assert ending.verdict == ("inconclusive", 4), ending.said
    assert "no snapshot could be taken: Vault declined to take a snapshot: HTTP 404" in ending.said
    assert "unsupported path" in ending.said


def test_a_snapshot_of_a_vault_that_is_sealed_is_not_now(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody sealed it meanwhile: 503 is no refusal, and nothing is said of the upgrade."""
    usual = Vault.take_snapshot

    def sealed(self: Vault, file: Path) -> int:
        self.seal()
        return usual(self, file)

    monkeypatch.setattr(Vault, "take_snapshot", sealed)
    ending = going(town, "raft", *BACK).rehearse()
    assert ending.verdict == ("inconclusive", 4), ending.said
    assert "no snapshot could be taken: Vault declined to take a snapshot: HTTP 503 Vault is sealed" in ending.said


@pytest.mark.parametrize("step", [{"restore": {}}, {"roll-back": "snapshot"}], ids=["restore", "roll-back"])
def test_a_snapshot_that_vault_will_not_restore_is_no_way_back(
    step: dict[str, Any], town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was kept is spoilt: Vault's words are the evidence, and the finding is at the step that went back."""
    usual = Vault.take_snapshot

    def spoilt(self: Vault, file: Path) -> int:
        size = usual(self, file)
        file.write_bytes(file.read_bytes()[: size // 2])
        return size

    monkeypatch.setattr(Vault, "take_snapshot", spoilt)
    ending = going(town, "raft", {"snapshot": {}}, {"upgrade": "1.11.0"}, step).rehearse()
    assert ending.verdict == ("fail", 1), ending.said
    to = "1.11.0" if "restore" in step else "1.7.0"
    assert ending.findings == [("vault-refuses-data", "roll-back refused", to)]
    assert f"Vault {to} did not serve over the data of the snapshot" in ending.said
    assert "Vault was handed the snapshot to restore, and declined it: HTTP " in ending.said
    assert f"the snapshot is no way back to {to}" in ending.judgement["findings"][0]["remedy"]
    assert [way["opened"] for way in ending.judgement["rollbacks"]] == ([] if "restore" in step else [False])
    assert all("declined it" in way["why"] for way in ending.judgement["rollbacks"])


@pytest.mark.parametrize(
    ("storage", "step"),
    [
        # not raft: a Vault that gets its own snapshot back is not sealed for it
        pytest.param("file", {"restore": {}}, id="file-restore"),
        pytest.param("file", {"roll-back": "snapshot"}, id="file-roll-back"),
        pytest.param("raft", {"roll-back": "snapshot"}, id="raft-roll-back"),
    ],
)
def test_unseal_keys_that_do_not_fit_the_snapshot_are_told_as_that(
    storage: str, step: dict[str, Any], town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where they were changed after it was taken, and only the new ones were kept."""
    monkeypatch.setattr(vault_steps, "open_vault", opened_with_wrong_keys(vault_steps.open_vault))
    ending = going(town, storage, {"snapshot": {}}, {"upgrade": "1.11.0"}, step).rehearse()
    assert ending.verdict == ("fail", 1), ending.said
    to = "1.11.0" if "restore" in step else "1.7.0"
    assert ending.findings == [("vault-refuses-data", "roll-back refused", to)]
    assert (
        "was handed an unseal key of the Vault of which the snapshot was taken, and declined it: HTTP " in ending.said
    )
    assert "unseal keys of its time" in ending.judgement["findings"][0]["remedy"]
    assert seen(ending, "after 1.11.0")["login"] == "granted"


# --- a disk that is full ----------------------------------------------------------------------------------------------

FULL = """
import os, sys
from pathlib import Path
from harness.__main__ import main
from harness.drivers.real_rig import RealRig

usual = RealRig.take_snapshot

def take_snapshot(self, again):
    with (Path(os.environ["TMPDIR"]) / "filler").open("wb", buffering=0) as file:
        size = 1 << 20
        while size:
            try:
                file.write(bytes(size))
            except OSError:
                size //= 2
    return usual(self, again)

RealRig.take_snapshot = take_snapshot
main()
"""


@pytest.mark.parametrize("storage", ["raft", "file"])
def test_a_disk_that_is_full_keeps_no_snapshot_and_is_named(storage: str, tmp_path: Path) -> None:
    """A work directory on a small file system: nothing is said of Vault, which may answer anything then."""
    file = courses.scenario(tmp_path / "course.yaml", "outside", storage, steps=BACK)
    (tmp_path / "small").mkdir()
    directory = tmp_path / f"full-{os.getpid()}-{storage}"
    own = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--user", "--map-root-user"])
    mount = f'mount -t tmpfs -o size=300m none {tmp_path}/small && exec "$@"'
    words = ["run", str(file), "--driver", "local", "-o", "json", "--run-dir", str(directory)]
    done = subprocess.run(
        [*own, "sh", "-c", mount, "sh", sys.executable, "-c", FULL, *words],
        env={**os.environ, "TMPDIR": f"{tmp_path}/small", "REHEARSE_MEMORY": "off"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    ending = Ending(done.returncode, done.stdout, done.stderr)
    assert ending.verdict == ("inconclusive", 4), ending.said
    assert ending.findings == []
    assert "snapshot 1.7.0: no snapshot could be taken: " in ending.said
    assert f"the disk of {tmp_path}/small/rehearse-" in ending.said
    assert "is full: make room, or name another TMPDIR, and run again" in ending.said
    assert seen(ending, "before")["login"] == "granted"
    assert not ours(directory)


# --- a kill in every step ---------------------------------------------------------------------------------------------

KILLED = """
import os, signal, sys, threading
from harness.__main__ import main
from harness.clients.kube import Kube
from harness.clients.vault import Vault
from harness.drivers.real_rig import RealRig
from harness.host.process import Process
from harness.rehearsal.rehearsal import Running
from harness.scenario import course

word, in_proof = sys.argv.pop(1), sys.argv.pop(1) == "in a proof"
armed = threading.Event()

def deadly(usual):
    def act(*words, **more):
        try:
            return usual(*words, **more)
        finally:
            if armed.is_set():
                os.kill(os.getpid(), signal.SIGKILL)
    return act

for kind, names in ((Vault, ["_send"]), (Kube, ["_ask", "_done"]), (Process, ["stop"])):
    for name in names:
        setattr(kind, name, deadly(getattr(kind, name)))

usual_do = Running.do

def do(self, step):
    looked = any(isinstance(one, course.Look) for one in self.reached)
    # what is foretold is rehearsed on paper before anything begins
    mine = isinstance(self.rig, RealRig) and in_proof == (self.journal.directory.parent.name == "proofs")
    if looked and mine and course.word_of(step) == word:
        armed.set()
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGKILL)).start()  # where nobody is asked for anything
    usual_do(self, step)

Running.do = do
main()
"""
"""A rehearsal that is killed in the first step of a kind after its first look, once somebody has answered in it.

Its first word is that of the step, and its second says whether the run is meant, or the first proof that has the step.
"""
IN_THE_RUN, IN_A_PROOF = "in the run", "in a proof"

STEPS = [
    ("upgrade", "raft", [{"upgrade": "1.11.0"}]),
    ("restart", "raft", [{"restart": {}}]),
    ("restart", "file", [{"replace-pod": "vault"}]),
    ("write-config", "raft", [{"write": {"config": {"disable_local_ca_jwt": True}}}]),
    ("write-role", "raft", [{"write": {"role": "web", "policies": ["web"]}}]),
    ("grant", "raft", [{"grant": courses.WEB}]),
    ("revoke", "raft", [{"revoke": courses.WEB}]),
    ("delete-secret", "raft", [{"write": {"reviewer": "secret"}}, {"delete-secret": {"reviewer": "kubernetes"}}]),
    ("snapshot", "raft", [{"snapshot": {}}]),
    ("snapshot", "file", [{"snapshot": {}}]),
    ("restore", "raft", [{"snapshot": {}}, {"restore": {}}]),
    ("restore", "file", [{"snapshot": {}}, {"restore": {}}]),
    ("write-late", "raft", [{"upgrade": "1.11.0"}, {"roll-back": "binary"}]),
    ("roll-back", "raft", [{"upgrade": "1.11.0"}, {"roll-back": "binary"}]),
    ("roll-back", "file", list(BACK)),
    ("wait", "raft", [{"wait": "30s"}]),
    ("look", "raft", [{"look": {}}]),
]


@pytest.mark.parametrize(("word", "storage", "steps"), STEPS, ids=[f"{word}-{on}" for word, on, _ in STEPS])
def test_a_kill_in_any_step_leaves_nothing(
    word: str, storage: str, steps: list[dict[str, Any]], tmp_path: Path
) -> None:
    """SIGKILL of the harness in the middle of it: no process, no file, and a record that can be judged."""
    file = courses.scenario(tmp_path / "course.yaml", "inside", storage, steps=steps)
    directory = tmp_path / f"killed-{os.getpid()}-{word}-{storage}"
    words = [word, IN_THE_RUN, "run", str(file), "--driver", "local", "--run-dir", str(directory)]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *words], cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    record = journal.load(directory)
    assert record.of(MomentBegan)[0].moment == "before"
    assert word not in [one.do for one in record.of(StepEnded) if one.position > _first_look(record)]
    until_gone(directory)
    judged = rehearse("judge", directory, "-o", "json")
    assert (judged.returncode, json.loads(judged.stdout)["verdict"]) == (4, "inconclusive")
    assert any("cut off" in reason for reason in json.loads(judged.stdout)["reasons"])


def _first_look(record: journal.Record) -> int:
    return next(place for place, step in enumerate(record.started.plan.steps) if isinstance(step, Look))
