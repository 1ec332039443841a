"""Why nobody knows what a run was to find out: each doubt keeps it from being a pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec

from harness.analysis import audit_devices, databases, lost_connections, rolling, storages, ways
from harness.analysis.diagnosis import Finding
from harness.analysis.record_view import Facts
from harness.analysis.rules import rewrites, secrets
from harness.knowledge import kubernetes_auth, versions
from harness.knowledge.versions import at_least
from harness.record.observation import Observation
from harness.scenario import auth_config, course
from harness.scenario.role_spec import RoleSpec
from harness.scenario.topology import MountSpec

DoubtKind = Literal["unlearned", "unasked", "mixed", "unrehearsed", "noise", "incomplete", "unfinished"]
"""unlearned: an app was refused from the start and ever after, and nobody said that it would be, or the looks have used
up what it logs in with. unasked: a question got no answer. mixed: a question got now this answer and now that, in the
same state. unrehearsed: a stored reviewer will end, and the run does not go that far. noise: the A -> A rehearsal,
without any upgrade, was not silent. incomplete: the record lacks what its run must have written. unfinished: something
kept the run from going on, or cut it off."""

_MUST_BE_GRANTED: Final = ("login", "token-lookup", "read", "write")
"""The questions that a working app is granted. Where it is refused all along, an upgrade has nothing to break."""

_NAMED: Final = 3


class Doubt(msgspec.Struct, frozen=True):
    """One reason for which the answer is not known."""

    kind: DoubtKind
    text: str
    """the sentence among the reasons, without its full stop"""
    apps: tuple[str, ...] = ()
    """whom it is about, where it is about apps"""


def excused(facts: Facts) -> frozenset[int]:
    """Return the ids of the questions without an answer of which something else tells why.

    What a refused login made impossible to ask, or one that got several answers, is told by that; a node that the
    course has stopped or removed was not to answer; where no audit device can write, nobody leads, or a storage or the
    database of an engine is away, that is told once; and so is a login that a standby did not forward. No other is.
    """
    connections = lost_connections.excused(facts)
    told = {one.id for one in facts.observations if one.answer == "refused" or one.mixed} | connections
    for one in facts.observations:
        # what a login would have let be read can have kept another question from being asked in its turn
        if one.answer == "unknown" and not one.mixed and one.blocked_by in told:
            told.add(one.id)
    stopped, removed = course.stopped(facts.steps), rolling.removed(facts)
    silenced = audit_devices.silenced(facts) | storages.silenced(facts) | rolling.leaderless(facts)
    cut_off, without = ways.told(facts.observations), databases.excused(facts)
    return frozenset(
        one.id
        for one in facts.observations
        if one.answer == "unknown" and not one.mixed
        if one.id in told
        or one.id in without
        or one.node in stopped.get(one.moment, ())
        or one.node in removed.get(one.moment, ())
        or one.moment in silenced
        or (one.moment, one.app) in cut_off
    )


def never_granted(facts: Facts, probe: str = "login") -> list[Observation]:
    """Return the first answers to *probe* that were refused before any hop, and never granted at a moment after it."""
    asked = [seen for seen in facts.observations if seen.probe == probe]
    granted = {(seen.app, seen.item) for seen in asked if seen.answer == "granted"}
    first = {(seen.app, seen.item): seen for seen in reversed(asked) if seen.moment == facts.first_moment}
    return [
        seen for seen in reversed(first.values()) if seen.answer == "refused" and (seen.app, seen.item) not in granted
    ]


def unlearned(facts: Facts, findings: Iterable[Finding], expected: Iterable[bool]) -> Iterator[Doubt]:
    """Yield of which apps nothing was learned, and what to look up in production before anything here counts.

    *expected* says of each finding whether the scenario expects it: a refusal that is expected is known, and no doubt.
    """
    paired = list(zip(findings, expected, strict=True))
    causes = {
        (probe, one.app, item): (one.rule, known) for one, known in paired if not one.hop for probe, item in one.asked
    }
    groups: dict[tuple[str, str, str], list[Observation]] = {}
    for probe in _MUST_BE_GRANTED:
        for seen in never_granted(facts, probe):
            rule, known = causes.get((probe, seen.app, seen.item), ("", False))
            if not known:
                groups.setdefault((probe, seen.mount, rule), []).append(seen)
    for (probe, mount, rule), group in groups.items():
        apps = tuple(dict.fromkeys(seen.app for seen in group))
        whose = f"{_who_reviews(group[0].version)} " if rule in _OF_REVIEWER else ""
        keys = _keys(facts, probe, mount, rule, apps)
        yield Doubt("unlearned", _question(facts, probe, group, apps, keys, whose), apps)


def unrehearsed(findings: Iterable[Finding], expected: Iterable[bool]) -> Iterator[Doubt]:
    """Yield which mounts have a reviewer stored that will end, where the scenario does not say that this is known.

    A run that is over before that end is no all-clear for the time after it.
    """
    groups: dict[tuple[str, str, str], list[Finding]] = {}
    for one, known in zip(findings, expected, strict=True):
        if one.effect == "reviewer expires" and not known:
            groups.setdefault((one.vault, one.mount, one.sentence), []).append(one)
    for (_, mount, _), group in groups.items():
        apps = tuple(dict.fromkeys(one.app for one in group))
        meant = ", ".join(f"{{change: reviewer expires, app: {app}}}" for app in apps[:_NAMED])
        yield Doubt(
            "unrehearsed",
            # when and how it ends is the finding's to say
            f"What becomes of {_some(apps)} once the reviewer token in auth/{mount}/config is dead was not rehearsed. "
            f"Mend it, or if that is known, say so: expect: [{meant}{', ...' if len(apps) > _NAMED else ''}]",
            apps,
        )


def used_up(facts: Facts, findings: Iterable[Finding], expected: Iterable[bool]) -> Iterator[Doubt]:
    """Yield which secret IDs the looks used up, so that nothing was learned of the logins with them after that; but for
    what the scenario says that it expects. Apps that share a secret ID are one doubt.
    """
    groups: dict[frozenset[str], list[Finding]] = {}
    for one, known in zip(findings, expected, strict=True):
        if (one.rule, one.kind) == (secrets.NOT_ACCEPTED.name, "latent") and not known:
            groups.setdefault(secrets.sharing(facts, one.app), []).append(one)
    looks = sum(isinstance(step, course.Look) for step in facts.steps)
    for alike, group in groups.items():
        one, apps = group[0], tuple(dict.fromkeys(each.app for each in group))
        asked = (
            f"Does {one.app} log in {one.moment}?"
            if len(group) == 1
            else f"Do {_some([f'{each.app} ({each.moment})' for each in group])} log in?"
        )
        role, uses = f"auth.{one.mount}.roles.{facts.app(one.app).role}", facts.role(one.app).secret_id_num_uses
        whose = "its secret ID" if len(alike) == 1 else f"the secret ID that {' and '.join(sorted(alike))} share"
        meant = ", ".join(f"{{change: {each.effect}, app: {each.app}, cause: {each.rule}}}" for each in group)
        yield Doubt(
            "unlearned",
            f"{asked} Nothing was learned of it: {whose} is good for {secrets.times(uses)}, and this rehearsal, which "
            f"logs in at each look, had used them up. Say 0, or {looks * len(alike)} or more, in "
            f"{role}.secret-id-num-uses; or if that is meant, say so: expect: [{meant}]",
            apps,
        )


def mixed(facts: Facts) -> Iterator[Doubt]:
    """Yield which questions were answered now so and now otherwise, though nothing was changed: none of it counts."""
    told = lost_connections.excused(facts)
    for seen in facts.observations:
        if seen.mixed and seen.id not in told:
            who = seen.app or seen.mount or seen.node or seen.vault or "Vault"
            yield Doubt(
                "mixed",
                f"{seen.probe} of {who} {seen.moment} was {seen.error}; so nothing is known of it. What fails now "
                "and then fails in production as well: look at every server behind the address that Vault asks",
                (seen.app,) if seen.app else (),
            )


def noisy(facts: Facts) -> Iterator[Doubt]:
    """Yield that the A -> A rehearsal saw what nobody expects: the upgrade may not be what does it here, either."""
    floor = facts.record.started.noise_floor
    if floor is not None and floor.unsound:
        why = "; ".join(floor.unsound[:_NAMED]) + (
            f"; and {len(floor.unsound) - _NAMED} more" if len(floor.unsound) > _NAMED else ""
        )
        yield Doubt(
            "noise",
            f"There is no noise floor: {versions.called(floor.version)} was only restarted (A -> A), and that was not "
            f"silent: {why}. Nothing is left out for it; mend that first, because it is not the upgrade that does it",
        )


_OF_REVIEWER: Final = (
    "reviewer-fallback-local",
    "reviewer-frozen",
    "reviewer-lacks-tokenreview-rbac",
    "client-jwt-not-accepted",
    "stored-reviewer-refused",
)
"""The causes behind which the question stands who wrote the config, and what it holds as reviewer."""


def _who_reviews(version: str) -> str:
    """Return how an operator of Vault *version* finds out what the config holds as reviewer, which no read shows."""
    look = (
        "Who wrote yours? See who creates TokenReviews when an app logs in (the API server's audit log, user.username)."
    )
    if not at_least(version, kubernetes_auth.READS_POD_TOKEN):
        return (
            f"{look} The app's own account: no reviewer is stored; Vault's own: a copy of its pod's token is (by 1.5.0 "
            "or newer, in a pod); another: somebody stored its token."
        )
    return (
        f"{look} Vault's own account, or nobody and 401: no reviewer is stored, and Vault reads its pod's token at "
        "login; or it is a copy that 1.5.0 to 1.9.2 wrote (then the entry's pod-uid is that of no Pod that lives, and "
        "vault read shows a CA that nobody sent). The app's own: vault read shows disable_local_ca_jwt=true, or Vault "
        "has no token file. Another: somebody stored its token (from 1.16.0 on vault read shows "
        "token_reviewer_jwt_set)."
    )


def _question(
    facts: Facts, probe: str, group: Sequence[Observation], apps: Sequence[str], keys: Iterable[str], whose: str
) -> str:
    """Return the sentences: is production so, what was seen here, what decides it, and how to say that it is meant.

    *whose* is how to find out who reviews there, or nothing.
    """
    if probe == "login":
        what, done = f"the login of {_some(apps)}", "lets it log in"
    elif probe == "token-lookup":
        what, done = f"the look-up of its own token by {_some(apps)}", "lets it use its token"
    else:
        secrets = _some(list(dict.fromkeys(seen.item for seen in group)))
        what, done = f"the reading of {secrets} by {_some(apps)}", "lets it read"
    after = "after it" if len(facts.moments) == 2 else "at every later moment"
    begun = "the first hop" if facts.undertaking == "the upgrade" else facts.undertaking
    expected = ", ".join(f"{{change: refused from the start, app: {app}}}" for app in apps[:_NAMED])
    return (
        f"Is {what} refused in production, too? Here it was refused before {begun} and {after}, so nothing was "
        f"learned of what {facts.undertaking} does to it. If production {done}, mend what decides it here: "
        f"{'; '.join(keys)}. {whose}"
        f"If production refuses it as well, say so: expect: [{expected}{', ...' if len(apps) > _NAMED else ''}]"
    )


def _keys(facts: Facts, probe: str, mount: str, rule: str, apps: Sequence[str]) -> Iterator[str]:
    """Yield the keys of the scenario that decide whether these *apps* are refused, each with what it says now."""
    entry, some = facts.mount(mount), apps[:_NAMED]
    roles = {facts.app(app).role: facts.role(app) for app in some}
    if rule in _OF_ROLE:
        yield from _of_role(f"auth.{mount}.roles", roles, rule)
    if probe in ("read", "write"):
        for name, role in roles.items():
            yield f"auth.{mount}.roles.{name}.policies ({', '.join(role.policies) or 'none'})"
        named = {policy.lower() for role in roles.values() for policy in role.policies}
        yield from (f"policies.{policy}" for policy in sorted(facts.topology.policies) if policy.lower() in named)
        yield from (f"apps.{app}.{probe}s" for app in some)
    elif rule == "role-binding-mismatch":
        yield from (f"apps.{app}.service-account ({facts.app(app).service_account})" for app in some)
    elif rule == "audience-mismatch":
        yield from (f"apps.{app}.audience ({', '.join(facts.app(app).audiences) or 'not set'})" for app in some)
    elif rule in _OF_CONFIG:
        yield from _of_config(facts, mount, rule)
    elif not entry.of_kind.reviews and rule not in _OF_ROLE:
        yield from _of_secrets(facts, mount, rule, roles, some)
    elif rule not in _OF_ROLE:
        yield from _of_reviews(facts, mount, rule, some)


def _of_secrets(facts: Facts, mount: str, rule: str, roles: Iterable[str], apps: Sequence[str]) -> Iterator[str]:
    """Yield the keys that decide whether a mount lets somebody in who is known to Vault alone."""
    issuer = rewrites.held_config(facts, mount, facts.first_moment).fields.get("bound_issuer")
    if issuer is not None and rule == "jwt-claim-mismatch":
        yield f"auth.{mount}.config.bound_issuer ({issuer}; provider: that of minted tokens)"
    for name in roles:
        yield from (f"auth.{mount}.roles.{name}.{key.replace('_', '-')}" for key in facts.mount(mount).of_kind.decisive)
    if rule.startswith("jwt-"):
        yield from (f"apps.{app}.claims" for app in apps if facts.app(app).claims)
        yield from (f"apps.{app}.audience ({', '.join(facts.app(app).audiences) or 'not set'})" for app in apps)


def _of_reviews(facts: Facts, mount: str, rule: str, apps: Sequence[str]) -> Iterator[str]:
    """Yield the keys that decide whether an API server accepts the reviewer, and the token that logs in."""
    entry = facts.mount(mount)
    if rule == "login-token-rejected":  # somebody could review it: who that was decides nothing
        yield from (f"apps.{app}.token ({facts.app(app).token})" for app in apps)
    elif rewrites.held_config(facts, mount, facts.first_moment).fields.get("disable_local_ca_jwt") is True:
        # whoever wrote such a config, no token of a pod is copied into it or read
        if entry.reviewer not in auth_config.OF_ACCOUNT:
            yield f"auth.{mount}.reviewer ({entry.reviewer or 'not set'})"
        yield f"auth.{mount}.config.disable_local_ca_jwt (true)"
    elif entry.reviewer not in auth_config.STORED:
        yield from _provenance(facts, mount, entry)
    elif entry.reviewer not in auth_config.OF_ACCOUNT:
        # a token that is given is what reviews, whoever wrote the config, and wherever
        yield f"auth.{mount}.reviewer ({entry.reviewer})"
    if rule == "reviewer-may-not-read":
        yield from _may_read(facts, mount, entry, apps)
    elif rule != "login-token-rejected":
        yield from _reviewer(facts, mount, entry, apps)
    if rule in ("login-token-rejected", "client-jwt-not-accepted"):
        yield from (f"apps.{app}.audience ({', '.join(facts.app(app).audiences) or 'not set'})" for app in apps)


def _may_read(facts: Facts, path: str, mount: MountSpec, apps: Sequence[str]) -> Iterator[str]:
    """Yield the keys that say who reads for Vault in the cluster, and what that account may read there."""
    yield f"auth.{path}.reviewer ({mount.reviewer or 'not set'})"
    if mount.reviewer in auth_config.OF_ACCOUNT:
        rights = {f"auth.{path}.reviewer-may-read": mount.reviewer_may_read}
    elif mount.reviewer == "client-jwt":
        rights = {f"apps.{app}.may-read": facts.app(app).may_read for app in apps}
    else:
        rights = {"vault.may-read": facts.vault_at(path, facts.first_moment).may_read}
    yield from (f"{key} ({', '.join(read) or 'not set'})" for key, read in rights.items())


_OF_CONFIG: Final[Mapping[str, tuple[str, ...]]] = {
    "issuer-mismatch": ("issuer", "disable_iss_validation"),
    "api-server-untrusted": ("kubernetes_ca_cert",),
    "local-ca-missing": ("kubernetes_ca_cert",),
    "api-server-unreachable": ("kubernetes_host",),
    "api-server-not-at-host": ("kubernetes_host",),
    "review-audiences-left-out": ("kubernetes_host",),
    "signing-key-unknown": ("pem_keys",),
    "jwt-key-unknown": ("jwt_validation_pubkeys",),
    "no-such-mount": (),
}
"""By cause, the fields of a config that decide whether it admits a login, whoever reviews."""


def _of_config(facts: Facts, path: str, rule: str) -> Iterator[str]:
    """Yield the fields of the config that decide, with what they were given, and then who wrote it."""
    fields, entry = rewrites.held_config(facts, path, facts.first_moment).fields, facts.mount(path)
    for name in _OF_CONFIG[rule]:
        value = fields.get(name)
        shown = _yaml(value) if isinstance(value, bool) else ", ".join(value) if isinstance(value, tuple) else value
        short = "a text" if isinstance(shown, str) and "-----BEGIN" in shown else shown
        yield f"auth.{path}.config.{name} ({'not set' if value is None else short})"
    if rule in ("issuer-mismatch", "local-ca-missing", "api-server-untrusted"):
        yield from _provenance(facts, path, entry)
    if rule == "no-such-mount":
        yield f"auth.{path}.mounted (false)"
    if rule == "issuer-mismatch" and entry.cluster:
        yield f"clusters.{entry.cluster}.issuers"


_OF_ROLE: Final = {
    "role-binding-mismatch": ("namespaces", "namespace_selector", "service_accounts"),
    "audience-mismatch": ("audience",),
    "address-not-bound": ("bound_cidrs",),
}
"""By cause, the fields of a role that decide whether it admits a login."""


def _of_role(where: str, roles: Mapping[str, RoleSpec], rule: str) -> Iterator[str]:
    for name, role in roles.items():
        for field in _OF_ROLE[rule]:
            value = getattr(role, field)
            shown = ", ".join(value) if isinstance(value, tuple) else value
            yield f"{where}.{name}.{field.replace('_', '-')} ({shown or 'not set'})"


def _provenance(facts: Facts, path: str, mount: MountSpec) -> Iterator[str]:
    key = f"auth.{path}.configured"
    yield _valued(facts, f"{key}.by", mount.written_by, within=key)
    yield _valued(facts, f"{key}.with-token-file", _yaml(mount.with_token_file), within=key)


def _reviewer(facts: Facts, path: str, mount: MountSpec, apps: Sequence[str]) -> Iterator[str]:
    """Yield the keys that say who reviews, and whether that account may."""
    if mount.reviewer in auth_config.OF_ACCOUNT:
        yield f"auth.{path}.reviewer ({mount.reviewer})"
        yield _valued(facts, f"auth.{path}.reviewer-may-review-tokens", _yaml(mount.reviewer_may_review_tokens))
        return
    writes = facts.writes.get(path)
    if mount.reviewer in ("local", "pod-token") or (writes and facts.stored_by(writes[0][1]) == "frozen"):
        yield _valued(
            facts, "vault.may-review-tokens", _yaml(facts.vault_at(path, facts.first_moment).may_review_tokens)
        )
    if mount.reviewer in auth_config.STORED:
        return
    for name in apps:
        yield _valued(facts, f"apps.{name}.may-review-tokens", _yaml(facts.app(name).may_review_tokens))


def _valued(facts: Facts, key: str, value: str, within: str = "") -> str:
    """Return *key* with its value, and whether that is assumed: the plan's lines of what is so end in the key."""
    assumed = {line.rpartition(" ")[2] for line in facts.record.started.plan.assumed}
    return f"{key} ({value}, assumed)" if assumed & {key, within} else f"{key} ({value})"


def _yaml(value: bool) -> str:
    return "true" if value else "false"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names if len(names) <= _NAMED else (*names[:_NAMED], f"{len(names) - _NAMED} more"))
