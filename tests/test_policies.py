"""Policies are read as Vault reads them, and grant what it grants: told by a table, and held against a real Vault."""

from __future__ import annotations

import json
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
import requests

from harness import settings
from harness.knowledge import policy_templates, vault_policies
from harness.scenario import loading
from harness.session import prediction
from tests.runs import OUTAGE
from tests.versions_at_hand import further

TAKEN: Final = (
    'path "a" { capabilities = ["read",] }',
    '{"path":{"secret/*":{"capabilities":["read"]}}}',
    '{"path":[{"secret/*":{"capabilities":["read"]}}]}',
    'path "a" { policy = "read" }',
    "# only a comment",
    'path "a" { capabilities = ["read"] } path "b" { capabilities = ["list"] }',
    '/* x */ path "a" {\n capabilities = ["read"]\n allowed_parameters = {\n "foo" = ["a", "b"]\n "*" = []\n }\n}',
    'path a { capabilities = ["read"] }',
    'path "a" { capabilities = ["read"] min_wrapping_ttl = "1s" }',
    'name = "x"\npath "a" { capabilities=["deny","read"] }',
    'path "a" { "capabilities" = ["read"] }',
    'path "a" { capabilities = ["read"], policy = "write" }',
    'path "/secret/x" { capabilities=["read"] }',
    'path "a" {}',
    'path "a" { capabilities = [] }',
    'path "secret/{{identity.entity.name}}/*" { capabilities = ["read"] }',
)
REFUSED: Final = (
    "nonsense",
    'path "x" {',
    'path "x" { capabilities = ["reed"] }',
    'path "x" { capabilities = "read" }',
    'path "x" { caps = ["read"] }',
    'foo "x" {}',
    'path "+*" { capabilities=["read"] }',
    'path "a" { policy = "reader" }',
    'path "a" { capabilities = ["read" "list"] }',
    'path = "a"',
    'path "a" { capabilities = ["read"]; }',
    'path "a" { capabilities = [read] }',
    'path "a" = { capabilities = ["read"] }',
    'path "unterminated { }',
    'path {\n "a" { capabilities = ["read"] }\n}',
    '{"path":{"a":{"capabilities":"read"}}}',
    'path "a" { capabilities = ["read"] }}',
    'path "a" { capabilities = ["READ"] }',
    'path "a" { capabilities = <<EOT\nx\nEOT\n}',
    "path 'a' { capabilities = [\"read\"] }",
)


@pytest.mark.parametrize("text", TAKEN)
def test_what_vault_takes_is_read(text: str) -> None:
    """HCL with all its freedoms, and JSON."""
    assert all(rule.policy == "p" for rule in vault_policies.read("p", text))


@pytest.mark.parametrize("text", REFUSED)
def test_what_vault_refuses_is_refused(text: str) -> None:
    """And nothing else than PolicyError comes of it."""
    with pytest.raises(vault_policies.PolicyError):
        vault_policies.read("p", text)


@pytest.mark.parametrize("text", ["[" * 5000, 'path "a" {' * 5000, '{"a":' * 5000, 'path "a" { x = ' + "[" * 5000])
def test_no_depth_breaks_the_reader(text: str) -> None:
    """A text from outside costs a sentence, and no traceback."""
    with pytest.raises(vault_policies.PolicyError):
        vault_policies.read("p", text)


def test_an_error_has_its_line() -> None:
    """That of the text, where its reader will look for it."""
    with pytest.raises(vault_policies.PolicyError, match="line 3: ") as caught:
        vault_policies.read("p", '# one\n\npath "a" { capabilities = ["reed"] }\n')
    assert caught.value.line == 3


