"""The command `rehearse`, under a name that nobody else has: its package is called `harness`, and that others have too.

It says which other `harness` is in the place of its own, where that is so.
"""

from __future__ import annotations

import sys
from typing import NoReturn

DISTRIBUTION = "vault-upgrade-rehearsal"


def main() -> NoReturn:
    """Run the command line, or end with 3 and a sentence where the package `harness` is not the one it needs."""
    try:
        why = in_the_way()
    except KeyboardInterrupt:
        sys.exit(130)
    if why:
        _end(f"rehearse cannot start: {why}")
    from harness.__main__ import main

    main()


def in_the_way() -> str:
    """Return which other `harness` is found where ours should be, and what helps; nothing where ours is found."""
    try:
        import harness

        ours = getattr(harness, "DISTRIBUTION", "") == DISTRIBUTION
        place = getattr(harness, "__file__", None) or str(getattr(harness, "__path__", ["an unknown place"])[0])
        why = ""
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # anything may stand where ours should be
        ours, place, why = False, _place(error), f" ({type(error).__name__}: {error})"
    if ours:
        return ""
    return (
        f"another `harness` is found before its own, {place}{why}; take that off PYTHONPATH "
        f"and out of the directory you are in, or install {DISTRIBUTION} where the other is not"
    )


def _place(error: BaseException) -> str:
    place, trace = getattr(error, "filename", None) or "not to be found", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        place = place if file.startswith("<frozen") or file == __file__ else file
        trace = trace.tb_next
    return str(place)


def _end(said: str) -> NoReturn:
    try:
        sys.stderr.write("".join(c if c.isprintable() else " " for c in said) + "\n")
    finally:
        sys.exit(3)


if __name__ == "__main__":
    main()
