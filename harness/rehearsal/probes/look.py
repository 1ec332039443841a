"""The view of the system at one moment, and how a reply of Vault becomes an Observation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from harness.knowledge import refusals
from harness.record.observation import Answer, Observation
from harness.rehearsal import ways
from harness.rig.rig import Credentials, Given, IssuedToken, Reply, Rig, VaultClient, node_of
from harness.scenario.app_spec import BALANCER, LEADER, STANDBY
from harness.scenario.plan import Question
from harness.scenario.schema_ways import MaybeThrough
from harness.scenario.topology import Topology
from harness.secret import Secret

Kept = dict[tuple[str, str], tuple[Given | None, int]]
"""By app and secret: what a secrets engine made first, None where it made nothing, and the question that was for it."""

AppTokens = dict[str, tuple[Secret | None, int]]
"""By app: the Vault token that it holds, None where its login was not granted, and that login's observation."""


@dataclass(slots=True)
class View:
    """What a probe may use."""

    rig: Rig
    topology: Topology
    moment: str
    version: str
    number: Callable[[], int]
    """gives each observation its number"""
    logins: AppTokens = field(default_factory=dict)
    """by app: the Vault token of this moment's login, if it was granted, and the login's observation"""
    late: AppTokens = field(default_factory=dict)
    """the same from the last look before going back"""
    old: AppTokens = field(default_factory=dict)
    """the same from before the first hop: what running apps still hold"""
    kept: Kept = field(default_factory=dict)
    """what apps got of secrets engines first, and hold"""
    credentials: Mapping[tuple[str, str], Credentials] = field(default_factory=dict)
    """by mount and role: what logs in there, where no token of a service account does"""
    seal_token: Secret | None = None
    """by which the Vault that unseals the other one knows that"""
    minted: Callable[[str], IssuedToken] | None = None
    """gives the token of an app that no cluster issues"""
    runs: Callable[[str, str], str] = lambda _vault, _node: ""
    """gives the version of a Vault's node, where there are several: each may run another one than *version*"""
    finds_leader: Callable[[str], bool] = lambda _vault: False
    """waits until a node of a Vault of several leads, and has everything go there; False where that is no use"""
    standbys: ways.Kept = field(default_factory=dict)
    asked: str = ""
    """the node to which the last way of an app led that goes through one"""

    def vault(self, question: Question) -> VaultClient:
        """Return the way to ask the Vault, or the node of it, that a question is for, as the app would ask it."""
        if through := self.through(question):
            way = ways.of(self.rig, question.vault, through, self.standbys)
            vault, self.asked = way
        else:
            vault = node_of(self.rig, question.vault, question.node).vault
        if not question.app or not self.topology.mounts[question.mount].of_kind.by_certificate:
            return vault
        return vault.showing(self.credentials[question.mount, self.topology.apps[question.app].role].secret)

    def through(self, question: Question) -> MaybeThrough:
        """Return through which of several nodes the app of a question asks; "" where it does not matter."""
        return self.topology.apps[question.app].through if question.app else ""

    def forwards(self, question: Question) -> bool:
        """May the node that the app of a question asks be another one than the one that leads?"""
        return self.through(question) in (STANDBY, BALANCER)

    def leader(self, question: Question) -> VaultClient:
        """Return the way to ask the node that leads."""
        return ways.of(self.rig, question.vault, LEADER, self.standbys).vault

    def token_of(self, app: str) -> IssuedToken:
        """Return the token with which *app* logs in."""
        if self.minted is not None and self.topology.apps[app].token == "minted":
            return self.minted(app)
        return self.rig.app_token(app)

    def seen(
        self,
        question: Question,
        reply: Reply,
        *,
        presented: IssuedToken | None = None,
        must_be: Literal["", "granted", "refused"] = "",
        detail: dict[str, Any] | None = None,
        answer: Answer | None = None,
    ) -> Observation:
        """Return *reply* as the observation that answers *question*; *answer* where that is not what Vault said."""
        through = self.through(question)
        return Observation(
            id=self.number(),
            probe=question.probe,
            moment=self.moment,
            version=self.runs(question.vault, question.node) or self.version,
            answer=answer_of(reply) if answer is None else answer,
            app=question.app,
            mount=question.mount,
            item=question.item,
            must_be=must_be,
            status=reply.status,
            error=reply.error,
            latency_ms=round((reply.ended - reply.started) * 1000, 3),
            started=reply.started,
            ended=reply.ended,
            correlation=reply.correlation,
            subject=presented.subject if presented else "",
            detail=reply.data if detail is None else detail,
            vault=question.vault,
            node=question.node,
            through=through,
            asked_of=reply.by or (self.asked if through else ""),
        )

    def not_asked(self, question: Question, why: str, blocked_by: int) -> Observation:
        """Return the observation of a question that could not be asked because another was refused."""
        return Observation(
            id=self.number(),
            probe=question.probe,
            moment=self.moment,
            version=self.runs(question.vault, question.node) or self.version,
            answer="unknown",
            app=question.app,
            mount=question.mount,
            item=question.item,
            error=why,
            blocked_by=blocked_by,
            vault=question.vault,
            node=question.node,
            through=self.through(question),
        )


def answer_of(reply: Reply) -> Answer:
    """Return how a reply reads. What `refusals` calls neither is unknown: never a pass and never a no."""
    said = refusals.says(reply.status, reply.error)
    return said if said in ("granted", "refused") else "unknown"
