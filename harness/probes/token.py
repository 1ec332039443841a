"""What is a Vault token good for: one that was obtained just now, and one from before the upgrade?"""

from __future__ import annotations

from collections.abc import Callable

from harness.observation import Observation
from harness.plan import Question, kv_data_path
from harness.probes.look import Holders, Look
from harness.rig import Reply
from harness.secret import Secret


def lookup(look: Look, question: Question) -> Observation:
    """Look up the token of this moment's login."""
    return _with(look, question, look.logins, look.rig.vault.lookup_self)


def renew(look: Look, question: Question) -> Observation:
    """Renew the token of this moment's login."""
    return _with(look, question, look.logins, look.rig.vault.renew_self)


def read(look: Look, question: Question) -> Observation:
    """Read a secret with the token of this moment's login."""
    return _with(look, question, look.logins, lambda token: _secret(look, question, token))


def old_lookup(look: Look, question: Question) -> Observation:
    """Look up the token that the app got before the upgrade and has held since."""
    return _with(look, question, look.old, look.rig.vault.lookup_self)


def old_read(look: Look, question: Question) -> Observation:
    """Read a secret with the token that the app got before the upgrade and has held since."""
    return _with(look, question, look.old, lambda token: _secret(look, question, token))


def _secret(look: Look, question: Question, token: Secret) -> Reply:
    return look.rig.vault.read_secret(kv_data_path(question.item), token)


def _with(look: Look, question: Question, held: Holders, ask: Callable[[Secret], Reply]) -> Observation:
    token, login = held[question.app]
    if token is None:
        return look.not_asked(question, "there is no token to ask with: its login was not granted", login)
    return look.seen(question, ask(token))
