"""Everything we say to a PostgreSQL, by the psql of its package: does it let somebody in?"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Final

from harness.errors import MissingPrerequisite, Unreachable
from harness.secret import Secret, redact

DATABASE: Final = "postgres"
"""The database that every cluster has."""

_PACKAGES: Final = Path("/usr/lib/postgresql")
_PROGRAMS: Final = ("initdb", "postgres", "psql")
_OTHERS: Final = ("/usr/local/pgsql/bin", "/usr/pgsql/bin", "/usr/bin", "/usr/local/bin")
_TIMEOUT_SECONDS: Final = 10.0
_USER: Final = re.compile(r'(?:user|role) "[^"]*"')
_REFUSALS: Final = ("authentication failed", "does not exist", "is not permitted to log in")


def programs() -> Path:
    """Return the directory with the programs of PostgreSQL, the newest that is here.

    Raises MissingPrerequisite that names the package where there is none.
    """
    packaged = sorted(_PACKAGES.glob("*/bin"), key=_release, reverse=True)
    for place in (*packaged, *map(Path, _OTHERS)):
        if all((place / name).is_file() for name in _PROGRAMS):
            return place
    raise MissingPrerequisite(
        f"there is no PostgreSQL here: {', '.join(_PROGRAMS)} were looked for in {_PACKAGES}/*/bin and in "
        f"{', '.join(_OTHERS)}; install Debian's package postgresql (apt-get install postgresql)"
    )


def _release(folder: Path) -> list[int]:
    return [int(part) for part in folder.parent.name.split(".") if part.isdecimal()]


def refusal(
    folder: Path, place: tuple[str, int], user: Secret | str, password: Secret, *, statements: str = "select 1"
) -> str:
    """Return why the PostgreSQL at a *place*, an address of this machine and a port, does not let *user* in.

    In its own words; "" where it does. *folder* is that of its `programs`. Secrets go by the environment of psql, and
    by none of the *statements*, SQL that it is to do. Raises Unreachable where it gives no answer, or none of its own.
    """
    host, port = place
    env = {
        "PGHOST": host,
        "PGPORT": str(port),
        "PGUSER": user.reveal() if isinstance(user, Secret) else user,
        "PGPASSWORD": password.reveal(),
        "PGDATABASE": DATABASE,
        "PGSSLMODE": "disable",
        "PGCONNECT_TIMEOUT": "5",
        "LC_ALL": "C",
        "HOME": "/nonexistent",
    }
    asked = [str(folder / "psql"), "--no-psqlrc", "--no-password", f"--command={statements}"]
    try:
        done = subprocess.run(
            asked,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=env,
            cwd="/",
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unreachable(f"PostgreSQL at {host}:{port} gave no answer: {type(error).__name__}") from None
    if done.returncode == 0:
        return ""
    said = redact(" ".join(done.stderr.split()))
    if any(words in said for words in _REFUSALS):
        # whose name it is stands beside it, and another one would be another answer
        return _USER.sub("this user", said.partition("FATAL:")[2].strip())
    raise Unreachable(f"PostgreSQL at {host}:{port} gave no answer: {said}")
