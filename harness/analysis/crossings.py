"""Which known changes the path of a plan crosses, which of them touch its installation, and which nobody can tell.

Of the plan alone: nothing has to have run.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from itertools import pairwise
from typing import Final, Literal

import msgspec

from harness.knowledge import behaviours, kubernetes_auth, policy_templates, server_settings, versions
from harness.knowledge.behaviours import Row
from harness.knowledge.kubernetes_auth import Stored
from harness.scenario import course, engine_kinds
from harness.scenario.course import Serve, WriteConfig
from harness.scenario.mount_kinds import ASKED_AT, CERT, JWT, KUBERNETES
from harness.scenario.plan import Plan
from harness.scenario.topology import TRANSIT, Topology

Touches = Literal["yes", "no", "unknown"]

_ALONG: Final = frozenset({"vault", "vault-image", "chart", "agent"})
"""The products whose versions go with Vault's: the others are upgraded by themselves."""


class Crossing(msgspec.Struct, frozen=True, kw_only=True):
    """A known change that lies on the path."""

    id: str
    at: str
    """the version with which it comes, or nothing where it comes with any restart"""
    touches: Touches
    because: str
    """why it touches this installation or does not; of what cannot be told, the question to answer by hand"""
    effect: str
    status: str
    remedy: str
    source: str
    grade: behaviours.Grade
    probe: str
    """the question of a rehearsal that shows it; empty: none does, so that no run rules it out"""


class Held(msgspec.Struct, frozen=True):
    """A config that is written at some time."""

    mount: str
    fields: Mapping[str, object]
    stored: Stored
    validated: bool
    """is the issuer of a login compared, as long as it is this config that holds?"""
    kind: str = KUBERNETES
    """that of its mount: what is known of reviewers and issuers is of no other"""

    @property
    def local(self) -> bool:
        """May the token of Vault's pod be used by it?"""
        return self.stored == "" and self.fields.get("disable_local_ca_jwt") is not True


def crossings(plan: Plan) -> tuple[Crossing, ...]:
    """Return every change on the path, what touches this installation first and what cannot be told next."""
    found = [_crossing(row, at, plan) for row in behaviours.breakers() for at in _places(row, plan)[:1]]
    order: dict[Touches, int] = {"yes": 0, "unknown": 1, "no": 2}
    return tuple(sorted(found, key=lambda one: order[one.touches]))


def _places(row: Row, plan: Plan) -> list[str]:
    """Return the versions at which a path meets a change, in order."""
    serving = _serving(plan)
    if row.when:
        return _occasions(row, plan, serving)
    if row.product == versions.OPENBAO:
        return _into_openbao(row, serving)
    if row.product not in _ALONG:
        return []
    hops = [hop for each in serving.values() for hop in pairwise(each)]
    return [new for old, new in hops if versions.product(new) == "vault" and row.appears(old, new)]


def _into_openbao(row: Row, serving: Mapping[str, list[str]]) -> list[str]:
    """Return the versions of OpenBao at which a path meets a change that comes with it."""
    hops = [hop for each in serving.values() for hop in pairwise(each)]
    into = [(old, new) for old, new in hops if versions.product(new) == versions.OPENBAO]
    found: list[str] = []
    for old, new in into:
        before, then = versions.number(old), versions.number(new)
        comes = row.appears(before, then) if versions.product(old) == versions.OPENBAO else row.holds(then)
        found += [new] if comes else []
    return found


def _serving(plan: Plan) -> dict[str, list[str]]:
    """Return the versions that serve from the first look on, by the name of the Vault."""
    found: dict[str, list[str]] = {}
    looked: set[str] = set()
    for step in plan.steps:
        if isinstance(step, course.Look):
            looked |= set(found)
        elif isinstance(step, Serve):
            # what came before the first look wrote configs, and is the past
            before = found.setdefault(step.vault, []) if step.vault in looked else []
            found[step.vault] = [*before, step.version]
    return found


def _occasions(row: Row, plan: Plan, serving: Mapping[str, list[str]]) -> list[str]:
    """Return the versions at which what brings a row on happens, as far as the row holds there."""
    if row.when == "roll-back":
        back = [step.version for step in plan.steps if isinstance(step, course.RollBack)]
        newest = [one for versions in serving.values() for one in versions]
        return [version for version in back if not row.holds(version) and any(map(row.holds, newest))]
    hops = [hop for each in serving.values() for hop in pairwise(each)]
    return [
        new
        for old, new in hops
        if versions.product(new) == "vault" and row.holds(new) and (row.when == "restart" or old != new)
    ]


