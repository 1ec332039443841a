"""Who else is on this machine: nobody but the harness talks to a Vault that belongs to whoever is first."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from harness import journal
from harness.events import Trouble, VaultServing
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
import http.client, json, os, ssl, sys, time
anyone = ssl._create_unverified_context()
print(json.dumps({"uid": os.getuid()}), flush=True)

def ask(port, tls):
    kind = http.client.HTTPSConnection if tls else http.client.HTTPConnection
    more = {"context": anyone} if tls else {}
    connection = kind("127.0.0.1", port, timeout=1, **more)
    try:
        connection.request("PUT", "/v1/sys/init", json.dumps({"secret_shares": 1, "secret_threshold": 1}))
        answer = connection.getresponse()
        return answer.status, answer.read(300).decode(errors="replace")
    except ssl.SSLError as error:
        return 0, str(error)
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()

while True:
    for port in [int(name[:-5]) for name in os.listdir(int(sys.argv[1])) if name.endswith(".lock")]:
        for tls in (True, False):
            if (said := ask(port, tls)) is not None:
                print(json.dumps({"port": port, "tls": tls, "status": said[0], "said": said[1]}), flush=True)
    time.sleep(0.001)
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
    assert [one.answered for one in record.of(VaultServing)] == ["1.4.0", "1.7.0"]
    told = stranger.told()
    assert not [one for one in told if one["status"] == 200 or "root_token" in one["said"]]
    # Else he was never in time, and nothing is shown.
    assert [one for one in told if one["tls"] and "certificate" in one["said"]], (
        "he was never in time: nothing is shown"
    )
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
