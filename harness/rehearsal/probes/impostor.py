"""Is everybody refused who must be?

A remedy that opens a hole would show here.
"""

from __future__ import annotations

import secrets as random

import msgspec

from harness.host.pki import tampered
from harness.record.observation import Observation
from harness.rehearsal.probes.look import View
from harness.rig.rig import Credentials, IssuedToken
from harness.scenario.plan import Question
from harness.secret import Secret

NO_SUCH_ROLE = "rehearsal-no-such-role"


def stranger(view: View, question: Question) -> Observation:
    """Log in to the app's role with a genuine token of another service account, namespace or cluster."""
    return _login(view, question, view.rig.stranger_token(question.app, question.probe))


def tampered_jwt(view: View, question: Question) -> Observation:
    """Log in with the app's own token, its signature altered."""
    token = view.token_of(question.app)
    return _login(view, question, msgspec.structs.replace(token, jwt=tampered(token.jwt)))


def unknown_role(view: View, question: Question) -> Observation:
    """Log in with the app's own token, or secret, to a role that does not exist."""
    if not view.topology.mounts[question.mount].of_kind.of_account:
        return _try(view, question, msgspec.structs.replace(_held(view, question), name=NO_SUCH_ROLE))
    return _login(view, question, view.token_of(question.app), NO_SUCH_ROLE)


def wrong_secret(view: View, question: Question) -> Observation:
    """Log in as the app does, with another secret: a password, or a secret ID."""
    return _try(view, question, msgspec.structs.replace(_held(view, question), secret=another_secret()))


def disallowed_policy(view: View, question: Question) -> Observation:
    """Have a token made by the app's role with a policy that the role does not allow."""
    held = _held(view, question)
    reply = view.vault(question).create_token(str(held.name), held.secret, [NO_SUCH_ROLE])
    return view.seen(question, reply, must_be="refused", detail={})


def wrong_certificate(view: View, question: Question) -> Observation:
    """Log in as the app does, by a certificate of another authority, one that has ended, or a forged one."""
    held = _held(view, question)
    return _try(view, question, msgspec.structs.replace(held, secret=held.impostors[question.probe]))


def another_secret() -> Secret:
    """Return a secret that nobody was given."""
    return Secret(f"rehearsal-{random.token_urlsafe(18)}")


def _held(view: View, question: Question) -> Credentials:
    return view.credentials[question.mount, view.topology.apps[question.app].role]


def _try(view: View, question: Question, held: Credentials) -> Observation:
    kind = view.topology.mounts[question.mount].kind
    reply = view.vault(question).login_with(kind, question.mount, held)
    return view.seen(question, reply, must_be="refused", detail={})


def _login(view: View, question: Question, presented: IssuedToken, role: str = "") -> Observation:
    role = role or view.topology.apps[question.app].role
    reply = view.vault(question).login(question.mount, role, presented.jwt)
    return view.seen(question, reply, presented=presented, must_be="refused", detail={})