def _crossing(row: Row, at: str, plan: Plan) -> Crossing:
    touches, because = _touched(row, plan)
    return Crossing(
        id=row.id,
        at=at,
        touches=touches,
        because=because,
        effect=row.effect,
        status=row.status,
        remedy=row.remedy,
        source=row.source,
        grade=row.grade,
        probe=row.probe,
    )


def configs(plan: Plan) -> list[Held]:
    """Return every config that the course of a plan writes, with what it holds afterwards."""
    wanted, serving, found = plan.resolved, dict[str, Serve](), list[Held]()
    for step in plan.steps:
        if isinstance(step, Serve):
            serving[step.vault] = step
        elif isinstance(step, WriteConfig):
            served, kind = serving[wanted.told_apart(wanted.mounts[step.mount].vault)], wanted.mounts[step.mount].kind
            stored = kubernetes_auth.stored_reviewer(
                served.version,
                token_file=served.token_file,
                explicit="token_reviewer_jwt" in step.fields,
                disable_local=step.fields.get("disable_local_ca_jwt") is True,
            )
            given = step.fields.get("disable_iss_validation")
            off = kubernetes_auth.validation_disabled(served.version, given=given if isinstance(given, bool) else None)
            found.append(Held(step.mount, step.fields, stored, not off, kind))
    return found


# --- whom it touches --------------------------------------------------------------------------------------------------

Answer = tuple[Touches, str]


def _touched(row: Row, plan: Plan) -> Answer:
    touches, because = WHOM[row.touches](plan)
    return touches, row.ask or because if touches == "unknown" else because


def _always(_plan: Plan) -> Answer:
    return "yes", "every Vault that apps log in to"


def _unknown(_plan: Plan) -> Answer:
    return "unknown", ""


def _no(_plan: Plan) -> Answer:
    return "no", "no scenario has it"


def _mounts(where: Callable[[Held], bool], has: str, without: str, kind: str = KUBERNETES) -> Callable[[Plan], Answer]:
    """Return what tells which auth mounts of a *kind* have a config that is like this."""

    def told(plan: Plan) -> Answer:
        mine = [held for held in configs(plan) if held.kind == kind]
        names = list(dict.fromkeys(f"auth/{held.mount}" for held in mine if where(held)))
        return ("yes", f"{', '.join(names)} {has}") if names else ("no", without)

    return told


def _empty_reviewer(plan: Plan) -> Answer:
    file = any(isinstance(step, Serve) and step.token_file for step in plan.steps)
    found = _mounts(lambda held: held.local, "names no reviewer", "every config says who reviews")(plan)
    if found[0] == "yes" and not file:
        return "no", "Vault has no pod's token to read"
    return found


def _roles(where: str, has: str) -> Callable[[Plan], Answer]:
    """Return what tells which roles have a field."""

    def told(plan: Plan) -> Answer:
        roles = [(path, name, role) for path, one in plan.resolved.mounts.items() for name, role in one.roles.items()]
        roles += [(step.mount, step.role, step.spec) for step in plan.steps if isinstance(step, course.WriteRole)]
        names = list(dict.fromkeys(f"{path}/{name}" for path, name, role in roles if where in role.fields))
        return ("yes", f"role {', '.join(names)} {has}") if names else ("no", f"no role {has}")

    return told


def _alias_by_name(plan: Plan) -> Answer:
    roles = [role for mount in plan.resolved.mounts.values() for role in mount.roles.values()]
    roles += [step.spec for step in plan.steps if isinstance(step, course.WriteRole)]
    named = any(role.alias_name_source == "serviceaccount_name" for role in roles)
    return ("yes", "a role names aliases by the account") if named else ("no", "no role names aliases by the account")


def _token_audience(plan: Plan) -> Answer:
    names = [name for name, app in plan.resolved.apps.items() if app.audiences]
    return ("yes", f"the token of {', '.join(names)} has an audience") if names else ("no", "no token has an audience")


def _es384(plan: Plan) -> Answer:
    names = [name for name, cluster in plan.resolved.clusters.items() if cluster.signing_algorithm == "ES384"]
    return ("yes", f"cluster {', '.join(names)} signs with ES384") if names else ("no", "no cluster signs with ES384")


def _policies(word: str, asked: str) -> Callable[[Plan], Answer]:
    """Return what tells whether a policy of the scenario has a *word*; the others nobody has shown."""

    def told(plan: Plan) -> Answer:
        names = [name for name, text in plan.resolved.policies.items() if word in text]
        return ("yes", f"policy {', '.join(names)} has {word}") if names else ("unknown", asked)

    return told


