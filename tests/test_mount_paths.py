"""Where Vault mounts nothing, no scenario begins: its own paths, and those above or below another mount."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest

from harness.errors import ScenarioError
from harness.scenario import loading
from tests import bare_vault
from tests.versions_at_hand import further

HEAD: Final = """\
schema: 1
description: No cluster, and an app with a secret ID.
vault: {source: 1.9.2, target: 1.11.0}
auth:
  approle: {type: approle, roles: {web: {policies: [web]}}}
"""
APP: Final = "apps: {web: {mount: approle, role: web}}\n"
KV: Final = "{kv: 1}"

REFUSED: Final[dict[str, tuple[str, str]]] = {
    "of Vault": (f"secrets: {{sys/x: {KV}}}\n", "Vault mounts no secrets engine at sys/x: sys is its own"),
    "of auth": (f"secrets: {{auth/x: {KV}}}\n", "Vault mounts no secrets engine at auth/x: auth is its own"),
    "of identities": (
        "also-mounted: {identity: kv}\n",
        "Vault mounts no secrets engine at identity: identity is its own",
    ),
    "below": (
        f"secrets: {{one: {KV}, one/two: {KV}}}\n",
        "Vault mounts nothing at one/two, because another mount is at one",
    ),
    "above": (
        f"secrets: {{one/two: {KV}, one: {KV}}}\n",
        "Vault mounts nothing at one, because another mount is at one/two",
    ),
    "the usual store": (
        "also-mounted: {secret: kv}\n",
        "Vault mounts nothing at secret, because another mount is at secret",
    ),
    "an engine below it": (
        "secrets: {secret/keys: {type: transit, keys: {web: {}}}}\n",
        "Vault mounts nothing at secret, because another mount is at secret/keys",
    ),
    "an auth mount": (
        "also-mounted: {auth/approle: userpass}\n",
        "Vault mounts nothing at auth/approle, because another mount is at auth/approle",
    ),
    "below an auth mount": (
        "  approle/old: {type: userpass, roles: {web: {policies: [web]}}}\n",
        "Vault mounts nothing at auth/approle/old, because another mount is at auth/approle",
    ),
    "the tokens'": (
        "also-mounted: {auth/token/old: userpass}\n",
        "Vault mounts nothing at auth/token/old, because the token store is at auth/token",
    ),
}
TAKEN: Final = (
    f"secrets: {{one: {KV}, onex: {KV}, team/a: {KV}, team/ab: {KV}}}\nalso-mounted: {{auth/approles: userpass}}\n",
    "also-mounted: {system: kv}\n",
    "  approle/typo: {type: approle, mounted: false}\n",
    "  token: {type: token, roles: {job: {policies: [web]}}}\n",
)


@pytest.mark.parametrize("name", REFUSED)
def test_what_vault_would_not_mount_is_told_with_its_line(name: str) -> None:
    text, told = REFUSED[name]
    with pytest.raises(ScenarioError) as refused:
        loading.loads(HEAD + text + APP)
    (problem,) = refused.value.problems
    assert problem.message == told
    assert problem.line > 1


@pytest.mark.parametrize("text", TAKEN)
def test_paths_that_only_begin_alike_stand_side_by_side(text: str) -> None:
    loading.loads(HEAD + text + APP)


@pytest.mark.real
@pytest.mark.parametrize("version", ["1.4.0", "1.11.0", pytest.param("1.19.0", marks=further("vault:1.19.0"))])
def test_real_vaults_refuse_just_these(version: str, tmp_path: Path) -> None:
    """What is mounted first decides; both directions are refused, in engines and in auth mounts."""

    def mounted(path: str, kind: str) -> str:
        at = f"sys/{path}" if path.startswith("auth/") else f"sys/mounts/{path}"
        status, answer = vault.ask("POST", at, {"type": kind})
        said: dict[str, Any] = answer or {}
        return "" if status < 300 else " ".join(said["errors"])

    with bare_vault.running(version, tmp_path) as vault:
        for path in ("sys/x", "identity", "identity/x", "cubbyhole/x", "audit", "audit/x"):
            assert mounted(path, "kv") == f'cannot mount "{path}/"', path
        for path in ("auth", "auth/x"):
            assert vault.ask("POST", f"sys/mounts/{path}", {"type": "kv"})[0] == 400, path
        for first, second in (("one", "one/two"), ("team/a", "team"), ("auth/x", "auth/x/y"), ("auth/p/q", "auth/p")):
            kind = "approle" if first.startswith("auth/") else "kv"
            assert mounted(first, kind) == ""
            assert mounted(second, kind) == f"path is already in use at {first.removeprefix('auth/')}/"
        for path, kind in (("onex", "kv"), ("team/ab", "kv"), ("system", "kv"), ("auth/xx", "approle")):
            assert mounted(path, kind) == "", path
        assert mounted("auth/token/x", "approle") == "path is already in use at token/"