@pytest.mark.parametrize(
    ("rules", "granted", "denied"),
    [
        ({"secret/data/web": ["read"]}, True, False),
        ({"secret/data/*": ["read"]}, True, False),
        ({"secret/+/web": ["read"]}, True, False),
        ({"secret/+/w*": ["read"]}, True, False),
        ({"secret/web": ["read"]}, False, False),
        ({"secret/data/web/*": ["read"]}, False, False),
        ({"secret/data/web": ["list"]}, False, False),
        ({"secret/data/*": ["read"], "secret/data/web": ["deny"]}, False, True),
        ({"secret/data/*": ["deny"], "secret/data/web": ["read"]}, True, False),
        ({"secret/*": ["deny"], "secret/data/*": ["read"]}, True, False),
        ({"secret/+/web": ["deny"], "secret/data/*": ["read"]}, True, False),
        ({"*": ["read"]}, True, False),
        ({}, False, False),
    ],
)
def test_the_most_specific_rule_decides(rules: dict[str, list[str]], granted: bool, denied: bool) -> None:
    """The longest match, and deny among the rules of that path."""
    found = [vault_policies.Rule("p", path, tuple(said)) for path, said in rules.items()]
    ruling = vault_policies.ruling(found, "secret/data/web", "read")
    assert (ruling.granted, ruling.denied) == (granted, denied)


def test_deny_wins_among_policies_that_say_the_same_path() -> None:
    """What two policies say of one path adds up, and nothing adds to a deny."""
    grants, denies = vault_policies.Rule("a", "secret/*", ("read",)), vault_policies.Rule("b", "secret/*", ("deny",))
    assert vault_policies.ruling([grants, vault_policies.Rule("b", "secret/*", ("list",))], "secret/x", "list").granted
    assert vault_policies.ruling([grants, denies], "secret/x", "read").denied


# --- a real Vault is asked the same ---


class DevVault:
    """A real Vault in development mode, which is asked about policies."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._session = requests.Session()
        self._session.trust_env = False

    def ask(self, method: str, path: str, **body: Any) -> requests.Response:
        """Ask with the root token."""
        url, header = f"{self._address}/v1/{path}", {"X-Vault-Token": "root"}
        return self._session.request(method, url, headers=header, json=body or None, timeout=30)

    def takes(self, name: str, text: str) -> bool:
        """Does it take this policy?"""
        return self.ask("PUT", f"sys/policies/acl/{name}", policy=text).ok

    def capabilities(self, names: list[str], paths: list[str]) -> dict[str, list[str]]:
        """Return what a token of these policies may do, by path."""
        made = self.ask("POST", "auth/token/create", policies=names, no_default_policy=True).json()
        token = made["auth"]["client_token"]
        found: dict[str, list[str]] = self.ask("POST", "sys/capabilities", token=token, paths=paths).json()["data"]
        return found

    def writes(self, names: list[str], path: str, fields: dict[str, Any]) -> int:
        """Return what a token of these policies is answered that writes *fields*."""
        made = self.ask("POST", "auth/token/create", policies=names, no_default_policy=True).json()
        header = {"X-Vault-Token": made["auth"]["client_token"]}
        return self._session.post(f"{self._address}/v1/{path}", headers=header, json=fields, timeout=30).status_code


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevVault]:
    """A real Vault 1.7.0, fetched as a rehearsal would."""
    fetch = [sys.executable, "-m", "harness", "artifacts", "fetch", str(OUTAGE)]
    subprocess.run(fetch, check=True, cwd=OUTAGE.parent, capture_output=True, timeout=3600)
    with developed("1.7.0", tmp_path_factory.mktemp("vault")) as one:
        yield one


@contextmanager
def developed(version: str, home: Path) -> Iterator[DevVault]:
    """Have a real Vault of *version*, which is cached, in development mode."""
    (binary,) = (settings.cache() / "artifacts" / "vault").glob(f"{version}-linux-*/vault")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["-dev", "-dev-no-store-token", "-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{port}"]
    with subprocess.Popen(
        [str(binary), "server", *flags],
        env={"HOME": str(home)},
        cwd=home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.STDOUT,
    ) as running:
        one, deadline = DevVault(f"http://127.0.0.1:{port}"), time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                if one.ask("GET", "sys/health").ok:
                    break
            except requests.ConnectionError:
                time.sleep(0.1)
        try:
            yield one
        finally:
            running.kill()


@pytest.mark.real
def test_a_real_vault_takes_and_refuses_the_same(vault: DevVault) -> None:
    """The two tables above are Vault's own."""
    assert [text for text in TAKEN if not vault.takes("p", text)] == []
    assert [text for text in REFUSED if vault.takes("p", text)] == []


