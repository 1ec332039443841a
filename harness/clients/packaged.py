"""Programs of Debian's packages that stand by themselves: where each is, or which package to install."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from harness.errors import MissingPrerequisite

PLACES: Final = ("/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin")
"""Where they are looked for, whatever PATH says."""


def program(name: str, called: str, does: str) -> Path:
    """Return the path of the program *name*, whose package has that name too.

    *called* is its name in sentences, and *does* what it is for ("which makes storms of logins"). Raises
    MissingPrerequisite, which names the package, where there is none.
    """
    found = shutil.which(name, path=":".join(PLACES))
    if found is None:
        raise MissingPrerequisite(
            f"there is no {called} here, {does}: it was looked for in {', '.join(PLACES)}; "
            f"install Debian's package {name} (apt-get install {name})"
        )
    return Path(found)
