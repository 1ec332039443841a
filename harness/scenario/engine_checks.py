"""What a scenario says of secrets engines that cannot be, and of what apps read of them."""

from __future__ import annotations

from collections.abc import Iterator

from harness.knowledge import pki_roles, versions
from harness.scenario import engine_kinds, field_checks, schema_engines, topology, values
from harness.scenario.engine_kinds import EngineKind
from harness.scenario.field_checks import Complaint
from harness.scenario.kind_checks import lacking, strange, texts
from harness.scenario.yaml_document import Document, Trail, choices, shown, where


def complaints(document: Document) -> Iterator[Complaint]:
    """Yield what is wrong with engines by their kind, and with secrets that are none of theirs."""
    said = document.get("secrets", default={})
    if said is None:
        return
    for path in said:
        yield from _of_engine(document, ("secrets", path))
    kinds = {path: document.get("secrets", path, "type", default=engine_kinds.KV) for path in said}
    if engine_kinds.KV not in kinds.values():
        if kinds.get(topology.SECRETS) is not None:
            message = (
                f"where no key-value store is said, there is one at {topology.SECRETS}, and this is no such engine"
            )
            yield ("secrets", topology.SECRETS), message, "another path, or a key-value store as well: kv/team: {kv: 2}"
        kinds = {topology.SECRETS: engine_kinds.KV} | kinds
    for app in document.entries("apps"):
        for index, secret in texts(document, *app, "reads"):
            yield from _of_read(document, (*app, "reads", index), secret, kinds)
        for secret in document.get(*app, "writes", default={}) or {}:
            yield from _of_write(document, (*app, "writes", secret), secret, kinds)


def of_steps(document: Document) -> Iterator[Complaint]:
    """Walk the course: is there a PostgreSQL of database engines to do something to, and is it there?"""
    said = document.get("secrets", default={})
    if said is None:
        return
    kinds = [document.get("secrets", path, "type", default=engine_kinds.KV) for path in said]
    away = False
    for index in range(len(document.get("course", default=()) or ())):
        trail = ("course", index, "database")
        what = document.get(*trail) if document.given(*trail) else None
        if what is None:
            continue
        if engine_kinds.DATABASE not in kinds and None not in kinds:
            message = "no secrets engine of this scenario is of type database, and so there is no PostgreSQL of theirs"
            yield trail, message, "such an engine under secrets, or storage: for that of Vault's own data"
            return
        if (what == "stop") is away:
            message = f"the PostgreSQL of the database engines is {'away' if away else 'there'} already"
            yield trail, message, f"database: {'start' if away else 'stop'}, or no such step"
        away = what == "stop"


def _of_engine(document: Document, engine: Trail) -> Iterator[Complaint]:
    name = document.get(*engine, "type", default=engine_kinds.KV)
    if name not in engine_kinds.NAMES:
        return
    whose = f"a secrets engine of type {name}"
    if name == engine_kinds.KV:
        yield from strange(document, engine, ("type", "kv"), "a key-value store")
        yield from lacking(document, engine, schema_engines.Engine, ("kv",))
        return
    kind = engine_kinds.of(name)
    yield from strange(document, engine, ("type", kind.has), whose)
    if not document.get(*engine, kind.has) and document.sound(*engine, kind.has):
        message = f"missing key `{kind.has}` in {where(engine)}"
        yield (*engine, kind.has), message, f"{kind.has}: at least one, by name"
    for one in document.get(*engine, kind.has, default={}) or {}:
        yield from _of_role(document, (*engine, kind.has, one), kind)


