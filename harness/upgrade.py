"""The order in which a live Vault is set up, opened and taken to its next version, whoever runs it."""

from __future__ import annotations

import secrets as random
from collections.abc import Sequence
from typing import Any

from harness import events, plan, wait
from harness.errors import NotReady, RigError, SwapRefused, Unreachable
from harness.journal import Journal
from harness.observation import shortened
from harness.plan import Stage
from harness.rig import Reply, Rig
from harness.scenario import Mount, Role, Scenario
from harness.secret import Secret

ACTIVE_SECONDS = 60
KV_SECONDS = 30
ANSWER_SECONDS = 15


def initialise(rig: Rig, scenario: Scenario, stage: Stage, book: Journal) -> Sequence[Secret]:
    """Make the new Vault of the first stage ready for use and return its unseal keys.

    Afterwards it is unsealed, audits, and holds the scenario's policies and secrets; no auth mount is there yet.
    """
    keys = rig.setup.initialise(scenario.vault.shares, scenario.vault.threshold)
    rig.open_to_all()
    open_vault(rig, stage, keys, book)
    rig.setup.enable_audit()
    rig.setup.enable_kv()
    for name, text in plan.policies(scenario).items():
        rig.setup.write_policy(name, text)
    for path in sorted({secret for app in scenario.apps.values() for secret in app.reads}):
        _write_secret(rig, plan.kv_data_path(path))
    return keys


def open_vault(rig: Rig, stage: Stage, keys: Sequence[Secret], book: Journal) -> None:
    """Unseal Vault, wait until it is active, and make sure that it is the version that was asked for.

    Raises SwapRefused where it declines a key or another version answers, ProcessDied where it dies, and NotReady
    where it gives no answer or stays inactive.
    """
    for key in keys:
        reply = rig.setup.unseal(key)
        if not reply.ok:
            raise _declined(rig, stage, reply)
        if reply.data.get("sealed") is False:
            break
    wait.until(
        lambda: _active(rig.vault.health()),
        what=f"Vault {stage.version} to be active after its unseal",
        seconds=ACTIVE_SECONDS,
        died=rig.vault_died,
        log=lambda: rig.vault_log(40),
        advice="a larger Vault may need longer; its whole log is kept beside the record",
    )
    answered = str(insist_alive(rig, stage, "to tell its version").data.get("version", ""))
    if answered.split("+", maxsplit=1)[0] != stage.version.split("+")[0]:
        raise SwapRefused(
            f"Vault {stage.version} was put in place, and Vault {answered or '?'} answers: the binary is not what it "
            "is taken for (rehearse artifacts list shows where it came from)"
        )
    book.write(
        events.VaultServing(asked=stage.version, answered=answered, purpose=stage.purpose, token_file=stage.token_file)
    )


def _active(health: Reply) -> bool:
    """Return True for an active Vault; raise Unreachable for any other, which is how `until` learns what it said."""
    if health.status != 200:
        raise Unreachable(health.error or f"sys/health says HTTP {health.status}")
    return True


def insist_alive(rig: Rig, stage: Stage, what: str) -> Reply:
    """Return what Vault says of its seal. Raises ProcessDied if it is dead, NotReady if it is silent.

    A server that dies in the middle of an answer is known to be dead a moment later only: this waits for that moment.
    *what* completes the sentence "waited for Vault ...".
    """
    return wait.until(
        lambda: rig.vault.seal_status().answered(),
        what=f"Vault {stage.version} {what}",
        seconds=ANSWER_SECONDS,
        died=rig.vault_died,
        log=lambda: rig.vault_log(40),
        advice="its whole log is kept beside the record",
    )


def _declined(rig: Rig, stage: Stage, reply: Reply) -> RigError:
    """Return why an unseal key was not taken. Raises ProcessDied or NotReady if that is because Vault is gone."""
    insist_alive(rig, stage, "to answer again after an unseal key")
    if reply.status is None:
        return NotReady(
            f"Vault {stage.version} was handed an unseal key and gave no answer ({reply.error}), though it answers "
            "otherwise; its whole log is kept beside the record",
            rig.vault_log(40),
        )
    return SwapRefused(
        f"Vault {stage.version} was handed an unseal key that opens this data, and declined it: HTTP {reply.status} "
        f"{reply.error}".rstrip(),
        rig.vault_log(40),
    )


def write_mounts(rig: Rig, scenario: Scenario, stage: Stage, book: Journal) -> None:
    """Write the auth mounts whose config this stage's version is to have written: that is their provenance."""
    if stage.token_file:
        rig.await_token_file()
    for path in stage.writes:
        mount = scenario.auth[path]
        accessor = rig.setup.enable_auth(path)
        fields = _config(rig, path, mount)
        rig.setup.write_auth_config(path, fields)
        book.write(
            events.ConfigWritten(
                mount=path,
                accessor=accessor,
                version=stage.version,
                token_file=stage.token_file,
                fields={name: _shown(value) for name, value in fields.items()},
            )
        )
        for name, role in mount.roles.items():
            written = _role(role)
            rig.setup.write_role(path, name, written)
            book.write(events.RoleWritten(mount=path, role=name, version=stage.version, fields=written))


def to_next(rig: Rig, stage: Stage, keys: Sequence[Secret], book: Journal) -> None:
    """Take Vault to *stage*: its Pod replaced, the next version over the same data, unsealed, active, and no old token
    alive in any cache.
    """
    with book.phase(f"swap to {stage.version}"):
        rig.swap(stage)
    with book.phase(f"unseal {stage.version}"):
        open_vault(rig, stage, keys, book)
    with book.phase(f"old token dead before {stage.version}"):
        rig.settle()


def _config(rig: Rig, path: str, mount: Mount) -> dict[str, str | bool | Secret]:
    """Fill in what only the running cluster knows."""
    cluster = rig.cluster(mount.cluster)
    known: dict[str, str | Secret] = {
        "kubernetes_host": cluster.host,
        "kubernetes_ca_cert": cluster.ca,
        "issuer": cluster.issuer,
    }
    fields: dict[str, str | bool | Secret] = {}
    for name, value in plan.config_fields(mount).items():
        if value == "cluster":
            fields[name] = known[name]
        elif value == "long-lived":
            fields[name] = rig.reviewer_token(path).jwt
        else:
            fields[name] = value
    return fields


def _role(role: Role) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "bound_service_account_names": ",".join(role.service_accounts),
        "bound_service_account_namespaces": ",".join(role.namespaces),
        "token_policies": ",".join(role.policies),
        "token_ttl": role.ttl,
    }
    if role.max_ttl is not None:
        fields["token_max_ttl"] = role.max_ttl
    if role.audience is not None:
        fields["audience"] = role.audience
    return fields


def _shown(value: str | bool | Secret) -> str | bool:
    """Return a config value as the record shows it."""
    shown: str | bool = repr(value) if isinstance(value, Secret) else shortened(value)
    return shown


def _write_secret(rig: Rig, path: str) -> None:
    """Write one secret. kv-v2 prepares itself in the background after its mount and declines writes until then."""
    last: list[str] = []

    def written() -> bool:
        try:
            rig.setup.write_secret(path, {"password": Secret(random.token_urlsafe(18))})
        except RigError as error:
            last[:] = [str(error)]
            return False
        return True

    wait.until(written, what=f"kv-v2 to take {path}", seconds=KV_SECONDS, log=lambda: last)
