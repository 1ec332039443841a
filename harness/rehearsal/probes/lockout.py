"""Is somebody locked out whose secret was wrong too often?"""

from __future__ import annotations

import msgspec

from harness.knowledge.secret_logins import TOO_OFTEN
from harness.record.observation import Observation
from harness.rehearsal.probes.impostor import another_secret
from harness.rehearsal.probes.look import View
from harness.scenario.plan import Question


def lockout(view: View, question: Question) -> Observation:
    """Log in with the right secret, right after it was wrong too often. Nobody else logs in to that role."""
    kind, held = view.topology.mounts[question.mount].kind, view.credentials[question.mount, question.item]
    vault, refusals = view.vault(question), []
    for _ in range(TOO_OFTEN):
        reply = vault.login_with(kind, question.mount, msgspec.structs.replace(held, secret=another_secret()))
        refusals.append(reply.status)
    reply = vault.login_with(kind, question.mount, held)
    return view.seen(question, reply, detail={"wrong_before": refusals})