def _role_in_a_template(plan: Plan) -> Answer:
    """Tell by the templates of the scenario's policies, which name its mounts; the other policies nobody has shown."""
    mounts = [f"auth/{path}" for path, mount in plan.resolved.mounts.items() if mount.of_kind.name == JWT]
    named = [
        name
        for name, text in plan.resolved.policies.items()
        if any(policy_templates.names_alias(text, mount, "metadata.role") for mount in mounts)
    ]
    if named:
        return "yes", f"policy {', '.join(named)} has a template with metadata.role"
    return "unknown", "have policies templates with metadata.role of a JWT mount?"


def _stored_on(kind: str, *, then: Answer = ("yes", "")) -> Callable[[Plan], Answer]:
    """Return what tells by the storage of Vault."""

    def told(plan: Plan) -> Answer:
        here = {vault.storage for vault in plan.resolved.vaults.values()}
        if kind not in here:
            return "no", f"Vault's storage is {', '.join(sorted(here))}"
        return then[0], then[1] or f"Vault's storage is {kind}"

    return told


def _also_mounted(kinds: Collection[str]) -> Callable[[Plan], Answer]:
    """Return what tells by what else is mounted; that nothing of these kinds is said is no word of the author."""

    def told(plan: Plan) -> Answer:
        there = [path for path, kind in plan.resolved.also_mounted.items() if kind in kinds]
        return ("yes", f"{', '.join(there)} is such a mount") if there else ("unknown", "")

    return told


def _mlock(plan: Plan) -> Answer:
    """Tell by what Vault's configuration says; that it does is the rehearsal's own doing, and no word of the author."""
    if any(vault.disable_mlock == "omitted" for vault in plan.resolved.vaults.values()):
        return "yes", "Vault's configuration does not say disable_mlock"
    return _stored_on("raft", then=("unknown", ""))(plan)


def _several_nodes(wanted: Topology) -> bool:
    return any(vault.nodes > 1 for vault in wanted.vaults.values())


def _nodes(plan: Plan) -> Answer:
    if _several_nodes(plan.resolved):
        return "yes", "Vault has several nodes"
    return "unknown", "this scenario has one node: has your Vault several?"


def _raft_nodes(plan: Plan) -> Answer:
    found = _stored_on("raft")(plan)
    return found if found[0] == "no" else _nodes(plan)


def _in_a_pod(plan: Plan) -> Answer:
    pods = any(vault.cluster for vault in plan.resolved.vaults.values())
    return ("unknown", "") if pods else ("no", "Vault is in no cluster")


def _passwords(plan: Plan) -> Answer:
    """Tell by the kinds of mounts that the scenario has; it need not name all that there are."""
    names = [f"auth/{path}" for path, one in plan.resolved.mounts.items() if one.kind in ("userpass", "approle")]
    return ("yes", f"{', '.join(names)} is such a mount") if names else ("unknown", "")


def _unbound_audiences(plan: Plan) -> Answer:
    """Tell by the JWT roles at which an app of the scenario logs in with one audience, as a text; there may be more."""
    names = [
        f"{app.role} of auth/{app.mount}"
        for app in plan.resolved.apps.values()
        if app.token == "minted" and len(app.audiences) == 1 and _binds_none(plan, app.mount, app.role)
    ]
    return ("yes", f"role {', '.join(dict.fromkeys(names))} binds no audiences") if names else ("unknown", "")


def _binds_none(plan: Plan, mount: str, role: str) -> bool:
    held = plan.resolved.mounts[mount].roles.get(role)
    return held is not None and not held.bound_audiences


def _certificates_themselves(plan: Plan) -> Answer:
    """Tell by the roles of cert mounts that the scenario has; it need not name all that there are."""
    mounts = {path: one for path, one in plan.resolved.mounts.items() if one.kind == CERT}
    names = [
        f"{name} of auth/{path}"
        for path, one in mounts.items()
        for name, role in one.roles.items()
        if role.certificate == "own"
    ]
    return ("yes", f"role {', '.join(names)} trusts a certificate by itself") if names else ("unknown", "")


def _pki(plan: Plan) -> Answer:
    """Tell by the engines that the scenario has; it need not name all that there are."""
    names = [path for path, one in plan.resolved.makers.items() if one.kind == engine_kinds.PKI]
    return ("yes", f"{', '.join(names)} is a pki engine") if names else ("unknown", "")


