"""A real Vault that somebody stops in the middle of a run: nobody's regression, whoever it was and however."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.test_real import REHEARSE, ours, until_gone

pytestmark = pytest.mark.real

SCENARIO = """\
schema: 1
description: A Vault outside any cluster, and an app. Does somebody who stops the new Vault make a regression?
clusters:
  apps: {kubernetes: 1.32.0}
vault: {source: 1.7.0, target: 1.11.0}
auth:
  kubernetes:
    cluster: apps
    configured: {by: 1.7.0, with-token-file: false}
    roles:
      web: {service-accounts: [web], namespaces: [apps], policies: [web]}
apps:
  web: {cluster: apps, service-account: apps/web, role: web, may-review-tokens: true, reads: [secret/web]}
"""


def vault_of(running: subprocess.Popen[str], directory: Path, version: str) -> psutil.Process:
    """Return the process of the run's Vault, once it is *version*."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and running.poll() is None:
        for process in ours(directory):
            try:
                words = process.cmdline()
            except psutil.Error:
                continue
            if "server" in words and f"/vault/{version}-" in words[0]:
                return process
        time.sleep(0.01)
    running.kill()
    raise AssertionError(f"there never was a Vault {version}: {running.communicate()}")


@pytest.mark.parametrize("line", ["", "asking after 1.11.0"], ids=["at once", "while it is asked"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGKILL])
def test_who_stops_the_new_vault_makes_no_regression(number: signal.Signals, line: str, tmp_path: Path) -> None:
    """As soon as it is there, and while it is asked: inconclusive, and the sentence says which signal it was."""
    scenario = tmp_path / "stopped.yaml"
    scenario.write_text(SCENARIO)
    directory = tmp_path / f"stopped-{os.getpid()}-{int(time.time() * 1000)}"
    words = [*REHEARSE, "run", str(scenario), "-o", "json", "--run-dir", str(directory)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        if line:
            assert any(line in said for said in running.stderr)
        vault_of(running, directory, "1.11.0").send_signal(number)
        stdout, stderr = running.communicate(timeout=120)
    assert running.returncode == 4, stderr
    judgement = json.loads(stdout)
    assert (judgement["verdict"], judgement["findings"]) == ("inconclusive", [])
    said = " ".join(judgement["reasons"])
    name = "SIGTERM or SIGINT" if number in (signal.SIGTERM, signal.SIGINT) else number.name
    assert f"from outside by {name}" in said or (number in (signal.SIGTERM, signal.SIGINT) and number.name in said)
    assert "run again" in said
    until_gone(directory)
