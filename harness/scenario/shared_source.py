"""What rehearsals have in common up to their first look, and why one of them may not share it with others.

What comes before that look is the source state: a Vault that is initialised, configured and unsealed at its source
version. Rehearsals that agree on it, as those of one scenario over several targets do, need it made once. Where a
config takes the token of Vault's own Pod it ends before that: each rehearsal replaces that Pod, and writes what holds
the token of its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from harness.knowledge import kubernetes_auth
from harness.knowledge.versions import at_least
from harness.scenario import course, driver_traits, plan
from harness.scenario.course import AnyStep, Look, Rewrite, Serve, WriteConfig, WriteRole
from harness.scenario.mount_kinds import ASKED_AT
from harness.scenario.plan import Plan
from harness.scenario.values import seconds

_LONGEST_SECONDS: Final = 600.0
_PART_OF_A_LIFE: Final = 6
"""By this part of its life a token may be older in a rehearsal that shares it than in one by itself."""

_COPIED: Final = ("raft", "file")
"""The kinds of storage whose data are files of Vault's own."""

_OF_CLUSTERS: Final = (
    course.Grant,
    course.Revoke,
    course.MakeReviewer,
    course.ProjectToken,
    course.DeleteSecret,
    course.Move,
    *course.OF_CLUSTERS,
)
"""The steps that change what the source state refers to in a cluster. Vault's data each rehearsal has for itself."""


def made_once(planned: Plan) -> tuple[AnyStep, ...]:
    """Return the steps by which the source state is made: those before the first look that leave no Pod's token."""
    numbers = range(len(planned.steps))
    look = next(number for number in numbers if isinstance(planned.steps[number], Look))
    token = next((number for number in numbers[:look] if holds_pod_token(planned.steps[: number + 1])), look)
    return planned.steps[:token]


def waits_for_nobody(planned: Plan) -> bool:
    """May a Vault over the source state of a plan serve while another rehearsal has the clusters?

    Not where it would ask one by itself for keys, or would read the token of its Pod, which is not there yet.
    """
    before = made_once(planned)
    asks = any(isinstance(step, WriteConfig) and not ASKED_AT.keys().isdisjoint(step.fields) for step in before)
    serving = next(step for step in reversed(before) if isinstance(step, Serve))
    return not asks and not (serving.token_file and at_least(serving.version, kubernetes_auth.READS_POD_TOKEN))


def key(planned: Plan) -> str:
    """Return a digest of all that decides the source state of a plan: those with the same one may share it."""
    steps, wanted = made_once(planned), planned.resolved
    policies = {name: plan.policies(wanted, planned.steps, wanted.told_apart(name)) for name in wanted.vaults}
    made = [planned.driver, wanted, steps, policies]
    return hashlib.sha256(msgspec.json.encode(made, order="deterministic")).hexdigest()[:16]


def why_not(planned: Plan) -> str:
    """Return why a plan cannot share its source state, in words; nothing where it can."""
    return next(_hindrances(planned), "")


def _hindrances(planned: Plan) -> Iterator[str]:
    wanted, before = planned.resolved, made_once(planned)
    if not driver_traits.of(planned.driver).shares:
        yield f"the driver {planned.driver} makes every system anew"
    if len(wanted.vaults) > 1 or wanted.vault.nodes > 1:
        yield "it has several Vaults or nodes"
    if wanted.vault.storage not in _COPIED:
        yield f"a copy of Vault's data in {wanted.vault.storage} is not made here"
    database = "a database engine makes credentials of a PostgreSQL, and each rehearsal has one of its own"
    own = {
        "Vault's audit devices write to what each rehearsal has for itself": wanted.vault.audit,
        database: wanted.needs_database,
        "it has leases, and each rehearsal makes its own": wanted.vault.leases,
        "the many Pods of a storm of logins stay in its clusters": wanted.has_storms,
    }
    yield from (why for why, there in own.items() if there)
    if any(isinstance(step, WriteConfig) and step.names_proxy for step in before):
        yield "a config names a proxy, and each rehearsal has proxies of its own"
    for step in planned.steps:
        if isinstance(step, _OF_CLUSTERS):
            yield f"its course changes a cluster ({course.word_of(step)}), and the next rehearsal wants it as it was"


def good_seconds(planned: Plan) -> float:
    """Return how old the source state may become: no token in it may have lost a notable part of its life."""
    return min([_LONGEST_SECONDS, *(life / _PART_OF_A_LIFE for life in _lives(planned))])


def _lives(planned: Plan) -> Iterator[float]:
    """Yield how long each thing lives that is made before the first look and ends by itself."""
    yield from (app.token_seconds for app in planned.resolved.apps.values() if app.token != "secret")
    for step in made_once(planned):
        if isinstance(step, WriteConfig) and step.reviewer_seconds:
            yield step.reviewer_seconds
        elif isinstance(step, WriteRole) and step.spec.secret_id_ttl is not None:
            yield seconds(step.spec.secret_id_ttl)


def holds_pod_token(done: Iterable[AnyStep]) -> bool:
    """Was the token of a Pod of Vault's ever stored in a config? A snapshot may bring back any that ever was."""
    serving: dict[tuple[str, str], Serve] = {}
    for step in done:
        if isinstance(step, Serve):
            serving[step.vault, step.node] = step
        elif isinstance(step, WriteConfig | Rewrite) and any(_stores_pod_token(step, one) for one in serving.values()):
            return True
    return False


def _stores_pod_token(step: WriteConfig | Rewrite, served: Serve) -> bool:
    """Does Vault hold its Pod's token after this write, given or copied by itself?"""
    # no read shows a reviewer's token, so whoever writes back what was read gives none
    fields = step.fields if isinstance(step, WriteConfig) else {}
    given = fields.get("token_reviewer_jwt")
    stored = kubernetes_auth.stored_reviewer(
        served.version,
        token_file=served.token_file,
        explicit=given is not None,
        disable_local=fields.get("disable_local_ca_jwt") is True,
    )
    return given == "pod-token" or stored == "frozen"
