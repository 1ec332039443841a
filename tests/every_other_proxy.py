"""The proxy of the tool, as a program of its own, with a fault: every other request is answered 401.

As an address behind which one of two API servers is not well.
"""

from __future__ import annotations

import importlib.util
import itertools
import sys
from pathlib import Path

_PROXY = Path(__file__).parent.parent / "harness" / "host" / "proxy.py"


def main() -> None:
    """Serve until killed."""
    spec = importlib.util.spec_from_file_location("proxy", _PROXY)
    assert spec is not None
    assert spec.loader is not None
    proxy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(proxy)
    turns, well = itertools.cycle((True, False)), proxy._Handler._pass_on

    def now_and_then(handler: object, body: bytes) -> None:
        if next(turns):
            well(handler, body)
        else:
            handler._say(401, "application/json", proxy._MUST_AUTHENTICATE)  # type: ignore[attr-defined]

    proxy._Handler._pass_on = now_and_then
    proxy.main(sys.argv[1:])


if __name__ == "__main__":
    main()