SEGMENTS: Final = ("secret", "data", "web", "api", "+", "w*", "*", "web*", "a")
ASKED: Final = ["secret/data/web", "secret/data/api", "secret/data/web/api", "secret/data/webb", "secret/data/a/web"]


def drawn(lot: random.Random) -> str:
    """Return a policy by lot, with paths that fight over the ones that are asked for."""
    rules = []
    for _ in range(lot.randint(1, 5)):
        parts = [lot.choice(SEGMENTS) for _ in range(lot.randint(1, 4))]
        *inner, last = parts
        inner = [part.rstrip("*") or "data" for part in inner]
        path = "/".join([*(["secret", "data"] if lot.random() < 0.7 else []), *inner[:1], last])
        said = ", ".join(f'"{one}"' for one in lot.sample(vault_policies.CAPABILITIES[:7], lot.randint(1, 2)))
        rules.append(f'path "{path}" {{ capabilities = [{said}] }}')
    return "\n".join(rules)


@pytest.mark.real
def test_a_real_vault_grants_the_same(vault: DevVault) -> None:
    """Two policies by lot, five paths, three capabilities, a hundred times."""
    lot = random.Random(11)
    for _ in range(100):
        texts = {"one": drawn(lot), "two": drawn(lot)}
        assert all(vault.takes(name, text) for name, text in texts.items())
        rules = [rule for name, text in texts.items() for rule in vault_policies.read(name, text)]
        real = vault.capabilities(list(texts), ASKED)
        for path in ASKED:
            for capability in ("read", "list", "update"):
                granted = vault_policies.ruling(rules, path, capability).granted
                assert granted == (capability in real[path]), (path, capability, texts)


# --- what may be written ---

LISTS: Final = """
path "kv/allow" { capabilities = ["update"] allowed_parameters = { "hosts" = ["a", "b"] } }
path "kv/whole" { capabilities = ["update"] allowed_parameters = { "hosts" = [["a", "b"]] } }
path "kv/deny" { capabilities = ["update"] denied_parameters = { "hosts" = ["root"] } }
path "kv/glob" { capabilities = ["update"] allowed_parameters = { "hosts" = ["team-*"] } }
path "kv/must" { capabilities = ["update"] required_parameters = ["hosts"] }
path "kv/none" { capabilities = ["update"] denied_parameters = { "*" = [] } }
"""


@pytest.mark.parametrize(
    ("path", "fields", "as_a_whole", "item_by_item"),
    [
        ("allow", {"hosts": ["a"]}, False, True),
        ("allow", {"hosts": ["a", "b"]}, False, True),
        ("allow", {"hosts": ["a", "c"]}, False, False),
        ("allow", {"hosts": "a"}, True, True),
        ("allow", {"hosts": "a,b"}, False, True),
        ("allow", {"other": "a"}, False, False),
        ("whole", {"hosts": ["a", "b"]}, True, True),
        ("whole", {"hosts": ["a"]}, False, False),
        ("deny", {"hosts": ["root"]}, True, False),
        ("deny", {"hosts": ["x", "root"]}, True, False),
        ("deny", {"hosts": "root"}, False, False),
        ("glob", {"hosts": ["team-a", "team-b"]}, False, True),
        ("glob", {"HOSTS": "team-a"}, True, True),
        ("must", {"other": 1}, False, False),
        ("must", {"hosts": 1}, True, True),
        ("none", {"hosts": 1}, False, False),
    ],
)
def test_which_values_a_policy_lets_through(
    path: str, fields: dict[str, Any], as_a_whole: bool, item_by_item: bool
) -> None:
    """A list is held against the values as a whole, and from 1.21.0 on item by item."""
    rules = vault_policies.ruling(vault_policies.read("p", LISTS), f"kv/{path}", "update").rules
    for version, lets in (("1.20.4", as_a_whole), ("1.21.0", item_by_item)):
        assert (vault_policies.refused_parameter(rules, fields, version) is None) == lets