def _of_role(document: Document, role: Trail, kind: EngineKind) -> Iterator[Complaint]:
    word = "a key" if kind.has == "keys" else "a role"
    allowed = [name.replace("_", "-") for name in kind.fields]
    yield from strange(document, role, allowed, f"{word} of a secrets engine of type {kind.name}")
    yield from lacking(document, role, schema_engines.EngineRole, kind.required)
    ttl, longest = document.get(*role, "ttl"), document.get(*role, "max-ttl")
    if ttl and longest and values.seconds(ttl) > values.seconds(longest):
        yield (*role, "max-ttl"), f"a max-ttl that is less than the ttl, which is {ttl}", f"{ttl} or more"
    if kind.name == engine_kinds.PKI:
        yield from _of_keys(document, role)


def _first_version(document: Document) -> str | None:
    """Return the version that is started first, which makes the engines: that of the oldest config, or the source.

    None where none is said soundly.
    """
    configured = [by for _, by in field_checks.writers(document)]
    source: str | None = document.get("vault", "source")
    return min([*configured, *([source] if source else [])], key=versions.parse, default=None)


def _of_keys(document: Document, role: Trail) -> Iterator[Complaint]:
    """Complain of a kind of key, or of bits, that the Vault which makes the engine would refuse in a pki role."""
    writes = _first_version(document)
    key, bits = document.get(*role, "key-type", default="rsa"), document.get(*role, "key-bits")
    can_be = pki_roles.BITS.get(key)
    if writes is None or can_be is None:
        return
    if key == "ed25519" and not versions.at_least(writes, pki_roles.ED25519):
        message = f"key_type ed25519 is unknown to {versions.called(writes)}, which writes this role"
        yield (*role, "key-type"), message, f"another kind, or begin at {pki_roles.ED25519} or newer"
    elif bits is not None and bits not in can_be:
        right = ", ".join(map(str, can_be)) or "leave it out"
        yield (*role, "key-bits"), f"Vault makes no {key} key of {bits} bits", right
    elif bits is None and pki_roles.needs_bits(writes, key):
        message = f"{versions.called(writes)}, which writes this role, takes 2048 bits where none are said, and refuses"
        yield (*role, "key-type"), f"{message} that for {key}", "key-bits: 256"


def _of_write(document: Document, trail: Trail, secret: str, kinds: dict[str, str | None]) -> Iterator[Complaint]:
    mount = topology.engine_of(secret, kinds)
    if mount and kinds[mount] not in (engine_kinds.KV, None):
        message = f"an app writes into key-value stores, and {mount} is a {kinds[mount]} engine"
        yield (
            trail,
            message,
            "below a key-value store, such as "
            + (
                next(
                    (f"{path}/" for path, kind in kinds.items() if kind == engine_kinds.KV),
                    "kv/: {kv: 2} under secrets",
                )
            ),
        )
        return
    yield from _of_read(document, trail, secret, kinds)
    if not document.get(*trail, default={}):
        yield trail, f"nothing is written to {shown(secret)}", "its fields, such as {password: changed}"


def _of_read(document: Document, trail: Trail, secret: str, kinds: dict[str, str | None]) -> Iterator[Complaint]:
    mount = topology.engine_of(secret, kinds)
    if not mount:
        message = f"no secrets engine of this scenario has the secret {shown(secret)}"
        yield trail, message, f"below {', or '.join(f'{path}/' for path in kinds)}; or write its engine: secrets"
        return
    below, name = secret.removeprefix(f"{mount}/"), kinds[mount]
    if name == engine_kinds.KV:
        part, _, rest = below.partition("/")
        version = document.get("secrets", mount, "kv", default=topology.KV_V2)
        if part in ("data", "metadata") and rest and version == topology.KV_V2:
            message = f"{shown(secret)} is the path in kv-v2's API, and the secret is called {mount}/{rest}"
            yield trail, message, f"{mount}/{rest}"
    elif name in engine_kinds.NAMES:
        kind = engine_kinds.of(str(name))
        known = document.get("secrets", mount, kind.has, default={}) or {}
        there = [f"{mount}/{kind.reads.format(one)}" for one in known]
        if there and secret not in there:
            message = f"{where(('secrets', mount))} makes no {shown(secret)}"
            yield trail, message, choices(secret, there)
