"""May the app log in?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec.structs import replace

from harness.record.observation import Observation
from harness.rehearsal.probes.look import View, answer_of
from harness.rig.rig import Reply, VaultClient
from harness.scenario.plan import Question


def login(view: View, question: Question) -> Observation:
    """Log the app in with its Pod's service account token, or what else its mount wants, freshly, as at its start."""
    app, kind = view.topology.apps[question.app], view.topology.mounts[question.mount].of_kind
    if not kind.of_account:
        held = view.credentials[question.mount, app.role]
        reply = view.vault(question).login_with(kind.name, question.mount, held)
        seen = view.seen(question, reply, detail=_kept(reply))
        view.logins[question.app] = (reply.token, seen.id)
        if view.topology.role_of(question.app).secret_id_num_uses:
            return seen
        return _beside_leader(view, question, seen, lambda vault: vault.login_with(kind.name, question.mount, held))
    presented = view.token_of(question.app)
    reply = view.vault(question).login(question.mount, app.role, presented.jwt)
    seen = view.seen(question, reply, presented=presented, detail=_kept(reply))
    view.logins[question.app] = (reply.token, seen.id)
    return _beside_leader(view, question, seen, lambda vault: vault.login(question.mount, app.role, presented.jwt))


def _beside_leader(
    view: View, question: Question, seen: Observation, ask: Callable[[VaultClient], Reply]
) -> Observation:
    """Return what was *seen* of a node that forwards, with what the one that leads says to the same."""
    if not view.forwards(question):
        return seen
    reply = ask(view.leader(question))
    return replace(seen, at_leader=f"{answer_of(reply)} {reply.status or 'without a status'}")


def _kept(reply: Reply) -> dict[str, Any]:
    """Return what a login gave, with the token's kind and length in its place."""
    names = ("policies", "token_policies", "metadata", "lease_duration", "renewable", "entity_id", "token_type")
    kept = {name: reply.data[name] for name in names if name in reply.data}
    if reply.token is not None:
        prefix, dot, rest = reply.token.reveal().partition(".")
        kept["token_format"] = f"{prefix}{dot} and {len(rest)} characters" if dot else f"{len(prefix)} characters"
    return kept
