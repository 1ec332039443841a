"""What a binary is: where it lies, and what it says of its own version."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.artifacts import go_recipes
from harness.artifacts.downloads import Untrustworthy

_ANSWER_SECONDS: Final = 60.0  # the first start of 200 MB from a cold disk


@dataclass(frozen=True, slots=True)
class Artifact:
    """A binary that can be run, with its origin. *path* may be read and executed, and is not to be written to."""

    product: str
    version: str
    path: Path
    source: str
    """Where it originally came from, in words or as a URL."""
    sha256: str
    note: str = ""
    """What else a report has to say about this binary."""
    trimmed: str = ""
    """What a build of the release's code leaves out, in words; empty: nothing."""
    brought: tuple[int, ...] = ()
    """By which a file of the user's is known again (`brought` says how); empty for what is in the cache."""


def insist_on_version(product: str, version: str, binary: Path, came: str) -> None:
    """Let *binary* say its version. Raises Untrustworthy if that is not *version*; *came* says how it came here."""
    question = go_recipes.question(product)
    try:
        # Some versions of Vault write into their home even to say who they are.
        from harness.artifacts import go_builds  # most know what they have, and ask no binary for its version

        with go_builds.passing_home() as home:
            done = subprocess.run(
                [str(binary), *question],
                env={"HOME": str(home), "PATH": os.defpath},
                cwd=home,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=_ANSWER_SECONDS,
                check=False,
            )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Untrustworthy(f"{product} {version} was {came}, but does not run: {error}") from error
    told = done.stdout.decode(errors="replace").strip()
    if done.returncode or not go_recipes.answers(product, version, told):
        raise Untrustworthy(
            f"{product} {version} was {came}, but to {' '.join(question)!r} it answers {told[:200]!r} (status "
            f"{done.returncode}): not used"
        )
