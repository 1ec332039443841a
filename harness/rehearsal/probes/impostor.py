"""Is everybody refused who must be?

A remedy that opens a hole would show here.
"""

from __future__ import annotations

import msgspec

from harness.host.pki import tampered
from harness.record.observation import Observation
from harness.rehearsal.probes.look import View
from harness.rig.rig import IssuedToken
from harness.scenario.plan import Question

NO_SUCH_ROLE = "rehearsal-no-such-role"


def stranger(view: View, question: Question) -> Observation:
    """Log in to the app's role with a genuine token of another service account, namespace or cluster."""
    return _login(view, question, view.rig.stranger_token(question.app, question.probe))


def tampered_jwt(view: View, question: Question) -> Observation:
    """Log in with the app's own token, its signature altered."""
    token = view.rig.app_token(question.app)
    return _login(view, question, msgspec.structs.replace(token, jwt=tampered(token.jwt)))


def unknown_role(view: View, question: Question) -> Observation:
    """Log in with the app's own token to a role that does not exist."""
    return _login(view, question, view.rig.app_token(question.app), NO_SUCH_ROLE)


def _login(view: View, question: Question, presented: IssuedToken, role: str = "") -> Observation:
    role = role or view.topology.apps[question.app].role
    reply = view.vault(question).login(question.mount, role, presented.jwt)
    return view.seen(question, reply, presented=presented, must_be="refused", detail={})