def _unsealed_by_itself(plan: Plan) -> Answer:
    """Tell by the seals of the scenario, which names one other than that of keys: transit."""
    steps = [step.seal for step in plan.steps if isinstance(step, Serve)]
    if TRANSIT in (plan.resolved.vault.seal, *steps):
        return "yes", "Vault is unsealed by the transit engine of another one"
    return "unknown", ""


def _enterprise(plan: Plan) -> Answer:
    found = any("+ent" in version for versions in _serving(plan).values() for version in versions)
    return ("yes", "this is Vault Enterprise") if found else ("no", "this is not Vault Enterprise")


def _consul(plan: Plan) -> Answer:
    """Tell by the storage of Vault; over another one it may be registered in a Consul all the same."""
    stored = _stored_on("consul")(plan)
    return stored if stored[0] == "yes" else ("unknown", "")


def _postgresql(plan: Plan) -> Answer:
    """Tell by the storage of Vault and the engines that the scenario has; it need not name all that there are."""
    stored = _stored_on("postgresql")(plan)
    if stored[0] == "yes":
        return stored
    names = [path for path, one in plan.resolved.makers.items() if one.kind == engine_kinds.DATABASE]
    return ("yes", f"{', '.join(names)} makes credentials of a PostgreSQL") if names else ("unknown", "")


def _other_storage(plan: Plan) -> Answer:
    return "no", f"Vault's storage is {', '.join(sorted({one.storage for one in plan.resolved.vaults.values()}))}"


WHOM: Final[Mapping[str, Callable[[Plan], Answer]]] = {
    "always": _always,
    "ask": _unknown,
    "no": _no,
    "empty-reviewer": _empty_reviewer,
    "frozen-reviewer": _mounts(
        lambda held: held.stored == "frozen" or held.fields.get("token_reviewer_jwt") == "pod-token",
        "holds a copy of a token of Vault's pod",
        "no config holds a copy of a token of Vault's pod",
    ),
    "stored-reviewer": _mounts(lambda held: held.stored == "explicit", "has a reviewer", "no config has a reviewer"),
    "issuer-unset": _mounts(
        lambda held: held.validated and not held.fields.get("issuer"),
        "compares an issuer that nobody set",
        "no config compares an issuer that nobody set",
    ),
    "no-ca": _mounts(lambda held: "kubernetes_ca_cert" not in held.fields, "has no CA", "every config has a CA"),
    "pem-keys": _mounts(lambda held: bool(held.fields.get("pem_keys")), "has pem_keys", "no config has pem_keys"),
    "annotations": _mounts(
        lambda held: held.fields.get("use_annotations_as_alias_metadata") is True,
        "reads annotations",
        "no config reads annotations",
    ),
    "jwt-url": _mounts(
        lambda held: any(url in held.fields for url in ASKED_AT),
        "gets its keys from a URL",
        "no config gets its keys from a URL",
        JWT,
    ),
    "selector": _roles("bound_service_account_namespace_selector", "selects namespaces by their labels"),
    "alias-by-name": _alias_by_name,
    "token-audience": _token_audience,
    "es384": _es384,
    "policy-parameters": _policies("_parameters", "do your policies have allowed_parameters or denied_parameters?"),
    "policy-templates": _policies("{{", "are your policies templated?"),
    "role-in-a-template": _role_in_a_template,
    "policy-denies": _policies("deny", "do your policies deny paths?"),
    "raft": _stored_on("raft"),
    "ask-mlock": _mlock,
    "ask-old-mounts": _also_mounted(server_settings.OLD_KINDS),
    "ask-centrify": _also_mounted(server_settings.CENTRIFY),
    "ask-raft": _stored_on("raft", then=("unknown", "")),
    "ask-file": _stored_on("file", then=("unknown", "")),
    "ask-pod": _in_a_pod,
    "ask-passwords": _passwords,
    "ask-pki": _pki,
    "ask-jwt-audiences": _unbound_audiences,
    "ask-certificates": _certificates_themselves,
    "ask-seal": _unsealed_by_itself,
    "nodes": _nodes,
    "raft-nodes": _raft_nodes,
    "enterprise": _enterprise,
    "ask-consul": _consul,
    "ask-etcd": _stored_on("etcd", then=("unknown", "")),
    "ask-postgresql": _postgresql,
    "other-storage": _other_storage,
}
"""What the word `touches` of a row means: of a plan, whether it touches that installation, and why."""
