"""No secret of a run is anywhere: not in what it wrote or printed, not in any process as /proc shows it."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner, Result

from harness import secret
from harness.cli.commands import main
from harness.host.run_traces import MARK
from harness.record.observation import Observation
from harness.rehearsal import probes
from harness.rehearsal.probes import View
from harness.scenario.plan import Question
from tests.runs import OUTAGE, SCENARIOS

pytestmark = pytest.mark.real

GREEN = SCENARIOS / "a-long-lived-reviewer-survives-the-upgrade.yaml"


class Watch(threading.Thread):
    """Looks at every process of the runs of this test, over and over, and keeps what /proc shows of them."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.over = threading.Event()
        self.seen: set[str] = set()
        self.listening: set[str] = set()

    def run(self) -> None:
        """Look until told that it is over."""
        while not self.over.wait(0.2):
            for process in psutil.process_iter():
                try:
                    environment = process.environ()
                    if MARK not in environment and process.pid != os.getpid():
                        continue
                    self.seen.update(process.cmdline())
                    if MARK in environment:
                        self.seen.update(f"{name}={value}" for name, value in environment.items())
                        listeners = (c for c in process.net_connections() if c.status == psutil.CONN_LISTEN)
                        self.listening.update(c.laddr.ip for c in listeners)
                except psutil.Error:
                    continue


@contextmanager
def watching() -> Iterator[Watch]:
    """Watch every process of a run, from before it starts until after it has ended."""
    watch = Watch()
    watch.start()
    yield watch
    watch.over.set()
    watch.join()


def rehearse(scenario: Path, directory: Path) -> tuple[Result, Watch]:
    """Rehearse in this very process, which therefore knows every secret that the run knew."""
    arguments = ["run", str(scenario), "--run-dir", str(directory), "-v", "-o", "json"]
    arguments += ["--junit", str(directory) + ".xml", "--markdown", str(directory) + ".md"]
    with watching() as watch:
        return CliRunner().invoke(main, arguments), watch


def everything(result: Result, watch: Watch, directory: Path) -> dict[str, str]:
    """Return every text that came of a run, by where it stands."""
    files = [path for path in directory.parent.rglob("*") if path.is_file()]
    texts = {str(path): path.read_text(errors="replace") for path in files}
    return texts | {"stdout": result.stdout, "stderr": result.stderr, "/proc": "\n".join(watch.seen)}


@pytest.fixture(name="known", autouse=True)
def of_every_run(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list that gets every form of every secret of a run, when the run forgets them."""
    forms: list[str] = []
    monkeypatch.setattr(secret, "_of_no_run", secret.Secrets())
    monkeypatch.setattr(secret.Secrets, "forget", lambda run: forms.extend(form for form, _ in run.forms))
    return forms


def leaks(texts: dict[str, str], known: list[str]) -> list[str]:
    """Return where a known secret stands, in whatever disguise; never the secret itself."""
    assert secret._of_no_run.forms == (), "a thread that works for a run was not told so"
    assert len(known) > 100, "the run knew no secrets: this test would prove nothing"
    return [where for where, text in texts.items() if any(form in text for form in known)]


@pytest.mark.parametrize(("scenario", "verdict"), [(GREEN, "pass"), (OUTAGE, "fail")], ids=["passing", "failing"])
def test_no_secret_is_anywhere(
    scenario: Path, verdict: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: list[str]
) -> None:
    """In a run that passes and one that fails; and nothing of the user's environment reaches a server."""
    monkeypatch.setenv("VAULT_ADDR", "https://vault.example.invalid")
    monkeypatch.setenv("VAULT_TOKEN", "tell-tale-of-the-users-own-vault-token")
    monkeypatch.setenv("KUBECONFIG", "/tell-tale/of/the/users/own/kubeconfig")
    monkeypatch.setenv("HTTPS_PROXY", "http://tell-tale.of.the.users.own.proxy.invalid")
    directory = tmp_path / "run"
    result, watch = rehearse(scenario, directory)

    assert result.exit_code == 0, result.stderr
    assert f'"verdict": "{verdict}"' in result.stdout
    texts = everything(result, watch, directory)
    assert leaks(texts, known) == []
    assert not [where for where, text in texts.items() if "tell-tale" in text]
    assert watch.listening == {"127.0.0.1"}


def test_no_secret_is_anywhere_when_the_harness_itself_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: list[str]
) -> None:
    """A fault of our own, raised with a token in its text: the run is inconclusive, and the token is not told."""

    def broken(look: View, question: Question) -> Observation:
        token, _ = look.logins[question.app]
        assert token is not None
        raise RuntimeError(f"a fault with {token.reveal()} in its text")

    monkeypatch.setattr(probes, "ASKED", {**probes.ASKED, "token-renew": broken})
    directory = tmp_path / "run"
    result, watch = rehearse(GREEN, directory)

    assert result.exit_code == 4
    assert "a fault with secret:" in result.stdout
    assert leaks(everything(result, watch, directory), known) == []