VALUES: Final[tuple[Any, ...]] = ("a", "b", "team-a", "a,b", 5, True, ["a"], ["a", "b"], ["team-a", "b"], [])
LISTED: Final[tuple[Any, ...]] = ("a", "b", "team-*", "*-a", 5, True, ["a", "b"])


def with_parameters(lot: random.Random) -> str:
    """Return a policy by lot that says of one path which values may be written."""
    said = ['capabilities = ["create", "update"]']
    for which in lot.sample(("allowed", "denied"), lot.randint(1, 2)):
        names = lot.sample(("One", "two", "*"), lot.randint(1, 2))
        listed = ({name: lot.sample(LISTED, lot.randint(0, 3)) for name in names}).items()
        inside = " ".join(f"{json.dumps(name)} = {json.dumps(values)}" for name, values in listed)
        said.append(f"{which}_parameters = {{ {inside} }}")
    if lot.random() < 0.2:
        said.append('required_parameters = ["two"]')
    return f'path "kv/here" {{ {" ".join(said)} }}'


@pytest.mark.real
@pytest.mark.parametrize("version", ["1.7.0", pytest.param("1.21.2", marks=further("vault:1.21.2"))])
def test_a_real_vault_lets_the_same_values_through(version: str, tmp_path: Path) -> None:
    """One or two policies by lot, and fields by lot, two hundred times."""
    lot = random.Random(21)
    with developed(version, tmp_path) as vault:
        vault.ask("POST", "sys/mounts/kv", type="kv", options={"version": "1"})
        for _ in range(200):
            texts = {name: with_parameters(lot) for name in ("one", "two")[: lot.randint(1, 2)]}
            assert all(vault.takes(name, text) for name, text in texts.items())
            rules = [rule for name, text in texts.items() for rule in vault_policies.read(name, text)]
            fields = {name: lot.choice(VALUES) for name in lot.sample(("one", "two"), lot.randint(1, 2))}
            why = vault_policies.refused_parameter(rules, fields, version)
            status = vault.writes(list(texts), "kv/here", fields)
            assert (status == 403) == (why is not None), (status, str(why), fields, texts)


TEMPLATED: Final = """path "secret/data/{{ identity.entity.aliases.auth/k8s/eu.metadata.service_account_name }}" {
  capabilities = ["read"]
}"""


def test_a_template_names_a_mount_by_its_accessor_once_that_is_known() -> None:
    """A scenario writes the path of the mount; a mount that is not there yet stays as it is written."""
    assert policy_templates.mounts_of(TEMPLATED) == ["k8s/eu"]
    assert policy_templates.with_accessors(TEMPLATED, {"kubernetes": "auth_1"}) == TEMPLATED
    assert "aliases.auth_2.metadata.service_account_name" in policy_templates.with_accessors(
        TEMPLATED, {"k8s/eu": "auth_2"}
    )


def test_a_template_is_filled_for_whoever_logged_in_at_that_mount() -> None:
    rules, who = vault_policies.read("own", TEMPLATED), policy_templates.of_account("apps/web")
    (mine,) = policy_templates.filled(rules, "auth/k8s/eu", who)
    assert (mine.path, mine.templated) == ("secret/data/web", False)
    assert policy_templates.filled(rules, "auth/kubernetes", who) == [], "Vault leaves out what it cannot fill"
    assert vault_policies.ruling([mine], "secret/data/web", "read").granted
    assert not vault_policies.ruling([mine], "secret/data/shop", "read").granted


