"""A PostgreSQL on paper: whom it lets in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from harness.drivers.paper.state import Leased
from harness.errors import Unreachable
from harness.secret import Secret

AWAY: Final = "dial tcp postgres.paper: connect: connection refused"


class PaperDatabase:
    """A PostgreSQL on paper."""

    template = "postgresql://{{username}}:{{password}}@postgres.paper/postgres"
    superuser = ("rehearsal", Secret("paper-superuser-of-postgresql"))

    def __init__(self, users: Mapping[str, Leased], passed: float, *, away: bool) -> None:
        """*users* are those whom Vault made, by name, at a time; nobody may log in while it is *away*."""
        self._users, self._passed, self._away = users, passed, away

    def refusal(self, user: Secret | str, password: Secret) -> str:
        """Return why it does not let *user* in. Raises Unreachable."""
        if self._away:
            raise Unreachable(f"PostgreSQL gave no answer: {AWAY}")
        known = self._users.get(user.reveal() if isinstance(user, Secret) else user)
        lets_in = known is not None and known.logs_in(password, self._passed)
        return "" if lets_in else "password authentication failed"
