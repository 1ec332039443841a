"""Installations on real servers are read from outside: what comes of it, and that nothing is written."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from harness.cli.commands import main
from harness.importing import vault_questions
from harness.scenario import loading
from tests import bare_vault
from tests.bare_vault import BareVault
from tests.importing import ENGINES

pytestmark = pytest.mark.real

CANARY = "tell-tale-of-a-secret-that-nobody-may-see"
ODD = ("k8s/mit Leerzeichen", "схема/прод")
"""Paths of mounts, as Vault allows them."""


@pytest.fixture(scope="module", name="vault")
def an_installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BareVault]:
    """Yield a Vault with mounts, roles, policies and secrets, and an audit log beside it."""
    directory = tmp_path_factory.mktemp("vault")
    with bare_vault.running("1.11.0", directory) as vault:
        filled(vault)
        log = directory / "audit.log"
        assert vault.ask("PUT", "sys/audit/file", {"type": "file", "options": {"file_path": str(log)}})[0] < 300
        vault.audit = log  # type: ignore[attr-defined]
        yield vault


def filled(vault: BareVault) -> None:
    """Have a Vault hold an installation, with a secret wherever one can be."""
    config = {
        "kubernetes_host": "https://apps.example.com:6443",
        "kubernetes_ca_cert": "-----BEGIN X-----\n-----END X-----",
    }
    for path in ("kubernetes", *ODD):
        if path != "kubernetes":
            assert vault.ask("POST", f"sys/auth/{path}", {"type": "kubernetes"})[0] < 300
        body = {**config, "token_reviewer_jwt": token_with(CANARY)}
        assert vault.ask("POST", f"auth/{path}/config", body)[0] < 300, path
        role = {"bound_service_account_names": "web", "bound_service_account_namespaces": "apps", "policies": "web"}
        assert vault.ask("POST", f"auth/{path}/role/web", role)[0] < 300
    engines(vault)
    for path, kind in {"people": "userpass", "batch": "approle"}.items():
        assert vault.ask("POST", f"sys/auth/{path}", {"type": kind})[0] < 300
    assert vault.ask("POST", "auth/people/users/alice", {"password": CANARY, "token_policies": "web"})[0] < 300
    assert vault.ask("POST", "auth/batch/role/nightly", {"token_policies": "web", "secret_id_ttl": "24h"})[0] < 300
    assert vault.ask("PUT", "sys/policies/acl/web", {"policy": ENGINES})[0] < 300
    assert vault.ask("POST", "secret/data/web", {"data": {"password": CANARY}})[0] < 300


def engines(vault: BareVault) -> None:
    """Have it hold secrets engines and a token role, with a secret in what nobody asks for."""
    for path in ("database", "pki", "transit"):
        assert vault.ask("POST", f"sys/mounts/{path}", {"type": path})[0] < 300
    url = f"postgresql://vault:{CANARY}@127.0.0.1:1/app"
    said = {"plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "verify_connection": False}
    written: dict[str, dict[str, Any]] = {
        "database/config/app": {**said, "connection_url": url, "password": CANARY},
        "database/roles/app": {"db_name": "app", "default_ttl": "1h", "creation_statements": [f"-- {CANARY}"]},
        "pki/roles/web": {"allowed_domains": "example.com", "allow_subdomains": True, "max_ttl": "72h"},
        "transit/keys/orders": {"type": "rsa-2048"},
        "auth/token/roles/ci": {"allowed_policies": "web", "orphan": True, "renewable": False},
    }
    for place, body in written.items():
        assert vault.ask("POST", place, body)[0] < 300, place


def token_with(word: str) -> str:
    """Return a token of a service account that names *word*, which nobody has signed."""
    import base64

    parts = ({"alg": "RS256"}, {"sub": word, "kubernetes.io": {}}, {"x": word})
    return ".".join(base64.urlsafe_b64encode(json.dumps(one).encode()).decode().rstrip("=") for one in parts)


def address(vault: BareVault) -> str:
    return vault._base.removesuffix("/v1/")


def token(vault: BareVault, policy: str, **more: Any) -> str:
    """Return a token with this policy alone."""
    assert vault.ask("PUT", "sys/policies/acl/importer", {"policy": policy})[0] < 300
    body = {"policies": ["importer"], "no_default_policy": True, "no_parent": True, **more}
    return str(vault.ask("POST", "auth/token/create", body)[1]["auth"]["client_token"])


def imported(vault: BareVault, monkeypatch: pytest.MonkeyPatch, held: str, *words: str) -> Result:
    """Import with a token in the environment, as a user would."""
    monkeypatch.setenv("VAULT_TOKEN", held)
    return CliRunner().invoke(main, ["import", "--vault-addr", address(vault), "--target", "1.16.3", *words])


def policy_for_all() -> str:
    return vault_questions.policy(["+", *ODD])


def test_a_token_with_the_printed_policy_is_enough(vault: BareVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is there, what comes of it is a scenario, and no secret is in it or on the terminal."""
    result = imported(vault, monkeypatch, token(vault, policy_for_all()))
    assert (result.exit_code, result.stderr) == (0, "")
    said = loading.loads(result.stdout).scenario
    assert len(said.auth) == 1 + len(ODD) + 3
    reads = ("secret/web", "database/creds/app", "pki/issue/web", "transit/orders")
    assert (said.apps["ci"].mount, said.apps["ci"].reads, said.apps["alice"].reads) == ("token", reads, reads)
    assert (said.secrets["database"].roles["app"].ttl, said.secrets["pki"].roles["web"].max_ttl) == ("1h", "72h")
    assert said.secrets["transit"].keys["orders"].type_ == "rsa-2048"
    assert (said.auth["token"].roles["ci"].orphan, said.auth["token"].roles["ci"].renewable) == (True, False)
    assert (said.vault.source, said.apps["alice"].role, said.auth["batch"].roles["nightly"].secret_id_ttl) == (
        "1.11.0", "alice", "24h",
    )  # fmt: skip
    assert "In Vault it is auth/схема/прод." in result.stdout
    for secret in (CANARY, token_with(CANARY), "root-of-a-vault"):
        assert secret not in result.output


