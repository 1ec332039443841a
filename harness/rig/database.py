"""What a PostgreSQL looks like to those who have Vault make credentials of it, whoever runs it."""

from __future__ import annotations

from typing import Literal, Protocol, runtime_checkable

from harness.errors import RigError
from harness.rig.rig import Rig
from harness.scenario.schema_engines import ToDatabase
from harness.secret import Secret

LetIn = Literal["granted", "refused"]
"""Does it let somebody in?"""


class Database(Protocol):
    """A PostgreSQL for whose users a Vault makes credentials."""

    @property
    def template(self) -> str:
        """Return the URL by which one connects, with places for a name and a password as Vault wants them."""
        ...

    @property
    def superuser(self) -> tuple[str, Secret]:
        """Return the name and the password of its superuser."""
        ...

    def refusal(self, user: Secret | str, password: Secret) -> str:
        """Return why it does not let *user* in, in its own words; "" where it does. Raises Unreachable."""
        ...


@runtime_checkable
class HasDatabase(Protocol):
    """A rig that can have a PostgreSQL."""

    def database(self) -> Database:
        """Return it; it is started the first time. Raises ProcessDied, NotReady or RigError where it does not serve."""
        ...

    def touch_database(self, what: ToDatabase) -> float:
        """Stop it, or start it again over its data; return how many seconds it took. Raises as `database`."""
        ...


def database(rig: Rig) -> Database:
    """Return the PostgreSQL of a *rig*. Raises RigError where it can have none."""
    return having_one(rig).database()


def having_one(rig: Rig) -> HasDatabase:
    """Return *rig* as one that can have a PostgreSQL. Raises RigError where it can have none."""
    if isinstance(rig, HasDatabase):
        return rig
    raise RigError("this driver has no PostgreSQL: choose another driver, or no secrets engine of type database")