@pytest.mark.parametrize(
    ("alias", "template", "path"),
    [
        (policy_templates.of_account("apps/web"), "metadata.service_account_name", "web"),
        (policy_templates.of_account("apps/web"), "metadata.service_account_secret_name", ""),
        (policy_templates.of_account("apps/web", projected=False), "metadata.service_account_secret_name", None),
        (policy_templates.of_account("apps/web"), "metadata.role", None),
        (policy_templates.of_account("apps/web"), "name", None),
        (policy_templates.of_account("apps/web", "apps/web"), "name", "apps/web"),
        (
            policy_templates.of_account("apps/web", None, {"vault.hashicorp.com/alias-metadata-team": "red", "a": "b"}),
            "metadata.team",
            "red",
        ),
        (policy_templates.of_app_role("ADMIN_ROLE"), "metadata.role_name", "admin_role"),
        (policy_templates.of_user("Alice"), "name", "alice"),
        (policy_templates.of_user("Alice"), "metadata.username", None),
        (policy_templates.of_claims({"sub": "a"}, "sub", {}, "Deploy", "1.16.0"), "metadata.role", "deploy"),
        (policy_templates.of_claims({"sub": "a"}, "sub", {}, "Deploy", "1.13.0"), "metadata.role", None),
    ],
)  # fmt: skip
def test_an_alias_has_what_the_mount_gives_it_and_nothing_else_is_filled(
    alias: policy_templates.Alias, template: str, path: str | None
) -> None:
    text = f'path "secret/data/{{{{identity.entity.aliases.auth/m.{template}}}}}" {{ capabilities = ["read"] }}'
    rules = vault_policies.read("own", text)
    filled = [rule.path for rule in policy_templates.filled(rules, "auth/m", alias)]
    assert filled == ([] if path is None else [f"secret/data/{path}"])


def test_what_nobody_knows_stays_a_template_and_decides_only_where_it_could() -> None:
    alias = policy_templates.of_claims({"sub": "a", "level": 3}, "sub", {"level": "level"}, "web", "1.13.0")
    text = 'path "secret/data/of/{{identity.entity.aliases.auth/ci.metadata.level}}" { capabilities = ["read"] }'
    rules = policy_templates.filled(vault_policies.read("own", text), "auth/ci", alias)
    assert policy_templates.undecided(rules, "secret/data/of/3")
    assert not policy_templates.undecided(rules, "secret/data/web")


@pytest.mark.parametrize(
    "template", ["identity.entity.metadata.team", "identity.entity.name", "identity.groups.names.admins.id"]
)
def test_no_login_fills_what_is_of_the_entity_or_of_a_group(template: str) -> None:
    rules = vault_policies.read("own", f'path "secret/data/{{{{ {template} }}}}/*" {{ capabilities = ["read"] }}')
    alias = policy_templates.of_account("apps/web")
    assert policy_templates.filled(rules, "auth/kubernetes", alias) == []
    assert policy_templates.unfilled(rules, "auth/kubernetes", alias, "secret/data/web/a") == [template]
    assert policy_templates.unfilled(rules, "auth/kubernetes", alias, "secret/metadata/web") == []


WITHOUT = """
schema: 1
description: A pipeline's role gets another policy in the hop that puts the role into its alias.
vault: {source: 1.13.0}
auth: {ci: {type: jwt, roles: {deploy: {bound-audiences: [v], policies: [all]}}}}
policies:
  all: path "secret/data/*" { capabilities = ["read"] }
  other: path "secret/data/other/{{identity.entity.aliases.auth/ci.name}}" { capabilities = ["read"] }
apps: {web: {mount: ci, role: deploy, audience: v, token: minted, reads: [secret/deploy]}}
course:
  - {upgrade: 1.16.3, then-look: false}
  - write: {mount: ci, role: deploy, policies: [other]}
"""


def test_what_an_alias_gets_is_told_only_where_a_template_of_the_policies_names_it() -> None:
    found = [one for one in prediction.predict(loading.loads(WITHOUT)).findings if one.cause == "policy-denies"]
    assert [one.effect for one in found] == ["access refused"]
    assert "metadata.role" not in found[0].sentence
    named = WITHOUT.replace("auth/ci.name", "auth/ci.metadata.role")
    found = [one for one in prediction.predict(loading.loads(named)).findings if one.cause == "policy-denies"]
    assert "has metadata.role deploy, by which a template is filled" in found[0].sentence
