"""Who else is on this machine: nobody but the harness talks to a Vault that belongs to whoever is first."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from harness.clients.container_engine import reach
from harness.record import journal
from harness.record.events import Trouble, VaultServing
from harness.wait import until
from tests.test_real import rehearse

NOBODY = 65534
SCENARIO = """\
schema: 1
description: Somebody else on this machine wants to be the first whom the new Vault listens to.
clusters:
  apps: {{kubernetes: 1.32.0}}
vault: {{{where}tls: {tls}, storage: file, source: 1.4.0, target: 1.7.0}}
auth:
  kubernetes:
    cluster: apps
    configured: {{by: 1.4.0, with-token-file: false}}
    roles:
      web: {{service-accounts: [web], namespaces: [apps], policies: [web]}}
apps:
  web: {{cluster: apps, service-account: apps/web, role: web, may-review-tokens: true, reads: [secret/web]}}
"""

# Another user's program: it is at every port of a rehearsal from the moment it opens, with and without TLS, and asks
# what makes a Vault without an owner its own. What it wants from us are the ports' numbers: those of other rehearsals
# on this machine are none of its business.
STRANGER = """\
import http.client, json, os, ssl, sys, threading, time
anyone = ssl._create_unverified_context()
print(json.dumps({"uid": os.getuid()}), flush=True)

def neighbours(names):
    # Containers are reached without any port of this machine's, and everybody may read where they are.
    bridges = {name[:-7] for name in names if name.endswith(".bridge")}
    with open("/proc/net/arp") as table:
        return [(words[0], 8200) for words in map(str.split, table) if words[-1] in bridges]

def ask(host, port, tls):
    kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
    more = {"context": anyone} if tls else {}
    connection = kind(host, port, timeout=1, **more)
    try:
        connection.request("PUT", "/v1/sys/init", json.dumps({"secret_shares": 1, "secret_threshold": 1}))
        answer = connection.getresponse()
        return answer.status, answer.read(300).decode(errors="replace")
    except ssl.SSLError as error:
        return 0, str(error)
    except ConnectionRefusedError:
        return None
    except (OSError, http.client.HTTPException) as error:
        return 0, type(error).__name__
    finally:
        connection.close()

def hammer(host, port):
    # One that does not answer must not keep the next from being asked in time.
    while True:
        for tls in (True, False):
            if (said := ask(host, port, tls)) is not None:
                print(json.dumps({"host": host, "tls": tls, "status": said[0], "said": said[1]}), flush=True)
        time.sleep(0.005)

known = set()
while True:
    names = os.listdir(int(sys.argv[1]))
    targets = {("127.0.0.1", int(name[:-5])) for name in names if name.endswith(".lock")} | set(neighbours(names))
    for target in targets - known:
        threading.Thread(target=hammer, args=target).start()
    known |= targets
    time.sleep(0.01)
"""


@dataclass
class Stranger:
    """Another user, and what he was told."""

    file: Path

    def told(self) -> list[dict[str, Any]]:
        """Return every answer but those of API servers, which are asked too."""
        lines = [json.loads(line) for line in self.file.read_text().splitlines() if line.endswith("}")]
        assert lines[0] == {"uid": os.geteuid() or NOBODY}
        return [line for line in lines[1:] if "apiVersion" not in line["said"]]


@contextmanager
def hammering(ports: Path, answers: Path) -> Iterator[Stranger]:
    """Have another user ask at every port of a rehearsal, whose locks are in *ports*, for as long as the block takes.

    Who is not root cannot be another user; but then this one has no certificate of ours either.
    """
    ports.mkdir(parents=True, mode=0o700)
    other = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"] if os.geteuid() == 0 else []
    numbers = os.open(ports, os.O_RDONLY)
    # Not the Python that runs this, which may be in a directory of root's.
    argv = [*other, "/usr/bin/python3", "-I", "-S", "-c", STRANGER, str(numbers)]
    stranger = Stranger(answers)
    with answers.open("wb") as file, subprocess.Popen(argv, stdout=file, pass_fds=[numbers], cwd="/") as process:
        try:
            until(lambda: answers.stat().st_size, what="the other user to begin", seconds=30)
            yield stranger
        finally:
            process.kill()
            os.close(numbers)


def insist_on_nothing_gained(stranger: Stranger, run: Path, *, tls: bool) -> None:
    """The rehearsal went well, the stranger was in time, and he was told nothing but no."""
    record = journal.load(run)
    assert not record.of(Trouble), record.of(Trouble)
    assert list(dict.fromkeys(one.answered for one in record.of(VaultServing))) == ["1.4.0", "1.7.0"]
    told = stranger.told()
    assert not [one for one in told if one["status"] == 200 or "root_token" in one["said"]]
    turned_away = ("certificate", "HTTP request to an HTTPS server")
    assert [one for one in told if any(words in one["said"] for words in turned_away)], "he was never in time"
    # Without TLS he is heard, once the Vault has an owner.
    assert bool([one for one in told if "Vault is already initialized" in one["said"]]) is not tls


@pytest.mark.real
@pytest.mark.parametrize("tls", [True, False])
def test_no_other_user_gets_at_a_vault_that_is_not_initialised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, tls: bool
) -> None:
    """However soon he asks: with TLS nobody else is heard at all, and without it not before the Vault is ours."""
    monkeypatch.setenv("REHEARSE_STATE", str(tmp_path / "state"))
    scenario = tmp_path / "strangers.yaml"
    scenario.write_text(SCENARIO.format(where="", tls=str(tls).lower()))
    with hammering(tmp_path / "state" / "ports", tmp_path / "answers") as stranger:
        rehearse("run", scenario, "--run-dir", tmp_path / "run")
    insist_on_nothing_gained(stranger, tmp_path / "run", tls=tls)


POD: Final = "cluster: apps, service-account: vault/vault, "


@contextmanager
def bridges_shown(run: str, ports: Path) -> Iterator[None]:
    """Show in *ports* the bridges of this run's networks, as soon as there are any."""
    over = threading.Event()

    def show() -> None:
        machine = reach(os.environ)
        while not over.wait(0.05):
            for thing in machine.leftovers():
                if thing.kind == "network" and thing.run.startswith(run):
                    (ports / f"br-{thing.id[:12]}.bridge").touch()

    thread = threading.Thread(target=show)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.kind
@pytest.mark.parametrize(
    ("where", "tls"),
    [
        pytest.param("", True, marks=pytest.mark.nightly, id="container, TLS"),
        pytest.param("", False, id="container"),
        pytest.param(POD, True, id="pod, TLS"),
        pytest.param(POD, False, marks=pytest.mark.nightly, id="pod"),
    ],
)
def test_no_other_user_gets_at_a_vault_in_a_container_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, *, tls: bool
) -> None:
    """Neither at the port of this machine nor at the container's or the node's own address."""
    monkeypatch.setenv("REHEARSE_STATE", str(tmp_path / "state"))
    scenario, run = tmp_path / "strangers.yaml", tmp_path / f"{os.getpid()}-strangers"
    scenario.write_text(SCENARIO.format(where=where, tls=str(tls).lower()))
    ports = tmp_path / "state" / "ports"
    with hammering(ports, tmp_path / "answers") as stranger, bridges_shown(run.name, ports):
        rehearse("run", scenario, "--driver", "kind", "--run-dir", run)
    insist_on_nothing_gained(stranger, run, tls=tls)
    assert {one["host"] for one in stranger.told()} > {"127.0.0.1"}
