"""How a cause is seen by hand, on a living system and without changing anything in it: checks_by_hand.toml."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Final

import msgspec

_FILE: Final = Path(__file__).with_name("checks_by_hand.toml")


class ByHand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an engineer asks by hand, and which answer shows the cause."""

    look: str
    commands: tuple[str, ...]
    """whole lines for a shell; <...> is what only the engineer knows"""
    tells: str
    """the answer that shows the cause"""


@functools.cache
def checks() -> dict[str, ByHand]:
    """Return what there is to be asked by hand, by the name of the cause."""
    return msgspec.toml.decode(_FILE.read_bytes(), type=dict[str, ByHand])
