"""Installations for tests: what a Vault and a cluster would answer, as data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.importing.asking import Answer, Answers, Question
from harness.importing.composing import Wishes, compose
from harness.importing.installation import Known, Seen
from harness.importing.merging import merge
from harness.importing.naming import Names
from harness.importing.scenario_text import written
from harness.scenario import loading, matrix
from harness.scenario.loading import Loaded

IDENTITY = "0a1b2c3d-cluster"


def data(**fields: Any) -> Answer:
    """Return the answer with these data."""
    return Answer(200, {"data": fields})


def refused(status: int = 403, error: str = "permission denied") -> Answer:
    """Return a no."""
    return Answer(status, {"errors": [error]}, error)


class OnPaper:
    """A server that answers what it is told to, everything else with 404, and remembers what it was asked."""

    def __init__(self, answers: Mapping[str, Answer]) -> None:
        self.answers = dict(answers)
        self.asked: list[Question] = []

    def ask(self, questions: Sequence[Question]) -> Answers:
        self.asked += questions
        return {one: self.answers.get(one.path, refused(404, "")) for one in questions}


def vault(version: str = "1.7.0", **config: Any) -> dict[str, Answer]:
    """Return the answers of a Vault with one Kubernetes mount and one role."""
    return server(version) | {
        "sys/auth": data(**{"kubernetes/": {"type": "kubernetes"}, "token/": {"type": "token"}}),
        "sys/mounts": data(**{"secret/": {"type": "kv", "options": {"version": "2"}}, "sys/": {"type": "system"}}),
        **mount("kubernetes", {"web": role(["web"], ["apps"], ["web"])}, **config),
        "sys/policies/acl/web": data(policy='path "secret/data/web" {\n  capabilities = ["read"]\n}\n'),
    }


def server(version: str) -> dict[str, Answer]:
    """Return what a Vault says of itself."""
    body = {"type": "shamir", "initialized": True, "sealed": False, "t": 3, "n": 5, "version": version}
    status = Answer(200, body | {"storage_type": "raft", "cluster_id": IDENTITY})
    return {
        "sys/seal-status": status,
        "sys/leader": Answer(200, {"ha_enabled": True}),
        "sys/storage/raft/configuration": data(config={"servers": [{}, {}, {}]}),
        "sys/version-history": data(keys=["1.10.0", version]),
    }


def mount(path: str, roles: Mapping[str, Mapping[str, Any]], **config: Any) -> dict[str, Answer]:
    """Return the answers of a Kubernetes mount."""
    usual = {
        "kubernetes_host": "https://apps.example.com:6443",
        "kubernetes_ca_cert": "",
        "pem_keys": [],
        "issuer": "",
        "disable_iss_validation": True,
        "disable_local_ca_jwt": False,
    }
    pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"
    return {
        f"auth/{path}/config": data(**usual | {"kubernetes_ca_cert": pem} | config),
        f"auth/{path}/role": data(keys=list(roles)),
        **{f"auth/{path}/role/{name}": data(**fields) for name, fields in roles.items()},
    }


def role(names: Sequence[str], spaces: Sequence[str], policies: Sequence[str] = (), **more: Any) -> dict[str, Any]:
    """Return a role as Vault shows it."""
    return {
        "bound_service_account_names": list(names),
        "bound_service_account_namespaces": list(spaces),
        "token_policies": list(policies),
        "token_ttl": 0,
        "token_bound_cidrs": [],
        "token_type": "default",
        "audience": "",
        **more,
    }


ENGINES = """
path "secret/data/web" { capabilities = ["read"] }
path "database/creds/app" { capabilities = ["read"] }
path "pki/issue/+" { capabilities = ["update"] }
path "transit/+/orders" { capabilities = ["update"] }
"""
"""A policy that grants secrets of every kind of engine."""


def engines() -> dict[str, Answer]:
    """Return the answers of a Vault with secrets engines and token roles, where one can be beside a secret."""
    connection = "postgresql://vault:hunter2-of-an-engine@db.example.com/app"
    kinds = {"secret": "kv", "database": "database", "pki": "pki", "transit": "transit", "old/db": "database"}
    return vault("1.11.0") | {
        "sys/mounts": data(**{f"{path}/": {"type": kind, "options": {"version": "2"}} for path, kind in kinds.items()}),
        "sys/policies/acl/web": data(policy=ENGINES),
        "database/config/app": data(connection_details={"connection_url": connection}),
        "database/roles": data(keys=["app", "admin"]),
        "database/roles/app": data(default_ttl=3600, max_ttl=86400, creation_statements=[connection], db_name="app"),
        "pki/roles": data(keys=["web", "any", "odd"]),
        "pki/roles/web": data(ttl=0, max_ttl=259200, allowed_domains=["example.com"], key_type="ec", key_bits=256,
                              allow_subdomains=False, no_store=False),
        "pki/roles/any": data(allow_any_name=True, key_type="rsa", key_bits=2048),
        "pki/roles/odd": data(allowed_domains=["example.com"], key_type="any"),
        "transit/keys": data(keys=["orders", "invoices"]),
        "transit/keys/orders": data(type="rsa-4096", keys={"1": {"public_key": connection}}),
        "auth/token/roles": data(keys=["ci", "all"]),
        "auth/token/roles/ci": data(allowed_policies=["web"], disallowed_policies=["admin"], orphan=True,
                                    renewable=False, token_period=0, token_type="default-service"),
        "auth/token/roles/all": data(allowed_policies=[], renewable=True, orphan=False),
    }  # fmt: skip


def scenario(known: Known | Sequence[Seen], wishes: Wishes | None = None, *, redact: str | None = None) -> Loaded:
    """Return the scenario of what was seen, which is a sound one, and each of its variants is."""
    found = known if isinstance(known, Known) else merge(known)
    made = compose(found, wishes or Wishes(target="1.16.3"), Names(redact))
    loaded = loading.loads(written(made.document, made.comments))
    variants(loaded)
    return loaded


def variants(loaded: Loaded) -> dict[str, Loaded]:
    """Return the cells of a scenario's matrix, each a sound scenario."""
    if loaded.scenario.matrix is None:
        return {}
    document = matrix.plain(loaded.scenario)
    read = matrix.read(document, here=lambda _product, _version: True)
    return {cell.id: loading.of_cell(loaded, cell) for cell in matrix.cells(document, read)}
