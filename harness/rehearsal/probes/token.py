"""What is a Vault token good for: one that was obtained just now, and one from before the upgrade?"""

from __future__ import annotations

from collections.abc import Callable

from harness.record.observation import Observation
from harness.rehearsal.probes.look import AppTokens, View
from harness.rig.rig import Reply
from harness.scenario.plan import Question
from harness.secret import Secret


def lookup(view: View, question: Question) -> Observation:
    """Look up the token of this moment's login."""
    return asked_with(view, question, view.logins, view.vault(question).lookup_self)


def renew(view: View, question: Question) -> Observation:
    """Renew the token of this moment's login."""
    return asked_with(view, question, view.logins, view.vault(question).renew_self)


def old_lookup(view: View, question: Question) -> Observation:
    """Look up the token that the app got before the upgrade and has held since."""
    return asked_with(view, question, view.old, view.vault(question).lookup_self)


def late_lookup(view: View, question: Question) -> Observation:
    """Look up the token that the app got last before going back."""
    return asked_with(view, question, view.late, view.vault(question).lookup_self)


def asked_with(view: View, question: Question, held: AppTokens, ask: Callable[[Secret], Reply]) -> Observation:
    """Return what is answered to what an app asks with the token that it has of those *held*, if it has one."""
    token, login = held[question.app]
    if token is None:
        return view.not_asked(question, "there is no token to ask with: its login was not granted", login)
    return view.seen(question, ask(token))