def rules() -> list[str]:
    """Return the lines of the printed policy that are about something which this Vault has.

    It has no raft, and users at a mount of one segment alone.
    """
    lines = policy_for_all().splitlines()
    return [line for line in lines if "raft" not in line and ("/users" not in line or "auth/+/" in line)]


@pytest.mark.parametrize("left_out", rules(), ids=lambda line: line.split('"')[1])
def test_with_one_line_less_it_says_what_is_missing(
    vault: BareVault, monkeypatch: pytest.MonkeyPatch, left_out: str
) -> None:
    """A partial result, and the right that was missing by name: so each line of the policy is needed."""
    held = token(vault, "\n".join(line for line in policy_for_all().splitlines() if line != left_out))
    result = imported(vault, monkeypatch, held)
    assert result.exit_code == 4, result.output
    assert "missing: " in result.stderr
    loading.loads(result.stdout)
    shape = left_out.split('"')[1].replace("*", "").strip("/").split("+")
    assert any(all(part in line for part in shape) for line in result.stderr.splitlines()), result.stderr


def test_nothing_is_written(vault: BareVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit log of the Vault has the import's requests, and each of them reads or lists."""
    held = token(vault, policy_for_all())
    log: Path = vault.audit  # type: ignore[attr-defined]
    before = len(log.read_text().splitlines())
    assert imported(vault, monkeypatch, held).exit_code == 0
    entries = [json.loads(line) for line in log.read_text().splitlines()[before:]]
    asked = [entry["request"] for entry in entries if entry["type"] == "request"]
    assert len(asked) > 15
    assert {one["operation"] for one in asked} <= {"read", "list"}
    assert [one["path"] for one in asked if one["path"].startswith("secret/")] == []


def test_a_token_that_has_expired_is_said_to_have(vault: BareVault, monkeypatch: pytest.MonkeyPatch) -> None:
    held = token(vault, policy_for_all(), ttl="1s", explicit_max_ttl="1s")
    time.sleep(1.5)
    result = imported(vault, monkeypatch, held)
    assert result.exit_code == 4
    assert "expired or was revoked" in result.stderr
    assert held not in result.output
    loading.loads(result.stdout)


def test_a_check_says_what_has_drifted(vault: BareVault, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing at once; then the role that somebody changed, and the exit code of an expectation that is not met."""
    file = tmp_path / "mine.yaml"
    assert imported(vault, monkeypatch, bare_vault._ROOT, "-o", str(file)).exit_code == 0
    result = imported(vault, monkeypatch, bare_vault._ROOT, "--check", str(file))
    assert (result.exit_code, "nothing has drifted" in result.stdout) == (0, True), result.output
    changed = {"bound_service_account_names": "web,more", "bound_service_account_namespaces": "apps", "policies": "web"}
    assert vault.ask("POST", "auth/kubernetes/role/web", changed)[0] < 300
    lives = {"db_name": "app", "default_ttl": "2h", "creation_statements": [f"-- {CANARY}"]}
    assert vault.ask("POST", "database/roles/app", lives)[0] < 300
    result = imported(vault, monkeypatch, bare_vault._ROOT, "--check", str(file))
    assert result.exit_code == 1
    assert "secrets.database.roles.app.ttl: the scenario has 1h, the installation 2h" in result.stdout
    assert "auth.kubernetes.roles.web.service-accounts: the scenario has web" in result.stdout


def test_a_large_installation_is_read_in_five_seconds(vault: BareVault, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred roles over eight mounts, with names as Vault allows them."""
    paths = [f"{path}-{number}" for number in range(4) for path in ("groß/und klein", "plain")]
    for path in paths:
        assert vault.ask("POST", f"sys/auth/{path}", {"type": "kubernetes"})[0] < 300
        assert (
            vault.ask("POST", f"auth/{path}/config", {"kubernetes_host": "https://k", "kubernetes_ca_cert": "x"})[0]
            < 300
        )
        for number in range(25):
            body = {
                "bound_service_account_names": [f"app-{number}", "x-*"],
                "bound_service_account_namespaces": ["apps"],
            }
            assert (
                vault.ask("POST", f"auth/{path}/role/Role_{number}.x", {**body, "policies": [f"p {number}"]})[0] < 300
            )
    words = [word for path in paths for word in ("--mount", path)]
    before = time.process_time()
    result = imported(vault, monkeypatch, bare_vault._ROOT, *words)
    took = time.process_time() - before  # of ours alone: what else the machine does is not measured
    assert result.exit_code == 0, result.stderr
    assert len(loading.loads(result.stdout).scenario.apps) == 200
    assert took < 5


def test_a_sealed_vault_tells_its_version_and_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with bare_vault.running("1.9.3", tmp_path) as vault:
        assert vault.ask("PUT", "sys/seal")[0] < 300
        result = imported(vault, monkeypatch, bare_vault._ROOT)
    assert result.exit_code == 4
    assert "is sealed" in result.stderr
    assert loading.loads(result.stdout).scenario.vault.source == "1.9.3"
